#include "observer/clients.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "observer/json.h"
#include "shm/stats_clients.h"

#define LIMIT_MAX 10000

/* The key by which clients are sorted. */
struct sorted_client {
    const struct stats_client *client;
    double by;
};

static double client_weight(const struct stats_view *f, const struct stats_client *c, enum client_sort sort) {
    switch (sort) {
    case CLIENTS_BY_RATE: /* a client that is idle now is ranked by what it moved before */
        return (stats_view_client_rate(f, c, CLIENT_IN, 0) + stats_view_client_rate(f, c, CLIENT_OUT, 0)) * 1e6 +
               stats_view_client_rate(f, c, CLIENT_IN, 2) + stats_view_client_rate(f, c, CLIENT_OUT, 2);
    case CLIENTS_BY_SESSIONS:
        return (double)c->values[SKETCH_SESSIONS_NOW];
    case CLIENTS_BY_FAILED:
        return (double)c->values[SKETCH_FAILED];
    case CLIENTS_BY_BYTES:
        return (double)c->values[SKETCH_BYTES_IN] + (double)c->values[SKETCH_BYTES_OUT];
    default:
        return 0;
    }
}

static int by_weight(const void *x, const void *y) {
    const struct sorted_client *a = x, *b = y;
    return a->by != b->by ? (a->by < b->by ? 1 : -1) : strcmp(a->client->name, b->client->name);
}

static json_t *client_object(struct admin *a, const struct stats_client *c) {
    const struct stats_view *f = &a->stats_view;
    json_t *o = json_object();
    double in[RATES_SPANS], out[RATES_SPANS];
    for (unsigned i = 0; i < RATES_SPANS; i++) {
        in[i] = stats_view_client_rate(f, c, CLIENT_IN, i);
        out[i] = stats_view_client_rate(f, c, CLIENT_OUT, i);
    }
    json_put_text(o, "client", c->name);
    json_put_bool(o, "verified", c->verified);
    json_put_u64(o, "sessions", c->values[SKETCH_SESSIONS_NOW]);
    json_put_u64(o, "sessions_total", c->values[SKETCH_SESSIONS]);
    json_put_u64(o, "bytes_in", c->values[SKETCH_BYTES_IN]);
    json_put_u64(o, "bytes_out", c->values[SKETCH_BYTES_OUT]);
    json_put_rates(o, "rate_in", in);
    json_put_rates(o, "rate_out", out);
    json_put_u64(o, "handshakes_total", c->values[SKETCH_HANDSHAKES]);
    json_put_u64(o, "handshakes_full_total", c->values[SKETCH_FULL]);
    json_put_u64(o, "handshakes_resumed_total", c->values[SKETCH_RESUMED]);
    json_put_u64(o, "failed_total", c->values[SKETCH_FAILED]);
    json_put_real(o, "since", (double)c->since_wall_us / 1e6);
    json_put_u64(o, "error_bytes", c->error);
    json_put_u64(o, "error_handshakes", c->error_handshakes);
    return o;
}

/* The clients wanted, in order; to be freed. NULL when out of memory. */
static struct sorted_client *pick(struct admin *a, const struct client_query *query, size_t *ret_n) {
    stats_view_refresh_clients(&a->stats_view, a->loop->now_ms);
    const struct stats_clients *all = &a->stats_view.clients;
    struct sorted_client *places = calloc(MAX(all->n, 1), sizeof(*places));
    size_t n = 0;
    for (size_t i = 0; places && i < all->n; i++)
        if (!query->client || strcmp(all->rows[i].name, query->client) == 0)
            places[n++] = (struct sorted_client){&all->rows[i], client_weight(&a->stats_view, &all->rows[i], query->sort)};
    if (n > 1)
        qsort(places, n, sizeof(*places), by_weight);
    *ret_n = MIN(n, query->limit);
    return places;
}

json_t *clients_json(struct admin *a, const struct client_query *query) {
    size_t n;
    struct sorted_client *places = pick(a, query, &n);
    json_t *list = places ? json_array() : NULL;
    for (size_t i = 0; list && i < n; i++)
        (void)json_array_append_new(list, client_object(a, places[i].client));
    free(places);
    return list;
}

/* One by one: a tree of ten thousand would take ten times the memory of its text. */
static bool write_clients(struct admin *a, const struct client_query *query, struct buf *to) {
    size_t n;
    struct sorted_client *places = pick(a, query, &n);
    bool ok = places && buf_append(to, "[", 1) == 0;
    for (size_t i = 0; i < n && ok; i++) {
        json_t *o = client_object(a, places[i].client);
        ok = (i == 0 || buf_append(to, ",\n", 2) == 0) && json_write(to, o, JSON_DIGITS);
        json_decref(o);
    }
    free(places);
    return ok && buf_append(to, "]\n", 2) == 0;
}

static bool read_sort(const char *text, enum client_sort *ret) {
    static const char *const names[] = {"bytes", "rate", "sessions", "failed", "client"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum client_sort)i;
            return true;
        }
    return false;
}

bool client_query_read(const struct http_request *q, struct http_reply *r, struct client_query *ret) {
    const char *limit = http_query(q, "limit"), *sort = http_query(q, "sort");
    struct client_query query = {.limit = LIMIT_MAX, .client = http_query(q, "client")};
    uint64_t n = LIMIT_MAX;
    if ((limit && text_parse_u64(limit, LIMIT_MAX, &n) < 0) || (sort && !read_sort(sort, &query.sort))) {
        http_reply_line(r, 400, "expected limit=0 to 10000; sort=bytes, rate, sessions, failed or client; client=NAME");
        return false;
    }
    query.limit = (size_t)n;
    *ret = query;
    return true;
}

void clients_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct client_query query;
    if (!client_query_read(q, r, &query))
        return;
    r->type = "application/json";
    if (!write_clients(a, &query, &r->body))
        http_reply_line(r, 500, "out of memory");
}
