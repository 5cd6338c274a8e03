#include "supervisor/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "supervisor/super.h"

/* In the child, until exec: only async-signal-safe calls. The descriptor of the binary may lie where the socket has to be. */
static void exec_role(int exe_fd, const char *role, const char *number, int child_end) {
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    if (exe_fd == ROLE_CONTROL_FD)
        exe_fd = fcntl(exe_fd, F_DUPFD_CLOEXEC, ROLE_CONTROL_FD + 1);
    bool there = child_end == ROLE_CONTROL_FD ? fcntl(child_end, F_SETFD, 0) == 0 : dup2(child_end, ROLE_CONTROL_FD) >= 0;
    const char *argv[] = {"tls-off", "--role", role, "--index", number, NULL};
    if (there && exe_fd >= 0)
        (void)syscall(SYS_execveat, exe_fd, "", argv, environ, AT_EMPTY_PATH); /* returns only when it failed */
    _exit(127);
}

pid_t spawn_role(int exe_fd, enum role role, uint16_t index, int child_end) {
    char number[8];
    snprintf(number, sizeof(number), "%u", index);
    pid_t pid = fork();
    if (pid == 0)
        exec_role(exe_fd, role_name(role), number, child_end);
    return pid;
}

bool helper_start(struct super *s, enum helper_kind kind, enum role role, int exe_fd, helper_fn fn) {
    struct helper *h = &s->helpers[kind];
    int pair[2];
    helper_end(s, kind);
    if (ipc_pair(0, pair) < 0)
        return false;
    pid_t pid = spawn_role(exe_fd, role, 0, pair[1]);
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

static void forget(struct super *s, struct helper *h) {
    loop_unwatch(&s->loop, h->control);
    close(h->control);
    h->pid = 0;
}

void helper_end(struct super *s, enum helper_kind kind) {
    struct helper *h = &s->helpers[kind];
    if (h->pid == 0)
        return;
    (void)kill(h->pid, SIGKILL); /* reaped like any other */
    forget(s, h);
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
    if (step == STEP_FAILED)
        (void)kill(h->pid, SIGKILL); /* it talks nonsense */
    forget(s, h);
    h->fn(s, step == STEP_DONE ? &m : NULL);
}
