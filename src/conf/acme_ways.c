/*
 * The ways of validators: services that no operator has written, which lead those who come for a challenge to the acme role, by
 * passing them through. No name of an operator's service has a dot.
 */
#include "conf/acme_ways.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "conf/acme_keys.h"
#include "conf/lists.h"
#include "conf/report.h"
#include "conf/scalars.h"
#include "conf/schema.h"

#define TLS_ALPN_PORT 443

void read_acme_tls(struct reading *r, const struct toml_node *node) {
    char expected[256];
    struct text why = text_of(expected, sizeof(expected));
    if (value_backend(r->l, node->string, &r->l->acme_tls, &why) != 0)
        reading_refuse(r, node, "%s", expected);
}

void read_acme_http(struct reading *r, const struct toml_node *node) {
    read_addresses(r, node, &r->l->acme_http, &r->l->nacme_http);
}

/* A socket of the acme role. */
static struct conf_backend door_backend(struct load *l, const char *door) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "unix:%s/%s", l->conf->acme.dir, door);
    const char *text = conf_strdup(l->conf, path);
    struct conf_backend b = {.kind = BACKEND_UNIX, .text = text, .path = text + sizeof("unix:") - 1};
    if (strlen(b.path) > CONF_SOCKET_PATH_MAX - sizeof(ACME_NEXT_DOOR) + 1)
        load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir",
                   "its name is too long for a socket in it, expected at most %zu bytes",
                   (size_t)CONF_SOCKET_PATH_MAX - sizeof("/acme/" ACME_HTTP_DOOR ACME_NEXT_DOOR) + 1);
    return b;
}

/* NULL after a fault. */
static struct conf_service *add_way(struct load *l, const char *name, struct conf_backend to) {
    struct conf *c = l->conf;
    if (c->nservices == SERVICES_MAX) {
        load_error(l, (struct toml_pos){0, 0}, "acme", "found %d services, expected room for one more", SERVICES_MAX);
        return NULL;
    }
    struct conf_service *s = &c->services[c->nservices++];
    scalar_defaults("service.*", s);
    s->name = name;
    s->mode = MODE_PASSTHROUGH;
    s->backends = conf_alloc(c, sizeof(*s->backends));
    s->nbackends = 1;
    s->backends[0] = to;
    s->suites = c->services[0].suites; /* a snapshot has some of every service */
    s->nsuites = c->services[0].nsuites;
    s->groups = c->services[0].groups;
    s->ngroups = c->services[0].ngroups;
    return s;
}

/* Its addresses are for validators alone, who come without TLS: what is something else there is answered by the acme role. */
static void check_http_address(struct load *l, uint16_t listener) {
    static const enum conf_key others[] = {KEY_LISTENER_FALLBACK, KEY_LISTENER_REDIRECT_HTTP};
    const struct conf_listener *at = &l->conf->listeners[listener];
    if (at->nservices)
        load_error(l, load_top_at(l, KEY_ACME_HTTP), "acme.http",
                   "found \"%s\", where service \"%s\" listens, expected an address of its own; where another program has the "
                   "port, \"webroot\" does without one",
                   at->name, l->conf->services[at->services[0]].name);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const struct toml_node *node = l->listeners[listener].node[others[i]];
        if (node)
            load_error(l, node->at, load_listener_key(l, listener, others[i]),
                       "found beside \"acme.http\" of the same address, expected \"acme.redirect_http\" instead or nothing");
    }
}

static void add_http_way(struct load *l) {
    struct conf *c = l->conf;
    struct conf_service *s = add_way(l, "acme.http-01", door_backend(l, ACME_HTTP_DOOR));
    if (!s)
        return;
    s->listeners = l->acme_http;
    s->nlisteners = l->nacme_http;
    for (size_t i = 0; i < l->nacme_http; i++) {
        check_http_address(l, l->acme_http[i]);
        c->listeners[l->acme_http[i]].fallback_name = s->name;
    }
    MUST(conf_link_listeners(c) == 0);
}

/* http-01 that leads nowhere, unless another program has the port and passes requests on. */
static void check_http_challenge(struct load *l) {
    const struct conf_acme *a = &l->conf->acme;
    for (size_t i = 0; i < a->nissuers && !l->nacme_http && !a->webroot; i++)
        if (memchr(a->issuers[i].challenges, CHALLENGE_HTTP_01, a->issuers[i].nchallenges))
            load_warning(l, acme_origin(l, &a->issuers[i], "challenges").at, acme_origin(l, &a->issuers[i], "challenges").key,
                         "\"http-01\" without \"acme.http\" or \"acme.webroot\" needs a web server that passes requests on "
                         "to the socket %s/" ACME_HTTP_DOOR,
                         a->dir);
}

/* Issuers' validators come to one port alone (RFC 8737 3): it may be mapped to another one, on the way to us. */
static void check_tls_challenge(struct load *l) {
    const struct conf *c = l->conf;
    bool needs = false;
    for (size_t i = 0; i < c->acme.nissuers && !l->acme_tls.text; i++)
        needs = needs || (c->acme.issuers[i].nchallenges == 1 && c->acme.issuers[i].challenges[0] == CHALLENGE_TLS_ALPN_01);
    for (size_t i = 0; i < c->nlisteners && needs; i++)
        needs = !c->listeners[i].path && c->listeners[i].addr.port != TLS_ALPN_PORT;
    if (needs)
        load_warning(
            l, load_top_at(l, KEY_ACME_ISSUER), l->file ? "acme.issuer" : "--listen",
            "found no address with port %d, where validators of \"tls-alpn-01\" come: connections to that port have to be "
            "led to one of ours",
            TLS_ALPN_PORT);
}

void acme_ways(struct load *l, bool wanted) {
    struct conf *c = l->conf;
    struct conf_acme *a = &c->acme;
    if (c->nservices && (wanted || l->acme_tls.text)) {
        struct conf_backend to = l->acme_tls.text ? l->acme_tls : door_backend(l, ACME_TLS_DOOR);
        a->tls_service = (uint16_t)c->nservices;
        a->tls_route = add_way(l, "acme.tls-alpn-01", to) != NULL;
    }
    if (l->nacme_http && !wanted)
        load_error(l, load_top_at(l, KEY_ACME_HTTP), "acme.http",
                   "found addresses, expected a service that has certificates from an issuer (\"acme\" of a service)");
    else if (l->nacme_http && c->nservices)
        add_http_way(l);
    if (wanted) {
        check_http_challenge(l);
        check_tls_challenge(l);
    }
}
