/*
 * Private to the writer: a hash table by chains, and two heaps of entries by their estimate: those with something alive and
 * the idle ones. Estimates only grow while an entry has its client, so heaps are lazy: the key an entry was last placed with
 * may be too small, and is put right when the entry comes to the top. Each plain addition can make one key stale, so the
 * work stays O(log m) an update.
 */
#include "shm/sketch.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "shm/relaxed.h"

#define NOWHERE UINT16_MAX

struct heap {
    uint16_t *items;
    uint32_t n;
};

struct sketch_order {
    uint32_t buckets; /* a power of two */
    uint16_t *first;  /* chains of entries by hash */
    uint16_t *next;
    uint16_t *at;   /* the position of an entry in its heap */
    uint64_t *keys; /* the estimate it was placed there with */
    struct heap idle, live;
};

size_t sketch_size(uint32_t capacity) {
    return sizeof(struct sketch_shared) + capacity * sizeof(struct sketch_entry);
}

static struct sketch_entry *entry_at(const struct sketch *k, uint16_t i) {
    return &k->shared->entries[i];
}

static uint64_t estimate(const struct sketch_entry *e) {
    uint64_t sum = e->error;
    for (unsigned v = 0; v < SKETCH_WEIGHTS; v++)
        sum += LOAD(&e->values[v]);
    return sum;
}

/* ---- heaps ---- */

static struct heap *heap_of(const struct sketch *k, uint16_t i) {
    return LOAD(&entry_at(k, i)->values[SKETCH_SESSIONS_NOW]) ? &k->order->live : &k->order->idle;
}

static void set_heap_item(struct sketch_order *o, struct heap *h, uint32_t at, uint16_t i) {
    h->items[at] = i;
    o->at[i] = (uint16_t)at;
}

static void sift_item_up(struct sketch_order *o, struct heap *h, uint32_t at) {
    uint16_t i = h->items[at];
    while (at > 0 && o->keys[h->items[(at - 1) / 2]] > o->keys[i]) {
        set_heap_item(o, h, at, h->items[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    set_heap_item(o, h, at, i);
}

static void sift_item_down(struct sketch_order *o, struct heap *h, uint32_t at) {
    uint16_t i = h->items[at];
    for (uint32_t child; (child = 2 * at + 1) < h->n; at = child) {
        if (child + 1 < h->n && o->keys[h->items[child + 1]] < o->keys[h->items[child]])
            child++;
        if (o->keys[h->items[child]] >= o->keys[i])
            break;
        set_heap_item(o, h, at, h->items[child]);
    }
    set_heap_item(o, h, at, i);
}

static void heap_push(struct sketch *k, struct heap *h, uint16_t i) {
    k->order->keys[i] = estimate(entry_at(k, i));
    h->items[h->n] = i;
    sift_item_up(k->order, h, h->n++);
}

static void heap_remove(struct sketch *k, struct heap *h, uint16_t i) {
    uint32_t at = k->order->at[i];
    uint16_t last = h->items[--h->n];
    if (last == i)
        return;
    set_heap_item(k->order, h, at, last);
    sift_item_up(k->order, h, at);
    sift_item_down(k->order, h, k->order->at[last]);
}

/* The one with the smallest estimate; NOWHERE when empty. */
static uint16_t heap_top(struct sketch *k, struct heap *h) {
    while (h->n) {
        uint16_t i = h->items[0];
        uint64_t now = estimate(entry_at(k, i));
        if (k->order->keys[i] == now)
            return i;
        k->order->keys[i] = now;
        sift_item_down(k->order, h, 0);
    }
    return NOWHERE;
}

/* ---- chains ---- */

static uint16_t *sketch_chain(const struct sketch *k, struct span client) {
    return &k->order->first[hash_bytes(&k->key, client) & (k->order->buckets - 1)];
}

static struct span entry_key(const struct sketch_entry *e) {
    return span_of(e->key, e->key_len);
}

static void chain_in(struct sketch *k, uint16_t i) {
    uint16_t *chain = sketch_chain(k, entry_key(entry_at(k, i)));
    k->order->next[i] = *chain;
    *chain = i;
}

static void chain_out(struct sketch *k, uint16_t i) {
    for (uint16_t *at = sketch_chain(k, entry_key(entry_at(k, i))); *at != NOWHERE; at = &k->order->next[*at])
        if (*at == i) {
            *at = k->order->next[i];
            return;
        }
}

static uint16_t look_up_client(const struct sketch *k, struct span client) {
    for (uint16_t i = *sketch_chain(k, client); i != NOWHERE; i = k->order->next[i])
        if (span_eq(entry_key(entry_at(k, i)), client))
            return i;
    return NOWHERE;
}

/* ---- reassignment ---- */

/* Idle ones give way first; when most are alive, the smallest of all (the bound of the error depends on it). */
static uint16_t choose_victim(struct sketch *k) {
    struct sketch_order *o = k->order;
    uint16_t idle = heap_top(k, &o->idle);
    if (idle != NOWHERE && o->live.n <= k->capacity / 2)
        return idle;
    uint16_t live = heap_top(k, &o->live);
    return idle == NOWHERE || (live != NOWHERE && o->keys[live] < o->keys[idle]) ? live : idle;
}

static uint16_t free_entry(struct sketch *k) {
    struct sketch_shared *s = k->shared;
    if (s->used < k->capacity) {
        uint16_t i = (uint16_t)s->used;
        __atomic_store_n(&s->used, s->used + 1, __ATOMIC_RELEASE);
        return i;
    }
    uint16_t i = choose_victim(k);
    STORE(&s->floor, MAX(s->floor, k->order->keys[i]));
    STORE(&s->evictions, s->evictions + 1);
    heap_remove(k, heap_of(k, i), i);
    chain_out(k, i);
    return i;
}

static void fill_entry(struct sketch *k, uint16_t i, struct span client) {
    struct sketch_entry *e = entry_at(k, i);
    uint32_t seq = e->seq | 1u; /* a writer that died half-way has left an odd one */
    STORE(&e->seq, seq);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(e->key, client.p, client.len);
    e->key_len = (uint32_t)client.len;
    STORE(&e->since_wall_us, clock_wall_us());
    STORE(&e->error, k->shared->floor);
    for (unsigned v = 0; v < SKETCH_VALUES; v++)
        STORE(&e->values[v], 0);
    seq = seq + 1 ? seq + 1 : 2;
    __atomic_store_n(&e->seq, seq, __ATOMIC_RELEASE);
}

struct span sketch_name_key(const struct sketch *k, struct span name, uint8_t to[static SKETCH_KEY_MAX]) {
    static const char digits[] = "0123456789abcdef";
    if (name.len <= SKETCH_KEY_MAX)
        return name;
    uint64_t hash = hash_bytes(&k->key, name);
    memcpy(to, name.p, SKETCH_KEY_MAX - 17);
    to[SKETCH_KEY_MAX - 17] = '~';
    for (unsigned i = 0; i < 16; i++)
        to[SKETCH_KEY_MAX - 16 + i] = (uint8_t)digits[hash >> (60 - 4 * i) & 15];
    return span_of(to, SKETCH_KEY_MAX);
}

struct sketch_ref sketch_find(struct sketch *k, struct span client) {
    client = span_of(client.len ? (const void *)client.p : "", MIN(client.len, (size_t)SKETCH_KEY_MAX));
    uint16_t i = look_up_client(k, client);
    if (i == NOWHERE) {
        i = free_entry(k);
        fill_entry(k, i, client);
        chain_in(k, i);
        heap_push(k, &k->order->idle, i);
    }
    return (struct sketch_ref){entry_at(k, i)->seq, i};
}

void sketch_live(struct sketch *k, struct sketch_ref ref, int change) {
    if (!sketch_holds(k, ref))
        return;
    struct heap *before = heap_of(k, ref.entry);
    uint64_t *live = &entry_at(k, ref.entry)->values[SKETCH_SESSIONS_NOW];
    STORE(live, change > 0 ? *live + 1 : *live ? *live - 1 : 0);
    struct heap *after = heap_of(k, ref.entry);
    if (before == after)
        return;
    heap_remove(k, before, ref.entry);
    heap_push(k, after, ref.entry);
}

/* ---- begin and end ---- */

/* A predecessor may have died half-way, or have written nonsense: such an entry has no owner, and the first to be taken. */
static void take_entry(struct sketch *k, uint16_t i) {
    struct sketch_entry *e = entry_at(k, i);
    bool bad = (e->seq & 1) || e->seq == 0 || e->key_len > SKETCH_KEY_MAX || look_up_client(k, entry_key(e)) != NOWHERE;
    if (bad) {
        e->seq |= 1u;
        e->key_len = 0;
        e->error = 0;
        memset(e->values, 0, sizeof(e->values));
    } else {
        STORE(&e->values[SKETCH_SESSIONS_NOW], 0);
        chain_in(k, i);
    }
    heap_push(k, &k->order->idle, i);
}

int sketch_open(struct sketch *k, void *shared, uint32_t capacity, const struct hash_key *key) {
    MUST(capacity > 0 && capacity < NOWHERE);
    struct sketch_order *o = calloc(1, sizeof(*o));
    *k = (struct sketch){.shared = shared, .key = *key, .capacity = capacity, .order = o};
    if (!o)
        return ERR_NOMEM;
    o->buckets = 64;
    while (o->buckets < capacity)
        o->buckets *= 2;
    o->first = malloc(o->buckets * sizeof(*o->first));
    o->next = calloc(capacity, sizeof(*o->next));
    o->at = calloc(capacity, sizeof(*o->at));
    o->keys = calloc(capacity, sizeof(*o->keys));
    o->idle.items = calloc(capacity, sizeof(*o->idle.items));
    o->live.items = calloc(capacity, sizeof(*o->live.items));
    if (!o->first || !o->next || !o->at || !o->keys || !o->idle.items || !o->live.items) {
        sketch_close(k);
        return ERR_NOMEM;
    }
    memset(o->first, 0xff, o->buckets * sizeof(*o->first)); /* NOWHERE */
    struct sketch_shared *s = shared;
    if (s->used > capacity || s->capacity != capacity) { /* new, or nonsense */
        STORE(&s->used, 0);
        STORE(&s->capacity, capacity);
    }
    for (uint32_t i = 0; i < s->used; i++)
        take_entry(k, (uint16_t)i);
    return 0;
}

void sketch_close(struct sketch *k) {
    if (k->order) {
        free(k->order->first);
        free(k->order->next);
        free(k->order->at);
        free(k->order->keys);
        free(k->order->idle.items);
        free(k->order->live.items);
        free(k->order);
    }
    *k = (struct sketch){0};
}

bool sketch_read(const struct sketch_shared *s, uint32_t capacity, uint32_t i, struct sketch_entry *ret) {
    if (i >= capacity)
        return false;
    const struct sketch_entry *e = &s->entries[i];
    for (int tries = 0; tries < 3; tries++) {
        uint32_t seq = __atomic_load_n(&e->seq, __ATOMIC_ACQUIRE);
        if ((seq & 1) || seq == 0)
            return false;
        memcpy(ret, e, sizeof(*ret));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (LOAD(&e->seq) == seq)
            return ret->key_len <= SKETCH_KEY_MAX;
    }
    return false;
}
