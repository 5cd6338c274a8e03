#include "supervisor/refresh.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/err.h"
#include "base/sealed.h"
#include "conf/ticket_secret.h"
#include "supervisor/file_watch.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"

#define READ_MS 60000

static void on_access_read(struct super *s, struct ipc_msg *m);
static int request_access(struct super *s, int control);
static bool use_access(struct super *s, int fd);
static void on_secrets_read(struct super *s, struct ipc_msg *m);
static int request_secrets(struct super *s, int control);
static bool use_secrets(struct super *s, int fd);

/* All kinds side by side. */
static const struct {
    const char *what; /* in log lines */
    enum watched files;
    enum helper_kind helper;
    helper_fn on_read;
    uint16_t answer;                              /* CONTROL_..., with one descriptor */
    int (*request)(struct super *s, int control); /* 0, or an error */
    bool (*use)(struct super *s, int fd);         /* FD is owned from here; false: another try is due */
} kinds[REFRESH_KINDS] = {
    [REFRESH_ACCESS] = {"access lists", WATCHED_ACCESS, HELPER_ACCESS, on_access_read, CONTROL_ACCESS_READ, request_access,
                        use_access},
    [REFRESH_SECRETS] = {"ticket secrets", WATCHED_SECRETS, HELPER_SECRETS, on_secrets_read, CONTROL_SECRETS_READ,
                         request_secrets, use_secrets},
};

/* ---- what is read and used ---- */

static int request_access(struct super *s, int control) {
    const int fds[] = {s->now->snapshot_fd, s->now->access.fd};
    return ipc_send(control, CONTROL_REQUEST_ACCESS, span_of(NULL, 0), fds, 2);
}

/* FD for those of the generation that want it. */
static void send_to_users(struct super *s, uint16_t type, int fd, unsigned roles) {
    for (size_t i = 0; i < s->now->nworkers; i++) {
        struct worker *w = &s->now->workers[i];
        if (roles & 1u << w->role && worker_runs(w) && ipc_send(w->control, type, span_of(NULL, 0), &fd, 1) < 0)
            worker_kill(w); /* its successor is sent what is in use */
    }
}

static bool use_access(struct super *s, int fd) {
    struct access_set next;
    uint64_t networks = 0;
    bool failing = false;
    int err = access_set_take(&next, fd);
    if (err < 0) {
        log_msg(&s->log, LOG_LEVEL_ERROR, "access lists refused, those in use stay: %s", err_describe(err, errno));
        return false;
    }
    for (uint32_t i = 0; i < access_lists(&next.table); i++) {
        networks += access_list(&next.table, i).networks;
        failing = failing || access_list(&next.table, i).failing_s;
    }
    if (access_equal(&next.table, &s->now->access.table)) {
        access_set_free(&next);
        return !failing;
    }
    access_set_free(&s->now->access);
    s->now->access = next;
    /* handshakers judge by it, the observer shows it */
    send_to_users(s, CONTROL_ACCESS, next.fd, 1u << ROLE_HANDSHAKER | 1u << ROLE_OBSERVER);
    log_msg(&s->log, LOG_LEVEL_INFO, "access lists changed: %u lists with %llu networks", access_lists(&next.table),
            (unsigned long long)networks);
    return !failing;
}

static int request_secrets(struct super *s, int control) {
    return ipc_send(control, CONTROL_REQUEST_SECRETS, span_of(NULL, 0), &s->now->snapshot_fd, 1);
}

/* Whether both hold the same bytes, which are looked at where they lie. */
static bool same_content(int a, int b) {
    struct span x, y;
    if (sealed_map(a, 1, TICKET_SECRETS_LEN_MAX, &x) < 0)
        return false;
    bool same = sealed_map(b, 1, TICKET_SECRETS_LEN_MAX, &y) == 0;
    if (same) {
        same = span_eq(x, y);
        sealed_unmap(y);
    }
    sealed_unmap(x);
    return same;
}

static bool use_secrets(struct super *s, int fd) {
    if (same_content(fd, s->now->secrets_fd)) {
        close(fd);
        return true;
    }
    close(s->now->secrets_fd);
    s->now->secrets_fd = fd;
    send_to_users(s, CONTROL_SECRETS, fd, 1u << ROLE_HANDSHAKER);
    log_msg(&s->log, LOG_LEVEL_INFO, "ticket secrets changed: the first one seals, %zu open", s->now->conf->nticket_secrets);
    return true;
}

/* ---- reading ---- */

static void end_reading(struct super *s, enum refresh_kind kind) {
    helper_end(s, kinds[kind].helper);
    wheel_cancel(&s->loop.wheel, &s->refresh[kind].deadline);
    s->refresh[kind].reading = false;
}

/* What was missing may return without a change of the files: memory, descriptors, a disk. */
static void try_later(struct super *s, enum refresh_kind kind) {
    struct refresh *r = &s->refresh[kind];
    r->retry_ms = backoff_next(r->retry_ms, REFRESH_RETRY_MIN_MS, REFRESH_RETRY_MAX_MS);
    wheel_arm(&s->loop.wheel, &r->retry, s->loop.now_ms + r->retry_ms);
}

static void no_retry(struct super *s, enum refresh_kind kind) {
    s->refresh[kind].retry_ms = 0;
    wheel_cancel(&s->loop.wheel, &s->refresh[kind].retry);
}

static void refuse_refresh(struct super *s, enum refresh_kind kind, const char *why) {
    log_msg(&s->log, LOG_LEVEL_ERROR, "%s refused, those in use stay: %s", kinds[kind].what, why);
    end_reading(s, kind);
    try_later(s, kind);
}

static void on_refresh_read(struct super *s, enum refresh_kind kind, struct ipc_msg *m) {
    if (s->lifecycle.phase != STOP_NOT) {
        if (m)
            ipc_msg_close(m);
        end_reading(s, kind);
        return;
    }
    if (!m || m->type != kinds[kind].answer) {
        if (m && m->type == CONTROL_REFUSED)
            log_lines(&s->log, LOG_LEVEL_ERROR, "", m->body);
        refuse_refresh(s, kind, m ? "see above" : "the config process ended without an answer");
        if (m)
            ipc_msg_close(m);
        return;
    }
    log_lines(&s->log, LOG_LEVEL_WARNING, "", m->body);
    end_reading(s, kind);
    if (kinds[kind].use(s, m->fds[0]))
        no_retry(s, kind);
    else
        try_later(s, kind);
}

static void on_access_read(struct super *s, struct ipc_msg *m) {
    on_refresh_read(s, REFRESH_ACCESS, m);
}

static void on_secrets_read(struct super *s, struct ipc_msg *m) {
    on_refresh_read(s, REFRESH_SECRETS, m);
}

static void read_again(struct super *s, enum refresh_kind kind) {
    struct refresh *r = &s->refresh[kind];
    r->reading = true;
    file_watch(s); /* before the files are read: later changes are events */
    wheel_arm(&s->loop.wheel, &r->deadline, s->loop.now_ms + READ_MS);
    int err = ERR_SYSTEM;
    if (helper_start(s, kinds[kind].helper, ROLE_CONFIG, s->now->exe_fd, kinds[kind].on_read))
        err = helper_asked(kinds[kind].request(s, s->helpers[kinds[kind].helper].control));
    if (err < 0)
        refuse_refresh(s, kind, err_describe(err, errno));
}

/* ---- noticing changes ---- */

bool refresh_look(struct super *s) {
    bool looked = true;
    for (unsigned k = 0; k < REFRESH_KINDS; k++) {
        struct refresh *r = &s->refresh[k];
        uint64_t newest, signature;
        if (s->lifecycle.stage != TRANSITION_NONE || r->reading) {
            looked = false;
            continue;
        }
        signature = file_look(s->now->conf, kinds[k].files, &newest);
        if (signature == r->signature)
            continue;
        r->signature = signature;
        no_retry(s, (enum refresh_kind)k); /* it was of other files */
        read_again(s, (enum refresh_kind)k);
    }
    return looked;
}

bool refresh_serve(struct super *s, uint64_t read_s) {
    bool sure = true;
    for (unsigned k = 0; k < REFRESH_KINDS; k++) {
        struct refresh *r = &s->refresh[k];
        uint64_t newest;
        r->reading = false;
        no_retry(s, (enum refresh_kind)k);
        r->signature = file_look(s->now->conf, kinds[k].files, &newest);
        /* what was written while the configuration was read may have been read before or after */
        if (newest + 1 >= read_s)
            r->signature = 0;
        sure = sure && r->signature;
    }
    return sure;
}

void refresh_cancel(struct super *s) {
    for (unsigned k = 0; k < REFRESH_KINDS; k++)
        if (s->refresh[k].reading) {
            end_reading(s, (enum refresh_kind)k);
            s->refresh[k].signature = 0; /* not read after all */
        }
}

static enum refresh_kind refresh_kind_of(const struct super *s, const struct refresh *r) {
    return (enum refresh_kind)(r - s->refresh);
}

static void on_refresh_deadline(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    refuse_refresh(s, refresh_kind_of(s, CONTAINER_OF(t, struct refresh, deadline)), "they were not read in time");
}

static void on_refresh_retry(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    struct refresh *r = CONTAINER_OF(t, struct refresh, retry);
    if (s->lifecycle.phase != STOP_NOT)
        return;
    if (s->lifecycle.stage != TRANSITION_NONE || r->reading)
        wheel_arm(&s->loop.wheel, &r->retry, s->loop.now_ms + REFRESH_RETRY_MIN_MS);
    else
        read_again(s, refresh_kind_of(s, r));
}

void refresh_timers(struct super *s) {
    for (unsigned k = 0; k < REFRESH_KINDS; k++) {
        s->refresh[k].deadline.kind = SUPER_TIMER_REFRESH_DEADLINE;
        s->refresh[k].retry.kind = SUPER_TIMER_REFRESH_RETRY;
    }
    loop_on_timer(&s->loop, SUPER_TIMER_REFRESH_DEADLINE, on_refresh_deadline, s);
    loop_on_timer(&s->loop, SUPER_TIMER_REFRESH_RETRY, on_refresh_retry, s);
}
