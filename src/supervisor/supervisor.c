#include "supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/fds.h"
#include "base/text.h"
#include "conf/snapshot.h"
#include "process/sandbox.h"
#include "supervisor/actions.h"
#include "supervisor/activation.h"
#include "supervisor/environment.h"
#include "supervisor/exe.h"
#include "supervisor/logfile.h"
#include "supervisor/messages.h"
#include "supervisor/notify.h"
#include "supervisor/publish.h"
#include "supervisor/reexec.h"
#include "supervisor/state.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "supervisor/workers.h"

#define LOG_RING_SIZE (256 * 1024)

/* Reopens it by name, which may be another file now. On failure the old one stays. */
static void reopen_log(struct super *s) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    struct generation *g = s->now;
    if (!g || g->conf->log_target != LOG_TO_FILE)
        return;
    int fd = logfile_open(g->conf, &why);
    if (fd < 0) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "the log file could not be reopened, the old one stays: %s", line);
        return;
    }
    if (g->log_fd >= 0)
        close(g->log_fd);
    g->log_fd = fd;
    struct worker *observer = generation_worker(g, ROLE_OBSERVER, 0);
    if (worker_runs(observer) && ipc_send(observer->control, CONTROL_LOG, span_of(NULL, 0), &fd, 1) < 0)
        worker_kill(observer); /* its successor gets it */
}

static void on_signal(struct super *s, uint32_t signal) {
    switch (signal) {
    case SIGCHLD:
        messages_of_starting(s);
        workers_reap(s);
        break;
    case SIGUSR1:
        reopen_log(s);
        break;
    case SIGHUP:
        actions_command(s, &(struct control_command){.kind = COMMAND_RELOAD, .id = clock_mono_us()});
        break;
    default: /* TERM, INT */
        actions_take(s, &(struct decide_event){.kind = EVENT_TERM, .ms = s->now ? s->now->conf->drain_ms : 0});
    }
}

static void signal_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct super *s = ctx;
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
        on_signal(s, info.ssi_signo);
}

static void on_worker_timer(void *ctx, struct wtimer *t) {
    worker_timer(ctx, CONTAINER_OF(t, struct worker, timer));
}

static void on_stop_timer(void *ctx, struct wtimer *t) {
    (void)t;
    actions_take(ctx, &(struct decide_event){.kind = EVENT_STOP_TIME});
}

static void on_stage_timer(void *ctx, struct wtimer *t) {
    (void)t;
    actions_stage_late(ctx);
}

static bool supervisor_turn_end(void *ctx) {
    struct super *s = ctx;
    actions_turn(s);
    if (s->dirty)
        publish_proctab(s);
    return false;
}

/* Signals come through a descriptor; children get them back unblocked. */
static bool take_signals(struct super *s) {
    static const int wanted[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        sigaddset(&set, wanted[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0 || signal(SIGPIPE, SIG_IGN) == SIG_ERR)
        return false;
    s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signal_fd >= 0 && loop_watch(&s->loop, s->signal_fd, EPOLLIN, SUPER_SIGNAL, 0, 0) == 0;
}

/* Two descriptors a session: as many as the host allows. Locked memory for every session's keys, where that is ours to say. */
static void raise_limits(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r); /* all roles then use the old limit */
    }
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    if (geteuid() == 0)
        (void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* refused in some containers: what is over the limit may be swapped */
}

static void set_up_timers(struct super *s) {
    s->stop.timer.kind = SUPER_TIMER_STOP;
    s->stage_timer.kind = SUPER_TIMER_STAGE;
    s->heartbeat.timer.kind = SUPER_TIMER_HEARTBEAT;
    s->balancing.timer.kind = SUPER_TIMER_BALANCING;
    s->placement.timer.kind = SUPER_TIMER_PLACEMENT;
    loop_on_timer(&s->loop, SUPER_TIMER_WORKER, on_worker_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_STOP, on_stop_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_STAGE, on_stage_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_HEARTBEAT, heartbeat_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_BALANCING, balancing_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_PLACEMENT, placement_timer, s);
    loop_on_timer(&s->loop, SUPER_TIMER_HOOK, hook_timer, s);
    creds_reload_timers(s);
    refresh_timers(s);
}

static bool set_up_loop(struct super *s) {
    if (loop_init(&s->loop) < 0)
        return false;
    loop_on(&s->loop, SUPER_SIGNAL, signal_event, s);
    loop_on(&s->loop, SUPER_CHILD, messages_event, s);
    loop_on(&s->loop, SUPER_HELPER, helper_event, s);
    loop_on(&s->loop, SUPER_CREDS, creds_reload_event, s);
    loop_on(&s->loop, SUPER_HOOK, hook_event, s);
    set_up_timers(s);
    s->loop.hook = supervisor_turn_end;
    s->loop.hook_ctx = s;
    return take_signals(s) && proctab_create(&s->page_fd, &s->page) == 0;
}

static bool make_shared_pages(struct super *s) {
    return stats_create(&s->stats_fd) == 0 && ring_create(LOG_RING_SIZE, &s->log_ring) == 0 &&
           ring_map(s->log_ring, &s->log.ring) == 0;
}

static bool take_sockets(struct super *s) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    if (activation_take(&s->listeners, &why))
        return true;
    fprintf(stderr, "tls-off: %s\n", line);
    return false;
}

static bool enter_sandbox(void) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    if (sandbox_supervisor(&why) == 0)
        return true;
    fprintf(stderr, "tls-off: %s\n", line);
    return false;
}

static int run_supervisor_loop(struct super *s) {
    balancing_begin(s);
    placement_begin(s);
    int err = loop_run(&s->loop);
    balancing_end(s);
    admin_sockets_close(&s->admin);
    listeners_keep(&s->listeners, &s->log, NULL);
    for (size_t i = 0; i < ARRAY_LEN(s->gens); i++)
        if (s->gens[i].used && generation_gone(&s->gens[i], ROLE_COUNT))
            generation_free(s, &s->gens[i]);
    proctab_unmap(&s->page);
    loop_fini(&s->loop);
    return err < 0 || s->lifecycle.failed ? 1 : 0;
}

/* All that the starter had open is closed, but for what was meant for us. */
static void close_inherited(int ready_fd) {
    fds_close_from(activation_end(), ready_fd);
}

static struct super super;

int supervisor_run(const struct control_request *what, int ready_fd) {
    struct super *s = &super;
    close_inherited(ready_fd);
    s->request = *what;
    s->exe_path = exe_path_find();
    s->ready_fd = ready_fd;
    s->signal_fd = s->log_ring = s->page_fd = s->stats_fd = -1;
    s->log.level = LOG_LEVEL_INFO;
    s->proctab.pid = (int32_t)getpid();
    s->proctab.started_ms = clock_wall_us() / 1000;
    admin_sockets_init(&s->admin);
    creds_reload_init(&s->creds);
    notify_init();
    raise_limits();
    if (!enter_sandbox() || !take_sockets(s))
        return 1;
    environment_clean();
    if (!set_up_loop(s) || !make_shared_pages(s)) {
        fprintf(stderr, "tls-off: cannot start: %m%s\n", err_process_limit(errno));
        return 1;
    }
    log_msg(&s->log, LOG_LEVEL_INFO, "tls-off " TLS_OFF_VERSION " starts (pid %d)", (int)getpid());
    actions_turn(s);
    return run_supervisor_loop(s);
}

/* ---- the same process, new code ---- */

/* Continues where the predecessor stopped. Timers of restarts continue; an observer gets the new process table. */
static bool resume_service(struct super *s, int state_fd) {
    if (state_read(s, state_fd) < 0 || state_inherit(s) < 0 || s->proctab.pid != (int32_t)getpid())
        return false;
    close(state_fd);
    if (!set_up_loop(s) || ring_map(s->log_ring, &s->log.ring) < 0 ||
        snapshot_read(s->now->snapshot_fd, &s->now->conf, NULL) < 0)
        return false;
    s->lifecycle.serving = true;
    s->log.level = s->now->conf->log_level;
    if (creds_map(s->now->creds.fd, &s->now->creds.store) < 0 || access_map(s->now->access.fd, &s->now->access.table) < 0)
        return false;
    for (struct worker *w = NULL; (w = worker_next(s, w));) {
        uint64_t due_ms = w->timer.deadline_ms;
        w->timer = (struct wtimer){0};
        if (!worker_runs(w))
            wheel_arm(&s->loop.wheel, &w->timer, due_ms);
        else if (worker_attach(s, w) < 0)
            return false;
    }
    publish_proctab(s); /* before anyone reads it */
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (worker_runs(w) && w->role == ROLE_OBSERVER &&
            ipc_send(w->control, CONTROL_PROCTAB, span_of(NULL, 0), &s->page_fd, 1) < 0)
            worker_kill(w); /* its successor gets it */
    return true;
}

static int run_on(int state_fd) {
    struct super *s = &super;
    s->ready_fd = s->signal_fd = s->page_fd = -1;
    creds_reload_init(&s->creds);
    unsetenv(REEXEC_VARIABLE);
    environment_clean();
    fds_end_at_exec(STDERR_FILENO + 1);
    (void)prctl(PR_SET_NAME, "tls-off"); /* exec by descriptor has made it a number */
    if (!resume_service(s, state_fd) || !enter_sandbox()) {
        fprintf(stderr, "tls-off: the supervisor's new code cannot take over: %m\n");
        return 1;
    }
    log_msg(&s->log, LOG_LEVEL_INFO, "the supervisor runs tls-off " TLS_OFF_VERSION " (pid %d)", (int)getpid());
    creds_reload_serve(s);
    heartbeat_begin(s);
    workers_reap(s);
    actions_turn(s);
    return run_supervisor_loop(s);
}

int supervisor_resume(char **argv) {
    const char *text = getenv(REEXEC_VARIABLE);
    uint64_t fd;
    reexec_arguments(argv);
    return text && text_parse_u64(text, 1 << 20, &fd) == 0 ? run_on((int)fd) : -1;
}
