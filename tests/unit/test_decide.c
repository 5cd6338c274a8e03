/* Single decisions of the supervisor: a state, an event and what holds, and what is done then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "supervisor/decide.h"

#define SERVES  (HAS_NOW | DRY_RUN_OVER | OLD_OBSERVER_GONE | OLD_HANDSHAKERS_GONE | OLD_RELAYS_GONE | OLD_GONE | NEXT_GONE)
#define CHANGES (HAS_NOW | HAS_PREVIOUS | DRY_RUN_OVER | NEXT_GONE)

static const struct decision {
    enum transition_stage stage;
    enum stop_phase phase;
    enum decide_event_kind event;
    unsigned holds;
    enum action action;
    enum transition_stage then;
    enum stop_phase phase_then;
} steps[] = {
    {TRANSITION_NONE, STOP_NOT, EVENT_TURN, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_NOT},
    {TRANSITION_NONE, STOP_NOT, EVENT_TURN, SERVES | IS_WANTED, ACTION_CONFIGURE, TRANSITION_CONFIGURING, STOP_NOT},
    {TRANSITION_NONE, STOP_NOT, EVENT_STAGE_LATE, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_NOT},
    {TRANSITION_NONE, STOP_RELAYS, EVENT_TURN, SERVES | IS_WANTED, ACTION_NONE, TRANSITION_NONE, STOP_RELAYS},
    {TRANSITION_CONFIGURING, STOP_NOT, EVENT_TURN, HAS_NOW | HAS_NEXT, ACTION_NONE, TRANSITION_CONFIGURING, STOP_NOT},
    {TRANSITION_CONFIGURING, STOP_NOT, EVENT_TURN, HAS_NOW | HAS_NEXT | NEXT_CONFIGURED, ACTION_START, TRANSITION_STARTING,
     STOP_NOT},
    {TRANSITION_CONFIGURING, STOP_NOT, EVENT_STAGE_LATE, HAS_NOW | HAS_NEXT, ACTION_UNDO, TRANSITION_UNDOING, STOP_NOT},
    {TRANSITION_STARTING, STOP_NOT, EVENT_TURN, HAS_NOW | HAS_NEXT | NEXT_READY, ACTION_SWITCH, TRANSITION_SWITCHING, STOP_NOT},
    {TRANSITION_STARTING, STOP_NOT, EVENT_TURN, HAS_NEXT | NEXT_READY | IS_REFUSED, ACTION_UNDO, TRANSITION_UNDOING, STOP_NOT},
    {TRANSITION_STARTING, STOP_NOT, EVENT_STAGE_LATE, HAS_NOW | HAS_NEXT, ACTION_UNDO, TRANSITION_UNDOING, STOP_NOT},
    {TRANSITION_STARTING, STOP_NOT, EVENT_STOP, HAS_NOW | HAS_NEXT, ACTION_STOP, TRANSITION_STARTING, STOP_HANDSHAKERS},
    {TRANSITION_STARTING, STOP_HANDSHAKERS, EVENT_CONTINUE, HAS_NOW | HAS_NEXT, ACTION_UNDO, TRANSITION_UNDOING,
     STOP_HANDSHAKERS},
    {TRANSITION_UNDOING, STOP_NOT, EVENT_TURN, HAS_NOW | HAS_NEXT, ACTION_TEND_UNDO, TRANSITION_UNDOING, STOP_NOT},
    {TRANSITION_UNDOING, STOP_NOT, EVENT_CONTINUE, HAS_NOW | HAS_NEXT | NEXT_GONE, ACTION_IDLE, TRANSITION_NONE, STOP_NOT},
    {TRANSITION_UNDOING, STOP_NOT, EVENT_STAGE_LATE, HAS_NOW | HAS_NEXT, ACTION_KILL_ALL, TRANSITION_UNDOING, STOP_NOT},
    {TRANSITION_SWITCHING, STOP_NOT, EVENT_TURN, CHANGES | NOW_ACCEPTS, ACTION_FINISH, TRANSITION_FINISHING, STOP_NOT},
    {TRANSITION_SWITCHING, STOP_NOT, EVENT_STAGE_LATE, CHANGES, ACTION_FINISH, TRANSITION_FINISHING, STOP_NOT},
    {TRANSITION_SWITCHING, STOP_HANDSHAKERS, EVENT_TURN, CHANGES, ACTION_NONE, TRANSITION_SWITCHING, STOP_HANDSHAKERS},
    {TRANSITION_FINISHING, STOP_NOT, EVENT_TURN, CHANGES, ACTION_TEND_OLD, TRANSITION_FINISHING, STOP_NOT},
    {TRANSITION_FINISHING, STOP_NOT, EVENT_CONTINUE, CHANGES | OLD_OBSERVER_GONE, ACTION_TAKE_LOG, TRANSITION_FINISHING,
     STOP_NOT},
    {TRANSITION_FINISHING, STOP_NOT, EVENT_CONTINUE, CHANGES | OLD_HANDSHAKERS_GONE, ACTION_NONE, TRANSITION_FINISHING,
     STOP_NOT},
    {TRANSITION_FINISHING, STOP_NOT, EVENT_STAGE_LATE, CHANGES, ACTION_KILL_FINISHING, TRANSITION_FINISHING, STOP_NOT},
    {TRANSITION_FINISHING, STOP_HANDSHAKERS, EVENT_CONTINUE, CHANGES | HANDSHAKES_FINISHED, ACTION_NONE, TRANSITION_FINISHING,
     STOP_HANDSHAKERS},
    {TRANSITION_MIGRATING, STOP_NOT, EVENT_CONTINUE, CHANGES | OLD_RELAYS_GONE, ACTION_LEAVE, TRANSITION_LEAVING, STOP_NOT},
    {TRANSITION_MIGRATING, STOP_NOT, EVENT_STAGE_LATE, CHANGES, ACTION_LEAVE, TRANSITION_LEAVING, STOP_NOT},
    {TRANSITION_LEAVING, STOP_NOT, EVENT_TURN, CHANGES | OLD_GONE, ACTION_CONCLUDE, TRANSITION_DRY_RUN, STOP_NOT},
    {TRANSITION_LEAVING, STOP_NOT, EVENT_STAGE_LATE, CHANGES, ACTION_KILL_ALL, TRANSITION_LEAVING, STOP_NOT},
    {TRANSITION_DRY_RUN, STOP_NOT, EVENT_STAGE_LATE, HAS_NOW, ACTION_END_DRY_RUN, TRANSITION_DRY_RUN, STOP_NOT},
    {TRANSITION_DRY_RUN, STOP_NOT, EVENT_TURN, HAS_NOW | DRY_RUN_OVER, ACTION_IDLE, TRANSITION_NONE, STOP_NOT},
    {TRANSITION_NONE, STOP_NOT, EVENT_ANNOUNCE, SERVES, ACTION_ANNOUNCE, TRANSITION_NONE, STOP_NOT},
    {TRANSITION_NONE, STOP_NOT, EVENT_STOP_TIME, SERVES, ACTION_STOP, TRANSITION_NONE, STOP_HANDSHAKERS},
    {TRANSITION_NONE, STOP_NOT, EVENT_TERM, SERVES, ACTION_STOP, TRANSITION_NONE, STOP_HANDSHAKERS},
    {TRANSITION_NONE, STOP_HANDSHAKERS, EVENT_TERM, SERVES, ACTION_STOP_OTHERS, TRANSITION_NONE, STOP_OTHERS},
    {TRANSITION_NONE, STOP_HANDSHAKERS, EVENT_STOP_TIME, SERVES, ACTION_STOP_OTHERS, TRANSITION_NONE, STOP_OTHERS},
    {TRANSITION_NONE, STOP_RELAYS, EVENT_STOP, SERVES, ACTION_STOP, TRANSITION_NONE, STOP_HANDSHAKERS},
    {TRANSITION_NONE, STOP_RELAYS, EVENT_DRAIN, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_RELAYS},
    {TRANSITION_NONE, STOP_OTHERS, EVENT_TERM, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_OTHERS},
    {TRANSITION_NONE, STOP_OBSERVER, EVENT_TERM, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_OBSERVER},
    {TRANSITION_NONE, STOP_OTHERS, EVENT_STOP, SERVES, ACTION_NONE, TRANSITION_NONE, STOP_OTHERS},
    {TRANSITION_NONE, STOP_HANDSHAKERS, EVENT_TURN, SERVES | HANDSHAKES_FINISHED, ACTION_DRAIN_RELAYS, TRANSITION_NONE,
     STOP_RELAYS},
    {TRANSITION_NONE, STOP_RELAYS, EVENT_TURN, SERVES | RELAYS_DRAINED, ACTION_STOP_OTHERS, TRANSITION_NONE, STOP_OTHERS},
    {TRANSITION_NONE, STOP_OTHERS, EVENT_TURN, SERVES | OTHERS_GONE, ACTION_STOP_OBSERVER, TRANSITION_NONE, STOP_OBSERVER},
    {TRANSITION_NONE, STOP_OBSERVER, EVENT_TURN, SERVES | ALL_GONE, ACTION_END, TRANSITION_NONE, STOP_OBSERVER},
};

static void single_steps(void **state) {
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        const struct decision *step = &steps[i];
        struct lifecycle l = {.stage = step->stage, .phase = step->phase, .serving = true};
        const struct decide_event e = {.kind = step->event, .ms = 1000, .delay_ms = 500};
        const struct situation here = {.holds = step->holds};
        enum action action = decide(&l, &e, &here);
        if (action != step->action || l.stage != step->then || l.phase != step->phase_then)
            fail_msg("step %zu: action %u, stage %s, phase %u", i, action, decide_stage_name(l.stage), l.phase);
    }
}

/* A patient drain becomes a stop, whose time counts; what is asked for later and is weaker changes nothing. */
static void the_stop_that_counts(void **state) {
    struct lifecycle l = {.serving = true};
    const struct situation here = {.holds = SERVES};
    (void)state;
    assert_int_equal(decide(&l, &(struct decide_event){EVENT_ANNOUNCE, 7000, 300}, &here), ACTION_ANNOUNCE);
    assert_int_equal(decide(&l, &(struct decide_event){EVENT_ANNOUNCE, 1, 2}, &here), ACTION_NONE);
    assert_int_equal(l.patient_ms, 7000);
    assert_int_equal(l.delay_ms, 300);
    assert_int_equal(decide(&l, &(struct decide_event){.kind = EVENT_STOP_TIME}, &here), ACTION_STOP);
    assert_int_equal(l.stop_ms, 7000);
    assert_int_equal(l.how, DRAIN_PATIENT);
    assert_int_equal(decide(&l, &(struct decide_event){EVENT_DRAIN, 9000, 0}, &here), ACTION_NONE);
    assert_int_equal(decide(&l, &(struct decide_event){EVENT_TERM, 200, 0}, &here), ACTION_STOP);
    assert_int_equal(l.stop_ms, 200);
    assert_int_equal(l.how, DRAIN_QUICK);
    assert_int_equal(decide(&l, &(struct decide_event){EVENT_TERM, 100, 0}, &here), ACTION_STOP_OTHERS);
}

/* What the old generation is given is part of the limit. */
static void limits_follow_the_configuration(void **state) {
    struct lifecycle l = {.stage = TRANSITION_SWITCHING, .serving = true};
    const struct decide_event go_on = {.kind = EVENT_CONTINUE};
    (void)state;
    (void)decide(&l, &go_on, &(struct situation){.holds = CHANGES | NOW_ACCEPTS, .handshake_ms = 12000});
    uint64_t grace_ms = l.limit_ms - 12000;
    assert_in_range(grace_ms, 1000, 10000);
    l.log_taken = true;
    l.tend = false;
    (void)decide(&l, &go_on,
                 &(struct situation){.holds = CHANGES | OLD_OBSERVER_GONE | OLD_HANDSHAKERS_GONE, .migrate_ms = 70000});
    assert_int_equal(l.stage, TRANSITION_MIGRATING);
    assert_int_equal(l.limit_ms, 70000 + grace_ms);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_steps),
        cmocka_unit_test(the_stop_that_counts),
        cmocka_unit_test(limits_follow_the_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
