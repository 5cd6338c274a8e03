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
#define ATTEMPT_MS   3600000
#define RECORD_MS    3600000 /* the supervisor ends each program after ten minutes; a few may wait for their turn */
#define RETRY_MAX_S  300     /* of a Retry-After that is waited for within an attempt */

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
    if (!order_shared_holds(o))
        return;
    if (next != ORDER_IDLE && o->env->loop->now_ms > o->until_ms) {
        order_fail(o, FAULT_ISSUER, -1, "no certificate within %d minutes, the last step was %s", ATTEMPT_MS / 60000,
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

static void on_order_clock(void *ctx) {
    struct order *o = ctx;
    if (states[o->state].late) {
        states[o->state].late(o);
        return;
    }
    ca_cancel(&o->call);
    order_fail(o, FAULT_ISSUER, -1, "no answer in time (%s)", states[o->state].name);
}

void order_release(struct order *o) {
    ca_cancel(&o->call);
    order_shared_release(o);
    alarm_clock_stop(&o->clock);
    challenges_withdraw(o->env->challenges, o);
    free(o->chain);
    o->chain = NULL;
    o->ca->attempts--;
    o->job = NULL;
    o->state = ORDER_IDLE;
}

static void end_order(struct order *o, bool ok) {
    const struct order_env *env = o->env;
    struct job *j = o->job;
    order_shared_put_outcome(o);
    order_release(o);
    if (store_put_job(env->store, j) < 0)
        log_msg(env->log, LOG_LEVEL_ERROR, "%s: how it stands cannot be written: %m", j->cert->id);
    env->ended(env->ctx, j, ok);
}

/* ---- failures ---- */

void order_use_issuer(struct order *o, uint16_t place) {
    o->job->issuer = place;
    o->tried |= 1u << place;
    if (o->ca)
        o->ca->attempts--;
    o->ca = &o->env->cas[o->job->cert->issuers[place]];
    o->ca->attempts++;
    o->began_again = o->no_replaces = o->account_new = false;
    o->nauthz = o->at = 0; /* of its order nothing has been seen */
    o->asked = o->pages = 0;
    o->listed = o->looked = 0;
    o->pause_ms = 0;
}

void order_drop(struct order *o) {
    o->job->orders[o->job->issuer][0] = 0;
}

/* One that fails, too, is not asked by all that another one has failed. */
static bool is_left_alone(const struct order *o, const struct ca *ca) {
    const struct ca_backoff *b = &ca->backoff;
    return !job_is_urgent(o->job, o->env->now()) &&
           (ca_backoff_is_on(b, o->env->loop->now_ms) || (ca_backoff_tries_one(b) && ca->attempts));
}

static bool next_issuer(struct order *o) {
    const struct conf_managed *c = o->job->cert;
    for (uint16_t i = 1; i < c->nissuers; i++) {
        uint16_t place = (uint16_t)((o->job->issuer + i) % c->nissuers);
        bool blocked = o->job->blocked_s[place] > o->env->now();
        if (o->tried & 1u << place || blocked || is_left_alone(o, &o->env->cas[c->issuers[place]]))
            continue;
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the issuer %s is tried next", c->id,
                o->env->cas[c->issuers[place]].issuer->name);
        order_use_issuer(o, place);
        return true;
    }
    return false;
}

void order_allow_time(struct order *o) {
    o->until_ms = o->env->loop->now_ms + ATTEMPT_MS;
}

/* Whole characters, as it is written as JSON; and text, as it is shown on terminals. */
static void PRINTF_LIKE(2, 0) keep_error(struct job *j, const char *fmt, va_list ap) {
    struct text t = text_of(j->error, sizeof(j->error));
    int n = vsnprintf(j->error, sizeof(j->error), fmt, ap);
    t.cut = n >= (int)sizeof(j->error);
    t.len = t.cut ? sizeof(j->error) - 1 : (size_t)MAX(n, 0);
    text_mark_cut(&t);
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)j->error[i] < ' ' || j->error[i] == 0x7f)
            j->error[i] = ' ';
}

/* Before newOrder all is about the account; newOrder itself may be refused for what one certificate asks for. */
static bool would_meet_all(const struct order *o, enum fault fault) {
    return fault == FAULT_ISSUER || (fault == FAULT_COMMON && o->state <= ORDER_NEW) ||
           (fault == FAULT_ANSWER && o->state < ORDER_NEW);
}

void order_fail(struct order *o, enum fault fault, int64_t retry_after, const char *fmt, ...) {
    struct job *j = o->job;
    int64_t now = o->env->now(), not_after = j->from_issuer ? j->not_after : 0;
    va_list ap;
    va_start(ap, fmt);
    keep_error(j, fmt, ap);
    va_end(ap);
    log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: no certificate from %s: %s", j->cert->id, o->ca->issuer->name, j->error);
    ca_cancel(&o->call);
    challenges_withdraw(o->env->challenges, o);
    bool useless = fault == FAULT_ANSWER || fault == FAULT_COMMON, of_issuer = useless || fault == FAULT_ISSUER;
    if (retry_after > 0)
        j->blocked_s[j->issuer] = now + renewal_retry_after(retry_after, now, not_after);
    if (would_meet_all(o, fault))
        ca_backoff_begin(&o->ca->backoff, o->env->loop->now_ms, retry_after);
    else if (fault != FAULT_OURS)
        ca_backoff_end(&o->ca->backoff);
    if (fault == FAULT_NAMES || useless)
        order_drop(o); /* else it is gone on with when this issuer is asked again */
    if (of_issuer && next_issuer(o)) {
        o->state = ORDER_IDLE;
        order_allow_time(o);
        order_goto(o, o->shared.names.fence ? ORDER_TAKE_ACCOUNT : ORDER_DIRECTORY);
        return;
    }
    j->issuer = 0; /* the first one has its chance again, unless another one has an order */
    while (j->issuer + 1u < j->cert->nissuers && !j->orders[j->issuer][0])
        j->issuer++;
    if (!j->orders[j->issuer][0])
        j->issuer = 0;
    int64_t pause = renewal_pause(j->failures, now, not_after);
    j->next_s = MAX(now + pause, job_open_at(j));
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

/* Nothing that JSON would make longer: all orders of a certificate have to have room on the disk. */
bool order_take_url(const char *url, char to[static JOB_URL_MAX]) {
    size_t n = url ? strlen(url) : 0;
    if (n >= JOB_URL_MAX || n < 8 || strncmp(url, "https://", 8) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (url[i] <= ' ' || url[i] == 0x7f || url[i] == '"' || url[i] == '\\')
            return false;
    memcpy(to, url, n + 1);
    return true;
}

void order_fetch(struct order *o, const char *url, answer_fn fn) {
    ca_post(o->ca, &o->call, KEYMAKING_FETCH, o->job->index, CA_URLS, url, span_of(NULL, 0), fn, o);
}

/* ---- the directory and the account ---- */

static void on_order_directory(void *ctx, const struct answer *a) {
    if (!order_failed_by(ctx, a))
        order_goto(ctx, ORDER_THUMBPRINT);
}

static void enter_directory(struct order *o) {
    ca_directory(o->ca, &o->call, on_order_directory, o);
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

static enum order_state after_account(const struct order *o) {
    const struct job *j = o->job;
    return j->orders[j->issuer][0] ? ORDER_READ
           : j->unsure[j->issuer]  ? ORDER_LIST
           : o->shared.names.fence ? ORDER_CONFIRM
                                   : ORDER_NEW;
}

void order_after_account(struct order *o) {
    order_goto(o, after_account(o));
}

static void on_account(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    if (!order_take_url(a->location, o->ca->account)) {
        order_fail(o, FAULT_ANSWER, -1, "its answer to newAccount names no account by an https URL");
        return;
    }
    memcpy(o->ca->account_key, o->ca->thumbprint, sizeof(o->ca->account_key));
    log_msg(o->env->log, LOG_LEVEL_INFO, "account %s at the issuer %s", o->ca->account, o->ca->issuer->name);
    if (store_put_account(o->env->store, o->ca) < 0) /* it is found again by its key */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "the account cannot be written: %m");
    order_goto(o, o->shared.account.fence ? ORDER_SHARE_ACCOUNT : after_account(o));
}

/* Its key was lost, or an old copy has come back: the account is nobody's here. The key that is here has one, or gets one. */
static void drop_foreign_account(struct order *o) {
    struct ca *c = o->ca;
    if (!c->account[0] || !c->account_key[0] || strcmp(c->account_key, c->thumbprint) == 0)
        return;
    log_msg(o->env->log, LOG_LEVEL_WARNING,
            "the key of the account %s at the issuer %s is not here any more: that of another one is used", c->account,
            c->issuer->name);
    c->account[0] = c->account_key[0] = 0;
}

static void enter_account(struct order *o) {
    drop_foreign_account(o);
    if (o->ca->account[0]) {
        order_goto(o, o->shared.account.fence ? ORDER_SHARE_ACCOUNT : after_account(o));
        return;
    }
    o->account_new = true;
    ca_post(o->ca, &o->call, KEYMAKING_ACCOUNT, o->job->index, CA_NEW_ACCOUNT, "", span_of(NULL, 0), on_account, o);
}

/* ---- the order ---- */

static void take_order(struct order *o, const struct answer *a);

static const char *member_text(const json_t *json, const char *key) {
    return json_string_value(json_object_get(json, key));
}

void order_write(struct order *o) {
    if (store_put_job(o->env->store, o->job) < 0) /* after a crash it is looked for */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the order cannot be written: %m", o->job->cert->id);
    order_shared_put_job(o);
}

static void on_new(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (a->status) /* else it may have been made */
        o->job->unsure[o->job->issuer] = false;
    if (strcmp(a->problem, "badNonce") == 0 && o->asked < CA_TRIES_MAX) {
        order_after_account(o);
        return;
    }
    if (strcmp(a->problem, "accountDoesNotExist") == 0 && !o->account_new) {
        o->ca->account[0] = 0;
        order_goto(o, ORDER_ACCOUNT);
        return;
    }
    if (o->replaces && a->status / 100 == 4 && a->fault != FAULT_ISSUER) { /* whatever it is called, that may be the reason */
        o->no_replaces = true;
        order_after_account(o);
        return;
    }
    if (order_failed_by(o, a))
        return;
    if (!order_take_url(a->location, o->job->orders[o->job->issuer])) {
        order_fail(o, FAULT_ANSWER, -1, "its answer to newOrder names no order by an https URL");
        return;
    }
    order_write(o);
    take_order(o, a);
}

static void enter_new(struct order *o) {
    uint8_t data[512];
    size_t len = 0;
    const struct conf_issuer *issuer = o->ca->issuer;
    bool offered = issuer->profile[0] && ca_has_profile(o->ca, issuer->profile);
    const char *issued_by = o->job->issued_by;
    bool own = issued_by[0] ? strcmp(issued_by, issuer->name) == 0 : o->job->cert->nissuers == 1; /* RFC 9773 5 */
    o->replaces = own && o->job->ari[0] && o->job->from_issuer && !o->no_replaces && o->ca->urls[CA_RENEWAL_INFO][0];
    if (issuer->profile[0] && !offered && issuer->profile_required) {
        order_fail(o, FAULT_COMMON, -1, "it does not offer the profile \"%s\"", issuer->profile);
        return;
    }
    const struct keymaking_order q = {.profile = span_str(offered ? issuer->profile : ""),
                                      .replaces = span_str(o->replaces ? o->job->ari : "")};
    if (keymaking_pack_order(&q, data, sizeof(data), &len) < 0) {
        order_fail(o, FAULT_OURS, -1, "the profile's name is too long");
        return;
    }
    o->asked++;
    o->job->unsure[o->job->issuer] = true;
    if (store_put_job(o->env->store, o->job) < 0) /* a crash would make another order, no more */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: that it is ordered cannot be written: %m", o->job->cert->id);
    ca_post(o->ca, &o->call, KEYMAKING_ORDER, o->job->index, CA_NEW_ORDER, "", span_of(data, len), on_new, o);
}

/* The order of an earlier attempt, or of before a crash, may be gone: then another one is made, once. */
static void begin_again(struct order *o, const char *why) {
    order_drop(o);
    if (o->began_again) {
        order_fail(o, FAULT_ANSWER, -1, "%s", why);
        return;
    }
    o->began_again = true;
    order_after_account(o);
}

static void fail_invalid(struct order *o, const json_t *order) {
    const json_t *error = json_object_get(order, "error");
    enum fault fault = answer_problem(error)[0] ? answer_fault(error, 0) : FAULT_NAMES;
    char why[JOB_TEXT_MAX];
    struct text t = text_of(why, sizeof(why));
    if (o->state == ORDER_READ && o->nauthz == 0) { /* of an earlier attempt */
        begin_again(o, "the order is invalid");
        return;
    }
    order_drop(o);
    answer_add_problem(&t, error);
    order_fail(o, fault, -1, "the order is invalid%s", why);
}

static void wait_for_order(struct order *o, int64_t retry_after) {
    order_lengthen_pause(o, retry_after);
    order_goto(o, ORDER_POLL);
}

/* Where an order stands decides what comes next (RFC 8555 7.1.6). */
static void take_order(struct order *o, const struct answer *a) {
    const char *status = json_string_value(json_object_get(a->json, "status"));
    if (!status || !order_take_url(member_text(a->json, "finalize"), o->finalize)) {
        order_fail(o, FAULT_ANSWER, -1, "its answer is no order");
        return;
    }
    if (o->state == ORDER_NEW || o->nauthz == 0) /* the first look at it: the issuer takes orders */
        ca_backoff_end(&o->ca->backoff);
    if (strcmp(status, "pending") == 0) {
        if (order_take_authzs(o, a->json))
            order_goto(o, ORDER_AUTHZ);
    } else if (strcmp(status, "ready") == 0) {
        order_goto(o, o->shared.names.fence ? ORDER_SHARE_KEY : ORDER_FINALIZE);
    } else if (strcmp(status, "processing") == 0) {
        wait_for_order(o, a->retry_after);
    } else if (strcmp(status, "valid") == 0 && order_take_url(member_text(a->json, "certificate"), o->url)) {
        order_goto(o, ORDER_DOWNLOAD);
    } else if (strcmp(status, "invalid") == 0) {
        fail_invalid(o, a->json);
    } else {
        order_fail(o, FAULT_ANSWER, -1, "its order has the state \"%.32s\"", status);
    }
}

static void on_order_read(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (a->fault == FAULT_ANSWER || a->fault == FAULT_COMMON)
        begin_again(o, a->why);
    else if (!order_failed_by(o, a))
        take_order(o, a);
}

static void enter_read(struct order *o) {
    order_fetch(o, o->job->orders[o->job->issuer], on_order_read);
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

/* An issuer of several machines may answer by one that has not heard of the step before: the order is read again, after a
 * pause, and not finalized again at once. */
static void on_finalize(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    const char *status = member_text(a->json, "status");
    bool refused = a->fault == FAULT_ANSWER && strcmp(a->problem, "orderNotReady") == 0;
    if (refused || (a->fault == FAULT_NONE && status && strcmp(status, "ready") == 0)) {
        log_msg(o->env->log, LOG_LEVEL_DEBUG, "%s: the issuer does not know yet how far its order is", o->job->cert->id);
        wait_for_order(o, a->retry_after);
    } else if (!order_failed_by(o, a)) {
        take_order(o, a);
    }
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
        order_fail(o, FAULT_ANSWER, -1, "its chain has %zu bytes, expected 1 to %d", pem.len, KEYMAKING_CHAIN_MAX);
    else
        order_goto(o, !fits && o->alternate < o->nalternates ? ORDER_ALTERNATE
                      : o->shared.names.fence                ? ORDER_SHARE
                                                             : ORDER_INSTALL);
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
        order_fail(o, a->fault ? a->fault : FAULT_OURS, -1, "%s", a->fault ? a->why : "the keymaker's answer is malformed");
        return;
    }
    job_take_shared(j, &c, o->env->now());
    j->issued++;
    log_msg(o->env->log, LOG_LEVEL_INFO, "%s: a certificate from %s is installed", j->cert->id, o->ca->issuer->name);
    end_order(o, true);
}

static void enter_install(struct order *o) {
    if (o->shared.sealed && o->shared.names.fence) /* as the other instances do */
        ca_keymaker(o->ca, &o->call, KEYMAKING_OPEN_CERT, o->job->index, span_of(o->shared.sealed, o->shared.sealed_len),
                    on_install, o);
    else
        ca_keymaker(o->ca, &o->call, KEYMAKING_INSTALL, o->job->index, span_of(o->chain, o->chain_len), on_install, o);
}

static void enter_idle(struct order *o) {
    (void)o;
}

/* ---- the table ---- */

#define TO(state) (1u << ORDER_##state)
#define STANDS    (TO(AUTHZ) | TO(SHARE_KEY) | TO(FINALIZE) | TO(POLL) | TO(DOWNLOAD)) /* where an order may stand */

static const struct state states[ORDER_STATES] = {
    [ORDER_IDLE] = {"idle", STEP_MS, TO(LEASE) | TO(TAKE_ACCOUNT) | TO(DIRECTORY), enter_idle, NULL},
    [ORDER_LEASE] = {"lease", STEP_MS, TO(TAKE_UP), enter_lease, NULL},
    [ORDER_TAKE_UP] = {"look for a certificate", STEP_MS, TO(RESUME), enter_take_up, NULL},
    [ORDER_RESUME] = {"look for an order", STEP_MS, TO(TAKE_KEY) | TO(TAKE_ACCOUNT), enter_resume, NULL},
    [ORDER_TAKE_KEY] = {"look for its key", STEP_MS, TO(TAKE_ACCOUNT), enter_take_key, NULL},
    [ORDER_TAKE_ACCOUNT] = {"look for the account", STEP_MS, TO(DIRECTORY), enter_take_account, NULL},
    [ORDER_DIRECTORY] = {"directory", STEP_MS, TO(THUMBPRINT), enter_directory, NULL},
    [ORDER_THUMBPRINT] = {"account key", STEP_MS, TO(ACCOUNT), enter_thumbprint, NULL},
    [ORDER_ACCOUNT] = {"account", STEP_MS, TO(SHARE_ACCOUNT) | TO(LIST) | TO(CONFIRM) | TO(NEW) | TO(READ), enter_account,
                       NULL},
    [ORDER_SHARE_ACCOUNT] = {"share the account", STEP_MS, TO(LIST) | TO(CONFIRM) | TO(READ), enter_share_account, NULL},
    [ORDER_LIST] = {"list of orders", STEP_MS, TO(LIST) | TO(FIND) | TO(CONFIRM) | TO(NEW), enter_list, NULL},
    [ORDER_FIND] = {"order of the list", STEP_MS, TO(FIND) | TO(READ) | TO(CONFIRM) | TO(NEW), enter_find, NULL},
    [ORDER_CONFIRM] = {"confirm the lease", STEP_MS, TO(NEW), enter_confirm, NULL},
    [ORDER_NEW] = {"new order", STEP_MS, TO(CONFIRM) | TO(NEW) | TO(ACCOUNT) | STANDS, enter_new, NULL},
    [ORDER_READ] = {"order", STEP_MS, TO(LIST) | TO(CONFIRM) | TO(NEW) | STANDS, enter_read, NULL},
    [ORDER_AUTHZ] = {"authorization", STEP_MS, TO(AUTHZ) | TO(RECORD) | TO(OFFER) | TO(RESPOND) | TO(PAUSE) | TO(POLL),
                     enter_authz, NULL},
    [ORDER_RECORD] = {"record", RECORD_MS, TO(RESPOND), enter_record, NULL},
    [ORDER_OFFER] = {"offer", STEP_MS, TO(RESPOND), enter_offer, NULL},
    [ORDER_RESPOND] = {"challenge", STEP_MS, TO(AUTHZ), enter_respond, NULL},
    [ORDER_PAUSE] = {"validation", 0, TO(CHECK), enter_waiting, leave_pause},
    [ORDER_CHECK] = {"validation check", STEP_MS, TO(CHECK) | TO(PAUSE) | TO(READ), enter_check, NULL},
    [ORDER_SHARE_KEY] = {"share the key", STEP_MS, TO(FINALIZE), enter_share_key, NULL},
    [ORDER_FINALIZE] = {"finalize", STEP_MS, STANDS, enter_finalize, NULL},
    [ORDER_POLL] = {"issuance", 0, TO(READ), enter_waiting, leave_poll},
    [ORDER_DOWNLOAD] = {"download", STEP_MS, TO(ALTERNATE) | TO(SHARE) | TO(INSTALL), enter_download, NULL},
    [ORDER_ALTERNATE] = {"alternate chain", STEP_MS, TO(ALTERNATE) | TO(SHARE) | TO(INSTALL), enter_alternate, NULL},
    [ORDER_SHARE] = {"share", STEP_MS, TO(SHARE) | TO(INSTALL), enter_share, NULL},
    [ORDER_INSTALL] = {"install", STEP_MS, 0, enter_install, NULL},
};

void order_count(struct order *o) {
    struct job *j = o->job;
    int64_t now = o->env->now();
    o->counted = true;
    j->failures++;
    j->error[0] = 0;
    j->next_s = now + renewal_pause(j->failures, now, j->from_issuer ? j->not_after : 0);
    order_shared_put_job(o);
    if (store_put_job(o->env->store, j) < 0) /* a crash loop would order without a limit */
        order_fail(o, FAULT_OURS, -1, "the attempt cannot be written down: %s", strerror(errno));
    else
        order_goto(o, ORDER_DIRECTORY);
}

void order_begin(struct order *o, const struct order_env *env, struct job *j) {
    *o = (struct order){.env = env, .job = j, .clock = {.loop = env->loop, .fn = on_order_clock, .ctx = o}};
    order_allow_time(o);
    order_use_issuer(o, j->issuer);
    if (env->share && env->share->up)
        order_goto(o, ORDER_LEASE);
    else
        order_count(o);
}

void order_abandon(struct order *o) {
    if (o->job)
        order_release(o);
}
