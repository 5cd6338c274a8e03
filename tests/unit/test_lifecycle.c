/*
 * What the supervisor decides, without a process: every state that any order of events can lead to, over a world of processes
 * that do, refuse or miss whatever they can. In each one all that is done is allowed, nothing is left behind, and with children
 * that do nothing more at all every transition and every stop still comes to its end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/defs.h"
#include "supervisor/decide.h"

/* ---- the world ---- */

/* How far the processes of one kind are, in one generation. */
enum doing { GONE, STARTED, READY, ACCEPTS, DRAINED };

struct processes {
    uint8_t there; /* the generation is */
    uint8_t configured;
    uint8_t observer, handshakers, relays;
    uint8_t asked; /* STOP or KILL: bits of the kinds; they will be gone */
};

enum { OBSERVER = 1, HANDSHAKERS = 2, RELAYS = 4, ALL_KINDS = 7 };

/* Compared and hashed as bytes: set to zero as a whole. */
struct world {
    struct lifecycle l;
    struct processes now, next, previous;
    uint8_t config_runs, successor_runs, willing;
    uint8_t queued, running; /* reloads */
    uint8_t refused;         /* there is a reason */
    uint8_t started;         /* the first start was tried */
    uint8_t fails;           /* the next action that can fail does */
    uint8_t stop_timer;
};

static unsigned seen_actions[ACTIONS];

static bool gone(const struct processes *p) {
    return p->observer == GONE && p->handshakers == GONE && p->relays == GONE;
}

static void ask(struct processes *p, unsigned kinds) {
    p->asked |= (uint8_t)((p->observer ? kinds & OBSERVER : 0u) | (p->handshakers ? kinds & HANDSHAKERS : 0u) |
                          (p->relays ? kinds & RELAYS : 0u));
}

static bool handshakes_finished(const struct processes *p) {
    return p->handshakers == GONE || p->handshakers == DRAINED;
}

static bool relays_drained(const struct processes *p) {
    return p->relays == GONE || p->relays == DRAINED;
}

static struct situation look(const struct world *w) {
    const struct processes *old = &w->previous;
    bool others =
        w->now.handshakers || w->now.relays || w->next.handshakers || w->next.relays || old->handshakers || old->relays;
    struct situation here = {.handshake_ms = 1000, .migrate_ms = 2000};
    here.holds = (w->now.there ? HAS_NOW : 0u) | (w->next.there ? HAS_NEXT : 0u) | (old->there ? HAS_PREVIOUS : 0u) |
                 ((w->now.there ? w->queued : !w->started) ? IS_WANTED : 0u) | (w->refused ? IS_REFUSED : 0u) |
                 (w->next.configured ? NEXT_CONFIGURED : 0u) | (w->next.relays == READY ? NEXT_READY : 0u) |
                 (gone(&w->next) ? NEXT_GONE : 0u) | (w->now.handshakers == ACCEPTS ? NOW_ACCEPTS : 0u) |
                 (old->observer == GONE ? OLD_OBSERVER_GONE : 0u) | (old->handshakers == GONE ? OLD_HANDSHAKERS_GONE : 0u) |
                 (old->relays == GONE ? OLD_RELAYS_GONE : 0u) | (gone(old) ? OLD_GONE : 0u) |
                 (w->successor_runs ? 0u : DRY_RUN_OVER) | (w->willing ? SUCCESSOR_WILLING : 0u) |
                 (handshakes_finished(&w->now) && handshakes_finished(old) ? HANDSHAKES_FINISHED : 0u) |
                 (relays_drained(&w->now) && relays_drained(old) ? RELAYS_DRAINED : 0u) | (others ? 0u : OTHERS_GONE) |
                 (!others && !w->now.observer && !w->next.observer && !old->observer ? ALL_GONE : 0u);
    return here;
}

/* ---- actions ---- */

static bool fails(struct world *w) {
    bool failed = w->fails;
    w->fails = false;
    w->refused = w->refused || failed;
    return failed;
}

static void configure(struct world *w) {
    assert_false(w->next.there || w->previous.there || w->config_runs || w->successor_runs);
    assert_true(lifecycle_goes_on(&w->l));
    w->running = w->queued;
    w->queued = w->refused = w->willing = false;
    w->started = true;
    w->next.there = true;
    w->config_runs = !fails(w);
}

static void start(struct world *w) {
    assert_true(w->next.there && w->next.configured);
    w->next.observer = w->next.relays = w->next.handshakers = STARTED;
    if (fails(w)) /* some were started */
        w->next.handshakers = GONE;
}

static void switch_over(struct world *w) {
    assert_true(w->next.relays == READY && !w->previous.there && w->l.phase == STOP_NOT);
    if (fails(w))
        return;
    w->previous = w->now;
    w->now = w->next;
    w->next = (struct processes){.there = false};
}

static void conclude(struct world *w) {
    assert_true(w->now.there && gone(&w->previous));
    w->previous.there = w->running = false;
}

static void dry_run(struct world *w) {
    assert_true(w->now.there && !w->previous.there && lifecycle_goes_on(&w->l));
    w->successor_runs = !w->fails;
    w->fails = false;
}

static void report_refused(struct world *w) {
    assert_true(gone(&w->next) && !w->config_runs);
    assert_true(w->refused || w->l.phase != STOP_NOT || w->now.there || w->l.failed);
    w->next = (struct processes){.there = false};
    w->running = false;
}

static void stop_others(struct world *w) {
    w->config_runs = w->successor_runs = w->stop_timer = false;
    ask(&w->now, ALL_KINDS & ~OBSERVER);
    ask(&w->next, ALL_KINDS & ~OBSERVER);
    ask(&w->previous, ALL_KINDS & ~OBSERVER);
}

static void stop_observer(struct world *w) {
    assert_true(look(w).holds & OTHERS_GONE);
    w->queued = w->running = false;
    ask(&w->now, OBSERVER);
    ask(&w->next, OBSERVER);
    ask(&w->previous, OBSERVER);
}

static void perform_in_transition(struct world *w, enum action action) {
    switch (action) {
    case ACTION_CONFIGURE:
        configure(w);
        break;
    case ACTION_START:
        start(w);
        break;
    case ACTION_SWITCH:
        switch_over(w);
        break;
    case ACTION_FINISH:
        ask(&w->previous, OBSERVER);
        break;
    case ACTION_TEND_OLD:
        ask(&w->previous, w->previous.handshakers == DRAINED ? HANDSHAKERS : 0u);
        ask(&w->previous, w->previous.relays == DRAINED ? RELAYS : 0u);
        break;
    case ACTION_TAKE_LOG:
        assert_true(w->previous.there && w->previous.observer == GONE);
        break;
    case ACTION_KILL_FINISHING:
        ask(&w->previous, OBSERVER | HANDSHAKERS);
        break;
    case ACTION_MIGRATE:
        assert_int_equal(w->previous.handshakers, GONE);
        break;
    case ACTION_LEAVE:
        ask(&w->previous, ALL_KINDS);
        break;
    case ACTION_CONCLUDE:
        conclude(w);
        break;
    case ACTION_DRY_RUN:
        dry_run(w);
        break;
    case ACTION_END_DRY_RUN:
        w->successor_runs = false;
        break;
    case ACTION_UNDO:
        assert_true(w->l.undo != UNDO_NOT);
        w->config_runs = false;
        break;
    case ACTION_TEND_UNDO:
        ask(&w->next, w->next.handshakers || w->next.relays ? ALL_KINDS & ~OBSERVER : OBSERVER);
        break;
    case ACTION_KILL_ALL:
        ask(&w->next, ALL_KINDS);
        ask(&w->previous, ALL_KINDS);
        break;
    case ACTION_EXEC: /* which fails here: a successor starts at rest */
        assert_true(w->willing && w->now.there && !w->next.there && !w->previous.there && lifecycle_goes_on(&w->l));
        break;
    case ACTION_REPORT_REFUSED:
        report_refused(w);
        break;
    default:
        assert_int_equal(action, ACTION_IDLE);
    }
}

static void perform(struct world *w, enum action action) {
    seen_actions[action]++;
    switch (action) {
    case ACTION_ANNOUNCE:
        w->stop_timer = true;
        break;
    case ACTION_STOP:
        w->stop_timer = true;
        break;
    case ACTION_DRAIN_RELAYS:
        assert_false(w->previous.there);
        if (w->now.relays == DRAINED)
            w->now.relays = READY; /* it is asked once more */
        break;
    case ACTION_STOP_OTHERS:
        stop_others(w);
        break;
    case ACTION_STOP_OBSERVER:
        stop_observer(w);
        break;
    case ACTION_END:
        assert_true(look(w).holds & ALL_GONE);
        break;
    default:
        perform_in_transition(w, action);
    }
}

static void take(struct world *w, enum decide_event_kind kind) {
    struct decide_event e = {.kind = kind, .ms = 1, .delay_ms = 1};
    for (unsigned i = 0;; i++) {
        struct situation here = look(w);
        enum action action = decide(&w->l, &e, &here);
        if (action == ACTION_NONE)
            break;
        perform(w, action);
        e.kind = EVENT_CONTINUE;
        assert_true(i < 40);
    }
}

/* What holds after every event. */
static void check(const struct world *w) {
    const struct lifecycle *l = &w->l;
    assert_false(w->next.there && w->previous.there);
    assert_true(l->stage == TRANSITION_NONE || l->limit_ms > 0);
    assert_true(l->stage != TRANSITION_NONE || !w->next.there || l->ended);
    assert_true(l->stage != TRANSITION_NONE || !w->previous.there);
    assert_true(l->stage != TRANSITION_NONE || !w->running);
    assert_true(!w->config_runs || l->stage == TRANSITION_CONFIGURING);
    assert_true(!w->successor_runs || l->stage == TRANSITION_DRY_RUN);
    assert_true(l->phase < STOP_OTHERS || (!w->config_runs && !w->successor_runs));
    assert_true(l->phase == STOP_NOT || l->phase >= STOP_OTHERS || w->stop_timer);
    assert_true(!l->announced || l->phase >= STOP_OTHERS || w->stop_timer);
    assert_true(!l->ended || (look(w).holds & ALL_GONE));
    assert_true(!l->ended || (!w->queued && !w->running) || !l->serving);
    assert_true(!l->failed || !l->serving);
}

/* ---- what may happen ---- */

enum move {
    TURNS, /* nothing but a turn */
    BE_LATE,
    STOP_TIMER,
    ASK_RELOAD,
    ASK_ANNOUNCE,
    ASK_DRAIN,
    ASK_STOP,
    SEND_TERM,
    CONFIGURES,
    CONFIG_REFUSES,
    NEXT_SERVES,
    NEXT_DIES,
    NOW_SERVES,
    ASKED_END,
    OLD_DRAINS_HANDSHAKERS,
    OLD_DRAINS_RELAYS,
    NOW_DRAINS_HANDSHAKERS,
    NOW_DRAINS_RELAYS,
    OLD_RELAYS_DIE,
    SUCCESSOR_AGREES,
    SUCCESSOR_REFUSES,
    CALL_FAILS,
    MOVES,
};

static void end_asked(struct processes *p) {
    p->observer = p->asked & OBSERVER ? GONE : p->observer;
    p->handshakers = p->asked & HANDSHAKERS ? GONE : p->handshakers;
    p->relays = p->asked & RELAYS ? GONE : p->relays;
    p->asked = 0;
}

/* Of those that are drained as they are asked. */
static void drain(uint8_t *kind, bool is_asked) {
    if (is_asked && *kind != GONE)
        *kind = DRAINED;
}

static void move_child(struct world *w, enum move move) {
    bool stops = w->l.phase != STOP_NOT;
    switch (move) {
    case CONFIGURES:
    case CONFIG_REFUSES:
        w->refused |= w->config_runs && move == CONFIG_REFUSES;
        w->next.configured |= w->config_runs && move == CONFIGURES;
        w->config_runs = false;
        break;
    case NEXT_SERVES:
        if (w->next.relays == STARTED && w->next.handshakers == STARTED && !w->next.asked)
            w->next.observer = w->next.handshakers = w->next.relays = READY;
        break;
    case NEXT_DIES:
        if (w->next.relays) {
            w->next.relays = GONE;
            w->refused = true;
        }
        break;
    case NOW_SERVES:
        w->now.handshakers = w->now.handshakers == READY ? ACCEPTS : w->now.handshakers;
        break;
    case ASKED_END:
        end_asked(&w->now);
        end_asked(&w->next);
        end_asked(&w->previous);
        break;
    case OLD_DRAINS_HANDSHAKERS:
        drain(&w->previous.handshakers, w->l.stage >= TRANSITION_FINISHING);
        break;
    case OLD_DRAINS_RELAYS:
        drain(&w->previous.relays, w->l.stage >= TRANSITION_MIGRATING);
        break;
    case NOW_DRAINS_HANDSHAKERS:
        drain(&w->now.handshakers, stops);
        break;
    case NOW_DRAINS_RELAYS:
        drain(&w->now.relays, stops);
        break;
    case OLD_RELAYS_DIE:
        w->previous.relays = GONE;
        break;
    case SUCCESSOR_AGREES:
    case SUCCESSOR_REFUSES:
        w->willing |= w->successor_runs && move == SUCCESSOR_AGREES;
        w->successor_runs = false;
        break;
    default:
        w->fails |= move == CALL_FAILS;
    }
}

/* It happens, and the turn ends. False: it cannot happen now. */
static bool happen(struct world *w, enum move move) {
    static const enum decide_event_kind asked[] = {
        [ASK_ANNOUNCE] = EVENT_ANNOUNCE, [ASK_DRAIN] = EVENT_DRAIN, [ASK_STOP] = EVENT_STOP, [SEND_TERM] = EVENT_TERM};
    if (move == BE_LATE && w->l.stage == TRANSITION_NONE)
        return false;
    if (move == STOP_TIMER && !w->stop_timer)
        return false;
    if (move == ASK_RELOAD)
        w->queued |= w->now.there && lifecycle_goes_on(&w->l);
    else if (move == BE_LATE)
        take(w, EVENT_STAGE_LATE);
    else if (move == STOP_TIMER)
        w->stop_timer = false;
    if (move == STOP_TIMER)
        take(w, EVENT_STOP_TIME);
    else if (move >= ASK_ANNOUNCE && move <= SEND_TERM && w->now.there)
        take(w, asked[move]);
    else if (move == SEND_TERM)
        take(w, EVENT_TERM);
    else
        move_child(w, move);
    take(w, EVENT_TURN);
    return true;
}

/* Children do nothing more; what they were asked to end ends, and timers fire. */
static void lazy_end(struct world w) {
    for (unsigned i = 0; i < 40 && !w.l.ended; i++) {
        bool rests = lifecycle_idle(&w.l) && !w.l.announced && !w.queued;
        if (rests)
            break;
        happen(&w, ASKED_END);
        happen(&w, BE_LATE);
        happen(&w, ASKED_END);
        if (w.l.stage == TRANSITION_NONE) /* later than any stage */
            happen(&w, STOP_TIMER);
    }
    check(&w);
    assert_true(w.l.ended || lifecycle_idle(&w.l));
    assert_true(w.l.ended || (!w.queued && !w.running && !w.next.there && !w.previous.there));
    assert_true(!w.l.ended || gone(&w.now));
}

/* ---- all of it ---- */

#define PLACES (1u << 20)

static struct world *found; /* open addressing; an empty place has started = 0 and no stage */
static uint32_t *queue;
static uint8_t *used;
static uint32_t nfound;

static void meet(const struct world *w) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < sizeof(*w); i++)
        hash = (hash ^ ((const uint8_t *)w)[i]) * UINT64_C(1099511628211);
    uint32_t at = (uint32_t)(hash >> 32) % PLACES;
    while (used[at] && memcmp(&found[at], w, sizeof(*w)) != 0)
        at = (at + 1) % PLACES;
    if (used[at])
        return;
    assert_true(nfound < PLACES / 2);
    used[at] = 1;
    memcpy(&found[at], w, sizeof(*w));
    queue[nfound++] = at;
}

static void every_order_of_events(void **state) {
    static struct world w;
    unsigned stages = 0, phases = 0;
    (void)state;
    found = calloc(PLACES, sizeof(*found));
    queue = calloc(PLACES, sizeof(*queue));
    used = calloc(PLACES, sizeof(*used));
    assert_true(found && queue && used);
    memset(&w, 0, sizeof(w));
    take(&w, EVENT_TURN);
    meet(&w);
    for (uint32_t i = 0; i < nfound; i++) {
        stages |= 1u << found[queue[i]].l.stage;
        phases |= 1u << found[queue[i]].l.phase;
        lazy_end(found[queue[i]]);
        for (unsigned move = 0; move < MOVES; move++) {
            memcpy(&w, &found[queue[i]], sizeof(w));
            if (w.l.ended || !happen(&w, (enum move)move))
                continue;
            check(&w);
            meet(&w);
        }
    }
    print_message("%u states\n", nfound);
    /* one that lasts is seen between events; the others are passed through */
    assert_int_equal(stages, (1u << TRANSITION_STAGES) - 1);
    assert_int_equal(phases, (1u << STOP_PHASES) - 1);
    for (unsigned i = ACTION_NONE + 1; i < ACTIONS; i++)
        assert_true(seen_actions[i] > 0);
    free(found);
    free(queue);
    free(used);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_of_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
