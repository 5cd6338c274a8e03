#include "handshaker/budget.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rand.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"

#define HEADER_SHARES 4                  /* a connection is charged before its PROXY header */
#define HEADER_MS     100                /* for a PROXY header, which is sent first of all, */
#define HANDSHAKE_MS  1000               /* and for everything else: then a connection may be made to give way to a new one */
#define TRIM_MS       200                /* memory is given back this long after it was freed */
#define TRIM_BYTES    (4u * 1024 * 1024) /* if it is at least this much */

struct holder {
    struct holder *next; /* in its chain */
    uint8_t key[16];
    uint64_t charged;
    size_t place; /* in the heap */
    struct list conns;
};

void budget_init(struct budget *b, uint64_t max, uint64_t descriptors) {
    *b = (struct budget){.max = max, .least = MAX(max / MAX(descriptors, (uint64_t)1), (uint64_t)1)};
    rand_bytes(&b->key, sizeof(b->key));
}

/* ---- the order of holders ---- */

static void heap_put(struct budget *b, size_t place, struct holder *o) {
    b->heap[place] = o;
    o->place = place;
}

static void heap_rise(struct budget *b, struct holder *o) {
    size_t at = o->place;
    for (size_t up; at > 0 && b->heap[up = (at - 1) / 2]->charged < o->charged; at = up)
        heap_put(b, at, b->heap[up]);
    heap_put(b, at, o);
}

static void heap_sink(struct budget *b, struct holder *o) {
    size_t at = o->place;
    for (size_t down; (down = 2 * at + 1) < b->nheap; at = down) {
        if (down + 1 < b->nheap && b->heap[down + 1]->charged > b->heap[down]->charged)
            down++;
        if (b->heap[down]->charged <= o->charged)
            break;
        heap_put(b, at, b->heap[down]);
    }
    heap_put(b, at, o);
}

static void heap_settle(struct budget *b, struct holder *o) {
    heap_rise(b, o);
    heap_sink(b, o);
}

/* ---- holders ---- */

static struct holder **chain_of(struct budget *b, const uint8_t key[static 16]) {
    return &b->chains[hash_bytes(&b->key, span_of(key, 16)) % BUDGET_CHAINS];
}

static struct holder *holder_new(struct budget *b, const uint8_t key[static 16]) {
    if (b->nheap == b->cap) {
        size_t cap = MAX(2 * b->cap, (size_t)64);
        struct holder **heap = reallocarray(b->heap, cap, sizeof(struct holder *));
        if (!heap)
            return NULL;
        b->heap = heap;
        b->cap = cap;
    }
    struct holder *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    struct holder **chain = chain_of(b, key);
    memcpy(o->key, key, sizeof(o->key));
    list_init(&o->conns);
    o->next = *chain;
    *chain = o;
    heap_put(b, b->nheap++, o);
    return o;
}

static void holder_free(struct budget *b, struct holder *o) {
    struct holder **at = chain_of(b, o->key), *last = b->heap[--b->nheap];
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    if (last != o) {
        heap_put(b, o->place, last);
        heap_settle(b, last);
    }
    free(o);
}

/* The widest of a client's networks. An unknown address is one, too. */
static struct holder *holder_of(struct budget *b, const struct addr *client) {
    static const struct addr_net nowhere;
    struct addr_net nets[ADDR_NETS];
    size_t n = addr_nets(client, nets);
    const uint8_t *key = n ? nets[n - 1].key : nowhere.key;
    struct holder *o = *chain_of(b, key);
    while (o && memcmp(o->key, key, sizeof(o->key)) != 0)
        o = o->next;
    return o ? o : holder_new(b, key);
}

/* ---- charges ---- */

static void charge(struct budget *b, struct conn *c, uint64_t to) {
    b->used += to - c->charged;
    c->holder->charged += to - c->charged;
    c->charged = to;
    b->peak = MAX(b->peak, b->used);
    heap_settle(b, c->holder);
}

static uint64_t least_of(const struct budget *b, bool before_header) {
    return b->least * (before_header ? HEADER_SHARES : 1);
}

static bool trims(const struct budget *b) {
    return b->peak - b->used >= TRIM_BYTES && b->used < b->peak / 4;
}

void budget_leave(struct handshaker *h, struct conn *c) {
    struct budget *b = &h->budget;
    struct holder *o = c->holder;
    if (!o)
        return;
    charge(b, c, 0);
    list_remove(&c->held);
    c->holder = NULL;
    if (list_empty(&o->conns))
        holder_free(b, o);
    if (h->waits_for_room && b->used <= b->max - b->max / 8) {
        h->waits_for_room = false;
        wheel_arm(&h->loop.wheel, &h->resume, h->loop.now_ms);
    }
    if (trims(b) && !wtimer_armed(&h->trim_timer))
        wheel_arm(&h->loop.wheel, &h->trim_timer, h->loop.now_ms + TRIM_MS);
}

int budget_enter(struct handshaker *h, struct conn *c) {
    struct holder *o = holder_of(&h->budget, &c->client);
    if (!o)
        return ERR_NOMEM;
    if (o == c->holder)
        return 0;
    budget_leave(h, c);
    c->holder = o;
    list_push(&o->conns, &c->held);
    return 0;
}

/* ---- eviction ---- */

static void log_giving_way(struct handshaker *h, const struct conn *c) {
    char client[ADDR_TEXT_MAX];
    if (!log_pause_over(&h->budget_log, h->loop.now_ms))
        return;
    log_msg(
        &h->child.log, LOG_LEVEL_WARNING,
        "memory or descriptors for handshakes are used up: unfinished ones of the client that holds most are closed, now of %s",
        addr_ip_text(&c->client, client));
}

static struct conn *next_to_go(const struct budget *b) {
    return b->nheap ? CONTAINER_OF(b->heap[0]->conns.next, struct conn, held) : NULL;
}

static void give_way(struct handshaker *h, struct conn *c) {
    log_giving_way(h, c);
    stats_process_add(&h->child.stats, STATS_GAVE_WAY, 1);
    stats_process_set(&h->child.stats, STATS_GAVE_WAY_MS, h->loop.now_ms);
    conn_cut(h, c, ERR_GAVE_WAY);
}

void budget_charge(struct handshaker *h, struct conn *c) {
    struct budget *b = &h->budget;
    if (!c->holder)
        return;
    charge(b, c, MAX(conn_bytes(c), least_of(b, c->state == CONN_HEADER)));
    while (b->used > b->max && b->nheap)
        give_way(h, next_to_go(b));
}

bool budget_admits(struct handshaker *h) {
    struct budget *b = &h->budget;
    if (b->used + b->least <= b->max)
        return true;
    struct conn *c = next_to_go(b);
    uint64_t age_ms = c ? h->loop.now_ms - MIN(h->loop.now_ms, c->accepted_us / 1000) : 0;
    if (!c || age_ms < (c->state == CONN_HEADER ? HEADER_MS : HANDSHAKE_MS))
        return !c;
    give_way(h, c);
    return true;
}

/* What a burst has freed lies in the heap between blocks in use, and stays there until malloc_trim(). */
void budget_trim(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    struct budget *b = &h->budget;
    if (!trims(b))
        return;
    (void)malloc_trim(0); /* it is fine when nothing can be given back */
    b->peak = b->used;
}
