/*
 * Who is in a summary: four orders take turns until there are as many as may be, so each of them has its first quarter at
 * least. Those that are left are added up by networks, first of one length, then of the other.
 */
#include "observer/digest.h"

#include <stdlib.h>
#include <string.h>

#include "shm/stats_clients.h"

enum digest_order { BY_SESSIONS, BY_LET_IN, BY_LIMITED, BY_BYTES, ORDERS };

/* A client that may be chosen. */
struct client_candidate {
    const struct stats_client *client;
    double weight[ORDERS];
    bool chosen;
};

/* What is being chosen from, and what has been chosen so far. */
struct digest {
    const struct stats_view *view;
    struct client_candidate *all;
    struct client_candidate **by[ORDERS];
    size_t n;
    struct summary_entry *chosen; /* room for SUMMARY_ENTRIES */
    size_t nchosen, most;         /* clients, at the most; and so many fewer networks and names */
    struct summary_entry *rest;   /* of those that were not, IPv6 only, as ever wider networks */
    size_t nrest;
    uint64_t floor[SUMMARY_OF_NETS];
};

static uint64_t whole(double rate) {
    return rate > 0 ? (uint64_t)(rate + 0.999) : 0;
}

static double rate_of(const struct digest *d, const struct stats_client *c, enum client_rate v, unsigned span) {
    return stats_view_client_rate(d->view, c, v, span);
}

static uint64_t sessions_of(const struct stats_client *c) {
    return c->values[SKETCH_SESSIONS_NOW] + c->handshaking;
}

/* Rates come first; totals are for those that pause, and for those that no rate limits. */
static struct client_candidate candidate_of(const struct digest *d, const struct stats_client *c) {
    double bytes = (double)c->values[SKETCH_BYTES_IN] + (double)c->values[SKETCH_BYTES_OUT];
    return (struct client_candidate){
        .client = c,
        .weight = {[BY_SESSIONS] = (double)sessions_of(c),
                   [BY_LET_IN] = rate_of(d, c, CLIENT_LET_IN, 0) * 1e6 + (double)c->values[SKETCH_HANDSHAKES],
                   [BY_LIMITED] = rate_of(d, c, CLIENT_LIMITED, 0) * 1e6 + bytes,
                   [BY_BYTES] = bytes},
    };
}

/* ---- entries ---- */

static void set_limits(const struct digest *d, const struct stats_client *c, struct summary_entry *e) {
    e->values[SUMMARY_SESSIONS] = sessions_of(c);
    e->values[SUMMARY_LET_IN] = whole(rate_of(d, c, CLIENT_LET_IN, 0));
    e->values[SUMMARY_LIMITED] = whole(rate_of(d, c, CLIENT_LIMITED, 0));
}

static enum summary_kind summary_kind_of(const struct stats_client *c) {
    if (c->verified)
        return SUMMARY_VERIFIED;
    return addr_of_client_key(c->key).family == AF_INET ? SUMMARY_IPV4 : SUMMARY_IPV6_64;
}

static void set_key(const struct stats_client *c, struct summary_entry *e) {
    e->kind = summary_kind_of(c);
    size_t len = c->verified ? MIN(strlen(c->name), sizeof(e->key)) : sizeof(c->key);
    memcpy(e->key, c->verified ? (const uint8_t *)c->name : c->key, len);
    e->key_len = (uint8_t)len;
}

static struct summary_entry whole_entry(const struct digest *d, const struct stats_client *c) {
    static const enum sketch_value totals[SUMMARY_VALUES] = {
        [SUMMARY_ESTABLISHED] = SKETCH_SESSIONS_NOW,
        [SUMMARY_BYTES_IN] = SKETCH_BYTES_IN,
        [SUMMARY_BYTES_OUT] = SKETCH_BYTES_OUT,
        [SUMMARY_HANDSHAKES] = SKETCH_HANDSHAKES,
        [SUMMARY_FULL] = SKETCH_FULL,
        [SUMMARY_RESUMED] = SKETCH_RESUMED,
        [SUMMARY_FAILED] = SKETCH_FAILED,
    };
    struct summary_entry e = {0};
    set_key(c, &e);
    set_limits(d, c, &e);
    for (unsigned v = SUMMARY_OF_NETS; v < SUMMARY_VALUES; v++)
        e.values[v] = c->values[totals[v]];
    for (unsigned span = 0; span < SUMMARY_SPANS; span++) {
        e.values[SUMMARY_IN_1S + span] = whole(rate_of(d, c, CLIENT_IN, span));
        e.values[SUMMARY_OUT_1S + span] = whole(rate_of(d, c, CLIENT_OUT, span));
    }
    return e;
}

/* ---- clients ---- */

#define ORDER(which)                                                                                                           \
    static int order_##which(const void *x, const void *y) {                                                                   \
        double a = (*(struct client_candidate *const *)x)->weight[which],                                                      \
               b = (*(struct client_candidate *const *)y)->weight[which];                                                      \
        return (a < b) - (a > b);                                                                                              \
    }
ORDER(BY_SESSIONS)
ORDER(BY_LET_IN)
ORDER(BY_LIMITED)
ORDER(BY_BYTES)

/* A user of a machine is no other machine's client. */
static bool is_shared(const struct stats_client *c) {
    struct addr a = addr_of_client_key(c->key);
    return !c->verified && addr_is_ip(&a);
}

static bool begin_digest(struct digest *d) {
    const struct stats_clients *all = &d->view->clients;
    d->all = calloc(MAX(all->n, 1), sizeof(*d->all));
    d->chosen = calloc(SUMMARY_ENTRIES, sizeof(*d->chosen));
    if (!d->all || !d->chosen)
        return false;
    for (size_t i = 0; i < all->n; i++)
        if (is_shared(&all->rows[i]))
            d->all[d->n++] = candidate_of(d, &all->rows[i]);
    return true;
}

static bool sort_candidates(struct digest *d) {
    static int (*const orders[ORDERS])(const void *, const void *) = {order_BY_SESSIONS, order_BY_LET_IN, order_BY_LIMITED,
                                                                      order_BY_BYTES};
    for (unsigned o = 0; o < ORDERS; o++) {
        d->by[o] = calloc(d->n, sizeof(*d->by[o]));
        if (!d->by[o])
            return false;
        for (size_t i = 0; i < d->n; i++)
            d->by[o][i] = &d->all[i];
        qsort(d->by[o], d->n, sizeof(*d->by[o]), orders[o]);
    }
    return true;
}

static void choose_client(struct digest *d, struct client_candidate *c) {
    if (c->chosen || d->nchosen == d->most)
        return;
    c->chosen = true;
    d->chosen[d->nchosen++] = whole_entry(d, c->client);
}

static bool choose_clients(struct digest *d) {
    bool all = d->n <= d->most;
    if (!all && !sort_candidates(d))
        return false;
    for (size_t i = 0; i < d->n && d->nchosen < d->most; i++)
        for (unsigned o = 0; o < (all ? 1 : ORDERS); o++)
            choose_client(d, all ? &d->all[i] : d->by[o][i]);
    return true;
}

/* Of what there is beside clients, in the same measure. */
static size_t part_of(const struct digest *d, size_t whole) {
    return (whole * d->most + SUMMARY_CLIENTS - 1) / SUMMARY_CLIENTS;
}

/* ---- networks ---- */

static int by_key(const void *a, const void *b) {
    return summary_order(a, b);
}

static int by_summary_values(const void *x, const void *y) {
    const struct summary_entry *a = x, *b = y;
    for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
        if (a->values[v] != b->values[v])
            return a->values[v] < b->values[v] ? 1 : -1;
    return summary_order(a, b);
}

/* Clients that were not chosen: what a reader does not know of them, at the most, and as networks what it can know. */
static bool take_rest(struct digest *d) {
    d->rest = calloc(MAX(d->n - d->nchosen, 1), sizeof(*d->rest));
    for (size_t i = 0; d->rest && i < d->n; i++) {
        struct summary_entry e = {0};
        if (d->all[i].chosen)
            continue;
        set_key(d->all[i].client, &e);
        set_limits(d, d->all[i].client, &e);
        for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
            d->floor[v] = MAX(d->floor[v], e.values[v]);
        if (e.kind == SUMMARY_IPV6_64 && (e.values[SUMMARY_SESSIONS] || e.values[SUMMARY_LET_IN]))
            d->rest[d->nrest++] = e;
    }
    return d->rest;
}

/* The rest as networks of that length, and the first of them into the summary. */
static void choose_nets(struct digest *d, enum summary_kind kind, uint8_t bits) {
    size_t n = 0;
    for (size_t i = 0; i < d->nrest; i++) {
        struct summary_entry *e = &d->rest[i];
        e->kind = kind;
        memset(e->key + bits / 8, 0, 16u - bits / 8);
        e->key[15] = bits;
    }
    if (d->nrest)
        qsort(d->rest, d->nrest, sizeof(*d->rest), by_key);
    for (size_t i = 0; i < d->nrest; i++) {
        if (n && summary_order(&d->rest[n - 1], &d->rest[i]) == 0)
            for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
                d->rest[n - 1].values[v] += d->rest[i].values[v];
        else
            d->rest[n++] = d->rest[i];
    }
    if (n)
        qsort(d->rest, n, sizeof(*d->rest), by_summary_values);
    size_t chosen = MIN(n, part_of(d, SUMMARY_NETS));
    memcpy(d->chosen + d->nchosen, d->rest, chosen * sizeof(*d->rest));
    d->nchosen += chosen;
    memmove(d->rest, d->rest + chosen, (n - chosen) * sizeof(*d->rest));
    d->nrest = n - chosen;
}

/* ---- all of it ---- */

static void choose_names(struct digest *d) {
    const struct stats_clients *all = &d->view->clients; /* most bytes first */
    for (size_t i = 0, n = 0; i < all->n && n < part_of(d, SUMMARY_NAMES); i++)
        if (all->rows[i].verified) {
            d->chosen[d->nchosen++] = whole_entry(d, &all->rows[i]);
            n++;
        }
}

static bool write_chosen(struct digest *d, const struct summary_head *head, struct buf *to, size_t *ret_entries) {
    struct summary_head with_floor = *head;
    memcpy(with_floor.floor, d->floor, sizeof(with_floor.floor));
    uint8_t *room = buf_reserve(to, SUMMARY_MAX);
    if (!room)
        return false;
    struct wr w = wr_of(room, SUMMARY_MAX);
    bool ok = summary_write_head(&w, &with_floor);
    qsort(d->chosen, d->nchosen, sizeof(*d->chosen), by_key);
    size_t n = 0;
    while (ok && n < d->nchosen && summary_write_entry(&w, &d->chosen[n])) /* names come last, should it be full */
        n++;
    if (ok)
        buf_commit(to, wr_written(&w).len);
    *ret_entries = n;
    return ok;
}

bool digest_write(const struct stats_view *f, const struct summary_head *head, size_t most, struct buf *to,
                  size_t *ret_entries) {
    struct digest d = {.view = f, .most = MIN(most, (size_t)SUMMARY_CLIENTS)};
    buf_consume(to, buf_len(to));
    bool ok = begin_digest(&d) && choose_clients(&d) && take_rest(&d);
    if (ok) {
        choose_nets(&d, SUMMARY_IPV6_56, 56);
        choose_nets(&d, SUMMARY_IPV6_48, 48);
        choose_names(&d);
        ok = write_chosen(&d, head, to, ret_entries);
    }
    for (unsigned o = 0; o < ORDERS; o++)
        free(d.by[o]);
    free(d.all);
    free(d.chosen);
    free(d.rest);
    return ok;
}
