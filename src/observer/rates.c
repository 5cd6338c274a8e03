/*
 * Of each client the last readings lie in two rings: 11 of a second for the spans of 1 s and 10 s, 7 of ten seconds for 60 s.
 * When a reading was taken is the same for all and kept once.
 */
#include "observer/rates.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"

#define FINE      11
#define COARSE    7
#define COARSE_MS 10000
#define MIN_MS    500

struct reading {
    uint64_t in, out;
};

struct client {
    char name[sizeof(((struct stats_client *)0)->name)];
    bool verified;
    uint64_t turn; /* of the last reading it was in */
    struct reading now, fine[FINE], coarse[COARSE];
};

struct rates {
    uint64_t turn, coarse_turn;
    uint64_t now_ms, fine_ms[FINE], coarse_ms[COARSE];
    struct client *clients;
    size_t n, cap;
    uint32_t *index; /* numbers from 1; never more than half full */
    size_t slots;    /* a power of two */
};

struct rates *rates_new(void) {
    return calloc(1, sizeof(struct rates));
}

void rates_free(struct rates *r) {
    if (!r)
        return;
    free(r->clients);
    free(r->index);
    free(r);
}

static uint32_t *slot_of(const struct rates *r, const char *name, bool verified) {
    static const struct hash_key key = {0x72617465, 0x636c6965};
    uint64_t hash = hash_bytes(&key, span_str(name)) + verified;
    for (size_t i = hash & (r->slots - 1);; i = (i + 1) & (r->slots - 1)) {
        const struct client *c = r->index[i] ? &r->clients[r->index[i] - 1] : NULL;
        if (!c || (c->verified == verified && strcmp(c->name, name) == 0))
            return &r->index[i];
    }
}

static int index_anew(struct rates *r, size_t clients) {
    size_t slots = 64;
    while (slots < 2 * clients + 2)
        slots *= 2;
    uint32_t *index = calloc(slots, sizeof(*index));
    if (!index)
        return ERR_NOMEM;
    free(r->index);
    r->index = index;
    r->slots = slots;
    for (size_t i = 0; i < r->n; i++)
        *slot_of(r, r->clients[i].name, r->clients[i].verified) = (uint32_t)i + 1;
    return 0;
}

/* Room for as many as a reading may bring. */
static int make_room(struct rates *r, size_t more) {
    if (r->n + more > r->cap) {
        size_t cap = MAX(r->n + more, 2 * r->cap);
        struct client *p = realloc(r->clients, cap * sizeof(*p));
        if (!p)
            return ERR_NOMEM;
        r->clients = p;
        r->cap = cap;
    }
    return 2 * (r->n + more) + 2 > r->slots ? index_anew(r, r->n + more) : 0;
}

/* One that was not there in the reading before has begun after it, so it had nothing; before the first reading nobody knows. */
static struct client *begin(struct rates *r, const struct stats_client *c, struct reading now) {
    struct client *client = &r->clients[r->n++];
    memset(client, 0, sizeof(*client));
    memcpy(client->name, c->name, sizeof(client->name));
    client->verified = c->verified;
    if (r->turn == 1) {
        for (unsigned i = 0; i < FINE; i++)
            client->fine[i] = now;
        for (unsigned i = 0; i < COARSE; i++)
            client->coarse[i] = now;
    }
    return client;
}

static void take_one(struct rates *r, const struct stats_client *c, bool coarse) {
    const struct reading now = {c->values[SKETCH_BYTES_IN], c->values[SKETCH_BYTES_OUT]};
    uint32_t *slot = slot_of(r, c->name, c->verified);
    bool new = !*slot;
    if (new)
        *slot = (uint32_t)r->n + 1;
    struct client *client = new ? begin(r, c, now) : &r->clients[*slot - 1];
    if (now.in < client->now.in || now.out < client->now.out) { /* its place was somebody else's meanwhile */
        memset(client->fine, 0, sizeof(client->fine));
        memset(client->coarse, 0, sizeof(client->coarse));
    }
    client->now = now;
    client->fine[r->turn % FINE] = now;
    if (coarse)
        client->coarse[r->coarse_turn % COARSE] = now;
    client->turn = r->turn;
}

/* Those that are tracked no more go. */
static int forget(struct rates *r) {
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->clients[i].turn == r->turn) {
            if (kept != i)
                r->clients[kept] = r->clients[i];
            kept++;
        }
    bool gone = kept < r->n;
    r->n = kept;
    return gone ? index_anew(r, r->n) : 0;
}

int rates_take(struct rates *r, const struct stats_clients *c, uint64_t now_ms) {
    if (r->turn && now_ms < r->now_ms + MIN_MS)
        return 0;
    int err = make_room(r, c->n);
    if (err < 0)
        return err;
    bool coarse = r->turn == 0 || now_ms >= r->coarse_ms[r->coarse_turn % COARSE] + COARSE_MS;
    r->turn++;
    r->now_ms = now_ms;
    r->fine_ms[r->turn % FINE] = now_ms;
    if (coarse)
        r->coarse_ms[++r->coarse_turn % COARSE] = now_ms;
    for (size_t i = 0; i < c->n; i++)
        take_one(r, &c->rows[i], coarse);
    return forget(r);
}

/* The newest reading of a ring that is at least SPAN_MS old, else the oldest; its number in the ring. False when there is none.
 */
static bool look_back(const uint64_t *times, unsigned ring, uint64_t newest, uint64_t now_ms, uint64_t span_ms, unsigned *ret) {
    bool found = false;
    for (uint64_t age = 0; age < ring && age < newest; age++) {
        unsigned i = (unsigned)((newest - age) % ring);
        if (times[i] >= now_ms)
            continue;
        *ret = i;
        found = true;
        if (now_ms - times[i] + MIN_MS / 2 >= span_ms)
            break;
    }
    return found;
}

struct rate rates_of(const struct rates *r, const struct stats_client *c) {
    static const uint64_t spans[RATE_SPANS] = {1000, 10000, 60000};
    struct rate rate = {0};
    uint32_t *slot = r->slots ? slot_of(r, c->name, c->verified) : NULL;
    if (!slot || !*slot)
        return rate;
    const struct client *client = &r->clients[*slot - 1];
    for (unsigned s = 0; s < RATE_SPANS; s++) {
        unsigned i = 0;
        bool coarse = s == RATE_60S && look_back(r->coarse_ms, COARSE, r->coarse_turn, r->now_ms, spans[s], &i);
        if (!coarse && !look_back(r->fine_ms, FINE, r->turn, r->now_ms, spans[s], &i))
            continue;
        const struct reading *then = coarse ? &client->coarse[i] : &client->fine[i];
        double seconds = (double)(r->now_ms - (coarse ? r->coarse_ms[i] : r->fine_ms[i])) / 1000;
        rate.in[s] = (double)(client->now.in - then->in) / seconds;
        rate.out[s] = (double)(client->now.out - then->out) / seconds;
    }
    return rate;
}
