/*
 * A supervisor in this process, as supervisor_run() makes it, whose children are played here: fork() starts none, each has its
 * end of the control socket, and obeys at every turn, or not (bench_does). The clock stands until it is
 * moved. A script runs while the supervisor would sleep in its loop; afterwards all must be closed.
 *
 * Link with --wrap: super_bench_wraps (tests/meson.build).
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access/access_write.h"
#include "base/err.h"
#include "base/sealed.h"
#include "bench_faults.h"
#include "conf/scalars.h"
#include "conf/snapshot.h"
#include "creds_samples.h"
#include "supervisor/actions.h"
#include "supervisor/super.h"
#include "supervisor/supervisor.h"
#include "supervisor/worker.h"
#include "supervisor/workers.h"
#include "wire/control_export.h"

#define BENCH_CHILDREN 256
#define BENCH_PID      100000 /* of the first child; nobody's */

/* What children of a generation do. */
enum bench_does { DOES_WELL, DOES_NOTHING, DOES_REFUSE, DOES_DIE, BENCH_DOES };

static struct bench_child {
    pid_t pid; /* 0 = an empty place */
    enum role role;
    int control; /* its end; -1 = closed */
    uint32_t generation;
    bool dead; /* to be reaped */
} bench_children[BENCH_CHILDREN];

static struct super *super_of_bench;
static void (*bench_script)(struct super *s);
static enum bench_does bench_how[ROLE_COUNT];   /* new ones of a role, when ordered to go or asked */
static enum bench_does bench_leave[ROLE_COUNT]; /* those ordered to drain or to migrate */
static uint64_t bench_ms = 1000000;
static unsigned bench_kills;
static int bench_pair_end = -1;
static enum role bench_next_role;
static pid_t bench_next_pid = BENCH_PID;
static bool bench_stopped; /* the supervisor has ended its loop */

uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void) {
    return bench_ms;
}

void __wrap_environment_clean(void);
void __wrap_environment_clean(void) {
}

void __wrap_fds_close_from(int from, int but);
void __wrap_fds_close_from(int from, int but) {
    (void)from;
    (void)but;
}

/* The step to new code, which is not to be had here: the supervisor keeps its old code. */
static unsigned bench_execs;
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    MUST(number == SYS_execveat);
    bench_execs++;
    errno = ENOEXEC;
    return -1;
}

int __wrap_sandbox_supervisor(struct text *why);
int __wrap_sandbox_supervisor(struct text *why) {
    (void)why;
    return 0;
}

/* ---- children ---- */

char **__wrap_environment_of(enum role role);
char **__wrap_environment_of(enum role role) {
    bench_next_role = role;
    return NULL;
}

int __real_ipc_pair(int sndbuf, int ret_fds[static 2]);
int __wrap_ipc_pair(int sndbuf, int ret_fds[static 2]);
int __wrap_ipc_pair(int sndbuf, int ret_fds[static 2]) {
    int err = __real_ipc_pair(sndbuf, ret_fds);
    bench_pair_end = err == 0 ? ret_fds[1] : -1;
    return err;
}

pid_t __wrap_fork(void);
pid_t __wrap_fork(void) {
    BENCH_FAIL(-1, EAGAIN, ENOMEM);
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid == 0) {
            int end = __real_fcntl64(bench_pair_end, F_DUPFD_CLOEXEC, 3);
            MUST(end >= 0);
            bench_children[i] = (struct bench_child){.pid = bench_next_pid++, .role = bench_next_role, .control = end};
            return bench_children[i].pid;
        }
    errno = EAGAIN;
    return -1;
}

static inline void bench_die(struct bench_child *c) {
    if (c->control >= 0)
        __real_close(c->control);
    c->control = -1;
    c->dead = true;
}

static inline bool bench_any_dead(void) {
    bool any = false;
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        any = any || (bench_children[i].pid && bench_children[i].dead);
    return any;
}

int __wrap_kill(pid_t pid, int sig);
int __wrap_kill(pid_t pid, int sig) {
    MUST(pid >= BENCH_PID && sig == SIGKILL); /* never a stranger's */
    bench_kills++;
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid == pid && !bench_children[i].dead)
            bench_die(&bench_children[i]);
    return 0;
}

pid_t __wrap_waitpid(pid_t pid, int *status, int flags);
pid_t __wrap_waitpid(pid_t pid, int *status, int flags) {
    (void)pid;
    MUST(flags == WNOHANG);
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid && bench_children[i].dead) {
            pid_t gone = bench_children[i].pid;
            bench_children[i] = (struct bench_child){.control = -1};
            *status = SIGKILL;
            return gone;
        }
    return 0;
}

/* The configuration that the config role finds: one service that passes bytes on. */
static inline int bench_snapshot(void) {
    struct conf *c = conf_new();
    int fd = -1;
    scalar_defaults("", c);
    c->workers = 2;
    c->state_dir = "/tmp";
    c->drain_ms = 5000;
    c->watch_ms = CONF_NEVER;
    c->buffer_memory = c->handshake_memory = 64 * 1024 * 1024;
    c->log_level = LOG_LEVEL_WARNING;
    c->nlisteners = c->nservices = 1;
    c->listeners = conf_alloc(c, sizeof(*c->listeners));
    scalar_defaults("listener.*", c->listeners);
    c->listeners->name = "127.0.0.1:0";
    c->listeners->addr = (struct addr){.family = AF_INET, .ip = {127, 0, 0, 1}};
    c->services = conf_alloc(c, sizeof(*c->services));
    struct conf_service *s = &c->services[0];
    scalar_defaults("service.*", s);
    s->name = "web";
    s->mode = MODE_PASSTHROUGH;
    s->handshake_ms = s->linger_ms = 1000;
    s->nlisteners = s->nbackends = 1;
    s->listeners = conf_alloc(c, sizeof(*s->listeners));
    s->suites = s->groups = conf_alloc(c, sizeof(*s->suites));
    s->nsuites = s->ngroups = 1;
    s->backends = conf_alloc(c, sizeof(*s->backends));
    s->backends[0] = (struct conf_backend){.kind = BACKEND_UNIX, .text = "unix:/a", .path = "/a"};
    MUST(snapshot_write(c, &fd) == 0);
    conf_free(c);
    return fd;
}

static inline int bench_store(void) {
    struct creds_writer *w = creds_writer_new();
    int fd = -1;
    MUST(w && creds_add_service(w, "web") == 0 && creds_seal(w, sample_digest, &fd) == 0);
    creds_writer_free(w);
    return fd;
}

/* What the config role finds in the files: another number is another content. A list of so many networks; a byte of a secret.
 */
static unsigned bench_networks;
static bool bench_list_fails; /* its file cannot be read: the networks are those of before */
static uint8_t bench_secret;

static inline int bench_table(void) {
    struct access_writer *w = access_writer_new();
    struct access_list list = {.file = "/bad.txt", .networks = bench_networks, .failing_s = bench_list_fails ? 1 : 0};
    struct netlist nets;
    uint32_t index;
    int fd = -1;
    netlist_init(&nets);
    MUST(w && access_add_service(w) == 0);
    for (unsigned i = 0; i < bench_networks; i++)
        MUST(netlist_add(&nets, &(struct cidr){{.family = AF_INET, .ip = {10, (uint8_t)i}}, 32}) == 0);
    if (bench_networks)
        MUST(access_add_list(w, &list, &nets, &index) == 0 && access_use_list(w, index, true) == 0 && access_seal(w, &fd) == 0);
    else
        MUST(access_seal(w, &fd) == 0);
    netlist_fini(&nets);
    access_writer_free(w);
    return fd;
}

static inline int bench_secrets(void) {
    uint8_t *p;
    int fd;
    MUST(sealed_begin("secret", 64, &fd, &p) == 0);
    memset(p, bench_secret, 64);
    MUST(sealed_end(fd, p, 64) == 0);
    return fd;
}

static inline void bench_configures(const struct bench_child *c) {
    int fds[4] = {bench_snapshot(), bench_secrets(), bench_store(), bench_table()};
    MUST(fds[1] >= 0);
    (void)!control_send_configured(c->control, &(struct control_configured){span_str("1"), span_str("")}, fds);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        __real_close(fds[i]);
}

static inline void bench_answers(struct bench_child *c, enum bench_does how, enum control_type type) {
    if (how == DOES_DIE)
        bench_die(c);
    else if (how == DOES_REFUSE)
        (void)!control_send_text(c->control, CONTROL_REFUSED, span_str("because"), NULL, 0);
    else if (how == DOES_WELL && type == CONTROL_DRAINED)
        (void)!control_send_number(c->control, CONTROL_DRAINED, 0);
    else if (how == DOES_WELL && type == CONTROL_EXPORTED)
        (void)!control_send_exported(c->control, &(struct control_exported){.migrated = 1});
    else if (how == DOES_WELL)
        (void)!control_send(c->control, type);
}

static unsigned bench_given[ROLE_COUNT][2]; /* access tables, ticket secrets that they were sent while they served */

/* What was asked of the config role to read again. */
static inline void bench_reads(struct bench_child *c, enum control_type answer, int (*make)(void)) {
    enum bench_does how = bench_how[c->role];
    int fd = how == DOES_WELL ? make() : -1;
    if (how == DOES_WELL)
        (void)!control_send_text(c->control, answer, span_str(answer == CONTROL_ACCESS_READ ? "a warning\n" : ""), &fd, 1);
    else
        bench_answers(c, how, CONTROL_REFUSED);
    if (fd >= 0)
        __real_close(fd);
}

static inline void bench_obeys(struct bench_child *c, const struct ipc_msg *m) {
    enum bench_does how = bench_how[c->role], leave = bench_leave[c->role];
    switch (m->type) {
    case CONTROL_REQUEST:
        if (how == DOES_WELL)
            bench_configures(c);
        else
            bench_answers(c, how, CONTROL_REFUSED);
        break;
    case CONTROL_REQUEST_ACCESS:
        bench_reads(c, CONTROL_ACCESS_READ, bench_table);
        break;
    case CONTROL_REQUEST_SECRETS:
        bench_reads(c, CONTROL_SECRETS_READ, bench_secrets);
        break;
    case CONTROL_ACCESS:
    case CONTROL_SECRETS:
        bench_given[c->role][m->type == CONTROL_SECRETS]++;
        break;
    case CONTROL_STATE:
    case CONTROL_GO:
        bench_answers(c, how, CONTROL_READY);
        break;
    case CONTROL_SERVE:
        bench_answers(c, how == DOES_REFUSE ? DOES_NOTHING : how, CONTROL_SERVING);
        break;
    case CONTROL_DRAIN:
        bench_answers(c, leave == DOES_REFUSE ? DOES_NOTHING : leave, CONTROL_DRAINED);
        break;
    case CONTROL_EXPORT:
        bench_answers(c, leave == DOES_REFUSE ? DOES_NOTHING : leave, CONTROL_EXPORTED);
        break;
    case CONTROL_PING:
        bench_answers(c, DOES_WELL, CONTROL_PONG);
        break;
    case CONTROL_STOP:
        if (leave != DOES_NOTHING)
            bench_die(c);
        break;
    default:
        break;
    }
}

static inline void bench_children_turn(void) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    for (size_t i = 0; i < BENCH_CHILDREN; i++) {
        struct bench_child *c = &bench_children[i];
        for (;;) {
            enum step step = c->pid && c->control >= 0
                                 ? ipc_recv(c->control, scratch, sizeof(scratch), control_to_child, &m, &err)
                                 : STEP_WANT_READ;
            if (step == STEP_DONE) {
                bench_obeys(c, &m);
                ipc_msg_close(&m);
                continue;
            }
            MUST(step != STEP_FAILED);
            if (step == STEP_EOF)
                bench_die(c);
            break;
        }
    }
}

/* ---- turns ---- */

/* As from an operator, at the observer; what follows is done in this turn. */
static inline void bench_command(struct super *s, enum command_kind kind) {
    actions_command(s, &(struct control_command){.kind = kind, .id = bench_ms});
    actions_turn(s);
}

static inline unsigned bench_running(const struct generation *g) {
    unsigned n = 0;
    for (size_t i = 0; g && i < g->nworkers; i++)
        n += worker_runs(&g->workers[i]);
    return n;
}

static inline struct bench_child *bench_child_of(pid_t pid) {
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        if (bench_children[i].pid == pid)
            return &bench_children[i];
    return NULL;
}

static inline unsigned bench_commands(const struct super *s, bool open) {
    unsigned n = 0;
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++) {
        const struct proctab_command *c = &s->proctab.commands[i];
        bool waits = c->result == PROCTAB_QUEUED || c->result == PROCTAB_RUNNING;
        n += c->kind == COMMAND_RELOAD && waits == open;
    }
    return n;
}

/* A helper belongs to what it was started for, and what is pending to the generation that serves: neither outlives it. */
static inline void bench_check_helpers(const struct super *s) {
    const struct lifecycle *l = &s->lifecycle;
    MUST(!s->helpers[HELPER_CONFIG].pid || l->stage == TRANSITION_CONFIGURING);
    MUST(!s->helpers[HELPER_SUCCESSOR].pid || l->stage == TRANSITION_DRY_RUN);
    bool pending = s->creds.stage != CREDS_IDLE || s->refresh[REFRESH_ACCESS].reading || s->refresh[REFRESH_SECRETS].reading;
    bool helps = s->helpers[HELPER_CREDS].pid || s->helpers[HELPER_ACCESS].pid || s->helpers[HELPER_SECRETS].pid;
    MUST(lifecycle_idle(l) || (!pending && !helps));
    for (unsigned i = 0; i < HELPERS && l->phase >= STOP_OTHERS; i++)
        MUST(!s->helpers[i].pid);
}

/* Its end of the control socket is the only one: it ends itself. */
static inline bool bench_is_left(const struct bench_child *c) {
    struct pollfd p = {.fd = c->control};
    return poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

/* None is forgotten: who lives is known under its number, or has been left. */
static inline void bench_check_children(struct super *s) {
    for (size_t i = 0; i < BENCH_CHILDREN; i++) {
        const struct bench_child *c = &bench_children[i];
        bool known = c->pid == 0 || c->dead || bench_is_left(c);
        for (struct worker *w = NULL; !known && (w = worker_next(s, w));)
            known = w->pid == c->pid;
        for (unsigned k = 0; !known && k < HELPERS; k++)
            known = s->helpers[k].pid == c->pid;
        MUST(known);
    }
}

static unsigned bench_complaints; /* lines of the log: errors and warnings */

/* A reason that is given is one. */
static inline void bench_read_log(struct super *s) {
    static uint8_t record[RING_RECORD_MAX];
    struct event e;
    for (int n; (n = ring_get(&s->log.ring, record)) > 0;) {
        MUST(event_read(span_of(record, (size_t)n), &e) == 0);
        MUST(!memmem(e.text.p, e.text.len, "Success", 7));
        bench_complaints += e.level <= LOG_LEVEL_WARNING;
    }
}

/* After every turn. */
static inline void bench_check(struct super *s) {
    unsigned used = 0, roles = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->gens); i++) {
        const struct generation *g = &s->gens[i];
        used += g->used;
        roles += s->now == g ? 1 : 0;
        roles += s->next == g ? 1 : 0;
        roles += s->previous == g ? 1 : 0;
    }
    MUST(used <= 2 && roles == used);
    MUST(!s->next || !s->previous);
    MUST(!s->next || s->next->number != (s->now ? s->now->number : UINT32_MAX));
    enum transition_stage stage = s->lifecycle.stage;
    MUST(stage == TRANSITION_NONE || wtimer_armed(&s->stage_timer) || bench_kills || s->loop.stop);
    MUST((stage != TRANSITION_NONE) || (!s->next && !s->previous));
    for (struct worker *w = NULL; (w = worker_next(s, w));) {
        MUST(worker_runs(w) == (w->pid != 0) && worker_runs(w) == (w->control >= 0));
        MUST(!worker_runs(w) || (bench_child_of(w->pid) && fcntl(w->control, F_GETFD) >= 0));
        MUST(worker_runs(w) || w->gen != s->now || wtimer_armed(&w->timer) || s->lifecycle.phase != STOP_NOT ||
             !s->lifecycle.serving);
    }
    bench_check_helpers(s);
    bench_check_children(s);
    bench_read_log(s);
}

int __real_loop_run(struct loop *l);

static bool (*bench_turn_end)(void *ctx);

static inline bool bench_one_turn(void *ctx) {
    struct super *s = ctx;
    (void)bench_turn_end(ctx);
    bench_stopped = s->loop.stop;
    s->loop.stop = true;
    return false;
}

/* One turn: the children do what they were ordered to, those that died are reaped. False: the supervisor is done. */
static inline bool bench_turn(struct super *s) {
    if (s->loop.stop)
        return false;
    bench_children_turn();
    bench_inside = true;
    errno = 0; /* a reason that is given comes from this turn */
    MUST(__real_loop_run(&s->loop) == 0);
    s->loop.stop = bench_stopped;
    if (!bench_stopped && bench_any_dead()) /* as SIGCHLD would have it */
    {
        workers_reap(s);
        actions_turn(s);
    }
    bench_inside = false;
    bench_check(s);
    return !s->loop.stop;
}

static inline void bench_turns(struct super *s, unsigned n) {
    while (n-- && bench_turn(s))
        continue;
}

static inline void bench_later(struct super *s, uint64_t ms) {
    bench_ms += ms;
    bench_turns(s, 4);
}

int __wrap_loop_run(struct loop *l);
int __wrap_loop_run(struct loop *l) {
    struct super *s = CONTAINER_OF(l, struct super, loop);
    bench_inside = false;
    super_of_bench = s;
    bench_turn_end = l->hook;
    l->hook = bench_one_turn;
    bench_script(s);
    return 0;
}

/* SCRIPT must end with the supervisor done: bench_stop(). All of it is gone then. */
static inline int bench_run(void (*script)(struct super *s)) {
    static struct control_request request;
    unsigned before = bench_open_fds();
    memset(bench_how, 0, sizeof(bench_how));
    memset(bench_leave, 0, sizeof(bench_leave));
    bench_networks = bench_secret = 0;
    bench_list_fails = false;
    bench_kills = 0;
    bench_script = script;
    bench_inside = true;
    request.file = span_str("/etc/tls-off.toml");
    int status = supervisor_run(&request, -1);
    bench_inside = false;
    struct super *s = super_of_bench;
    for (size_t i = 0; i < BENCH_CHILDREN; i++)
        MUST(bench_children[i].pid == 0);
    /* a process closes these with its end */
    const int own[] = {s->signal_fd, s->log_ring, s->page_fd, s->stats_fd, s->creds.inotify};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (own[i] >= 0)
            close(own[i]);
    MUST(bench_open_fds() == before);
    memset(s, 0, sizeof(*s));
    return status;
}

/* Those that were killed, and those that see the supervisor leave. */
static inline void bench_reap(void) {
    int status;
    bench_children_turn();
    while (waitpid(-1, &status, WNOHANG) > 0)
        continue;
}

static inline void bench_stop(struct super *s) {
    bench_fail_at = 0;
    for (unsigned i = 0; i < 2; i++) /* the second one: at once */
        actions_take(s, &(struct decide_event){.kind = EVENT_TERM, .ms = 5000});
    for (unsigned i = 0; i < 50 && !s->loop.stop; i++)
        bench_later(s, 1000);
    MUST(s->loop.stop);
    bench_reap();
}
