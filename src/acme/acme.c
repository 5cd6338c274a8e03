#include "acme/acme.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "acme/alpn_responder.h"
#include "acme/http_responder.h"
#include "acme/scheduler.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "conf/snapshot.h"
#include "process/child.h"
#include "wire/managed.h"

enum acme_kind { ACME_CONTROL, ACME_KEYS, ACME_OBSERVER, ACME_HTTP, ACME_ALPN_CONNS, ACME_HTTP_CONNS };

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
    int observer; /* -1 = none */
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
    (void)key;
    (void)gen;
    (void)events;
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

static void take_observer(struct acme *a, int fd) {
    drop_observer(a);
    a->observer = fd;
    if (loop_watch(&a->loop, fd, EPOLLIN, ACME_OBSERVER, 0, 0) < 0) {
        drop_observer(a);
        return;
    }
    tell_accounts(a);
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        tell_status(a, &a->jobs[i]);
}

/* ---- the supervisor ---- */

static void take_link(struct acme *a, struct ipc_msg *m) {
    struct control_peer peer;
    if (control_read_peer(m, &peer) < 0 || (peer.role != ROLE_KEYMAKER && peer.role != ROLE_OBSERVER))
        return;
    m->nfds = 0;
    if (peer.role == ROLE_KEYMAKER)
        key_link_take(&a->keys, m->fds[0]);
    else
        take_observer(a, m->fds[0]);
}

/* The one of the generation before is gone: from now on this one orders, and validators come here. */
static void serve(struct acme *a) {
    if (a->scheduler.running)
        return;
    if (responder_serve(&a->alpn.responder) < 0 || responder_serve(&a->http_responder.responder) < 0) {
        log_msg(&a->child.log, LOG_LEVEL_ERROR, "the sockets of validators cannot be put into place: %m");
        a->loop.stop = true;
        return;
    }
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        store_get_job(&a->store, &a->jobs[i], wall_now());
    for (size_t i = 0; i < a->conf->acme.nissuers; i++)
        store_get_account(&a->store, &a->cas[i]);
    scheduler_run(&a->scheduler);
    if (control_send(a->child.control, CONTROL_SERVING) < 0)
        a->loop.stop = true;
}

static void acme_on_message(struct acme *a, struct ipc_msg *m) {
    switch (m->type) {
    case CONTROL_LINK:
        take_link(a, m);
        break;
    case CONTROL_GO:
        if (control_send(a->child.control, CONTROL_READY) < 0)
            a->loop.stop = true;
        break;
    case CONTROL_SERVE:
        serve(a);
        break;
    case CONTROL_STOP:
        a->loop.stop = true;
        break;
    default:
        break; /* for other roles */
    }
    ipc_msg_close(m);
}

static void on_control(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct acme *a = ctx;
    struct ipc_msg m;
    int err = 0;
    (void)key;
    (void)gen;
    (void)events;
    enum step step = child_recv(&a->child, &m, &err);
    if (step == STEP_DONE)
        acme_on_message(a, &m);
    else if (step != STEP_WANT_READ)
        a->loop.stop = true;
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

/* All that takes other rights than those it keeps. */
static int acme_prepare(struct acme *a, struct text *why) {
    const struct conf_acme *conf = &a->conf->acme;
    char directory[1024];
    struct text d = text_of(directory, sizeof(directory));
    text_addf(&d, "%s/run", conf->dir);
    a->challenges.webroot = conf->webroot;
    a->cas = calloc(conf->nissuers, sizeof(*a->cas));
    a->jobs = calloc(conf->ncerts, sizeof(*a->jobs));
    MUST(a->cas && a->jobs);
    int err = loop_init(&a->loop);
    loop_on_timer(&a->loop, 0, alarm_clock_ring, NULL);
    if (err == 0)
        err = http_out_init(&a->http, &a->loop, ACME_HTTP, why);
    key_link_init(&a->keys, &a->loop, ACME_KEYS);
    for (uint16_t i = 0; i < conf->nissuers && err == 0; i++)
        err = ca_init(&a->cas[i], &conf->issuers[i], i, &a->http, &a->keys, why);
    for (uint16_t i = 0; i < conf->ncerts; i++)
        a->jobs[i] = (struct job){.cert = &conf->certs[i], .index = i};
    if (err == 0)
        err = store_init(&a->store, directory);
    return err == 0 ? open_doors(a, why) : err;
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

int acme_run(int control) {
    static struct acme a = {.observer = -1};
    char line[1024];
    struct text why = text_of(line, sizeof(line));
    umask(077);
    if (child_begin(&a.child, control) < 0)
        return 1;
    int err = snapshot_read(a.child.snapshot_fd, &a.conf);
    close(a.child.snapshot_fd);
    if (err == 0)
        err = acme_prepare(&a, &why);
    if (err < 0) {
        child_refuse(&a.child, "acme: cannot start: %s", why.len ? line : err_text(err));
        return 1;
    }
    char directory[1024];
    struct text d = text_of(directory, sizeof(directory));
    text_addf(&d, "%s/run", a.conf->acme.dir);
    if (child_enter_sandbox(&a.child,
                            &(struct sandbox){.user = a.conf->user, .directory = directory, .other = a.conf->acme.webroot}) < 0)
        return 1;
    a.child.log.level = a.conf->log_level;
    begin_scheduler(&a);
    loop_on(&a.loop, ACME_CONTROL, on_control, &a);
    loop_on(&a.loop, ACME_OBSERVER, on_observer, &a);
    if (loop_watch(&a.loop, control, EPOLLIN, ACME_CONTROL, 0, 0) < 0 || loop_run(&a.loop) < 0)
        return 1;
    scheduler_stop(&a.scheduler);
    responder_close(&a.alpn.responder);
    responder_close(&a.http_responder.responder);
    return 0;
}
