/*
 * An order that nobody knows: newOrder was sent, and its answer was lost, with a process or on its way. Before another one is
 * made it is looked for among the orders of the account (RFC 8555 7.1.2.1), from the end, where lists grow. Not all issuers
 * have a list; some of those without give the same order out again.
 */
#include <string.h>
#include <strings.h>

#include "acme/order_internal.h"
#include "base/clock.h"

#define PAGES_MAX 64
#define LOOKS_MAX 16 /* the last ones of the list */

_Static_assert(LOOKS_MAX <= CONF_ACME_NAMES_MAX, "their URLs have room");

/* There is none that is ours: one is made. */
static void find_none(struct order *o) {
    o->job->unsure[o->job->issuer] = false;
    order_after_account(o);
}

/* Then it may be there all the same, and is looked for at the next attempt. */
static bool is_unanswered(struct order *o, const struct answer *a) {
    return (a->fault == FAULT_ISSUER || a->fault == FAULT_OURS) && order_failed_by(o, a);
}

/* ---- the list ---- */

static void on_own_account(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (is_unanswered(o, a))
        return;
    if (order_take_url(json_string_value(json_object_get(a->json, "orders")), o->url)) {
        o->pages = 1;
        order_goto(o, ORDER_LIST);
    } else {
        find_none(o);
    }
}

/* A page that is none ends the list. */
static void on_orders_page(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    if (is_unanswered(o, a))
        return;
    const json_t *list = json_object_get(a->json, "orders");
    for (size_t i = 0; i < json_array_size(list); i++)
        o->listed += order_take_url(json_string_value(json_array_get(list, i)), o->authz[o->listed % LOOKS_MAX].url);
    bool more = o->pages++ < PAGES_MAX && order_take_url(a->next, o->url);
    order_goto(o, more ? ORDER_LIST : ORDER_FIND);
}

void enter_list(struct order *o) {
    order_fetch(o, o->pages ? o->url : o->ca->account, o->pages ? on_orders_page : on_own_account);
}

/* ---- its orders ---- */

static const char *candidate(const struct order *o) {
    return o->authz[(o->listed - 1 - o->looked) % LOOKS_MAX].url;
}

static bool has_identifier(const json_t *list, const char *name) {
    uint8_t ip[16], other[16];
    size_t len = managed_name_address(name, ip);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *value = json_string_value(json_object_get(json_array_get(list, i), "value"));
        if (value &&
            (len ? managed_name_address(value, other) == len && memcmp(ip, other, len) == 0 : !strcasecmp(value, name)))
            return true;
    }
    return false;
}

/* By another certificate with the same names, for another kind of key. */
static bool is_known(const struct order *o, const char *url) {
    for (size_t i = 0; i < o->env->njobs; i++)
        for (size_t k = 0; k < CONF_ISSUERS_MAX; k++)
            if (strcmp(o->env->jobs[i].orders[k], url) == 0)
                return true;
    return false;
}

/* For our names, and nothing has been made of it yet. */
static bool is_wanted(const struct order *o, const json_t *order) {
    const struct conf_managed *c = o->job->cert;
    const char *status = json_string_value(json_object_get(order, "status"));
    const char *expires = json_string_value(json_object_get(order, "expires"));
    const json_t *list = json_object_get(order, "identifiers");
    int64_t until_s;
    bool wanted =
        status && (strcmp(status, "pending") == 0 || strcmp(status, "ready") == 0) && json_array_size(list) == c->nnames;
    for (size_t i = 0; i < c->nnames && wanted; i++)
        wanted = has_identifier(list, c->names[i]);
    bool over = expires && clock_parse(expires, &until_s) == 0 && until_s <= o->env->now();
    return wanted && !over && !is_known(o, candidate(o));
}

static void on_candidate(void *ctx, const struct answer *a) {
    struct order *o = ctx;
    struct job *j = o->job;
    if (is_unanswered(o, a))
        return;
    if (a->fault != FAULT_NONE || !is_wanted(o, a->json)) {
        o->looked++;
        order_goto(o, ORDER_FIND);
        return;
    }
    memcpy(j->orders[j->issuer], candidate(o), JOB_URL_MAX);
    j->unsure[j->issuer] = false;
    log_msg(o->env->log, LOG_LEVEL_INFO, "%s: the order that was asked for before is found at the issuer %s", j->cert->id,
            o->ca->issuer->name);
    order_write(o);
    order_goto(o, ORDER_READ);
}

void enter_find(struct order *o) {
    if (o->looked < MIN(o->listed, (size_t)LOOKS_MAX))
        order_fetch(o, candidate(o), on_candidate);
    else
        find_none(o);
}
