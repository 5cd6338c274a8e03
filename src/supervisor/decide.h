/*
 * What the supervisor does next: one function from what it is at, an event and what holds at the moment to one action. There
 * is no process, socket or clock here; actions.c looks, asks and acts.
 *
 * Two tables give the order. The stages of a transition, from one generation to the next: the first start, a reload, an
 * upgrade; all are the same. Until the switch everything can be undone, after it everything continues to the end. And the
 * phases of the ordered stop: handshakers finish what they have begun while relays let sessions finish; when no handshaker has
 * any left, relays are drained once more, for what has arrived meanwhile; then all others stop, the observer last so that no
 * log line is lost. A transition that is not decided when the stop begins is undone; one that is continues to its end, so that
 * its sessions are where they are expected.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/control.h"

enum transition_stage {
    TRANSITION_NONE,
    TRANSITION_CONFIGURING, /* the new binary reads and checks the configuration */
    TRANSITION_STARTING,    /* its processes start */
    TRANSITION_UNDOING,     /* it was refused: they end again */
    TRANSITION_SWITCHING,   /* it serves; its handshakers begin to accept */
    TRANSITION_FINISHING,   /* old handshakers finish what they have begun */
    TRANSITION_MIGRATING,   /* old relays migrate their sessions */
    TRANSITION_LEAVING,     /* old processes end */
    TRANSITION_DRY_RUN,     /* the new binary checks whether it could be the supervisor */
    TRANSITION_STAGES,
};

enum stop_phase { STOP_NOT, STOP_HANDSHAKERS, STOP_RELAYS, STOP_OTHERS, STOP_OBSERVER, STOP_PHASES };

enum decide_event_kind {
    EVENT_CONTINUE,   /* the last action is done */
    EVENT_TURN,       /* of the loop: processes may have changed */
    EVENT_STAGE_LATE, /* the limit of the stage is over */
    EVENT_ANNOUNCE,   /* a drain of MS is asked for, which begins after DELAY_MS */
    EVENT_DRAIN,      /* a patient drain of MS is asked for */
    EVENT_STOP,       /* a stop is asked for, with MS for what is in flight */
    EVENT_TERM,       /* the same, by a signal: the next one ends all at once */
    EVENT_STOP_TIME,  /* the time of the announcement, or of the stop, is over */
};

struct decide_event {
    enum decide_event_kind kind;
    uint64_t ms, delay_ms;
};

/* What holds at the moment. A generation that is not there has no process, too. */
enum condition {
    HAS_NOW = 1 << 0, /* a generation serves */
    HAS_NEXT = 1 << 1,
    HAS_PREVIOUS = 1 << 2,
    IS_WANTED = 1 << 3,  /* a transition: the first start, or a reload is queued */
    IS_REFUSED = 1 << 4, /* there is a reason why the next generation cannot serve */
    NEXT_CONFIGURED = 1 << 5,
    NEXT_READY = 1 << 6, /* all its processes */
    NEXT_GONE = 1 << 7,
    NOW_ACCEPTS = 1 << 8, /* all its handshakers */
    OLD_OBSERVER_GONE = 1 << 9,
    OLD_HANDSHAKERS_GONE = 1 << 10,
    OLD_RELAYS_GONE = 1 << 11,
    OLD_GONE = 1 << 12,
    DRY_RUN_OVER = 1 << 13,
    SUCCESSOR_WILLING = 1 << 14,   /* the answer of the dry run */
    HANDSHAKES_FINISHED = 1 << 15, /* handshakers that answer have none left */
    RELAYS_DRAINED = 1 << 16,
    OTHERS_GONE = 1 << 17, /* all but observers */
    ALL_GONE = 1 << 18,
};

struct situation {
    unsigned holds;        /* conditions */
    uint64_t handshake_ms; /* the longest a handshake of the previous generation may take */
    uint64_t migrate_ms;   /* what its relays have, for the migration and what cannot migrate */
};

enum action {
    ACTION_NONE, /* nothing until the next event */
    /* of a transition */
    ACTION_CONFIGURE,
    ACTION_START,
    ACTION_SWITCH,
    ACTION_FINISH,
    ACTION_TEND_OLD, /* after every turn: stops what is drained, begins migrations */
    ACTION_TAKE_LOG,
    ACTION_KILL_FINISHING,
    ACTION_MIGRATE,
    ACTION_LEAVE,
    ACTION_CONCLUDE, /* the old generation is gone: the reload has its result */
    ACTION_DRY_RUN,
    ACTION_END_DRY_RUN,
    ACTION_UNDO,
    ACTION_TEND_UNDO, /* after every turn: stops what can be stopped */
    ACTION_KILL_ALL,  /* of the next and the previous generation */
    ACTION_IDLE,      /* the transition is over */
    ACTION_EXEC,
    ACTION_REPORT_REFUSED,
    /* of the stop */
    ACTION_ANNOUNCE,
    ACTION_STOP,
    ACTION_DRAIN_RELAYS,
    ACTION_STOP_OTHERS,
    ACTION_STOP_OBSERVER,
    ACTION_END, /* nothing runs any more */
    ACTIONS,
};

/* Why a transition is undone. */
enum undo_cause {
    UNDO_NOT,
    UNDO_REFUSED, /* for a reason that was given */
    UNDO_LATE,    /* it was not ready in time */
    UNDO_STOP,    /* the proxy is stopping */
};

/* All of it is written by decide() alone; SERVING also by a supervisor that continues another's work. */
struct lifecycle {
    enum transition_stage stage;
    enum undo_cause undo;
    uint64_t limit_ms; /* of the stage, from its beginning */
    bool tend;         /* what the stage does after every turn is due */
    bool log_taken;    /* by the new observer */
    bool dry_run_due;
    bool exec_due;
    bool serving; /* every role was ready once */

    enum stop_phase phase;
    enum drain_how how;
    bool announced;      /* a drain that begins when the timer is over; until then all goes on */
    uint64_t delay_ms;   /* of the announcement */
    uint64_t patient_ms; /* what its sessions have then */
    uint64_t stop_ms;    /* what sessions have in the stop */

    bool ended;  /* the loop is over */
    bool failed; /* the start was refused */
};

/* One step. After ACTION_NONE the next event is waited for, after any other one EVENT_CONTINUE follows. */
enum action decide(struct lifecycle *l, const struct decide_event *e, const struct situation *now);

const char *decide_stage_name(enum transition_stage stage);

/* Whether it goes on for good: no stop is announced, none has begun. */
static inline bool lifecycle_goes_on(const struct lifecycle *l) {
    return l->phase == STOP_NOT && !l->announced;
}

/* Neither generations change nor does a stop end them. */
static inline bool lifecycle_idle(const struct lifecycle *l) {
    return l->phase == STOP_NOT && l->stage == TRANSITION_NONE;
}

/* The transition can still be refused. */
static inline bool lifecycle_is_undecided(const struct lifecycle *l) {
    return l->stage == TRANSITION_CONFIGURING || l->stage == TRANSITION_STARTING || l->stage == TRANSITION_SWITCHING;
}
