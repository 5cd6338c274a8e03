#include "handshaker/handshaker.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sealed.h"
#include "conf/snapshot.h"
#include "conf/ticket_secret.h"
#include "handshaker/accept.h"
#include "handshaker/cert_set.h"
#include "handshaker/clients.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handoff_queue.h"
#include "handshaker/pace.h"
#include "handshaker/signing.h"

_Static_assert(TICKETS_SECRETS == CONF_SECRETS_MAX && TICKETS_SECRET_MAX == TICKET_SECRET_MAX, "all of it fits");

#define OWN_FDS_MAX 4096 /* descriptors that are no connections are below this */
#define PROVED_MAX  16

static bool same_ids(const uint16_t *a, size_t na, const uint16_t *b, size_t nb) {
    return na == nb && memcmp(a, b, na * sizeof(*a)) == 0;
}

/*
 * One self-test for all services with the same versions, suites and groups: it takes milliseconds, and there may be thousands
 * of services. Of these PROVED are remembered.
 */
static void test_service(struct handshaker *h, const struct handshaker_service *service) {
    static const struct conf_service *proved[PROVED_MAX];
    static size_t nproved;
    const struct conf_service *s = service->conf;
    for (size_t i = 0; i < nproved; i++)
        if (proved[i]->min_version == s->min_version &&
            same_ids(proved[i]->suites, proved[i]->nsuites, s->suites, s->nsuites) &&
            same_ids(proved[i]->groups, proved[i]->ngroups, s->groups, s->ngroups)) {
            tls_server_spare_selftest(service->server);
            return;
        }
    if (!tls_server_selftest(service->server))
        log_msg(&h->child.log, LOG_LEVEL_DEBUG, "service %s: secrets are taken from the key log", s->name);
    else if (nproved < PROVED_MAX)
        proved[nproved++] = s;
}

static bool make_service(struct handshaker *h, const struct conf_service *s, struct handshaker_service *ret, struct text *why) {
    ret->conf = s;
    if (s->mode == MODE_PASSTHROUGH)
        return true;
    struct client_auth *clients = NULL;
    if (!clients_make(s, certs_store(h->certs), (uint32_t)(s - h->conf->services), &clients, why))
        return false;
    const struct tls_policy policy = {
        .name = s->name,
        .service = (uint32_t)(s - h->conf->services),
        .min_version = s->min_version,
        .suites = s->suites,
        .nsuites = s->nsuites,
        .groups = s->groups,
        .ngroups = s->ngroups,
        .alpn = s->alpn,
        .nalpn = s->nalpn,
        .strict_sni = s->strict_sni,
        .clients = clients,
        .own_tls13 = h->conf->handshake == HANDSHAKE_AUTO,
        .ticket_with_finished = h->conf->ticket_with_finished,
        .reports_client_cert = s->proxy_send == PROXY_SEND_V2 && (s->proxy_tlvs & TLV_CLIENT_CERT),
    };
    ret->server = tls_server_new(&policy, h->certs, h->tickets, why);
    if (!ret->server)
        return false;
    test_service(h, ret);
    return true;
}

static bool make_services(struct handshaker *h) {
    char line[1024];
    struct text why = text_of(line, sizeof(line));
    h->own_failed = h->conf->handshake == HANDSHAKE_AUTO && !handshake_own_begin(h->conns.cap);
    if (h->own_failed)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "the self-test of our own handshake failed: libssl makes all of them");
    h->services = calloc(h->conf->nservices, sizeof(*h->services));
    MUST(h->services);
    for (size_t i = 0; i < h->conf->nservices; i++)
        if (!make_service(h, &h->conf->services[i], &h->services[i], &why)) {
            child_refuse(&h->child, "%s", line);
            return false;
        }
    return true;
}

/* The first ones, or others from now on. False: they cannot be used, and those before stay. */
static bool take_secrets(struct handshaker *h, struct ipc_msg *m) {
    struct span bytes, secrets[CONF_SECRETS_MAX];
    bool used = false;
    if (sealed_map(m->fds[0], 1, TICKET_SECRETS_LEN_MAX, &bytes) == 0) {
        (void)mlock(bytes.p, bytes.len); /* over the limit it may be swapped, as libssl's own memory may */
        size_t n = ticket_secrets_of(bytes, secrets);
        if (h->tickets)
            used = tickets_use(h->tickets, secrets, n);
        else
            used = (h->tickets = tickets_new(secrets, n)) != NULL;
        sealed_unmap(bytes);
    }
    ipc_msg_close(m);
    if (!used)
        log_msg(&h->child.log, LOG_LEVEL_ERROR, "the ticket secrets cannot be used");
    return used;
}

/* Half of the descriptors of a relay are clients, half backends; some are for itself. All roles have the same limit. */
static uint32_t sessions_per_relay(uint16_t workers) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 1;
    return scoreboard_relay_cap(r.rlim_cur, workers);
}

/* Descriptors for connections: those that are free now, less some for links that are replaced while both are there. */
static uint64_t descriptors_left(const struct handshaker *h) {
    struct rlimit r;
    uint64_t open = 0, own = 8u + h->child.setup.workers;
    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return 1;
    for (int fd = 0; fd < (int)MIN(r.rlim_cur, (rlim_t)OWN_FDS_MAX); fd++)
        open += fcntl(fd, F_GETFD) >= 0;
    return r.rlim_cur > open + own ? r.rlim_cur - open - own : 1;
}

static void add_socket(struct handshaker *h, int fd, uint16_t listener) {
    h->sockets = realloc(h->sockets, (h->nsockets + 1) * sizeof(*h->sockets));
    MUST(h->sockets);
    h->sockets[h->nsockets++] = (struct handshaker_socket){fd, listener};
}

static void link_peer(struct handshaker *h, const struct control_peer *peer, int fd) {
    if (peer->role == ROLE_SIGNER)
        signing_link(h, peer->index, fd);
    else
        handoff_queue_link(h, peer->index, fd);
}

/* Messages before GO. False when this process cannot serve. */
static bool receive_until_go(struct handshaker *h) {
    for (;;) {
        struct ipc_msg m;
        uint16_t listener;
        struct control_peer peer;
        if (child_wait(&h->child, &m) < 0)
            return false;
        if (m.type == CONTROL_GO)
            return true;
        if (m.type == CONTROL_SECRETS && take_secrets(h, &m))
            continue;
        if (m.type == CONTROL_CREDS && cert_set_take_first(h, &m))
            continue;
        if (m.type == CONTROL_ACCESS && admit_take(h, &m))
            continue;
        if (m.type == CONTROL_LISTENER && control_read_listener(&m, &listener) == 0 && listener < h->conf->nlisteners) {
            add_socket(h, m.fds[0], listener);
        } else if (m.type == CONTROL_LINK && control_read_peer(&m, &peer) == 0 && peer.index < h->child.setup.workers) {
            link_peer(h, &peer, m.fds[0]);
        } else {
            ipc_msg_close(&m);
            return false;
        }
    }
}

static void report_drained(struct handshaker *h) {
    if (h->draining && h->conns.used == 0) {
        (void)!control_send_number(h->child.control, CONTROL_DRAINED,
                                   0); /* a lost supervisor is noticed on the control socket */
        h->draining = false;
    }
}

/* No new connections. A quick stop ends those that have not sent their hello. */
static void begin_drain(struct handshaker *h, const struct control_drain *d) {
    if (d->how == DRAIN_PATIENT)
        accept_backlog(h);
    accept_stop(h);
    h->draining = true;
    uint32_t slot = 0;
    for (struct conn *c; d->how == DRAIN_QUICK && (c = slab_next(&h->conns, &slot));)
        if (c->state <= CONN_HELLO)
            conn_end(h, c);
    wheel_arm(&h->loop.wheel, &h->drain_timer, h->loop.now_ms + d->ms);
}

static void begin_accepting(struct handshaker *h) {
    accept_start(h);
    (void)!control_send(h->child.control, CONTROL_SERVING); /* a lost supervisor is noticed on the control socket */
}

static void on_message(struct handshaker *h, struct ipc_msg *m) {
    struct control_peer peer;
    struct control_drain d;
    uint16_t listener;
    if (m->type == CONTROL_LINK && control_read_peer(m, &peer) == 0 && peer.index < h->child.setup.workers)
        link_peer(h, &peer, m->fds[0]);
    else if (m->type == CONTROL_LISTENER && control_read_listener(m, &listener) == 0 && listener < h->conf->nlisteners)
        accept_for_other(h, m->fds[0], listener);
    else if (m->type == CONTROL_DRAIN && control_read_drain(m, &d) == 0)
        begin_drain(h, &d);
    else if (m->type == CONTROL_CREDS)
        cert_set_take(h, m);
    else if (m->type == CONTROL_SECRETS)
        (void)take_secrets(h, m); /* those in use stay, which has been logged */
    else if (m->type == CONTROL_ACCESS)
        (void)admit_take(h, m); /* the one in use stays, which has been logged */
    else if (m->type == CONTROL_STOP)
        h->loop.stop = true;
    else if (m->type == CONTROL_SERVE)
        begin_accepting(h);
    else
        ipc_msg_close(m);
}

static void control_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key;
    (void)gen;
    (void)events;
    struct handshaker *h = ctx;
    struct ipc_msg m;
    int err = 0;
    switch (child_recv(&h->child, &m, &err)) {
    case STEP_DONE:
        on_message(h, &m);
        break;
    case STEP_WANT_READ:
        break;
    default: /* without a supervisor the process ends */
        h->loop.stop = true;
    }
}

static void on_conn_timer(void *ctx, struct wtimer *t) {
    conn_timeout(ctx, CONTAINER_OF(t, struct conn, timer));
}

static void on_resume_timer(void *ctx, struct wtimer *t) {
    (void)t;
    accept_start(ctx);
}

static void on_retry_timer(void *ctx, struct wtimer *t) {
    (void)t;
    handoff_queue_retry(ctx);
}

static void on_trim_timer(void *ctx, struct wtimer *t) {
    (void)t;
    budget_trim(ctx);
}

static void on_stats_timer(void *ctx, struct wtimer *t) {
    (void)t;
    conn_metrics_publish(ctx);
}

static void on_drain_timer(void *ctx, struct wtimer *t) {
    (void)t;
    struct handshaker *h = ctx;
    uint32_t slot = 0;
    for (struct conn *c; (c = slab_next(&h->conns, &slot));)
        conn_cut(h, c, ERR_STOPPED);
}

static void on_signer_timer(void *ctx, struct wtimer *t) {
    (void)t;
    signing_timeout(ctx);
}

/* The process did not run for MS: deadlines move by as much. */
static void shift_deadlines(void *ctx, uint64_t ms) {
    struct handshaker *h = ctx;
    signing_shift(h, ms);
    uint32_t slot = 0;
    for (struct conn *c; (c = slab_next(&h->conns, &slot));)
        if (wtimer_armed(&c->timer))
            wheel_arm(&h->loop.wheel, &c->timer, c->timer.deadline_ms + ms);
}

/* The end of a turn: finished handshakes are sent, dead connections are freed. */
static bool turn_end(void *ctx) {
    struct handshaker *h = ctx;
    bool more = signing_turn(h);
    more = pace_turn(h) || more;
    for (struct list *n; (n = list_shift(&h->dead));)
        slab_free(&h->conns, CONTAINER_OF(n, struct conn, link));
    report_drained(h);
    conn_metrics_turn(h);
    return more;
}

static bool set_up(struct handshaker *h, int control) {
    struct rlimit files;
    if (child_begin(&h->child, control) < 0 || snapshot_read(h->child.snapshot_fd, &h->conf) < 0) {
        child_refuse(&h->child, "handshaker: cannot read what the supervisor sent: %m");
        return false;
    }
    close(h->child.snapshot_fd);
    h->child.log.level = h->conf->log_level;
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        h->links[i].fd = -1;
        list_init(&h->links[i].queue);
    }
    list_init(&h->dead);
    signing_init(h);
    h->relay_room = sessions_per_relay(h->child.setup.workers);
    h->row = scoreboard_row(&h->child.scoreboard, ROLE_HANDSHAKER, h->child.setup.index);
    scoreboard_row_reset(&h->row);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0 || loop_init(&h->loop) < 0 ||
        slab_init(&h->conns, sizeof(struct conn), (uint32_t)MIN(files.rlim_cur, (rlim_t)1 << 20), true) < 0) {
        child_refuse(&h->child, "handshaker: cannot start: %m");
        return false;
    }
    h->resume.kind = HANDSHAKER_TIMER_RESUME;
    h->retry.kind = HANDSHAKER_TIMER_RETRY;
    h->trim_timer.kind = HANDSHAKER_TIMER_TRIM;
    h->stats_timer.kind = HANDSHAKER_TIMER_STATS;
    h->drain_timer.kind = HANDSHAKER_TIMER_DRAIN;
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_CONN, on_conn_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_RESUME, on_resume_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_RETRY, on_retry_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_TRIM, on_trim_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_STATS, on_stats_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_DRAIN, on_drain_timer, h);
    loop_on_timer(&h->loop, HANDSHAKER_TIMER_SIGNER, on_signer_timer, h);
    h->loop.hook = turn_end;
    h->loop.hook_ctx = h;
    h->loop.pause_fn = shift_deadlines;
    h->loop.pause_ctx = h;
    loop_on(&h->loop, HANDSHAKER_CONTROL, control_event, h);
    loop_on(&h->loop, HANDSHAKER_LISTENER, accept_event, h);
    loop_on(&h->loop, HANDSHAKER_CONN, conn_event, h);
    loop_on(&h->loop, HANDSHAKER_LINK, handoff_queue_event, h);
    loop_on(&h->loop, HANDSHAKER_SIGNER, signing_event, h);
    return true;
}

int handshaker_run(int control) {
    static struct handshaker h;
    if (!set_up(&h, control) || !receive_until_go(&h) || !h.tickets || !h.admission.gates || !make_services(&h))
        return 1;
    budget_init(&h.budget, h.conf->handshake_memory, descriptors_left(&h));
    if (child_enter_sandbox(&h.child, &(struct sandbox){.user = h.conf->user}) < 0)
        return 1;
    if (loop_watch(&h.loop, control, EPOLLIN, HANDSHAKER_CONTROL, 0, 0) < 0 || control_send(control, CONTROL_READY) < 0)
        return 1;
    int err = loop_run(&h.loop);
    tickets_free(h.tickets);
    return err < 0 ? 1 : 0;
}
