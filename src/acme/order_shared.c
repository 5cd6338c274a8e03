/*
 * The steps of an attempt in a fleet. While the store is away an attempt goes on as long as its lease lasts; what other
 * instances then do not get they make themselves.
 */
#include "acme/order_shared.h"

#include <stdlib.h>
#include <string.h>

#include "acme/order_internal.h"
#include "base/clock.h"

#define HELD_S          5  /* until somebody else's lease is looked at again; a certificate is heard of sooner */
#define NOT_DUE_S       60 /* what else is known here than in the store costs a lease a minute at most */
#define BROKEN_S        600
#define OBJECT_NAME_MAX (CONF_SHARED_NAME_MAX + 16)

/* Of the certificate, of its order, or of that one's key. */
static struct span object_name(const struct order *o, const char *kind, char to[static OBJECT_NAME_MAX]) {
    struct text t = text_of(to, OBJECT_NAME_MAX);
    text_addf(&t, "%s/%s", kind, o->shared.name);
    return span_of(t.p, t.len);
}

static bool ask_store(struct order *o, struct sharing_request *q, share_fn fn) {
    q->lease = q->lease.len ? q->lease : order_lease_key(&o->shared.names);
    q->fence = q->fence ? q->fence : o->shared.names.fence;
    return share_link_ask(o->env->share, q, fn, o) == 0;
}

/* Ends the attempt without an outcome: another instance has it, or nothing has to be done. */
static void leave_order(struct order *o, const char *why, uint64_t pause_s) {
    const struct order_env *env = o->env;
    struct job *j = o->job;
    log_msg(env->log, LOG_LEVEL_DEBUG, "%s: not ordered here: %s", j->cert->id, why);
    j->held_ms = env->loop->now_ms + pause_s * 1000;
    order_release(o);
    env->ended(env->ctx, j, false);
}

/* ---- the lease ---- */

bool order_shared_holds(struct order *o) {
    bool names = order_lease_is_safe(&o->shared.names), account = order_lease_is_safe(&o->shared.account);
    if (names && account)
        return true;
    log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the lease of %s is lost, it is left to another instance", o->job->cert->id,
            names ? "the account" : "the order");
    leave_order(o, "the lease is lost", HELD_S);
    return false;
}

static void on_lease(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    char why[SHARING_NAME_MAX + 64];
    struct text t = text_of(why, sizeof(why));
    if (a->result == SHARING_OK) {
        order_lease_begin(&o->shared.names, a->fence);
        order_goto(o, ORDER_TAKE_UP);
        return;
    }
    text_add(&t, a->result == SHARING_HELD ? "another instance has the lease of " : "the store is away");
    if (a->result == SHARING_HELD)
        text_add_span(&t, a->data);
    else if (a->data.len) /* the store is there, and refuses */
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the lease in the store of the fleet: %.*s", o->job->cert->id,
                (int)a->data.len, (const char *)a->data.p);
    leave_order(o, why, a->result != SHARING_HELD && a->data.len ? BROKEN_S / 10 : HELD_S);
}

void enter_lease(struct order *o) {
    managed_shared_name(o->env->acme, o->job->cert, o->shared.name);
    o->shared.names.cert = o->job->cert;
    if (!order_lease_ask(&o->shared.names, o, on_lease))
        leave_order(o, "the store cannot be asked", HELD_S);
}

void order_shared_release(struct order *o) {
    struct order_shared *s = &o->shared;
    if (!o->env->share)
        return;
    share_link_cancel(o->env->share, o);
    order_lease_give(&s->account);
    order_lease_give(&s->names);
    free(s->sealed);
    *s = (struct order_shared){.sealed = NULL};
}

/* ---- how the job stands ---- */

static void lose_names(struct order *o) {
    order_lease_lose(&o->shared.names);
}

/* True when it is refused: another instance has it by now. What is not done for another reason others do not get. */
static bool lost_by(struct order *o, const char *what, const struct sharing_answer *a) {
    if (a->result == SHARING_LOST)
        lose_names(o);
    else
        share_link_note(o->env->share, what, a);
    return a->result == SHARING_LOST;
}

static void on_put(void *ctx, const struct sharing_answer *a) {
    (void)lost_by(ctx, "how an order stands", a);
}

static void on_outcome_put(void *ctx, const struct sharing_answer *a) {
    share_link_note(ctx, "how an order has ended", a);
}

/* False: it cannot be asked. What cannot be asked is not there for others: they begin again. */
static bool put_job(struct order *o, share_fn fn, void *ctx) {
    char json[JOB_JSON_MAX], name[OBJECT_NAME_MAX];
    size_t len = 0;
    if (!o->shared.names.fence || !job_write(o->job, json, sizeof(json), &len))
        return false;
    struct sharing_request q = {.op = SHARING_PUT,
                                .version = ++o->shared.order_version,
                                .name = object_name(o, "order", name),
                                .data = span_of(json, len)};
    q.lease = order_lease_key(&o->shared.names);
    q.fence = o->shared.names.fence;
    return share_link_ask(o->env->share, &q, fn, ctx) == 0;
}

void order_shared_put_job(struct order *o) {
    (void)put_job(o, on_put, o);
}

void order_shared_put_outcome(struct order *o) {
    (void)put_job(o, on_outcome_put, o->env->share);
}

/* ---- taking up what there is ---- */

void order_shared_take_cert(const struct order_env *env, struct job *j, const struct keymaking_cert *c) {
    job_take_shared(j, c, env->now());
    log_msg(env->log, LOG_LEVEL_INFO, "%s: the certificate of the fleet is installed, version %llu", j->cert->id,
            (unsigned long long)c->version);
    if (store_put_job(env->store, j) < 0)
        log_msg(env->log, LOG_LEVEL_WARNING, "%s: how it stands cannot be written: %m", j->cert->id);
}

static void on_taken_up(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    struct job *j = o->job;
    struct keymaking_cert c;
    if (a->fault != FAULT_NONE || keymaking_unpack_cert(a->body, &c) < 0) {
        struct text t = text_of(j->error, sizeof(j->error));
        text_add(&t, a->fault ? a->why : "the keymaker's answer is malformed");
        log_msg(o->env->log, LOG_LEVEL_ERROR, "%s: the certificate of the fleet is not taken: %s", j->cert->id, j->error);
        leave_order(o, j->error, BROKEN_S);
        return;
    }
    order_shared_take_cert(o->env, j, &c);
    leave_order(o, "another instance has ordered it", 0);
}

/* False: no memory. */
static bool keep_sealed(struct order *o, uint64_t version, struct span data) {
    uint8_t *p = sealed_with_version(version, data, &o->shared.sealed_len);
    if (!p)
        return false;
    free(o->shared.sealed); /* not before: DATA may be in it */
    o->shared.sealed = p;
    return true;
}

static void open_sealed(struct order *o, enum keymaking_op op, const struct sharing_answer *a, answer_fn fn) {
    if (keep_sealed(o, a->version, a->data))
        ca_keymaker(o->ca, &o->call, op, o->job->index, span_of(o->shared.sealed, o->shared.sealed_len), fn, o);
    else
        leave_order(o, "no memory", HELD_S);
}

/* Nothing is begun while it is not known what others have. True: the attempt has ended. */
static bool left_by(struct order *o, const struct sharing_answer *a) {
    if (a->result != SHARING_AWAY)
        return false;
    if (a->data.len)
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the store of the fleet: %.*s", o->job->cert->id, (int)a->data.len,
                (const char *)a->data.p);
    leave_order(o, "the store does not answer", a->data.len ? BROKEN_S / 10 : HELD_S);
    return true;
}

static void on_certificate(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    const struct job *j = o->job;
    if (left_by(o, a))
        return;
    o->shared.version = MAX(a->version, j->version) + 1;
    if (a->result == SHARING_OK) {
        open_sealed(o, KEYMAKING_OPEN_CERT, a, on_taken_up);
        return;
    }
    if (a->version < j->version)
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: the store of the fleet has version %llu of it, ours is version %llu: %s",
                j->cert->id, (unsigned long long)a->version, (unsigned long long)j->version,
                "its data was lost or is an old copy");
    order_goto(o, ORDER_RESUME);
}

static void get_object(struct order *o, struct span name, uint64_t known, share_fn fn) {
    struct sharing_request q = {.op = SHARING_GET, .version = known, .name = name};
    if (!ask_store(o, &q, fn))
        leave_order(o, "the store cannot be asked", HELD_S);
}

void enter_take_up(struct order *o) {
    char name[OBJECT_NAME_MAX];
    get_object(o, object_name(o, "certificate", name), o->job->version, on_certificate);
}

/* "https://HOST/" as the directory's: the store is not believed further. */
static bool is_at_issuer(const struct ca *ca, const char *url) {
    const char *directory = ca->issuer->directory;
    size_t n = sizeof("https://") - 1;
    n += strlen(directory) > n ? strcspn(directory + n, "/") + 1 : 0;
    return strncmp(url, directory, n) == 0;
}

/* How its order stands, as the one says that made the last attempt. */
static void take_job(struct order *o, struct span json, int64_t now) {
    struct job *j = o->job;
    uint16_t chosen = j->issuer;
    int64_t next_s = j->next_s, blocked_s[ARRAY_LEN(j->blocked_s)];
    memcpy(blocked_s, j->blocked_s, sizeof(blocked_s));
    if (!job_read_shared(j, json, now))
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: what the store says about its order is not understood, it is begun again",
                j->cert->id);
    j->next_s = j->wanted ? MIN(j->next_s, next_s) : j->next_s; /* an operator does not wait for what others wait for */
    for (size_t i = 0; i < j->cert->nissuers && j->wanted; i++)
        j->blocked_s[i] = MIN(j->blocked_s[i], blocked_s[i]);
    for (size_t i = 0; i < j->cert->nissuers; i++)
        if (!is_at_issuer(&o->env->cas[j->cert->issuers[i]], j->orders[i]))
            j->orders[i][0] = 0;
    if (!j->orders[j->issuer][0])
        j->issuer = chosen;
}

static void on_job(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    struct job *j = o->job;
    int64_t now = o->env->now();
    if (left_by(o, a))
        return;
    if (a->result == SHARING_OK) {
        o->shared.order_version = a->version;
        take_job(o, a->data, now);
    }
    uint16_t place = job_open_issuer(j, j->issuer, now);
    if (place == j->cert->nissuers || (!job_is_due(j, now) && !job_was_left(j))) {
        leave_order(o, "it is not due", NOT_DUE_S);
        return;
    }
    o->tried = 0;
    order_use_issuer(o, place);
    order_goto(o, job_has_order(j) ? ORDER_TAKE_KEY : ORDER_TAKE_ACCOUNT);
}

void enter_resume(struct order *o) {
    char name[OBJECT_NAME_MAX];
    get_object(o, object_name(o, "order", name), 0, on_job);
}

static void on_key_taken(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (a->fault != FAULT_NONE) {
        log_msg(o->env->log, LOG_LEVEL_WARNING, "%s: %s", o->job->cert->id, a->why);
        job_drop_orders(o->job); /* of no use without their key */
    }
    order_goto(o, ORDER_TAKE_ACCOUNT);
}

static void on_shared_key(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (left_by(o, a))
        return;
    o->shared.key_version = a->version;
    if (a->result == SHARING_OK)
        open_sealed(o, KEYMAKING_OPEN_KEY, a, on_key_taken);
    else
        order_goto(o, ORDER_TAKE_ACCOUNT);
}

void enter_take_key(struct order *o) {
    char name[OBJECT_NAME_MAX];
    get_object(o, object_name(o, "key", name), 0, on_shared_key);
}

/* ---- the account ---- */

static void continue_order(struct order *o) {
    if (o->counted)
        order_goto(o, ORDER_DIRECTORY);
    else
        order_count(o);
}

void order_shared_use_account(const struct order_env *env, struct ca *ca, uint64_t version, struct span url) {
    if (version == ca->account_version)
        return;
    struct text t = text_of(ca->account, sizeof(ca->account));
    text_add_span(&t, url);
    ca->account_version = version;
    ca->thumbprint[0] = ca->account_key[0] = 0;
    if (store_put_account(env->store, ca) < 0)
        log_msg(env->log, LOG_LEVEL_WARNING, "the account cannot be written: %m");
}

static void on_account_taken(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (a->fault != FAULT_NONE) {
        log_msg(o->env->log, LOG_LEVEL_ERROR, "the account of the fleet at the issuer %s is not taken: %s", o->ca->issuer->name,
                a->why);
        leave_order(o, a->why, BROKEN_S);
        return;
    }
    order_shared_use_account(o->env, o->ca, sealed_version(o->shared.sealed), a->body);
    continue_order(o);
}

/* Somebody else is making one: it is looked at again. */
static void on_account_lease(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (a->result != SHARING_OK) {
        leave_order(o, "another instance makes the account", 2);
        return;
    }
    order_lease_begin(&o->shared.account, a->fence);
    continue_order(o);
}

static void on_account_object(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (a->result == SHARING_OK) {
        open_sealed(o, KEYMAKING_OPEN_ACCOUNT, a, on_account_taken);
    } else if (left_by(o, a)) {
        return;
    } else if (a->version && a->version == o->ca->account_version) {
        continue_order(o);
    } else if (!order_lease_ask(&o->shared.account, o, on_account_lease)) {
        leave_order(o, "the store cannot be asked", HELD_S);
    }
}

/* The object's name is what is leased, too. */
static struct span account_name(const struct order *o) {
    return order_lease_key(&o->shared.account);
}

void enter_take_account(struct order *o) {
    char name[CONF_SHARED_NAME_MAX];
    struct order_lease *l = &o->shared.account;
    order_lease_give(l); /* of an issuer that was asked before: by its name */
    struct text t = text_of(l->account, sizeof(l->account));
    issuer_shared_name(o->ca->issuer, name);
    text_addf(&t, "account/%s", name);
    get_object(o, account_name(o), o->ca->account_version, on_account_object);
}

static void on_account_put(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (a->result == SHARING_OK)
        o->ca->account_version = a->version;
    else
        log_msg(o->env->log, LOG_LEVEL_WARNING,
                "%s: the account at the issuer %s is not shared: the store is away, or has another one by now",
                o->job->cert->id, o->ca->issuer->name);
    order_lease_give(&o->shared.account);
    order_after_account(o);
}

static void on_account_sealed(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    struct sharing_request q = {.op = SHARING_PUT,
                                .version = o->ca->account_version + 1,
                                .lease = order_lease_key(&o->shared.account),
                                .fence = o->shared.account.fence,
                                .name = account_name(o),
                                .data = a->body};
    if (!order_failed_by(o, a) && !ask_store(o, &q, on_account_put))
        on_account_put(o, &(struct sharing_answer){.result = SHARING_AWAY});
}

void enter_share_account(struct order *o) {
    if (!keep_sealed(o, o->ca->account_version + 1, span_str(o->ca->account)))
        order_fail(o, FAULT_OURS, -1, "no memory");
    else
        ca_keymaker(o->ca, &o->call, KEYMAKING_SEAL_ACCOUNT, o->job->index, span_of(o->shared.sealed, o->shared.sealed_len),
                    on_account_sealed, o);
}

/* ---- before an order is made ---- */

static void on_announced(void *ctx, const struct sharing_answer *a) {
    if (!lost_by(ctx, "that an order is made", a))
        order_goto(ctx, ORDER_NEW);
}

/* Whoever goes on from here has to know that there may be an order. */
static void on_confirmed(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (lost_by(o, "whether a lease holds", a))
        return;
    o->job->unsure[o->job->issuer] = true;
    if (!put_job(o, on_announced, o))
        order_goto(o, ORDER_NEW);
}

/* A store that has lost its data has given our names to another one, whatever our clock says. */
void enter_confirm(struct order *o) {
    if (!order_lease_confirm(&o->shared.names, o, on_confirmed))
        order_goto(o, ORDER_NEW);
}

/* ---- what others need to go on ---- */

static void on_key_put(void *ctx, const struct sharing_answer *a) {
    if (!lost_by(ctx, "the key of an order", a))
        order_goto(ctx, ORDER_FINALIZE);
}

static void on_key_sealed(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    char name[OBJECT_NAME_MAX];
    struct sharing_request q = {
        .op = SHARING_PUT, .version = o->shared.key_version, .name = object_name(o, "key", name), .data = a->body};
    if (!order_failed_by(o, a) && !ask_store(o, &q, on_key_put))
        order_goto(o, ORDER_FINALIZE);
}

static void on_key_version(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    o->shared.key_version = a->version + 1;
    if (!keep_sealed(o, o->shared.key_version, span_of(NULL, 0)))
        order_fail(o, FAULT_OURS, -1, "no memory");
    else
        ca_keymaker(o->ca, &o->call, KEYMAKING_SEAL_KEY, o->job->index, span_of(o->shared.sealed, o->shared.sealed_len),
                    on_key_sealed, o);
}

/* Before the issuer has the key's request: afterwards the order is of no use without it. */
void enter_share_key(struct order *o) {
    char name[OBJECT_NAME_MAX];
    get_object(o, object_name(o, "key", name), INT64_MAX, on_key_version);
}

/* Any machine of the fleet answers the validator from now on. */
static void on_offered(void *ctx, const struct sharing_answer *a) {
    if (!lost_by(ctx, "a challenge", a))
        order_goto(ctx, ORDER_RESPOND);
}

void enter_offer(struct order *o) {
    char name[CHALLENGE_SHARED_MAX], data[CHALLENGE_SHARED_MAX];
    struct sharing_request q = {
        .op = SHARING_OFFER, .name = challenge_shared_name(o->challenge, name), .data = challenge_pack(o->challenge, data)};
    if (!ask_store(o, &q, on_offered))
        order_goto(o, ORDER_RESPOND); /* this machine may be the one that is asked */
}

/* ---- the certificate ---- */

static void on_certificate_put(void *ctx, const struct sharing_answer *a) {
    struct order *o = ctx;
    if (a->result == SHARING_OLD) {
        o->shared.version = a->version + 1;
        order_goto(o, ORDER_SHARE);
    } else if (!lost_by(o, "a certificate", a)) {
        if (a->result == SHARING_AWAY) { /* it is used here alone */
            free(o->shared.sealed);
            o->shared.sealed = NULL;
        }
        order_goto(o, ORDER_INSTALL);
    }
}

static void on_certificate_sealed(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    char name[OBJECT_NAME_MAX];
    if (a->fault != FAULT_NONE || !keep_sealed(o, o->shared.version, a->body)) {
        order_fail(o, a->fault ? a->fault : FAULT_OURS, -1, "%s", a->fault ? a->why : "no memory");
        return;
    }
    struct sharing_request q = {
        .op = SHARING_PUT, .version = o->shared.version, .name = object_name(o, "certificate", name), .data = a->body};
    if (!ask_store(o, &q, on_certificate_put))
        on_certificate_put(o, &(struct sharing_answer){.result = SHARING_AWAY});
}

/* The others have it before it is used here: an instance that was stopped meanwhile uses nothing that they do not have. */
void enter_share(struct order *o) {
    if (!keep_sealed(o, o->shared.version, span_of(o->chain, o->chain_len)))
        order_fail(o, FAULT_OURS, -1, "no memory");
    else
        ca_keymaker(o->ca, &o->call, KEYMAKING_SEAL_CERT, o->job->index, span_of(o->shared.sealed, o->shared.sealed_len),
                    on_certificate_sealed, o);
}
