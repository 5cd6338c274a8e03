#include "conf/routes.h"

#include "creds/creds.h"

/* One service that claims its names. */
struct claiming {
    struct route_table *table;
    const struct conf *c;
    const struct conf_service *conf;
    uint16_t service;
    int err; /* the first */
};

static void claim_pattern(struct claiming *k, const char *pattern, enum route_weight weight) {
    for (size_t i = 0; i < k->conf->nlisteners && k->err == 0; i++)
        k->err = route_table_claim(k->table, k->conf->listeners[i], k->service, pattern, weight);
}

/* Who gets what is no TLS at an address, and is given no names, gets nothing else there. */
static void claim_rest(struct claiming *k) {
    for (size_t i = 0; i < k->conf->nlisteners && k->err == 0; i++)
        if (k->c->listeners[k->conf->listeners[i]].fallback != k->service)
            k->err = route_table_claim(k->table, k->conf->listeners[i], k->service, "*", ROUTE_REST);
}

static void claim_implied(void *ctx, const char *name) {
    claim_pattern(ctx, name, ROUTE_IMPLIED);
}

static void claim_names(struct claiming *k, routes_names_fn each_name, void *names) {
    const struct conf_service *s = k->conf;
    route_table_speak(k->table, k->service, routes_protocols(s));
    for (size_t i = 0; i < s->nnames; i++)
        claim_pattern(k, s->names[i], ROUTE_GIVEN);
    if (s->nnames)
        return;
    if (s->mode == MODE_PASSTHROUGH) {
        claim_rest(k);
        return;
    }
    each_name(names, k->service, claim_implied, k);
    if (!s->strict_sni)
        claim_pattern(k, "*", ROUTE_IMPLIED);
}

void routes_creds_names(void *creds, size_t service, void (*take)(void *ctx, const char *name), void *ctx) {
    creds_each_name(creds, (uint32_t)service, take, ctx);
}

struct route_protocols routes_protocols(const struct conf_service *s) {
    if (s->nmatch_alpn)
        return (struct route_protocols){s->match_alpn, s->nmatch_alpn, true};
    if (s->mode == MODE_TERMINATE)
        return (struct route_protocols){s->alpn, s->nalpn, false};
    return (struct route_protocols){.n = 0};
}

struct route_table *routes_make(const struct conf *c, routes_names_fn each_name, void *names) {
    struct claiming k = {.c = c, .table = route_table_new((uint16_t)c->nlisteners, (uint16_t)c->nservices)};
    for (; k.table && k.service < c->nservices && k.err == 0; k.service++) {
        k.conf = &c->services[k.service];
        claim_names(&k, each_name, names);
    }
    if (k.err < 0) {
        route_table_free(k.table);
        return NULL;
    }
    return k.table;
}
