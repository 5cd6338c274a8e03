/*
 * A generation: all processes that were started for one configuration from one binary, with what they share. A reload makes a
 * second one beside the first; there are never more than two.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/defs.h"
#include "base/wheel.h"
#include "conf/conf.h"
#include "supervisor/sets.h"
#include "supervisor/worker.h"
#include "wire/control.h"

struct super;

#define VERSION_MAX            64
#define GENERATION_WORKERS_MAX (3 * WORKERS_MAX + ROLE_COUNT)

struct generation {
    bool used;
    uint32_t number;
    char version[VERSION_MAX]; /* of its binary */
    int exe_fd;                /* its binary: all its processes are of the same file, whatever happens on disk */
    struct conf *conf;
    int snapshot_fd, secrets_fd, scoreboard_fd;
    int log_fd;             /* the log file; -1 = the log goes elsewhere */
    struct creds_set creds; /* in use, as the next one */
    struct access_set access;
    uint64_t read_s; /* when its files began to be read, seconds since 1970 */
    struct worker *workers;
    size_t nworkers;
};

/*
 * The file the next one is started from. Our own for the first one, which is there even when it has been replaced on disk
 * since; the file on disk for all others.
 */
const char *generation_binary(const struct super *s);

/* The next one, with its binary opened; NULL (errno) when that fails. */
struct generation *generation_new(struct super *s);

/* Takes the answer of the config role: descriptors of M are owned from here; warnings borrow it. 0, or the error. */
MUST_CHECK int generation_configure(struct super *s, struct generation *g, const struct ipc_msg *m, struct span *ret_warnings,
                                    struct text *why);

/* It must have no process left. */
void generation_free(struct super *s, struct generation *g);

/* Every process of ROLE that runs is in this state or further. */
bool generation_all(const struct generation *g, enum role role, enum child_state at_least);

/* No process of ROLE (ROLE_COUNT: at all) runs. */
bool generation_gone(const struct generation *g, enum role role);

/* All places of ROLE (ROLE_COUNT: of all roles) have a process that is ready. */
bool generation_ready(const struct generation *g, enum role role);
struct worker *generation_worker(struct generation *g, enum role role, uint16_t index);
