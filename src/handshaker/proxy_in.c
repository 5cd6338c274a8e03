/* See proxy_in.h. A header is used only when it is complete and checked. */
#include "handshaker/proxy_in.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "base/rd.h"
#include "base/text.h"

#define V1_MAX  107
#define V2_HEAD 16

enum { PP2_CRC32C = 0x03 };

static const uint8_t v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* How far IN matches MAGIC: whole, so far, or not at all. */
enum match { MATCH_NO, MATCH_SO_FAR, MATCH_ALL };

static enum match match(struct span in, const void *magic, size_t n) {
    size_t have = MIN(in.len, n);
    if (have && memcmp(in.p, magic, have) != 0)
        return MATCH_NO;
    return have == n ? MATCH_ALL : MATCH_SO_FAR;
}

/* An address as the rest of the program names it: IPv4 in IPv6 becomes IPv4. */
static struct addr named(int family, const void *ip, uint16_t port) {
    struct sockaddr_storage ss;
    struct addr a = {.family = (uint16_t)family, .port = port};
    memcpy(a.ip, ip, family == AF_INET ? 4 : 16);
    (void)addr_to_sockaddr(&a, &ss); /* its length is known by the family */
    addr_from_sockaddr(&ss, &a);
    return a;
}

/* Takes the next field from the front of LINE: up to one space, or to the end when it is the LAST. */
static bool take_field(struct span *line, bool last, char *to, size_t cap) {
    const uint8_t *space = line->len ? memchr(line->p, ' ', line->len) : NULL;
    size_t n = space ? (size_t)(space - line->p) : line->len;
    if (last == (space != NULL) || n == 0 || n >= cap || memchr(line->p, 0, n))
        return false;
    memcpy(to, line->p, n);
    to[n] = 0;
    *line = span_of(line->p + n + !last, line->len - n - !last);
    return true;
}

/* An address in the canonical text of either family. */
static bool take_ip(struct span *line, struct addr *to) {
    char text[ADDR_TEXT_MAX];
    if (!take_field(line, false, text, sizeof(text)))
        return false;
    to->family = strchr(text, ':') ? AF_INET6 : AF_INET;
    return inet_pton(to->family, text, to->ip) == 1;
}

/* Decimal without leading zeros (2.1). */
static bool take_port(struct span *line, bool last, uint16_t *to) {
    char text[8];
    uint64_t n = 0;
    if (!take_field(line, last, text, sizeof(text)) || (text[0] == '0' && text[1]))
        return false;
    if (text_parse_u64(text, UINT16_MAX, &n) != 0)
        return false;
    *to = (uint16_t)n;
    return true;
}

/*
 * LINE: what stands between "PROXY " and the line's end. Senders that learned the client from another header may have ends of
 * two families, and name the protocol by one of them; so the name has to be true of one address, not of both.
 */
static bool parse_v1(struct span line, struct proxy_in *ret) {
    char proto[8];
    struct addr src = {0}, dst = {0};
    if (span_has_prefix(line, "UNKNOWN") && (line.len == 7 || line.p[7] == ' ')) {
        ret->local = true;
        return true;
    }
    if (!take_field(&line, false, proto, sizeof(proto)))
        return false;
    bool tcp4 = strcmp(proto, "TCP4") == 0, tcp6 = strcmp(proto, "TCP6") == 0;
    if (!(tcp4 || tcp6) || !take_ip(&line, &src) || !take_ip(&line, &dst) || !take_port(&line, false, &src.port) ||
        !take_port(&line, true, &dst.port))
        return false;
    ret->client = named(src.family, src.ip, src.port);
    ret->service = named(dst.family, dst.ip, dst.port);
    if (tcp6)
        return src.family == AF_INET6 || dst.family == AF_INET6;
    return ret->client.family == AF_INET || ret->service.family == AF_INET;
}

static enum step read_v1(struct span in, struct proxy_in *ret, int *ret_err) {
    size_t n = MIN(in.len, (size_t)V1_MAX);
    const uint8_t *end = memchr(in.p, '\n', n);
    if (!end && n < V1_MAX)
        return STEP_WANT_READ;
    struct proxy_in got = {0};
    if (end && end[-1] == '\r') {
        got.len = (size_t)(end - in.p) + 1;
        if (parse_v1(span_of(in.p + 6, got.len - 8), &got)) {
            *ret = got;
            return STEP_DONE;
        }
    }
    *ret_err = ERR_PROXY_MALFORMED;
    return STEP_FAILED;
}

/* The checksum over the whole header with its own field as zeros (2.2.3). FIELD lies within HEADER. */
static bool crc_is_right(struct span header, struct span field) {
    uint8_t copy[PROXY_IN_MAX];
    struct rd r = rd_of(field);
    uint32_t want = rd_u32(&r);
    MUST(header.len <= sizeof(copy));
    memcpy(copy, header.p, header.len);
    memset(copy + (field.p - header.p), 0, 4);
    return crc32c(copy, header.len) == want;
}

/* TLVs have to fill the rest exactly; unknown ones are skipped, a checksum must be right and single. */
static bool check_tlvs(struct rd *r, struct span header) {
    bool crc_seen = false;
    while (!r->bad && rd_left(r)) {
        uint8_t type = rd_u8(r);
        struct span value = rd_vec16(r);
        if (r->bad || type != PP2_CRC32C)
            continue;
        if (crc_seen || value.len != 4 || !crc_is_right(header, value))
            return false;
        crc_seen = true;
    }
    return rd_end(r);
}

/* R is behind the fixed 16 bytes. */
static bool parse_v2(struct rd *r, uint8_t command, uint8_t family, struct span header, struct proxy_in *ret) {
    const uint8_t unix_len = 2 * 108;
    bool is_stream = (family & 0xf) == 1;
    if (command == 0 || (family & 0xf) == 0 || family >> 4 == 0) {
        ret->local = true; /* the block must be discarded unread */
        return true;
    }
    if (family >> 4 == 3) {
        (void)rd_bytes(r, unix_len); /* Unix addresses name no client of ours */
        ret->local = true;
        return check_tlvs(r, header);
    }
    size_t n = family >> 4 == 1 ? 4 : 16;
    struct span src = rd_bytes(r, n), dst = rd_bytes(r, n);
    uint16_t sport = rd_u16(r), dport = rd_u16(r);
    if (r->bad)
        return false;
    if (is_stream) {
        ret->client = named(n == 4 ? AF_INET : AF_INET6, src.p, sport);
        ret->service = named(n == 4 ? AF_INET : AF_INET6, dst.p, dport);
    } else {
        ret->local = true; /* datagrams: no such thing here, so as unspecified (2.2) */
    }
    return check_tlvs(r, header);
}

static enum step read_v2(struct span in, struct proxy_in *ret, int *ret_err) {
    if (in.len < V2_HEAD)
        return STEP_WANT_READ;
    struct rd r = rd_of(in);
    (void)rd_bytes(&r, sizeof(v2_signature)); /* compared by the caller */
    uint8_t version_command = rd_u8(&r), family = rd_u8(&r);
    size_t len = V2_HEAD + (size_t)rd_u16(&r);
    *ret_err = ERR_PROXY_MALFORMED;
    if (version_command >> 4 != 2 || (version_command & 0xf) > 1 || len > PROXY_IN_MAX)
        return STEP_FAILED;
    bool has_family = (version_command & 0xf) == 1;
    if (has_family && (family >> 4 > 3 || (family & 0xf) > 2))
        return STEP_FAILED;
    if (in.len < len)
        return STEP_WANT_READ;
    struct proxy_in got = {.len = len};
    struct span header = span_of(in.p, len);
    r = rd_of(span_of(in.p + V2_HEAD, len - V2_HEAD));
    if (!parse_v2(&r, version_command & 0xf, family, header, &got))
        return STEP_FAILED;
    *ret = got;
    return STEP_DONE;
}

enum step proxy_in_read(struct span in, struct proxy_in *ret, int *ret_err) {
    enum match v1 = match(in, "PROXY ", 6), v2 = match(in, v2_signature, sizeof(v2_signature));
    if (v2 == MATCH_ALL)
        return read_v2(in, ret, ret_err);
    if (v1 == MATCH_ALL)
        return read_v1(in, ret, ret_err);
    if (v1 == MATCH_SO_FAR || v2 == MATCH_SO_FAR)
        return STEP_WANT_READ;
    *ret_err = ERR_PROXY_MISSING;
    return STEP_FAILED;
}
