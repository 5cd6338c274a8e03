/*
 * The exporter: freezes sessions, sends them in batches, forgets what the importer has acknowledged, and takes back
 * everything else when the link ends. docs/hand-over-format.md shows why no session can be lost or owned twice.
 */
#include "relay/migrate_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "relay/arrivals.h"
#include "relay/batch.h"
#include "relay/connect.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"
#include "relay/session_metrics.h"
#include "wire/control_export.h"

#define OPEN_MAX             4    /* batches sent and not yet answered: what bounds the pause of a session */
#define BATCHES_TURN         2    /* sent a turn: other sessions want their share */
#define ACTIVE_MS            5000 /* a session that has relayed bytes within that time */
#define MIGRATE_OUT_TICK_MS  20   /* between looks at a link that takes or answers nothing */
#define UNREPORTED           UINT32_MAX
#define MIGRATE_OUT_PAUSE_MS 200 /* after the importer had no room */

struct exporting {
    int link, liveness; /* LIVENESS: the writing end */
    uint32_t max, migrated;
    enum export_first first; /* EXPORT_ANY when those that go first are gone */
    uint32_t number;         /* of the last batch */
    struct list flying;      /* frozen sessions, oldest first, through session.link */
    uint32_t nflying;
    struct {
        uint32_t number;
        uint16_t n;
    } open[OPEN_MAX]; /* batches sent, oldest first */
    unsigned nopen;
    uint64_t answer_ms;      /* the importer answered, or the first session since then was frozen */
    struct batch batch;      /* the message being made, or one that waits for room in the link */
    uint32_t cursor;         /* slot to look at next */
    bool dry;                /* no session is left that can migrate */
    bool blocked;            /* the link takes no more */
    uint32_t reported;       /* how many are left, as reported to the supervisor; UNREPORTED */
    uint64_t pause_until_ms; /* the importer had no room */
    struct wtimer timer;
};

/* Sessions of this relay; the dead are freed at the end of the turn. */
static uint32_t count_live(const struct relay *r) {
    uint32_t dead = 0;
    for (const struct list *n = r->dead.next; n != &r->dead; n = n->next)
        dead++;
    return r->sessions.used - dead;
}

static void report_exported(struct relay *r, uint32_t migrated, bool broken) {
    struct control_exported x = {.migrated = migrated, .kept = count_live(r), .broken = broken};
    (void)!control_send_exported(r->child.control, &x); /* a lost supervisor shows on the control socket */
}

/* ---- begin ---- */

static struct exporting *exporting_new(void) {
    struct exporting *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->timer.kind = RELAY_TIMER_EXPORT;
    e->link = e->liveness = -1;
    list_init(&e->flying);
    if (batch_init(&e->batch) == 0)
        return e;
    free(e);
    return NULL;
}

static void exporting_free(struct exporting *e) {
    if (e->link >= 0)
        close(e->link);
    if (e->liveness >= 0)
        close(e->liveness);
    batch_fini(&e->batch);
    free(e);
}

/* The link and the liveness pipe: see wire/export_link.h. */
static bool connect_link(struct relay *r, struct exporting *e) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    e->liveness = ends[1];
    int err = ipc_send(e->link, EXPORT_LIVENESS, span_of(NULL, 0), &ends[0], 1);
    close(ends[0]);
    return err == 0 && loop_watch(&r->loop, e->link, EPOLLIN, RELAY_EXPORT, 0, 0) == 0;
}

void migrate_out_begin(struct relay *r, const struct control_export *what, int link) {
    migrate_out_stop(r);
    struct exporting *e = exporting_new();
    if (!e) {
        close(link);
        report_exported(r, 0, true);
        return;
    }
    e->link = link;
    e->max = what->max;
    e->first = what->first;
    e->reported = UNREPORTED;
    uint32_t slot = 0;
    for (struct session *s; (s = slab_next(&r->sessions, &slot));)
        s->stays = false;
    if (!connect_link(r, e)) {
        log_msg(&r->child.log, LOG_LEVEL_WARNING, "cannot give sessions to another relay: %m");
        report_exported(r, 0, true);
        exporting_free(e);
        return;
    }
    r->exporting = e;
}

bool migrate_out_of_all(const struct relay *r) {
    return r->exporting && r->exporting->max == EXPORT_ALL;
}

/* ---- one session ---- */

static void freeze(struct exporting *e, struct relay *r, struct session *s) {
    session_wait(r, s, WAITS_MIGRATION, &e->flying);
    session_count(r, s, -1); /* counted twice even for a moment, a client could be refused what it may have */
    if (e->nflying++ == 0)
        e->answer_ms = r->loop.now_ms;
}

/* The session is ours as before. */
static void take_back(struct relay *r, struct session *s) {
    session_wait(r, s, WAITS_NOT, NULL);
    session_count(r, s, 1);
    s->up.blocked = s->down.blocked = false;
    if (s->state == SESSION_CONNECTING && !s->on_backend)
        connect_try(r, s);
    if (!session_watch_again(r, s))
        session_fail(r, s, ERR_SYSTEM);
    else if (s->state != SESSION_CONNECTING)
        session_ready(r, s);
}

/* Frees what is not watched or counted any more; closes descriptors without a shutdown. */
static void forget_session(struct relay *r, struct session *s) {
    connect_leave(r, s);
    if (s->client.fd >= 0) {
        loop_unwatch(&r->loop, s->client.fd); /* the other relay's copy would keep it watched here */
        close(s->client.fd);
    }
    if (s->backend.fd >= 0) {
        loop_unwatch(&r->loop, s->backend.fd);
        close(s->backend.fd);
    }
    s->client.fd = s->backend.fd = -1;
    session_release(r, s);
}

static void gone(struct relay *r, struct exporting *e, struct session *s) {
    session_metrics_end(r, s, true);
    forget_session(r, s);
    e->migrated++;
    e->reported = UNREPORTED;
}

/* ---- answers ---- */

static void take_result(struct relay *r, struct exporting *e, struct session *s, enum export_result result) {
    e->nflying--;
    if (result == EXPORT_IS_TAKEN) {
        gone(r, e, s);
        return;
    }
    s->stays = result == EXPORT_IS_REFUSED;
    if (result == EXPORT_NO_ROOM)
        e->pause_until_ms = r->loop.now_ms + MIGRATE_OUT_PAUSE_MS;
    take_back(r, s);
}

/* False when this is no answer to what we sent. */
static bool take_results(struct relay *r, struct exporting *e, const struct export_msg *m) {
    struct export_taken t;
    if (export_taken_unpack(m, &t) < 0 || e->nopen == 0 || t.number != e->open[0].number || t.results.len != e->open[0].n)
        return false;
    for (size_t i = 0; i < t.results.len; i++)
        take_result(r, e, CONTAINER_OF(e->flying.next, struct session, link), (enum export_result)t.results.p[i]);
    e->nopen--;
    memmove(&e->open[0], &e->open[1], e->nopen * sizeof(e->open[0]));
    e->answer_ms = r->loop.now_ms;
    e->blocked = false;
    return true;
}

/* All answers that are there. False when none can come any more. */
static bool read_answers(struct relay *r, struct exporting *e) {
    for (;;) {
        struct export_msg m;
        int err = 0;
        enum step step = export_recv(e->link, r->child.scratch, &m, &err);
        if (step == STEP_WANT_READ)
            return true;
        if (step != STEP_DONE)
            return false;
        bool fine = take_results(r, e, &m);
        export_msg_close(&m);
        if (!fine)
            return false;
    }
}

/* ---- end ---- */

/*
 * In this order: a byte in the liveness pipe shows that we live; the importer can send no more answers; those it has sent are
 * read. What is not answered then never will be, and only we have it.
 */
static void close_link(struct relay *r, struct exporting *e) {
    static const uint8_t alive = 1;
    if ((write(e->liveness, &alive, 1) < 0 && errno != EPIPE /* the importer is gone */) || shutdown(e->link, SHUT_RDWR) < 0)
        log_msg(&r->child.log, LOG_LEVEL_ERROR, "the link to another relay cannot be ended in good order: %m");
    (void)read_answers(r, e); /* up to the end, which shutdown() has made */
    loop_unwatch(&r->loop, e->link);
}

/* How many sessions have been migrated. */
static uint32_t stop_export(struct relay *r, struct exporting *e) {
    close_link(r, e);
    wheel_cancel(&r->loop.wheel, &e->timer);
    r->exporting = NULL;
    while (!list_empty(&e->flying))
        take_back(r, CONTAINER_OF(e->flying.next, struct session, link));
    uint32_t migrated = e->migrated;
    exporting_free(e);
    return migrated;
}

void migrate_out_stop(struct relay *r) {
    if (r->exporting)
        (void)stop_export(r, r->exporting); /* not requested */
}

/* The same, reported to the supervisor. */
static void end_export(struct relay *r, bool broken) {
    uint32_t migrated = stop_export(r, r->exporting);
    report_exported(r, migrated, broken);
}

void migrate_out_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct relay *r = ctx;
    if (r->exporting && !read_answers(r, r->exporting))
        end_export(r, true);
}

/* ---- sending ---- */

/* Balancing migrates long-lived sessions; a relay that ends migrates all. */
static bool may_migrate(const struct relay *r, const struct exporting *e, const struct session *s) {
    if (s->waits == WAITS_MIGRATION || s->stays || s->state == SESSION_DEAD)
        return false;
    if (e->max != EXPORT_ALL && s->state != SESSION_OPEN)
        return false;
    bool active = s->active_ms + ACTIVE_MS > r->loop.now_ms;
    return e->first == EXPORT_ANY || active == (e->first == EXPORT_ACTIVE);
}

static struct session *next_session(struct relay *r, struct exporting *e) {
    bool from_start = e->cursor == 0;
    if (e->dry || (e->max != EXPORT_ALL && e->migrated + e->nflying >= e->max))
        return NULL;
    for (;;) {
        struct session *s = slab_next(&r->sessions, &e->cursor);
        if (s && may_migrate(r, e, s))
            return s;
        if (s)
            continue;
        e->cursor = 0;
        if (from_start && e->first == EXPORT_ANY)
            break;
        if (from_start)
            e->first = EXPORT_ANY;
        from_start = true;
    }
    e->dry = true;
    return NULL;
}

/* Puts sessions into the message until it is full or none is left. */
static void fill_batch(struct relay *r, struct exporting *e) {
    while (batch_has_room(&e->batch)) {
        struct session *s = next_session(r, e);
        if (!s)
            return;
        uint32_t at = s->item.slot;
        if (!batch_session(&e->batch, r, s)) { /* comes first in the next one; freezing has not begun */
            if (e->batch.n == 0) {
                s->stays = true; /* fits in no message at all */
                continue;
            }
            e->cursor = at;
            return;
        }
        freeze(e, r, s);
    }
}

/* Sends what is made. False when the link takes no more now, or the export is over. */
static bool send_next_batch(struct relay *r, struct exporting *e) {
    int err = batch_send(&e->batch, e->link, e->number + 1);
    if (err == ERR_AGAIN) {
        e->blocked = true;
        return false;
    }
    if (err < 0) {
        end_export(r, true);
        return false;
    }
    e->open[e->nopen].number = ++e->number;
    e->open[e->nopen++].n = e->batch.n;
    batch_clear(&e->batch);
    return true;
}

/* Nothing flies and nothing can be sent. */
static void report_dry(struct relay *r, struct exporting *e) {
    if (e->max != EXPORT_ALL) {
        end_export(r, false);
        return;
    }
    bool empty = r->sessions.used == 0; /* the dead have just been freed */
    if (e->reported != UNREPORTED && !(empty && e->reported > 0))
        return;
    arrivals_read(r);
    if (!e->dry || r->session_came)
        return;
    e->reported = r->sessions.used;
    report_exported(r, e->migrated, false);
}

static void keep_time(struct relay *r, struct exporting *e) {
    bool waits = e->nflying || r->loop.now_ms < e->pause_until_ms;
    if (waits && !wtimer_armed(&e->timer))
        wheel_arm(&r->loop.wheel, &e->timer, r->loop.now_ms + MIGRATE_OUT_TICK_MS);
}

bool migrate_out_turn(struct relay *r) {
    struct exporting *e = r->exporting;
    if (!e)
        return false;
    if (r->session_came) {
        r->session_came = false;
        e->dry = false;
        e->reported = UNREPORTED;
    }
    bool pauses = r->loop.now_ms < e->pause_until_ms;
    for (int i = 0; i < BATCHES_TURN && e->nopen < OPEN_MAX && !e->blocked && !pauses; i++) {
        if (!e->batch.sealed)
            fill_batch(r, e);
        if (e->batch.n == 0)
            break;
        if (!send_next_batch(r, e)) {
            if (!r->exporting)
                return false;
            break;
        }
    }
    keep_time(r, e);
    if (e->nflying == 0 && (e->dry || pauses || (e->max != EXPORT_ALL && e->migrated >= e->max))) {
        report_dry(r, e);
        return r->exporting && (r->session_came || !r->exporting->dry) && !pauses;
    }
    return !e->blocked && !pauses && e->nopen < OPEN_MAX && !e->dry;
}

void migrate_out_timer(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    struct exporting *e = CONTAINER_OF(t, struct exporting, timer);
    e->blocked = false;
    if (e->nflying && r->loop.now_ms >= e->answer_ms + MIGRATE_STALL_MS) {
        log_msg(&r->child.log, LOG_LEVEL_WARNING, "the importing relay does not answer");
        end_export(r, true);
    } else if (r->loop.now_ms >= e->pause_until_ms) {
        e->dry = false;
    }
}
