#include "tls/hello_find.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"

#define RECORD_HEADER_LEN  5
#define RECORD_LEN_MAX     16384
#define RECORD_ALERT       21
#define RECORD_HANDSHAKE   22
#define MESSAGE_HEADER_LEN 4
#define CLIENT_HELLO       1

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

/* RFC 8446 6: the level says nothing. user_canceled only announces the end, and may not come between fragments (5.1). */
static int err_of_alert(const struct hello_scan *scan) {
    switch (scan->alert) {
    case ALERT_CLOSE_NOTIFY:
        return ERR_HANDSHAKE_CLOSED;
    case ALERT_USER_CANCELED:
        return scan->records ? ERR_HELLO_UNEXPECTED : ERR_HANDSHAKE_CLOSED;
    default:
        return ERR_PEER_ALERT;
    }
}

static enum step read_alert(struct hello_scan *scan, struct rd *r, size_t len, int *ret_err) {
    *ret_err = ERR_RECORD_DECODE;
    if (len != 2)
        return STEP_FAILED;
    (void)rd_u8(r);
    scan->alert = rd_u8(r);
    if (r->bad)
        return STEP_WANT_READ;
    *ret_err = err_of_alert(scan);
    return STEP_FAILED;
}

static enum step read_record(struct hello_scan *scan, struct span in, struct wire_record *ret, int *ret_err) {
    size_t off = scan->wire_len;
    struct rd r = rd_of(span_of(in.p + off, in.len - off));
    uint8_t type = rd_u8(&r), major = rd_u8(&r);
    (void)rd_u8(&r); /* RFC 8446 5.1, RFC 5246 E.1: any minor version */
    size_t len = rd_u16(&r);
    if (r.bad)
        return STEP_WANT_READ;

    int err = 0;
    if (major == 3 && type == RECORD_ALERT && len > 0)
        return read_alert(scan, &r, len, ret_err);
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
static enum step look_through(struct hello_scan *scan, struct span in, int *ret_err) {
    while (!is_whole(scan)) {
        struct wire_record rec;
        enum step step = read_record(scan, in, &rec, ret_err);
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

/* Copies the contents of records that look_through() found whole. */
static void gather(struct span in, size_t wire_len, uint8_t *to) {
    struct rd r = rd_of(span_of(in.p, wire_len));
    while (rd_left(&r) > 0) {
        (void)rd_bytes(&r, RECORD_HEADER_LEN - 2); /* checked by look_through() */
        struct span part = rd_vec16(&r);
        if (part.len > 0)
            memcpy(to, part.p, part.len);
        to += part.len;
    }
}

enum step hello_measure(struct hello_scan *scan, struct span in, int *ret_err) {
    enum sniff sniff = hello_sniff(in);
    if (sniff == SNIFF_MORE)
        return STEP_WANT_READ;
    if (sniff != SNIFF_TLS) {
        *ret_err = err_of_sniff(sniff);
        return STEP_FAILED;
    }
    return look_through(scan, in, ret_err);
}

struct span hello_gather(const struct hello_scan *scan, struct span in, uint8_t *scratch) {
    if (scan->records == 1)
        return span_of(in.p + RECORD_HEADER_LEN, scan->need);
    gather(in, scan->wire_len, scratch);
    return span_of(scratch, scan->need);
}

enum step hello_find(struct hello_scan *scan, struct span in, uint8_t scratch[static HELLO_MESSAGE_MAX],
                     struct span *ret_message, size_t *ret_wire_len, int *ret_err) {
    enum step step = hello_measure(scan, in, ret_err);
    if (step != STEP_DONE)
        return step;
    *ret_message = hello_gather(scan, in, scratch);
    *ret_wire_len = scan->wire_len;
    return STEP_DONE;
}
