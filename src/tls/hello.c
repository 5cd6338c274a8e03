#include "tls/hello.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "tls/hostname.h"
#include "tls/ja4.h"
#include "tls/suite.h"

#define CLIENT_HELLO 1

_Static_assert(HELLO_JA4_LEN == JA4_LEN, "one length of a fingerprint");
_Static_assert(HELLO_NAME_MAX == HOSTNAME_MAX, "one length of a name");
_Static_assert(UINT16_MAX / 2 <= JA4_LIST_MAX, "every list of a hello fits");

/* ---- sets of 16-bit numbers ---- */

struct numbers {
    uint64_t bits[65536 / 64];
};

static bool has(const struct numbers *set, uint16_t v) {
    return set->bits[v / 64] >> v % 64 & 1;
}

/* False when it was there. */
static bool add_number(struct numbers *set, uint16_t v) {
    bool is_new = !has(set, v);
    set->bits[v / 64] |= UINT64_C(1) << v % 64;
    return is_new;
}

/* A cursor over a vector read before; a bad one over a vector that was not there. */
static struct rd rd_inside(struct span vec) {
    return vec.p ? rd_of(vec) : (struct rd){NULL, NULL, true};
}

/* ---- the extensions: each reader is given the extension's data ---- */

/* A list of u16 behind its length, one at least, and nothing behind it. */
static bool is_u16_list(const struct rd *r, struct span list) {
    return rd_end(r) && list.len > 0 && list.len % 2 == 0;
}

/*
 * RFC 6066 3. Names of other types than host_name are passed over; none is registered. Clients that were given an address, or
 * anything else that is no host name, send that: they have no name.
 */
static int read_server_name(struct rd r, struct hello *h) {
    struct rd list = rd_inside(rd_vec16(&r));
    if (!rd_end(&r) || rd_left(&list) == 0)
        return ERR_HELLO_MALFORMED;
    bool named = false;
    while (rd_left(&list) > 0) {
        uint8_t type = rd_u8(&list);
        struct span name = rd_vec16(&list);
        if (list.bad)
            return ERR_HELLO_MALFORMED;
        if (type != 0)
            continue;
        if (named) /* no more than one of a type */
            return ERR_RECORD_ILLEGAL;
        if (name.len == 0 || memchr(name.p, 0, name.len))
            return ERR_HELLO_MALFORMED;
        named = true;
        if (hostname_asked(name, h->sni) < 0)
            h->sni_other = name;
    }
    return 0;
}

/* RFC 6066 4. */
static int read_max_fragment_length(struct rd r, struct hello *h) {
    h->max_fragment_length = rd_u8(&r);
    if (!rd_end(&r))
        return ERR_HELLO_MALFORMED;
    return h->max_fragment_length >= 1 && h->max_fragment_length <= 4 ? 0 : ERR_RECORD_ILLEGAL;
}

static int read_supported_groups(struct rd r, struct hello *h) {
    h->groups = rd_vec16(&r);
    return is_u16_list(&r, h->groups) ? 0 : ERR_HELLO_MALFORMED;
}

static int read_sigalgs(struct rd r, struct hello *h) {
    h->sigalgs = rd_vec16(&r);
    return is_u16_list(&r, h->sigalgs) ? 0 : ERR_HELLO_MALFORMED;
}

static int read_sigalgs_cert(struct rd r, struct hello *h) {
    h->sigalgs_cert = rd_vec16(&r);
    return is_u16_list(&r, h->sigalgs_cert) ? 0 : ERR_HELLO_MALFORMED;
}

static int read_supported_versions(struct rd r, struct hello *h) {
    h->versions = rd_vec8(&r);
    return is_u16_list(&r, h->versions) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 7301 3.1. */
static int read_alpn_protocols(struct rd r, struct hello *h) {
    h->alpn = rd_vec16(&r);
    if (!rd_end(&r) || h->alpn.len == 0)
        return ERR_HELLO_MALFORMED;
    struct rd names = rd_inside(h->alpn);
    while (rd_left(&names) > 0)
        if (rd_vec8(&names).len == 0)
            return ERR_HELLO_MALFORMED;
    return 0;
}

/* RFC 8446 4.2.8. An empty list asks for a HelloRetryRequest. */
static int read_key_share(struct rd r, struct hello *h) {
    h->has_key_share = true;
    h->key_shares = rd_vec16(&r);
    if (!rd_end(&r))
        return ERR_HELLO_MALFORMED;
    struct rd shares = rd_inside(h->key_shares);
    while (rd_left(&shares) > 0) {
        (void)rd_u16(&shares); /* the group is libssl's business */
        if (rd_vec16(&shares).len == 0)
            return ERR_HELLO_MALFORMED;
    }
    return 0;
}

/* RFC 8449 4. */
static int read_record_size_limit(struct rd r, struct hello *h) {
    h->record_size_limit = rd_u16(&r);
    if (!rd_end(&r))
        return ERR_HELLO_MALFORMED;
    return h->record_size_limit >= 64 ? 0 : ERR_RECORD_ILLEGAL;
}

static int read_early_data(struct rd r, struct hello *h) {
    h->has_early_data = true;
    return rd_end(&r) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 8446 4.2.11: identities with their ages, and as many binders. */
static int read_pre_shared_key(struct rd r, struct hello *h) {
    h->has_psk = true;
    h->psk_identities = rd_vec16(&r);
    h->psk_binders = rd_vec16(&r);
    struct rd identities = rd_inside(h->psk_identities), binders = rd_inside(h->psk_binders);
    if (!rd_end(&r) || rd_left(&identities) == 0)
        return ERR_HELLO_MALFORMED;
    while (rd_left(&identities) > 0) {
        size_t identity_len = rd_vec16(&identities).len;
        (void)rd_u32(&identities); /* the age is libssl's business */
        size_t binder_len = rd_vec8(&binders).len;
        if (identities.bad || identity_len == 0 || binder_len < 32)
            return ERR_HELLO_MALFORMED;
    }
    return rd_end(&binders) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 8446 4.2.9. */
static int read_psk_modes(struct rd r, struct hello *h) {
    h->has_psk_modes = true;
    h->psk_modes = rd_vec8(&r);
    return rd_end(&r) && h->psk_modes.len > 0 ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 6066 8. What follows another type than OCSP's is not known; what an OCSP request asks in detail is not looked at. */
static int read_status_request(struct rd r, struct hello *h) {
    h->status_request = span_of(r.p, rd_left(&r));
    h->wants_ocsp = rd_u8(&r) == 1;
    if (!h->wants_ocsp)
        return r.bad ? ERR_HELLO_MALFORMED : 0;
    (void)rd_vec16(&r);
    (void)rd_vec16(&r);
    return rd_end(&r) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 8446 4.2.4: it would guide the choice among certificates, of which we have one a name. */
static int read_authorities(struct rd r, struct hello *h) {
    h->authorities = span_of(r.p, rd_left(&r));
    return 0;
}

/* RFC 8879 3. */
static int read_cert_compression(struct rd r, struct hello *h) {
    h->cert_compression = rd_vec8(&r);
    return is_u16_list(&r, h->cert_compression) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 8422 5.1.2: of interest where TLS 1.2 is chosen. */
static int read_point_formats(struct rd r, struct hello *h) {
    h->has_point_formats = true;
    h->point_formats = span_of(r.p, rd_left(&r));
    return 0;
}

/* RFC 8446 4.2.6. */
static int read_post_handshake_auth(struct rd r, struct hello *h) {
    (void)h;
    return rd_end(&r) ? 0 : ERR_HELLO_MALFORMED;
}

#define EXT_PRE_SHARED_KEY 41

/* IANA "TLS ExtensionType Values". Those not named here are none of our business. */
static const struct {
    uint16_t type;
    int (*read)(struct rd r, struct hello *h);
} extension_table[] = {
    {0, read_server_name},
    {1, read_max_fragment_length},
    {10, read_supported_groups},
    {11, read_point_formats},
    {13, read_sigalgs},
    {50, read_sigalgs_cert},
    {16, read_alpn_protocols},
    {28, read_record_size_limit},
    {42, read_early_data},
    {EXT_PRE_SHARED_KEY, read_pre_shared_key},
    {43, read_supported_versions},
    {51, read_key_share},
    {45, read_psk_modes},
    {5, read_status_request},
    {49, read_post_handshake_auth},
    {27, read_cert_compression},
    {47, read_authorities},
};

static int read_extension(uint16_t type, struct span data, struct hello *h) {
    for (size_t i = 0; i < ARRAY_LEN(extension_table); i++)
        if (extension_table[i].type == type)
            return extension_table[i].read(rd_of(data), h);
    return 0;
}

/* Extension types in the order they came, as many as a block can hold. */
struct seen {
    uint16_t types[UINT16_MAX / 4];
    size_t n;
};

static int read_extensions(struct span block, struct hello *h, struct seen *ret_seen) {
    struct rd r = rd_of(block);
    struct numbers types = {0};
    ret_seen->n = 0;
    while (rd_left(&r) > 0) {
        if (h->has_psk)
            return ERR_RECORD_ILLEGAL; /* it must be the last one */
        uint16_t type = rd_u16(&r);
        struct span data = rd_vec16(&r);
        if (r.bad)
            return ERR_HELLO_MALFORMED;
        if (!add_number(&types, type)) /* RFC 8446 4.2 */
            return ERR_RECORD_ILLEGAL;
        ret_seen->types[ret_seen->n++] = type;
        int err = read_extension(type, data, h);
        if (err)
            return err;
    }
    return 0;
}

/* ---- what the fields of a TLS 1.3 hello owe each other ---- */

/* RFC 8446 4.2.8: one share of a group, and of groups that the client lists. Without a list another rule is broken. */
static int judge_shares(const struct hello *h) {
    struct numbers listed = {0}, sent = {0};
    if (h->groups.len == 0 || h->key_shares.len == 0)
        return 0;
    for (struct rd r = rd_of(h->groups); rd_left(&r) > 0;)
        (void)add_number(&listed, rd_u16(&r));
    for (struct rd r = rd_of(h->key_shares); rd_left(&r) > 0; (void)rd_vec16(&r)) {
        uint16_t group = rd_u16(&r);
        if (!has(&listed, group) || !add_number(&sent, group))
            return ERR_RECORD_ILLEGAL;
    }
    return 0;
}

static int judge_compression(const struct hello *h, struct span methods) {
    if (!memchr(methods.p, 0, methods.len)) /* RFC 5246 7.4.1.2: null must be there */
        return ERR_RECORD_ILLEGAL;
    bool is_1_3 = hello_list_has(h->versions, TLS_1_3);
    return is_1_3 && methods.len != 1 ? ERR_RECORD_ILLEGAL : 0; /* RFC 8446 4.1.2 */
}

/* ---- the message ---- */

int hello_parse(struct span message, struct hello *ret) {
    struct rd r = rd_inside(message);
    struct hello h = {.message = message};

    uint8_t type = rd_u8(&r);
    struct rd body = rd_inside(rd_vec24(&r));
    if (type != CLIENT_HELLO || !rd_end(&r))
        return ERR_HELLO_MALFORMED;

    h.legacy_version = rd_u16(&body);
    h.random = rd_bytes(&body, 32);
    h.session_id = rd_vec8(&body);
    h.suites = rd_vec16(&body);
    struct span compression = rd_vec8(&body);
    struct span block = span_of(message.p, 0);
    if (!body.bad && rd_left(&body) > 0) /* clients before TLS 1.2 may leave the block out */
        block = rd_vec16(&body);
    if (!rd_end(&body) || h.session_id.len > 32 || h.suites.len == 0 || h.suites.len % 2 != 0 || compression.len == 0)
        return ERR_HELLO_MALFORMED;

    static struct seen seen; /* on the stack its clearing would cost more than all the rest */
    int err = read_extensions(block, &h, &seen);
    if (err == 0)
        err = judge_compression(&h, compression);
    if (err == 0 && hello_list_has(h.versions, TLS_1_3))
        err = judge_shares(&h);
    if (err)
        return err;

    const struct ja4_conn_info conn_info = {
        .legacy_version = h.legacy_version,
        .versions = h.versions,
        .suites = h.suites,
        .sigalgs = h.sigalgs,
        .alpn = h.alpn,
        .extensions = seen.types,
        .nextensions = seen.n,
    };
    ja4_write(&conn_info, h.ja4);
    *ret = h;
    return 0;
}

int hello_judge_1_3(const struct hello *h) {
    bool has_groups = h->groups.len > 0, has_sigalgs = h->sigalgs.len > 0;
    if (h->has_psk ? !h->has_psk_modes : !has_groups || !has_sigalgs)
        return ERR_HELLO_LACKS;
    return has_groups == h->has_key_share ? 0 : ERR_HELLO_LACKS;
}

int hello_judge_1_2(const struct hello *h) {
    struct rd r = rd_of(h->point_formats);
    struct span formats = rd_vec8(&r);
    if (!h->has_point_formats)
        return 0;
    if (!rd_end(&r) || formats.len == 0)
        return ERR_HELLO_MALFORMED;
    return memchr(formats.p, 0, formats.len) || h->groups.len == 0 ? 0 : ERR_RECORD_ILLEGAL;
}

/* Numbers looked at before the first that fits ends the search: compilers make a few instructions of a block. */
#define LIST_BLOCK 64

bool hello_list_has(struct span list, uint16_t value) {
    const uint8_t bytes[] = {(uint8_t)(value >> 8), (uint8_t)value};
    uint16_t wanted, block[LIST_BLOCK];
    size_t i = 0;
    memcpy(&wanted, bytes, sizeof(wanted));
    for (; list.len - i >= sizeof(block); i += sizeof(block)) {
        unsigned hits = 0;
        memcpy(block, list.p + i, sizeof(block));
        for (size_t n = 0; n < LIST_BLOCK; n++)
            hits |= block[n] == wanted;
        if (hits)
            return true;
    }
    for (; i + 1 < list.len; i += 2)
        if (list.p[i] == bytes[0] && list.p[i + 1] == bytes[1])
            return true;
    return false;
}
