/* Servers of nginx as services: their names, and where sessions go, by maps too. */
#include "convert/nginx_server.h"

#include <string.h>
#include <strings.h>

/* ---- backends ---- */

static const struct nginx_directive *find_block(const struct nginx *x, const char *kind, size_t word, const char *name) {
    for (const struct nginx_directive *d = x->stream->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), kind) == 0 && strcmp(nginx_word(d, word), name) == 0)
            return d;
    return NULL;
}

static void add_backend(struct nginx *x, struct model_service *s, const struct nginx_directive *d, const char *to) {
    bool is_path = strncmp(to, "unix:", 5) == 0;
    const char *port = NULL, *host = is_path ? to + 5 : model_split(x->m, to, &port);
    if (!strchr(to, '$') && (is_path || port))
        model_add_backend(x->m, s, d->line, host, port);
    else
        nginx_lose(x, d, "expected an address with a port");
}

/* Of a server of an upstream block: about what is lost anyway, or how it is found again after a failure. */
static bool is_known_parameter(const char *word) {
    static const char *const known[] = {"down", "weight=1", "max_fails=", "fail_timeout=", "slow_start=", "resolve"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strncmp(word, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

static void take_upstream(struct nginx *x, struct model_service *s, const struct nginx_directive *upstream) {
    const char *balance = "round-robin";
    for (const struct nginx_directive *d = upstream->children; d; d = d->next) {
        const char *name = nginx_word(d, 0);
        bool out = false;
        for (size_t i = 2; strcmp(name, "server") == 0 && i < d->n; i++) {
            const char *w = nginx_word(d, i);
            out = out || strcmp(w, "down") == 0;
            if (strcmp(w, "backup") == 0 || (strncmp(w, "weight=", 7) == 0 && strcmp(w, "weight=1") != 0) ||
                strncmp(w, "max_conns=", 10) == 0)
                nginx_lose(x, d, "all backends serve alike");
            else if (!is_known_parameter(w))
                nginx_lose(x, d, w);
        }
        if (strcmp(name, "server") == 0 && !out)
            add_backend(x, s, d, nginx_word(d, 1));
        else if (strcmp(name, "hash") == 0 && strstr(nginx_word(d, 1), "remote_addr"))
            balance = "client-hash";
        else if (strcmp(name, "least_conn") == 0 || strcmp(name, "random") == 0)
            balance = "least-sessions";
        else if (strcmp(name, "hash") == 0)
            nginx_lose(x, d, "only clients are hashed");
        else if (strcmp(name, "server") != 0 && strcmp(name, "zone") != 0)
            nginx_lose(x, d, NULL);
    }
    model_set(x->m, s, "", "balance", balance);
}

static void take_target(struct nginx *x, struct model_service *s, const struct nginx_directive *d, const char *to) {
    const struct nginx_directive *upstream = find_block(x, "upstream", 1, to);
    if (upstream)
        take_upstream(x, s, upstream);
    else
        add_backend(x, s, d, to);
}

/* ---- servers ---- */

/* A name as nginx matches names: ".x" is x and all below, "*.x" all below. False: clients ask for it, and it is lost. */
static bool add_mapped_name(struct nginx *x, struct model_service *s, const struct nginx_directive *d, const char *name) {
    if (name[0] == '~' || strcmp(name, "_") == 0) {
        nginx_lose(x, d, name[0] == '~' ? "a regular expression" : "this name is nobody's");
        return name[0] != '~';
    }
    if (name[0] == '.')
        return model_add_name(x->m, s, d->line, name + 1) && model_add_name(x->m, s, d->line, model_text(x->m, "**%s", name));
    return model_add_name(x->m, s, d->line, model_text(x->m, "%s%s", strncmp(name, "*.", 2) == 0 ? "*" : "", name));
}

/* What a map is about. */
struct map {
    const struct nginx_directive *d;
    bool by_protocol, by_list, hostnames; /* one protocol; the list that clients offer, as a whole */
};

static bool is_entry(const struct nginx_directive *d) {
    static const char *const words[] = {"hostnames", "volatile", "include"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(nginx_word(d, 0), words[i]) == 0)
            return false;
    return true;
}

/* Every name that the map has no entry for, and none unless it has one for that. */
static void add_rest(struct nginx *x, struct model_service *s, const struct map *map) {
    model_add(x->m, s, "", "names", "*");
    for (const struct nginx_directive *d = map->d->children; d; d = d->next)
        if (!nginx_word(d, 0)[0] && !map->by_protocol)
            return;
    model_add(x->m, s, "", "names", "");
}

/* Why an entry cannot be taken; NULL when it can. */
static const char *why_lost_entry(const struct map *map, const char *name) {
    bool is_pattern = name[0] == '.' || strchr(name, '*');
    if (name[0] == '~')
        return "a regular expression";
    if (map->by_protocol && strchr(name, ','))
        return "one protocol";
    if (!map->by_protocol && is_pattern && !map->hostnames)
        return "a pattern means something in a map with \"hostnames\" only";
    return NULL;
}

static void add_map_entry(struct nginx *x, struct model_service *s, const struct map *map, const struct nginx_directive *d) {
    const char *name = nginx_word(d, 0), *why = why_lost_entry(map, name);
    if (why)
        nginx_lose(x, d, why);
    else if (strcmp(name, "default") == 0)
        add_rest(x, s, map);
    else if (map->by_protocol) {
        model_add(x->m, s, "", "match_alpn", name);
        if (map->by_list)
            nginx_lose(x, d, "nginx compares all that a client offers, tls-off each protocol of it");
    } else if (!name[0])
        model_add(x->m, s, "", "names", "");
    else
        (void)add_mapped_name(x, s, d, name + (name[0] == '\\')); /* noted */
}

/* The service of the map's entries with FIRST's target: they share one. */
static void add_mapped(struct nginx *x, const struct model_service *base, const struct map *map,
                       const struct nginx_directive *first) {
    const char *target = nginx_word(first, 1);
    for (const struct nginx_directive *d = map->d->children; d != first; d = d->next)
        if (is_entry(d) && strcmp(nginx_word(d, 1), target) == 0)
            return; /* is there already */
    struct model_service *s = model_add_service(x->m, target, first->line);
    for (const struct nginx_directive *d = first; d; d = d->next)
        if (is_entry(d) && strcmp(nginx_word(d, 1), target) == 0)
            add_map_entry(x, s, map, d);
    if (model_has(s, "", "match_alpn") && !model_has(s, "", "names"))
        model_add_any_name(x->m, s);
    if (!model_has(s, "", "names")) { /* only lost entries */
        model_clear(s);
        return;
    }
    model_inherit(s, base, "names");
    if (target[0])
        take_target(x, s, first, target);
    else
        model_refuse(s, first->line);
}

/* proxy_pass $variable: each target of its map is a service. */
static bool take_map(struct nginx *x, struct model_service *base, const char *variable) {
    const struct nginx_directive *map = find_block(x, "map", 2, variable);
    const char *source = nginx_word(map, 1);
    bool by_name = strcmp(source, "$ssl_preread_server_name") == 0 || strcmp(source, "$ssl_server_name") == 0;
    bool by_protocol = strcmp(source, "$ssl_preread_alpn_protocols") == 0 || strcmp(source, "$ssl_alpn_protocol") == 0;
    if (!map || !(by_name || by_protocol))
        return false;
    struct map m = {map, by_protocol, strcmp(source, "$ssl_preread_alpn_protocols") == 0, false};
    for (const struct nginx_directive *d = map->children; d; d = d->next)
        m.hostnames = m.hostnames || strcmp(nginx_word(d, 0), "hostnames") == 0;
    for (const struct nginx_directive *d = map->children; d; d = d->next) {
        bool is_part = strcmp(nginx_word(d, 0), "include") == 0;
        if (is_part)
            nginx_lose(x, d, "this part of the map");
        bool is_lost = m.by_list || why_lost_entry(&m, nginx_word(d, 0));
        if (is_part || (is_entry(d) && !nginx_word(d, 1)[0] && is_lost))
            model_guard_lost(base, d->line);
    }
    for (const struct nginx_directive *d = map->children; d; d = d->next)
        if (is_entry(d))
            add_mapped(x, base, &m, d);
    return true;
}

/* The address of a "listen" line, alike for all ways to write it. */
struct listen_address {
    const char *host, *port;
    size_t len; /* of the host */
};

static struct listen_address listen_address_of(const struct nginx_directive *d) {
    const char *text = nginx_word(d, 1), *colon = strrchr(text, ':');
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (strncmp(text, "unix:", 5) == 0)
        return (struct listen_address){text, "", strlen(text)};
    if (!colon || (n == 1 && text[0] == '*'))
        return (struct listen_address){"0.0.0.0", colon ? colon + 1 : text, 7};
    if (n == 9 && strncasecmp(text, "localhost", n) == 0)
        return (struct listen_address){"127.0.0.1", colon + 1, n};
    return (struct listen_address){text, colon + 1, n};
}

static bool same_address(const struct listen_address *a, const struct listen_address *b) {
    return a->len == b->len && strncasecmp(a->host, b->host, a->len) == 0 && strcmp(a->port, b->port) == 0;
}

static bool has_option(const struct nginx_directive *listen, const char *option) {
    for (size_t i = 2; i < listen->n; i++)
        if (strcmp(nginx_word(listen, i), option) == 0)
            return true;
    return false;
}

static bool is_udp(const struct nginx_directive *listen) {
    return has_option(listen, "udp") || has_option(listen, "quic");
}

static bool listens_at(const struct nginx_directive *server, const struct listen_address *address, bool *ret_is_default) {
    for (const struct nginx_directive *d = server->children; d; d = d->next) {
        struct listen_address its = listen_address_of(d);
        if (strcmp(nginx_word(d, 0), "listen") != 0 || is_udp(d) || !same_address(&its, address))
            continue;
        *ret_is_default = has_option(d, "default") || has_option(d, "default_server");
        return true;
    }
    return false;
}

/* Whether the address has OPTION: one server that says so does for all of them there. */
static bool address_has(const struct nginx *x, const struct nginx_directive *listen, const char *option) {
    const struct listen_address address = listen_address_of(listen);
    for (const struct nginx_directive *s = x->stream->children; s; s = s->next)
        for (const struct nginx_directive *d = strcmp(nginx_word(s, 0), "server") == 0 ? s->children : NULL; d; d = d->next) {
            struct listen_address its = listen_address_of(d);
            if (strcmp(nginx_word(d, 0), "listen") == 0 && !is_udp(d) && same_address(&its, &address) && has_option(d, option))
                return true;
        }
    return false;
}

/* Among servers of one address: the one that says so, or else the first one, gets who asks for none of their names.
 * *RET_SHARED: there is another one. */
static bool is_default(const struct nginx *x, const struct nginx_directive *server, const struct nginx_directive *listen,
                       bool *ret_shared) {
    const struct listen_address address = listen_address_of(listen);
    bool before = false, says = false, other_says = false, its;
    *ret_shared = false;
    (void)listens_at(server, &address, &says); /* it does */
    for (const struct nginx_directive *d = x->stream->children, *seen = NULL; d; d = d->next) {
        if (d == server)
            seen = d;
        else if (strcmp(nginx_word(d, 0), "server") == 0 && listens_at(d, &address, &its)) {
            *ret_shared = true;
            before = before || !seen;
            other_says = other_says || its;
        }
    }
    return says || (!before && !other_says);
}

/* Addresses that are served alike: each kind of them is a service. */
enum { KIND_TLS = 1, KIND_PROXY = 2, KIND_DEFAULT = 4, KINDS = 8 };

static unsigned kind_of(const struct nginx *x, const struct nginx_directive *server, const struct nginx_directive *listen) {
    bool shared;
    return (address_has(x, listen, "ssl") ? KIND_TLS : 0u) | (address_has(x, listen, "proxy_protocol") ? KIND_PROXY : 0u) |
           (is_default(x, server, listen, &shared) ? KIND_DEFAULT : 0u);
}

/* Parameters of a "listen" line that mean something here, or are about the socket alone, by their first letters. */
static void note_parameters(struct nginx *x, const struct nginx_directive *listen) {
    static const char *const known[] = {"ssl",       "proxy_protocol", "default", "udp",       "quic",
                                        "backlog=",  "ipv6only=",      "bind",    "reuseport", "deferred",
                                        "fastopen=", "rcvbuf=",        "sndbuf=", "setfib=",   "accept_filter="};
    for (size_t i = 2; i < listen->n; i++) {
        const char *w = nginx_word(listen, i);
        bool is_known = false;
        for (size_t k = 0; k < ARRAY_LEN(known); k++)
            is_known = is_known || strncmp(w, known[k], strlen(known[k])) == 0;
        if (strncmp(w, "so_keepalive", 12) == 0)
            model_note(x->m, MODEL_NOT_NEEDED, listen->line, "%s: see timeouts.keepalive", w);
        else if (!is_known)
            nginx_lose(x, listen, w);
    }
}

/* "listen" lines of KIND and "server_name" lines. False: no client asks for it there. */
static bool take_addresses(struct nginx *x, struct model_service *base, const struct nginx_directive *server, unsigned kind) {
    bool shared = false;
    unsigned lost_name = 0;
    for (const struct nginx_directive *d = server->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "listen") == 0 && !is_udp(d) && kind_of(x, server, d) == kind) {
            bool with_others;
            (void)is_default(x, server, d, &with_others); /* as all of its kind */
            shared = shared || with_others;
            nginx_take_listen(x, base, d);
            note_parameters(x, d);
        } else if (strcmp(nginx_word(d, 0), "server_name") == 0) {
            for (size_t i = 1; i < d->n; i++)
                if (!add_mapped_name(x, base, d, nginx_word(d, i)) && !lost_name)
                    lost_name = d->line;
        }
    if (kind & KIND_DEFAULT) { /* who asks for a lost name comes here all the same */
        if (shared || model_has(base, "", "names"))
            model_add_any_name(x->m, base);
        return true;
    }
    model_lose_name(base, lost_name);
    if (lost_name || model_has(base, "", "names"))
        return true;
    nginx_lose(x, server, "an earlier server of its address takes every name");
    return false;
}

/* Where its sessions go. False after a note: it is no service. */
static bool take_proxy_pass(struct nginx *x, struct model_service *base, const struct nginx_directive *server, bool tls) {
    const struct nginx_directive *pass = nginx_setting(server, "proxy_pass");
    bool preread = nginx_is_on(nginx_setting(server, "ssl_preread"));
    if (!pass || !(tls || preread)) {
        nginx_lose(x, pass ? pass : server, pass ? "neither TLS nor passed on by its hello" : "no \"proxy_pass\"");
        return false;
    }
    if (nginx_word(pass, 1)[0] == '$') {
        bool taken = take_map(x, base, nginx_word(pass, 1));
        if (!taken)
            nginx_lose(x, pass, "only maps of the hello's name or protocols are followed");
        return taken;
    }
    struct model_service *s = model_add_service(x->m, nginx_word(pass, 1), server->line);
    model_inherit(s, base, "");
    if (!tls && !model_has(s, "", "names") && !model_loses_name(s))
        model_add_any_name(x->m, s);
    take_target(x, s, pass, nginx_word(pass, 1));
    return true;
}

static void take_kind(struct nginx *x, const struct nginx_directive *server, unsigned kind) {
    struct model_service *base = model_add_service(x->m, "server", server->line);
    const struct nginx_directive *ssl = nginx_setting(server, "proxy_ssl");
    struct nginx_listen l = {kind & KIND_TLS, kind & KIND_PROXY};
    if (!take_addresses(x, base, server, kind)) {
        model_clear(base);
        return;
    }
    nginx_take_settings(x, base, server, &l);
    if (nginx_is_on(ssl))
        nginx_lose(x, ssl, "TLS to a backend");
    if (take_proxy_pass(x, base, server, l.tls))
        model_clear(base);
    else
        model_drop(base, server->line);
}

void nginx_take_server(struct nginx *x, const struct nginx_directive *server) {
    bool kinds[KINDS] = {false}, any = false;
    for (const struct nginx_directive *d = server->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "listen") == 0 && is_udp(d))
            nginx_lose(x, d, "TLS over UDP");
        else if (strcmp(nginx_word(d, 0), "listen") == 0)
            any = kinds[kind_of(x, server, d)] = true;
    kinds[KIND_DEFAULT] = kinds[KIND_DEFAULT] || !any;
    for (unsigned kind = KINDS; kind-- > 0;)
        if (kinds[kind])
            take_kind(x, server, kind);
}
