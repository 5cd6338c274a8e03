/* The stream block of nginx.conf: servers that end TLS, or pass it on by what "ssl_preread" sees. */
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "convert/nginx_tree.h"
#include "convert/readers.h"

struct nginx {
    struct model *m;
    const struct nginx_directive *stream; /* the directives beside servers: a block, or the whole file */
};

/* Directives that are looked at elsewhere, or mean nothing here. */
static const char *const silent[] = {"listen",
                                     "server_name",
                                     "proxy_pass",
                                     "ssl_certificate",
                                     "ssl_certificate_key",
                                     "ssl_password_file",
                                     "ssl_protocols",
                                     "ssl_ciphers",
                                     "ssl_conf_command",
                                     "ssl_ecdh_curve",
                                     "ssl_alpn",
                                     "ssl_client_certificate",
                                     "ssl_trusted_certificate",
                                     "ssl_crl",
                                     "ssl_verify_client",
                                     "ssl_verify_depth",
                                     "ssl_handshake_timeout",
                                     "ssl_preread",
                                     "proxy_timeout",
                                     "proxy_connect_timeout",
                                     "proxy_protocol",
                                     "proxy_protocol_timeout",
                                     "set_real_ip_from",
                                     "allow",
                                     "deny",
                                     "upstream",
                                     "server",
                                     "map",
                                     "access_log",
                                     "error_log",
                                     "log_format",
                                     "ssl_session_cache",
                                     "ssl_session_tickets",
                                     "ssl_session_timeout",
                                     "ssl_prefer_server_ciphers",
                                     "ssl_dhparam",
                                     "ssl_session_ticket_key",
                                     "preread_buffer_size",
                                     "preread_timeout",
                                     "proxy_buffer_size",
                                     "tcp_nodelay",
                                     "proxy_socket_keepalive",
                                     "proxy_next_upstream",
                                     "proxy_next_upstream_tries",
                                     "proxy_next_upstream_timeout",
                                     "resolver",
                                     "resolver_timeout",
                                     "variables_hash_max_size",
                                     "variables_hash_bucket_size",
                                     "map_hash_max_size",
                                     "map_hash_bucket_size",
                                     "ssl_stapling",
                                     "ssl_reject_handshake",
                                     "status_zone",
                                     "proxy_half_close"};

static bool in_silent(const char *word) {
    for (size_t i = 0; i < ARRAY_LEN(silent); i++)
        if (strcmp(word, silent[i]) == 0)
            return true;
    return false;
}

static bool is_on(const struct nginx_directive *d) {
    return strcmp(nginx_word(d, 1), "on") == 0;
}

static void lose(struct nginx *x, const struct nginx_directive *d, const char *why) {
    model_lose(x->m, d->words, d->n, why);
}

/* ---- listen ---- */

struct listen {
    bool tls, udp, proxy;
};

/* "443" and "*:443" are IPv4 alone in nginx. */
static const char *listen_address(struct nginx *x, const char *text) {
    const char *colon = strrchr(text, ':');
    if (strncmp(text, "unix:", 5) == 0 || text[0] == '[')
        return text;
    if (!colon)
        return model_text(x->m, "0.0.0.0:%s", text);
    return text[0] == '*' ? model_text(x->m, "0.0.0.0%s", colon) : text;
}

static void take_listen(struct nginx *x, struct model_service *s, const struct nginx_directive *d, struct listen *ret) {
    const char *address = listen_address(x, nginx_word(d, 1));
    for (size_t i = 2; i < d->n; i++) {
        const char *w = nginx_word(d, i);
        if (strcmp(w, "ssl") == 0)
            ret->tls = true;
        else if (strcmp(w, "udp") == 0)
            ret->udp = true;
        else if (strcmp(w, "proxy_protocol") == 0)
            ret->proxy = true;
        else if (strncmp(w, "backlog=", 8) == 0)
            model_set_number(x->m, model_listener(x->m, address), d->line, "", "backlog", w + 8);
        else if (strcmp(w, "ipv6only=off") == 0)
            model_set_raw(x->m, model_listener(x->m, address), "", "v6only", "false");
        else if (strncmp(w, "setfib", 6) == 0 || strncmp(w, "accept_filter", 13) == 0)
            lose(x, d, w);
    }
    if (ret->udp)
        lose(x, d, "TLS over UDP");
    else
        model_add(x->m, s, "", "listen", address);
}

/* ---- what holds for a whole service ---- */

static void set_duration(struct nginx *x, struct model_service *s, const struct nginx_directive *server, const char *name,
                         const char *key) {
    const struct nginx_directive *d = nginx_setting(server, name);
    const char *duration = d ? model_duration(x->m, nginx_word(d, 1), "s") : NULL;
    if (duration)
        model_set(x->m, s, "timeouts", key, duration);
    else if (d)
        lose(x, d, "expected a duration");
}

/* All certificates of the nearest block that has one; keys follow in the same order. */
static void take_certificates(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *at = nginx_setting(server, "ssl_certificate");
    const struct nginx_directive *pass = nginx_setting(server, "ssl_password_file");
    if (!at || !at->parent)
        return;
    const struct nginx_directive *key = at->parent->children;
    for (const struct nginx_directive *d = at->parent->children; d; d = d->next) {
        if (strcmp(nginx_word(d, 0), "ssl_certificate") != 0)
            continue;
        while (key && strcmp(nginx_word(key, 0), "ssl_certificate_key") != 0)
            key = key->next;
        const char *cert = nginx_word(d, 1), *file = key ? nginx_word(key, 1) : cert;
        if (strchr(cert, '$') || strncmp(file, "engine:", 7) == 0 || strchr(file, '$'))
            lose(x, d, "expected a file");
        else
            model_add_cert(x->m, s, model_path(x->m, cert), model_path(x->m, file),
                           pass ? model_path(x->m, nginx_word(pass, 1)) : NULL);
        key = key ? key->next : NULL;
    }
}

static void take_client_auth(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *verify = nginx_setting(server, "ssl_verify_client");
    const struct nginx_directive *ca = nginx_setting(server, "ssl_client_certificate");
    const struct nginx_directive *crl = nginx_setting(server, "ssl_crl"), *depth = nginx_setting(server, "ssl_verify_depth");
    const char *mode = nginx_word(verify, 1);
    if (!verify || strcmp(mode, "off") == 0)
        return;
    if (strcmp(mode, "optional_no_ca") == 0)
        lose(x, verify, "certificates are always verified");
    model_set(x->m, s, "client_auth", "mode", strcmp(mode, "on") == 0 ? "required" : "optional");
    if (!ca)
        ca = nginx_setting(server, "ssl_trusted_certificate");
    if (ca)
        model_set(x->m, s, "client_auth", "ca", model_path(x->m, nginx_word(ca, 1)));
    if (crl)
        model_set(x->m, s, "client_auth", "crl", model_path(x->m, nginx_word(crl, 1)));
    if (depth)
        model_set_number(x->m, s, depth->line, "client_auth", "depth", nginx_word(depth, 1));
}

static void take_versions(struct nginx *x, struct model_service *s, const struct nginx_directive *d) {
    bool has12 = false, has13 = false;
    for (size_t i = 1; i < d->n; i++) {
        has12 = has12 || strcmp(nginx_word(d, i), "TLSv1.2") == 0;
        has13 = has13 || strcmp(nginx_word(d, i), "TLSv1.3") == 0;
    }
    if (has13 && !has12)
        model_min_version(x->m, s, d->line, "TLSv1.3");
}

static void take_tls(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *ciphers = nginx_setting(server, "ssl_ciphers"),
                                 *groups = nginx_setting(server, "ssl_ecdh_curve");
    const struct nginx_directive *versions = nginx_setting(server, "ssl_protocols"), *alpn = nginx_setting(server, "ssl_alpn");
    const struct nginx_directive *command = nginx_setting(server, "ssl_conf_command");
    bool suites = command && strcasecmp(nginx_word(command, 1), "Ciphersuites") == 0;
    take_certificates(x, s, server);
    take_client_auth(x, s, server);
    if (versions)
        take_versions(x, s, versions);
    model_suites(x->m, s, ciphers ? ciphers->line : server->line, ciphers ? nginx_word(ciphers, 1) : NULL,
                 suites ? nginx_word(command, 2) : NULL);
    if (command && !suites)
        lose(x, command, NULL);
    if (groups)
        model_groups(x->m, s, groups->line, nginx_word(groups, 1));
    for (size_t i = 1; alpn && i < alpn->n; i++)
        model_add(x->m, s, "", "alpn", nginx_word(alpn, i));
    set_duration(x, s, server, "ssl_handshake_timeout", "handshake");
}

/* nginx takes the first rule that fits, we the most specific one: the same, but for a rule within a later one's network. */
static void take_access(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    for (const struct nginx_directive *d = server->children; d; d = d->next) {
        bool allows = strcmp(nginx_word(d, 0), "allow") == 0, denies = strcmp(nginx_word(d, 0), "deny") == 0;
        const char *network = nginx_word(d, 1);
        if ((!allows && !denies) || (allows && strcmp(network, "all") == 0))
            continue;
        if (denies && strcmp(network, "all") == 0) /* what a list to allow means by itself */
            continue;
        if (strncmp(network, "unix:", 5) == 0)
            lose(x, d, NULL);
        else
            model_add(x->m, s, "access", allows ? "allow" : "deny", network);
    }
}

static void take_proxy(struct nginx *x, struct model_service *s, const struct nginx_directive *server, bool accepts) {
    if (is_on(nginx_setting(server, "proxy_protocol")))
        model_set(x->m, s, "proxy_protocol", "send", "v1");
    if (!accepts)
        return;
    model_set(x->m, s, "proxy_protocol", "accept", "required");
    for (const struct nginx_directive *block = server; block; block = block->parent)
        for (const struct nginx_directive *d = block->children; d; d = d->next)
            if (strcmp(nginx_word(d, 0), "set_real_ip_from") == 0)
                model_add(x->m, s, "proxy_protocol", "trust", nginx_word(d, 1));
    if (model_has(s, "proxy_protocol", "trust"))
        return;
    model_add(x->m, s, "proxy_protocol", "trust", "127.0.0.0/8");
    model_note(
        x->m, MODEL_LOST, server->line,
        "listen ... proxy_protocol: say in proxy_protocol.trust whose headers are believed; only 127.0.0.0/8 is there now");
}

static void take_others(struct nginx *x, const struct nginx_directive *block) {
    for (const struct nginx_directive *d = block->children; d; d = d->next)
        if (!in_silent(nginx_word(d, 0)))
            lose(x, d, NULL);
}

/* ---- backends ---- */

static const struct nginx_directive *find_block(const struct nginx *x, const char *kind, size_t word, const char *name) {
    for (const struct nginx_directive *d = x->stream->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), kind) == 0 && strcmp(nginx_word(d, word), name) == 0)
            return d;
    return NULL;
}

static void add_backend(struct nginx *x, struct model_service *s, const struct nginx_directive *d, const char *to) {
    const char *colon = strrchr(to, ':');
    if (strncmp(to, "unix:", 5) == 0)
        model_add(x->m, s, "", "backends", to);
    else if (colon && colon[1] && !strchr(to, '$'))
        model_add(x->m, s, "", "backends", model_text(x->m, "tcp:%s", to));
    else
        lose(x, d, "expected an address with a port");
}

static void take_upstream(struct nginx *x, struct model_service *s, const struct nginx_directive *upstream) {
    const char *balance = "round-robin";
    for (const struct nginx_directive *d = upstream->children; d; d = d->next) {
        const char *name = nginx_word(d, 0);
        bool out = false;
        for (size_t i = 2; strcmp(name, "server") == 0 && i < d->n; i++) {
            const char *w = nginx_word(d, i);
            out = out || strcmp(w, "down") == 0;
            if (strcmp(w, "backup") == 0 || strncmp(w, "weight=", 7) == 0 || strncmp(w, "max_conns=", 10) == 0)
                lose(x, d, "all backends serve alike");
        }
        if (strcmp(name, "server") == 0 && !out)
            add_backend(x, s, d, nginx_word(d, 1));
        else if (strcmp(name, "hash") == 0 && strstr(nginx_word(d, 1), "remote_addr"))
            balance = "client-hash";
        else if (strcmp(name, "least_conn") == 0 || strcmp(name, "random") == 0)
            balance = "least-sessions";
        else if (strcmp(name, "hash") == 0)
            lose(x, d, "only clients are hashed");
        else if (strcmp(name, "server") != 0 && strcmp(name, "zone") != 0)
            lose(x, d, NULL);
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

/* A name of a map: with "hostnames", ".x" is x and all below, "*.x" all below. */
static void add_name(struct nginx *x, struct model_service *s, const char *name) {
    if (name[0] == '.')
        model_add(x->m, s, "", "names", name + 1);
    if (name[0] == '.' || strncmp(name, "*.", 2) == 0)
        model_add(x->m, s, "", "names", model_text(x->m, "**%s", name + (name[0] == '*')));
    else
        model_add(x->m, s, "", "names", name);
}

/* The service of the map's entries with that target: they share one. */
static void add_mapped(struct nginx *x, const struct model_service *base, const struct nginx_directive *map,
                       const struct nginx_directive *first, bool by_protocol) {
    const char *target = nginx_word(first, 1);
    for (const struct nginx_directive *d = map->children; d != first; d = d->next)
        if (strcmp(nginx_word(d, 1), target) == 0)
            return; /* is there already */
    struct model_service *s = model_add_service(x->m, target);
    for (const struct nginx_directive *d = first; d; d = d->next) {
        const char *name = nginx_word(d, 0);
        if (strcmp(nginx_word(d, 1), target) != 0)
            continue;
        if (name[0] == '~') {
            lose(x, d, "a regular expression");
        } else if (strcmp(name, "default") == 0) {
            model_add(x->m, s, "", "names", "*");
            model_add(x->m, s, "", "names", "");
        } else if (by_protocol) {
            model_add(x->m, s, "", "match_alpn", name);
        } else {
            add_name(x, s, name);
        }
    }
    if (by_protocol && !model_has(s, "", "names")) {
        model_add(x->m, s, "", "names", "*");
        model_add(x->m, s, "", "names", "");
    }
    model_inherit(s, base, "names");
    take_target(x, s, first, target);
}

/* proxy_pass $variable: each target of its map is a service. */
static bool take_map(struct nginx *x, const struct model_service *base, const char *variable) {
    const struct nginx_directive *map = find_block(x, "map", 2, variable);
    const char *source = nginx_word(map, 1);
    bool by_name = strcmp(source, "$ssl_preread_server_name") == 0 || strcmp(source, "$ssl_server_name") == 0;
    bool by_protocol = strcmp(source, "$ssl_preread_alpn_protocols") == 0 || strcmp(source, "$ssl_alpn_protocol") == 0;
    if (!map || !(by_name || by_protocol))
        return false;
    for (const struct nginx_directive *d = map->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "hostnames") != 0 && strcmp(nginx_word(d, 0), "volatile") != 0)
            add_mapped(x, base, map, d, by_protocol);
    return true;
}

static void take_server(struct nginx *x, const struct nginx_directive *server) {
    struct model_service *base = model_add_service(x->m, "base");
    const struct nginx_directive *pass = nginx_setting(server, "proxy_pass"), *ssl = nginx_setting(server, "proxy_ssl");
    struct listen l = {false, false, false};
    for (const struct nginx_directive *d = server->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "listen") == 0)
            take_listen(x, base, d, &l);
        else if (strcmp(nginx_word(d, 0), "server_name") == 0)
            for (size_t i = 1; i < d->n; i++)
                add_name(x, base, nginx_word(d, i));
    bool preread = is_on(nginx_setting(server, "ssl_preread"));
    if (l.tls)
        take_tls(x, base, server);
    else
        model_set(x->m, base, "", "mode", "passthrough");
    take_proxy(x, base, server, l.proxy);
    take_access(x, base, server);
    set_duration(x, base, server, "proxy_timeout", "idle");
    set_duration(x, base, server, "proxy_connect_timeout", "connect");
    take_others(x, server);
    if (is_on(ssl))
        lose(x, ssl, "TLS to a backend");
    if (!pass || !(l.tls || preread)) {
        lose(x, pass ? pass : server, pass ? "neither TLS nor passed on by its hello" : "no \"proxy_pass\"");
    } else if (nginx_word(pass, 1)[0] == '$') {
        if (!take_map(x, base, nginx_word(pass, 1)))
            lose(x, pass, "only maps of the hello's name or protocols are followed");
    } else {
        struct model_service *s = model_add_service(x->m, nginx_word(pass, 1));
        if (!l.tls) {
            model_add(x->m, s, "", "names", "*");
            model_add(x->m, s, "", "names", "");
        }
        model_inherit(s, base, "");
        take_target(x, s, pass, nginx_word(pass, 1));
    }
    model_clear(x->m, base);
}

static void take_stream(struct nginx *x) {
    take_others(x, x->stream);
    for (const struct nginx_directive *d = x->stream->children; d; d = d->next)
        if (strcmp(nginx_word(d, 0), "server") == 0)
            take_server(x, d);
}

/* A directive outside of the stream block. */
static void take_main(struct nginx *x, const struct nginx_directive *d) {
    static const char *const unused[] = {"events",
                                         "pid",
                                         "daemon",
                                         "error_log",
                                         "load_module",
                                         "worker_rlimit_nofile",
                                         "worker_cpu_affinity",
                                         "worker_shutdown_timeout",
                                         "pcre_jit",
                                         "master_process"};
    const char *name = nginx_word(d, 0);
    for (size_t i = 0; i < ARRAY_LEN(unused); i++)
        if (strcmp(name, unused[i]) == 0)
            return;
    if (strcmp(name, "user") == 0)
        model_set(x->m, model_top(x->m), "", "user", nginx_word(d, 1));
    else if (strcmp(name, "worker_processes") == 0 && strcmp(nginx_word(d, 1), "auto") != 0)
        model_set_number(x->m, model_top(x->m), d->line, "", "workers", nginx_word(d, 1));
    else if (strcmp(name, "http") == 0 || strcmp(name, "mail") == 0)
        model_note(x->m, MODEL_NOT_NEEDED, d->line, "the %s block: only streams of bytes are taken", name);
    else if (strcmp(name, "include") == 0 && !strstr(nginx_word(d, 1), "modules"))
        lose(x, d, "convert that file, too");
    else if (strcmp(name, "worker_processes") != 0 && strcmp(name, "include") != 0)
        lose(x, d, NULL);
}

int convert_nginx(struct model *m, struct span bytes, struct text *why) {
    struct nginx_tree t;
    int err = nginx_tree_read(bytes, &t, why);
    if (err)
        return err;
    struct nginx_directive whole = {.children = t.first}; /* a file that is included in a stream block has servers itself */
    struct nginx x = {m, NULL};
    bool is_part = false;
    for (const struct nginx_directive *d = t.first; d; d = d->next)
        is_part = is_part || strcmp(nginx_word(d, 0), "server") == 0 || strcmp(nginx_word(d, 0), "upstream") == 0;
    for (struct nginx_directive *d = t.first; d; d = d->next) {
        if (is_part) {
            d->parent = &whole;
        } else if (strcmp(nginx_word(d, 0), "stream") == 0) {
            x.stream = d;
            take_stream(&x);
        } else {
            take_main(&x, d);
        }
    }
    if (is_part) {
        x.stream = &whole;
        take_stream(&x);
    }
    nginx_tree_free(&t);
    return 0;
}
