#include "relay/session_metrics.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "base/trace_points.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_trace.h"
#include "tls/suite.h"
#include "wire/backend_fault.h"

#define PUBLISH_MS 1000

static struct stats_page *relay_page(struct relay *r) {
    return &r->child.stats;
}

static struct stats_block *block_at(struct relay *r, const struct session *s, enum session_count c) {
    return s->counts.at[c] ? stats_at(relay_page(r), s->counts.at[c]) : NULL;
}

static uint16_t handle_of(struct relay *r, enum stats_kind kind, struct span service, struct span name) {
    return stats_handle(relay_page(r), stats_block(relay_page(r), kind, service, name));
}

static uint16_t suite_handle(struct relay *r, const struct conn_info *f) {
    char name[96];
    struct text t = text_of(name, sizeof(name));
    suite_label(f->tls_version ? suite_by_id(f->suite) : NULL, &t);
    return handle_of(r, STATS_SUITE, span_of("", 0), span_of(name, t.len));
}

/* ---- traces ---- */

struct session_trace {
    char id[TRACE_ID_MAX], client[ADDR_TEXT_MAX];
    const char *service;
    uint64_t us; /* since accept */
};

static struct session_trace trace_of(struct relay *r, const struct session *s) {
    struct conn_info f;
    session_conn_info(s, &f);
    struct session_trace t = {.service = session_service(r, s)->name, .us = clock_mono_us() - f.start_mono_us};
    trace_id(f.unique_id, t.id);
    addr_ip_text(&f.client, t.client);
    return t;
}

/* ---- clients ---- */

static void hold_client(struct sketch *k, struct sketch_ref *ref, struct span client, bool begins) {
    if (sketch_holds(k, *ref))
        return;
    *ref = sketch_find(k, client);
    sketch_live(k, *ref, 1);
    if (begins)
        sketch_add(k, *ref, SKETCH_SESSIONS, 1);
}

/* The place of a client that is not tracked (any more): found or made, and the session lives there. */
static void track(struct relay *r, struct session *s, const struct conn_info *f, bool begins) {
    struct stats_page *p = relay_page(r);
    uint8_t key[16];
    addr_client_key(&f->client, key);
    hold_client(&p->clients, &s->counts.client, span_of(key, sizeof(key)), begins);
    s->counts.verified_too = f->id.verified && f->id.name.len;
    if (s->counts.verified_too) {
        uint8_t name[SKETCH_KEY_MAX];
        hold_client(&p->names, &s->counts.verified, sketch_name_key(&p->names, f->id.name, name), begins);
    }
}

static void track_again(struct relay *r, struct session *s) {
    struct conn_info f;
    if (!s->conn_info) /* it is over */
        return;
    session_conn_info(s, &f);
    track(r, s, &f, false);
}

/* ---- the life of a session ---- */

void session_metrics_begin(struct relay *r, struct session *s, const struct conn_info *f, bool migrated) {
    if (STATS_OFF)
        return;
    struct span service = span_str(session_service(r, s)->name);
    memset(&s->counts, 0, sizeof(s->counts));
    s->counts.at[COUNT_SERVICE] = handle_of(r, STATS_SERVICE, service, span_of("", 0));
    s->counts.at[COUNT_SUITE] = suite_handle(r, f);
    if (f->tls_version) {
        char name[MATCHED_NAME_MAX];
        struct span served = conn_info_served_name((enum matched_name)f->matched_name, f->sni, name);
        s->counts.at[COUNT_NAME] = handle_of(r, STATS_NAME, service, served);
    }
    if (f->cert_file.len)
        s->counts.at[COUNT_CERT] = handle_of(r, STATS_CERT, service, f->cert_file);
    track(r, s, f, !migrated);
    for (unsigned c = 0; c < SESSION_METRICS; c++) {
        struct stats_block *b = block_at(r, s, (enum session_count)c);
        if (!b)
            continue;
        stats_change(b, STATS_SESSIONS_NOW, 1);
        if (!migrated)
            stats_add(b, STATS_SESSIONS, 1);
    }
    stats_process_add(relay_page(r), migrated ? STATS_MIGRATED_IN : STATS_TAKEN, 1);
    if (tracers_any(r->child.tracers))
        session_trace(r, s, migrated ? TRACED_IMPORTED : TRACED_TAKEN, NULL);
}

void session_metrics_end(struct relay *r, struct session *s, bool migrated) {
    struct stats_page *p = relay_page(r);
    if (STATS_OFF)
        return;
    if (migrated && tracers_any(r->child.tracers))
        session_trace(r, s, TRACED_EXPORTED, NULL);
    if (!migrated && TRACE_ON(end)) {
        struct session_trace t = trace_of(r, s);
        TRACE(end, &t.id[0], &t.client[0], s->reason ? err_name(s->reason) : "", t.us, s->up.bytes, s->down.bytes);
    }
    if (!migrated && s->reason) {
        session_metrics_add(r, s, STATS_SESSIONS_FAILED, 1);
        struct span service = span_str(session_service(r, s)->name);
        stats_add(stats_block(p, STATS_END, service, span_str(err_name(s->reason))), STATS_SESSIONS_FAILED, 1);
    }
    for (unsigned c = 0; c < SESSION_METRICS; c++) {
        struct stats_block *b = block_at(r, s, (enum session_count)c);
        if (b)
            stats_change(b, STATS_SESSIONS_NOW, -1);
    }
    sketch_live(&p->clients, s->counts.client, -1);
    sketch_live(&p->names, s->counts.verified, -1);
    if (migrated)
        stats_process_add(p, STATS_MIGRATED_OUT, 1);
    memset(&s->counts, 0, sizeof(s->counts));
}

void session_metrics_add(struct relay *r, const struct session *s, enum stats_value v, uint64_t by) {
    if (STATS_OFF)
        return;
    for (unsigned c = 0; c < SESSION_METRICS; c++) {
        struct stats_block *b = block_at(r, s, (enum session_count)c);
        if (b)
            stats_add(b, v, by);
    }
}

/* Once a read and direction: as few steps as there can be. */
void session_metrics_bytes(struct relay *r, struct session *s, enum stats_value v, uint64_t bytes) {
    if (STATS_OFF)
        return;
    struct stats_page *p = relay_page(r);
    const struct session_metrics *c = &s->counts;
    enum sketch_value what = v == STATS_BYTES_IN ? SKETCH_BYTES_IN : SKETCH_BYTES_OUT;
    uint8_t *value = (uint8_t *)p->area + offsetof(struct stats_block, values) + (size_t)v * sizeof(uint64_t);
#pragma GCC unroll 8
    for (unsigned i = 0; i < SESSION_METRICS; i++)
        if (c->at[i])
            stats_bump((uint64_t *)(void *)(value + (size_t)c->at[i] * 64), bytes);
    if (!sketch_holds(&p->clients, c->client) || (c->verified_too && !sketch_holds(&p->names, c->verified)))
        track_again(r, s); /* a larger client had its place */
    if (sketch_holds(&p->clients, c->client))
        sketch_add(&p->clients, c->client, what, bytes);
    if (c->verified_too && sketch_holds(&p->names, c->verified))
        sketch_add(&p->names, c->verified, what, bytes);
}

void session_metrics_limited(struct relay *r, const struct session *s, uint64_t bytes) {
    struct sketch *clients = &relay_page(r)->clients;
    if (!STATS_OFF && sketch_holds(clients, s->counts.client))
        sketch_add(clients, s->counts.client, SKETCH_LIMITED, bytes);
}

/* ---- backends ---- */

void session_metrics_on_backend(struct relay *r, struct session *s, bool on) {
    if (STATS_OFF)
        return;
    struct stats_block *b = block_at(r, s, COUNT_BACKEND);
    if (!on) {
        if (b)
            stats_change(b, STATS_SESSIONS_NOW, -1);
        s->counts.at[COUNT_BACKEND] = 0;
        return;
    }
    const struct conf_service *service = session_service(r, s);
    b = stats_block(relay_page(r), STATS_BACKEND, span_str(service->name), span_str(service->backends[s->chosen].text));
    s->counts.at[COUNT_BACKEND] = stats_handle(relay_page(r), b);
    stats_change(b, STATS_SESSIONS_NOW, 1);
}

void session_metrics_backend(struct relay *r, const struct session *s, enum stats_value v) {
    if (STATS_OFF)
        return;
    struct stats_block *backend = block_at(r, s, COUNT_BACKEND), *service = block_at(r, s, COUNT_SERVICE);
    if (backend)
        stats_add(backend, v, 1);
    if (service)
        stats_add(service, v, 1);
}

static void observe(struct relay *r, const struct session *s, enum stats_hist h, uint64_t us) {
    static const enum session_count with_hists[] = {COUNT_SERVICE, COUNT_BACKEND, COUNT_SUITE};
    for (unsigned i = 0; i < ARRAY_LEN(with_hists); i++) {
        struct stats_block *b = block_at(r, s, with_hists[i]);
        if (b)
            stats_observe(b, h, us);
    }
}

void session_metrics_connected(struct relay *r, const struct session *s) {
    if (STATS_OFF)
        return;
    struct stats_block *backend = block_at(r, s, COUNT_BACKEND);
    if (backend) /* those that did not take it do not count it */
        stats_add(backend, STATS_SESSIONS, 1);
    observe(r, s, STATS_CONNECT_US, s->connect_us);
    if (tracers_any(r->child.tracers))
        session_trace(r, s, TRACED_CONNECT, NULL);
    if (TRACE_ON(connect)) {
        struct session_trace t = trace_of(r, s);
        TRACE(connect, &t.id[0], &t.client[0], t.service, s->connect_us, session_service(r, s)->backends[s->chosen].text);
    }
}

void session_metrics_first_byte(struct relay *r, struct session *s) {
    if (!s->connect_begun_us)
        return;
    uint64_t us = clock_mono_us() - s->connect_begun_us;
    s->first_byte_us = (uint32_t)MIN(us + (us == 0), (uint64_t)UINT32_MAX);
    if (STATS_OFF)
        return;
    observe(r, s, STATS_FIRST_BYTE_US, us);
    if (tracers_any(r->child.tracers))
        session_trace(r, s, TRACED_FIRST_BYTE, NULL);
    if (TRACE_ON(first_byte)) {
        struct session_trace t = trace_of(r, s);
        TRACE(first_byte, &t.id[0], &t.client[0], t.service, us);
    }
}

/* ---- the process ---- */

static void store(struct stats_block *b, enum stats_value v, uint64_t to) {
    __atomic_store_n(&b->values[v], to, __ATOMIC_RELAXED);
}

/* What is wrong with this relay's backends at present. */
static void publish_backends(struct relay *r) {
    uint64_t wall_ms = clock_wall_us() / 1000;
    for (size_t i = 0; i < r->conf->nservices; i++) {
        const struct backends *list = &r->services[i].backends;
        for (size_t j = 0; j < list->service->nbackends; j++) {
            struct backend *b = &list->list[j];
            bool no_address = b->conf->kind == BACKEND_TCP && b->naddrs == 0;
            if (b->error == 0 && !no_address && !b->was_reported) /* never failed: needs no block */
                continue;
            b->was_reported = true;
            struct stats_block *block =
                stats_block(relay_page(r), STATS_BACKEND, span_str(list->service->name), span_str(b->conf->text));
            bool out = b->out_until_ms > r->loop.now_ms || b->half_open;
            store(block, STATS_EJECTED_NOW, out);
            store(block, STATS_FULL_NOW, b->full_since_ms != 0);
            store(block, STATS_NO_ADDRESS_NOW, no_address);
            if (b->error)
                store(block, STATS_LAST_FAULT, backend_fault_pack(wall_ms - (r->loop.now_ms - b->error_ms), b->error));
        }
    }
}

void session_metrics_publish(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    struct stats_page *p = relay_page(r);
    stats_process_set(p, STATS_OBJECTS, r->sessions.used);
    stats_process_set(p, STATS_SLAB_BYTES, (uint64_t)r->sessions.used * sizeof(struct session));
    stats_process_set(p, STATS_POOL_BYTES, r->pool.used);
    stats_process_set(p, STATS_POOL_PEAK_BYTES, r->pool.peak);
    stats_process_set(p, STATS_MEMORY_SHORT, r->pool.used >= r->pool.budget / 8 * 7);
    stats_process_set(p, STATS_BACKLOG_WAITERS, r->backlog_waiters);
    publish_backends(r);
    child_warn_unlocked(&r->child, &r->sessions);
    stats_publish_self(p);
    r->published = true;
}

/* A relay that does nothing is not woken to say so: the turn in which the timer fired does not arm it again on its own. */
void session_metrics_turn(struct relay *r) {
    if (STATS_OFF)
        return;
    if (!r->published && !wtimer_armed(&r->stats_timer))
        wheel_arm(&r->loop.wheel, &r->stats_timer, r->loop.now_ms + PUBLISH_MS);
    r->published = false;
}
