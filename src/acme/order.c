#include "acme/order.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acme/chain_choice.h"
#include "acme/order_internal.h"
#include "acme/renewal.h"
#include "base/err.h"

#define STEP_MS      150000 /* of a state: several requests, when nonces are refused */
#define PAUSE_MIN_MS 500
#define PAUSE_MAX_MS 15000
#define RECORD_MS    3600000 /* the supervisor ends each program after ten minutes; a few may wait for their turn */
#define RETRY_MAX_S  300     /* of a Retry-After that is waited for within an attempt */
#define BLOCKED_MAX  (7 * INT64_C(86400)) /* of one that ends an attempt */

static const struct state {
    const char *name;
    uint32_t limit_ms;
    unsigned next; /* legal ones */
    void (*enter)(struct order *o);
    void (*late)(struct order *o); /* NULL: it has failed */
} states[ORDER_STATES];

/* ---- the machine ---- */

const char *order_state_name(enum order_state state) {
    return (unsigned)state < ORDER_STATES ? states[state].name : "unknown";
}

void order_goto(struct order *o, enum order_state next) {
    DEBUG_ASSERT(states[o->state].next & 1u << next);
    if (next != ORDER_IDLE && o->env->now() > o->until_s) {
        order_fail(o, FAULT_ISSUER, -1, "no certificate within %d minutes, the last step was %s", ATTEMPT_S / 60,
                   states[o->state].name);
        return;
    }
    o->state = next;
    log_msg(o->env->log, LOG_LEVEL_DEBUG, "%s: %s", o->job->cert->id, states[next].name);
    alarm_clock_set(&o->clock, states[next].limit_ms ? states[next].limit_ms : o->pause_ms);
    if (o->env->moved)
        o->env->moved(o->env->ctx, o->job);
    states[next].enter(o);
}

static void on_clock(void *ctx) {
    struct order *o = ctx;
    if (states[o->state].late) {
        states[o->state].late(o);
        return;
    }
    ca_cancel(&o->call);
    order_fail(o, FAULT_ISSUER, -1, "no answer in time (%s)", states[o->state].name);
}

static void release_order(struct order *o) {
    ca_cancel(&o->call);
    alarm_clock_stop(&o->clock);
    challenges_withdraw(o->env->challenges, o);
    free(o->chain);
    o->chain = NULL;
    o->job = NULL;
    o->state = ORDER_IDLE;
}

static void end_order(struct order *o, bool ok) {
    const struct order_env *env = o->env;
    struct job *j = o->job;
    release_order(o);
    if (store_put_job(env->store, j) < 0)
        log_msg(env->log, LOG_LEVEL_ERROR, "%s: how it stands cannot be written: %m", j->cert->id);
    env->ended(env->ctx, j, ok);
}

/* ---- failures ---- */

static void use_issuer(struct order *o, uint16_t place) {
    o->job->issuer = place;
    o->tried |= 1u << place;
    o->ca = &o->env->cas[o->job->cert->issuers[place]];
    o->began_again = o->no_replaces = o->account_new = false;
}

static bool next_issuer(struct order *o) {
    const struct conf_managed *c = o->job->cert;
    for (uint16_t i = 1; i < c->nissuers; i++) {
        uint16_t place = (uint16_t)((o->job->issuer + i) % c->nissuers);
        if (o->tried & 1u << place)
            continue;
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the issuer %s is tried next", c->id,
                o->env->cas[c->issuers[place]].issuer->name);
        use_issuer(o, place);
        return true;
    }
    return false;
}

void order_fail(struct order *o, enum fault fault, int64_t retry_after, const char *fmt, ...) {
    struct job *j = o->job;
    int64_t now = o->env->now();
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(j->error, sizeof(j->error), fmt, ap); /* cut is fine in a message */
    va_end(ap);
    log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: no certificate from %s: %s", j->cert->id, o->ca->issuer->name, j->error);
    ca_cancel(&o->call);
    challenges_withdraw(o->env->challenges, o);
    if (fault == FAULT_NAMES || j->cert->nissuers > 1) /* else the next attempt goes on with it */
        j->order[0] = 0;
    if (fault == FAULT_ISSUER && next_issuer(o)) {
        o->state = ORDER_IDLE;
        o->until_s = now + ATTEMPT_S;
        order_goto(o, ORDER_DIRECTORY);
        return;
    }
    j->issuer = 0; /* the first one has its chance again */
    int64_t pause = renewal_pause(j->failures, now, j->from_issuer ? j->not_after : 0);
    j->next_s = now + MAX(pause, MIN(retry_after, BLOCKED_MAX));
    j->failed++;
    end_order(o, false);
}

bool order_failed_by(struct order *o, const struct answer *a) {
    if (a->fault == FAULT_NONE)
        return false;
    order_fail(o, a->fault, a->retry_after, "%s", a->why);
    return true;
}

void order_lengthen_pause(struct order *o, int64_t retry_after) {
    uint32_t longer = o->pause_ms + o->pause_ms / 2;
    o->pause_ms = MIN(MAX(longer, PAUSE_MIN_MS), PAUSE_MAX_MS);
    if (retry_after >= 0)
        o->pause_ms = (uint32_t)MIN(MAX(retry_after, 1), RETRY_MAX_S) * 1000;
}

bool order_take_url(const json_t *json, const char *key, char to[static JOB_URL_MAX]) {
    const char *url = json_string_value(json_object_get(json, key));
    if (!url || strncmp(url, "https://", 8) != 0 || strlen(url) >= JOB_URL_MAX)
        return false;
    memcpy(to, url, strlen(url) + 1);
    return true;
}

void order_fetch(struct order *o, const char *url, answer_fn fn) {
    ca_post(o->ca, &o->call, KEYMAKING_FETCH, o->job->index, CA_URLS, url, span_of(NULL, 0), fn, o);
}

/* ---- the directory and the account ---- */

static void on_directory(void *ctx, const struct answer *a) {
    if (!order_failed_by(ctx, a))
        order_goto(ctx, ORDER_THUMBPRINT);
}

static void enter_directory(struct order *o) {
    ca_directory(o->ca, &o->call, on_directory, o);
}

static void on_thumbprint(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    struct text t = text_of(o->ca->thumbprint, sizeof(o->ca->thumbprint));
    text_add_span(&t, a->body);
    order_goto(o, ORDER_ACCOUNT);
}

static void enter_thumbprint(struct order *o) {
    if (o->ca->thumbprint[0])
        order_goto(o, ORDER_ACCOUNT);
    else
        ca_keymaker(o->ca, &o->call, KEYMAKING_THUMBPRINT, o->job->index, span_of(NULL, 0), on_thumbprint, o);
}

static void on_account(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    if (!a->location[0]) {
        order_fail(o, FAULT_ISSUER, -1, "its answer to newAccount names no account");
        return;
    }
    struct text t = text_of(o->ca->account, sizeof(o->ca->account));
    text_add(&t, a->location);
    log_msg(o->env->log, LOG_LEVEL_INFO, "account %s at the issuer %s", o->ca->account, o->ca->issuer->name);
    if (store_put_account(o->env->store, o->ca) < 0) /* it is found again by its key */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "the account cannot be written: %m");
    order_goto(o, o->job->order[0] ? ORDER_READ : ORDER_NEW);
}

static void enter_account(struct order *o) {
    if (o->ca->account[0]) {
        order_goto(o, o->job->order[0] ? ORDER_READ : ORDER_NEW);
        return;
    }
    o->account_new = true;
    ca_post(o->ca, &o->call, KEYMAKING_ACCOUNT, o->job->index, CA_NEW_ACCOUNT, "", span_of(NULL, 0), on_account, o);
}

/* ---- the order ---- */

static void take_order(struct order *o, const struct answer *a);

static void on_new(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (strcmp(a->problem, "accountDoesNotExist") == 0 && !o->account_new) {
        o->ca->account[0] = 0;
        order_goto(o, ORDER_ACCOUNT);
        return;
    }
    if ((a->status == 409 || strcmp(a->problem, "alreadyReplaced") == 0) && !o->no_replaces) {
        o->no_replaces = true;
        order_goto(o, ORDER_NEW);
        return;
    }
    if (order_failed_by(o, a))
        return;
    if (!a->location[0] || strlen(a->location) >= JOB_URL_MAX) {
        order_fail(o, FAULT_ISSUER, -1, "its answer to newOrder names no order");
        return;
    }
    memcpy(o->job->order, a->location, strlen(a->location) + 1);
    if (store_put_job(o->env->store, o->job) < 0) /* a crash would make another order, no more */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the order cannot be written: %m", o->job->cert->id);
    take_order(o, a);
}

static void enter_new(struct order *o) {
    uint8_t data[512];
    size_t len = 0;
    const struct conf_issuer *issuer = o->ca->issuer;
    bool offered = issuer->profile[0] && ca_has_profile(o->ca, issuer->profile);
    bool replaces = o->job->ari[0] && o->job->from_issuer && !o->no_replaces && o->ca->urls[CA_RENEWAL_INFO][0];
    if (issuer->profile[0] && !offered && issuer->profile_required) {
        order_fail(o, FAULT_ISSUER, -1, "it does not offer the profile \"%s\"", issuer->profile);
        return;
    }
    const struct keymaking_order q = {.profile = span_str(offered ? issuer->profile : ""),
                                      .replaces = span_str(replaces ? o->job->ari : "")};
    if (keymaking_pack_order(&q, data, sizeof(data), &len) < 0)
        order_fail(o, FAULT_OURS, -1, "the profile's name is too long");
    else
        ca_post(o->ca, &o->call, KEYMAKING_ORDER, o->job->index, CA_NEW_ORDER, "", span_of(data, len), on_new, o);
}

/* The order of an earlier attempt, or of before a crash, may be gone: then another one is made, once. */
static void begin_again(struct order *o, const char *why) {
    o->job->order[0] = 0;
    if (o->began_again) {
        order_fail(o, FAULT_ISSUER, -1, "%s", why);
        return;
    }
    o->began_again = true;
    order_goto(o, ORDER_NEW);
}

static void fail_invalid(struct order *o, const json_t *order) {
    const json_t *error = json_object_get(order, "error");
    const char *problem = answer_problem(json_string_value(json_object_get(error, "type")));
    const char *detail = json_string_value(json_object_get(error, "detail"));
    enum fault fault = problem[0] ? answer_fault(problem, 0) : FAULT_NAMES;
    if (o->state == ORDER_READ && o->nauthz == 0) { /* of an earlier attempt */
        begin_again(o, "the order is invalid");
        return;
    }
    o->job->order[0] = 0;
    order_fail(o, fault, -1, "the order is invalid%s%s%s%.300s", problem[0] ? ", " : "", problem, detail ? ": " : "",
               detail ? detail : "");
}

/* Where an order stands decides what comes next (RFC 8555 7.1.6). */
static void take_order(struct order *o, const struct answer *a) {
    const char *status = json_string_value(json_object_get(a->json, "status"));
    if (!status || !order_take_url(a->json, "finalize", o->finalize)) {
        order_fail(o, FAULT_ISSUER, -1, "its answer is no order");
    } else if (strcmp(status, "pending") == 0) {
        if (order_take_authzs(o, a->json))
            order_goto(o, ORDER_AUTHZ);
    } else if (strcmp(status, "ready") == 0) {
        order_goto(o, ORDER_FINALIZE);
    } else if (strcmp(status, "processing") == 0) {
        order_lengthen_pause(o, a->retry_after);
        order_goto(o, ORDER_POLL);
    } else if (strcmp(status, "valid") == 0 && order_take_url(a->json, "certificate", o->url)) {
        order_goto(o, ORDER_DOWNLOAD);
    } else if (strcmp(status, "invalid") == 0) {
        fail_invalid(o, a->json);
    } else {
        order_fail(o, FAULT_ISSUER, -1, "its order has the state \"%.32s\"", status);
    }
}

static void on_read(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (a->fault == FAULT_ISSUER && a->status >= 400 && a->status < 500 && strcmp(a->problem, "rateLimited") != 0)
        begin_again(o, a->why);
    else if (!order_failed_by(o, a))
        take_order(o, a);
}

static void enter_read(struct order *o) {
    order_fetch(o, o->job->order, on_read);
}

static void leave_pause(struct order *o) {
    order_goto(o, ORDER_CHECK);
}

static void leave_poll(struct order *o) {
    order_goto(o, ORDER_READ);
}

static void enter_waiting(struct order *o) {
    (void)o; /* the clock is set */
}

static void on_finalize(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (!order_failed_by(o, a))
        take_order(o, a);
}

static void enter_finalize(struct order *o) {
    ca_post(o->ca, &o->call, KEYMAKING_FINALIZE, o->job->index, CA_URLS, o->finalize, span_of(NULL, 0), on_finalize, o);
}

/* ---- the certificate ---- */

static bool keep_chain(struct order *o, struct span pem) {
    char *copy = pem.len && pem.len <= KEYMAKING_CHAIN_MAX ? malloc(pem.len) : NULL;
    if (!copy)
        return false;
    memcpy(copy, pem.p, pem.len);
    free(o->chain);
    o->chain = copy;
    o->chain_len = pem.len;
    return true;
}

/* The first chain is taken when no other one is the preferred. */
static void choose_chain(struct order *o, struct span pem) {
    const char *wanted = o->ca->issuer->preferred_chain;
    bool fits = !wanted[0] || chain_is_by(pem, wanted);
    if ((fits || !o->chain) && !keep_chain(o, pem))
        order_fail(o, FAULT_ISSUER, -1, "its chain has %zu bytes, expected 1 to %d", pem.len, KEYMAKING_CHAIN_MAX);
    else
        order_goto(o, fits || o->alternate == o->nalternates ? ORDER_INSTALL : ORDER_ALTERNATE);
}

static void on_download(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    o->alternate = 0;
    o->nalternates = a->nalternates;
    if (a->nalternates)
        memcpy(o->alternates, a->alternates, a->nalternates * sizeof(o->alternates[0]));
    choose_chain(o, a->body);
}

static void enter_download(struct order *o) {
    free(o->chain);
    o->chain = NULL;
    order_fetch(o, o->url, on_download);
}

static void on_alternate(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    choose_chain(o, a->fault == FAULT_NONE ? a->body : span_of(o->chain, o->chain_len)); /* the first one is there */
}

static void enter_alternate(struct order *o) {
    order_fetch(o, o->alternates[o->alternate++], on_alternate);
}

static void on_install(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    struct job *j = o->job;
    struct keymaking_cert c;
    if (a->fault != FAULT_NONE || keymaking_unpack_cert(a->body, &c) < 0) {
        enum fault fault = a->fault && a->status ? FAULT_ISSUER : FAULT_OURS; /* what it refuses is the chain */
        order_fail(o, fault, -1, "%s", a->fault ? a->why : "the keymaker's answer is malformed");
        return;
    }
    job_take_cert(j, &c);
    j->order[0] = j->error[0] = 0;
    j->failures = 0;
    j->next_s = 0;
    j->wanted = false;
    j->issued++;
    j->installed_s = o->env->now();
    log_msg(o->env->log, LOG_LEVEL_INFO, "%s: a certificate from %s is installed", j->cert->id, o->ca->issuer->name);
    end_order(o, true);
}

static void enter_install(struct order *o) {
    ca_keymaker(o->ca, &o->call, KEYMAKING_INSTALL, o->job->index, span_of(o->chain, o->chain_len), on_install, o);
}

static void enter_idle(struct order *o) {
    (void)o;
}

/* ---- the table ---- */

#define TO(state) (1u << ORDER_##state)
#define STANDS    (TO(AUTHZ) | TO(FINALIZE) | TO(POLL) | TO(DOWNLOAD)) /* where an order may stand */

static const struct state states[ORDER_STATES] = {
    [ORDER_IDLE] = {"idle", STEP_MS, TO(DIRECTORY), enter_idle, NULL},
    [ORDER_DIRECTORY] = {"directory", STEP_MS, TO(THUMBPRINT), enter_directory, NULL},
    [ORDER_THUMBPRINT] = {"account key", STEP_MS, TO(ACCOUNT), enter_thumbprint, NULL},
    [ORDER_ACCOUNT] = {"account", STEP_MS, TO(NEW) | TO(READ), enter_account, NULL},
    [ORDER_NEW] = {"new order", STEP_MS, TO(NEW) | TO(ACCOUNT) | STANDS, enter_new, NULL},
    [ORDER_READ] = {"order", STEP_MS, TO(NEW) | STANDS, enter_read, NULL},
    [ORDER_AUTHZ] = {"authorization", STEP_MS, TO(AUTHZ) | TO(RECORD) | TO(TELL) | TO(PAUSE) | TO(POLL), enter_authz, NULL},
    [ORDER_RECORD] = {"record", RECORD_MS, TO(TELL), enter_record, NULL},
    [ORDER_TELL] = {"challenge", STEP_MS, TO(AUTHZ), enter_tell, NULL},
    [ORDER_PAUSE] = {"validation", 0, TO(CHECK), enter_waiting, leave_pause},
    [ORDER_CHECK] = {"validation check", STEP_MS, TO(CHECK) | TO(PAUSE) | TO(READ), enter_check, NULL},
    [ORDER_FINALIZE] = {"finalize", STEP_MS, STANDS, enter_finalize, NULL},
    [ORDER_POLL] = {"issuance", 0, TO(READ), enter_waiting, leave_poll},
    [ORDER_DOWNLOAD] = {"download", STEP_MS, TO(ALTERNATE) | TO(INSTALL), enter_download, NULL},
    [ORDER_ALTERNATE] = {"alternate chain", STEP_MS, TO(ALTERNATE) | TO(INSTALL), enter_alternate, NULL},
    [ORDER_INSTALL] = {"install", STEP_MS, 0, enter_install, NULL},
};

void order_begin(struct order *o, const struct order_env *env, struct job *j) {
    *o = (struct order){.env = env, .job = j, .clock = {.loop = env->loop, .fn = on_clock, .ctx = o}};
    o->until_s = env->now() + ATTEMPT_S;
    use_issuer(o, j->issuer);
    j->failures++;
    j->error[0] = 0;
    j->next_s = env->now() + renewal_pause(j->failures, env->now(), j->from_issuer ? j->not_after : 0);
    if (store_put_job(env->store, j) < 0) /* a crash loop would order without a limit */
        order_fail(o, FAULT_OURS, -1, "the attempt cannot be written down: %s", strerror(errno));
    else
        order_goto(o, ORDER_DIRECTORY);
}

void order_abandon(struct order *o) {
    if (o->job)
        release_order(o);
}
