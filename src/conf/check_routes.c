/*
 * What no client can reach, by the rule that the handshakers go by (route/route.h): every service is requested at each of its
 * addresses by each of its names and protocols, and by none. Whatever ClientHello leads to a service, one of these does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/loader.h"
#include "conf/routes.h"

/* One service at one of its addresses. */
struct reach {
    struct load *l;
    const struct conf *c;
    const struct route_table *table;
    const char **names; /* that it claims: those given, in order, or those of its certificates, sorted */
    size_t nnames, names_cap;
    uint16_t service, listener;
    uint16_t rival; /* who has what it requested last */
};

static void add_name(void *ctx, const char *name) {
    struct reach *r = ctx;
    if (r->nnames == r->names_cap) {
        r->names_cap = MAX(2 * r->names_cap, (size_t)64);
        r->names = reallocarray(r->names, r->names_cap, sizeof(*r->names));
        MUST(r->names); /* this process is made for one look at the configuration */
    }
    r->names[r->nnames++] = name;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void gather_names(struct reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    r->nnames = 0;
    for (size_t i = 0; i < s->nnames; i++)
        add_name(r, s->names[i]);
    if (s->nnames || s->mode == MODE_PASSTHROUGH)
        return;
    r->l->capabilities->each_name(r->l->capabilities->creds, r->service, add_name, r);
    if (r->nnames)
        qsort(r->names, r->nnames, sizeof(*r->names), by_text);
}

static bool reaches(struct reach *r, const char *pattern, struct span alpn) {
    struct route_answer a = route_find_pattern(r->table, r->listener, pattern, alpn);
    r->rival = a.service;
    return a.service == r->service && a.fit != ROUTE_UNFIT;
}

/* With some protocol of its own, one that no client speaks (no text has a zero), or none. */
static bool name_reaches(struct reach *r, const char *pattern) {
    static const uint8_t unheard_of[] = {1, 0};
    struct route_protocols own = routes_protocols(&r->c->services[r->service]);
    for (size_t i = 0; i < own.n; i++) {
        uint8_t one[1 + CONF_NAME_MAX] = {(uint8_t)strlen(own.list[i])};
        memcpy(one + 1, own.list[i], one[0]);
        if (reaches(r, pattern, span_of(one, 1u + one[0])))
            return true;
    }
    return reaches(r, pattern, span_of(unheard_of, sizeof(unheard_of))) || reaches(r, pattern, span_of(NULL, 0));
}

static void report_lost(struct reach *r, const char *name) {
    char addr[ADDR_TEXT_MAX];
    load_warning(r->l, load_at(r->l, r->service, KEY_LISTEN), load_key(r->l, r->service, KEY_LISTEN),
                 "clients of %s that ask for \"%s\" always reach service \"%s\", never \"%s\"",
                 addr_text(&r->c->listeners[r->listener], addr), name, r->c->services[r->rival].name,
                 r->c->services[r->service].name);
}

static void report_unreachable(struct reach *r) {
    const struct conf_service *s = &r->c->services[r->service], *rival = &r->c->services[r->rival];
    char addr[ADDR_TEXT_MAX];
    (void)addr_text(&r->c->listeners[r->listener], addr); /* returns ADDR */
    struct toml_pos at = load_at(r->l, r->service, KEY_LISTEN);
    const char *key = load_key(r->l, r->service, KEY_LISTEN);
    if (s->mode == MODE_PASSTHROUGH)
        load_error(r->l, at, key,
                   "service \"%s\" can never be chosen at %s: service \"%s\" takes every client that no other name belongs to, "
                   "expected an address of its own for passthrough%s",
                   s->name, addr, rival->name,
                   rival->mode == MODE_PASSTHROUGH ? "" : ", or \"strict_sni\" in the services that terminate TLS there");
    else
        load_error(r->l, at, key,
                   "service \"%s\" can never be chosen at %s: service \"%s\" has its names and protocols, expected another "
                   "address, certificates for other names, or other protocols in \"alpn\"",
                   s->name, addr, rival->name);
}

/* A name that is lost is warned of, but only the first one: certificates that share names have many. */
static void check_reach(struct reach *r) {
    const char *lost = NULL;
    uint16_t lost_to = 0;
    bool reached = name_reaches(r, "*");
    uint16_t rival = r->rival;
    for (size_t n = 0; n < r->nnames; n++) {
        bool there = name_reaches(r, r->names[n]);
        if (!there && !lost) {
            lost = r->names[n];
            lost_to = r->rival;
        }
        reached = reached || there;
    }
    r->rival = lost ? lost_to : rival;
    if (!reached)
        report_unreachable(r);
    else if (lost)
        report_lost(r, lost);
}

/* The first of a name's owners that asks less of clients than SERVICE. */
struct weaker {
    const struct conf *c;
    const struct conf_service *service;
    const struct conf_service *found;
    enum route_weight weight; /* of its claims */
};

static void take_weaker(void *ctx, const struct route_answer *claim) {
    struct weaker *w = ctx;
    const struct conf_service *s = &w->c->services[claim->service];
    if (claim->weight != w->weight || s->client_auth >= w->service->client_auth)
        return;
    if (!w->found || s < w->found)
        w->found = s;
}

/* Of services that share a name a client chooses by its protocols, so it may choose the one that asks less of it. */
static void check_strength(struct reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    char addr[ADDR_TEXT_MAX];
    struct weaker w = {.c = r->c, .service = s, .weight = s->nnames ? ROUTE_GIVEN : ROUTE_IMPLIED};
    for (size_t n = 0; n < r->nnames && s->client_auth != CLIENT_AUTH_NONE; n++) {
        route_each_rival(r->table, r->listener, r->names[n], take_weaker, &w);
        if (!w.found)
            continue;
        load_warning(r->l, load_at(r->l, r->service, KEY_CLIENT_AUTH_MODE), load_key(r->l, r->service, KEY_CLIENT_AUTH_MODE),
                     "service \"%s\" serves \"%s\" at %s too and asks less of clients, who choose between the two by ALPN",
                     w.found->name, r->names[n], addr_text(&r->c->listeners[r->listener], addr));
        return;
    }
}

static size_t *count_services(const struct conf *c) {
    size_t *n = calloc(c->nlisteners, sizeof(*n));
    MUST(n); /* as above */
    for (size_t i = 0; i < c->nservices; i++)
        for (size_t k = 0; k < c->services[i].nlisteners; k++)
            n[c->services[i].listeners[k]]++;
    return n;
}

/* After a fault of a certificate not all names are known; it has been reported. */
void check_routes(struct load *l) {
    const struct conf *c = l->conf;
    if (l->faults->errors)
        return;
    struct route_table *table = routes_make(c, l->capabilities->each_name, l->capabilities->creds);
    MUST(table); /* as above */
    size_t *services_at = count_services(c);
    struct reach r = {.l = l, .c = c, .table = table};
    for (r.service = 0; r.service < c->nservices; r.service++) {
        gather_names(&r);
        for (size_t k = 0; k < c->services[r.service].nlisteners; k++) {
            r.listener = c->services[r.service].listeners[k];
            if (services_at[r.listener] < 2)
                continue;
            check_reach(&r);
            check_strength(&r);
        }
    }
    free(services_at);
    free(r.names);
    route_table_free(table);
}
