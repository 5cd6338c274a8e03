/* See request_info.h. Bytes that are not UTF-8 are shown as '?': a sender must not be able to break the JSON. */
#include "request_info.h"

#include <ctype.h>
#include <microhttpd.h>
#include <string.h>

#include "base/rd.h"
#include "base/text.h"

/* proxy-protocol.txt 2.2 */
enum { PP2_ALPN = 0x01, PP2_AUTHORITY = 0x02, PP2_CRC32C = 0x03, PP2_UNIQUE_ID = 0x05, PP2_SSL = 0x20 };
enum { PP2_SSL_VERSION = 0x21, PP2_SSL_CN = 0x22, PP2_SSL_CIPHER = 0x23 };

#define SHOWN_MAX 8192 /* of one text; MHD takes no longer header anyway */

static json_t *text_json(struct span s) {
    json_t *whole = json_stringn((const char *)s.p, s.len);
    if (whole)
        return whole;
    char clean[SHOWN_MAX];
    size_t n = MIN(s.len, sizeof(clean));
    for (size_t i = 0; i < n; i++)
        clean[i] = s.p[i] < 0x80 ? (char)s.p[i] : '?';
    return json_stringn(clean, n);
}

static json_t *hex_json(struct span s) {
    char hex[2 * 128 + 1];
    struct text t = text_of(hex, sizeof(hex));
    text_add_hex(&t, s);
    return json_string(hex);
}

static json_t *addr_json(const struct addr *a) {
    char to[ADDR_TEXT_MAX];
    return a->family == AF_UNSPEC ? json_null() : json_string(addr_text(a, to));
}

/* A member that cannot be set for lack of memory is omitted. */
static void set(json_t *o, const char *key, json_t *value) {
    (void)!json_object_set_new(o, key, value);
}

static void add_ssl(json_t *o, struct span value) {
    struct rd r = rd_of(value);
    set(o, "client", json_integer(rd_u8(&r)));
    set(o, "verify", json_integer(rd_u32(&r)));
    while (!r.bad && rd_left(&r)) {
        uint8_t type = rd_u8(&r);
        struct span v = rd_vec16(&r);
        if (type == PP2_SSL_VERSION)
            set(o, "tls_version", text_json(v));
        else if (type == PP2_SSL_CIPHER)
            set(o, "cipher", text_json(v));
        else if (type == PP2_SSL_CN)
            set(o, "client_name", text_json(v));
    }
}

static void add_tlvs(json_t *o, struct rd *r) {
    while (!r->bad && rd_left(r)) {
        uint8_t type = rd_u8(r);
        struct span v = rd_vec16(r);
        if (type == PP2_ALPN)
            set(o, "alpn", text_json(v));
        else if (type == PP2_AUTHORITY)
            set(o, "authority", text_json(v));
        else if (type == PP2_UNIQUE_ID)
            set(o, "unique_id", hex_json(v));
        else if (type == PP2_CRC32C)
            set(o, "crc32c", json_string("right")); /* a wrong one is no header */
        else if (type == PP2_SSL)
            add_ssl(o, v);
    }
}

json_t *info_of_header(struct span header, const struct proxy_in *in) {
    static const char *const keys[] = {"tls_version", "cipher",    "alpn",   "authority", "client_name",
                                       "client",      "unique_id", "verify", "crc32c"};
    json_t *o = json_object();
    bool v1 = span_has_prefix(header, "PROXY");
    set(o, "version", json_integer(v1 ? 1 : 2));
    set(o, "local", json_boolean(in->local));
    set(o, "source", addr_json(&in->client));
    set(o, "destination", addr_json(&in->service));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        set(o, keys[i], json_null());
    if (v1 || in->local)
        return o;
    struct rd r = rd_of(header);
    (void)rd_bytes(&r, 13);
    size_t addresses = rd_u8(&r) >> 4 == 1 ? 12 : 36;
    (void)rd_bytes(&r, 2 + addresses);
    add_tlvs(o, &r);
    return o;
}

/* Names in lower case; a name that comes again is joined by a comma (RFC 9110 5.3). */
static enum MHD_Result add_field(void *ctx, enum MHD_ValueKind kind, const char *key, const char *value) {
    char name[256];
    json_t *o = ctx;
    size_t n = MIN(strlen(key), sizeof(name) - 1);
    (void)kind;
    for (size_t i = 0; i < n; i++)
        name[i] = (unsigned char)key[i] < 0x80 ? (char)tolower((unsigned char)key[i]) : '?';
    name[n] = 0;
    json_t *fresh = text_json(span_str(value ? value : ""));
    const char *before = json_string_value(json_object_get(o, name));
    if (before && fresh) {
        json_t *both = json_sprintf("%s, %s", before, json_string_value(fresh));
        json_decref(fresh);
        fresh = both;
    }
    set(o, name, fresh);
    return MHD_YES;
}

json_t *info_of_request(struct MHD_Connection *c, const char *method, const char *path, const char *version, json_t *proxy) {
    json_t *o = json_object(), *headers = json_object(), *query = json_object();
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, add_field, headers);
    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, add_field, query);
    set(o, "method", text_json(span_str(method)));
    set(o, "path", text_json(span_str(path)));
    set(o, "query", query);
    set(o, "http", text_json(span_str(version)));
    set(o, "headers", headers);
    set(o, "proxy", proxy ? json_incref(proxy) : json_null());
    return o;
}
