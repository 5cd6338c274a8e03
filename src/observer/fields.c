#include "observer/fields.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/err.h"

static const char *level_name(enum log_level level) {
    static const char *const names[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARNING] = "warning",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
    };
    return (unsigned)level < ARRAY_LEN(names) ? names[level] : "unknown";
}

static bool is_ours(int reason) {
    switch (reason) {
    case ERR_NOMEM:
    case ERR_SYSTEM:
    case ERR_CRYPTO:
    case ERR_OUT_OF_FDS:
    case ERR_GAVE_WAY:
    case ERR_LEAVE:
    case ERR_SIGNER_TIMEOUT:
    case ERR_SIGNER_REFUSED:
    case ERR_NO_RELAY:
    case ERR_CLIENT_CRL_STALE:
    case ERR_CLIENT_CRL_MISSING:
    case ERR_NO_BUFFERS:
    case ERR_BACKEND_REFUSED:
    case ERR_BACKEND_TIMEOUT:
    case ERR_BACKEND_BACKLOG:
    case ERR_NO_LOCAL_PORT:
    case ERR_GREETING_PREAUTH:
    case ERR_GREETING_FORMAT:
    case ERR_GREETING_TOO_LONG:
    case ERR_GREETING_CLOSED:
    case ERR_GREETING_TIMEOUT:
        return true;
    default:
        return false;
    }
}

enum log_level event_level(const struct event *e) {
    enum log_level said = (enum log_level)e->level;
    return e->kind != EVENT_LINE && is_ours(e->reason) ? MIN(said, LOG_LEVEL_WARNING) : said;
}

/* The name the operator gave; "?" for an index that is out of range. Static or CONF's. */
static const char *shown_service(const struct conf *conf, uint16_t service) {
    return service < conf->nservices ? conf->services[service].name : "?";
}

uint16_t service_index(const struct conf *conf, struct span name) {
    for (size_t i = 0; i < conf->nservices; i++)
        if (span_eq(span_str(conf->services[i].name), name))
            return (uint16_t)i;
    return UINT16_MAX;
}

static void add_field_span(struct fields *f, const char *name, struct span value, bool bare) {
    MUST(f->n < FIELDS_MAX);
    f->list[f->n++] = (struct field){name, value, bare};
}

static void add_text(struct fields *f, const char *name, const char *value) {
    add_field_span(f, name, span_str(value), false);
}

/* An empty value is omitted. */
static void add_span(struct fields *f, const char *name, struct span value) {
    if (value.len > 0)
        add_field_span(f, name, value, false);
}

static struct span since(const struct fields *f, size_t start) {
    return span_of(f->memory + start, f->space.len - start);
}

static void add_number_field(struct fields *f, const char *name, uint64_t value) {
    size_t start = f->space.len;
    text_addf(&f->space, "%" PRIu64, value);
    add_field_span(f, name, since(f, start), true);
}

static void add_ms(struct fields *f, const char *name, uint64_t us) {
    size_t start = f->space.len;
    text_addf(&f->space, "%" PRIu64 ".%03u", us / 1000, (unsigned)(us % 1000));
    add_field_span(f, name, since(f, start), true);
}

static void add_addr(struct fields *f, const char *name, const struct addr *a) {
    char text[ADDR_TEXT_MAX];
    size_t start = f->space.len;
    if (a->family == AF_UNSPEC)
        return;
    text_add(&f->space, addr_text(a, text));
    add_field_span(f, name, since(f, start), false);
}

/* The registered name, or the number in hexadecimal digits. */
static void add_code(struct fields *f, const char *name, uint16_t id, const char *(*lookup)(uint16_t)) {
    if (id == 0)
        return;
    const char *known = lookup(id);
    size_t start = f->space.len;
    if (!known)
        text_addf(&f->space, "0x%04x", id);
    add_field_span(f, name, known ? span_str(known) : since(f, start), false);
}

/* Milliseconds are what people read; the last three digits of clock_text() make room for the zone. */
static void add_time_field(struct fields *f, uint64_t wall_us) {
    char text[CLOCK_TEXT_MAX];
    size_t start = f->space.len;
    struct span s = span_str(clock_text(wall_us, text));
    text_add_span(&f->space, span_of(s.p, s.len > 4 ? s.len - 4 : 0));
    text_add(&f->space, "Z");
    add_field_span(f, "time", since(f, start), false);
}

static void begin_fields(struct fields *f, uint64_t wall_us, enum log_level level, const char *event, enum role role,
                         uint16_t index) {
    f->n = 0;
    f->level = level;
    f->space = text_of(f->memory, sizeof(f->memory));
    add_time_field(f, wall_us);
    add_text(f, "level", level_name(level));
    add_text(f, "event", event);
    size_t start = f->space.len;
    text_addf(&f->space, "%s.%u", role_name(role), index);
    add_field_span(f, "role", since(f, start), false);
}

static void add_hex(struct fields *f, const char *name, struct span bytes) {
    size_t start = f->space.len;
    text_add_hex(&f->space, bytes);
    add_span(f, name, since(f, start));
}

/* A client with a verified certificate. */
static void add_client(struct fields *f, const struct conn_info_client *c) {
    add_span(f, "client_name", c->name);
    add_span(f, "client_identity_source", span_str(identity_source_text(c->identity_source)));
    add_span(f, "client_cn", c->cn);
    add_hex(f, "client_serial", c->serial);
    add_hex(f, "client_fingerprint", span_of(c->fingerprint, sizeof(c->fingerprint)));
}

static void add_conn_info(struct fields *f, const struct event *e, const struct format_names *names) {
    const struct conn_info *conn_info = &e->conn_info;
    size_t start;
    add_field_span(f, "service", e->service.len ? e->service : span_str("?"), false);
    start = f->space.len;
    text_add_hex(&f->space, span_of(conn_info->unique_id, sizeof(conn_info->unique_id)));
    add_field_span(f, "unique_id", since(f, start), false);
    add_addr(f, "client", &conn_info->client);
    add_addr(f, "peer", &conn_info->peer);
    add_addr(f, "local", &conn_info->local);
    if (conn_info->tls_version != 0)
        add_text(f, "tls_version", conn_info->tls_version == 0x0304 ? "TLSv1.3" : "TLSv1.2");
    add_code(f, "cipher_suite", conn_info->suite, names->suite);
    add_code(f, "group", conn_info->group, names->group);
    if (conn_info->tls_version != 0)
        add_field_span(f, "resumed", span_str(conn_info->resumed ? "true" : "false"), true);
    add_span(f, "handshake", span_str(handshake_maker_text(conn_info->made_by)));
    add_span(f, "sni", conn_info->sni);
    add_span(f, "alpn", conn_info->alpn);
    add_span(f, "ja4", conn_info->ja4);
    if (conn_info->id.verified)
        add_client(f, &conn_info->id);
}

static void add_reason(struct fields *f, const struct event *e) {
    if (e->reason != 0)
        add_text(f, "reason", err_name(e->reason));
    add_span(f, "detail", e->text);
    if (e->reason != ERR_PEER_ALERT)
        return;
    size_t start = f->space.len;
    text_add(&f->space, alert_name(e->alert));
    if (span_eq(since(f, start), span_str("unknown")))
        text_addf(&f->space, "_%u", e->alert);
    add_field_span(f, "alert", since(f, start), false);
}

static void add_traffic(struct fields *f, const struct event *e) {
    bool reached = e->backend.len > 0;
    add_span(f, "backend", e->backend);
    add_number_field(f, "bytes_in", e->bytes_in);
    add_number_field(f, "bytes_out", e->bytes_out);
    if (e->conn_info.tls_version != 0)
        add_ms(f, "handshake_ms", e->conn_info.handshake_us);
    if (reached)
        add_ms(f, "connect_ms", e->connect_us);
    if (e->first_byte_us)
        add_ms(f, "first_byte_ms", e->first_byte_us);
    add_ms(f, "duration_ms", e->duration_us);
    add_text(f, "client_end", side_end_name(e->client_end));
    add_text(f, "backend_end", side_end_name(e->backend_end));
    add_number_field(f, "retries", e->retries);
}

/* What is known at that step; the time is that since accept. */
static void add_trace(struct fields *f, const struct event *e) {
    add_span(f, "certificate", e->conn_info.cert_file);
    add_span(f, "backend", e->backend);
    if (e->step >= TRACED_FIRST_BYTE) {
        add_number_field(f, "bytes_in", e->bytes_in);
        add_number_field(f, "bytes_out", e->bytes_out);
    }
    add_ms(f, "since_accept_ms", e->duration_us);
}

void fields_of_event(const struct event *e, const struct format_names *names, struct fields *ret) {
    static const char *const events[] = {
        [EVENT_LINE] = FIELD_EVENT_LOG, [EVENT_SESSION] = "session", [EVENT_FAILURE] = "failed"};
    begin_fields(ret, e->wall_us, event_level(e), e->kind == EVENT_TRACE ? trace_step_name(e->step) : events[e->kind], e->role,
                 e->index);
    if (e->kind == EVENT_LINE) {
        add_field_span(ret, "message", e->text, false);
        return;
    }
    add_conn_info(ret, e, names);
    if (e->kind == EVENT_TRACE)
        add_trace(ret, e);
    else if (e->kind == EVENT_SESSION)
        add_traffic(ret, e);
    else
        add_ms(ret, "duration_ms", e->duration_us);
    add_reason(ret, e);
}

void fields_of_sampled(const struct sampled *s, uint64_t wall_us, uint16_t index, const struct conf *conf, struct fields *ret) {
    enum log_level level = is_ours(s->reason) ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO;
    begin_fields(ret, wall_us, level, FIELD_EVENT_MANY, ROLE_OBSERVER, index);
    add_text(ret, "service", shown_service(conf, s->service));
    add_text(ret, "reason", err_name(s->reason));
    add_number_field(ret, "count", s->count);
    add_number_field(ret, "seconds", s->seconds);
}

void fields_of_dropped(uint64_t count, uint64_t wall_us, uint16_t index, struct fields *ret) {
    begin_fields(ret, wall_us, LOG_LEVEL_WARNING, "dropped", ROLE_OBSERVER, index);
    add_number_field(ret, "count", count);
}
