/*
 * What runs, as the supervisor knows it: one page it alone writes and the observer reads. Processes of both generations with
 * their states, and the results of what operators asked for, so that a new observer can answer for the one that took the order.
 *
 * The page is read as a whole: roster_read() gives a consistent copy or nothing. It belongs to one supervisor image; after the
 * supervisor has taken up new code, the observer gets a new page (CONTROL_ROSTER) in which figures and results go on.
 * ROSTER_LAYOUT tells versions apart; a page of another layout is refused, and the next one is waited for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "wire/control.h"
#include "wire/roles.h"

#define ROSTER_LAYOUT    1
#define ROSTER_PROCESSES 512
#define ROSTER_COMMANDS  32
#define ROSTER_TEXT_MAX  2048
#define ROSTER_NAME_MAX  256

/* Of the proxy as a whole. */
enum roster_phase { ROSTER_STARTING, ROSTER_SERVING, ROSTER_RELOADING, ROSTER_DRAINING, ROSTER_STOPPING, ROSTER_PHASES };

/* Of one process. NO_PROCESS ends the list. */
enum roster_state {
    ROSTER_NO_PROCESS,
    ROSTER_PREPARING, /* started, not ready */
    ROSTER_READY,     /* serves, or waits for its generation to take over */
    ROSTER_HUNG,      /* has not answered for a while */
    ROSTER_LEAVING,   /* of the old generation, or told to stop: finishes what it has */
    ROSTER_DOWN,      /* has died; is started anew soon */
    ROSTER_STATES,
};

struct roster_process {
    uint8_t role;  /* enum role */
    uint8_t state; /* enum roster_state */
    uint16_t index;
    uint32_t generation;
    int32_t pid; /* 0 = none now */
    int32_t cpu; /* -1 = any */
    uint32_t restarts;
    int32_t last_status;  /* of its predecessor, as from waitpid(); meaningful when RESTARTS is not 0, or while DOWN */
    uint64_t started_ms;  /* wall clock */
    uint64_t last_end_ms; /* when its predecessor ended; 0 = never */
};

enum roster_result { ROSTER_QUEUED = 1, ROSTER_RUNNING, ROSTER_DONE, ROSTER_REFUSED, ROSTER_RESULTS };

struct roster_command {
    uint64_t id;
    uint16_t kind;   /* enum command_kind; 0 = an empty place */
    uint16_t result; /* enum roster_result */
    uint32_t unused;
    uint64_t asked_ms; /* wall clock */
    uint64_t ended_ms; /* 0 = not yet */
    char text[ROSTER_TEXT_MAX];
};

struct roster {
    char version[ROSTER_NAME_MAX]; /* of the serving generation's binary */
    char binary[ROSTER_NAME_MAX];  /* the file a reload starts */
    int32_t pid;
    uint32_t generation; /* the one that serves */
    uint64_t started_ms; /* wall clock: the proxy, over all reloads */
    uint32_t phase;      /* enum roster_phase */
    uint32_t degraded;   /* processes of the serving generation that should serve and do not */
    uint32_t reloads;    /* done */
    uint32_t reloads_refused;
    uint64_t restarts;       /* of roles that died, over all generations */
    uint64_t reload_ms;      /* wall clock: when the serving generation took over */
    uint64_t moved;          /* sessions handed from old generations to new ones */
    uint64_t cut;            /* sessions cut by a drain or stop that has begun */
    uint64_t drain_until_ms; /* wall clock; 0 = no drain under way */
    struct roster_process processes[ROSTER_PROCESSES];
    struct roster_command commands[ROSTER_COMMANDS]; /* the latest; a ring, no order is promised */
};

const char *roster_phase_name(uint32_t phase);
const char *roster_state_name(uint8_t state);
const char *roster_result_name(uint16_t result);

struct roster_page {
    struct roster_shared *shared;
};

/* A page nobody but the one mapping in RET can write; the descriptor is for readers. ERR_SYSTEM (errno). */
MUST_CHECK int roster_create(int *ret_fd, struct roster_page *ret);

/* For readers. ERR_FORMAT when it is of another layout, ERR_SYSTEM (errno). */
MUST_CHECK int roster_map(int fd, struct roster_page *ret);
void roster_unmap(struct roster_page *p);

/* Publishes R. Only on the page of roster_create(). */
void roster_write(struct roster_page *p, const struct roster *r);

/* A copy that is consistent in itself; false when the writer died in the middle of its work. RET is large. */
bool roster_read(const struct roster_page *p, struct roster *ret);

/* NULL when it is not known (any more). */
const struct roster_command *roster_command(const struct roster *r, uint64_t id);
