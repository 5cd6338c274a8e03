/*
 * One child process: started, watched, restarted with a growing pause when it dies. A child belongs to the generation that
 * serves, to the next one (its death refuses the transition) or to the previous one (it is not restarted).
 */
#include "supervisor/workers.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "shm/scoreboard.h"
#include "supervisor/keys.h"
#include "supervisor/messages.h"
#include "supervisor/stop.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000
#define PROVED_MS      30000 /* a child that lived this long starts again with the shortest pause */
#define STOP_GRACE_MS  2000  /* between STOP and SIGKILL */
#define CONTROL_SNDBUF (1024 * 1024)

/* A worker's key in the event loop. */
static uint32_t key_of(const struct super *s, const struct worker *w) {
    return (uint32_t)(w->gen - s->gens) << 16 | (uint32_t)(w - w->gen->workers);
}

struct worker *worker_next(struct super *s, struct worker *w) {
    const struct generation *first = &s->gens[0];
    if (w && w + 1 < w->gen->workers + w->gen->nworkers)
        return w + 1;
    for (const struct generation *g = w ? w->gen + 1 : first; g < s->gens + ARRAY_LEN(s->gens); g++)
        if (g->nworkers)
            return g->workers;
    return NULL;
}

static uint32_t events_of(const struct worker *w) {
    return keys_wait(&w->keys) ? EPOLLIN | EPOLLOUT : EPOLLIN;
}

int worker_watch(struct super *s, struct worker *w) {
    return loop_rewatch(&s->loop, w->control, events_of(w), SUPER_CHILD, key_of(s, w), LOOP_GEN(w->tag));
}

int worker_attach(struct super *s, struct worker *w) {
    return loop_watch(&s->loop, w->control, events_of(w), SUPER_CHILD, key_of(s, w), LOOP_GEN(w->tag));
}

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

bool worker_begin(struct super *s, struct worker *w) {
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
    if (err < 0) /* its end is noticed like any other */
        worker_kill(w);
    return true;
}

void worker_go(struct worker *w) {
    if (control_send(w->control, CONTROL_GO) < 0) /* its end is noticed like any other */
        worker_kill(w);
}

void worker_kill(struct worker *w) {
    if (worker_runs(w))
        (void)kill(w->pid, SIGKILL); /* one that has ended is reaped */
}

void worker_stop(struct super *s, struct worker *w) {
    if (!worker_runs(w)) {
        wheel_cancel(&s->loop.wheel, &w->timer);
        return;
    }
    if (w->stopping && wtimer_armed(&w->timer))
        return;
    w->stopping = true;
    s->dirty = true;
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + STOP_GRACE_MS);
    if (control_send(w->control, CONTROL_STOP) < 0)
        worker_kill(w);
}

/* ---- ends and restarts ---- */

/* Only the serving generation is restarted; the previous one ends, the next one is refused. */
static bool restarts(const struct super *s, const struct worker *w) {
    return s->stop.phase == STOP_NOT && w->gen == s->now;
}

static void add_end(struct text *t, const struct worker *w, int status) {
    if (w->start_err)
        text_addf(t, "could not be given its descriptors: %s%s", err_text(w->start_err),
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

void worker_count_cut(struct super *s, struct worker *w, uint64_t cut) {
    s->proctab.cut += cut - MIN(cut, w->cut);
    w->cut = cut;
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
    if (scoreboard_map(w->gen->scoreboard_fd, &scoreboard) < 0)
        return;
    worker_count_cut(s, w, w->cut + scoreboard_relay_sessions(&scoreboard, w->index));
    scoreboard_unmap(&scoreboard);
}

static void ended(struct super *s, struct worker *w, int status) {
    if (s->loop.now_ms - w->started_ms > PROVED_MS)
        w->backoff_ms = BACKOFF_MIN_MS;
    count_last_cut(s, w);
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
        w->backoff_ms = MIN(w->backoff_ms * 2, (uint32_t)BACKOFF_MAX_MS);
    } else if (w->gen == s->previous) {
        s->transition.lost += w->role == ROLE_RELAY && !w->stopping;
    } else if (w->gen == s->next) {
        char how[200];
        struct text t = text_of(how, sizeof(how));
        add_end(&t, w, status);
        transition_refuse(s, "%s.%u %s before it was ready", role_name(w->role), w->index, how);
    }
}

void workers_reap(struct super *s) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (struct worker *w = NULL; (w = worker_next(s, w));)
            if (w->pid == pid) {
                ended(s, w, status);
                break;
            }
    transition_advance(s);
    stop_advance(s);
}

void worker_timer(struct super *s, struct worker *w) {
    if (worker_runs(w)) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "%s.%u (pid %d) is killed: it has not stopped in time", role_name(w->role),
                w->index, (int)w->pid);
        worker_kill(w);
        return;
    }
    if (!restarts(s, w))
        return; /* its generation is the previous one by now: nobody would tell it to drain */
    w->restarts++;
    s->proctab.restarts++;
    if (worker_begin(s, w)) {
        worker_go(w);
        return;
    }
    log_msg(&s->log, LOG_LEVEL_ERROR, "cannot start %s.%u: %m", role_name(w->role), w->index);
    wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms + BACKOFF_MAX_MS);
}

void worker_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct super *s = ctx;
    struct generation *g = &s->gens[key >> 16];
    if ((key & 0xffff) >= g->nworkers)
        return;
    struct worker *w = &g->workers[key & 0xffff];
    if (w->control < 0 || LOOP_GEN(w->tag) != gen)
        return;
    if (events & EPOLLOUT)
        keys_pump(s, w);
    worker_receive(s, w);
}
