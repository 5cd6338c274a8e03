#include "supervisor/supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "supervisor/super.h"
#include "wire/walls.h"

#define VOICE_RING_SIZE (256 * 1024)

static void on_signal(struct super *s, uint32_t signal) {
    switch (signal) {
    case SIGCHLD:
        workers_reap(s);
        break;
    case SIGUSR1:
        workers_tell(s, ROLE_OBSERVER, CONTROL_REOPEN);
        break;
    case SIGHUP:
        voice_say(&s->voice, LOG_LEVEL_WARNING, "SIGHUP: reload is not supported by this version; nothing was changed");
        break;
    default: /* TERM, INT */
        if (s->phase == STOP_NOT && s->serving)
            stop_begin(s);
        else
            stop_at_once(s);
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

static void timer_event(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    if (t == &s->drain_timer)
        stop_at_once(s);
    else
        worker_timer(s, CONTAINER_OF(t, struct worker, timer));
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
        (void)setrlimit(RLIMIT_NOFILE, &r); /* the old limit is what all roles then go by */
    }
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    if (geteuid() == 0)
        (void)setrlimit(RLIMIT_MEMLOCK, &unlimited); /* refused in some containers: what is over the limit may be swapped */
}

static bool share(struct super *s) {
    if (stats_create(&s->stats_fd) == 0 &&
        board_create((uint16_t)s->conf->workers, (uint16_t)s->conf->nservices, &s->board_fd) == 0 &&
        ring_create(VOICE_RING_SIZE, &s->voice_ring) == 0 && ring_map(s->voice_ring, &s->voice.ring) == 0)
        return true;
    fprintf(stderr, "tls-off: shared memory: %m\n");
    return false;
}

/* What cannot be had is said; false when the operator has asked for it. */
static bool open_admin(struct super *s) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    bool well = admin_open(&s->admin, &s->conf->admin, &why);
    if (why.len)
        fprintf(stderr, "tls-off: %s%s\n", line, well ? "; going on without it (admin.socket names another)" : "");
    return well;
}

/* From nothing to running children; anything that fails is said on stderr, and nothing is left half-started. */
static bool start(struct super *s, const struct control_request *what) {
    if (loop_init(&s->loop) < 0 || !configure(s, what) || !listeners_open(s) || !open_admin(s) || !share(s) || !workers_make(s))
        return false;
    s->voice.level = s->conf->log_level;
    loop_on(&s->loop, SUPER_SIGNAL, signal_event, s);
    loop_on(&s->loop, SUPER_CHILD, worker_event, s);
    s->loop.timer_fn = timer_event;
    s->loop.timer_ctx = s;
    if (!take_signals(s)) {
        fprintf(stderr, "tls-off: signals: %m\n");
        return false;
    }
    voice_say(&s->voice, LOG_LEVEL_INFO, "tls-off " TLS_OFF_VERSION " starts (pid %d)", (int)getpid());
    listeners_say(s);
    admin_say(&s->admin, &s->voice);
    if (!workers_start(s)) {
        s->failed = true;
        stop_at_once(s);
    }
    return true;
}

int supervisor_run(const struct control_request *what, int ready_fd) {
    static struct super s;
    s.ready_fd = ready_fd;
    s.snapshot_fd = s.secrets_fd = s.board_fd = s.stats_fd = s.signal_fd = s.voice_ring = -1;
    admin_init(&s.admin);
    raise_limits();
    char line[256];
    struct text why = text_of(line, sizeof(line));
    if (walls_supervisor(&why) < 0) {
        fprintf(stderr, "tls-off: %s\n", line);
        return 1;
    }
    bool started = start(&s, what);
    int err = started ? loop_run(&s.loop) : 0;
    admin_close(&s.admin);
    conf_free(s.conf);
    free(s.workers);
    loop_fini(&s.loop);
    return !started || err < 0 || s.failed ? 1 : 0;
}
