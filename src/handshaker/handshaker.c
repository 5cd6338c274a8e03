#include "handshaker/handshaker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sealed.h"
#include "conf/ticket_secret.h"
#include "handshaker/accept.h"
#include "handshaker/cert_set.h"
#include "handshaker/client_rules.h"
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
    if (!client_rules_make(s, certs_store(h->certs), (uint32_t)(s - h->conf->services), &clients, why))
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

static bool make_services(struct handshaker *h, struct text *why) {
    h->services = calloc(h->conf->nservices, sizeof(*h->services));
    MUST(h->services);
    for (size_t i = 0; i < h->conf->nservices; i++)
        if (!make_service(h, &h->conf->services[i], &h->services[i], why))
            return false;
    return true;
}

/* The first ones, or others from now on; those before stay when they cannot be used. */
static int take_secrets(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
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
    if (!used)
        text_add(why, "the ticket secrets cannot be used");
    return used ? 0 : ERR_FORMAT;
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

/* One of ours, or of a handshaker that does not answer. */
static int take_listener(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    uint16_t listener;
    int err = control_read_listener(m, &listener);
    if (err == 0 && listener >= h->conf->nlisteners)
        err = ERR_FORMAT;
    if (err == 0 && h->child.serving)
        accept_for_other(h, ipc_take(m, 0), listener);
    else if (err == 0)
        add_socket(h, ipc_take(m, 0), listener);
    return err;
}

static int take_peer(void *ctx, const struct control_peer *peer, int fd) {
    struct handshaker *h = ctx;
    if (peer->index >= h->child.setup.workers) {
        close(fd);
        return ERR_FORMAT;
    }
    if (peer->role == ROLE_SIGNER)
        signing_link(h, peer->index, fd);
    else
        handoff_queue_link(h, peer->index, fd);
    return 0;
}

static void report_drained(struct handshaker *h) {
    if (h->draining && h->conns.used == 0) {
        (void)!control_send_number(h->child.control, CONTROL_DRAINED,
                                   0); /* a lost supervisor is noticed on the control socket */
        h->draining = false;
    }
}

/* No new connections. A quick stop ends those that have not sent their hello. */
static int drain_handshaker(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    struct control_drain d;
    int err = control_read_drain(m, &d);
    if (err < 0)
        return err;
    if (d.how == DRAIN_PATIENT)
        accept_backlog(h);
    accept_stop(h);
    h->draining = true;
    uint32_t slot = 0;
    for (struct conn *c; d.how == DRAIN_QUICK && (c = slab_next(&h->conns, &slot));)
        if (c->state <= CONN_HELLO)
            conn_end(h, c);
    wheel_arm(&h->loop.wheel, &h->drain_timer, h->loop.now_ms + d.ms);
    return 0;
}

static int begin_accepting(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    accept_start(h);
    return control_send(h->child.control, CONTROL_SERVING);
}

static void cut_conns(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    uint32_t slot = 0;
    for (struct conn *c; (c = slab_next(&h->conns, &slot));)
        conn_cut(h, c, ERR_STOPPED);
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
static bool handshaker_turn_end(void *ctx) {
    struct handshaker *h = ctx;
    bool more = signing_turn(h);
    more = pace_turn(h) || more;
    for (struct list *n; (n = list_shift(&h->dead));)
        slab_free(&h->conns, CONTAINER_OF(n, struct conn, link));
    report_drained(h);
    conn_metrics_turn(h);
    return more;
}

static int handshaker_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct handshaker *h = ctx;
    struct rlimit files;
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        h->links[i].fd = -1;
        list_init(&h->links[i].queue);
    }
    list_init(&h->dead);
    signing_init(h);
    keylog_file_init(h);
    h->relay_room = sessions_per_relay(h->child.setup.workers);
    h->row = scoreboard_row(&h->child.scoreboard, ROLE_HANDSHAKER, h->child.setup.index);
    scoreboard_row_reset(&h->row);
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return ERR_SYSTEM;
    int err = slab_init(&h->conns, sizeof(struct conn), (uint32_t)MIN(files.rlim_cur, (rlim_t)1 << 20), true);
    if (err < 0)
        return err;
    h->own_failed = h->conf->handshake == HANDSHAKE_AUTO && !handshake_own_begin(h->conns.cap);
    if (h->own_failed)
        log_msg(&h->child.log, LOG_LEVEL_WARNING, "the self-test of our own handshake failed: libssl makes all of them");
    return 0;
}

static enum step handshaker_go(void *ctx, struct text *why) {
    struct handshaker *h = ctx;
    if (!h->tickets || !h->certs || !h->admission.gates) {
        text_add(why, "handshaker: ticket secrets, certificates or access lists are missing");
        return STEP_FAILED;
    }
    if (!make_services(h, why))
        return STEP_FAILED;
    budget_init(&h->budget, h->conf->handshake_memory, descriptors_left(h));
    return STEP_DONE;
}

static void handshaker_finish(void *ctx) {
    struct handshaker *h = ctx;
    keylog_file_end(h, &h->keylog.end);
    tickets_free(h->tickets);
}

static const struct role_message handshaker_messages[] = {
    {CONTROL_SECRETS, take_secrets},   {CONTROL_CREDS, cert_set_take},
    {CONTROL_ACCESS, admit_take},      {CONTROL_KEYLOG, keylog_file_take},
    {CONTROL_LISTENER, take_listener}, {CONTROL_SERVE, begin_accepting},
    {CONTROL_DRAIN, drain_handshaker}, {0, NULL},
};

static const struct role_link handshaker_links[] = {
    {ROLE_SIGNER, take_peer},
    {ROLE_RELAY, take_peer},
    {0, NULL},
};

static const struct loop_handler handshaker_handlers[] = {
    {HANDSHAKER_LISTENER, accept_event},
    {HANDSHAKER_CONN, conn_event},
    {HANDSHAKER_LINK, handoff_queue_event},
    {HANDSHAKER_SIGNER, signing_event},
    {0, NULL},
};

/* After work, within the time between two publications. */
static void handshaker_second(void *ctx, struct wtimer *t) {
    conn_metrics_publish(ctx, t);
    handshake_own_forget();
}

static const struct loop_timer handshaker_timers[] = {
    {HANDSHAKER_TIMER_CONN, conn_timeout, 0},
    {HANDSHAKER_TIMER_RESUME, accept_resume, offsetof(struct handshaker, resume)},
    {HANDSHAKER_TIMER_RETRY, handoff_queue_retry, offsetof(struct handshaker, retry)},
    {HANDSHAKER_TIMER_TRIM, budget_trim, offsetof(struct handshaker, trim_timer)},
    {HANDSHAKER_TIMER_STATS, handshaker_second, offsetof(struct handshaker, stats_timer)},
    {HANDSHAKER_TIMER_DRAIN, cut_conns, offsetof(struct handshaker, drain_timer)},
    {HANDSHAKER_TIMER_SIGNER, signing_timeout, offsetof(struct handshaker, signing.timer)},
    {HANDSHAKER_TIMER_KEYLOG, keylog_file_end, offsetof(struct handshaker, keylog.end)},
    {0, NULL, 0},
};

static struct handshaker handshaker_process;

const struct role_table handshaker_role = {
    .self = &handshaker_process,
    .child = &handshaker_process.child,
    .loop = &handshaker_process.loop,
    .conf = &handshaker_process.conf,
    .messages = handshaker_messages,
    .links = handshaker_links,
    .handlers = handshaker_handlers,
    .timers = handshaker_timers,
    .prepare = handshaker_prepare,
    .go = handshaker_go,
    .late_sandbox = true, /* the self-tests of services make stores of their own */
    .turn_end = handshaker_turn_end,
    .paused = shift_deadlines,
    .finish = handshaker_finish,
};
