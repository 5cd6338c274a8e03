#include "supervisor/decide.h"

#define GRACE_MS 5000 /* for what should have ended itself by then */

static const struct stage {
    const char *name;
    uint32_t limit_ms;
    unsigned until; /* all these conditions end it */
    enum transition_stage next;
    enum action enter;
    enum action tend; /* after every turn */
    enum action late; /* ACTION_NONE: the next stage; ACTION_UNDO: the transition is undone */
} stages[TRANSITION_STAGES] = {
    [TRANSITION_NONE] = {.name = "none", .enter = ACTION_IDLE},
    [TRANSITION_CONFIGURING] = {"configuring", 60000, NEXT_CONFIGURED, TRANSITION_STARTING, ACTION_CONFIGURE, ACTION_NONE,
                                ACTION_UNDO},
    [TRANSITION_STARTING] = {"starting", 60000, NEXT_READY, TRANSITION_SWITCHING, ACTION_START, ACTION_NONE, ACTION_UNDO},
    [TRANSITION_UNDOING] = {"undoing", 10000, NEXT_GONE, TRANSITION_NONE, ACTION_UNDO, ACTION_TEND_UNDO, ACTION_KILL_ALL},
    [TRANSITION_SWITCHING] = {"switching", 10000, NOW_ACCEPTS, TRANSITION_FINISHING, ACTION_SWITCH, ACTION_NONE, ACTION_NONE},
    [TRANSITION_FINISHING] = {"finishing", GRACE_MS, OLD_OBSERVER_GONE | OLD_HANDSHAKERS_GONE, TRANSITION_MIGRATING,
                              ACTION_FINISH, ACTION_TEND_OLD, ACTION_KILL_FINISHING},
    [TRANSITION_MIGRATING] = {"migrating", GRACE_MS, OLD_RELAYS_GONE, TRANSITION_LEAVING, ACTION_MIGRATE, ACTION_TEND_OLD,
                              ACTION_NONE},
    [TRANSITION_LEAVING] = {"leaving", GRACE_MS, OLD_GONE, TRANSITION_DRY_RUN, ACTION_LEAVE, ACTION_NONE, ACTION_KILL_ALL},
    [TRANSITION_DRY_RUN] = {"dry run", 10000, DRY_RUN_OVER, TRANSITION_NONE, ACTION_CONCLUDE, ACTION_NONE, ACTION_END_DRY_RUN},
};

static const struct phase {
    unsigned until;
    enum stop_phase next;
    enum action enter; /* the next one */
} phases[STOP_PHASES] = {
    [STOP_HANDSHAKERS] = {HANDSHAKES_FINISHED, STOP_RELAYS, ACTION_DRAIN_RELAYS},
    [STOP_RELAYS] = {RELAYS_DRAINED, STOP_OTHERS, ACTION_STOP_OTHERS},
    [STOP_OTHERS] = {OTHERS_GONE, STOP_OBSERVER, ACTION_STOP_OBSERVER},
    [STOP_OBSERVER] = {ALL_GONE, STOP_OBSERVER, ACTION_END},
};

const char *decide_stage_name(enum transition_stage stage) {
    return stages[stage].name;
}

static bool all_hold(const struct situation *now, unsigned conditions) {
    return (now->holds & conditions) == conditions;
}

/* ---- the transition ---- */

static enum action enter_stage(struct lifecycle *l, enum transition_stage next, const struct situation *now) {
    l->stage = next;
    l->tend = true;
    l->limit_ms = stages[next].limit_ms;
    switch (next) {
    case TRANSITION_CONFIGURING:
        l->undo = UNDO_NOT;
        l->log_taken = false;
        break;
    case TRANSITION_FINISHING:
        l->serving = true;
        l->limit_ms += now->handshake_ms;
        break;
    case TRANSITION_MIGRATING:
        l->limit_ms += now->migrate_ms;
        break;
    case TRANSITION_DRY_RUN:
        l->dry_run_due = all_hold(now, HAS_PREVIOUS);
        break;
    case TRANSITION_NONE:
        l->exec_due = all_hold(now, SUCCESSOR_WILLING);
        break;
    default:
        break;
    }
    return stages[next].enter;
}

static enum action undo(struct lifecycle *l, enum undo_cause cause, const struct situation *now) {
    l->undo = all_hold(now, IS_REFUSED) ? UNDO_REFUSED : cause;
    return enter_stage(l, TRANSITION_UNDOING, now);
}

static enum action be_late(struct lifecycle *l, const struct situation *now) {
    const struct stage *stage = &stages[l->stage];
    if (l->stage == TRANSITION_NONE)
        return ACTION_NONE;
    if (stage->late == ACTION_UNDO)
        return undo(l, UNDO_LATE, now);
    return stage->late == ACTION_NONE ? enter_stage(l, stage->next, now) : stage->late;
}

/* No transition is under way. */
static enum action begin_action(struct lifecycle *l, const struct situation *now) {
    if (l->exec_due) {
        l->exec_due = false;
        if (lifecycle_goes_on(l))
            return ACTION_EXEC;
    }
    if (l->undo != UNDO_NOT) {
        l->undo = UNDO_NOT;
        l->ended = !all_hold(now, HAS_NOW);
        l->failed = l->ended && l->phase == STOP_NOT;
        return ACTION_REPORT_REFUSED;
    }
    return all_hold(now, IS_WANTED) && lifecycle_goes_on(l) ? enter_stage(l, TRANSITION_CONFIGURING, now) : ACTION_NONE;
}

static enum action continue_action(struct lifecycle *l, const struct situation *now) {
    if (l->stage == TRANSITION_NONE)
        return begin_action(l, now);
    if (lifecycle_is_undecided(l) && all_hold(now, IS_REFUSED))
        return undo(l, UNDO_REFUSED, now);
    if (l->tend && stages[l->stage].tend) {
        l->tend = false;
        return stages[l->stage].tend;
    }
    if (l->stage == TRANSITION_FINISHING && all_hold(now, HAS_PREVIOUS | OLD_OBSERVER_GONE) && !l->log_taken) {
        l->log_taken = true;
        return ACTION_TAKE_LOG;
    }
    if (l->stage == TRANSITION_DRY_RUN && l->dry_run_due) {
        l->dry_run_due = false;
        if (lifecycle_goes_on(l))
            return ACTION_DRY_RUN;
    }
    return all_hold(now, stages[l->stage].until) ? enter_stage(l, stages[l->stage].next, now) : ACTION_NONE;
}

/* ---- the stop ---- */

/* One that has begun may be hastened, not slowed down. */
static enum action stop_all(struct lifecycle *l, enum drain_how how, uint64_t ms) {
    if (l->phase >= STOP_OTHERS || (l->phase != STOP_NOT && how == DRAIN_PATIENT))
        return ACTION_NONE;
    l->phase = STOP_HANDSHAKERS;
    l->how = how;
    l->stop_ms = ms;
    return ACTION_STOP;
}

static enum action stop_at_once(struct lifecycle *l) {
    if (l->phase >= STOP_OTHERS)
        return ACTION_NONE;
    l->phase = STOP_OTHERS;
    return ACTION_STOP_OTHERS;
}

static enum action announce(struct lifecycle *l, const struct decide_event *e) {
    if (!lifecycle_goes_on(l))
        return ACTION_NONE;
    l->announced = true;
    l->delay_ms = e->delay_ms;
    l->patient_ms = e->ms;
    return ACTION_ANNOUNCE;
}

static enum action go_on_stopping(struct lifecycle *l, const struct situation *now) {
    const struct phase *phase = &phases[l->phase];
    bool waits = l->phase == STOP_HANDSHAKERS && all_hold(now, HAS_PREVIOUS); /* whose sessions still migrate */
    if (l->phase == STOP_NOT || waits || !all_hold(now, phase->until))
        return ACTION_NONE;
    l->ended = phase->enter == ACTION_END;
    l->phase = phase->next;
    return phase->enter;
}

/* ---- both ---- */

static enum action take_event(struct lifecycle *l, const struct decide_event *e, const struct situation *now) {
    bool in_order = l->serving && (l->phase == STOP_NOT || l->how == DRAIN_PATIENT);
    switch (e->kind) {
    case EVENT_TURN:
        l->tend = true;
        return ACTION_NONE;
    case EVENT_STAGE_LATE:
        return be_late(l, now);
    case EVENT_ANNOUNCE:
        return announce(l, e);
    case EVENT_DRAIN:
        return stop_all(l, DRAIN_PATIENT, e->ms);
    case EVENT_STOP:
        return stop_all(l, DRAIN_QUICK, e->ms);
    case EVENT_TERM:
        return in_order ? stop_all(l, DRAIN_QUICK, e->ms) : stop_at_once(l);
    case EVENT_STOP_TIME:
        return l->phase == STOP_NOT ? stop_all(l, DRAIN_PATIENT, l->patient_ms) : stop_at_once(l);
    default:
        return ACTION_NONE;
    }
}

enum action decide(struct lifecycle *l, const struct decide_event *e, const struct situation *now) {
    if (l->ended)
        return ACTION_NONE;
    enum action action = take_event(l, e, now);
    if (action == ACTION_NONE && l->phase != STOP_NOT && lifecycle_is_undecided(l) && all_hold(now, HAS_NEXT))
        action = undo(l, UNDO_STOP, now);
    if (action == ACTION_NONE)
        action = continue_action(l, now);
    return action == ACTION_NONE ? go_on_stopping(l, now) : action;
}
