#include "shm/tracers.h"

#include <string.h>
#include <sys/mman.h>

#include "shm/shared.h"
#include "shm/stats_layout.h"

_Static_assert(sizeof(struct tracers) <= STATS_TRACERS_SIZE, "the page has room");
_Static_assert(sizeof(struct stats_head) <= STATS_TRACERS_OFF, "and the head before it, too");

struct tracers *tracers_map(int stats_fd, bool writable) {
    struct tracers *t = shared_map(stats_fd, STATS_TRACERS_OFF, STATS_TRACERS_SIZE);
    if (t && writable && !shared_make_writable(t, stats_fd, STATS_TRACERS_OFF, STATS_TRACERS_SIZE)) {
        (void)munmap(t, STATS_TRACERS_SIZE); /* as it was mapped */
        return NULL;
    }
    return t;
}

/* The page may hold anything: an observer may have been taken over. */
bool tracer_filter_fits(const struct tracer_filter *f, const struct addr *client, struct span name) {
    size_t len = f->name_len;
    if (len > 0)
        return len <= TRACERS_NAME_MAX && span_eq(span_of(f->name, len), name);
    struct cidr net = f->net;
    return net.bits <= (net.net.family == AF_INET ? 32 : 128) && cidr_has(&net, client);
}

uint32_t tracers_serial(const struct tracers *t, unsigned slot) {
    return __atomic_load_n(&t->slots[slot].serial, __ATOMIC_ACQUIRE);
}

bool tracers_want(const struct tracers *t, const struct addr *client, struct span name) {
    for (size_t i = 0; tracers_any(t) && i < TRACERS_MAX; i++)
        if (tracers_serial(t, (unsigned)i) && tracer_filter_fits(&t->slots[i].filter, client, name))
            return true;
    return false;
}

int tracers_add(struct tracers *t, const struct tracer_slot *wanted) {
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        struct tracer_slot *s = &t->slots[i];
        if (tracers_serial(t, i))
            continue;
        s->until_ms = wanted->until_ms;
        s->json = wanted->json;
        s->filter = wanted->filter;
        s->sessions_left = wanted->sessions_left;
        uint32_t serial = __atomic_add_fetch(&t->serials, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&s->serial, serial ? serial : 1, __ATOMIC_RELEASE);
        __atomic_add_fetch(&t->live, 1, __ATOMIC_RELAXED);
        return (int)i;
    }
    return -1;
}

void tracers_drop(struct tracers *t, unsigned slot) {
    if (__atomic_exchange_n(&t->slots[slot].serial, 0, __ATOMIC_RELAXED))
        __atomic_sub_fetch(&t->live, 1, __ATOMIC_RELAXED);
}
