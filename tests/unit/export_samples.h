/* Sessions in the hand-over format with every field set to something of its own. */
#pragma once

#include "wire_samples.h"

#include "conf/conf.h"
#include "tls/record_layer_pack.h"
#include "wire/export.h"

static inline struct traffic_keys sample_direction(uint8_t seed) {
    struct traffic_keys k = {.seq = 1000u + seed, .explicit_nonce = 2000u + seed};
    for (size_t i = 0; i < sizeof(k.secret); i++)
        k.secret[i] = (uint8_t)(seed + i);
    for (size_t i = 0; i < sizeof(k.key); i++)
        k.key[i] = (uint8_t)(seed + 100 + i);
    for (size_t i = 0; i < sizeof(k.iv); i++)
        k.iv[i] = (uint8_t)(seed + 200 + i);
    return k;
}

static inline struct record_layer sample_record_layer(void) {
    return (struct record_layer){.suite_id = 0x1301,
                                 .out_max = 16384,
                                 .post = {24, 0, 0},
                                 .post_len = 3,
                                 .idle_records = -5,
                                 .renegotiations = 6,
                                 .alert_seen = 7,
                                 .key_update_owed = true,
                                 .close_seen = true,
                                 .key_updates_in = 8,
                                 .key_updates_out = 9,
                                 .in = sample_direction(1),
                                 .out = sample_direction(2)};
}

/* As a handshake leaves it. */
static inline struct record_layer sample_fresh_layer(void) {
    return (struct record_layer){.suite_id = 0x1301, .out_max = 16384, .in = sample_direction(1), .out = sample_direction(2)};
}

/* Where a sample's parts are packed. */
struct sample_room {
    uint8_t info[CONN_INFO_PACKED_MAX], layer[RECORD_LAYER_PACKED_MAX];
};

/* Gives S connection info and a record layer (NULL = none). */
static inline void sample_parts(struct export_session *s, const struct conn_info *info, const struct record_layer *layer,
                                struct sample_room *room) {
    struct wr w = wr_of(room->info, sizeof(room->info));
    s->conn_info = *info;
    conn_info_pack(&w, info);
    assert_true(wr_end(&w));
    s->packed_info = wr_written(&w);
    s->record_layer = layer ? record_layer_pack(layer, room->layer) : span_of(NULL, 0);
}

/* An open session of TLS 1.3 in the middle of everything. */
static inline struct export_session sample_export(void) {
    struct export_session s = {
        .flags = EXPORT_TLS | EXPORT_BACKEND_FD | EXPORT_CONNECTED | EXPORT_CLIENT_FIN | EXPORT_RESET_BACKEND,
        .state = EXPORT_STATE_OPEN,
        .client_end = END_CLOSE,
        .backend_end = END_OPEN,
        .reason = span_str("idle_timeout"),
        .up = {.bytes = 0x0102030405060708, .state = EXPORT_FLOW_EOF_SEEN, .chunk_shift = 15, .wait = {.here = span_str("up")}},
        .down = {.bytes = 99, .state = EXPORT_FLOW_OPEN, .chunk_shift = 18, .wait = {.ahead = 70000}},
        .partial = {.here = span_str("carried")},
        .deadline_ms = 599000,
        .timer_ms = EXPORT_NEVER,
        .idle_ms = 1000,
        .down_idle_ms = 1500,
        .connecting_us = 4000,
        .connect_us = 321,
        .first_byte_us = 3210,
        .retries = 3,
        .service = span_str("web"),
        .idle_timeout_ms = 600000,
        .linger_timeout_ms = 5000,
        .connect_timeout_ms = EXPORT_NEVER,
        .truncation = TRUNCATION_RESET,
        .backend_kind = BACKEND_UNIX + 1,
        .backend = span_str("unix:app.sock"),
        .backend_path = span_str("/run/app.sock"),
        .ntried = 2,
        .tried = {span_str("unix:/a"), span_str("tcp:b:80")},
    };
    static struct sample_room room;
    const struct record_layer layer = sample_record_layer();
    struct conn_info info = sample_conn_info();
    info.service = 0;
    info.id = sample_client();
    sample_parts(&s, &info, &layer, &room);
    return s;
}

/* One that is queued for its backend; bytes pass as they are. */
static inline struct export_session sample_waiting(void) {
    struct export_session s = {
        .flags = EXPORT_QUEUED | EXPORT_READ_AHEAD,
        .state = EXPORT_STATE_CONNECTING,
        .up = {.chunk_shift = 14},
        .down = {.chunk_shift = 14},
        .partial = {.here = span_str("hello")},
        .deadline_ms = 3000,
        .timer_ms = 2900,
        .connecting_us = 100000,
        .service = span_str("db"),
        .idle_timeout_ms = EXPORT_NEVER,
        .linger_timeout_ms = 5000,
        .connect_timeout_ms = 3000,
        .backend_kind = BACKEND_UNIX_ABSTRACT + 1,
        .backend = span_str("unix:@db"),
        .backend_path = span_str("db"),
    };
    static struct sample_room room;
    struct conn_info info = sample_conn_info();
    info.tls_version = info.suite = info.group = info.made_by = 0;
    info.service = 0;
    sample_parts(&s, &info, NULL, &room);
    return s;
}

/* One whose backend has not greeted yet. */
static inline struct export_session sample_preface(void) {
    struct export_session s = sample_export();
    s.state = EXPORT_STATE_PREFACE;
    s.greeting = GREETING_POP3;
    s.first_byte_us = 0;
    s.reason = span_of(NULL, 0);
    s.up = (struct export_flow){.chunk_shift = 14, .wait = {.here = span_str("PROXY")}};
    s.down = (struct export_flow){.chunk_shift = 14};
    s.timer_ms = s.deadline_ms;
    return s;
}

/* One that no relay has had. */
static inline struct export_session sample_handoff(void) {
    struct export_session s = {
        .flags = EXPORT_HANDOFF | EXPORT_TLS | EXPORT_READ_AHEAD,
        .greeting = GREETING_NNTP,
        .partial = {.here = span_str("a request behind Finished")},
    };
    static struct sample_room room;
    const struct record_layer layer = sample_fresh_layer();
    struct conn_info info = sample_conn_info();
    info.id = sample_client();
    sample_parts(&s, &info, &layer, &room);
    return s;
}

/* Of a client at a Unix socket. */
static inline struct export_session sample_process(void) {
    struct export_session s = sample_export();
    static struct sample_room room;
    const struct record_layer layer = sample_record_layer();
    struct conn_info info = s.conn_info;
    info.client = addr_of_process(1000, 100, 4711);
    info.local = info.peer = (struct addr){.family = AF_UNSPEC};
    sample_parts(&s, &info, &layer, &room);
    return s;
}

static inline void assert_same_direction(const struct traffic_keys *a, const struct traffic_keys *b) {
    assert_true(a->seq == b->seq && a->explicit_nonce == b->explicit_nonce);
    assert_memory_equal(a->secret, b->secret, sizeof(a->secret));
    assert_memory_equal(a->key, b->key, sizeof(a->key));
    assert_memory_equal(a->iv, b->iv, sizeof(a->iv));
}

static inline void assert_same_record_layer(const struct record_layer *a, const struct record_layer *b) {
    assert_true(a->suite_id == b->suite_id && a->out_max == b->out_max && a->post_len == b->post_len);
    assert_memory_equal(a->post, b->post, sizeof(a->post));
    assert_int_equal(a->idle_records, b->idle_records);
    assert_true(a->renegotiations == b->renegotiations && a->alert_seen == b->alert_seen);
    assert_true(a->key_update_owed == b->key_update_owed && a->no_renegotiation_owed == b->no_renegotiation_owed);
    assert_true(a->close_seen == b->close_seen && a->close_sent == b->close_sent);
    assert_true(a->key_updates_in == b->key_updates_in && a->key_updates_out == b->key_updates_out);
    assert_same_direction(&a->in, &b->in);
    assert_same_direction(&a->out, &b->out);
}

static inline void assert_same_flow(const struct export_flow *a, const struct export_flow *b) {
    assert_true(a->bytes == b->bytes && a->state == b->state && a->chunk_shift == b->chunk_shift);
    assert_true(a->wait.ahead == b->wait.ahead && span_eq(a->wait.here, b->wait.here));
}

static inline void assert_same_export(const struct export_session *a, const struct export_session *b) {
    assert_true(a->flags == b->flags && a->state == b->state && a->greeting == b->greeting);
    assert_true(a->client_end == b->client_end && a->backend_end == b->backend_end && span_eq(a->reason, b->reason));
    assert_same_flow(&a->up, &b->up);
    assert_same_flow(&a->down, &b->down);
    assert_true(a->partial.ahead == b->partial.ahead && span_eq(a->partial.here, b->partial.here));
    assert_true(a->deadline_ms == b->deadline_ms && a->timer_ms == b->timer_ms && a->idle_ms == b->idle_ms);
    assert_true(a->down_idle_ms == b->down_idle_ms && a->connecting_us == b->connecting_us);
    assert_true(a->connect_us == b->connect_us && a->first_byte_us == b->first_byte_us && a->retries == b->retries);
    assert_true(span_eq(a->service, b->service) && span_eq(a->backend, b->backend));
    assert_true(span_eq(a->backend_path, b->backend_path) && a->backend_kind == b->backend_kind);
    assert_true(a->idle_timeout_ms == b->idle_timeout_ms && a->linger_timeout_ms == b->linger_timeout_ms);
    assert_true(a->connect_timeout_ms == b->connect_timeout_ms && a->truncation == b->truncation);
    assert_int_equal(a->ntried, b->ntried);
    for (size_t i = 0; i < a->ntried; i++)
        assert_true(span_eq(a->tried[i], b->tried[i]));
    assert_same_conn_info(&a->conn_info, &b->conn_info);
    assert_true(span_eq(a->packed_info, b->packed_info));
}
