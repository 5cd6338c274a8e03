#include "creds/sign_rule.h"

#include "base/rd.h"

#define RANDOM_LEN  32
#define NAMED_CURVE 3 /* ECCurveType (RFC 8422 5.4) */

/* 64 spaces, the context of the server, a zero, the transcript's hash: of a server, and whole (RFC 8446 4.4.3). */
static bool is_certificate_verify(struct span tbs) {
    static const char context[] = "TLS 1.3, server CertificateVerify"; /* its own zero is the separator */
    struct rd r = rd_of(tbs);
    struct span spaces = rd_bytes(&r, 64);
    for (size_t i = 0; i < spaces.len; i++)
        if (spaces.p[i] != ' ')
            return false;
    if (!span_eq(rd_bytes(&r, sizeof(context)), span_of(context, sizeof(context))))
        return false;
    return rd_left(&r) == 32 || rd_left(&r) == 48; /* SHA-256 or SHA-384: all that TLS 1.3 suites have */
}

/* Named groups of the IANA registry and the length of their points; all but X25519 and X448 are uncompressed ones. */
static bool is_point(uint16_t group, struct span point) {
    bool uncompressed = point.len > 0 && point.p[0] == 4;
    switch (group) {
    case 0x0017: /* secp256r1 */
        return point.len == 65 && uncompressed;
    case 0x0018: /* secp384r1 */
        return point.len == 97 && uncompressed;
    case 0x0019: /* secp521r1 */
        return point.len == 133 && uncompressed;
    case 0x001d: /* x25519 */
        return point.len == 32;
    case 0x001e: /* x448 */
        return point.len == 56;
    default:
        return false;
    }
}

/* Two randoms and the server's ECDH parameters (RFC 8422 5.4). */
static bool is_server_key_exchange(struct span tbs) {
    struct rd r = rd_of(tbs);
    (void)rd_bytes(&r, (size_t)2 * RANDOM_LEN); /* any bytes; missing ones make R bad */
    uint8_t type = rd_u8(&r);
    uint16_t group = rd_u16(&r);
    struct span point = rd_vec8(&r);
    return rd_end(&r) && type == NAMED_CURVE && is_point(group, point);
}

enum sign_shape sign_shape(struct span tbs) {
    if (is_certificate_verify(tbs))
        return SIGN_SHAPE_TLS13;
    return is_server_key_exchange(tbs) ? SIGN_SHAPE_TLS12 : SIGN_SHAPE_NONE;
}

/* TLS 1.2 does not tie the curve to the hash (RFC 8422 5.1.1). */
bool sign_key_fits(enum creds_kind kind, uint16_t scheme, bool tls12) {
    switch (scheme) {
    case 0x0804: /* rsa_pss_rsae_sha256, 384, 512 */
    case 0x0805:
    case 0x0806:
        return kind == CREDS_RSA;
    case 0x0401: /* rsa_pkcs1_sha256, 384, 512 */
    case 0x0501:
    case 0x0601:
        return kind == CREDS_RSA && tls12;
    case 0x0403: /* ecdsa_secp256r1_sha256 */
        return kind == CREDS_EC_P256 || (kind == CREDS_EC_P384 && tls12);
    case 0x0503: /* ecdsa_secp384r1_sha384 */
        return kind == CREDS_EC_P384 || (kind == CREDS_EC_P256 && tls12);
    case 0x0603: /* ecdsa_secp521r1_sha512: a hash for any curve in 1.2 */
        return (kind == CREDS_EC_P256 || kind == CREDS_EC_P384) && tls12;
    case 0x0807: /* ed25519 */
        return kind == CREDS_ED25519;
    default:
        return false;
    }
}

bool sign_scheme_fits(enum creds_kind kind, uint16_t scheme, enum sign_shape shape) {
    return shape != SIGN_SHAPE_NONE && sign_key_fits(kind, scheme, shape == SIGN_SHAPE_TLS12);
}
