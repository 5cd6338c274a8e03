/*
 * The rings the observer reads, one a process. Nothing in a ring is trusted but its events: the ring identifies the writer,
 * so no role can log as another one. A ring or an event that makes no sense is counted, and reading goes on.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log_pause.h"
#include "conf/conf.h"
#include "shm/ring.h"
#include "wire/control.h"
#include "wire/event.h"

/* Those of two generations: a reload keeps the old one until it has nothing left. */
#define SOURCES_MAX (2 * (3 * WORKERS_MAX + ROLE_COUNT))

struct source {
    struct control_peer who;
    struct ring ring;
    uint64_t dropped; /* by the writer: no room; not logged yet */
    uint64_t broken;  /* unreadable; not logged yet */
    struct log_pause loss_log;
};

struct sources {
    struct source list[SOURCES_MAX];
    size_t n;
};

/* False: this one was taken, and no more is wanted now. */
typedef bool (*source_fn)(void *ctx, const struct event *e);

/* The source of that peer, made when it is new (its ring is then not mapped); NULL when there are too many. */
struct source *sources_of(struct sources *s, const struct control_peer *who);

/* Forgets one of the list; pointers into the list are invalid afterwards. */
void sources_drop(struct sources *s, struct source *gone);

/* Hands the events waiting in the ring to FN, at most LIMIT, as long as it wants more. True when it stopped before the ring was
 * empty. */
bool source_read(struct source *s, unsigned limit, source_fn fn, void *ctx);

/* Events that the ring's writer has dropped since the last call; they are reported by source_losses(). */
uint64_t source_dropped(struct source *s);

/* What was lost since it was last logged, at most once a second unless NOW; true when there is something to log. */
bool source_losses(struct source *s, uint64_t now_ms, bool now, uint64_t *ret_dropped, uint64_t *ret_broken);

void sources_fini(struct sources *s);
