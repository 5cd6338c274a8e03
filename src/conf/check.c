/* Keys against each other. Says nothing about a key that was already refused: it was given, and its list is empty. */
#include <string.h>

#include "base/addr.h"
#include "conf/loader.h"

static void check_required(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    const struct service_origin *o = &l->services[i];
    const struct toml_node *listen = o->node[KEY_LISTEN], *backends = o->node[KEY_BACKENDS];
    if (!listen || (listen->kind == TOML_ARRAY && listen->nchildren == 0))
        load_error(l, load_at(l, i, KEY_LISTEN), load_key(l, i, KEY_LISTEN), "found none, expected at least one \"IP:PORT\"");
    if (!backends || (backends->kind == TOML_ARRAY && backends->nchildren == 0))
        load_error(l, load_at(l, i, KEY_BACKENDS), load_key(l, i, KEY_BACKENDS),
                   "found none, expected at least one like \"unix:/run/app.sock\"");
    if (s->proxy_accept && s->nproxy_trust == 0 && (!o->node[KEY_PROXY_TRUST] || o->node[KEY_PROXY_TRUST]->nchildren == 0))
        load_error(l, load_at(l, i, KEY_PROXY_ACCEPT), load_key(l, i, KEY_PROXY_ACCEPT),
                   "found \"required\" without \"trust\", expected the networks that may send a PROXY header");
    if (!s->proxy_accept && s->nproxy_trust > 0)
        load_warning(l, load_at(l, i, KEY_PROXY_TRUST), load_key(l, i, KEY_PROXY_TRUST),
                     "has no effect while \"accept\" is \"none\"");
}

static void check_passthrough(struct load *l, size_t i) {
    static const enum conf_key idle_keys[] = {KEY_CERTIFICATES,  KEY_ALPN,   KEY_MIN_VERSION,
                                              KEY_CIPHER_SUITES, KEY_GROUPS, KEY_STRICT_SNI};
    struct conf_service *s = &l->conf->services[i];
    if (s->mode != MODE_PASSTHROUGH)
        return;
    for (size_t k = 0; k < ARRAY_LEN(idle_keys); k++)
        if (l->services[i].node[idle_keys[k]])
            load_warning(l, load_at(l, i, idle_keys[k]), load_key(l, i, idle_keys[k]), "has no effect in passthrough mode");
    s->ncerts = 0;
}

/* A service that requests certificates must name the CA; one that does not must not look as if it refused clients. */
static void check_client_auth(struct load *l, size_t i) {
    static const enum conf_key others[] = {KEY_CLIENT_AUTH_CA, KEY_CLIENT_AUTH_CRL, KEY_CLIENT_AUTH_DEPTH,
                                           KEY_CLIENT_AUTH_ALLOW};
    struct conf_service *s = &l->conf->services[i];
    const struct service_origin *o = &l->services[i];
    bool asks = s->client_auth != CLIENT_AUTH_NONE;
    const struct toml_node *allow = o->node[KEY_CLIENT_AUTH_ALLOW];
    if (asks && s->mode == MODE_PASSTHROUGH)
        load_error(l, load_at(l, i, KEY_CLIENT_AUTH_MODE), load_key(l, i, KEY_CLIENT_AUTH_MODE),
                   "found \"%s\", expected \"none\" in passthrough mode, where certificates are the backend's business",
                   s->client_auth == CLIENT_AUTH_REQUIRED ? "required" : "optional");
    else if (asks && !o->node[KEY_CLIENT_AUTH_CA])
        load_error(l, load_at(l, i, KEY_CLIENT_AUTH_MODE), load_key(l, i, KEY_CLIENT_AUTH_MODE),
                   "found \"%s\" without \"ca\", expected the file of the CA that issues the clients' certificates",
                   s->client_auth == CLIENT_AUTH_REQUIRED ? "required" : "optional");
    for (size_t k = 0; k < ARRAY_LEN(others) && !asks; k++)
        if (o->node[others[k]])
            load_warning(l, load_at(l, i, others[k]), load_key(l, i, others[k]), "has no effect while \"mode\" is \"none\"");
    if (asks && allow && allow->kind == TOML_ARRAY && allow->nchildren == 0)
        load_error(
            l, load_at(l, i, KEY_CLIENT_AUTH_ALLOW), load_key(l, i, KEY_CLIENT_AUTH_ALLOW),
            "found an empty array, expected at least one rule; leave \"allow\" out to let in every certificate of the CA");
}

/* With TLS 1.3 as the least version at least one of its suites is needed. */
static void check_suites(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    bool fits = s->mode == MODE_PASSTHROUGH || s->nsuites == 0;
    for (size_t k = 0; k < s->nsuites && !fits; k++) {
        uint16_t id = 0, version = 0;
        for (size_t j = 0; l->capabilities->suite_at(j, &id, &version) && !fits; j++)
            fits = id == s->suites[k] && version >= s->min_version;
    }
    if (!fits)
        load_error(l, load_at(l, i, KEY_CIPHER_SUITES), load_key(l, i, KEY_CIPHER_SUITES),
                   "found no suite of TLS 1.3, expected one since \"min_version\" is \"1.3\"");
}

static bool same_trust(const struct conf_service *a, const struct conf_service *b) {
    if (a->nproxy_trust != b->nproxy_trust)
        return false;
    for (size_t i = 0; i < a->nproxy_trust; i++) {
        const struct cidr *x = &a->proxy_trust[i], *y = &b->proxy_trust[i];
        if (x->bits != y->bits || x->net.family != y->net.family || memcmp(x->net.ip, y->net.ip, sizeof(x->net.ip)) != 0)
            return false;
    }
    return true;
}

static bool shares_listener(const struct conf_service *a, const struct conf_service *b, uint16_t *ret_listener) {
    for (size_t i = 0; i < a->nlisteners; i++)
        for (size_t j = 0; j < b->nlisteners; j++)
            if (a->listeners[i] == b->listeners[j]) {
                *ret_listener = a->listeners[i];
                return true;
            }
    return false;
}

static void disagree(struct load *l, size_t i, enum conf_key key, size_t first, uint16_t listener) {
    char addr[ADDR_TEXT_MAX];
    load_error(l, load_at(l, i, key), load_key(l, i, key),
               "differs from service \"%s\", expected the same since both listen on %s", l->conf->services[first].name,
               addr_text(&l->conf->listeners[listener], addr));
}

/* What happens before the service is known must be the same for all services of an address. */
static void check_sharing(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    for (size_t j = 0; j < i; j++) {
        const struct conf_service *first = &l->conf->services[j];
        uint16_t listener = 0;
        if (!shares_listener(s, first, &listener))
            continue;
        if (s->proxy_accept != first->proxy_accept)
            disagree(l, i, KEY_PROXY_ACCEPT, j, listener);
        else if (s->proxy_accept && !same_trust(s, first))
            disagree(l, i, KEY_PROXY_TRUST, j, listener);
        if (s->handshake_ms != first->handshake_ms)
            disagree(l, i, KEY_TIMEOUT_HANDSHAKE, j, listener);
        if (s->keepalive_ms != first->keepalive_ms) /* the listening socket has it, and accepted sockets inherit it */
            disagree(l, i, KEY_TIMEOUT_KEEPALIVE, j, listener);
        return;
    }
}

static bool is_wildcard(const struct addr *a) {
    static const uint8_t zero[sizeof(a->ip)];
    return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* The kernel gives a port to one socket of a family that listens on all addresses, or to single addresses, not to both. */
static void check_overlap(struct load *l) {
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nlisteners; i++)
        for (size_t j = 0; j < i; j++) {
            const struct addr *a = &c->listeners[i], *b = &c->listeners[j];
            char one[ADDR_TEXT_MAX], other[ADDR_TEXT_MAX];
            if (a->port == 0 || a->port != b->port || a->family != b->family || (!is_wildcard(a) && !is_wildcard(b)))
                continue;
            load_error(l, l->listeners[i].at, l->listeners[i].key,
                       "found \"%s\", expected no address that overlaps with \"%s\" of %s", addr_text(a, one),
                       addr_text(b, other), l->listeners[j].key);
        }
}

static bool names_services(const struct load *l) {
    if (!l->file)
        return true;
    for (size_t i = 0; l->root && i < l->root->nchildren; i++) {
        const struct toml_node *n = &l->root->children[i];
        if (strcmp(n->key, "service") == 0)
            return n->kind != TOML_TABLE || n->nchildren > 0;
    }
    return false;
}

void check_keys(struct load *l) {
    if (!names_services(l))
        load_error(l, (struct toml_pos){0, 0}, NULL, "found no service, expected at least one section [service.NAME]");
    for (size_t i = 0; i < l->conf->nservices; i++) {
        check_required(l, i);
        check_passthrough(l, i);
        check_client_auth(l, i);
        check_suites(l, i);
        check_sharing(l, i);
    }
    check_overlap(l);
}
