#include "tls/hello.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "tls/hostname.h"
#include "tls/ja4.h"
#include "tls/suite.h"

#define RECORD_HEADER_LEN  5
#define RECORD_LEN_MAX     16384
#define RECORD_HANDSHAKE   22
#define MESSAGE_HEADER_LEN 4
#define CLIENT_HELLO       1

_Static_assert(HELLO_JA4_LEN == JA4_LEN, "one length of a fingerprint");
_Static_assert(HELLO_NAME_MAX == HOSTNAME_MAX, "one length of a name");
_Static_assert(UINT16_MAX / 2 <= JA4_LIST_MAX, "every list of a hello fits");

/* ---- what speaks here ---- */

#define FIRST_BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *bytes;
    size_t len;
    enum sniff means;
} first_bytes_table[] = {
    {FIRST_BYTES("GET "), SNIFF_HTTP},
    {FIRST_BYTES("HEAD "), SNIFF_HTTP},
    {FIRST_BYTES("POST "), SNIFF_HTTP},
    {FIRST_BYTES("PUT "), SNIFF_HTTP},
    {FIRST_BYTES("PATCH "), SNIFF_HTTP},
    {FIRST_BYTES("DELETE "), SNIFF_HTTP},
    {FIRST_BYTES("OPTIONS "), SNIFF_HTTP},
    {FIRST_BYTES("CONNECT "), SNIFF_HTTP},
    {FIRST_BYTES("TRACE "), SNIFF_HTTP},
    {FIRST_BYTES("PROPFIND "), SNIFF_HTTP},
    {FIRST_BYTES("PRI * HTTP/2.0\r\n"), SNIFF_HTTP}, /* RFC 9113 3.4 */
    {FIRST_BYTES("SSH-"), SNIFF_SSH},                /* RFC 4253 4.2 */
    {FIRST_BYTES("PROXY "), SNIFF_PROXY},
    {FIRST_BYTES("\r\n\r\n\0\r\nQUIT\n"), SNIFF_PROXY},
};

/* A record header: any content type of the handshake, major version 3. */
static enum sniff sniff_tls(struct span in) {
    if (in.p[0] < 20 || in.p[0] > 23)
        return SNIFF_OTHER;
    if (in.len < 2)
        return SNIFF_MORE;
    return in.p[1] == 3 ? SNIFF_TLS : SNIFF_OTHER;
}

/* RFC 5246 E.2: length with the high bit set, CLIENT-HELLO, version. */
static enum sniff sniff_sslv2(struct span in) {
    static const uint8_t mask[] = {0x80, 0x00, 0xff, 0xfc, 0x00}, want[] = {0x80, 0x00, 0x01, 0x00, 0x00};
    for (size_t i = 0; i < MIN(in.len, sizeof(mask)); i++)
        if ((in.p[i] & mask[i]) != want[i])
            return SNIFF_OTHER;
    return in.len < sizeof(mask) ? SNIFF_MORE : SNIFF_SSLV2;
}

enum sniff hello_sniff(struct span in) {
    if (in.len == 0)
        return SNIFF_MORE;
    enum sniff best = sniff_tls(in);
    if (best == SNIFF_OTHER)
        best = sniff_sslv2(in);
    for (size_t i = 0; best == SNIFF_OTHER && i < ARRAY_LEN(first_bytes_table); i++)
        if (in.len >= first_bytes_table[i].len && memcmp(in.p, first_bytes_table[i].bytes, first_bytes_table[i].len) == 0)
            best = first_bytes_table[i].means;
    for (size_t i = 0; best == SNIFF_OTHER && i < ARRAY_LEN(first_bytes_table); i++)
        if (in.len < first_bytes_table[i].len && memcmp(in.p, first_bytes_table[i].bytes, in.len) == 0)
            best = SNIFF_MORE;
    return best;
}

static int err_of_sniff(enum sniff s) {
    switch (s) {
    case SNIFF_SSLV2:
        return ERR_SSLV2;
    case SNIFF_HTTP:
        return ERR_PLAIN_HTTP;
    case SNIFF_SSH:
        return ERR_PLAIN_SSH;
    case SNIFF_PROXY:
        return ERR_PROXY_UNEXPECTED;
    default:
        return ERR_NOT_TLS;
    }
}

/* ---- the message in its records ---- */

/* One record of the client's bytes; PART is shorter than LEN when not all of it is here. */
struct wire_record {
    struct span part;
    size_t len;
};

static enum step read_record(struct span in, size_t off, struct wire_record *ret, int *ret_err) {
    struct rd r = rd_of(span_of(in.p + off, in.len - off));
    uint8_t type = rd_u8(&r), major = rd_u8(&r);
    (void)rd_u8(&r); /* RFC 8446 5.1, RFC 5246 E.1: any minor version */
    size_t len = rd_u16(&r);
    if (r.bad)
        return STEP_WANT_READ;

    int err = 0;
    if (type != RECORD_HANDSHAKE)
        err = ERR_HELLO_UNEXPECTED;
    else if (major != 3)
        err = ERR_RECORD_VERSION;
    else if (len > RECORD_LEN_MAX)
        err = ERR_RECORD_OVERFLOW;
    else if (len == 0) /* RFC 8446 5.1, 5.4 */
        err = ERR_HELLO_UNEXPECTED;
    if (err) {
        *ret_err = err;
        return STEP_FAILED;
    }
    ret->len = len;
    ret->part = rd_bytes(&r, MIN(len, rd_left(&r)));
    return STEP_DONE;
}

/* Looks at the message's own header as soon as bytes of it are here. */
static int look_at_head(struct hello_scan *scan, struct span part) {
    for (size_t i = 0; i < part.len && scan->seen + i < MESSAGE_HEADER_LEN; i++)
        scan->head[scan->seen + i] = part.p[i];
    size_t have = scan->seen + part.len;
    if (have >= 1 && scan->head[0] != CLIENT_HELLO)
        return ERR_HELLO_UNEXPECTED;
    if (have < MESSAGE_HEADER_LEN || scan->need)
        return 0;
    scan->need = MESSAGE_HEADER_LEN + ((uint32_t)scan->head[1] << 16 | (uint32_t)scan->head[2] << 8 | scan->head[3]);
    return scan->need > HELLO_MESSAGE_MAX ? ERR_HELLO_TOO_LONG : 0;
}

static bool is_whole(const struct hello_scan *scan) {
    return scan->need && scan->seen == scan->need;
}

/* Goes on through the records behind those that were seen whole. */
static enum step measure_hello(struct hello_scan *scan, struct span in, int *ret_err) {
    while (!is_whole(scan)) {
        struct wire_record rec;
        enum step step = read_record(in, scan->wire_len, &rec, ret_err);
        if (step != STEP_DONE)
            return step;
        int err = scan->records < HELLO_RECORDS_MAX ? look_at_head(scan, rec.part) : ERR_HELLO_MALFORMED;
        /* Nothing may follow in the same record: no message can come before our answer (RFC 8446 5.1). */
        if (!err && scan->need && scan->seen + rec.len > scan->need)
            err = ERR_HELLO_UNEXPECTED;
        if (err) {
            *ret_err = err;
            return STEP_FAILED;
        }
        if (rec.part.len < rec.len)
            return STEP_WANT_READ;
        scan->records++;
        scan->seen += (uint32_t)rec.len;
        scan->wire_len += (uint32_t)(RECORD_HEADER_LEN + rec.len);
    }
    return STEP_DONE;
}

/* Copies the contents of records that measure_hello() found whole. */
static void gather(struct span in, size_t wire_len, uint8_t *to) {
    struct rd r = rd_of(span_of(in.p, wire_len));
    while (rd_left(&r) > 0) {
        (void)rd_bytes(&r, RECORD_HEADER_LEN - 2); /* checked by measure_hello() */
        struct span part = rd_vec16(&r);
        if (part.len > 0)
            memcpy(to, part.p, part.len);
        to += part.len;
    }
}

enum step hello_find(struct hello_scan *scan, struct span in, uint8_t scratch[static HELLO_MESSAGE_MAX],
                     struct span *ret_message, size_t *ret_wire_len, int *ret_err) {
    enum sniff sniff = hello_sniff(in);
    if (sniff == SNIFF_MORE)
        return STEP_WANT_READ;
    if (sniff != SNIFF_TLS) {
        *ret_err = err_of_sniff(sniff);
        return STEP_FAILED;
    }
    enum step step = measure_hello(scan, in, ret_err);
    if (step != STEP_DONE)
        return step;
    if (scan->records == 1) {
        *ret_message = span_of(in.p + RECORD_HEADER_LEN, scan->need);
    } else {
        gather(in, scan->wire_len, scratch);
        *ret_message = span_of(scratch, scan->need);
    }
    *ret_wire_len = scan->wire_len;
    return STEP_DONE;
}

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

static int read_groups(struct rd r, struct hello *h) {
    h->groups = rd_vec16(&r);
    return is_u16_list(&r, h->groups) ? 0 : ERR_HELLO_MALFORMED;
}

static int read_sigalgs(struct rd r, struct hello *h) {
    h->sigalgs = rd_vec16(&r);
    return is_u16_list(&r, h->sigalgs) ? 0 : ERR_HELLO_MALFORMED;
}

static int read_versions(struct rd r, struct hello *h) {
    h->versions = rd_vec8(&r);
    return is_u16_list(&r, h->versions) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 7301 3.1. */
static int read_alpn(struct rd r, struct hello *h) {
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
    h->wants_ocsp = rd_u8(&r) == 1;
    if (!h->wants_ocsp)
        return r.bad ? ERR_HELLO_MALFORMED : 0;
    (void)rd_vec16(&r);
    (void)rd_vec16(&r);
    return rd_end(&r) ? 0 : ERR_HELLO_MALFORMED;
}

/* RFC 8879 3. */
static int read_cert_compression(struct rd r, struct hello *h) {
    h->cert_compression = rd_vec8(&r);
    return is_u16_list(&r, h->cert_compression) ? 0 : ERR_HELLO_MALFORMED;
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
    {10, read_groups},
    {13, read_sigalgs},
    {16, read_alpn},
    {28, read_record_size_limit},
    {42, read_early_data},
    {EXT_PRE_SHARED_KEY, read_pre_shared_key},
    {43, read_versions},
    {51, read_key_share},
    {45, read_psk_modes},
    {5, read_status_request},
    {49, read_post_handshake_auth},
    {27, read_cert_compression},
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

bool hello_list_has(struct span list, uint16_t value) {
    for (size_t i = 0; i + 1 < list.len; i += 2)
        if ((list.p[i] << 8 | list.p[i + 1]) == value)
            return true;
    return false;
}
