/* Keys against each other. Says nothing about a key that was already refused: it was given, and its list is empty. */
#include "conf/cross_check.h"

#include <string.h>

#include "base/addr.h"
#include "conf/otlp_keys.h"
#include "conf/report.h"
#include "conf/suggestion.h"

static bool is_fallback(const struct conf *c, const struct conf_service *s) {
    for (size_t i = 0; i < c->nlisteners; i++)
        if (c->listeners[i].fallback_name && strcmp(c->listeners[i].fallback_name, s->name) == 0)
            return true;
    return false;
}

static void check_required(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    const struct service_origin *o = &l->services[i];
    const struct toml_node *listen = o->node[KEY_LISTEN], *backends = o->node[KEY_BACKENDS];
    if (!is_fallback(l->conf, s) && (!listen || (listen->kind == TOML_ARRAY && listen->nchildren == 0)))
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
    static const enum conf_key idle_keys[] = {KEY_CERTIFICATES, KEY_ALPN,       KEY_MIN_VERSION, KEY_CIPHER_SUITES,
                                              KEY_GROUPS,       KEY_STRICT_SNI, KEY_FETCH_OCSP};
    struct conf_service *s = &l->conf->services[i];
    if (s->mode != MODE_PASSTHROUGH)
        return;
    for (size_t k = 0; k < ARRAY_LEN(idle_keys); k++)
        if (l->services[i].node[idle_keys[k]])
            load_warning(l, load_at(l, i, idle_keys[k]), load_key(l, i, idle_keys[k]), "has no effect in passthrough mode");
    s->ncerts = 0;
    s->fetch_ocsp = false;
}

static bool has_protocol(const struct conf_service *s, const char *name) {
    for (size_t i = 0; i < s->nalpn; i++)
        if (strcmp(s->alpn[i], name) == 0)
            return true;
    return false;
}

/* What a service demands of clients it must speak with them, where it is the one that speaks. */
static void check_protocols(struct load *l, size_t i) {
    struct conf_service *s = &l->conf->services[i];
    const struct toml_node *match = l->services[i].node[KEY_MATCH_ALPN];
    if (s->mode == MODE_PASSTHROUGH || !match)
        return;
    if (!l->services[i].node[KEY_ALPN]) {
        s->alpn = s->match_alpn;
        s->nalpn = s->nmatch_alpn;
    }
    for (size_t k = 0; k < s->nmatch_alpn; k++)
        if (!has_protocol(s, s->match_alpn[k]))
            load_error(l, match->at, load_key(l, i, KEY_MATCH_ALPN), "found \"%s\", expected protocols of \"alpn\" only",
                       s->match_alpn[k]);
}

/* A greeting that the backend says within TLS of its own is none that can be swallowed. */
static void check_starttls(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    if (s->mode == MODE_PASSTHROUGH && s->starttls != STARTTLS_NONE && prelude_protocol(s->starttls)->greets_once)
        load_error(l, load_at(l, i, KEY_STARTTLS), load_key(l, i, KEY_STARTTLS),
                   "found \"%s\", expected mode \"terminate\" with it: a backend with TLS of its own would greet a second time",
                   prelude_protocol(s->starttls)->name);
    if (s->cancel_pass && s->starttls != STARTTLS_POSTGRESQL)
        load_warning(l, load_at(l, i, KEY_CANCEL), load_key(l, i, KEY_CANCEL),
                     "has no effect unless \"starttls\" is \"postgresql\"");
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

static bool same_trust(const struct conf_service *s, const struct conf_listener *at) {
    if (s->nproxy_trust != at->nproxy_trust)
        return false;
    for (size_t i = 0; i < s->nproxy_trust; i++) {
        const struct cidr *x = &s->proxy_trust[i], *y = &at->proxy_trust[i];
        if (x->bits != y->bits || !addr_equal(&x->net, &y->net))
            return false;
    }
    return true;
}

static void disagree(struct load *l, size_t service, enum conf_key key, const struct conf_listener *at) {
    load_error(l, load_at(l, service, key), load_key(l, service, key),
               "differs from service \"%s\", expected the same since both listen on %s",
               l->conf->services[at->services[0]].name, at->name);
}

/* Whether service I has what its listener took from the first service there. */
static bool agrees_with_listener(struct load *l, size_t i, const struct conf_listener *at) {
    const struct conf_service *s = &l->conf->services[i];
    bool accept = s->proxy_accept == at->proxy_accept, trust = !accept || !s->proxy_accept || same_trust(s, at);
    bool starttls = s->starttls == at->starttls;
    bool handshake = s->handshake_ms == at->handshake_ms, keepalive = s->keepalive_ms == at->keepalive_ms;
    if (!accept)
        disagree(l, i, KEY_PROXY_ACCEPT, at);
    if (!trust)
        disagree(l, i, KEY_PROXY_TRUST, at);
    if (!starttls)
        disagree(l, i, KEY_STARTTLS, at);
    if (!handshake)
        disagree(l, i, KEY_TIMEOUT_HANDSHAKE, at);
    if (!keepalive) /* the listening socket has it, and accepted sockets inherit it */
        disagree(l, i, KEY_TIMEOUT_KEEPALIVE, at);
    return accept && trust && starttls && handshake && keepalive;
}

/* What happens before the service is known must be the same for all services of an address. Said once a service. */
static void check_sharing(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    bool ok = true;
    for (size_t k = 0; k < s->nlisteners && ok; k++)
        ok = agrees_with_listener(l, i, &l->conf->listeners[s->listeners[k]]);
}

/* Whether there is an address that both of them take. */
static bool overlap(const struct conf_listener *a, const struct conf_listener *b) {
    if (a->path || b->path || a->addr.port == 0 || a->addr.port != b->addr.port ||
        (a->device && b->device && strcmp(a->device, b->device) != 0))
        return false;
    if (a->addr.family == b->addr.family)
        return addr_is_any(&a->addr) || addr_is_any(&b->addr);
    const struct conf_listener *v6 = a->addr.family == AF_INET6 ? a : b;
    return addr_is_any(&v6->addr) && !v6->v6only;
}

/* The one address that has a choice is [::]. */
static void check_v6only(struct load *l, size_t i) {
    const struct conf_listener *at = &l->conf->listeners[i];
    if (!l->listeners[i].node[KEY_LISTENER_V6ONLY] || at->path)
        return;
    if (at->name[0] == '*' && at->v6only)
        load_error(l, load_listener_at(l, i, KEY_LISTENER_V6ONLY), load_listener_key(l, i, KEY_LISTENER_V6ONLY),
                   "found true, expected \"[::]:%u\" in \"listen\" for IPv6 alone: \"%s\" is both", at->addr.port, at->name);
    else if (!addr_is_any(&at->addr) || at->addr.family != AF_INET6)
        load_error(l, load_listener_at(l, i, KEY_LISTENER_V6ONLY), load_listener_key(l, i, KEY_LISTENER_V6ONLY),
                   "found %s, expected it for \"[::]:PORT\" only: \"%s\" is of one family", at->v6only ? "true" : "false",
                   at->name);
}

/* What only one of both kinds of sockets has. */
static void check_kind(struct load *l, size_t i) {
    static const enum conf_key of_tcp[] = {KEY_LISTENER_V6ONLY, KEY_LISTENER_MPTCP, KEY_LISTENER_DEVICE},
                               of_file[] = {KEY_LISTENER_MODE, KEY_LISTENER_OWNER, KEY_LISTENER_GROUP};
    _Static_assert(ARRAY_LEN(of_tcp) == ARRAY_LEN(of_file), "one loop for either");
    const struct conf_listener *at = &l->conf->listeners[i];
    bool is_file = at->path && at->path[0] == '/';
    for (size_t k = 0; k < ARRAY_LEN(of_tcp); k++) {
        if (at->path && l->listeners[i].node[of_tcp[k]])
            load_error(l, load_listener_at(l, i, of_tcp[k]), load_listener_key(l, i, of_tcp[k]),
                       "has no effect at a Unix socket, expected it at an address of IP only");
        if (!is_file && l->listeners[i].node[of_file[k]])
            load_error(l, load_listener_at(l, i, of_file[k]), load_listener_key(l, i, of_file[k]),
                       "has no effect at \"%s\", expected it at the path of a Unix socket only", at->name);
    }
}

/* A process is in no network. */
static void check_processes_admitted(struct load *l, size_t i) {
    const struct conf_service *s = &l->conf->services[i];
    for (size_t k = 0; k < s->nlisteners; k++) {
        const struct conf_listener *at = &l->conf->listeners[s->listeners[k]];
        if (at->path && s->naccess_allow && !s->proxy_accept)
            load_warning(l, load_at(l, i, KEY_ACCESS_ALLOW), load_key(l, i, KEY_ACCESS_ALLOW),
                         "admits nobody at \"%s\": processes are in no network, and no PROXY header names others", at->name);
    }
}

/* The kernel gives a port to one socket of a family that listens on all addresses, or to single addresses, not to both. */
static void check_overlap(struct load *l) {
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nlisteners; i++)
        for (size_t j = 0; j < i; j++) {
            const struct conf_listener *a = &c->listeners[i], *b = &c->listeners[j];
            if (!overlap(a, b))
                continue;
            load_error(l, l->listeners[i].first.at, l->listeners[i].first.key,
                       "found \"%s\", expected no address that overlaps with \"%s\" of %s", a->name, b->name,
                       l->listeners[j].first.key);
        }
}

/* The admin sockets are no service's, and the process that has them cannot share them with it. */
static void check_admin_apart(struct load *l) {
    const struct conf_admin *a = &l->conf->admin;
    const struct conf_listener tcp = {.addr = a->listen, .v6only = true};
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        const struct conf_listener *at = &l->conf->listeners[i];
        bool same_path = at->path && a->socket && strcmp(at->path, a->socket) == 0;
        bool same_port = !at->path && a->listen.family != AF_UNSPEC && a->listen.port != 0 &&
                         (addr_equal(&at->addr, &a->listen) || overlap(at, &tcp));
        enum conf_key key = same_path ? KEY_ADMIN_SOCKET : KEY_ADMIN_LISTEN;
        if (same_path || same_port)
            load_error(l, load_top_at(l, key), load_top_key(key), "found \"%s\" of %s, expected %s of its own", at->name,
                       l->listeners[i].first.key, same_path ? "a path" : "an address");
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

/* Only passthrough: what was not decrypted must not reach a backend that believes it was. */
static void check_fallback(struct load *l, size_t i) {
    const struct conf_listener *at = &l->conf->listeners[i];
    const struct toml_node *node = l->listeners[i].node[KEY_LISTENER_FALLBACK];
    struct suggestion near = {.word = at->fallback_name};
    if (!at->fallback_name || !node)
        return;
    const char *key = load_listener_key(l, i, KEY_LISTENER_FALLBACK);
    for (size_t k = 0; k < l->conf->nservices; k++)
        suggestion_offer(&near, l->conf->services[k].name);
    const char *best = suggestion_get(&near);
    if (at->fallback == CONF_NO_SERVICE && best)
        load_error(l, node->at, key, "found \"%s\", expected the name of a service, perhaps \"%s\"", at->fallback_name, best);
    else if (at->fallback == CONF_NO_SERVICE)
        load_error(l, node->at, key, "found \"%s\", expected the name of a service", at->fallback_name);
    else if (l->conf->services[at->fallback].mode != MODE_PASSTHROUGH)
        load_error(l, node->at, key, "found \"%s\", which ends TLS, expected a service in mode \"passthrough\"",
                   at->fallback_name);
}

/* Where clients begin in clear, whatever is no TLS belongs to that dialogue: neither key could ever act. */
static void check_prelude_alone(struct load *l, size_t i) {
    static const enum conf_key keys[] = {KEY_LISTENER_FALLBACK, KEY_LISTENER_REDIRECT_HTTP};
    const struct conf_listener *at = &l->conf->listeners[i];
    const bool used[] = {at->fallback_name != NULL, at->redirect_http};
    for (size_t k = 0; k < ARRAY_LEN(keys) && at->starttls != STARTTLS_NONE; k++) {
        const struct toml_node *node = l->listeners[i].node[keys[k]];
        if (used[k] && node)
            load_error(l, node->at, load_listener_key(l, i, keys[k]),
                       "has no effect beside starttls = \"%s\" of the services there", prelude_protocol(at->starttls)->name);
    }
}

void check_keys(struct load *l) {
    MUST(conf_link_listeners(l->conf) == 0);
    if (!names_services(l))
        load_error(l, (struct toml_pos){0, 0}, NULL, "found no service, expected at least one section [service.NAME]");
    for (size_t i = 0; i < l->conf->nservices; i++) {
        check_required(l, i);
        check_passthrough(l, i);
        check_protocols(l, i);
        check_starttls(l, i);
        check_client_auth(l, i);
        check_suites(l, i);
        check_sharing(l, i);
        check_processes_admitted(l, i);
    }
    for (size_t i = 0; i < l->conf->nlisteners; i++) {
        check_v6only(l, i);
        check_kind(l, i);
        check_fallback(l, i);
        check_prelude_alone(l, i);
    }
    check_overlap(l);
    check_admin_apart(l);
    check_otlp(l);
}
