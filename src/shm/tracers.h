/*
 * Who is traced (`tls-off trace`): a page that all observers write and that handshakers and relays, old and new, only read.
 * It lies in the stats memfd (stats.h), which lives as long as the supervisor: over reloads, upgrades and the end of any role.
 *
 * A role looks here where it could say something. Nothing is locked: a slot that is read while it changes leads to an event too
 * many or too few, and observers hold every event against the whole filter again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/span.h"

#define TRACERS_MAX      8
#define TRACERS_NAME_MAX 512
#define TRACERS_FOREVER  UINT32_MAX

/* What is wanted: the clients of a network, or a verified name (then NAME_LEN > 0). */
struct tracer_filter {
    struct cidr net;
    uint16_t name_len;
    uint8_t name[TRACERS_NAME_MAX];
};

struct tracer_slot {
    uint32_t serial;        /* 0 = free; else of this tracer alone, as long as the page lives; atomic, as the next one */
    uint32_t sessions_left; /* ends that are still wanted; TRACERS_FOREVER = no matter how many */
    uint64_t until_ms;      /* clock_mono_ms() */
    bool json;
    struct tracer_filter filter;
};

struct tracers {
    uint32_t live; /* slots that are not free; atomic, as the next one */
    uint32_t serials;
    struct tracer_slot slots[TRACERS_MAX];
};

/* The page of a stats memfd. NULL (errno). */
struct tracers *tracers_map(int stats_fd, bool writable);

/* Whether anybody is traced: all that the others cost. T may be NULL. */
static inline bool tracers_any(const struct tracers *t) {
    return __builtin_expect(t && __atomic_load_n(&t->live, __ATOMIC_RELAXED) != 0, 0);
}

/* Whether F is about this client. NAME: verified, or empty. */
bool tracer_filter_fits(const struct tracer_filter *f, const struct addr *client, struct span name);

/* Of the tracer that has the slot; 0 = nobody. */
uint32_t tracers_serial(const struct tracers *t, unsigned slot);

/* Whether a tracer follows this client. */
bool tracers_want(const struct tracers *t, const struct addr *client, struct span name);

/* Takes a free slot, with SESSIONS_LEFT, UNTIL_MS, JSON and FILTER of WANTED. Its number, or -1. */
int tracers_add(struct tracers *t, const struct tracer_slot *wanted);

/* Frees it; one that is free stays so. */
void tracers_drop(struct tracers *t, unsigned slot);
