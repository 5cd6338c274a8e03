/*
 * What no client can reach, by the rule that the handshakers go by (route/route.h): every service is requested at each of its
 * addresses by each of its names and protocols, and by none. Whatever ClientHello leads to a service, one of these does.
 */
#include "conf/check_routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/report.h"
#include "conf/routes.h"

/* One service at one of its addresses. */
struct service_reach {
    struct load *l;
    const struct conf *c;
    const struct route_table *table;
    const char **names; /* that it claims: those given, in order, or those of its certificates, sorted */
    size_t nnames, names_cap;
    uint16_t service, listener;
    uint16_t rival; /* who has what it requested last */
};

static void collect_claimed_name(void *ctx, const char *name) {
    struct service_reach *r = ctx;
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

static void gather_names(struct service_reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    r->nnames = 0;
    for (size_t i = 0; i < s->nnames; i++)
        collect_claimed_name(r, s->names[i]);
    if (s->nnames || s->mode == MODE_PASSTHROUGH)
        return;
    r->l->capabilities->each_name(r->l->capabilities->creds, r->service, collect_claimed_name, r);
    if (r->nnames)
        qsort(r->names, r->nnames, sizeof(*r->names), by_text);
}

static struct toml_pos name_at(const struct load *l, uint16_t service, size_t n) {
    const struct toml_node *list = l->services[service].node[KEY_NAMES];
    return list && n < list->nchildren ? list->children[n].at : load_at(l, service, KEY_NAMES);
}

/* ---- equal ranks ---- */

/* Of a service's name at an address: the first service that has it too, with nothing to distinguish them. */
struct rivalry {
    const struct conf *c;
    uint16_t service;
    uint16_t equal;  /* some clients could reach either; ROUTE_NOBODY: none */
    uint16_t nearly; /* only clients that offer no protocol could */
};

static bool shares_protocol(struct route_protocols a, struct route_protocols b) {
    for (size_t i = 0; i < a.n; i++)
        for (size_t k = 0; k < b.n; k++)
            if (strcmp(a.list[i], b.list[k]) == 0)
                return true;
    return false;
}

static void take_rival(void *ctx, const struct route_answer *claim) {
    struct rivalry *v = ctx;
    if (claim->weight != ROUTE_GIVEN || claim->service >= v->service)
        return;
    struct route_protocols a = routes_protocols(&v->c->services[v->service]),
                           b = routes_protocols(&v->c->services[claim->service]);
    if (shares_protocol(a, b) || (a.n == 0 && b.n == 0))
        v->equal = MIN(v->equal, claim->service);
    else if (!a.demanded && !b.demanded)
        v->nearly = MIN(v->nearly, claim->service);
}

static size_t name_place(const struct conf_service *s, const char *name) {
    size_t n = 0;
    while (n < s->nnames && strcmp(s->names[n], name) != 0)
        n++;
    return n;
}

/* One fault for each two services; true when there is an error. */
static bool check_ranks(struct service_reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    const char *addr = r->c->listeners[r->listener].name;
    for (size_t n = 0; n < s->nnames; n++) {
        struct rivalry v = {r->c, r->service, ROUTE_NOBODY, ROUTE_NOBODY};
        route_each_rival(r->table, r->listener, s->names[n], take_rival, &v);
        uint16_t other = v.equal != ROUTE_NOBODY ? v.equal : v.nearly;
        if (other == ROUTE_NOBODY)
            continue;
        const struct conf_service *o = &r->c->services[other];
        struct toml_pos at = name_at(r->l, r->service, n), its = name_at(r->l, other, name_place(o, s->names[n]));
        if (v.equal != ROUTE_NOBODY)
            load_error(
                r->l, at, load_key(r->l, r->service, KEY_NAMES),
                "found \"%s\", which service \"%s\" has at %s too, with the same rank (%s:%u:%u), expected different names, or "
                "\"match_alpn\" without a common protocol",
                s->names[n], o->name, addr, r->l->file ? r->l->file : "command line", its.line, its.column);
        else
            load_warning(r->l, at, load_key(r->l, r->service, KEY_NAMES),
                         "\"%s\" belongs to service \"%s\" at %s too (%s:%u:%u): clients that offer no protocol (ALPN) go to "
                         "\"%s\", which is first in the file; \"match_alpn\" in one of the two makes a difference",
                         s->names[n], o->name, addr, r->l->file ? r->l->file : "command line", its.line, its.column, o->name);
        return v.equal != ROUTE_NOBODY;
    }
    return false;
}

/* ---- what nobody reaches ---- */

static bool reaches(struct service_reach *r, const char *pattern, struct span alpn) {
    struct route_answer a = route_find_pattern(r->table, r->listener, pattern, alpn);
    r->rival = a.service;
    return a.service == r->service && a.fit != ROUTE_UNFIT;
}

/* With some protocol of its own, one that no client speaks (no text has a zero), or none. */
static bool name_reaches(struct service_reach *r, const char *pattern) {
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

static void report_lost_name(struct service_reach *r, const char *name) {
    load_warning(r->l, load_at(r->l, r->service, KEY_LISTEN), load_key(r->l, r->service, KEY_LISTEN),
                 "clients of %s that ask for \"%s\" always reach service \"%s\", never \"%s\"",
                 r->c->listeners[r->listener].name, name, r->c->services[r->rival].name, r->c->services[r->service].name);
}

static void report_unreachable(struct service_reach *r) {
    const struct conf_service *s = &r->c->services[r->service], *rival = &r->c->services[r->rival];
    const char *addr = r->c->listeners[r->listener].name;
    struct toml_pos at = load_at(r->l, r->service, KEY_LISTEN);
    const char *key = load_key(r->l, r->service, KEY_LISTEN);
    if (s->mode == MODE_PASSTHROUGH)
        load_error(r->l, at, key,
                   "service \"%s\" can never be chosen at %s: service \"%s\" takes every client that no other name belongs to, "
                   "expected \"names\" for passthrough, an address of its own%s",
                   s->name, addr, rival->name,
                   rival->mode == MODE_PASSTHROUGH ? "" : ", or \"strict_sni\" in the services that terminate TLS there");
    else
        load_error(r->l, at, key,
                   "service \"%s\" can never be chosen at %s: service \"%s\" has its names and protocols, expected another "
                   "address, \"names\", certificates for other names, or other protocols in \"alpn\"",
                   s->name, addr, rival->name);
}

/* A name that is lost is warned of, but only the first one: certificates that share names have many. */
static void check_reach(struct service_reach *r) {
    const char *lost = NULL;
    uint16_t lost_to = 0;
    bool reached = name_reaches(r, "*");
    uint16_t rival = r->rival;
    reached = reached || r->c->listeners[r->listener].fallback == r->service;
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
        report_lost_name(r, lost);
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
static void check_strength(struct service_reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    struct weaker w = {.c = r->c, .service = s, .weight = s->nnames ? ROUTE_GIVEN : ROUTE_IMPLIED};
    for (size_t n = 0; n < r->nnames && s->client_auth != CLIENT_AUTH_NONE; n++) {
        route_each_rival(r->table, r->listener, r->names[n], take_weaker, &w);
        if (!w.found)
            continue;
        load_warning(r->l, load_at(r->l, r->service, KEY_CLIENT_AUTH_MODE), load_key(r->l, r->service, KEY_CLIENT_AUTH_MODE),
                     "service \"%s\" serves \"%s\" at %s too and asks less of clients, who choose between the two by ALPN",
                     w.found->name, r->names[n], r->c->listeners[r->listener].name);
        return;
    }
}

/* ---- names and certificates ---- */

/* Whether a certificate with one of the sorted NAMES can serve PATTERN, or a part of it. */
static bool certified(const char **names, size_t n, const char *pattern) {
    struct route_pattern p = route_pattern_of(pattern);
    char wildcard[CONF_PATTERN_MAX + 1];
    const char *key = pattern;
    if (p.kind == ROUTE_ALL || p.kind == ROUTE_NAMELESS || (n && bsearch(&key, names, n, sizeof(*names), by_text)))
        return true;
    const char *rest = p.kind == ROUTE_EXACT ? strchr(pattern, '.') : strchr(pattern + 1, '.');
    struct text t = text_of(wildcard, sizeof(wildcard));
    text_addf(&t, "*%s", rest ? rest : "");
    key = wildcard;
    return rest && p.kind != ROUTE_LABEL && n && bsearch(&key, names, n, sizeof(*names), by_text);
}

/* Certificates change without a reload, so what they lack is no error. */
static void check_certified(struct service_reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    size_t lacking = 0, first = 0;
    if (!s->nnames || s->mode == MODE_PASSTHROUGH)
        return;
    r->nnames = 0;
    r->l->capabilities->each_name(r->l->capabilities->creds, r->service, collect_claimed_name, r);
    if (r->nnames)
        qsort(r->names, r->nnames, sizeof(*r->names), by_text);
    for (size_t n = 0; n < s->nnames; n++)
        if (!certified(r->names, r->nnames, s->names[n])) {
            first = lacking ? first : n;
            lacking++;
        }
    if (!lacking)
        return;
    char more[64] = "";
    struct text t = text_of(more, sizeof(more));
    if (lacking > 1)
        text_addf(&t, ", nor %zu other names", lacking - 1);
    load_warning(r->l, name_at(r->l, r->service, first), load_key(r->l, r->service, KEY_NAMES),
                 "no certificate of the service has \"%s\"%s: clients that ask for it %s", s->names[first], more,
                 s->strict_sni ? "are refused (\"strict_sni\")" : "get the default certificate");
}

/* ---- what an address does with strangers ---- */

static bool gives_default(const struct conf_service *s) {
    return s->mode == MODE_TERMINATE && !s->strict_sni && s->nnames == 0;
}

/* What has to be one thing for an address is in several services. */
static void check_address(struct load *l, uint16_t listener) {
    const struct conf *c = l->conf;
    const struct conf_service *all = c->services;
    size_t unknown = SIZE_MAX, first = SIZE_MAX, second = SIZE_MAX;
    bool claimed = false;
    const struct conf_listener *at = &c->listeners[listener];
    for (size_t k = 0; k < at->nservices; k++) {
        size_t i = at->services[k];
        claimed = claimed || name_place(&all[i], "*") < all[i].nnames;
        if (gives_default(&all[i]) && first == SIZE_MAX)
            first = i;
        else if (gives_default(&all[i]) && second == SIZE_MAX)
            second = i;
        if (!l->services[i].node[KEY_UNKNOWN])
            continue;
        if (unknown != SIZE_MAX && all[unknown].unknown != all[i].unknown)
            load_error(l, load_at(l, i, KEY_UNKNOWN), load_key(l, i, KEY_UNKNOWN),
                       "differs from service \"%s\", expected the same since both listen on %s", all[unknown].name, at->name);
        unknown = i;
    }
    if (second != SIZE_MAX && !claimed)
        load_warning(
            l, load_at(l, second, KEY_LISTEN), load_key(l, second, KEY_LISTEN),
            "services \"%s\" and \"%s\" both give clients of %s whose name nobody has their default certificate; what no "
            "protocol decides goes to \"%s\", which is first in the file: \"names\" or \"strict_sni\" in all but one makes it "
            "plain",
            all[first].name, all[second].name, at->name, all[first].name);
}

/* After a fault of a certificate not all names are known; it has been reported. */
void check_routes(struct load *l) {
    const struct conf *c = l->conf;
    if (l->diagnostics->errors)
        return;
    struct route_table *table = routes_make(c, l->capabilities->each_name, l->capabilities->creds);
    MUST(table); /* as above */
    struct service_reach r = {.l = l, .c = c, .table = table};
    for (r.service = 0; r.service < c->nservices; r.service++) {
        check_certified(&r);
        gather_names(&r);
        for (size_t k = 0; k < c->services[r.service].nlisteners; k++) {
            r.listener = c->services[r.service].listeners[k];
            if (c->listeners[r.listener].nservices < 2)
                continue;
            if (!check_ranks(&r))
                check_reach(&r);
            check_strength(&r);
        }
    }
    for (size_t i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].nservices > 1)
            check_address(l, (uint16_t)i);
    free(r.names);
    route_table_free(table);
}
