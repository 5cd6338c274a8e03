#include "tls/key_der.h"

#include <string.h>

#include "base/rd.h"

enum { TAG_INTEGER = 0x02, TAG_BITS = 0x03, TAG_OCTETS = 0x04, TAG_SEQUENCE = 0x30 };
enum { TAG_PARAMETERS = 0xa0, TAG_PUBLIC = 0xa1 }; /* of SEC1 */

/* Algorithms with their parameters, as in an AlgorithmIdentifier. */
static const uint8_t id_rsa[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
static const uint8_t id_p256[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
                                  0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t id_p384[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
                                  0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t id_ed25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};

static const struct algorithm {
    const uint8_t *id;
    size_t len, curve_off; /* of the curve's name alone */
    enum creds_kind kind;
} algorithms[] = {
    {id_rsa, sizeof(id_rsa), 0, CREDS_RSA},
    {id_p256, sizeof(id_p256), 9, CREDS_EC_P256},
    {id_p384, sizeof(id_p384), 9, CREDS_EC_P384},
    {id_ed25519, sizeof(id_ed25519), 0, CREDS_ED25519},
};

/* The content of the next element, which must have TAG. Lengths of up to two bytes in the one form that DER has for each. */
static struct span element(struct rd *r, uint8_t tag) {
    if (rd_u8(r) != tag)
        r->bad = true;
    size_t len = rd_u8(r);
    if (len == 0x81) {
        len = rd_u8(r);
        r->bad = r->bad || len < 0x80;
    } else if (len == 0x82) {
        len = rd_u16(r);
        r->bad = r->bad || len < 0x100;
    } else if (len >= 0x80) {
        r->bad = true;
    }
    return rd_bytes(r, len);
}

/* A positive INTEGER without its sign byte. */
static struct span integer(struct rd *r) {
    struct span n = element(r, TAG_INTEGER);
    if (n.len > 1 && n.p[0] == 0 && n.p[1] & 0x80)
        return span_of(n.p + 1, n.len - 1);
    if (n.len == 0 || n.p[0] & 0x80 || (n.len > 1 && n.p[0] == 0))
        r->bad = true;
    return n;
}

static bool small_integer(struct rd *r, uint8_t value) {
    struct span n = element(r, TAG_INTEGER);
    return n.len == 1 && n.p[0] == value;
}

static size_t field_len(enum creds_kind kind) {
    return kind == CREDS_EC_P384 ? 48 : 32;
}

static bool read_rsa(struct span der, struct key_der *ret) {
    struct rd outer = rd_of(der), r = rd_of(element(&outer, TAG_SEQUENCE));
    bool ok = small_integer(&r, 0); /* two primes */
    for (size_t i = 0; i < KEY_DER_NUMBERS; i++)
        ret->numbers[i] = integer(&r);
    ret->kind = CREDS_RSA;
    return ok && rd_end(&r) && rd_end(&outer);
}

/* KIND is known from PKCS#8; in SEC1 the curve is inside. */
static bool read_ec(struct span der, bool known, enum creds_kind kind, struct key_der *ret) {
    struct rd outer = rd_of(der), r = rd_of(element(&outer, TAG_SEQUENCE));
    bool ok = small_integer(&r, 1);
    struct span secret = element(&r, TAG_OCTETS);
    if (rd_left(&r) && r.p[0] == TAG_PARAMETERS) {
        struct span curve = element(&r, TAG_PARAMETERS);
        bool found = false;
        for (size_t i = 1; i < 3; i++) {
            const struct algorithm *a = &algorithms[i];
            if (span_eq(curve, span_of(a->id + a->curve_off, a->len - a->curve_off)) && (!known || a->kind == kind)) {
                kind = a->kind;
                found = true;
            }
        }
        ok = ok && found;
    } else {
        ok = ok && known;
    }
    if (rd_left(&r)) /* a public key beside it is not believed: it can be worked out */
        (void)element(&r, TAG_PUBLIC);
    ret->kind = kind;
    ret->numbers[0] = secret;
    return ok && rd_end(&r) && rd_end(&outer) && secret.len == field_len(kind);
}

static bool read_pkcs8(struct span der, struct key_der *ret) {
    struct rd outer = rd_of(der), r = rd_of(element(&outer, TAG_SEQUENCE));
    bool ok = small_integer(&r, 0); /* version 1, without a public key of its own */
    struct span id = element(&r, TAG_SEQUENCE), inside = element(&r, TAG_OCTETS);
    if (!ok || !rd_end(&outer) || !rd_end(&r))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++) {
        if (!span_eq(id, span_of(algorithms[i].id, algorithms[i].len)))
            continue;
        if (algorithms[i].kind == CREDS_RSA)
            return read_rsa(inside, ret);
        if (algorithms[i].kind != CREDS_ED25519)
            return read_ec(inside, true, algorithms[i].kind, ret);
        struct rd seed = rd_of(inside);
        ret->kind = CREDS_ED25519;
        ret->numbers[0] = element(&seed, TAG_OCTETS);
        return rd_end(&seed) && ret->numbers[0].len == 32;
    }
    return false;
}

bool key_der_read(const char *form, struct span der, struct key_der *ret) {
    memset(ret, 0, sizeof(*ret));
    if (strcmp(form, "PRIVATE KEY") == 0)
        return read_pkcs8(der, ret);
    if (strcmp(form, "RSA PRIVATE KEY") == 0)
        return read_rsa(der, ret);
    return strcmp(form, "EC PRIVATE KEY") == 0 && read_ec(der, false, CREDS_EC_P256, ret);
}

bool key_der_is(const struct key_der *k, struct span point, struct span spki) {
    struct rd outer = rd_of(spki), r = rd_of(element(&outer, TAG_SEQUENCE));
    struct span id = element(&r, TAG_SEQUENCE);
    struct rd bits = rd_of(element(&r, TAG_BITS));
    bool ok = rd_u8(&bits) == 0 && rd_end(&outer) && rd_end(&r);
    struct span key = rd_bytes(&bits, rd_left(&bits));
    const struct algorithm *a = &algorithms[0];
    while (a->kind != k->kind)
        a++;
    if (!ok || !span_eq(id, span_of(a->id, a->len)))
        return false;
    if (k->kind != CREDS_RSA)
        return point.len && span_eq(point, key);
    struct rd whole = rd_of(key), pair = rd_of(element(&whole, TAG_SEQUENCE));
    struct span n = integer(&pair), e = integer(&pair);
    return rd_end(&pair) && rd_end(&whole) && span_eq(n, k->numbers[0]) && span_eq(e, k->numbers[1]);
}
