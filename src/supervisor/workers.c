/*
 * The children that serve: started in order, wired to each other, restarted with a growing pause when they die.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "supervisor/super.h"

#define RING_SIZE      (1024 * 1024)
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define PROVED_MS      30000 /* a child that lived so long begins anew with the shortest pause */
#define STOP_GRACE_MS  2000  /* between STOP and SIGKILL */
#define LINK_SNDBUF    (1024 * 1024)

static bool has_names(const struct conf *c) {
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t j = 0; j < c->services[i].nbackends; j++)
            if (c->services[i].backends[j].is_name)
                return true;
    return false;
}

/* The CPU of worker number K: the allowed ones in turn. -1 when they cannot be known. */
static int32_t cpu_of(uint32_t k) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return -1;
    uint32_t nth = k % (uint32_t)CPU_COUNT(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET((unsigned)cpu, &set) && nth-- == 0)
            return cpu;
    return -1;
}

static bool add_worker(struct super *s, enum role role, uint16_t index) {
    struct worker *w = &s->workers[s->nworkers];
    bool pinned = role == ROLE_RELAY || role == ROLE_HANDSHAKER;
    *w = (struct worker){.role = role, .index = index, .control = -1, .ring = -1, .backoff_ms = BACKOFF_MIN_MS};
    w->cpu = pinned ? cpu_of(index) : -1;
    if (ring_create(RING_SIZE, &w->ring) < 0) {
        fprintf(stderr, "tls-off: shared memory: %m\n");
        return false;
    }
    s->nworkers++;
    return true;
}

bool workers_make(struct super *s) {
    uint16_t n = (uint16_t)s->conf->workers;
    s->workers = calloc(2 * (size_t)n + 2, sizeof(*s->workers));
    MUST(s->workers);
    bool well = add_worker(s, ROLE_OBSERVER, 0) && (!has_names(s->conf) || add_worker(s, ROLE_RESOLVER, 0));
    for (uint16_t i = 0; i < n && well; i++)
        well = add_worker(s, ROLE_RELAY, i);
    for (uint16_t i = 0; i < n && well; i++)
        well = add_worker(s, ROLE_HANDSHAKER, i);
    return well;
}

static bool runs(const struct worker *w) {
    return w->state != CHILD_NONE;
}

/* ---- wiring ---- */

/* Which roles talk to each other. */
static bool are_peers(enum role a, enum role b) {
    return (a == ROLE_RELAY && (b == ROLE_HANDSHAKER || b == ROLE_RESOLVER)) ||
           (b == ROLE_RELAY && (a == ROLE_HANDSHAKER || a == ROLE_RESOLVER));
}

static int link_two(const struct worker *a, const struct worker *b) {
    int pair[2];
    int err = ipc_pair(LINK_SNDBUF, pair);
    if (err < 0)
        return err;
    const struct control_peer to_a = {b->role, b->index, 0}, to_b = {a->role, a->index, 0};
    err = control_send_peer(a->control, CONTROL_LINK, &to_a, pair[0]);
    if (err == 0)
        err = control_send_peer(b->control, CONTROL_LINK, &to_b, pair[1]);
    close(pair[0]);
    close(pair[1]);
    return err;
}

static int link_all(struct super *s, struct worker *w) {
    int err = 0;
    for (size_t i = 0; i < s->nworkers && err == 0; i++) {
        struct worker *other = &s->workers[i];
        if (other != w && runs(other) && are_peers(w->role, other->role))
            err = link_two(w, other);
    }
    return err;
}

/* The observer gets everybody's ring; the supervisor's own comes first. */
static int give_rings(struct super *s, struct worker *observer) {
    const struct control_peer self = {ROLE_SUPERVISOR, 0, 0};
    int err = control_send_peer(observer->control, CONTROL_RING, &self, s->voice_ring);
    for (size_t i = 0; i < s->nworkers && err == 0; i++) {
        const struct worker *w = &s->workers[i];
        const struct control_peer peer = {w->role, w->index, 0};
        if (w != observer)
            err = control_send_peer(observer->control, CONTROL_RING, &peer, w->ring);
    }
    return err;
}

static int give_sockets(struct super *s, struct worker *w) {
    int err = ipc_send(w->control, CONTROL_SECRETS, span_of(NULL, 0), &s->secrets_fd, 1);
    for (size_t i = 0; i < s->conf->nlisteners && err == 0; i++)
        err = control_send_listener(w->control, (uint16_t)i, listeners_get(s, i, w->index));
    return err;
}

static int introduce(struct super *s, struct worker *w) {
    const struct control_setup setup = {
        .role = w->role,
        .index = w->index,
        .workers = (uint16_t)s->conf->workers,
        .cpu = w->cpu,
        .restarts = w->generation,
    };
    const int fds[4] = {s->snapshot_fd, s->board_fd, w->ring, s->stats_fd};
    int err = control_send_setup(w->control, &setup, fds);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = give_rings(s, w);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = admin_give(&s->admin, w->control);
    if (err == 0 && w->role == ROLE_HANDSHAKER)
        err = give_sockets(s, w);
    return err == 0 ? link_all(s, w) : err;
}

/* ---- life ---- */

/* Forks and introduces; the child serves after GO. */
static bool begin(struct super *s, struct worker *w) {
    int pair[2];
    if (ipc_pair(LINK_SNDBUF, pair) < 0)
        return false;
    w->pid = spawn_role(w->role, w->index, pair[1]);
    close(pair[1]);
    if (w->pid < 0) {
        close(pair[0]);
        return false;
    }
    w->control = pair[0];
    w->state = CHILD_STARTING;
    w->stopping = false;
    w->started_ms = s->loop.now_ms;
    int err = introduce(s, w);
    if (err == 0)
        err = loop_watch(&s->loop, w->control, EPOLLIN, SUPER_CHILD, (uint32_t)(w - s->workers), LOOP_GEN(w->generation));
    if (err < 0) /* its end is noticed like any other */
        (void)kill(w->pid, SIGKILL);
    return true;
}

static void go(struct worker *w) {
    if (control_send(w->control, CONTROL_GO) < 0) /* its end is noticed like any other */
        (void)kill(w->pid, SIGKILL);
}

/* All are wired before the first one serves: who is ready has all its links. */
bool workers_start(struct super *s) {
    for (size_t i = 0; i < s->nworkers; i++)
        if (!begin(s, &s->workers[i])) {
            fprintf(stderr, "tls-off: cannot start %s: %m\n", role_name(s->workers[i].role));
            return false;
        }
    for (size_t i = 0; i < s->nworkers; i++)
        go(&s->workers[i]);
    return true;
}

/* "killed by signal 11 (Segmentation fault)" */
static void say_end(struct super *s, const struct worker *w, int status) {
    char how[96];
    struct text t = text_of(how, sizeof(how));
    if (WIFSIGNALED(status))
        text_addf(&t, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        text_addf(&t, "ended with status %d", WEXITSTATUS(status));
    if (w->stopping)
        voice_say(&s->voice, LOG_LEVEL_DEBUG, "%s.%u (pid %d) %s", role_name(w->role), w->index, (int)w->pid, how);
    else
        voice_say(&s->voice, LOG_LEVEL_ERROR, "%s.%u (pid %d) %s; starting it anew in %u ms", role_name(w->role), w->index,
                  (int)w->pid, how, w->backoff_ms);
}

static void ended(struct super *s, struct worker *w, int status) {
    if (s->loop.now_ms - w->started_ms > PROVED_MS)
        w->backoff_ms = BACKOFF_MIN_MS;
    if (s->serving || w->stopping)
        say_end(s, w, status);
    if (w->control >= 0)
        close(w->control);
    w->control = -1;
    w->pid = 0;
    w->state = CHILD_NONE;
    wheel_cancel(&s->loop.wheel, &w->timer);
    (void)!stats_bury(s->stats_fd, w->role, w->index, 0); /* fails only without memory: its gauges then stay until the next */
    if (s->phase != STOP_NOT)
        return;
    if (!s->serving) {
        if (!s->failed)
            fprintf(stderr, "tls-off: %s.%u ended before it was ready\n", role_name(w->role), w->index);
        s->failed = true;
        stop_at_once(s);
        return;
    }
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + w->backoff_ms);
    w->backoff_ms = MIN(w->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
}

void workers_reap(struct super *s) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (size_t i = 0; i < s->nworkers; i++)
            if (s->workers[i].pid == pid) {
                ended(s, &s->workers[i], status);
                break;
            }
    stop_advance(s);
}

void worker_timer(struct super *s, struct worker *w) {
    if (runs(w)) { /* was told to stop and has not */
        (void)kill(w->pid, SIGKILL);
        return;
    }
    w->generation++;
    if (begin(s, w)) {
        go(w);
        return;
    }
    voice_say(&s->voice, LOG_LEVEL_ERROR, "cannot start %s.%u: %m", role_name(w->role), w->index);
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + BACKOFF_MAX_MS);
}

/* Every role serves for the first time. */
static void serving(struct super *s) {
    s->serving = true;
    voice_say(&s->voice, LOG_LEVEL_INFO, "ready: %u handshakers, %u relays", s->conf->workers, s->conf->workers);
    notify("READY=1");
    if (s->ready_fd < 0)
        return;
    if (write(s->ready_fd, "\n", 1) != 1)
        voice_say(&s->voice, LOG_LEVEL_WARNING, "--ready-fd: %m");
    close(s->ready_fd);
    s->ready_fd = -1;
}

static void on_ready(struct super *s, struct worker *w) {
    w->state = CHILD_READY;
    if (s->serving) {
        voice_say(&s->voice, LOG_LEVEL_INFO, "%s.%u serves again (pid %d)", role_name(w->role), w->index, (int)w->pid);
        return;
    }
    for (size_t i = 0; i < s->nworkers; i++)
        if (s->workers[i].state != CHILD_READY)
            return;
    serving(s);
}

static void on_refused(struct super *s, const struct worker *w, struct span text) {
    if (s->serving) {
        voice_say(&s->voice, LOG_LEVEL_ERROR, "%s.%u cannot serve: %.*s", role_name(w->role), w->index, (int)text.len,
                  (const char *)text.p);
    } else {
        fprintf(stderr, "tls-off: %.*s\n", (int)text.len, (const char *)text.p);
        s->failed = true;
    }
}

void worker_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)events;
    struct super *s = ctx;
    struct worker *w = &s->workers[key];
    struct ipc_msg m;
    int err = 0;
    uint64_t cut;
    if (w->control < 0 || LOOP_GEN(w->generation) != gen)
        return;
    enum step step = ipc_recv(w->control, s->scratch, sizeof(s->scratch), control_to_supervisor, &m, &err);
    if (step == STEP_WANT_READ)
        return;
    if (step != STEP_DONE) { /* gone, or talking nonsense: either way it ends, and workers_reap() goes on */
        loop_unwatch(&s->loop, w->control);
        if (step == STEP_FAILED)
            (void)kill(w->pid, SIGKILL);
        return;
    }
    if (m.type == CONTROL_READY && w->state == CHILD_STARTING) {
        on_ready(s, w);
    } else if (m.type == CONTROL_REFUSED) {
        on_refused(s, w, m.body);
    } else if (m.type == CONTROL_DRAINED && control_read_number(&m, &cut) == 0) {
        w->state = CHILD_DRAINED;
        s->cut += cut;
        stop_advance(s);
    }
    ipc_msg_close(&m);
}

/* ---- many at once ---- */

void workers_tell(struct super *s, enum role role, enum control_type type) {
    for (size_t i = 0; i < s->nworkers; i++)
        if (s->workers[i].role == role && runs(&s->workers[i]))
            (void)!control_send(s->workers[i].control, type); /* one that is gone is restarted anyway */
}

bool workers_all(const struct super *s, enum role role, enum child_state at_least) {
    for (size_t i = 0; i < s->nworkers; i++)
        if (s->workers[i].role == role && runs(&s->workers[i]) && s->workers[i].state < at_least)
            return false;
    return true;
}

bool workers_gone(const struct super *s, enum role role) {
    for (size_t i = 0; i < s->nworkers; i++)
        if (s->workers[i].role == role && runs(&s->workers[i]))
            return false;
    return true;
}

void worker_stop(struct super *s, struct worker *w) {
    wheel_cancel(&s->loop.wheel, &w->timer);
    if (!runs(w))
        return;
    w->stopping = true;
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + STOP_GRACE_MS);
    if (control_send(w->control, CONTROL_STOP) < 0)
        (void)kill(w->pid, SIGKILL);
}
