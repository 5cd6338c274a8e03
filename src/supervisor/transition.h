/*
 * The transition from one generation to the next: the first start, a reload, an upgrade; all are the same. A table of stages,
 * each with a time limit, gives the order; until the switch everything can be undone, after it everything continues to the end.
 * The supervisor never blocks: signals, children and restarts are served meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/wheel.h"
#include "conf/load.h"

struct super;
struct worker;

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

#define TRANSITION_TEXT_MAX DIAGNOSTICS_TEXT_MAX

struct transition {
    enum transition_stage stage;
    bool refused;
    bool is_located;                /* each line of the text names its place in a file */
    char text[TRANSITION_TEXT_MAX]; /* why it was refused */
    uint64_t began_ms;
    uint64_t moved;      /* sessions */
    uint64_t cut_before; /* proctab.cut at the beginning */
    uint32_t lost;       /* old relays that died with their sessions */
    bool log_taken;      /* the new observer has it */
    bool successor_answered, successor_willing;
    struct wtimer timer; /* the limit of the stage */
};

/* Begins a transition when none is under way and a reload is queued. */
void transition_begin(struct super *s);

/* After every event: enters the next stage when this one is over. */
void transition_advance(struct super *s);

/* The time of the stage is over. */
void transition_late(struct super *s);

/* Refuses the transition; before the switch only. */
void transition_refuse(struct super *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* An old relay reports its progress. */
struct control_exported;
void transition_exported(struct super *s, struct worker *old, const struct control_exported *e);
