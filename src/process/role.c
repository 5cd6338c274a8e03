#include "process/role.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/snapshot.h"

#define LINE_MAX 2048

void role_stop(const struct role_table *t) {
    t->child->stop = true;
    t->loop->stop = true;
}

static void role_fail(const struct role_table *t) {
    t->child->failed = true;
    role_stop(t);
}

void role_ready(struct child *c) {
    if (!c->ready)
        (void)!control_send(c->control, CONTROL_READY); /* a lost supervisor shows on the control socket */
    c->ready = true;
}

/* ---- messages ---- */

static int take_link(const struct role_table *t, struct ipc_msg *m, struct text *why) {
    struct control_peer peer;
    int err = control_read_peer(m, &peer);
    if (err < 0)
        return err;
    for (const struct role_link *l = t->links; l && l->take; l++)
        if (l->peer == peer.role && (err = l->take(t->self, &peer, ipc_take(m, 0))) < 0)
            text_addf(why, "cannot take up a link to %s.%u: %s", role_name(peer.role), peer.index, err_describe(err, errno));
    return err;
}

static int dispatch_control(const struct role_table *t, struct ipc_msg *m, struct text *why) {
    switch (m->type) {
    case CONTROL_PING:
        (void)!control_send(t->child->control, CONTROL_PONG); /* a lost supervisor shows on the control socket */
        return 0;
    case CONTROL_CPU:
        return child_take_cpu(t->child, m);
    case CONTROL_GO:
        t->child->serving = true;
        return 0;
    case CONTROL_STOP:
        role_stop(t);
        return 0;
    case CONTROL_LINK:
        return take_link(t, m, why);
    default:
        break;
    }
    for (const struct role_message *r = t->messages; r && r->take; r++)
        if (r->type == m->type)
            return r->take(t->self, m, why);
    return 0;
}

/* What the supervisor believes of this process would be wrong from the start; later the process goes on with what it has. */
static void report_disobeyed(const struct role_table *t, const char *why) {
    if (t->child->ready) {
        log_msg(&t->child->log, LOG_LEVEL_ERROR, "%s", why);
        return;
    }
    child_refuse(t->child, "%s", why);
    role_fail(t);
}

/* Without it this process serves with what it has: the peer of a lost link sees its end. */
static void report_lost_message(const struct role_table *t, uint16_t type) {
    char line[128];
    struct text why = text_of(line, sizeof(line));
    stats_process_add(&t->child->stats, STATS_MESSAGES_LOST, 1);
    text_addf(&why, "a message of the supervisor (%s) is lost: %s", control_type_name(type), err_text(ERR_OUT_OF_FDS));
    report_disobeyed(t, line);
}

/* M is dealt with, and its descriptors belong to somebody or are closed. */
static void obey_message(const struct role_table *t, struct ipc_msg *m) {
    char line[LINE_MAX];
    struct text why = text_of(line, sizeof(line));
    int err = dispatch_control(t, m, &why);
    if (err < 0 && !why.len)
        text_addf(&why, "a message of the supervisor (%s) is not obeyed: %s", control_type_name(m->type),
                  err_describe(err, errno));
    ipc_msg_close(m);
    if (err < 0)
        report_disobeyed(t, line);
}

/*
 * One a turn: the end of a peer comes before the link to its successor, and is then dealt with before it, so that an event of
 * the old link is never taken for one of the new.
 */
bool role_receive(const struct role_table *t) {
    struct ipc_msg m;
    int err = 0;
    switch (child_recv(t->child, &m, &err)) {
    case STEP_DONE:
        obey_message(t, &m);
        break;
    case STEP_WANT_READ:
        return false;
    case STEP_EOF: /* without a supervisor there is no reason to be */
        role_stop(t);
        break;
    default:
        if (err == ERR_OUT_OF_FDS) {
            report_lost_message(t, m.type);
            break;
        }
        if (err == ERR_SYSTEM) /* it is still there, and read in the next turn; the sessions go on */
            return false;
        log_msg(&t->child->log, LOG_LEVEL_ERROR, "what the supervisor sends cannot be read: %s", err_describe(err, errno));
        role_fail(t);
    }
    return true;
}

static void control_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    const struct role_table *const *t = ctx;
    (void)role_receive(*t);
}

/* ---- life ---- */

int role_loop_init(const struct role_table *t, struct loop *l, void *self) {
    int err = loop_init(l);
    if (err < 0)
        return err;
    loop_wire(l, t->handlers, t->timers, self);
    l->hook = t->turn_end;
    l->pause_fn = t->paused;
    l->hook_ctx = l->pause_ctx = self;
    return 0;
}

static int refuse_start(struct child *c, int err, const struct text *why) {
    child_refuse(c, "%s: cannot start: %s", role_name(c->setup.role), why->len ? why->p : err_describe(err, errno));
    return err;
}

/* Until nothing more has to be opened. */
static int prepare(const struct role_table *t, struct sandbox *sandbox) {
    char line[LINE_MAX];
    struct text why = text_of(line, sizeof(line));
    struct child *c = t->child;
    int err = snapshot_read(c->snapshot_fd, t->conf, NULL);
    close(c->snapshot_fd);
    if (err < 0) {
        text_addf(&why, "the configuration cannot be read: %s", err_describe(err, errno));
        return refuse_start(c, err, &why);
    }
    c->log.level = (*t->conf)->log_level;
    sandbox->user = (*t->conf)->user;
    err = role_loop_init(t, t->loop, t->self);
    if (err == 0)
        err = t->prepare(t->self, sandbox, &why);
    if (err < 0)
        return refuse_start(c, err, &why);
    return t->late_sandbox ? 0 : child_enter_sandbox(c, sandbox);
}

static void go(const struct role_table *t, const struct sandbox *sandbox) {
    char line[LINE_MAX];
    struct text why = text_of(line, sizeof(line));
    enum step step = t->go ? t->go(t->self, &why) : STEP_DONE;
    if (step == STEP_FAILED)
        report_disobeyed(t, line);
    else if (t->late_sandbox && child_enter_sandbox(t->child, sandbox) < 0)
        role_fail(t);
    else if (step == STEP_DONE)
        role_ready(t->child);
}

static void take_turns(const struct role_table *t) {
    static const struct role_table *running;
    running = t;
    loop_on(t->loop, ROLE_CONTROL, control_event, &running);
    if (loop_watch(t->loop, t->child->control, EPOLLIN, ROLE_CONTROL, 0, 0) < 0 || loop_run(t->loop) < 0)
        role_fail(t);
}

int role_run(const struct role_table *t, int control) {
    struct child *c = t->child;
    struct sandbox sandbox = {.user = NULL};
    umask(077);
    tzset(); /* all arithmetic with dates wants it, and in its sandbox a process may look at no file */
    if (child_begin(c, control) < 0 || prepare(t, &sandbox) < 0)
        return 1;
    while (!c->serving && !c->stop)
        if (!role_receive(t))
            child_wait(c);
    if (!c->stop)
        go(t, &sandbox);
    if (!c->stop && t->run)
        t->run(t->self);
    else if (!c->stop)
        take_turns(t);
    if (t->finish)
        t->finish(t->self);
    return c->failed ? 1 : 0;
}
