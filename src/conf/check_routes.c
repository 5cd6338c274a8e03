/*
 * What no client can reach, by the rule that the handshakers go by (route.h): every service is requested at each of its
 * addresses by each of its names and protocols, and by none. Whatever ClientHello leads to a service, one of these does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/loader.h"
#include "conf/route.h"

/* A name of a service's certificates. */
struct held {
    char *name;
    uint16_t service;
};

struct cert_names {
    struct held *all; /* in order of service, then of name */
    size_t n, cap;
    uint16_t service; /* of those that are being added */
};

static void take_name(void *ctx, const char *name) {
    struct cert_names *x = ctx;
    if (x->n == x->cap) {
        x->cap = MAX(2 * x->cap, (size_t)64);
        x->all = reallocarray(x->all, x->cap, sizeof(*x->all));
        MUST(x->all); /* this process is made for one look at the configuration */
    }
    x->all[x->n] = (struct held){strdup(name), x->service};
    MUST(x->all[x->n].name);
    x->n++;
}

static int by_service(const void *a, const void *b) {
    const struct held *x = a, *y = b;
    return x->service != y->service ? (x->service < y->service ? -1 : 1) : strcmp(x->name, y->name);
}

static void names_free(struct cert_names *x) {
    for (size_t i = 0; i < x->n; i++)
        free(x->all[i].name);
    free(x->all);
}

static bool has(const struct cert_names *x, uint16_t service, char *name) {
    const struct held wanted = {name, service};
    return x->n && bsearch(&wanted, x->all, x->n, sizeof(*x->all), by_service) != NULL;
}

/* As creds_choose() finds certificates. A wildcard's own text represents any of its names without an exact entry. */
static enum route_match match(void *ctx, uint16_t service, const char *name) {
    const struct cert_names *x = ctx;
    char pattern[CONF_NAME_MAX + 2];
    struct text t = text_of(pattern, sizeof(pattern));
    const char *dot = strchr(name, '.');
    text_add(&t, name);
    if (name[0] != '*' && !t.cut && has(x, service, pattern))
        return ROUTE_EXACT;
    t = text_of(pattern, sizeof(pattern));
    text_addf(&t, "*%s", dot ? dot : "");
    return dot && dot > name && !t.cut && has(x, service, pattern) ? ROUTE_WILDCARD : ROUTE_NO_MATCH;
}

/* One service at one of its addresses. */
struct reach {
    const struct conf *c;
    struct cert_names *names;
    size_t first, end; /* its own names */
    uint16_t service, listener;
    uint16_t rival; /* who has what it requested last */
};

static bool reaches(struct reach *r, const char *name, struct span alpn) {
    const struct route_ask ask = {r->listener, name, alpn};
    r->rival = route(r->c, &ask, match, r->names).service;
    return r->rival == r->service;
}

/* With some protocol of its own, one that no client speaks (no text has a zero), or none. */
static bool name_reaches(struct reach *r, const char *name) {
    static const uint8_t unheard_of[] = {1, 0};
    const struct conf_service *s = &r->c->services[r->service];
    for (size_t i = 0; i < s->nalpn && s->mode == MODE_TERMINATE; i++) {
        uint8_t one[1 + CONF_NAME_MAX] = {(uint8_t)strlen(s->alpn[i])};
        memcpy(one + 1, s->alpn[i], one[0]);
        if (reaches(r, name, span_of(one, 1u + one[0])))
            return true;
    }
    return reaches(r, name, span_of(unheard_of, sizeof(unheard_of))) || reaches(r, name, span_of(NULL, 0));
}

static void report_unreachable(struct load *l, const struct reach *r, const char *name, bool is_error) {
    const struct conf *c = r->c;
    const struct conf_service *s = &c->services[r->service], *rival = &c->services[r->rival];
    char addr[ADDR_TEXT_MAX];
    (void)addr_text(&c->listeners[r->listener], addr); /* returns ADDR */
    struct toml_pos at = load_at(l, r->service, KEY_LISTEN);
    const char *key = load_key(l, r->service, KEY_LISTEN);
    if (!is_error)
        load_warning(l, at, key, "clients of %s that ask for \"%s\" always reach service \"%s\", never \"%s\"", addr, name,
                     rival->name, s->name);
    else if (s->mode == MODE_PASSTHROUGH)
        load_error(l, at, key,
                   "service \"%s\" can never be chosen at %s: service \"%s\" takes every client that no other name belongs to, "
                   "expected an address of its own for passthrough%s",
                   s->name, addr, rival->name,
                   rival->mode == MODE_PASSTHROUGH ? "" : ", or \"strict_sni\" in the services that terminate TLS there");
    else
        load_error(
            l, at, key,
            "service \"%s\" can never be chosen at %s: service \"%s\" has its names and protocols, expected another address, "
            "certificates for other names, or other protocols in \"alpn\"",
            s->name, addr, rival->name);
}

/* A name that is lost is warned of, but only the first one: certificates that share names have many. */
static void check_reach(struct load *l, struct reach *r) {
    const char *lost = NULL;
    uint16_t lost_to = 0;
    bool reached = name_reaches(r, "");
    for (size_t n = r->first; n < r->end; n++) {
        bool there = name_reaches(r, r->names->all[n].name);
        if (!there && !lost) {
            lost = r->names->all[n].name;
            lost_to = r->rival;
        }
        reached = reached || there;
    }
    if (lost)
        r->rival = lost_to;
    if (!reached || lost)
        report_unreachable(l, r, lost, !reached);
}

/* Of services that share a name a client chooses by its protocols, so it may choose the one that asks less of it. */
static void check_strength(struct load *l, const struct reach *r) {
    const struct conf_service *s = &r->c->services[r->service];
    char addr[ADDR_TEXT_MAX];
    for (size_t n = r->first; n < r->end; n++)
        for (uint16_t i = 0; i < r->c->nservices; i++) {
            const struct conf_service *other = &r->c->services[i];
            const char *name = r->names->all[n].name;
            if (other->client_auth >= s->client_auth || !route_is_at(other, r->listener) ||
                match(r->names, i, name) != match(r->names, r->service, name))
                continue;
            load_warning(l, load_at(l, r->service, KEY_CLIENT_AUTH_MODE), load_key(l, r->service, KEY_CLIENT_AUTH_MODE),
                         "service \"%s\" serves \"%s\" at %s too and asks less of clients, who choose between the two by ALPN",
                         other->name, name, addr_text(&r->c->listeners[r->listener], addr));
            return;
        }
}

static bool is_shared(const struct conf *c, uint16_t service, uint16_t listener) {
    for (size_t i = 0; i < c->nservices; i++)
        if (i != service && route_is_at(&c->services[i], listener))
            return true;
    return false;
}

static void gather_names(const struct load *l, struct cert_names *ret) {
    for (size_t i = 0; i < l->conf->nservices; i++) {
        ret->service = (uint16_t)i;
        l->capabilities->each_name(l->capabilities->creds, (uint16_t)i, take_name, ret);
    }
    if (ret->n)
        qsort(ret->all, ret->n, sizeof(*ret->all), by_service);
}

/* After a fault of a certificate not all names are known; it has been reported. */
void check_routes(struct load *l) {
    const struct conf *c = l->conf;
    struct cert_names names = {.n = 0};
    if (l->faults->errors)
        return;
    gather_names(l, &names);
    struct reach r = {.c = c, .names = &names};
    for (r.service = 0; r.service < c->nservices; r.service++) {
        for (r.first = r.end; r.end < names.n && names.all[r.end].service == r.service;)
            r.end++;
        for (size_t k = 0; k < c->services[r.service].nlisteners; k++) {
            r.listener = c->services[r.service].listeners[k];
            if (!is_shared(c, r.service, r.listener))
                continue;
            check_reach(l, &r);
            check_strength(l, &r);
        }
    }
    names_free(&names);
}
