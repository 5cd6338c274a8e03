/* Authorizations and their challenges (RFC 8555 7.5): all are begun, then all are waited for. */
#include <errno.h>
#include <string.h>

#include "acme/order_internal.h"
#include "acme/persist.h"
#include "acme/records.h"
#include "base/err.h"

bool order_take_authzs(struct order *o, const json_t *json) {
    const json_t *list = json_object_get(json, "authorizations");
    size_t n = json_array_size(list);
    bool ok = n > 0 && n <= CONF_ACME_NAMES_MAX;
    for (size_t i = 0; i < n && ok; i++) {
        const char *url = json_string_value(json_array_get(list, i));
        ok = order_take_url(url, o->authz[i].url);
        o->authz[i].valid = false;
    }
    if (!ok)
        order_fail(o, FAULT_ANSWER, -1, "its order has %zu authorizations, expected the URLs of 1 to %d", n,
                   CONF_ACME_NAMES_MAX);
    o->nauthz = ok ? n : 0;
    o->at = 0;
    return ok;
}

/* Why the validation of one name failed. */
static void fail_authz(struct order *o, const json_t *authz) {
    const char *name = json_string_value(json_object_get(json_object_get(authz, "identifier"), "value"));
    const char *status = json_string_value(json_object_get(authz, "status"));
    const json_t *list = json_object_get(authz, "challenges"), *error = NULL, *failed = NULL;
    for (size_t i = 0; i < json_array_size(list) && !error; i++) {
        failed = json_array_get(list, i);
        error = json_object_get(failed, "error");
    }
    const char *type = json_string_value(json_object_get(failed, "type"));
    bool persist = error && type && strcmp(type, challenge_type_name(CHALLENGE_DNS_PERSIST_01)) == 0;
    enum fault fault = answer_problem(error)[0] ? answer_fault(error, 0) : FAULT_NAMES;
    char why[JOB_TEXT_MAX];
    struct text t = text_of(why, sizeof(why));
    answer_add_words(&t, name ? name : "a name");
    text_add(&t, " is ");
    answer_add_words(&t, status ? status : "in no state");
    answer_add_problem(&t, error);
    order_drop(o); /* it can only be invalid from now on */
    order_fail(o, fault, -1, "%s%s", why, persist ? " (`tls-off acme record` prints the record to publish)" : "");
}

/* ---- beginning ---- */

static const json_t *challenge_of(const json_t *authz, enum challenge_type type) {
    const json_t *list = json_object_get(authz, "challenges");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(c, "type"));
        if (name && strcmp(name, challenge_type_name(type)) == 0)
            return c;
    }
    return NULL;
}

/* Which of the certificate's names an authorization is about: that of a wildcard has the name below it. */
static uint16_t name_of(const struct order *o, const json_t *authz, const char *name) {
    const struct conf_managed *c = o->job->cert;
    size_t skip = json_is_true(json_object_get(authz, "wildcard")) ? 2 : 0;
    uint16_t i = 0;
    while (i < c->nnames && ((strncmp(c->names[i], "*.", 2) == 0) != (skip > 0) || strcmp(c->names[i] + skip, name) != 0))
        i++;
    return i;
}

/* What is offered has to be put where it is looked for. */
static void prepare_challenge(struct order *o, enum challenge_type type, const json_t *authz, const char *name,
                              const char *token) {
    o->challenge = challenges_of(o->env->challenges, o, type, token);
    if (type != CHALLENGE_DNS_01) {
        order_goto(o, o->shared.names.fence ? ORDER_OFFER : ORDER_RESPOND);
        return;
    }
    o->name = name_of(o, authz, name);
    if (o->name < o->job->cert->nnames)
        order_goto(o, ORDER_RECORD);
    else
        order_fail(o, FAULT_ANSWER, -1, "it wants to validate %.255s, for which nothing was ordered", name);
}

/* The record is there already, or will not be: nothing is prepared. */
static void answer_persist(struct order *o, const json_t *challenge, const char *name) {
    char what[512];
    struct text why = text_of(what, sizeof(what));
    if (persist_answers(o->ca, challenge, &why))
        order_goto(o, ORDER_RESPOND);
    else
        order_fail(o, FAULT_ANSWER, -1, "its challenge dns-persist-01 for %.255s: %s", name, what);
}

static void fail_unoffered(struct order *o, const json_t *authz, const char *name) {
    char what[256] = "";
    struct text offered = text_of(what, sizeof(what));
    const json_t *list = json_object_get(authz, "challenges");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *type = json_string_value(json_object_get(json_array_get(list, i), "type"));
        text_addf(&offered, "%s%.32s", i ? ", " : "", type ? type : "?");
    }
    order_fail(o, FAULT_NAMES, -1, "it offers no challenge for %.255s that is configured, but: %s", name ? name : "a name",
               what[0] ? what : "none");
}

/* The first in the operator's order that the issuer offers. */
static void choose_challenge(struct order *o, const json_t *authz) {
    const struct conf_issuer *issuer = o->ca->issuer;
    const char *name = json_string_value(json_object_get(json_object_get(authz, "identifier"), "value"));
    for (size_t i = 0; i < issuer->nchallenges && name; i++) {
        enum challenge_type type = issuer->challenges[i];
        const json_t *c = challenge_of(authz, type);
        const char *token = json_string_value(json_object_get(c, "token"));
        bool persist = type == CHALLENGE_DNS_PERSIST_01; /* has no token */
        if ((!token && !persist) || !order_take_url(json_string_value(json_object_get(c, "url")), o->url))
            continue;
        if (persist) {
            answer_persist(o, c, name);
            return;
        }
        int err = challenges_offer(o->env->challenges, o, type, name, token, o->ca->thumbprint);
        if (err == ERR_SYSTEM)
            order_fail(o, FAULT_OURS, -1, "the answer for %.255s cannot be written below %.255s: %s", name,
                       o->env->challenges->webroot, strerror(errno));
        else if (err < 0)
            order_fail(o, err == ERR_LIMIT ? FAULT_OURS : FAULT_ANSWER, -1, "its challenge for %.255s: %s", name,
                       err_text(err));
        else
            prepare_challenge(o, type, authz, name, token);
        return;
    }
    fail_unoffered(o, authz, name);
}

static void on_authz(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    const char *status = json_string_value(json_object_get(a->json, "status"));
    if (status && strcmp(status, "valid") == 0) {
        o->authz[o->at++].valid = true;
        order_goto(o, ORDER_AUTHZ);
    } else if (status && strcmp(status, "pending") == 0) {
        choose_challenge(o, a->json);
    } else {
        fail_authz(o, a->json);
    }
}

static size_t next_invalid(const struct order *o, size_t from) {
    while (from < o->nauthz && o->authz[from].valid)
        from++;
    return from;
}

void enter_authz(struct order *o) {
    if (o->at < o->nauthz) {
        order_fetch(o, o->authz[o->at].url, on_authz);
        return;
    }
    o->at = next_invalid(o, 0);
    order_lengthen_pause(o, -1);
    order_goto(o, o->at == o->nauthz ? ORDER_POLL : ORDER_PAUSE);
}

static void on_responded(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    /* announced twice, after a crash: it is looked at anyway */
    if (a->fault == FAULT_ANSWER && a->status == 400 && strcmp(a->problem, "malformed") == 0)
        log_msg(o->env->log, LOG_LEVEL_DEBUG, "%s: %s", o->job->cert->id, a->why);
    else if (order_failed_by(o, a))
        return;
    o->at++;
    order_goto(o, ORDER_AUTHZ);
}

static void on_record(void *ctx, const char *why) {
    struct order *o = ctx;
    order_allow_time(o);
    if (why[0])
        order_fail(o, FAULT_OURS, -1, "the hook for %.255s: %s", o->job->cert->names[o->name], why);
    else
        order_goto(o, ORDER_RESPOND);
}

void enter_record(struct order *o) {
    uint16_t issuer = o->job->cert->issuers[o->job->issuer];
    records_want(o->env->challenges, o->challenge, issuer, o->job->index, o->name, on_record, o);
}

void enter_respond(struct order *o) {
    ca_post(o->ca, &o->call, KEYMAKING_CHALLENGE, o->job->index, CA_URLS, o->url, span_of(NULL, 0), on_responded, o);
}

/* ---- waiting ---- */

static void on_check(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (order_failed_by(o, a))
        return;
    const char *status = json_string_value(json_object_get(a->json, "status"));
    if (status && strcmp(status, "valid") == 0) {
        o->authz[o->at].valid = true;
        o->at = next_invalid(o, o->at + 1);
        order_goto(o, ORDER_CHECK);
    } else if (status && strcmp(status, "pending") == 0) {
        order_lengthen_pause(o, a->retry_after);
        order_goto(o, ORDER_PAUSE);
    } else {
        fail_authz(o, a->json);
    }
}

void enter_check(struct order *o) {
    if (o->at < o->nauthz) {
        order_fetch(o, o->authz[o->at].url, on_check);
        return;
    }
    challenges_withdraw(o->env->challenges, o); /* proven: from now on a validator comes for another instance's order */
    order_goto(o, ORDER_READ);
}
