/*
 * What runs, as the supervisor knows it: one page it alone writes and the observer reads. Processes of both generations with
 * their states, and the results of what operators asked for, so that a new observer can answer for the one that got the
 * command.
 *
 * The page is read as a whole: proctab_read() gives a consistent copy or nothing. It belongs to one supervisor image; after the
 * supervisor has taken up new code, the observer gets a new page (CONTROL_PROCTAB) in which stats and results continue.
 * PROCTAB_LAYOUT distinguishes versions; a page of another layout is refused, and the next one is waited for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "shm/roles.h"

#define PROCTAB_LAYOUT    1
#define PROCTAB_PROCESSES 512
#define PROCTAB_COMMANDS  32
#define PROCTAB_TEXT_MAX  2048
#define PROCTAB_NAME_MAX  256

/* Of the proxy as a whole. */
enum proctab_phase { PROCTAB_STARTING, PROCTAB_SERVING, PROCTAB_RELOADING, PROCTAB_DRAINING, PROCTAB_STOPPING, PROCTAB_PHASES };

/* Of one process. NO_PROCESS ends the list. */
enum proctab_state {
    PROCTAB_NO_PROCESS,
    PROCTAB_PREPARING, /* started, not ready */
    PROCTAB_READY,     /* serves, or waits for its generation to take over */
    PROCTAB_HUNG,      /* has not answered for a while */
    PROCTAB_LEAVING,   /* of the old generation, or asked to stop: finishes what it has */
    PROCTAB_DOWN,      /* has died; is restarted soon */
    PROCTAB_STATES,
};

struct proctab_process {
    uint8_t role;  /* enum role */
    uint8_t state; /* enum proctab_state */
    uint16_t index;
    uint32_t generation;
    int32_t pid; /* 0 = none now */
    int32_t cpu; /* -1 = any */
    uint32_t restarts;
    int32_t last_status;  /* of its predecessor, as from waitpid(); meaningful when RESTARTS is not 0, or while DOWN */
    uint64_t started_ms;  /* wall-clock time */
    uint64_t last_end_ms; /* when its predecessor ended; 0 = never */
};

enum proctab_result { PROCTAB_QUEUED = 1, PROCTAB_RUNNING, PROCTAB_DONE, PROCTAB_REFUSED, PROCTAB_RESULTS };

struct proctab_command {
    uint64_t id;
    uint16_t kind;   /* enum command_kind; 0 = an empty place */
    uint16_t result; /* enum proctab_result */
    uint32_t unused;
    uint64_t asked_ms; /* wall-clock time */
    uint64_t ended_ms; /* 0 = not yet */
    char text[PROCTAB_TEXT_MAX];
};

struct proctab {
    char version[PROCTAB_NAME_MAX]; /* of the serving generation's binary */
    char binary[PROCTAB_NAME_MAX];  /* the file a reload starts */
    int32_t pid;
    uint32_t generation; /* the one that serves */
    uint64_t started_ms; /* wall-clock time: the proxy, over all reloads */
    uint32_t phase;      /* enum proctab_phase */
    uint32_t degraded;   /* processes of the serving generation that should serve and do not */
    uint32_t reloads;    /* done */
    uint32_t reloads_refused;
    uint64_t restarts;       /* of roles that died, over all generations */
    uint64_t reload_ms;      /* wall-clock time: when the serving generation took over */
    uint64_t migrated;       /* sessions migrated from old generations to new ones */
    uint64_t cut;            /* sessions cut by a drain or stop that has begun */
    uint64_t drain_until_ms; /* wall-clock time; 0 = no drain under way */
    struct proctab_process processes[PROCTAB_PROCESSES];
    struct proctab_command commands[PROCTAB_COMMANDS]; /* the latest, in the order in which they came */
};

const char *proctab_phase_name(uint32_t phase);
const char *proctab_state_name(uint8_t state);
const char *proctab_result_name(uint16_t result);

struct proctab_page {
    struct proctab_shared *shared;
};

/* A page that only the mapping in RET can write; the descriptor is for readers. ERR_SYSTEM (errno). */
MUST_CHECK int proctab_create(int *ret_fd, struct proctab_page *ret);

/* For readers. ERR_FORMAT when it is of another layout, ERR_SYSTEM (errno). */
MUST_CHECK int proctab_map(int fd, struct proctab_page *ret);
void proctab_unmap(struct proctab_page *p);

/* Publishes R. Only on the page of proctab_create(). */
void proctab_write(struct proctab_page *p, const struct proctab *r);

/* A copy that is consistent in itself; false when the writer died in the middle of its work. RET is large. */
bool proctab_read(const struct proctab_page *p, struct proctab *ret);

/* NULL when it is not known (any more). */
const struct proctab_command *proctab_command(const struct proctab *r, uint64_t id);
