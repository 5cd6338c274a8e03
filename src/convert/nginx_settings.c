/* What servers of nginx say about listening, TLS and who may come. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "convert/nginx_server.h"
#include "convert/rules.h"

/* Directives that are looked at elsewhere. */
static const char *const elsewhere[] = {"listen",
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
                                        "set_real_ip_from",
                                        "allow",
                                        "deny",
                                        "upstream",
                                        "server",
                                        "map"};

/* Directives that mean nothing here, by their first letters, and why. */
static const char *const not_needed[][2] = {
    {"access_log", "a line a session, see [log]"},
    {"error_log", "see [log]"},
    {"log_format", "see log.format"},
    {"open_log_file_cache", "see [log]"},
    {"ssl_session_", "sessions are resumed by tickets, see [tickets]"},
    {"ssl_prefer_server_ciphers", "the server's order counts"},
    {"ssl_dhparam", "key exchange is by elliptic curves"},
    {"ssl_stapling", "a response that lies beside its certificate as FILE.ocsp is stapled, see fetch_ocsp"},
    {"ssl_ocsp", "revocation is checked by client_auth.crl"},
    {"preread_buffer_size", "the handshake has a bound of its own"},
    {"preread_timeout", "the handshake has a deadline of its own"},
    {"proxy_protocol_timeout", "within timeouts.handshake"},
    {"proxy_buffer_size", "see buffer_memory"},
    {"tcp_nodelay", "small pieces are sent at once"},
    {"proxy_socket_keepalive", "see timeouts.keepalive"},
    {"proxy_next_upstream", "other backends are tried until timeouts.connect"},
    {"resolver", "names of backends are looked up by the system"},
    {"variables_hash_", "there are no variables"},
    {"map_hash_", "there are no maps"},
    {"status_zone", "see [admin]"},
    {"proxy_half_close", "either direction may end before the other"},
};

/* Lua of the operator: it may refuse clients, whatever the directive is called. */
static bool is_lua(const char *word) {
    return strstr(word, "_by_lua") != NULL;
}

static const char *why_not_needed(const char *word) {
    if (is_lua(word))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(not_needed); i++)
        if (strncmp(word, not_needed[i][0], strlen(not_needed[i][0])) == 0)
            return not_needed[i][1];
    return NULL;
}

static bool is_elsewhere(const char *word) {
    for (size_t i = 0; i < ARRAY_LEN(elsewhere); i++)
        if (strcmp(word, elsewhere[i]) == 0)
            return true;
    return false;
}

bool nginx_is_on(const struct nginx_directive *d) {
    return strcasecmp(nginx_word(d, 1), "on") == 0;
}

void nginx_lose(struct nginx *x, const struct nginx_directive *d, const char *why) {
    model_lose(x->m, d->words, d->n, why);
}

/* ---- listen ---- */

/* "443" and "*:443" are IPv4 alone in nginx, "[::]:443" IPv6 alone unless it says otherwise. */
static void add_address(struct nginx *x, struct model_service *s, const struct nginx_directive *d, bool both,
                        const struct model_socket *how) {
    const char *text = nginx_word(d, 1), *port = text, *host = strchr(text, ':') ? model_split(x->m, text, &port) : "*";
    if (strncmp(text, "unix:", 5) == 0)
        model_listen_unix(x->m, s, d->line, text + 5);
    else if (strcmp(host, "*") == 0)
        (void)model_listen(x->m, s, d->line, "0.0.0.0", port, how); /* noted */
    else
        (void)model_listen(x->m, s, d->line, strcmp(host, "::") == 0 && both ? NULL : host, port, how); /* noted */
}

void nginx_take_listen(struct nginx *x, struct model_service *s, const struct nginx_directive *d) {
    struct model_socket how = {NULL, NULL};
    bool both = false;
    for (size_t i = 2; i < d->n; i++) {
        const char *w = nginx_word(d, i);
        both = both || strcmp(w, "ipv6only=off") == 0;
        if (strncmp(w, "backlog=", 8) == 0)
            how.backlog = w + 8;
        else if (strncmp(w, "setfib", 6) == 0 || strncmp(w, "accept_filter", 13) == 0)
            nginx_lose(x, d, w);
    }
    add_address(x, s, d, both, &how);
}

/* ---- what holds for a whole service ---- */

static void set_duration(struct nginx *x, struct model_service *s, const struct nginx_directive *server, const char *name,
                         const char *key) {
    const struct nginx_directive *d = nginx_setting(server, name);
    const char *duration = d ? model_duration(x->m, nginx_word(d, 1), "s") : NULL;
    if (duration)
        model_set(x->m, s, "timeouts", key, duration);
    else if (d)
        nginx_lose(x, d, "expected a duration");
}

/* All certificates of the nearest block that has one; keys follow in the same order. */
static void take_certificates(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *at = nginx_setting(server, "ssl_certificate");
    const struct nginx_directive *pass = nginx_setting(server, "ssl_password_file");
    if (!at || !at->parent)
        return;
    const struct nginx_directive *keys = nginx_block_with(server, "ssl_certificate_key", NULL),
                                 *key = keys ? keys->children : NULL;
    for (const struct nginx_directive *d = at->parent->children; d; d = d->next) {
        if (strcmp(nginx_word(d, 0), "ssl_certificate") != 0)
            continue;
        while (key && strcmp(nginx_word(key, 0), "ssl_certificate_key") != 0)
            key = key->next;
        const char *cert = nginx_word(d, 1), *file = key ? nginx_word(key, 1) : cert;
        if (strchr(cert, '$') || strncmp(file, "engine:", 7) == 0 || strchr(file, '$'))
            nginx_lose(x, d, "expected a file");
        else
            model_add_cert(x->m, s, model_path(x->m, cert), model_path(x->m, file),
                           pass ? model_path(x->m, nginx_word(pass, 1)) : NULL);
        key = key ? key->next : NULL;
    }
}

static void take_client_auth(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *verify = nginx_setting(server, "ssl_verify_client");
    const struct nginx_directive *ca = nginx_setting(server, "ssl_client_certificate"),
                                 *trusted = nginx_setting(server, "ssl_trusted_certificate");
    const struct nginx_directive *crl = nginx_setting(server, "ssl_crl"), *depth = nginx_setting(server, "ssl_verify_depth");
    const struct nginx_directive *ocsp = nginx_setting(server, "ssl_ocsp");
    const char *mode = nginx_word(verify, 1);
    if (!verify || strcasecmp(mode, "off") == 0)
        return;
    if (ocsp && strcasecmp(nginx_word(ocsp, 1), "off") != 0) {
        nginx_lose(x, ocsp, "revocation is checked by client_auth.crl");
        model_guard_lost(s, ocsp->line);
    }
    bool no_ca = strcasecmp(mode, "optional_no_ca") == 0;
    if (no_ca)
        nginx_lose(x, verify, "certificates are always verified");
    model_set_verify(x->m, s, verify->line, nginx_is_on(verify) ? "required" : no_ca ? "optional" : mode);
    if (ca && trusted)
        nginx_lose(x, trusted, "clients with certificates of these CAs are refused: there is one file of CAs");
    if (!ca)
        ca = trusted;
    if (ca)
        model_set(x->m, s, "client_auth", "ca", model_path(x->m, nginx_word(ca, 1)));
    if (crl)
        model_set(x->m, s, "client_auth", "crl", model_path(x->m, nginx_word(crl, 1)));
    if (depth)
        model_set_number(x->m, s, depth->line, "client_auth", "depth", nginx_word(depth, 1), MODEL_DEPTH_MAX);
    else
        model_set_raw(x->m, s, "client_auth", "depth", "1"); /* nginx's default */
}

static void take_versions(struct nginx *x, struct model_service *s, const struct nginx_directive *d) {
    bool has12 = false, has13 = false;
    for (size_t i = 1; i < d->n; i++) {
        bool is12 = strcasecmp(nginx_word(d, i), "TLSv1.2") == 0, is13 = strcasecmp(nginx_word(d, i), "TLSv1.3") == 0;
        has12 = has12 || is12;
        has13 = has13 || is13;
        if (!is12 && !is13)
            model_note(x->m, MODEL_NOT_NEEDED, d->line, "%s: tls-off begins at TLS 1.2", nginx_word(d, i));
    }
    if (has13 && !has12)
        model_min_version(x->m, s, d->line, "TLSv1.3");
    if (has12 && !has13)
        model_note(x->m, MODEL_NOT_NEEDED, d->line, "ssl_protocols: TLS 1.3 is offered, too");
}

/* All "ssl_conf_command" lines of the nearest block that has some. */
static void take_commands(struct nginx *x, struct model_service *s, const struct nginx_directive *server, const char **list12,
                          const char **list13) {
    const struct nginx_directive *block = nginx_block_with(server, "ssl_conf_command", NULL);
    for (const struct nginx_directive *d = block ? block->children : NULL; d; d = d->next) {
        const char *name = nginx_word(d, 1), *value = nginx_word(d, 2);
        if (strcmp(nginx_word(d, 0), "ssl_conf_command") != 0)
            continue;
        if (strcasecmp(name, "Ciphersuites") == 0)
            *list13 = value;
        else if (strcasecmp(name, "CipherString") == 0)
            *list12 = value;
        else if (strcasecmp(name, "Groups") == 0 || strcasecmp(name, "Curves") == 0)
            model_groups(x->m, s, d->line, value);
        else if (strcasecmp(name, "MinProtocol") != 0)
            nginx_lose(x, d, NULL);
        else if (!model_has(s, "", "min_version") || strcasecmp(value, "TLSv1.3") == 0)
            model_min_version(x->m, s, d->line, value);
    }
}

static void take_tls(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *ciphers = nginx_setting(server, "ssl_ciphers"),
                                 *groups = nginx_setting(server, "ssl_ecdh_curve");
    const struct nginx_directive *versions = nginx_setting(server, "ssl_protocols"), *alpn = nginx_setting(server, "ssl_alpn");
    const char *list12 = ciphers ? nginx_word(ciphers, 1) : NULL, *list13 = NULL;
    take_certificates(x, s, server);
    take_client_auth(x, s, server);
    if (versions)
        take_versions(x, s, versions);
    if (groups)
        model_groups(x->m, s, groups->line, nginx_word(groups, 1));
    take_commands(x, s, server, &list12, &list13);
    model_suites(x->m, s, ciphers ? ciphers->line : server->line, list12, list13);
    for (size_t i = 1; alpn && i < alpn->n; i++)
        model_add(x->m, s, "", "alpn", nginx_word(alpn, i));
    set_duration(x, s, server, "ssl_handshake_timeout", "handshake");
}

/* Rules of the nearest block that has some. */
static void take_access(struct nginx *x, struct model_service *s, const struct nginx_directive *server) {
    const struct nginx_directive *block = nginx_block_with(server, "allow", "deny");
    struct rules *r = calloc(1, sizeof(*r));
    MUST(r);
    for (const struct nginx_directive *d = block ? block->children : NULL; d; d = d->next) {
        bool allows = strcmp(nginx_word(d, 0), "allow") == 0;
        if (!allows && strcmp(nginx_word(d, 0), "deny") != 0)
            continue;
        bool is_unix = strncmp(nginx_word(d, 1), "unix:", 5) == 0;
        if (is_unix)
            nginx_lose(x, d, NULL);
        if (is_unix && !allows)
            model_guard_lost(s, d->line);
        if (!is_unix)
            rules_add(r, x->m, d->line, allows, nginx_word(d, 1));
    }
    rules_put(r, x->m, s);
    free(r);
}

static void take_proxy(struct nginx *x, struct model_service *s, const struct nginx_directive *server, bool accepts) {
    if (nginx_is_on(nginx_setting(server, "proxy_protocol")))
        model_set(x->m, s, "proxy_protocol", "send", "v1");
    if (!accepts)
        return;
    model_set(x->m, s, "proxy_protocol", "accept", "required");
    const struct nginx_directive *block = nginx_block_with(server, "set_real_ip_from", NULL); /* it replaces those around it */
    for (const struct nginx_directive *d = block ? block->children : NULL; d; d = d->next) {
        bool is_one = strcmp(nginx_word(d, 0), "set_real_ip_from") == 0;
        const char *network = is_one ? rules_network(x->m, nginx_word(d, 1)) : NULL;
        if (network)
            model_add(x->m, s, "proxy_protocol", "trust", network);
        else if (is_one)
            nginx_lose(x, d, "headers of networks alone are believed");
    }
    if (model_has(s, "proxy_protocol", "trust"))
        return;
    model_add(x->m, s, "proxy_protocol", "trust", "127.0.0.0/8");
    model_note(
        x->m, MODEL_LOST, server->line,
        "listen ... proxy_protocol: say in proxy_protocol.trust whose headers are believed; only 127.0.0.0/8 is there now");
}

/* Whether a directive that is lost keeps clients out, or may: what is not known is taken to. */
static bool is_guard(const struct nginx_directive *d) {
    static const char *const harmless[] = {"geo",
                                           "js_context_reuse",
                                           "js_engine",
                                           "js_periodic",
                                           "match",
                                           "health_check",
                                           "js_fetch",
                                           "js_import",
                                           "js_path",
                                           "js_preload",
                                           "js_set",
                                           "js_shared",
                                           "js_var",
                                           "keyval",
                                           "limit_conn_",
                                           "limit_req_zone",
                                           "mqtt",
                                           "otel",
                                           "perl_set",
                                           "proxy_",
                                           "server_names_",
                                           "set",
                                           "split_clients",
                                           "ssl_buffer",
                                           "ssl_certificate_cache",
                                           "ssl_certificate_compression",
                                           "ssl_early",
                                           "types_hash",
                                           "zone_sync"};
    const char *name = nginx_word(d, 0), *command = nginx_word(d, 1);
    if (strcmp(name, "ssl_conf_command") == 0)
        return strncasecmp(command, "Verify", 6) == 0 || strcasecmp(command, "Protocol") == 0;
    if (is_lua(name))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
        if (strncmp(name, harmless[i], strlen(harmless[i])) == 0)
            return false;
    return true;
}

void nginx_take_others(struct nginx *x, struct model_service *s, const struct nginx_directive *block) {
    for (const struct nginx_directive *d = block->children; d; d = d->next) {
        if (strcmp(nginx_word(d, 0), "ssl_conf_command") == 0 && is_guard(d))
            model_guard_lost(s, d->line);
        if (is_elsewhere(nginx_word(d, 0)))
            continue;
        const char *why = why_not_needed(nginx_word(d, 0));
        if (why) {
            model_note(x->m, MODEL_NOT_NEEDED, d->line, "%s: %s", nginx_word(d, 0), why);
            continue;
        }
        nginx_lose(x, d, NULL);
        if (is_guard(d))
            model_guard_lost(s, d->line);
    }
}

void nginx_take_settings(struct nginx *x, struct model_service *s, const struct nginx_directive *server,
                         const struct nginx_listen *l) {
    if (l->tls)
        take_tls(x, s, server);
    else
        model_set(x->m, s, "", "mode", "passthrough");
    take_proxy(x, s, server, l->proxy);
    take_access(x, s, server);
    set_duration(x, s, server, "proxy_timeout", "idle");
    set_duration(x, s, server, "proxy_connect_timeout", "connect");
    nginx_take_others(x, s, server);
    nginx_take_others(x, s, x->stream); /* noted once */
}
