#include "supervisor/creds_reload.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/err.h"
#include "creds/creds_expiry.h"
#include "supervisor/file_watch.h"
#include "supervisor/keys.h"
#include "supervisor/refresh.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control_creds.h"

#define CREDS_RELOAD_QUIET_MS 200   /* without an event: the writer is done */
#define NOISE_MS              2000  /* the longest wait for quiet */
#define COST_FACTOR           20    /* checking files takes at most 1/20 of our time */
#define READ_MS               60000 /* limits of the stages */
#define TAKE_MS               60000
#define LOG_EVERY_S           60 /* between two checks for expiry, where files are not checked */
#define DAY_S                 86400

static uint64_t wall_seconds(void) {
    return clock_wall_us() / 1000000;
}

void creds_reload_init(struct creds_reload *c) {
    c->inotify = -1;
    c->next.fd = -1;
}

/* ---- expiry ---- */

static void log_warning_line(void *ctx, const char *line) {
    struct super *s = ctx;
    log_msg(&s->log, LOG_LEVEL_WARNING, "%s", line);
}

/* Certificates once a day; OCSP responses when they expire. */
static void report_expiry(struct super *s) {
    struct creds_reload *c = &s->creds;
    int64_t now = (int64_t)wall_seconds();
    if (c->logged_s)
        creds_ocsp_warn(&s->now->creds.store, c->logged_s, now, log_warning_line, s);
    c->logged_s = now;
    if (c->logged_day == now / DAY_S)
        return;
    c->logged_day = now / DAY_S;
    creds_expiry_warn(&s->now->creds.store, now, log_warning_line, s);
}

/* ---- the end of a reload ---- */

static void enter_creds_idle(struct super *s) {
    struct creds_reload *c = &s->creds;
    helper_end(s, HELPER_CREDS);
    wheel_cancel(&s->loop.wheel, &c->deadline);
    for (size_t i = 0; s->now && c->next.number && i < s->now->nworkers; i++) {
        struct worker *w = &s->now->workers[i];
        if (w->keys.set == c->next.number) { /* it has not been sent all keys, and need not answer */
            w->keys = (struct keys_pump){0};
            keys_excuse(w, c->next.number);
        }
        if (w->role == ROLE_SIGNER && worker_runs(w) && w->first_set == c->next.number) /* it has no key of the set in use */
            worker_kill(w);
    }
    creds_set_free(&c->next);
    c->stage = CREDS_IDLE;
}

/* What was missing may return without a change of the files: memory, descriptors, a signer. */
static void refuse_creds(struct super *s, struct span text) {
    struct creds_reload *c = &s->creds;
    log_lines(&s->log, LOG_LEVEL_ERROR, "certificates refused, those in use stay: ", text);
    enter_creds_idle(s);
    c->retry_ms = backoff_next(c->retry_ms, REFRESH_RETRY_MIN_MS, REFRESH_RETRY_MAX_MS);
    wheel_arm(&s->loop.wheel, &c->retry, s->loop.now_ms + c->retry_ms);
}

static void forget_refusal(struct super *s) {
    s->creds.retry_ms = 0;
    wheel_cancel(&s->loop.wheel, &s->creds.retry);
}

static void look_at_files_soon(struct super *s, uint64_t ms) {
    struct creds_reload *c = &s->creds;
    uint64_t at = MAX(s->loop.now_ms + ms, c->looked_ms + COST_FACTOR * c->look_cost_ms);
    wheel_arm(&s->loop.wheel, &c->quiet, at);
}

void creds_reload_cancel(struct super *s) {
    refresh_cancel(s);
    if (s->creds.stage == CREDS_IDLE)
        return;
    enter_creds_idle(s);
    s->creds.signature = 0; /* not read after all */
    look_at_files_soon(s, NOISE_MS);
}

/* ---- taking a set ---- */

static void notify_handshakers(struct super *s) {
    struct generation *g = s->now;
    const struct control_creds set = {g->creds.number, creds_keys(&g->creds.store)};
    for (size_t i = 0; i < g->nworkers; i++) {
        struct worker *w = &g->workers[i];
        bool wants = w->role == ROLE_HANDSHAKER || w->role == ROLE_OBSERVER || w->role == ROLE_ACME;
        if (wants && worker_runs(w) && control_send_creds(w->control, &set, g->creds.fd) < 0)
            worker_kill(w); /* its successor is sent what is in use */
    }
}

static void use_next(struct super *s) {
    struct creds_reload *c = &s->creds;
    creds_set_free(&s->now->creds);
    s->now->creds = c->next;
    c->next = (struct creds_set){.fd = -1};
    notify_handshakers(s);
    forget_refusal(s);
    c->logged_day = (int64_t)wall_seconds() / DAY_S; /* the config role has just logged it */
    log_msg(&s->log, LOG_LEVEL_INFO, "certificates changed: %u in use, set %u", creds_entries(&s->now->creds.store),
            s->now->creds.nth);
    enter_creds_idle(s);
}

static bool all_taken(const struct super *s) {
    for (size_t i = 0; i < s->now->nworkers; i++) {
        const struct worker *w = &s->now->workers[i];
        if (w->role == ROLE_SIGNER && w->taken != s->creds.next.number)
            return false;
    }
    return true;
}

void creds_reload_taken(struct super *s, struct worker *w, uint32_t set) {
    w->taken = set;
    if (w->lost_set == set) /* its files are there again */
        w->lost_set = 0;
    if (s->creds.stage == CREDS_TAKING && w->gen == s->now && all_taken(s))
        use_next(s);
}

void creds_reload_refused(struct super *s, struct worker *w, uint32_t set, struct span text) {
    if (s->creds.stage == CREDS_TAKING && w->gen == s->now && set == s->creds.next.number)
        refuse_creds(s, text);
}

/* A signer that does not run now is sent this set when it is started: at once, as it may have died for lack of it. */
static void give_set_to_signers(struct super *s) {
    struct creds_reload *c = &s->creds;
    c->stage = CREDS_TAKING;
    wheel_arm(&s->loop.wheel, &c->deadline, s->loop.now_ms + TAKE_MS);
    for (size_t i = 0; i < s->now->nworkers; i++) {
        struct worker *w = &s->now->workers[i];
        if (w->role != ROLE_SIGNER)
            continue;
        if (worker_runs(w) && keys_give_set(s, w, &c->next) < 0)
            worker_kill(w);
        else if (!worker_runs(w) && wtimer_armed(&w->timer))
            wheel_arm(&s->loop.wheel, &w->timer, s->loop.now_ms);
    }
    if (all_taken(s))
        use_next(s);
}

/* The same files, for the same services, as those in use? */
static bool is_same(const struct creds *a, const struct creds *b) {
    return memcmp(creds_digest(a), creds_digest(b), CREDS_DIGEST_LEN) == 0 && creds_key_stamp(a) == creds_key_stamp(b);
}

static void on_creds_read(struct super *s, struct ipc_msg *m) {
    struct creds_reload *c = &s->creds;
    if (s->lifecycle.phase != STOP_NOT) {
        if (m)
            ipc_msg_close(m);
        enter_creds_idle(s);
        return;
    }
    if (!m || m->type != CONTROL_CREDS_READ) {
        bool refused = m && m->type == CONTROL_REFUSED;
        refuse_creds(s, refused ? m->body : span_str("the config process ended without an answer"));
        if (m)
            ipc_msg_close(m);
        return;
    }
    c->last = control_creds_attempt(s->now->creds.number, c->last);
    int err = creds_set_take(&c->next, c->last, m->fds[0]);
    c->next.nth = s->now->creds.nth + 1;
    if (err < 0) {
        refuse_creds(s, span_str(err_describe(err, errno)));
    } else if (is_same(&c->next.store, &s->now->creds.store)) {
        log_msg(&s->log, LOG_LEVEL_DEBUG, "certificates were read again: nothing has changed");
        forget_refusal(s);
        enter_creds_idle(s);
    } else {
        log_lines(&s->log, LOG_LEVEL_WARNING, "", m->body);
        give_set_to_signers(s);
    }
}

/* ---- noticing changes ---- */

static void read_files_again(struct super *s) {
    struct creds_reload *c = &s->creds;
    c->stage = CREDS_READING;
    c->asked_s = wall_seconds();
    file_watch(s); /* before the files are read: later changes are events */
    wheel_arm(&s->loop.wheel, &c->deadline, s->loop.now_ms + READ_MS);
    int err = ERR_SYSTEM;
    if (helper_start(s, HELPER_CREDS, ROLE_CONFIG, s->now->exe_fd, on_creds_read))
        err = helper_asked(control_send_request_creds(s->helpers[HELPER_CREDS].control, s->now->snapshot_fd));
    if (err < 0)
        refuse_creds(s, span_str(err_describe(err, errno)));
}

/* A signer still reads the keys of an earlier set; there are never more than two at once. */
static bool answers_are_due(const struct super *s) {
    for (size_t i = 0; i < s->now->nworkers; i++)
        if (keys_owe(&s->now->workers[i].owed))
            return true;
    return false;
}

static void look_for_changes(struct super *s) {
    struct creds_reload *c = &s->creds;
    uint64_t newest;
    c->first_ms = 0;
    if (s->lifecycle.phase != STOP_NOT)
        return;
    bool early = s->lifecycle.stage != TRANSITION_NONE || c->stage != CREDS_IDLE || answers_are_due(s);
    uint64_t began = clock_mono_ms();
    if (!refresh_look(s) || early)
        look_at_files_soon(s, NOISE_MS);
    if (early)
        return;
    uint64_t signature = file_look(s->now->conf, WATCHED_CREDS, &newest);
    c->looked_ms = clock_mono_ms();
    c->look_cost_ms = c->looked_ms - began;
    if (signature == c->signature)
        return;
    c->signature = signature;
    forget_refusal(s); /* of other files */
    read_files_again(s);
}

/* Reads the same files once more. */
static void retry_refused_set(struct super *s) {
    struct creds_reload *c = &s->creds;
    if (s->lifecycle.phase != STOP_NOT)
        return;
    if (s->lifecycle.stage != TRANSITION_NONE || c->stage != CREDS_IDLE || answers_are_due(s))
        wheel_arm(&s->loop.wheel, &c->retry, s->loop.now_ms + NOISE_MS);
    else
        read_files_again(s);
}

static void arm_poll(struct super *s) {
    if (s->now->conf->watch_ms != CONF_NEVER)
        wheel_arm(&s->loop.wheel, &s->creds.poll, s->loop.now_ms + s->now->conf->watch_ms);
    else /* for the times of certificates */
        wheel_arm(&s->loop.wheel, &s->creds.poll, s->loop.now_ms + LOG_EVERY_S * 1000);
}

void creds_reload_serve(struct super *s) {
    struct creds_reload *c = &s->creds;
    uint64_t newest;
    bool first = c->logged_s == 0;
    c->stage = CREDS_IDLE;
    forget_refusal(s);
    file_watch(s);
    c->signature = file_look(s->now->conf, WATCHED_CREDS, &newest);
    /* what was written while the configuration was read may have been read before or after */
    if (newest + 1 >= s->now->read_s)
        c->signature = 0;
    if (!refresh_serve(s, s->now->read_s) || c->signature == 0)
        look_at_files_soon(s, NOISE_MS);
    if (!first)
        c->logged_day = (int64_t)wall_seconds() / DAY_S; /* the config role has just logged it */
    report_expiry(s);
    arm_poll(s);
}

static void on_quiet(void *ctx, struct wtimer *t) {
    (void)t;
    look_for_changes(ctx);
}

static void on_creds_retry(void *ctx, struct wtimer *t) {
    (void)t;
    retry_refused_set(ctx);
}

static void on_poll(void *ctx, struct wtimer *t) {
    (void)t;
    struct super *s = ctx;
    report_expiry(s);
    if (s->now->conf->watch_ms != CONF_NEVER && !wtimer_armed(&s->creds.quiet))
        look_at_files_soon(s, 0);
    arm_poll(s);
}

static void on_creds_deadline(void *ctx, struct wtimer *t) {
    (void)t;
    struct super *s = ctx;
    bool reading = s->creds.stage == CREDS_READING;
    refuse_creds(s, span_str(reading ? "they were not read in time" : "signers did not take the keys in time"));
}

void creds_reload_timers(struct super *s) {
    s->creds.quiet.kind = SUPER_TIMER_CREDS_QUIET;
    s->creds.retry.kind = SUPER_TIMER_CREDS_RETRY;
    s->creds.poll.kind = SUPER_TIMER_CREDS_POLL;
    s->creds.deadline.kind = SUPER_TIMER_CREDS_DEADLINE;
    loop_on_timer(&s->loop, SUPER_TIMER_CREDS_QUIET, on_quiet, s);
    loop_on_timer(&s->loop, SUPER_TIMER_CREDS_RETRY, on_creds_retry, s);
    loop_on_timer(&s->loop, SUPER_TIMER_CREDS_POLL, on_poll, s);
    loop_on_timer(&s->loop, SUPER_TIMER_CREDS_DEADLINE, on_creds_deadline, s);
}

void creds_reload_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct super *s = ctx;
    struct creds_reload *c = &s->creds;
    char unread[4096]; /* only that something happened matters */
    while (c->inotify >= 0 && read(c->inotify, unread, sizeof(unread)) > 0)
        continue;
    if (c->first_ms == 0)
        c->first_ms = s->loop.now_ms;
    if (s->loop.now_ms - c->first_ms < NOISE_MS || !wtimer_armed(&c->quiet))
        look_at_files_soon(s, CREDS_RELOAD_QUIET_MS);
}
