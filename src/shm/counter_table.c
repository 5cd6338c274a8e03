#include "shm/counter_table.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "shm/relaxed.h"

static bool touched(const struct counter_table *t, size_t set) {
    size_t group = set / COUNTER_SETS_A_GROUP;
    return LOAD(&t->touched[group / 64]) >> group % 64 & 1;
}

static void touch(struct counter_table *t, size_t set) {
    size_t group = set / COUNTER_SETS_A_GROUP;
    STORE(&t->touched[group / 64], LOAD(&t->touched[group / 64]) | UINT64_C(1) << group % 64);
}

static void clear(struct counter_slot *slot) {
    STORE(&slot->live, 0);
    STORE(&slot->until_ns, 0);
}

void counter_table_reset(struct counter_table *t) {
    for (size_t n = 0; n < COUNTER_SETS; n++) {
        if (!touched(t, n))
            continue;
        struct counter_set *set = &t->sets[n];
        for (size_t i = 0; i < COUNTER_SET_SLOTS; i++) {
            STORE(&set->slots[i].tag, 0);
            clear(&set->slots[i]);
        }
        clear(&set->rest);
    }
    for (size_t i = 0; i < ARRAY_LEN(t->touched); i++)
        STORE(&t->touched[i], 0);
}

/* The index of its own slot in its set; COUNTER_SET_SLOTS when it has none. */
static size_t find_slot(const struct counter_table *t, uint64_t tag) {
    size_t i = 0;
    const struct counter_set *set = &t->sets[tag % COUNTER_SETS];
    if (!touched(t, tag % COUNTER_SETS))
        return COUNTER_SET_SLOTS;
    while (i < COUNTER_SET_SLOTS && __atomic_load_n(&set->slots[i].tag, __ATOMIC_ACQUIRE) != tag)
        i++;
    return i;
}

static struct counter_slot *own_slot(struct counter_table *t, uint64_t tag) {
    size_t i = find_slot(t, tag);
    return i < COUNTER_SET_SLOTS ? &t->sets[tag % COUNTER_SETS].slots[i] : NULL;
}

/* An empty slot, or the one without live entries that refills first; NULL when all are alive. */
static struct counter_slot *spare_slot(struct counter_slot *set) {
    struct counter_slot *oldest = NULL;
    for (size_t i = 0; i < COUNTER_SET_SLOTS; i++) {
        if (set[i].tag == 0)
            return &set[i];
        if (set[i].live == 0 && (!oldest || set[i].until_ns < oldest->until_ns))
            oldest = &set[i];
    }
    return oldest;
}

/* Its own slot, found or taken, or the shared one. A reader that still holds the old tag of a slot looks at the tag
 * again after reading, so it never takes one's count for another's. */
static struct counter_slot *find_or_take(struct counter_table *t, uint64_t tag) {
    struct counter_set *set = &t->sets[tag % COUNTER_SETS];
    size_t own = find_slot(t, tag);
    if (own < COUNTER_SET_SLOTS)
        return &set->slots[own];
    touch(t, tag % COUNTER_SETS);
    struct counter_slot *slot = spare_slot(set->slots);
    if (!slot)
        return &set->rest;
    STORE(&slot->tag, 0);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    clear(slot);
    __atomic_store_n(&slot->tag, tag, __ATOMIC_RELEASE);
    return slot;
}

/* What began in the shared slot may end after there was one of its own: the own one goes down first. */
void counter_change(struct counter_table *t, uint64_t tag, int change) {
    struct counter_slot *slot = change > 0 ? find_or_take(t, tag) : own_slot(t, tag);
    if (change < 0 && (!slot || LOAD(&slot->live) == 0) && touched(t, tag % COUNTER_SETS))
        slot = &t->sets[tag % COUNTER_SETS].rest;
    if (!slot)
        return;
    uint32_t now = LOAD(&slot->live), by = (uint32_t)(change < 0 ? -change : change);
    STORE(&slot->live, change > 0 ? now + by : now - MIN(now, by)); /* it may have been tracked only after some had begun */
}

void counter_set_until(struct counter_table *t, uint64_t tag, uint64_t until_ns) {
    STORE(&find_or_take(t, tag)->until_ns, until_ns);
}

struct counter counter_read(const struct counter_table *t, uint64_t tag) {
    const struct counter_set *set = &t->sets[tag % COUNTER_SETS];
    size_t i = find_slot(t, tag);
    bool own = i < COUNTER_SET_SLOTS;
    if (!own && !touched(t, tag % COUNTER_SETS))
        return (struct counter){0};
    const struct counter_slot *slot = own ? &set->slots[i] : &set->rest;
    struct counter copy = {.live = LOAD(&slot->live), .until_ns = LOAD(&slot->until_ns)};
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (own && LOAD(&slot->tag) != tag)
        return (struct counter){0};
    return copy;
}
