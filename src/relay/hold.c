#include "relay/hold.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/hash.h"
#include "relay/deadlines.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"

#define HOLD_CHAINS 1024u
#define CHUNK_SHARE 64                             /* of the budget: the most that is read at once, */
#define CHUNK_MIN   ((size_t)1 << CHUNK_MIN_SHIFT) /* but this in any case; the most from half of the budget on, */
#define CHUNK_LEAST ((size_t)4096)                 /* and this for clients that hold a large share of it: */
#define LARGE_SHARE 16                             /* one part in so many */
#define BLOCKED_MS  1000                           /* a session whose peers read makes progress within that time */
#define LOOK_AT     64 /* clients of a class, and sessions of a client, that are looked at before one is chosen */

struct hold_client {
    struct slab_item item;
    struct hold_client *next; /* in its chain */
    struct list in_class;
    struct list holds; /* of its sessions, those without progress for longest first */
    size_t bytes;
    uint8_t class;
    uint8_t key[16];
};

/* One direction of a session: since when the present bytes wait. */
struct hold_side {
    uint64_t since_ms; /* CONF_NEVER = none wait */
    uint64_t moved;    /* changes when others take their place */
};

struct hold {
    struct slab_item item;
    struct list in_client;
    struct hold_client *client;
    struct session *session;
    size_t bytes;
    struct hold_side up, down;
    uint64_t record_ms; /* see hold_record_ms() */
};

bool hold_init(struct relay *r) {
    struct holders *h = &r->holders;
    for (size_t i = 0; i < HOLD_CLASSES; i++)
        list_init(&h->class[i]);
    h->chains = calloc(HOLD_CHAINS, sizeof(*h->chains));
    return h->chains && slab_init(&h->holds, sizeof(struct hold), r->room, false) == 0 &&
           slab_init(&h->clients, sizeof(struct hold_client), r->room, false) == 0;
}

void hold_fini(struct relay *r) {
    slab_fini(&r->holders.holds);
    slab_fini(&r->holders.clients);
    free(r->holders.chains);
    r->holders.chains = NULL;
}

/* ---- clients ---- */

static struct hold_client **hold_chain(struct relay *r, const uint8_t key[static 16]) {
    return &r->holders.chains[hash_bytes(&r->rate_buckets.key, span_of(key, 16)) % HOLD_CHAINS];
}

static uint8_t hold_class(size_t bytes) {
    uint8_t n = 0;
    while (bytes >>= 1)
        n++;
    return (uint8_t)MIN(n, HOLD_CLASSES - 1);
}

static void set_bytes(struct relay *r, struct hold_client *c, size_t bytes) {
    uint8_t class = hold_class(bytes);
    c->bytes = bytes;
    if (class == c->class)
        return;
    c->class = class;
    list_remove(&c->in_class);
    list_push(&r->holders.class[class], &c -> in_class);
}

/* NULL when there is no memory. */
static struct hold_client *client_of(struct relay *r, const struct session *s) {
    struct conn_info f;
    uint8_t key[16];
    session_conn_info(s, &f);
    addr_client_key(&f.client, key);
    struct hold_client **chain = hold_chain(r, key), *c = *chain;
    while (c && memcmp(c->key, key, sizeof(key)) != 0)
        c = c->next;
    if (c || !(c = slab_alloc(&r->holders.clients)))
        return c;
    c->next = *chain;
    *chain = c;
    memcpy(c->key, key, sizeof(key));
    list_init(&c->holds);
    list_init(&c->in_class);
    list_push(&r->holders.class[0], &c -> in_class);
    return c;
}

static void leave_client(struct relay *r, struct hold_client *c) {
    if (!list_empty(&c->holds))
        return;
    struct hold_client **at = hold_chain(r, c->key);
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    list_remove(&c->in_class);
    slab_free(&r->holders.clients, c);
}

/* ---- sessions ---- */

/* NULL when there is no memory: its bytes count, but for no client. */
static struct hold *begin_hold(struct relay *r, struct session *s) {
    struct hold *h = slab_alloc(&r->holders.holds);
    struct hold_client *c = h ? client_of(r, s) : NULL;
    if (!c) {
        slab_free(&r->holders.holds, h);
        return NULL;
    }
    h->client = c;
    h->session = s;
    h->up.since_ms = h->down.since_ms = CONF_NEVER;
    h->record_ms = s->active_ms; /* of one that comes from another relay this is some time ago */
    list_init(&h->in_client);
    list_push(&c->holds, &h->in_client);
    s->hold = h;
    return h;
}

void hold_release(struct relay *r, struct session *s) {
    struct hold *h = s->hold;
    if (!h)
        return;
    s->hold = NULL;
    list_remove(&h->in_client);
    set_bytes(r, h->client, h->client->bytes - h->bytes);
    leave_client(r, h->client);
    slab_free(&r->holders.holds, h);
}

static uint64_t hold_since_ms(const struct hold *h) {
    return MIN(h->up.since_ms, h->down.since_ms);
}

/* True when what waits is not what waited before. */
static bool side_settle(struct hold_side *side, bool waits, uint64_t moved, uint64_t now_ms) {
    bool changed = side->moved != moved || side->since_ms == CONF_NEVER;
    side->moved = moved;
    if (!waits)
        side->since_ms = CONF_NEVER;
    else if (changed)
        side->since_ms = now_ms;
    return changed;
}

void hold_settle(struct relay *r, struct session *s) {
    size_t bytes = chain_cost(&s->up.wait) + chain_cost(&s->down.wait) + chain_cost(&s->partial);
    if (bytes == 0) {
        hold_release(r, s);
        return;
    }
    bool is_new = !s->hold;
    struct hold *h = is_new ? begin_hold(r, s) : s->hold;
    if (!h)
        return;
    uint64_t before = hold_since_ms(h), now_ms = is_new ? s->active_ms : r->loop.now_ms;
    /* Nothing is read up while bytes wait up, nor down while they wait down: reading is what changes these. A record of no
     * bytes counts as well. */
    bool changed = side_settle(&h->up, s->up.wait.len || s->partial.len, s->up.bytes + s->record_layer.in.seq, now_ms);
    (void)side_settle(&h->down, s->down.wait.len, s->down.bytes, now_ms);
    if (changed || s->partial.len == 0)
        h->record_ms = now_ms;
    if (hold_since_ms(h) != before) {
        list_remove(&h->in_client);
        list_push(&h->client->holds, &h->in_client);
    }
    set_bytes(r, h->client, h->client->bytes - h->bytes + bytes);
    h->bytes = bytes;
    uint64_t owed_ms = hold_record_ms(s), allowed_ms = session_service(r, s)->partial_record_ms;
    if (owed_ms && allowed_ms != CONF_NEVER)
        session_look_at(r, s, owed_ms + allowed_ms);
}

void hold_excuse(const struct relay *r, const struct session *s) {
    if (s->hold)
        s->hold->record_ms = r->loop.now_ms;
}

uint64_t hold_record_ms(const struct session *s) {
    bool owes = s->hold && s->client.tls && s->partial.len && !s->read_ahead && s->up.wait.len == 0 && s->waits != WAITS_RATE;
    return owes && s->state == SESSION_OPEN ? s->hold->record_ms : 0;
}

size_t hold_chunk(const struct relay *r, const struct session *s, size_t want) {
    if (!pool_pressed(&r->pool))
        return MIN(want, MAX(r->pool.budget / CHUNK_SHARE, CHUNK_MIN));
    bool large = s->hold && s->hold->client->bytes >= r->pool.budget / LARGE_SHARE;
    return MIN(want, large ? CHUNK_LEAST : CHUNK_MIN);
}

/* ---- the end of the budget ---- */

/* Of this client; a session on its way to another relay is not ours to end. */
static struct hold *oldest_of_client(const struct hold_client *c) {
    int looks = LOOK_AT;
    for (struct list *n = c->holds.next; n != &c->holds && looks--; n = n->next) {
        struct hold *h = CONTAINER_OF(n, struct hold, in_client);
        if (h->session->waits != WAITS_MIGRATION)
            return h;
    }
    return NULL;
}

/* Those that were looked at and not chosen go behind the others: the next look is at others. */
static struct hold *oldest_of_class(struct list *class) {
    struct hold *oldest = NULL;
    struct list *last = class->prev;
    int looks = LOOK_AT;
    for (bool end = list_empty(class); !end && looks--;) {
        struct hold_client *c = CONTAINER_OF(class->next, struct hold_client, in_class);
        struct hold *h = oldest_of_client(c);
        if (h && (!oldest || hold_since_ms(h) < hold_since_ms(oldest)))
            oldest = h;
        end = &c->in_class == last;
        list_remove(&c->in_class);
        list_push(class, &c->in_class);
    }
    return oldest;
}

/*
 * From the largest clients down, the first that has been blocked for a while; when none has, of the largest. Those that are on
 * their way to another relay will free what they hold soon: no active session ends in their place.
 */
static struct hold *choose_eviction(struct relay *r) {
    struct hold *largest = NULL;
    for (size_t i = HOLD_CLASSES; i-- > 0;) {
        struct hold *h = oldest_of_class(&r->holders.class[i]);
        if (h && hold_since_ms(h) + BLOCKED_MS <= r->loop.now_ms)
            return h;
        largest = largest ? largest : h;
    }
    return r->exporting ? NULL : largest;
}

static void log_eviction(struct relay *r) {
    uint32_t ended = log_pause_over(&r->holders.eviction_log, r->loop.now_ms);
    session_metrics_process(&r->child.stats, STATS_EVICTED);
    if (ended)
        log_msg(&r->child.log, LOG_LEVEL_WARNING,
                "buffer_memory is used up: %u session(s) ended (no_buffers), blocked longest of the clients that hold most",
                ended);
}

struct session *hold_choose(struct relay *r) {
    struct hold *h = pool_over(&r->pool) ? choose_eviction(r) : NULL;
    if (!h)
        return NULL;
    log_eviction(r);
    return h->session;
}
