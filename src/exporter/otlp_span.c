#include "exporter/otlp_span.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/escape.h"
#include "tls/suite.h"

#define KIND_SERVER  2
#define STATUS_ERROR 2
#define UNKNOWN_TEXT "unknown" /* a connection that ended before its service was known */

/* ---- JSON ---- */

/* Between members; not before the first. */
static void put_comma(struct text *t) {
    if (t->len && t->p[t->len - 1] != '[' && t->p[t->len - 1] != '{')
        text_add(t, ",");
}

static void put_attribute(struct text *t, const char *key) {
    put_comma(t);
    text_addf(t, "{\"key\":\"%s\",\"value\":", key);
}

/* What would do harm where somebody looks at it is not passed on in escapes, which a reader takes off: it is replaced. */
static void put_string(struct text *t, struct span s) {
    char clean[3 * EVENT_TEXT_MAX + 1];
    struct text c = text_of(clean, sizeof(clean));
    escape_clean(&c, s);
    escape_quoted(t, span_of(clean, c.len));
}

/* An empty value is omitted. */
static void put_string_attribute(struct text *t, const char *key, struct span value) {
    if (value.len == 0)
        return;
    put_attribute(t, key);
    text_add(t, "{\"stringValue\":");
    put_string(t, value);
    text_add(t, "}}");
}

static void put_word(struct text *t, const char *key, const char *value) {
    put_string_attribute(t, key, span_str(value));
}

static void put_int_attribute(struct text *t, const char *key, uint64_t value) {
    put_attribute(t, key);
    text_addf(t, "{\"intValue\":\"%" PRIu64 "\"}}", MIN(value, (uint64_t)INT64_MAX));
}

static void put_bool(struct text *t, const char *key, bool value) {
    put_attribute(t, key);
    text_addf(t, "{\"boolValue\":%s}}", value ? "true" : "false");
}

static void put_hex(struct text *t, const char *key, struct span bytes) {
    char hex[2 * 64 + 1];
    struct text h = text_of(hex, sizeof(hex));
    text_add_hex(&h, bytes);
    put_word(t, key, hex);
}

static void put_nanoseconds(struct text *t, const char *name, uint64_t us) {
    text_addf(t, "\"%s\":\"%" PRIu64 "\"", name, MIN(us, UINT64_MAX / 1000) * 1000);
}

/* ---- attributes ---- */

static void put_address(struct text *t, const struct addr *a, const char *address, const char *port) {
    char text[ADDR_TEXT_MAX];
    if (a->family == AF_UNSPEC)
        return;
    put_word(t, address, addr_ip_text(a, text));
    if (addr_is_ip(a))
        put_int_attribute(t, port, a->port);
}

static bool is_plain_host(struct span s) {
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i], lower = c | 0x20;
        if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.'))
            return false;
    }
    return s.len > 0;
}

/* The server is what the client wanted to reach: by name where it gave one. */
static void put_network(struct text *t, const struct conn_info *f) {
    const struct addr *peer = f->peer.family != AF_UNSPEC ? &f->peer : &f->client;
    put_address(t, &f->client, "client.address", "client.port");
    put_address(t, peer, "network.peer.address", "network.peer.port");
    put_address(t, &f->local, "network.local.address", "network.local.port");
    put_word(t, "network.transport", peer->family == AF_UNIX ? "unix" : "tcp");
    if (addr_is_ip(peer))
        put_word(t, "network.type", peer->family == AF_INET ? "ipv4" : "ipv6");
    if (is_plain_host(f->sni)) {
        put_string_attribute(t, "server.address", f->sni);
        if (addr_is_ip(&f->local))
            put_int_attribute(t, "server.port", f->local.port);
    } else {
        put_address(t, &f->local, "server.address", "server.port");
    }
}

/* The registered name, or the number in hexadecimal digits. */
static void put_code(struct text *t, const char *key, uint16_t id, const char *name) {
    char number[8];
    struct text n = text_of(number, sizeof(number));
    text_addf(&n, "0x%04x", id);
    if (id)
        put_word(t, key, name ? name : number);
}

static void put_client(struct text *t, const struct conn_info_client *c) {
    char hash[2 * sizeof(c->fingerprint) + 1];
    struct text h = text_of(hash, sizeof(hash));
    for (size_t i = 0; i < sizeof(c->fingerprint); i++)
        text_addf(&h, "%02X", c->fingerprint[i]); /* as the conventions have it */
    put_word(t, "tls.client.hash.sha256", hash);
    put_string_attribute(t, "tls_off.client.name", c->name);
    put_word(t, "tls_off.client.identity_source", identity_source_text(c->identity_source));
    put_string_attribute(t, "tls_off.client.cn", c->cn);
    put_hex(t, "tls_off.client.serial", c->serial);
}

static void put_tls(struct text *t, const struct event *e) {
    const struct conn_info *f = &e->conn_info;
    const struct suite *suite = suite_by_id(f->suite);
    const struct group *group = group_by_id(f->group);
    if (f->tls_version || e->kind == EVENT_FAILURE) /* else it is passed through */
        put_bool(t, "tls.established", e->kind == EVENT_SESSION);
    if (f->tls_version) {
        put_word(t, "tls.protocol.name", "tls");
        put_word(t, "tls.protocol.version", f->tls_version == TLS_1_3 ? "1.3" : "1.2");
        put_bool(t, "tls.resumed", f->resumed);
    }
    put_code(t, "tls.cipher", f->suite, suite ? suite->name : NULL);
    put_code(t, "tls.curve", f->group, group ? group->name : NULL);
    put_string_attribute(t, "tls.next_protocol", f->alpn);
    put_string_attribute(t, "tls.client.server_name", f->sni);
    if (f->id.verified)
        put_client(t, &f->id);
    put_word(t, "tls_off.handshake", handshake_maker_text(f->made_by));
    put_string_attribute(t, "tls_off.ja4", f->ja4);
    put_string_attribute(t, "tls_off.certificate", f->cert_file);
}

static void put_span_result(struct text *t, const struct event *e) {
    char alert[64];
    struct text a = text_of(alert, sizeof(alert));
    put_string_attribute(t, "tls_off.service", e->service);
    if (e->kind == EVENT_SESSION) {
        put_string_attribute(t, "tls_off.backend", e->backend);
        put_int_attribute(t, "tls_off.bytes_in", e->bytes_in);
        put_int_attribute(t, "tls_off.bytes_out", e->bytes_out);
        put_word(t, "tls_off.client_end", side_end_name(e->client_end));
        put_word(t, "tls_off.backend_end", side_end_name(e->backend_end));
        put_int_attribute(t, "tls_off.retries", e->retries);
    }
    if (e->reason)
        put_word(t, "error.type", err_name(e->reason));
    put_string_attribute(t, "tls_off.detail", e->text);
    if (e->reason != ERR_PEER_ALERT)
        return;
    text_add(&a, alert_name(e->alert));
    if (strcmp(alert, "unknown") == 0)
        text_addf(&a, "_%u", e->alert);
    put_word(t, "tls_off.alert", alert);
}

/* ---- events ---- */

/* So long after accept. */
static void put_event(struct text *t, const struct event *e, uint64_t after_us, const char *name) {
    put_comma(t);
    text_add(t, "{");
    put_nanoseconds(t, "timeUnixNano", e->conn_info.start_wall_us + MIN(after_us, e->duration_us));
    text_addf(t, ",\"name\":\"%s\"}", name);
}

/* What is not known, as of a session that an older version handed over, is omitted. */
static void put_events(struct text *t, const struct event *e) {
    if (e->conn_info.tls_version && e->kind == EVENT_SESSION)
        put_event(t, e, e->conn_info.handshake_us, "handshake");
    if (e->relay_us && e->connect_us)
        put_event(t, e, e->relay_us + e->connect_us, "backend.connected");
    if (e->relay_us && e->first_byte_us)
        put_event(t, e, e->relay_us + e->first_byte_us, "backend.first_byte");
    put_event(t, e, e->duration_us, "end");
}

static void put_status(struct text *t, const struct event *e) {
    if (!e->reason)
        return;
    text_addf(t, ",\"status\":{\"code\":%d,\"message\":\"%s\"}", STATUS_ERROR, err_name(e->reason));
}

/* ---- the whole ---- */

void otlp_head_write(struct text *t, const struct otlp_resource *r) {
    text_add(t, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_word(t, "service.name", r->service_name);
    put_word(t, "service.version", TLS_OFF_VERSION);
    put_word(t, "service.instance.id", r->instance);
    put_word(t, "host.name", r->host);
    text_add(t, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"tls-off\",\"version\":\"" TLS_OFF_VERSION "\"},\"spans\":[");
}

bool otlp_span_write(struct text *t, const struct event *e) {
    const struct conn_info *f = &e->conn_info;
    if (e->kind != EVENT_SESSION && e->kind != EVENT_FAILURE)
        return false;
    text_add(t, "{\"traceId\":\"");
    text_add_hex(t, span_of(f->unique_id, sizeof(f->unique_id)));
    text_add(t, "\",\"spanId\":\"");
    text_add_hex(t, span_of(f->unique_id + sizeof(f->unique_id) / 2, sizeof(f->unique_id) / 2));
    text_add(t, "\",\"name\":");
    put_string(t, e->service.len ? e->service : span_str(UNKNOWN_TEXT));
    text_addf(t, ",\"kind\":%d,", KIND_SERVER);
    put_nanoseconds(t, "startTimeUnixNano", f->start_wall_us);
    text_add(t, ",");
    put_nanoseconds(t, "endTimeUnixNano", f->start_wall_us + e->duration_us);
    text_add(t, ",\"attributes\":[");
    put_network(t, f);
    put_tls(t, e);
    put_span_result(t, e);
    text_add(t, "],\"events\":[");
    put_events(t, e);
    text_add(t, "]");
    put_status(t, e);
    text_add(t, "}");
    MUST(!t->cut);
    return true;
}
