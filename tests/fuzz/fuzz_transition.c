/*
 * A supervisor from its start to its end, and any order of events around it: reloads, stops and drains asked for, children that
 * serve, say nothing, refuse, die or say what they may not, time that passes, system calls that fail. After every turn
 * super_bench.h looks whether all is in order; each reload that was asked for gets one result, and in the end all processes are
 * gone and all descriptors closed.
 *
 * Input: events of three bytes: kind, who, amount.
 */
#include "../unit/super_bench.h"
#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EVENTS_MAX  100
#define RELOADS_MAX 20 /* fewer than there are places for results */

enum event_around {
    TURN,
    TURNS,
    TIME_PASSES,
    RELOAD,
    HANGUP,
    DOES,
    LEAVES,
    CHILD_DIES,
    CHILD_SAYS,
    CALL_FAILS,
    END, /* drain, stop, TERM */
    EVENT_COUNT,
};

static struct rd input;
static unsigned asked;

static struct bench_child *child(uint8_t who) {
    unsigned n = 0;
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        n += bench_children[i].pid && !bench_children[i].dead;
    who = n ? (uint8_t)(who % n) : 0;
    for (size_t i = 0; n && i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid && !bench_children[i].dead && who-- == 0)
            return &bench_children[i];
    return NULL;
}

/* As it comes from the observer; the supervisor's loop goes on afterwards. */
static void ask(struct super *s, enum command_kind kind) {
    if (kind == COMMAND_RELOAD && asked == RELOADS_MAX)
        return;
    asked += kind == COMMAND_RELOAD;
    bench_inside = true;
    bench_command(s, kind);
    bench_inside = false;
}

static bool pends(int signal) {
    sigset_t set;
    return sigpending(&set) == 0 && sigismember(&set, signal) == 1;
}

/* Blocked, they come through the descriptor. One that still pends, since a call failed before it was read, and the next are
 * one. */
static void signals(struct super *s, int signal) {
    asked += signal == SIGHUP && !pends(SIGHUP);
    MUST(raise(signal) == 0);
    bench_turn(s);
}

/* A supervisor that stops reads no more of them. */
static void take_back_signals(void) {
    sigset_t set;
    MUST(sigemptyset(&set) == 0 && sigaddset(&set, SIGHUP) == 0 && sigaddset(&set, SIGTERM) == 0);
    while (sigtimedwait(&set, NULL, &(struct timespec){0}) > 0)
        continue;
}

static void says(const struct bench_child *c, uint8_t amount) {
    static const uint8_t body[32];
    if (amount & 128)
        (void)!control_send(c->control, (enum control_type)(amount & 63));
    else
        (void)!ipc_send(c->control, amount % 48, span_of(body, amount & 15), NULL, 0);
}

static void happens(struct super *s, unsigned event, uint8_t who, uint8_t amount) {
    struct bench_child *c = child(who);
    switch (event) {
    case TURNS:
        bench_turns(s, amount % 16);
        break;
    case TIME_PASSES:
        bench_later(s, amount * 300u);
        break;
    case RELOAD:
        ask(s, COMMAND_RELOAD);
        break;
    case HANGUP:
        if (asked < RELOADS_MAX)
            signals(s, SIGHUP);
        break;
    case DOES:
        bench_how[who % ROLE_COUNT] = amount % BENCH_DOES;
        break;
    case LEAVES:
        bench_leave[who % ROLE_COUNT] = amount % BENCH_DOES;
        break;
    case CHILD_DIES:
        if (c)
            bench_die(c);
        break;
    case CHILD_SAYS:
        if (c)
            says(c, amount);
        break;
    case CALL_FAILS: /* or a few of them */
        bench_calls = 0;
        bench_fail_at = amount + (who & 1u) * 256;
        bench_fail_more = who >> 1 & 7;
        bench_fail_kind = who >> 4 & 7;
        break;
    case END:
        if (amount & 128)
            signals(s, SIGTERM);
        else if (amount & 64 && s->now)
            ask(s, amount & 1 ? COMMAND_DRAIN : COMMAND_STOP);
        break;
    default:
        bench_turn(s);
    }
}

/* Serves, and all that was asked for has its result. */
static bool at_rest(const struct super *s) {
    return s->lifecycle.stage == TRANSITION_NONE && s->lifecycle.serving && bench_commands(s, true) == 0 &&
           bench_running(s->now) == 5 && !pends(SIGHUP);
}

static void script(struct super *s) {
    for (unsigned i = 0; i < EVENTS_MAX && rd_left(&input) >= 3 && !s->loop.stop; i++) {
        unsigned event = rd_u8(&input) % EVENT_COUNT, who = rd_u8(&input);
        happens(s, event, (uint8_t)who, rd_u8(&input));
        if (who & 128)
            bench_turn(s);
    }
    bench_fail_at = bench_fail_more = 0;
    memset(bench_how, 0, sizeof(bench_how));
    memset(bench_leave, 0, sizeof(bench_leave));
    for (unsigned i = 0; i < 400 && !s->loop.stop && !at_rest(s); i++)
        bench_later(s, 1000);
    MUST(s->loop.stop || at_rest(s));
    MUST(!s->now || bench_commands(s, true) == 0);
    MUST(!s->now || s->loop.stop || bench_commands(s, false) == asked);
    bench_stop(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    asked = 0;
    input = rd_of(span_of(data, size));
    (void)bench_run(script);
    take_back_signals();
    return 0;
}
