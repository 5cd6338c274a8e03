/*
 * The runner of roles: the life of a process that the supervisor has started, from one table a role.
 *
 *   child_begin()   identity, log and counters from the supervisor; then the configuration and the event loop
 *   prepare()       opens what takes rights that the role does not keep
 *                   the sandbox is entered (or later: late_sandbox)
 *   messages        until GO
 *   go()            all is there that the role begins with; READY follows
 *   turns           events, timers, turn_end(), until STOP or the end of the supervisor
 *   finish()
 *
 * Not run by it: the config role, which gives one answer to one message (config/config_role.c), and the supervisor, whose
 * children are many and of whom each may have been taken over: it judges what they say by role and state
 * (supervisor/messages.c).
 *
 * Descriptors: those of a message belong to the runner, which closes them when the handler returns, but for those that the
 * handler took (ipc_take()). The descriptor of a link is the handler's, whatever it returns.
 */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/loop.h"
#include "base/step.h"
#include "base/text.h"
#include "conf/conf.h"
#include "process/child.h"

#define ROLE_CONTROL 0 /* kind of loop event: the socket to the supervisor. A role's own kinds come after it */

/*
 * A message of the supervisor. SELF is the role's state. Negative: it is not obeyed, and WHY may have a line for the operator.
 * Before READY the process then ends, with that line as its refusal; afterwards it logs it and goes on with what it has.
 */
struct role_message {
    uint16_t type;
    int (*take)(void *self, struct ipc_msg *m, struct text *why);
};

/* A link to a process of role PEER, which takes the place of an earlier one. Negative: as above. */
struct role_link {
    enum role peer;
    int (*take)(void *self, const struct control_peer *peer, int fd);
};

/* Tables end with an empty row; NULL: there is none. Functions may be NULL. */
struct role_table {
    void *self; /* static storage, with these three in it: */
    struct child *child;
    struct loop *loop;
    struct conf **conf;

    /* What has no row is for others, and is not looked at. PING, CPU, GO and STOP are dealt with here. */
    const struct role_message *messages;
    const struct role_link *links;
    const struct loop_handler *handlers;
    const struct loop_timer *timers;

    /* SANDBOX has the configured user; what is added to it is borrowed. ERR_SYSTEM (errno), or another one; WHY may have more.
     */
    int (*prepare)(void *self, struct sandbox *sandbox, struct text *why);
    /* STEP_DONE: it can serve; STEP_WANT_READ: not yet, and role_ready() will be called; STEP_FAILED: WHY says why not. */
    enum step (*go)(void *self, struct text *why);
    bool late_sandbox; /* go() needs more rights than the role keeps: the sandbox is entered after it, before READY */
    loop_hook turn_end;
    loop_pause_fn paused;
    void (*run)(void *self);    /* turns of its own, with role_receive(), until child.stop; the loop is not used then */
    void (*finish)(void *self); /* comes in any case once prepare() has succeeded */
};

/* The whole life. The exit status of the process. CONTROL is the socket to the supervisor. */
int role_run(const struct role_table *t, int control);

/* Reports that this process can serve. Only the first call does. */
void role_ready(struct child *c);

/* Handles one message of the supervisor; false when there is none. Ends the process when the supervisor is gone. */
bool role_receive(const struct role_table *t);

/* The end: after this turn no more comes. */
void role_stop(const struct role_table *t);

/* The loop of a process of the role whose state is SELF: for those that are not run, in tests. ERR_SYSTEM (errno). */
MUST_CHECK int role_loop_init(const struct role_table *t, struct loop *l, void *self);
