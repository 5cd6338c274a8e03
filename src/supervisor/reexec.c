#include "supervisor/reexec.h"

#include <errno.h>
#include <fcntl.h>
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

static char **arguments;

void reexec_arguments(char **argv) {
    arguments = argv;
}

/* ---- the dry run ---- */

static void on_successor(struct super *s, struct ipc_msg *m) {
    bool willing = m && m->type == CONTROL_READY;
    s->transition.successor_willing = willing;
    if (m && m->type == CONTROL_REFUSED)
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code until it is restarted: %.*s", (int)m->body.len,
                (const char *)m->body.p);
    else if (!willing)
        log_msg(&s->log, LOG_LEVEL_WARNING,
                "the supervisor keeps its old code: the dry run of its successor ended without an answer");
    if (m)
        ipc_msg_close(m);
}

void reexec_dry_run(struct super *s) {
    int fd = -1;
    struct state_fds fds = {NULL, 0};
    int err = state_write(s, &fd, &fds);
    free(fds.list);
    if (err == 0 && helper_start(s, HELPER_SUCCESSOR, ROLE_SUPERVISOR, s->now->exe_fd, on_successor))
        err = helper_asked(ipc_send(s->helpers[HELPER_SUCCESSOR].control, CONTROL_STATE, span_of(NULL, 0), &fd, 1));
    else if (err == 0)
        err = ERR_SYSTEM;
    if (err < 0)
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: %s", err_describe(err, errno));
    if (fd >= 0)
        close(fd);
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
    creds_reload_cancel(s); /* its successor checks again */
    hook_interrupt(s);
    publish_proctab(s);
    int err = state_write(s, &fd, &fds);
    if (err < 0) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: %s", err_describe(err, errno));
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
