#include "supervisor/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fds.h"
#include "supervisor/environment.h"
#include "supervisor/super.h"

#define HIGH (ROLE_CONTROL_FD + 1) /* above all numbers that a child gets */

/* TO is FD, kept over exec; -1: /dev/null. */
static bool place_fd(int fd, int to) {
    if (fd < 0)
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd == to ? fcntl(fd, F_SETFD, 0) == 0 : fd >= 0 && dup2(fd, to) >= 0;
}

/* In the child, until exec: only async-signal-safe calls. A descriptor may have the number that another one needs. */
static void exec_role(const struct spawn *p, const char *number, char **environment) {
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    int exe = fcntl(p->exe_fd, F_DUPFD_CLOEXEC, HIGH), control = fcntl(p->control, F_DUPFD_CLOEXEC, HIGH);
    int out = p->out < 0 ? -1 : fcntl(p->out, F_DUPFD_CLOEXEC, HIGH),
        err = p->err < 0 ? -1 : fcntl(p->err, F_DUPFD_CLOEXEC, HIGH);
    bool there = exe >= 0 && control >= 0 && (p->out < 0 || out >= 0) && (p->err < 0 || err >= 0);
    there = there && place_fd(-1, STDIN_FILENO) && place_fd(out, STDOUT_FILENO) && place_fd(err, STDERR_FILENO);
    there = there && place_fd(control, ROLE_CONTROL_FD);
    fds_end_at_exec(HIGH);
    const char *argv[] = {"tls-off", "--role", role_name(p->role), "--index", number, NULL};
    if (there)
        (void)syscall(SYS_execveat, exe, "", argv, environment, AT_EMPTY_PATH); /* returns only when it failed */
    static const char failed[] =
        "tls-off: a role cannot be started: its descriptors, /dev/null or its binary are not available: ";
    const char *parts[] = {failed, strerrordesc_np(errno), err_process_limit(errno), "\n"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        (void)!write(p->err, parts[i], strlen(parts[i])); /* reported with its end */
    _exit(127);
}

pid_t spawn_role(const struct spawn *p) {
    char number[8];
    snprintf(number, sizeof(number), "%u", p->index);
    char **environment = environment_of(p->role);
    pid_t pid = fork();
    if (pid == 0)
        exec_role(p, number, environment);
    return pid;
}

bool helper_start(struct super *s, enum helper_kind kind, enum role role, int exe_fd, helper_fn fn) {
    struct helper *h = &s->helpers[kind];
    int pair[2];
    helper_end(s, kind);
    if (ipc_pair(0, pair) < 0)
        return false;
    const struct spawn child = {.exe_fd = exe_fd, .role = role, .control = pair[1], .out = -1, .err = STDERR_FILENO};
    pid_t pid = spawn_role(&child);
    close(pair[1]);
    *h = (struct helper){.pid = pid, .role = role, .control = pair[0], .tag = ++s->tags, .fn = fn};
    if (pid > 0 && loop_watch(&s->loop, h->control, EPOLLIN, SUPER_HELPER, kind, LOOP_GEN(h->tag)) == 0)
        return true;
    close(h->control);
    if (pid > 0)
        (void)kill(pid, SIGKILL); /* reaped like any other */
    h->pid = 0;
    return false;
}

int helper_asked(int err) {
    return err == ERR_CLOSED ? 0 : err;
}

static void forget_helper(struct super *s, struct helper *h) {
    loop_unwatch(&s->loop, h->control);
    close(h->control);
    h->pid = 0;
}

void helper_end(struct super *s, enum helper_kind kind) {
    struct helper *h = &s->helpers[kind];
    if (h->pid == 0)
        return;
    (void)kill(h->pid, SIGKILL); /* reaped like any other */
    forget_helper(s, h);
}

void helper_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)events;
    struct super *s = ctx;
    struct helper *h = &s->helpers[key];
    struct ipc_msg m;
    int err = 0;
    if (h->pid == 0 || LOOP_GEN(h->tag) != gen)
        return;
    enum step step = control_hear(h->control, h->role, s->scratch, sizeof(s->scratch), &m, &err);
    if (step == STEP_WANT_READ)
        return;
    if (step == STEP_FAILED) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "what the %s process answered cannot be read: %s", role_name(h->role),
                err_describe(err, errno));
        (void)kill(h->pid, SIGKILL); /* its message is invalid */
    }
    forget_helper(s, h);
    h->fn(s, step == STEP_DONE ? &m : NULL);
}
