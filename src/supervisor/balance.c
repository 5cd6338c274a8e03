#include "supervisor/balance.h"

#include "base/backoff.h"

struct pair {
    size_t high, low; /* of what is looked at */
    uint32_t gap;
    bool found;
};

static uint32_t relay_load(const struct balance_relay *r, enum balance_why why) {
    return why == BALANCE_BY_CPU ? r->busy : r->sessions;
}

/* The two relays farthest apart. A relay without room takes nothing. */
static struct pair farthest(const struct balance_relay *relays, size_t n, enum balance_why why) {
    struct pair p = {.high = n, .low = n};
    for (size_t i = 0; i < n; i++) {
        const struct balance_relay *r = &relays[i];
        if (!r->there)
            continue;
        if (p.high == n || relay_load(r, why) > relay_load(&relays[p.high], why))
            p.high = i;
        if (r->sessions < r->room && (p.low == n || relay_load(r, why) < relay_load(&relays[p.low], why)))
            p.low = i;
    }
    if (p.high == n || p.low == n || p.high == p.low)
        return (struct pair){.found = false};
    uint32_t high = relay_load(&relays[p.high], why), low = relay_load(&relays[p.low], why);
    p.gap = high - MIN(high, low);
    p.found = true;
    return p;
}

static bool uneven_cpu(const struct balance_relay *relays, const struct pair *p) {
    return p->found && relays[p->high].busy >= BALANCE_BUSY && p->gap >= BALANCE_BUSY_GAP && relays[p->high].sessions > 1;
}

static bool uneven_sessions(const struct balance_relay *relays, const struct pair *p) {
    uint32_t low = p->found ? relays[p->low].sessions : 0;
    return p->found && p->gap > BALANCE_GAP && p->gap > low / 2;
}

/* Half of the difference makes them even; by CPU as if all sessions of the busy one cost the same. */
static uint32_t count_of(const struct balance_relay *relays, const struct pair *p, enum balance_why why) {
    const struct balance_relay *high = &relays[p->high], *low = &relays[p->low];
    uint64_t count = p->gap / 2;
    if (why == BALANCE_BY_CPU)
        count = (uint64_t)high->sessions * p->gap / (2 * (uint64_t)high->busy);
    count = MIN(count, high->sessions / 2);
    count = MIN(count, low->room - low->sessions);
    return (uint32_t)MIN(MAX(count, 1u), (uint64_t)BALANCE_MIGRATE_MAX);
}

/* Checks whether the last migration has helped, once an interval after it was measured. */
static void adjust_pause(struct balance_rule *b, const struct pair *now) {
    bool helped = !now->found || (uint64_t)now->gap * 3 < (uint64_t)b->last_gap * 2;
    b->pause = backoff_next(helped ? 0 : b->pause, BALANCE_PAUSE, BALANCE_PAUSE_MAX);
    b->left = helped ? 0 : b->pause;
    b->last_gap = 0;
}

bool balance_step(struct balance_rule *b, const struct balance_relay *relays, size_t n, struct balance_migration *ret) {
    struct pair cpu = farthest(relays, n, BALANCE_BY_CPU), sessions = farthest(relays, n, BALANCE_BY_SESSIONS);
    enum balance_why why = uneven_cpu(relays, &cpu)             ? BALANCE_BY_CPU
                           : uneven_sessions(relays, &sessions) ? BALANCE_BY_SESSIONS
                                                                : BALANCE_EVEN;
    b->steady = why == b->why ? b->steady + 1 : 1;
    b->why = why;
    if (b->left > 0)
        b->left--;
    if (b->left == 0 && b->last_gap)
        adjust_pause(b, b->last_why == BALANCE_BY_CPU ? &cpu : &sessions);
    if (why == BALANCE_EVEN || b->steady < BALANCE_STEADY || b->left > 0)
        return false;
    const struct pair *p = why == BALANCE_BY_CPU ? &cpu : &sessions;
    *ret = (struct balance_migration){(uint16_t)p->high, (uint16_t)p->low, count_of(relays, p, why), why};
    b->steady = 0;
    b->last_gap = p->gap;
    b->last_why = why;
    b->pause = MAX(b->pause, (unsigned)BALANCE_PAUSE);
    b->left = b->pause;
    return true;
}
