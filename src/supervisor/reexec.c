#include "supervisor/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "supervisor/publish.h"
#include "supervisor/state.h"
#include "supervisor/super.h"
#include "supervisor/supervisor.h"

static char **arguments;

/* ---- the dry run, in the supervisor ---- */

static void on_successor(struct super *s, struct ipc_msg *m) {
    struct transition *c = &s->transition;
    c->successor_answered = true;
    c->successor_willing = m && m->type == CONTROL_READY;
    if (m && m->type == CONTROL_REFUSED)
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code until it is restarted: %.*s", (int)m->body.len,
                (const char *)m->body.p);
    else if (!c->successor_willing)
        log_msg(&s->log, LOG_LEVEL_WARNING,
                "the supervisor keeps its old code: the dry run of its successor ended without an answer");
    if (m)
        ipc_msg_close(m);
    transition_advance(s);
}

bool reexec_dry_run(struct super *s) {
    int fd = -1;
    struct state_fds fds = {NULL, 0};
    int err = state_write(s, &fd, &fds);
    free(fds.list);
    if (err == 0 && helper_start(s, HELPER_SUCCESSOR, ROLE_SUPERVISOR, s->now->exe_fd, on_successor))
        err = ipc_send(s->helpers[HELPER_SUCCESSOR].control, CONTROL_STATE, span_of(NULL, 0), &fd, 1);
    else if (err == 0)
        err = ERR_SYSTEM;
    if (err < 0)
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: %s", err_text(err));
    if (fd >= 0)
        close(fd);
    return err == 0;
}

bool reexec_dry_run_done(const struct super *s) {
    return s->transition.successor_answered;
}

/* ---- the re-exec ---- */

static void set_inheritable(const struct state_fds *fds, bool keep) {
    for (size_t i = 0; i < fds->n; i++)
        (void)fcntl(fds->list[i], F_SETFD, keep ? 0 : FD_CLOEXEC); /* the successor reports one that is missing */
}

void reexec_exec(struct super *s) {
    char number[16];
    int fd;
    struct state_fds fds;
    struct text t = text_of(number, sizeof(number));
    if (!s->transition.successor_willing || s->stop.phase != STOP_NOT)
        return;
    creds_cancel(s); /* its successor checks again */
    publish_proctab(s);
    if (state_write(s, &fd, &fds) < 0) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: %m");
        return;
    }
    text_addf(&t, "%d", fd);
    set_inheritable(&fds, true);
    (void)fcntl(fd, F_SETFD, 0); /* without it there is no successor: exec is followed by an error */
    if (setenv(REEXEC_VARIABLE, number, 1) == 0)
        (void)syscall(SYS_execveat, s->now->exe_fd, "", arguments, environ, AT_EMPTY_PATH); /* returns only when it failed */
    log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: %m");
    unsetenv(REEXEC_VARIABLE);
    set_inheritable(&fds, false);
    close(fd);
    free(fds.list);
}

/* ---- the successor ---- */

int supervisor_resume(char **argv) {
    arguments = argv;
    const char *text = getenv(REEXEC_VARIABLE);
    uint64_t fd;
    int status = -1;
    if (text && text_parse_u64(text, 1 << 20, &fd) == 0)
        status = supervisor_run_on((int)fd);
    return status;
}

static int refuse_dry_run(int control, const char *why, int err) {
    char line[256];
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "tls-off " TLS_OFF_VERSION ": %s: %s", why, err_text(err));
    (void)!control_send_text(control, CONTROL_REFUSED, span_of(line, t.len), NULL, 0); /* no answer is a refusal as well */
    return 1;
}

int supervisor_dry_run(int control_fd) {
    static struct super s;
    struct ipc_msg m;
    int err = 0;
    enum step step;
    do {
        struct pollfd p = {.fd = control_fd, .events = POLLIN};
        (void)poll(&p, 1, -1); /* the next call reports any error */
        step = ipc_recv(control_fd, s.scratch, sizeof(s.scratch), control_to_child, &m, &err);
    } while (step == STEP_WANT_READ);
    if (step != STEP_DONE || m.type != CONTROL_STATE)
        return 1;
    err = state_read(&s, m.fds[0]);
    if (err < 0)
        return refuse_dry_run(control_fd, "the state of the running supervisor cannot be read", err);
    return control_send(control_fd, CONTROL_READY) == 0 ? 0 : 1;
}
