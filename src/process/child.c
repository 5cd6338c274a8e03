#include "process/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "shm/shared.h"

/* CPU -1: any that we began with. An unusable number is no reason to stop: then all stays as it is. */
static void take_cpu(const struct child *c, int32_t cpu) {
    cpu_set_t set = c->cpus;
    if (cpu >= 0 && cpu < CPU_SETSIZE) {
        CPU_ZERO(&set);
        CPU_SET((unsigned)cpu, &set);
    }
    (void)sched_setaffinity(0, sizeof(set), &set); /* refused in some containers: only speed is lost */
}

int child_take_cpu(const struct child *c, const struct ipc_msg *m) {
    uint64_t cpu;
    int err = control_read_number(m, &cpu);
    if (err == 0)
        take_cpu(c, (int32_t)MIN(cpu, (uint64_t)CPU_SETSIZE) - 1);
    return err;
}

static enum step receive_message(struct child *c, struct ipc_msg *ret, int *ret_err) {
    return ipc_recv(c->control, c->scratch, sizeof(c->scratch), control_to_child, ret, ret_err);
}

enum step child_recv(struct child *c, struct ipc_msg *ret, int *ret_err) {
    if (c->spare_fd < 0)
        c->spare_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0); /* try again with the next message */
    enum step step = receive_message(c, ret, ret_err);
    if (step != STEP_FAILED || *ret_err != ERR_OUT_OF_FDS)
        return step;
    if (c->spare_fd >= 0)
        close(c->spare_fd);
    c->spare_fd = -1;
    step = receive_message(c, ret, ret_err);
    if (step == STEP_FAILED && *ret_err == ERR_OUT_OF_FDS)
        ipc_skip(c->control);
    return step;
}

void child_wait(const struct child *c) {
    struct pollfd p = {.fd = c->control, .events = POLLIN};
    (void)poll(&p, 1, -1); /* the next look reports any error */
}

#define RELAY_SLICE_NS     100000 /* the shortest there is */
#define HANDSHAKE_SLICE_NS 300000

/* As the kernel's sched_attr, up to the fields of its first version (sched_setattr(2)). */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

/*
 * Short slices, so that the scheduler lets these roles in before an application's slice ends, and relays earlier still (since
 * Linux 6.12; older ones take no notice). All weigh the same: with less weight, handshakes would starve as soon as others of
 * the same scheduling group fill the CPUs. That a flood of handshakes leaves sessions alone is the handshaker's own doing
 * (handshaker/pace.c).
 */
static void take_turn(enum role role) {
    struct attributes a = {.size = sizeof(a), .policy = SCHED_OTHER, .runtime = RELAY_SLICE_NS};
    if (role == ROLE_HANDSHAKER || role == ROLE_SIGNER)
        a.runtime = HANDSHAKE_SLICE_NS;
    else if (role != ROLE_RELAY)
        return;
    a.nice = getpriority(PRIO_PROCESS, 0);
    (void)syscall(SYS_sched_setattr, 0, &a, 0); /* where it is refused, slices are the host's */
}

/* The supervisor may be older or newer than we are: counters of another layout are not shared, and ours start at 0. */
static int open_stats(struct child *c, int fd) {
    c->stats_fd = -1;
    int err = stats_open(fd, c->setup.role, c->setup.index, c->setup.generation, &c->stats);
    if (err == ERR_FORMAT)
        return stats_open_private(&c->stats);
    bool writes = c->setup.role == ROLE_OBSERVER, reads = c->setup.role == ROLE_RELAY || c->setup.role == ROLE_HANDSHAKER;
    if (err == 0 && (writes || reads)) /* without memory for it nobody is traced */
        c->tracers = tracers_map(fd, writes);
    if (err == 0 && c->setup.role == ROLE_OBSERVER)
        c->stats_fd = shared_reader(fd);
    else if (err == 0 && c->setup.role == ROLE_RELAY)
        c->stats_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return err;
}

/* A role with metrics has a row of its own, the observer the table of other instances; one that neither counts nor reports
 * has no scoreboard. */
static int open_scoreboard(struct child *c, int fd) {
    enum role role = c->setup.role;
    bool counts = role == ROLE_RELAY || role == ROLE_HANDSHAKER;
    if (!counts && role != ROLE_OBSERVER)
        return 0;
    int err = scoreboard_map(fd, c->setup.generation, &c->scoreboard);
    if (err == 0 && counts)
        err =
            c->setup.index < c->scoreboard.workers ? scoreboard_open_row(&c->scoreboard, fd, role, c->setup.index) : ERR_FORMAT;
    else if (err == 0)
        err = scoreboard_open_peers(&c->scoreboard, fd);
    return err;
}

/* The first message, and no other. */
static int receive_setup(struct child *c, struct ipc_msg *ret) {
    int err = 0;
    for (;;)
        switch (child_recv(c, ret, &err)) {
        case STEP_WANT_READ:
            child_wait(c);
            break;
        case STEP_DONE:
            return ret->type == CONTROL_SETUP ? 0 : ERR_FORMAT;
        default:
            return err < 0 ? err : ERR_CLOSED;
        }
}

int child_begin(struct child *c, int control) {
    struct ipc_msg m = {.type = 0};
    memset(c, 0, sizeof(*c));
    c->control = control;
    c->spare_fd = -1;
    if (fcntl(control, F_SETFD, FD_CLOEXEC) < 0)
        return ERR_SYSTEM;
    int err = receive_setup(c, &m);
    if (err == 0)
        err = control_read_setup(&m, &c->setup);
    if (err == 0)
        err = open_scoreboard(c, m.fds[1]);
    if (err == 0)
        err = ring_map(m.fds[2], &c->log.ring);
    if (err == 0)
        err = open_stats(c, m.fds[3]);
    if (err == 0)
        c->snapshot_fd = ipc_take(&m, 0);
    ipc_msg_close(&m);
    if (err < 0)
        return err;
    c->log.role = c->setup.role;
    c->log.index = c->setup.index;
    c->log.level = LOG_LEVEL_INFO;
    if (sched_getaffinity(0, sizeof(c->cpus), &c->cpus) == 0)
        take_cpu(c, c->setup.cpu);
    take_turn(c->setup.role);
    return 0;
}

/* All roles have the same kernel: one of them logs. */
static void log_missing(struct child *c, unsigned missing) {
    static const struct {
        unsigned bit;
        const char *text;
    } lines[] = {
        {SANDBOX_NO_USER, "not started as root: all roles run as the same user"},
        {SANDBOX_NO_LANDLOCK,
         "this kernel has no Landlock: files are guarded by the user's rights and the system call filter only"},
        {SANDBOX_NO_PORTS, "this kernel's Landlock knows no TCP ports: relays could connect to others than the backends'"},
        {SANDBOX_NO_SCOPES,
         "this kernel's Landlock has no scopes: signals are held back by the system call filter alone, and abstract Unix sockets "
         "are open to roles that may connect"},
        {SANDBOX_NO_SECCOMP, "no system call filters in this kernel or build"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        if (missing & lines[i].bit)
            log_msg(&c->log, LOG_LEVEL_INFO, "sandbox: %s", lines[i].text);
}

void child_warn_unlocked(struct child *c, const struct slab *s) {
    if (!s->lock_failed || c->unlocked_logged)
        return;
    c->unlocked_logged = true;
    log_msg(&c->log, LOG_LEVEL_WARNING,
            "keys of sessions are not all locked in memory and could be swapped: the limit of locked memory is too low "
            "(LimitMEMLOCK, ulimit -l)");
}

int child_enter_sandbox(struct child *c, const struct sandbox *sandbox) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    unsigned missing = 0;
    int err = sandbox_enter(c->setup.role, sandbox, &missing, &why);
    if (err < 0)
        child_refuse(c, "%s: %s", role_name(c->setup.role), line);
    else if (c->setup.role == ROLE_OBSERVER)
        log_missing(c, missing);
    return err;
}

void child_refuse(struct child *c, const char *fmt, ...) {
    char line[EVENT_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : MIN((size_t)n, sizeof(line) - 1);
    (void)!control_send_text(c->control, CONTROL_REFUSED, span_of(line, len), NULL, 0); /* without it the exit status speaks */
}
