/*
 * Short-lived children that get one request and give one answer, or end without: the config role, and the dry run of the
 * successor. Nothing blocks on them: the answer arrives through the event loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "shm/roles.h"

struct super;

enum helper_kind { HELPER_CONFIG, HELPER_CREDS, HELPER_ACCESS, HELPER_SECRETS, HELPER_SUCCESSOR, HELPERS };

/* M: the answer, whose descriptors are the callee's; NULL: it ended without one. */
typedef void (*helper_fn)(struct super *s, struct ipc_msg *m);

struct helper {
    pid_t pid; /* 0 = none */
    enum role role;
    int control;
    uint32_t tag;
    helper_fn fn;
};

/* Starts it from the binary EXE_FD; its socket is helper.control. False: errno. */
bool helper_start(struct super *s, enum helper_kind kind, enum role role, int exe_fd, helper_fn fn);

/* The result of sending it a request. That it has ended is none: its end is an event, and what it said before comes first. */
int helper_asked(int err);

/* Ends it, when it runs. */
void helper_end(struct super *s, enum helper_kind kind);
void helper_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* What a child gets. */
struct spawn {
    int exe_fd; /* the binary */
    enum role role;
    uint16_t index;
    int control;  /* its end of the control socket: descriptor 3 */
    int out, err; /* standard output and error; -1 = /dev/null. Input is /dev/null always */
};

/* Starts it with these descriptors and no others, and with its role's part of the environment. -1 on failure (errno). */
pid_t spawn_role(const struct spawn *p);
