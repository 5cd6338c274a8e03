/*
 * Clients, merged over the sketches of all processes. Of each process that does not track a client, its floor is added to what
 * the client may have done beyond what is counted: bytes that relays did not count, handshakes that handshakers did not.
 */
#include "shm/stats_clients.h"

#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/err.h"
#include "shm/stats_layout.h"
#include "shm/stats_read.h"

struct client_match {
    const struct stats_clients *clients;
    const struct stats_client *row;
};

static bool same_client(const void *ctx, uint32_t row) {
    const struct client_match *w = ctx;
    const struct stats_client *c = &w->clients->rows[row];
    return c->verified == w->row->verified && strcmp(c->name, w->row->name) == 0;
}

/* False for an entry that makes no sense. */
static bool name_row(struct stats_client *row, const struct sketch_entry *e, bool verified) {
    row->verified = verified;
    if (!verified) {
        if (e->key_len != 16)
            return false;
        _Static_assert(sizeof(row->name) >= ADDR_TEXT_MAX, "any client's address fits");
        memcpy(row->key, e->key, sizeof(row->key));
        (void)addr_client_text(e->key, row->name); /* returns it */
        return true;
    }
    memcpy(row->name, e->key, e->key_len);
    return e->key_len > 0 && strlen(row->name) == e->key_len;
}

/* What one entry adds; FLOOR is of its sketch. Handshakers know connections, relays sessions. */
static void add_client_entry(struct stats_client *c, const struct sketch_entry *e, uint64_t floor, bool relay) {
    if (e->since_wall_us && (!c->since_wall_us || e->since_wall_us < c->since_wall_us))
        c->since_wall_us = e->since_wall_us;
    for (unsigned v = 0; v < SKETCH_VALUES; v++)
        if (relay || (v != SKETCH_SESSIONS_NOW && v != SKETCH_LIMITED))
            c->values[v] += e->values[v];
    uint64_t *error = relay ? &c->error : &c->error_handshakes;
    *error += e->error - floor; /* as numbers that wrap: all floors are added at the end */
    if (relay)
        return;
    c->handshaking += e->values[SKETCH_SESSIONS_NOW];
    c->let_in += e->values[SKETCH_LIMITED];
}

static int add_sketch(struct stats_clients *to, struct stats_fold *f, const struct sketch_shared *k, uint32_t capacity,
                      bool verified, bool relay) {
    static const struct hash_key key = {0x636c6965, 0x6e747321};
    uint64_t floor = __atomic_load_n(&k->floor, __ATOMIC_RELAXED);
    uint32_t used = MIN(__atomic_load_n(&k->used, __ATOMIC_ACQUIRE), capacity);
    for (uint32_t i = 0; i < used; i++) {
        struct sketch_entry e;
        struct stats_client row = {0};
        if (!sketch_read(k, capacity, i, &e) || !name_row(&row, &e, verified))
            continue;
        const struct client_match w = {to, &row};
        uint32_t *slot = stats_fold_find(f, hash_bytes(&key, span_str(row.name)), same_client, &w);
        if (!*slot && (to->n + 1) * 2 > f->size) /* an area that came into use meanwhile: the next reading has it */
            return 0;
        if (!*slot) {
            struct stats_client *rows = stats_grow(to->rows, &to->cap, to->n, sizeof(*rows));
            if (!rows)
                return ERR_NOMEM;
            to->rows = rows;
            to->rows[to->n] = row;
            *slot = (uint32_t)++to->n;
        }
        add_client_entry(&to->rows[*slot - 1], &e, floor, relay);
    }
    return 0;
}

static const struct sketch_shared *sketch_of(const struct stats_area *a, bool verified) {
    return (const void *)((const uint8_t *)a + (verified ? STATS_NAMES_OFF : STATS_CLIENTS_OFF));
}

/* The most that a client may have done unseen, over all processes of a role. */
static uint64_t floors(const struct stats_reader *r, enum role role, bool verified) {
    uint64_t sum = 0;
    const struct stats_area *a;
    for (size_t i = 0; i < STATS_AREAS; i++)
        if (stats_role_of(i) == role && (a = stats_area_of(r, i)))
            sum += __atomic_load_n(&sketch_of(a, verified)->floor, __ATOMIC_RELAXED);
    return sum;
}

static int by_bytes(const void *a, const void *b) {
    const struct stats_client *x = a, *y = b;
    uint64_t m = x->values[SKETCH_BYTES_IN] + x->values[SKETCH_BYTES_OUT];
    uint64_t n = y->values[SKETCH_BYTES_IN] + y->values[SKETCH_BYTES_OUT];
    return m != n ? (m < n) - (m > n) : strcmp(x->name, y->name);
}

int stats_clients_read(const struct stats_reader *r, struct stats_clients *to) {
    struct stats_fold f = {0};
    size_t rows = 0;
    const struct stats_area *a;
    to->n = 0;
    to->evicted = 0;
    for (size_t i = 0; i < STATS_AREAS; i++)
        if ((a = stats_area_of(r, i))) {
            rows += STATS_CLIENTS + STATS_CLIENT_NAMES;
            for (unsigned verified = 0; verified < 2; verified++)
                to->evicted += __atomic_load_n(&sketch_of(a, verified)->evictions, __ATOMIC_RELAXED);
        }
    if (!stats_fold_begin(&f, rows))
        return ERR_NOMEM;
    int err = 0;
    for (size_t i = 0; i < STATS_AREAS; i++) {
        bool relay = stats_role_of(i) == ROLE_RELAY;
        if ((!relay && stats_role_of(i) != ROLE_HANDSHAKER) || !(a = stats_area_of(r, i)))
            continue;
        if (err == 0)
            err = add_sketch(to, &f, sketch_of(a, false), STATS_CLIENTS, false, relay);
        if (err == 0)
            err = add_sketch(to, &f, sketch_of(a, true), STATS_CLIENT_NAMES, true, relay);
    }
    free(f.slots);
    /* after the entries: floors only grow, so none is below what was taken off for it */
    const uint64_t bytes[2] = {floors(r, ROLE_RELAY, false), floors(r, ROLE_RELAY, true)};
    const uint64_t handshakes[2] = {floors(r, ROLE_HANDSHAKER, false), floors(r, ROLE_HANDSHAKER, true)};
    for (size_t i = 0; i < to->n; i++) {
        to->rows[i].error += bytes[to->rows[i].verified];
        to->rows[i].error_handshakes += handshakes[to->rows[i].verified];
    }
    to->floor = MAX(bytes[0], bytes[1]);
    if (to->n)
        qsort(to->rows, to->n, sizeof(*to->rows), by_bytes);
    return err;
}

void stats_clients_free(struct stats_clients *c) {
    free(c->rows);
    *c = (struct stats_clients){0};
}
