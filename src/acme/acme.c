#include "acme/acme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "acme/alpn_responder.h"
#include "acme/http_responder.h"
#include "acme/records.h"
#include "acme/scheduler.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "wire/managed.h"

enum acme_kind { ACME_KEYS = ROLE_CONTROL + 1, ACME_OBSERVER, ACME_HTTP, ACME_ALPN_CONNS, ACME_HTTP_CONNS };

struct acme {
    struct child child;
    struct conf *conf;
    struct loop loop;
    struct http_out http;
    struct key_link keys;
    struct ca *cas;
    struct job *jobs;
    struct store store;
    struct challenges challenges;
    struct alpn_responder alpn;
    struct http_responder http_responder;
    struct scheduler scheduler;
    char directory[1024]; /* our own */
    int observer;         /* -1 = none */
};

static int64_t wall_now(void) {
    return (int64_t)(clock_wall_us() / 1000000);
}

/* ---- the observer ---- */

static void drop_observer(struct acme *a) {
    if (a->observer < 0)
        return;
    loop_unwatch(&a->loop, a->observer);
    close(a->observer);
    a->observer = -1;
}

/* One that reads too slowly misses news: all is reported again with the next look. */
static void tell_status(void *ctx, const struct job *j) {
    const struct acme *a = ctx;
    const struct order *o = scheduler_order_of(&a->scheduler, j);
    enum order_state state = o ? o->state : ORDER_IDLE;
    const struct managed_status s = {
        .cert = j->index,
        .issuer = j->cert->issuers[j->issuer],
        .state = (uint8_t)state,
        .state_name = span_str(order_state_name(state)),
        .from_issuer = j->from_issuer,
        .names_right = j->names_right,
        .alarm = job_alarms(j, wall_now()),
        .not_before = j->not_before,
        .not_after = j->not_after,
        .renew_at = job_renew_at(j),
        .next_at = job_due(j),
        .installed_at = j->installed_s,
        .window = {j->window[0], j->window[1]},
        .failures = o ? j->failures - 1 : j->failures,
        .issued = j->issued,
        .failed = j->failed,
        .error = span_str(j->error),
    };
    if (a->observer >= 0)
        (void)!managed_send_status(a->observer, &s);
}

static void tell_accounts(const struct acme *a) {
    for (uint16_t i = 0; i < a->conf->acme.nissuers && a->observer >= 0; i++)
        if (a->cas[i].account[0])
            (void)!managed_send_account(a->observer, &(struct managed_account){i, span_str(a->cas[i].account)});
}

static void on_changed(void *ctx, const struct job *j) {
    tell_accounts(ctx);
    tell_status(ctx, j);
}

static void obey(struct acme *a, const struct managed_command *c) {
    bool is_issuer = c->kind == MANAGED_ROLLOVER;
    if (c->target >= (is_issuer ? a->conf->acme.nissuers : a->conf->acme.ncerts))
        return;
    bool ok = true;
    if (c->kind == MANAGED_RENEW)
        scheduler_renew(&a->scheduler, c->target);
    else if (c->kind == MANAGED_REVOKE)
        ok = scheduler_revoke(&a->scheduler, c->target, c->reason);
    else
        ok = scheduler_rollover(&a->scheduler, c->target);
    if (!ok)
        log_msg(&a->child.log, LOG_LEVEL_WARNING, "%s: the command is not obeyed: another one is under way, or there is no %s",
                is_issuer ? a->conf->acme.issuers[c->target].name : a->conf->acme.certs[c->target].id,
                is_issuer ? "account" : "certificate by an issuer");
}

static void on_observer(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct acme *a = ctx;
    struct ipc_msg m;
    struct managed_command c;
    int err = 0;
    if (a->observer < 0)
        return;
    enum step step = ipc_recv(a->observer, scratch, sizeof(scratch), managed_to_acme, &m, &err);
    if (step == STEP_WANT_READ)
        return;
    if (step == STEP_DONE && managed_read_command(&m, &c) == 0)
        obey(a, &c);
    else
        drop_observer(a);
}

static int take_observer(void *ctx, const struct control_peer *peer, int fd) {
    struct acme *a = ctx;
    drop_observer(a);
    a->observer = fd;
    if (loop_watch(&a->loop, fd, EPOLLIN, ACME_OBSERVER, 0, 0) < 0) {
        drop_observer(a);
        return ERR_SYSTEM;
    }
    tell_accounts(a);
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        tell_status(a, &a->jobs[i]);
    return 0;
}

/* ---- the supervisor ---- */

static int take_keymaker(void *ctx, const struct control_peer *peer, int fd) {
    struct acme *a = ctx;
    key_link_take(&a->keys, fd);
    return 0;
}

/* The one of the generation before is gone: from now on this one orders, and validators come here. */
static int serve(void *ctx, struct ipc_msg *m, struct text *why) {
    struct acme *a = ctx;
    if (a->scheduler.running)
        return 0;
    if (responder_serve(&a->alpn.responder) < 0 || responder_serve(&a->http_responder.responder) < 0) {
        text_addf(why, "the sockets of validators cannot be put into place: %s", strerror(errno));
        role_stop(&acme_role);
        return ERR_SYSTEM;
    }
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        store_get_job(&a->store, &a->jobs[i], wall_now());
    for (size_t i = 0; i < a->conf->acme.nissuers; i++)
        store_get_account(&a->store, &a->cas[i]);
    scheduler_run(&a->scheduler);
    return control_send(a->child.control, CONTROL_SERVING);
}

static int hear_hooked(void *ctx, struct ipc_msg *m, struct text *why) {
    struct acme *a = ctx;
    records_hear(&a->challenges, m);
    return 0;
}

/* ---- life ---- */

static int open_doors(struct acme *a, struct text *why) {
    char tls[1024], http[1024];
    struct text t = text_of(tls, sizeof(tls)), h = text_of(http, sizeof(http));
    text_addf(&t, "%s/" ACME_TLS_DOOR, a->conf->acme.dir);
    text_addf(&h, "%s/" ACME_HTTP_DOOR, a->conf->acme.dir);
    int err = alpn_responder_open(&a->alpn, &a->challenges, &a->loop, ACME_ALPN_CONNS, tls, why);
    if (err == 0)
        err = http_responder_open(&a->http_responder, &a->challenges, a->conf->acme.http_redirects, &a->loop, ACME_HTTP_CONNS,
                                  http, why);
    return err;
}

static void begin_scheduler(struct acme *a) {
    const struct order_env env = {.loop = &a->loop,
                                  .cas = a->cas,
                                  .store = &a->store,
                                  .challenges = &a->challenges,
                                  .log = &a->child.log,
                                  .now = wall_now};
    scheduler_init(&a->scheduler, &env, a->jobs, a->conf->acme.ncerts);
    a->scheduler.random = rand_u64;
    a->scheduler.changed = on_changed;
    a->scheduler.ctx = a;
}

static int acme_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct acme *a = ctx;
    const struct conf_acme *conf = &a->conf->acme;
    struct text d = text_of(a->directory, sizeof(a->directory));
    text_addf(&d, "%s/run", conf->dir);
    sandbox->directory = a->directory;
    sandbox->other = conf->webroot;
    a->challenges.webroot = conf->webroot;
    a->challenges.supervisor = a->child.control;
    a->cas = calloc(conf->nissuers, sizeof(*a->cas));
    a->jobs = calloc(conf->ncerts, sizeof(*a->jobs));
    MUST(a->cas && a->jobs);
    int err = http_out_init(&a->http, &a->loop, ACME_HTTP, why);
    key_link_init(&a->keys, &a->loop, ACME_KEYS);
    for (uint16_t i = 0; i < conf->nissuers && err == 0; i++)
        err = ca_init(&a->cas[i], &conf->issuers[i], i, &a->http, &a->keys, why);
    for (uint16_t i = 0; i < conf->ncerts; i++)
        a->jobs[i] = (struct job){.cert = &conf->certs[i], .index = i};
    if (err == 0)
        err = store_init(&a->store, a->directory);
    if (err == 0)
        err = open_doors(a, why);
    if (err == 0)
        begin_scheduler(a);
    return err;
}

static void acme_finish(void *ctx) {
    struct acme *a = ctx;
    a->challenges.supervisor = -1; /* records that are there serve the next process */
    scheduler_stop(&a->scheduler);
    responder_close(&a->alpn.responder);
    responder_close(&a->http_responder.responder);
}

static struct acme acme_process = {.observer = -1};
static const struct role_message acme_messages[] = {{CONTROL_SERVE, serve}, {CONTROL_HOOKED, hear_hooked}, {0, NULL}};
static const struct role_link acme_links[] = {{ROLE_KEYMAKER, take_keymaker}, {ROLE_OBSERVER, take_observer}, {0, NULL}};
static const struct loop_handler acme_handlers[] = {{ACME_OBSERVER, on_observer}, {0, NULL}};
static const struct loop_timer acme_timers[] = {{0, alarm_clock_ring, 0}, {0, NULL, 0}};

const struct role_table acme_role = {
    .self = &acme_process,
    .child = &acme_process.child,
    .loop = &acme_process.loop,
    .conf = &acme_process.conf,
    .messages = acme_messages,
    .links = acme_links,
    .handlers = acme_handlers,
    .timers = acme_timers,
    .prepare = acme_prepare,
    .finish = acme_finish,
};
