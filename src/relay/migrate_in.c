/*
 * The importer: reads batches, builds frozen sessions, answers, and activates them when the answer has been sent. When
 * the link ends, the exporter's liveness pipe decides who owns the unanswered ones. docs/hand-over-format.md has the reasoning.
 */
#include "relay/migrate_in.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "relay/export_form.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "wire/export.h"

#define MESSAGES_TURN 4    /* of one link, a turn */
#define LIVENESS_MS   1000 /* how long to wait for a dying exporter's liveness pipe */

/* What is known of an exporter whose link has ended. */
enum fate {
    FATE_LIVES,   /* the link is fine */
    FATE_UNKNOWN, /* the link has ended, the liveness pipe shows nothing yet */
    FATE_DEAD,    /* we own its sessions */
    FATE_SERVES,  /* it lives and goes on with what we have not answered */
};

struct importing {
    struct list link_in_relay;
    int link, liveness;
    uint8_t *body; /* IPC_BODY_MAX bytes of secret memory */
    enum fate fate;
    struct chain ahead[EXPORT_PARTS]; /* bytes of the session that comes next */
    struct list staged;               /* frozen sessions that are not answered, through session.link */
    uint8_t results[EXPORT_BATCH_MAX];
    uint32_t number;
    uint16_t n;        /* sessions to be answered; 0 = none */
    bool answer_waits; /* the link takes no answer at present */
    bool version_logged;
    const char *why;     /* the last session was refused */
    struct wtimer timer; /* for the liveness pipe */
};

static struct importing *import_at(struct relay *r, uint32_t key) {
    for (struct list *n = r->importing.next; n != &r->importing; n = n->next) {
        struct importing *m = CONTAINER_OF(n, struct importing, link_in_relay);
        if ((uint32_t)m->link == key)
            return m;
    }
    return NULL;
}

void migrate_in_begin(struct relay *r, int link) {
    struct importing *m = calloc(1, sizeof(*m));
    if (m) {
        m->timer.kind = RELAY_TIMER_IMPORT;
        m->body = secret_alloc(IPC_BODY_MAX, NULL);
    }
    if (!m || !m->body || loop_watch(&r->loop, link, EPOLLIN, RELAY_IMPORT, (uint32_t)link, 0) < 0) {
        log_msg(&r->child.log, LOG_LEVEL_ERROR, "cannot take sessions over from another relay: %m");
        if (m)
            secret_free(m->body, IPC_BODY_MAX);
        free(m);
        close(link);
        return;
    }
    m->link = link;
    m->liveness = -1;
    list_init(&m->staged);
    list_push(&r->importing, &m->link_in_relay);
}

/* ---- the unanswered ---- */

static void drop_ahead(struct relay *r, struct importing *m) {
    for (unsigned i = 0; i < EXPORT_PARTS; i++)
        chain_free(&r->pool, &m->ahead[i]);
}

static void drop_staged(struct relay *r, struct importing *m) {
    for (struct list *n; (n = list_shift(&m->staged));)
        import_drop(r, CONTAINER_OF(n, struct session, link));
    m->n = 0;
}

static void activate_staged(struct relay *r, struct importing *m, bool late) {
    while (!list_empty(&m->staged)) {
        struct session *s = CONTAINER_OF(m->staged.next, struct session, link);
        session_wait(r, s, WAITS_NOT, NULL);
        import_activate(r, s, late);
    }
    m->n = 0;
}

/* Everything of the import; sessions that were not answered are dropped. */
static void end_import(struct relay *r, struct importing *m) {
    drop_staged(r, m);
    drop_ahead(r, m);
    wheel_cancel(&r->loop.wheel, &m->timer);
    loop_unwatch(&r->loop, m->link);
    close(m->link);
    if (m->liveness >= 0) {
        loop_unwatch(&r->loop, m->liveness);
        close(m->liveness);
    }
    list_remove(&m->link_in_relay);
    secret_free(m->body, IPC_BODY_MAX);
    free(m);
}

void migrate_in_end_all(struct relay *r) {
    while (!list_empty(&r->importing))
        end_import(r, CONTAINER_OF(r->importing.next, struct importing, link_in_relay));
}

/* ---- the liveness pipe ---- */

/* A byte or the end is all there can be, and poll() distinguishes them: reading could block. */
static enum fate read_liveness(const struct importing *m) {
    struct pollfd p = {.fd = m->liveness, .events = POLLIN};
    int n;
    if (m->liveness < 0)
        return FATE_SERVES; /* we cannot know: then nothing is ours */
    do {
        n = poll(&p, 1, 0);
    } while (n < 0 && errno == EINTR);
    if (n == 0)
        return FATE_UNKNOWN;
    return n == 1 && p.revents == POLLHUP ? FATE_DEAD : FATE_SERVES;
}

/* The link has ended. What is staged becomes ours or is dropped as soon as the fate is known. */
static void learn_fate(struct relay *r, struct importing *m) {
    m->fate = read_liveness(m);
    if (m->fate == FATE_DEAD)
        activate_staged(r, m, true);
    else if (m->fate == FATE_SERVES)
        drop_staged(r, m);
}

/* Its descriptors close one after the other: the end of the liveness pipe follows that of the link. */
static bool wait_for_liveness(struct relay *r, struct importing *m) {
    loop_unwatch(&r->loop, m->link);
    wheel_arm(&r->loop.wheel, &m->timer, r->loop.now_ms + LIVENESS_MS);
    return loop_watch(&r->loop, m->liveness, EPOLLIN, RELAY_LIVENESS, (uint32_t)m->link, 0) == 0;
}

/* ---- a batch ---- */

static void close_fds(struct export_msg *msg, unsigned from, unsigned n) {
    for (unsigned i = from; i < from + n; i++) {
        close(msg->fds[i]);
        msg->fds[i] = -1;
    }
}

static enum export_result stage(struct relay *r, struct importing *m, const struct export_batch *b, struct span blob,
                                const int *fds, unsigned nfds) {
    static struct export_session x; /* 1.5 KB */
    struct session *s = NULL;
    int err = export_unpack(blob, b->major, b->minor, &x);
    if (err == ERR_UNSUPPORTED && !m->version_logged) {
        m->version_logged = true;
        log_msg(&r->child.log, LOG_LEVEL_ERROR, "sessions come in format %u.%u, which this build does not read", b->major,
                b->minor);
    }
    enum export_result result = EXPORT_IS_REFUSED;
    m->why = err ? err_text(err) : "number of descriptors";
    if (err == 0 && ((x.flags & EXPORT_BACKEND_FD) != 0) == (nfds == 2))
        result = import_session(r, &x, fds[0], nfds == 2 ? fds[1] : -1, m->ahead, &s, &m->why);
    drop_ahead(r, m); /* waiting bytes that the session has not taken */
    if (result == EXPORT_IS_TAKEN)
        session_wait(r, s, WAITS_MIGRATION, &m->staged);
    return result;
}

/* Sessions of one message, with what becomes of each in RESULTS. False when the exporter broke the rules. */
static bool stage_batch(struct relay *r, struct importing *m, struct export_msg *msg) {
    struct rd rd = rd_of(msg->body);
    struct export_batch b;
    unsigned used = 0, refused = 0;
    export_batch_unpack(&rd, &b);
    if (rd.bad)
        return false;
    m->number = b.number;
    m->n = b.n;
    for (unsigned i = 0; i < b.n; i++) {
        unsigned nfds = 0;
        struct span blob = export_next(&rd, &nfds);
        bool whole = !rd.bad && !msg->fds_lost && used + nfds <= msg->nfds;
        enum export_result result = msg->fds_lost ? EXPORT_NO_ROOM : EXPORT_IS_REFUSED;
        if (whole) {
            result = stage(r, m, &b, blob, &msg->fds[used], nfds);
            if (result != EXPORT_IS_TAKEN)
                close_fds(msg, used, nfds);
            used += nfds;
        }
        m->results[i] = (uint8_t)result;
        refused += result == EXPORT_IS_REFUSED;
    }
    close_fds(msg, used, msg->nfds - used);
    msg->nfds = 0;
    if (refused)
        log_msg(&r->child.log, LOG_LEVEL_ERROR, "%u of %u sessions from another relay could not be imported: %s", refused, b.n,
                m->why ? m->why : err_text(ERR_FORMAT));
    return true;
}

/* From the moment that an answer is sent, what it takes is ours. */
static void answer_batch(struct relay *r, struct importing *m) {
    uint8_t body[EXPORT_TAKEN_MAX];
    struct wr w = wr_of(body, sizeof(body));
    export_taken_pack(&w, &(struct export_taken){.number = m->number, .results = span_of(m->results, m->n)});
    int err = wr_end(&w) ? ipc_send(m->link, EXPORT_TAKEN, wr_written(&w), NULL, 0) : ERR_LIMIT;
    bool late = m->answer_waits;
    m->answer_waits = err == ERR_AGAIN;
    if (err == 0)
        activate_staged(r, m, late);
    else if (err != ERR_AGAIN)
        learn_fate(r, m);
}

/* ---- messages ---- */

static bool take_ahead(struct relay *r, struct importing *m, const struct export_msg *msg) {
    enum export_part part;
    struct span bytes;
    if (export_bytes_unpack(msg, &part, &bytes) < 0 || m->ahead[part].len + bytes.len > EXPORT_WAIT_MAX)
        return false;
    return chain_append_migrated(&r->pool, &m->ahead[part], bytes) == 0;
}

/* False when the exporter broke the rules, or we are out of memory. */
static bool take_export_msg(struct relay *r, struct importing *m, struct export_msg *msg) {
    switch (msg->type) {
    case EXPORT_LIVENESS:
        if (msg->nfds != 1 || m->liveness >= 0)
            return false;
        m->liveness = msg->fds[0];
        msg->nfds = 0;
        return true;
    case EXPORT_BYTES:
        return take_ahead(r, m, msg);
    case EXPORT_SESSIONS:
        if (!stage_batch(r, m, msg))
            return false;
        if (m->fate == FATE_LIVES)
            answer_batch(r, m);
        else if (m->fate == FATE_DEAD)
            activate_staged(r, m, false);
        else if (m->fate == FATE_SERVES)
            drop_staged(r, m);
        return true;
    default:
        return false;
    }
}

/* False when the import is over. */
static bool import_next(struct relay *r, struct importing *m, bool *ret_more) {
    struct export_msg msg;
    int err = 0;
    enum step step = export_recv(m->link, m->body, &msg, &err);
    *ret_more = step == STEP_DONE;
    if (step == STEP_WANT_READ)
        return true;
    if (step != STEP_DONE) /* all has been read: nothing is staged but what waits for the liveness pipe */
        return false;
    bool fine = take_export_msg(r, m, &msg);
    export_msg_close(&msg);
    secret_wipe(m->body, msg.body.len); /* keys were in it */
    if (!fine)
        log_msg(&r->child.log, LOG_LEVEL_ERROR, "sessions of another relay cannot be imported: %s",
                msg.fds_lost ? err_text(ERR_OUT_OF_FDS) : "it broke the rules, or memory is used up");
    return fine;
}

/* An answer that found no room is sent before anything else is read. */
static bool import_step(struct relay *r, struct importing *m) {
    bool more = true;
    if (m->answer_waits)
        answer_batch(r, m);
    for (int i = 0; i < MESSAGES_TURN && more && !m->answer_waits && m->fate != FATE_UNKNOWN; i++)
        if (!import_next(r, m, &more))
            return false;
    if (m->fate == FATE_UNKNOWN)
        return wait_for_liveness(r, m);
    uint32_t events = m->answer_waits ? EPOLLOUT : EPOLLIN;
    return loop_rewatch(&r->loop, m->link, events, RELAY_IMPORT, (uint32_t)m->link, 0) == 0;
}

void migrate_in_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)gen;
    (void)events;
    struct relay *r = ctx;
    struct importing *m = import_at(r, key);
    if (m && !import_step(r, m))
        end_import(r, m);
}

/* Back to the link: there may be more of the dead exporter's messages. */
static void liveness_read(struct relay *r, struct importing *m) {
    wheel_cancel(&r->loop.wheel, &m->timer);
    loop_unwatch(&r->loop, m->liveness);
    if (m->fate == FATE_UNKNOWN || loop_watch(&r->loop, m->link, EPOLLIN, RELAY_IMPORT, (uint32_t)m->link, 0) < 0)
        end_import(r, m);
}

void migrate_in_liveness_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)gen;
    (void)events;
    struct relay *r = ctx;
    struct importing *m = import_at(r, key);
    if (!m || m->fate != FATE_UNKNOWN)
        return;
    learn_fate(r, m);
    if (m->fate != FATE_UNKNOWN)
        liveness_read(r, m);
}

void migrate_in_timer(void *ctx, struct wtimer *t) {
    end_import(ctx, CONTAINER_OF(t, struct importing, timer));
}
