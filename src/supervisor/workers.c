/*
 * One child process: started, watched, restarted with a growing pause when it dies. A child belongs to the generation that
 * serves, to the next one (its death refuses the transition) or to the previous one (it is not restarted).
 */
#include "supervisor/workers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "shm/scoreboard.h"
#include "supervisor/hook.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"

#define BACKOFF_MAX_MS 10000
#define PROVED_MS      30000 /* a child that lived this long starts again with the shortest pause */
#define CONTROL_SNDBUF (1024 * 1024)
#define RING_SIZE      (1024 * 1024)

/* An observer has the stream that the log goes to; no other role has a stream of ours. */
static pid_t spawn(const struct worker *w, int child_end) {
    enum log_target log = w->role == ROLE_OBSERVER ? w->gen->conf->log_target : LOG_TO_FILE;
    const struct spawn child = {
        .exe_fd = w->gen->exe_fd,
        .role = w->role,
        .index = w->index,
        .control = child_end,
        .out = log == LOG_TO_STDOUT ? STDOUT_FILENO : -1,
        .err = log == LOG_TO_STDERR ? STDERR_FILENO : w->words,
    };
    return spawn_role(&child);
}

/* Forks it; it serves after worker_go(). */
static bool worker_begin(struct super *s, struct worker *w) {
    int pair[2];
    if (ipc_pair(CONTROL_SNDBUF, pair) < 0)
        return false;
    w->words = words_new();
    w->pid = w->words >= 0 ? spawn(w, pair[1]) : -1;
    close(pair[1]);
    if (w->pid < 0) {
        words_log(s, w);
        w->pid = 0;
        close(pair[0]);
        return false;
    }
    w->control = pair[0];
    w->state = CHILD_STARTING;
    w->stopping = w->hung = w->asked = false;
    w->silent_ms = 0;
    w->tag = ++s->tags;
    w->started_ms = s->loop.now_ms;
    w->started_wall_ms = clock_wall_us() / 1000;
    s->dirty = true;
    int err = wiring_introduce(s, w);
    if (err == 0)
        err = worker_attach(s, w);
    w->start_err = err;
    w->start_errno = errno;
    if (err < 0) /* its end is noticed like any other */
        worker_kill(w);
    return true;
}

static void worker_go(struct worker *w) {
    if (control_send(w->control, CONTROL_GO) < 0) /* its end is noticed like any other */
        worker_kill(w);
}

/* ---- all of a generation ---- */

static bool has_names(const struct conf *c) {
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t j = 0; j < c->services[i].nbackends; j++)
            if (c->services[i].backends[j].is_name)
                return true;
    return false;
}

/* Without a service that does, there are no keys and nothing to sign. */
static bool terminates(const struct conf *c) {
    for (size_t i = 0; i < c->nservices; i++)
        if (c->services[i].mode == MODE_TERMINATE)
            return true;
    return false;
}

static bool has_issuers(const struct conf *c) {
    return c->acme.dir;
}

static bool has_managed_certs(const struct conf *c) {
    return c->acme.dir && c->acme.ncerts;
}

static bool has_store(const struct conf *c) {
    return c->store.socket;
}

static bool has_collector(const struct conf *c) {
    return c->otlp.endpoint;
}

/* The roles of a generation, in the order in which they are started. */
static const struct {
    enum role role;
    bool (*wanted)(const struct conf *c); /* NULL = always */
} starts[] = {
    /* clang-format off */
    {ROLE_OBSERVER, NULL},
    {ROLE_RESOLVER, has_names},
    {ROLE_KEYMAKER, has_managed_certs},
    {ROLE_ACME, has_issuers},
    {ROLE_FLEET, has_store},
    {ROLE_EXPORTER, has_collector},
    {ROLE_RELAY, NULL},
    {ROLE_SIGNER, terminates},
    {ROLE_HANDSHAKER, NULL},
    /* clang-format on */
};

/* How many processes of row I a configuration wants. */
static uint16_t count_wanted(size_t i, const struct conf *c) {
    if (starts[i].wanted && !starts[i].wanted(c))
        return 0;
    return role_of_worker(starts[i].role) ? (uint16_t)c->workers : 1;
}

static bool add_worker(const struct super *s, struct generation *g, enum role role, uint16_t index) {
    struct worker *w = &g->workers[g->nworkers];
    *w = (struct worker){
        .gen = g, .role = role, .index = index, .control = -1, .ring = -1, .words = -1, .backoff_ms = WORKER_BACKOFF_MIN_MS};
    w->cpu = role_of_worker(role) ? placement_cpu(s, index) : -1;
    g->nworkers++;
    return ring_create(RING_SIZE, &w->ring) == 0;
}

static bool make_workers(const struct super *s, struct generation *g) {
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        n += count_wanted(i, g->conf);
    g->workers = calloc(n, sizeof(*g->workers));
    bool ok = g->workers;
    for (size_t i = 0; i < ARRAY_LEN(starts); i++)
        for (uint16_t k = 0; k < count_wanted(i, g->conf) && ok; k++)
            ok = add_worker(s, g, starts[i].role, k);
    return ok;
}

/* All are wired before the first one serves: a process that is ready has all its links. */
bool workers_start(struct super *s, struct generation *g) {
    if (!make_workers(s, g))
        return false;
    for (size_t i = 0; i < g->nworkers; i++)
        if (!worker_begin(s, &g->workers[i]))
            return false;
    for (size_t i = 0; i < g->nworkers; i++)
        worker_go(&g->workers[i]);
    return true;
}

/* ---- ends and restarts ---- */

/* Only the serving generation is restarted; the previous one ends, the next one is refused. */
static bool restarts(const struct super *s, const struct worker *w) {
    return s->lifecycle.phase == STOP_NOT && w->gen == s->now;
}

static void add_end(struct text *t, const struct worker *w, int status) {
    if (w->start_err)
        text_addf(t, "could not be given its descriptors: %s%s", err_describe(w->start_err, w->start_errno),
                  w->start_err == ERR_AGAIN
                      ? " (RLIMIT_NOFILE also bounds those on their way between all of this user's processes)"
                      : "");
    else if (WIFSIGNALED(status))
        text_addf(t, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        text_addf(t, "ended with status %d", WEXITSTATUS(status));
}

static void log_end(struct super *s, const struct worker *w, int status) {
    char line[280];
    struct text t = text_of(line, sizeof(line));
    if (w->gen != s->now && s->now)
        text_addf(&t, " of generation %u", w->gen->number);
    text_addf(&t, " (pid %d) ", (int)w->pid);
    add_end(&t, w, status);
    if (restarts(s, w) && !w->stopping)
        text_addf(&t, "; restarting it in %u ms", w->backoff_ms);
    log_msg(&s->log, w->stopping ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "%s.%u%s", role_name(w->role), w->index, line);
}

/* Sessions that a stop has cut: as a relay reports, or, for one that had to be killed, as its row of the scoreboard says. */
static void count_last_cut(struct super *s, struct worker *w) {
    struct ipc_msg m;
    struct scoreboard scoreboard;
    uint64_t cut;
    int err = 0;
    if (w->role != ROLE_RELAY || !w->stopping || w->control < 0)
        return;
    while (control_hear(w->control, w->role, s->scratch, sizeof(s->scratch), &m, &err) == STEP_DONE) {
        if (m.type == CONTROL_DRAINED && control_read_number(&m, &cut) == 0)
            worker_count_cut(s, w, cut);
        ipc_msg_close(&m);
    }
    if (scoreboard_map(w->gen->scoreboard_fd, w->gen->number, &scoreboard) < 0)
        return;
    worker_count_cut(s, w, w->cut + scoreboard_relay_sessions(&scoreboard, w->index));
    scoreboard_unmap(&scoreboard);
}

static void ended(struct super *s, struct worker *w, int status) {
    if (s->loop.now_ms - w->started_ms > PROVED_MS)
        w->backoff_ms = WORKER_BACKOFF_MIN_MS;
    count_last_cut(s, w);
    hook_drop(s, w);
    if (s->now || w->stopping)
        log_end(s, w, status);
    words_log(s, w);
    if (w->control >= 0)
        close(w->control);
    w->control = -1;
    w->pid = 0;
    w->keys = (struct keys_pump){0};
    w->taken = 0;
    w->owed = (struct keys_owed){.excused = 0};
    w->state = CHILD_NONE;
    (void)!stats_release(s->stats_fd, w->role, w->index, w->gen->number); /* fails only without memory: its gauges then stay */
    w->last_status = status;
    w->last_end_ms = clock_wall_us() / 1000;
    s->dirty = true;
    wheel_cancel(&s->loop.wheel, &w->timer);
    if (restarts(s, w)) {
        wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + w->backoff_ms);
        w->backoff_ms = backoff_next(w->backoff_ms, WORKER_BACKOFF_MIN_MS, BACKOFF_MAX_MS);
    } else if (w->gen == s->previous) {
        s->transition.lost += w->role == ROLE_RELAY && !w->stopping;
    } else if (w->gen == s->next) {
        char how[200];
        struct text t = text_of(how, sizeof(how));
        add_end(&t, w, status);
        refuse_next(s, "%s.%u %s before it was ready", role_name(w->role), w->index, how);
    }
}

void workers_reap(struct super *s) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        hook_ended(s, pid, status);
        for (struct worker *w = NULL; (w = worker_next(s, w));)
            if (w->pid == pid) {
                ended(s, w, status);
                break;
            }
    }
}

void worker_timer(struct super *s, struct worker *w) {
    if (worker_runs(w)) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "%s.%u (pid %d) is killed: it has not stopped in time", role_name(w->role),
                w->index, (int)w->pid);
        worker_kill(w);
        return;
    }
    if (!restarts(s, w))
        return; /* its generation is the previous one by now: nobody would order it to drain */
    w->restarts++;
    s->proctab.restarts++;
    if (worker_begin(s, w)) {
        worker_go(w);
        return;
    }
    log_msg(&s->log, LOG_LEVEL_ERROR, "cannot start %s.%u: %m%s", role_name(w->role), w->index, err_process_limit(errno));
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + BACKOFF_MAX_MS);
}
