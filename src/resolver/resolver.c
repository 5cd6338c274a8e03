/*
 * See resolver.h. This role has nothing to do while it waits for a name server, so it waits in getaddrinfo() itself. Only the
 * supervisor's messages are read.
 */
#include "resolver/resolver.h"

#include "base/clock.h"
#include "resolver/names.h"

#define RESOLVER_AGAIN_MS 30000
#define AFTER_FAILURE_MS  5000

struct resolver {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct names names;
    size_t next;         /* of the names, to be asked for now; names.n: none */
    bool failed;         /* some name of this round does not resolve */
    struct wtimer again; /* the next round begins */
};

enum resolver_timer { RESOLVER_TIMER_AGAIN };

static int link_resolver_to_relay(void *ctx, const struct control_peer *peer, int fd) {
    struct resolver *r = ctx;
    names_link(&r->names, peer->index, fd);
    return 0;
}

static void begin_round(void *ctx, struct wtimer *t) {
    struct resolver *r = ctx;
    r->next = 0;
    r->failed = false;
}

/* Unless it is sooner already. */
static void ask_again(struct resolver *r, uint64_t ms) {
    if (!wtimer_armed(&r->again) || r->again.deadline_ms > r->loop.now_ms + ms)
        wheel_arm(&r->loop.wheel, &r->again, r->loop.now_ms + ms);
}

/* One name a turn, as each may take long; after the last, and after a message, relays are sent what is new to them. */
static bool resolver_turn_end(void *ctx) {
    struct resolver *r = ctx;
    bool asks = r->next < r->names.n;
    if (asks && !names_resolve(&r->names.list[r->next++], &r->child.log))
        r->failed = true;
    if (r->next < r->names.n)
        return true;
    bool sent = names_deliver(&r->names);
    role_ready(&r->child);
    if (asks) { /* a name server may have taken long */
        r->loop.now_ms = clock_mono_ms();
        ask_again(r, r->failed ? AFTER_FAILURE_MS : RESOLVER_AGAIN_MS);
    }
    if (!sent)
        ask_again(r, AFTER_FAILURE_MS);
    return false;
}

static int resolver_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct resolver *r = ctx;
    names_init(&r->names, r->conf);
    return 0;
}

/* READY comes after the first round. */
static enum step resolver_go(void *ctx, struct text *why) {
    return STEP_WANT_READ;
}

static void resolver_finish(void *ctx) {
    struct resolver *r = ctx;
    names_fini(&r->names);
}

static struct resolver resolver_process;
static const struct role_link resolver_links[] = {{ROLE_RELAY, link_resolver_to_relay}, {0, NULL}};
static const struct loop_timer resolver_timers[] = {
    {RESOLVER_TIMER_AGAIN, begin_round, offsetof(struct resolver, again)},
    {0, NULL, 0},
};

const struct role_table resolver_role = {
    .self = &resolver_process,
    .child = &resolver_process.child,
    .loop = &resolver_process.loop,
    .conf = &resolver_process.conf,
    .links = resolver_links,
    .timers = resolver_timers,
    .prepare = resolver_prepare,
    .go = resolver_go,
    .turn_end = resolver_turn_end,
    .finish = resolver_finish,
};
