/*
 * The event loop of every role: epoll, one timer wheel, one hook a turn.
 *
 * A watched descriptor carries a tag (kind, generation, key) instead of a pointer; the kind picks the handler, key and
 * generation name the object, so nothing is allocated per descriptor and a late event for a dead object is dropped by the
 * handler. A timer has a kind, too, which picks its handler. One turn: wait, handle events, fire due timers, call the hook.
 * Work that is left over is the hook's: while it returns true the loop does not sleep.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/wheel.h"

#define LOOP_KINDS  16
#define LOOP_TIMERS 16
#define LOOP_EVENTS 256 /* events taken a turn */

#define LOOP_SLEPT_US 20     /* a wait that took no longer has let no other process onto the CPU */
#define LOOP_PAUSE_US 500000 /* no event takes so long: a process that was away so long did not run */

/* KEY has 32 bits; GEN 24 (compare with the low 24 bits of the object's generation). */
typedef void (*loop_fn)(void *ctx, uint32_t key, uint32_t gen, uint32_t epoll_events);
typedef bool (*loop_hook)(void *ctx);
typedef void (*loop_pause_fn)(void *ctx, uint64_t ms);

struct loop {
    int epfd;
    bool stop;
    uint32_t spin_us; /* looks for events so long before it sleeps: lower latency for a busy CPU; 0 = sleeps at once */
    uint64_t now_ms;  /* monotonic, read once a turn */
    unsigned events;  /* taken this turn */
    struct wheel wheel;
    loop_hook hook;
    void *hook_ctx;
    loop_pause_fn pause_fn; /* the process did not run (stopped, or its machine was): called before any event or timer */
    void *pause_ctx;
    uint64_t woke_us;   /* when it last woke from sleep; this and the next two only with PAUSE_FN */
    uint64_t mark_us;   /* when it was last seen at work */
    uint64_t paused_us; /* not reported yet */
    struct {
        loop_fn fn;
        void *ctx;
    } kinds[LOOP_KINDS];
    struct {
        wheel_fn fn;
        void *ctx;
    } timers[LOOP_TIMERS];
};

#define LOOP_GEN(gen) ((gen)&0xffffffu)

/* ERR_SYSTEM (errno) when epoll is not to be had. */
MUST_CHECK int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/* Sets the handler of a kind (below LOOP_KINDS). CTX is kept. */
void loop_on(struct loop *l, unsigned kind, loop_fn fn, void *ctx);

/* Sets the handler of timers of a kind (wtimer.kind, below LOOP_TIMERS). CTX is kept. */
void loop_on_timer(struct loop *l, unsigned kind, wheel_fn fn, void *ctx);

/* Rows of tables, which end with an empty one: kinds of events and of timers, and who handles them. */
struct loop_handler {
    unsigned kind;
    loop_fn fn;
};
struct loop_timer {
    unsigned kind;
    wheel_fn fn;
    size_t place; /* of the one timer of that kind, in the CTX of loop_wire(); 0: they get their kind where they are made */
};

/* Sets the handlers of two tables, with one CTX. NULL: no table. */
void loop_wire(struct loop *l, const struct loop_handler *handlers, const struct loop_timer *timers, void *ctx);

/* Watches FD for EVENTS (EPOLL*), tagged. ERR_SYSTEM (errno). The loop does not own the descriptor. */
MUST_CHECK int loop_watch(struct loop *l, int fd, uint32_t events, unsigned kind, uint32_t key, uint32_t gen);

/* Changes what an already watched descriptor waits for. ERR_SYSTEM (errno). */
MUST_CHECK int loop_rewatch(struct loop *l, int fd, uint32_t events, unsigned kind, uint32_t key, uint32_t gen);

/* Stops watching; a descriptor about to be closed needs no call unless a copy of it lives on elsewhere. */
void loop_unwatch(struct loop *l, int fd);

/*
 * At work at NOW_US (monotonic), after a sleep of ASLEEP_US that was requested: what is missing since the last mark, if it is
 * much, was a pause. For loops with PAUSE_FN, also in between events.
 */
static inline void loop_mark(struct loop *l, uint64_t now_us, uint64_t asleep_us) {
    uint64_t away_us = now_us - l->mark_us;
    if (away_us > asleep_us + LOOP_PAUSE_US)
        l->paused_us += away_us - asleep_us;
    l->mark_us = now_us;
}

/* Turns until l->stop is set. ERR_SYSTEM (errno) when epoll fails. */
MUST_CHECK int loop_run(struct loop *l);
