/* The config role does the reading and checking; here it is started, asked, and believed only as far as its messages go. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "conf/snapshot.h"
#include "supervisor/super.h"

pid_t spawn_role(enum role role, uint16_t index, int child_end) {
    char number[8];
    snprintf(number, sizeof(number), "%u", index);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    /* in the child, until exec: only async-signal-safe calls */
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    if (child_end == ROLE_CONTROL_FD) {
        if (fcntl(child_end, F_SETFD, 0) < 0)
            _exit(127);
    } else if (dup2(child_end, ROLE_CONTROL_FD) < 0) {
        _exit(127);
    }
    const char *name = role_name(role);
    execl("/proc/self/exe", "tls-off", "--role", name, "--index", number, (char *)NULL);
    _exit(127);
}

static bool wait_for_answer(struct super *s, int fd, struct ipc_msg *ret) {
    for (;;) {
        int err = 0;
        enum step step = ipc_recv(fd, s->scratch, sizeof(s->scratch), control_to_supervisor, ret, &err);
        if (step == STEP_DONE)
            return true;
        if (step != STEP_WANT_READ)
            return false;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            return false;
    }
}

/* The text may come in several messages (REFUSED ... REFUSED, then the end). */
static void print_lines(struct span text) {
    fwrite(text.p, 1, text.len, stderr);
    if (text.len && text.p[text.len - 1] != '\n')
        fputc('\n', stderr);
}

static bool take_answer(struct super *s, int fd) {
    struct ipc_msg m;
    if (!wait_for_answer(s, fd, &m)) {
        fprintf(stderr, "tls-off: the config process ended without an answer\n");
        return false;
    }
    print_lines(m.body);
    if (m.type != CONTROL_CONFIGURED) {
        ipc_msg_close(&m);
        return false;
    }
    s->snapshot_fd = m.fds[0];
    s->secrets_fd = m.fds[1];
    int err = snapshot_read(s->snapshot_fd, &s->conf);
    if (err < 0)
        fprintf(stderr, "tls-off: the configuration cannot be taken over: %s\n", err_text(err));
    return err == 0;
}

bool configure(struct super *s, const struct control_request *what) {
    int pair[2], status = 0;
    if (ipc_pair(0, pair) < 0) {
        fprintf(stderr, "tls-off: socketpair: %m\n");
        return false;
    }
    pid_t pid = spawn_role(ROLE_CONFIG, 0, pair[1]);
    close(pair[1]);
    bool well = pid > 0 && control_send_request(pair[0], what) == 0 && take_answer(s, pair[0]);
    if (pid <= 0)
        fprintf(stderr, "tls-off: fork: %m\n");
    close(pair[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return well;
}
