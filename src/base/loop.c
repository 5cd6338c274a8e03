#include "base/loop.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"

#define LOOP_WAIT_MAX_MS 1000

/* The tag as epoll carries it: kind 8 bits, generation 24, key 32. */
static uint64_t pack_tag(unsigned kind, uint32_t key, uint32_t gen) {
    return (uint64_t)kind << 56 | (uint64_t)LOOP_GEN(gen) << 32 | key;
}

int loop_init(struct loop *l) {
    *l = (struct loop){.epfd = epoll_create1(EPOLL_CLOEXEC)};
    if (l->epfd < 0)
        return ERR_SYSTEM;
    l->now_ms = clock_mono_ms();
    wheel_init(&l->wheel, l->now_ms);
    return 0;
}

void loop_fini(struct loop *l) {
    if (l->epfd >= 0)
        close(l->epfd);
    l->epfd = -1;
}

void loop_on(struct loop *l, unsigned kind, loop_fn fn, void *ctx) {
    MUST(kind < LOOP_KINDS);
    l->kinds[kind].fn = fn;
    l->kinds[kind].ctx = ctx;
}

void loop_on_timer(struct loop *l, unsigned kind, wheel_fn fn, void *ctx) {
    MUST(kind < LOOP_TIMERS);
    l->timers[kind].fn = fn;
    l->timers[kind].ctx = ctx;
}

static struct wtimer *timer_at(void *ctx, size_t place) {
    void *p = (uint8_t *)ctx + place;
    return p;
}

void loop_wire(struct loop *l, const struct loop_handler *handlers, const struct loop_timer *timers, void *ctx) {
    for (const struct loop_handler *h = handlers; h && h->fn; h++)
        loop_on(l, h->kind, h->fn, ctx);
    for (const struct loop_timer *t = timers; t && t->fn; t++) {
        loop_on_timer(l, t->kind, t->fn, ctx);
        if (t->place)
            timer_at(ctx, t->place)->kind = (uint8_t)t->kind;
    }
}

static int control(struct loop *l, int op, int fd, uint32_t events, uint64_t tag) {
    struct epoll_event e = {.events = events, .data.u64 = tag};
    return epoll_ctl(l->epfd, op, fd, &e) == 0 ? 0 : ERR_SYSTEM;
}

int loop_watch(struct loop *l, int fd, uint32_t events, unsigned kind, uint32_t key, uint32_t gen) {
    MUST(kind < LOOP_KINDS && l->kinds[kind].fn);
    return control(l, EPOLL_CTL_ADD, fd, events, pack_tag(kind, key, gen));
}

int loop_rewatch(struct loop *l, int fd, uint32_t events, unsigned kind, uint32_t key, uint32_t gen) {
    MUST(kind < LOOP_KINDS && l->kinds[kind].fn);
    return control(l, EPOLL_CTL_MOD, fd, events, pack_tag(kind, key, gen));
}

void loop_unwatch(struct loop *l, int fd) {
    (void)control(l, EPOLL_CTL_DEL, fd, 0, 0); /* the caller wants it unwatched */
}

static void dispatch_event(struct loop *l, const struct epoll_event *e) {
    unsigned kind = (unsigned)(e->data.u64 >> 56);
    uint32_t gen = LOOP_GEN((uint32_t)(e->data.u64 >> 32));
    l->kinds[kind].fn(l->kinds[kind].ctx, (uint32_t)e->data.u64, gen, e->events);
}

/* Deadlines count from now, not from the start of a turn that may have been long. */
static int wait_ms(const struct loop *l) {
    if (l->wheel.armed == 0)
        return -1;
    return wheel_wait_ms(&l->wheel, clock_mono_ms(), LOOP_WAIT_MAX_MS);
}

/* Waits for events; first without sleeping for as long as the loop is set to spin. */
static int wait_events(struct loop *l, struct epoll_event *events, bool more) {
    int n = epoll_wait(l->epfd, events, LOOP_EVENTS, more || l->spin_us ? 0 : wait_ms(l));
    if (n != 0 || more || !l->spin_us)
        return n;
    for (uint64_t end = clock_mono_us() + l->spin_us; n == 0 && clock_mono_us() < end;)
        n = epoll_wait(l->epfd, events, LOOP_EVENTS, 0);
    return n != 0 ? n : epoll_wait(l->epfd, events, LOOP_EVENTS, wait_ms(l));
}

/* The same, for a loop that wants to know whether it slept, and whether the process stood still. */
static int wait_marked(struct loop *l, struct epoll_event *events, bool more) {
    uint64_t before_us = clock_mono_us();
    loop_mark(l, before_us, 0);
    int asked_ms = more ? 0 : wait_ms(l);
    int n = epoll_wait(l->epfd, events, LOOP_EVENTS, asked_ms);
    int saved = errno;
    uint64_t now_us = clock_mono_us();
    /* without a timer it may sleep for ever, of any length */
    loop_mark(l, now_us, asked_ms < 0 ? now_us - before_us : (uint64_t)asked_ms * 1000);
    if (now_us - before_us > LOOP_SLEPT_US)
        l->woke_us = now_us;
    errno = saved;
    return n;
}

static void report_pause(struct loop *l) {
    uint64_t ms = l->paused_us / 1000;
    l->paused_us = 0;
    if (l->pause_fn)
        l->pause_fn(l->pause_ctx, ms);
}

static void on_due(void *ctx, struct wtimer *t) {
    struct loop *l = ctx;
    l->timers[t->kind].fn(l->timers[t->kind].ctx, t);
}

int loop_run(struct loop *l) {
    struct epoll_event events[LOOP_EVENTS];
    bool more = l->hook != NULL; /* work may have been left before the first turn */
    l->mark_us = clock_mono_us();
    while (!l->stop) {
        int n = l->pause_fn ? wait_marked(l, events, more) : wait_events(l, events, more);
        if (n < 0 && errno != EINTR)
            return ERR_SYSTEM;
        l->now_ms = clock_mono_ms();
        l->events = n > 0 ? (unsigned)n : 0;
        if (l->paused_us)
            report_pause(l);
        for (int i = 0; i < n; i++)
            dispatch_event(l, &events[i]);
        wheel_turn(&l->wheel, l->now_ms, on_due, l);
        more = l->hook && l->hook(l->hook_ctx);
    }
    return 0;
}
