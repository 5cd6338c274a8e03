#include "acme/acme.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "acme/alpn_responder.h"
#include "acme/far_challenges.h"
#include "acme/http_responder.h"
#include "acme/persist.h"
#include "acme/records.h"
#include "acme/reports.h"
#include "acme/scheduler.h"
#include "acme/staples.h"
#include "base/channel.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/rand.h"
#include "wire/control_creds.h"
#include "wire/managed.h"

#define HTTP_IDLE_MS 2000 /* the next order is due in days */

enum acme_kind { ACME_KEYS = ROLE_CONTROL + 1, ACME_OBSERVER, ACME_FLEET, ACME_HTTP, ACME_ALPN_CONNS, ACME_HTTP_CONNS };

struct acme {
    struct child child;
    struct conf *conf;
    struct loop loop;
    struct http_out http;
    struct key_link keys;
    struct share_link share;
    struct far_challenges far;
    struct far_accounts accounts;
    struct ca *cas;
    struct job *jobs;
    struct store store;
    struct challenges challenges;
    struct alpn_responder alpn;
    struct http_responder http_responder;
    struct scheduler scheduler;
    struct staples staples;
    char directory[1024]; /* our own */
    struct channel observer;
    struct reports reports; /* to it */
    uint32_t *account_crcs; /* of what it was sent last about each issuer's account */
};

static int64_t wall_now(void) {
    return (int64_t)(clock_wall_us() / 1000000);
}

/* ---- the observer ---- */

/* Certificates first, then accounts, by their places in the configuration. */
static bool send_status(const struct acme *a, const struct job *j) {
    const struct order *o = scheduler_order_of(&a->scheduler, j);
    const struct managed_status s = {
        .cert = j->index,
        .issuer = j->cert->issuers[j->issuer],
        .state = (uint8_t)(o ? o->state : ORDER_IDLE),
        .state_name = span_str(scheduler_state_of(&a->scheduler, j)),
        .from_issuer = j->from_issuer,
        .names_right = j->names_right,
        .alarm = j->inspected && job_alarms(j, wall_now()),
        .not_before = j->not_before,
        .not_after = j->not_after,
        .renew_at = job_renew_at(j),
        .next_at = scheduler_due(&a->scheduler, j),
        .installed_at = j->installed_s,
        .window = {j->window[0], j->window[1]},
        .failures = o && o->counted ? j->failures - 1 : j->failures,
        .issued = j->issued,
        .failed = j->failed,
        .error = span_str(j->error),
    };
    return managed_send_status(a->observer.fd, &s) != ERR_AGAIN;
}

static bool send_account(const struct acme *a, uint16_t issuer) {
    const struct ca *c = &a->cas[issuer];
    const struct managed_account account = {.issuer = issuer,
                                            .url = span_str(c->account),
                                            .thumbprint = span_str(c->thumbprint),
                                            .hash_prefix = span_str(c->hash_prefix),
                                            .domain = span_str(persist_domain(c))};
    return !c->account[0] || managed_send_account(a->observer.fd, &account) != ERR_AGAIN;
}

/* Without an observer nothing is kept for it: a new one gets all. */
static bool send_report(void *ctx, size_t item) {
    const struct acme *a = ctx;
    size_t ncerts = a->conf->acme.ncerts;
    return a->observer.fd < 0 || (item < ncerts ? send_status(a, &a->jobs[item]) : send_account(a, (uint16_t)(item - ncerts)));
}

/* Its certificates change a hundred times as often. */
static void notice_account(struct acme *a, uint16_t issuer) {
    const struct ca *c = &a->cas[issuer];
    char all[3 * CA_URL_MAX];
    struct text t = text_of(all, sizeof(all));
    text_addf(&t, "%s %s %s %s", c->account, c->thumbprint, c->hash_prefix, persist_domain(c));
    uint32_t crc = crc32c(t.p, t.len);
    if (crc != a->account_crcs[issuer])
        reports_mark(&a->reports, a->conf->acme.ncerts + issuer);
    a->account_crcs[issuer] = crc;
}

static void on_changed(void *ctx, const struct job *j) {
    struct acme *a = ctx;
    reports_mark(&a->reports, j->index);
    for (size_t i = 0; i < j->cert->nissuers; i++)
        notice_account(a, j->cert->issuers[i]);
}

static bool report_ocsp(void *ctx, const struct managed_ocsp *o) {
    const struct acme *a = ctx;
    return a->observer.fd < 0 || managed_send_ocsp(a->observer.fd, o) == 0; /* a new observer gets all again */
}

static void obey_command(struct acme *a, const struct managed_command *c) {
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
        log_msg(&a->child.log, LOG_LEVEL_WARNING, "%s: the command is not obeyed: another one is under way, or %s",
                is_issuer ? a->conf->acme.issuers[c->target].name : a->conf->acme.certs[c->target].id,
                is_issuer ? "an order at it, or there is no account, or it is one of a fleet"
                          : "there is no certificate by an issuer");
}

static bool on_observer(void *ctx, struct channel *channel, struct ipc_msg *m) {
    struct managed_command c;
    if (managed_read_command(m, &c) < 0)
        return false;
    obey_command(ctx, &c);
    return true;
}

static const struct channel_ops observer_ops = {.rules = managed_to_acme, .message = on_observer};

static int link_acme_to_observer(void *ctx, const struct control_peer *peer, int fd) {
    struct acme *a = ctx;
    int err = channel_open(&a->observer, fd);
    if (err < 0)
        return err;
    if (a->scheduler.running) /* else nothing is known yet */
        reports_mark_all(&a->reports);
    staples_report(&a->staples);
    return 0;
}

/* ---- the supervisor ---- */

static int link_acme_to_keymaker(void *ctx, const struct control_peer *peer, int fd) {
    struct acme *a = ctx;
    return key_link_take(&a->keys, fd);
}

/* The certificates in use. What cannot be read is said, and those before stay. */
static int take_stapled_creds(void *ctx, struct ipc_msg *m, struct text *why) {
    struct acme *a = ctx;
    struct control_creds c;
    int err = control_read_creds(m, &c);
    if (err == 0)
        err = staples_take(&a->staples, c.set, m->fds[0]);
    if (err < 0)
        log_msg(&a->child.log, LOG_LEVEL_ERROR, "the credential store cannot be used for OCSP: %s", err_text(err));
    return 0;
}

/* By its issuer: another one is wanted, if it is one of those that are ordered here. */
static void on_cert_revoked(void *ctx, const char *cert_file, int64_t not_before) {
    struct acme *a = ctx;
    for (size_t i = 0; i < a->conf->acme.ncerts; i++) {
        const char *dir = a->conf->acme.certs[i].dir;
        size_t len = strlen(dir);
        if (strncmp(cert_file, dir, len) == 0 && cert_file[len] == '/')
            scheduler_revoked(&a->scheduler, (uint16_t)i, not_before);
    }
}

static int link_acme_to_fleet(void *ctx, const struct control_peer *peer, int fd) {
    struct acme *a = ctx;
    return share_link_take(&a->share, fd);
}

/* Before validators come for what other instances offer. */
static void look_for_accounts(struct acme *a) {
    if (a->scheduler.running && a->share.up)
        far_accounts_look(&a->accounts);
}

/* The one of the generation before is gone: from now on this one orders, and validators come here. */
static int serve(void *ctx, struct ipc_msg *m, struct text *why) {
    struct acme *a = ctx;
    if (a->scheduler.running)
        return 0;
    bool orders = a->conf->acme.ncerts > 0;
    if (orders && (responder_serve(&a->alpn.responder) < 0 || responder_serve(&a->http_responder.responder) < 0)) {
        text_addf(why, "the sockets of validators cannot be put into place: %s", strerror(errno));
        role_stop(&acme_role);
        return ERR_SYSTEM;
    }
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        store_get_job(&a->store, &a->jobs[i], wall_now());
    for (size_t i = 0; i < a->conf->acme.nissuers; i++)
        store_get_account(&a->store, &a->cas[i]);
    scheduler_run(&a->scheduler);
    look_for_accounts(a);
    staples_run(&a->staples);
    return control_send(a->child.control, CONTROL_SERVING);
}

static int hear_hooked(void *ctx, struct ipc_msg *m, struct text *why) {
    struct acme *a = ctx;
    records_hear(&a->challenges, m);
    return 0;
}

/* ---- the fleet ---- */

/* What waits for the store need not, or has to. */
static void on_store(void *ctx) {
    struct acme *a = ctx;
    for (size_t i = 0; i < a->conf->acme.ncerts; i++)
        a->jobs[i].alone = a->jobs[i].held_ms = 0;
    if (a->share.up) /* a store that lost its data meanwhile may have come to the number that was seen last */
        follow_news(&a->scheduler.follow, span_of(NULL, 0));
    scheduler_look_soon(&a->scheduler);
    look_for_accounts(a);
}

static void on_shared_news(void *ctx, struct span name) {
    struct acme *a = ctx;
    follow_news(&a->scheduler.follow, name);
    if (name.len == 0 || span_has_prefix(name, "account/"))
        look_for_accounts(a);
}

static void on_accounts(void *ctx, uint64_t round) {
    struct acme *a = ctx;
    far_decide(&a->far, round);
}

static void on_far_answer(void *ctx) {
    struct acme *a = ctx;
    responder_wake(&a->alpn.responder);
    responder_wake(&a->http_responder.responder);
}

static void join_fleet(struct acme *a) {
    share_link_init(&a->share, &a->loop, ACME_FLEET);
    a->share.log = &a->child.log;
    a->share.changed = on_store;
    a->share.news = on_shared_news;
    a->far = (struct far_challenges){.share = &a->share,
                                     .acme = &a->conf->acme,
                                     .accounts = &a->accounts,
                                     .log = &a->child.log,
                                     .answered = on_far_answer,
                                     .ctx = a};
    far_accounts_init(&a->accounts, &a->scheduler);
    a->accounts.done = on_accounts;
    a->accounts.ctx = a;
    a->share.ctx = a;
    a->challenges.far = a->conf->store.socket ? &a->far : NULL;
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
                                  .acme = &a->conf->acme,
                                  .share = a->conf->store.socket ? &a->share : NULL,
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

static int begin_staples(struct acme *a) {
    char dir[1024 + sizeof(ACME_OCSP_DIR)];
    struct text d = text_of(dir, sizeof(dir));
    text_addf(&d, "%s/" ACME_OCSP_DIR, a->conf->acme.dir);
    a->staples = (struct staples){.conf = a->conf,
                                  .http = &a->http,
                                  .log = &a->child.log,
                                  .now = wall_now,
                                  .random = rand_u64,
                                  .report = report_ocsp,
                                  .revoked = on_cert_revoked,
                                  .ctx = a};
    return staples_init(&a->staples, &a->loop, dir);
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
    a->account_crcs = calloc(conf->nissuers + 1u, sizeof(*a->account_crcs));
    MUST(a->cas && a->jobs && a->account_crcs);
    reports_init(&a->reports, &a->loop, conf->ncerts + conf->nissuers, send_report, a);
    int err = http_out_init(&a->http, &a->loop, ACME_HTTP, HTTP_IDLE_MS, why);
    key_link_init(&a->keys, &a->loop, ACME_KEYS);
    join_fleet(a);
    channel_init(&a->observer, 1, &a->loop, ACME_OBSERVER, &observer_ops, a);
    for (uint16_t i = 0; i < conf->nissuers && err == 0; i++)
        err = ca_init(&a->cas[i], &conf->issuers[i], i, &a->http, &a->keys, &a->store, &a->child.log, why);
    for (uint16_t i = 0; i < conf->ncerts; i++)
        job_init(&a->jobs[i], conf, i);
    if (err == 0)
        err = store_init(&a->store, a->directory);
    if (err == 0)
        err = begin_staples(a);
    if (err == 0 && conf->ncerts)
        err = open_doors(a, why);
    if (err == 0)
        begin_scheduler(a);
    return err;
}

static void acme_finish(void *ctx) {
    struct acme *a = ctx;
    a->challenges.supervisor = -1; /* records that are there serve the next process */
    scheduler_stop(&a->scheduler);
    far_accounts_stop(&a->accounts);
    staples_stop(&a->staples);
    responder_close(&a->alpn.responder);
    responder_close(&a->http_responder.responder);
}

static struct acme acme_process = {.alpn.responder.fd = -1, .http_responder.responder.fd = -1};
static const struct role_message acme_messages[] = {
    {CONTROL_SERVE, serve}, {CONTROL_HOOKED, hear_hooked}, {CONTROL_CREDS, take_stapled_creds}, {0, NULL}};
static const struct role_link acme_links[] = {{ROLE_KEYMAKER, link_acme_to_keymaker},
                                              {ROLE_OBSERVER, link_acme_to_observer},
                                              {ROLE_FLEET, link_acme_to_fleet},
                                              {0, NULL}};
static const struct loop_timer acme_timers[] = {{0, alarm_clock_ring, 0}, {0, NULL, 0}};

const struct role_table acme_role = {
    .self = &acme_process,
    .child = &acme_process.child,
    .loop = &acme_process.loop,
    .conf = &acme_process.conf,
    .messages = acme_messages,
    .links = acme_links,
    .timers = acme_timers,
    .prepare = acme_prepare,
    .finish = acme_finish,
};
