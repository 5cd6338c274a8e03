/* /fleet/clients.json, and the merge behind it. Schema: docs/admin-lists.md. */
#include "observer/fleet_clients.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "observer/admin.h"
#include "observer/clients.h"
#include "observer/json.h"

/* A summary that is being read; ENTRY is NULL at its end. */
struct summary_source {
    struct summary_reader reader;
    const struct summary_entry *entry;
};

static void advance(struct summary_source *s) {
    if (summary_next(&s->reader, &s->entry) <= 0)
        s->entry = NULL;
}

static void begin_source(struct summary_source *s, const struct instance *from) {
    struct summary_head head;
    s->entry = NULL;
    if (buf_len(&from->bytes) && summary_begin(&s->reader, buf_span(&from->bytes), &head) == 0)
        advance(s);
}

static const struct summary_entry *first_of(const struct summary_source *sources, size_t n) {
    const struct summary_entry *first = NULL;
    for (size_t i = 0; i < n; i++)
        if (sources[i].entry && (!first || summary_order(sources[i].entry, first) < 0))
            first = sources[i].entry;
    return first;
}

static uint64_t bytes_moved(const struct summary_entry *e) {
    return e->values[SUMMARY_BYTES_IN] + e->values[SUMMARY_BYTES_OUT];
}

static void add_source(struct fleet_client *c, const struct summary_entry *e, uint16_t number) {
    uint64_t sessions = e->values[SUMMARY_SESSIONS], bytes = bytes_moved(e);
    for (unsigned v = 0; v < SUMMARY_VALUES; v++)
        c->sum.values[v] = e->values[v] < UINT64_MAX - c->sum.values[v] ? c->sum.values[v] + e->values[v] : UINT64_MAX;
    if (c->instances++ && (sessions < c->most_sessions || (sessions == c->most_sessions && bytes <= c->most_bytes)))
        return;
    c->most = number;
    c->most_sessions = sessions;
    c->most_bytes = bytes;
}

/* The next client into *C: what all sources that have it have. */
static void take_first(struct summary_source *sources, size_t n, const struct summary_entry *first, struct fleet_client *c) {
    const struct summary_entry key = *first;
    *c = (struct fleet_client){.sum = key};
    memset(c->sum.values, 0, sizeof(c->sum.values));
    for (size_t i = 0; i < n; i++)
        if (sources[i].entry && summary_order(sources[i].entry, &key) == 0) {
            add_source(c, sources[i].entry, (uint16_t)i);
            advance(&sources[i]);
        }
}

struct fleet_client *fleet_clients_merge(const struct instances *p, size_t *ret_n) {
    size_t nsources = 1 + (p->local ? 0 : p->n), cap = p->own.entries;
    for (size_t i = 0; i < p->n; i++)
        cap += p->others[i].entries;
    struct summary_source *sources = calloc(nsources, sizeof(*sources));
    struct fleet_client *list = calloc(MAX(cap, 1), sizeof(*list));
    const struct summary_entry *first;
    size_t n = 0;
    if (!sources || !list) {
        free(sources);
        free(list);
        return NULL;
    }
    begin_source(&sources[0], &p->own);
    for (size_t i = 1; i < nsources; i++)
        begin_source(&sources[i], &p->others[i - 1]);
    while (n < cap && (first = first_of(sources, nsources))) {
        take_first(sources, nsources, first, &list[n]);
        n += list[n].sum.kind != SUMMARY_IPV6_56 && list[n].sum.kind != SUMMARY_IPV6_48;
    }
    free(sources);
    *ret_n = n;
    return list;
}

/* ---- the answer ---- */

static const char *fleet_client_name(const struct fleet_client *c, char to[static SKETCH_KEY_MAX + 1]) {
    if (c->sum.kind != SUMMARY_VERIFIED)
        return addr_client_text(c->sum.key, to);
    struct text t = text_of(to, SKETCH_KEY_MAX + 1);
    text_add_span(&t, span_of(c->sum.key, c->sum.key_len));
    return to;
}

static double fleet_client_weight(const struct fleet_client *c, enum client_sort sort) {
    const uint64_t *v = c->sum.values;
    switch (sort) {
    case CLIENTS_BY_RATE:
        return (double)(v[SUMMARY_IN_1S] + v[SUMMARY_OUT_1S]) * 1e6 + (double)(v[SUMMARY_IN_10S] + v[SUMMARY_OUT_10S]);
    case CLIENTS_BY_SESSIONS:
        return (double)v[SUMMARY_SESSIONS];
    case CLIENTS_BY_FAILED:
        return (double)v[SUMMARY_FAILED];
    case CLIENTS_BY_BYTES:
        return (double)bytes_moved(&c->sum);
    default:
        return 0;
    }
}

/* Equal ones stay in the order of their keys. */
struct ranked {
    const struct fleet_client *client;
    double by;
};

static int by_rank(const void *x, const void *y) {
    const struct ranked *a = x, *b = y;
    if (a->by != b->by)
        return a->by < b->by ? 1 : -1;
    return summary_order(&a->client->sum, &b->client->sum);
}

static void put_spans(json_t *o, const char *name, const uint64_t *values) {
    json_t *member = json_put_object(o, name);
    json_put_u64(member, "1s", values[0]);
    json_put_u64(member, "10s", values[1]);
}

/* Of its sessions, or of its bytes when it has none anywhere. */
static double most_share(const struct fleet_client *c) {
    uint64_t sessions = c->sum.values[SUMMARY_SESSIONS], bytes = bytes_moved(&c->sum);
    if (sessions)
        return (double)c->most_sessions / (double)sessions;
    return bytes ? (double)c->most_bytes / (double)bytes : 0;
}

static json_t *fleet_client_object(const struct instances *p, const struct fleet_client *c, const char *name) {
    static const struct {
        const char *name;
        enum summary_value value;
    } members[] = {
        {"sessions", SUMMARY_ESTABLISHED},
        {"sessions_counted", SUMMARY_SESSIONS},
        {"bytes_in", SUMMARY_BYTES_IN},
        {"bytes_out", SUMMARY_BYTES_OUT},
        {"handshakes_total", SUMMARY_HANDSHAKES},
        {"handshakes_full_total", SUMMARY_FULL},
        {"handshakes_resumed_total", SUMMARY_RESUMED},
        {"failed_total", SUMMARY_FAILED},
    };
    json_t *o = json_object();
    json_put_text(o, "client", name);
    json_put_bool(o, "verified", c->sum.kind == SUMMARY_VERIFIED);
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        json_put_u64(o, members[i].name, c->sum.values[members[i].value]);
    put_spans(o, "rate_in", &c->sum.values[SUMMARY_IN_1S]);
    put_spans(o, "rate_out", &c->sum.values[SUMMARY_OUT_1S]);
    json_put_u64(o, "instances", c->instances);
    json_put_text(o, "most_at", c->most ? p->others[c->most - 1].name : p->own.name);
    json_put_real(o, "most_share", most_share(c));
    return o;
}

static struct ranked *rank_clients(const struct fleet_client *list, size_t n, const struct client_query *query, size_t *ret_n) {
    char name[SKETCH_KEY_MAX + 1];
    struct ranked *ranked = calloc(MAX(n, 1), sizeof(*ranked));
    size_t taken = 0;
    for (size_t i = 0; ranked && i < n; i++)
        if (!query->client || strcmp(fleet_client_name(&list[i], name), query->client) == 0)
            ranked[taken++] = (struct ranked){&list[i], fleet_client_weight(&list[i], query->sort)};
    if (taken > 1)
        qsort(ranked, taken, sizeof(*ranked), by_rank);
    *ret_n = MIN(taken, query->limit);
    return ranked;
}

/* One by one, as in clients.c. */
static bool write_fleet(const struct admin *a, const struct client_query *query, struct buf *to) {
    const struct instances *p = &a->instances;
    char name[SKETCH_KEY_MAX + 1];
    size_t n = 0, shown = 0;
    struct fleet_client *list = fleet_clients_merge(p, &n);
    struct ranked *ranked = list ? rank_clients(list, n, query, &shown) : NULL;
    json_t *state = instances_status(p, a->loop->now_ms);
    bool ok = ranked && buf_append(to, "{\"fleet\": ", 10) == 0 && json_write(to, state, JSON_DIGITS) &&
              buf_append(to, ", \"clients\": [", 14) == 0;
    json_decref(state);
    for (size_t i = 0; i < shown && ok; i++) {
        json_t *o = fleet_client_object(p, ranked[i].client, fleet_client_name(ranked[i].client, name));
        ok = (i == 0 || buf_append(to, ",\n", 2) == 0) && json_write(to, o, JSON_DIGITS);
        json_decref(o);
    }
    free(ranked);
    free(list);
    return ok && buf_append(to, "]}\n", 3) == 0;
}

void fleet_clients_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct client_query query;
    if (!client_query_read(q, r, &query))
        return;
    if (!a->conf->store.socket) {
        http_reply_line(r, 404, "this instance is of no fleet: \"state\" of [acme] names no store");
        return;
    }
    r->type = "application/json";
    if (!write_fleet(a, &query, &r->body))
        http_reply_line(r, 500, "out of memory");
}
