/* The lines of haproxy.cfg that have parameters: bind and server. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "convert/haproxy.h"
#include "convert/named_file.h"

/* A parameter: so many words follow it; WHY says what is lost, or why it is not needed. */
struct parameter {
    const char *name;
    unsigned follow;
    enum haproxy_effect effect;
    const char *why;
};

static const struct parameter bind_parameters[] = {
    {"ssl", 0, HAPROXY_TAKEN, NULL},
    {"crt", 1, HAPROXY_TAKEN, NULL},
    {"default-crt", 1, HAPROXY_TAKEN, NULL},
    {"ca-file", 1, HAPROXY_TAKEN, NULL},
    {"crl-file", 1, HAPROXY_TAKEN, NULL},
    {"verify", 1, HAPROXY_TAKEN, NULL},
    {"alpn", 1, HAPROXY_TAKEN, NULL},
    {"ciphers", 1, HAPROXY_TAKEN, NULL},
    {"ciphersuites", 1, HAPROXY_TAKEN, NULL},
    {"curves", 1, HAPROXY_TAKEN, NULL},
    {"ecdhe", 1, HAPROXY_TAKEN, NULL},
    {"ssl-min-ver", 1, HAPROXY_TAKEN, NULL},
    {"no-tlsv12", 0, HAPROXY_TAKEN, NULL},
    {"force-tlsv13", 0, HAPROXY_TAKEN, NULL},
    {"accept-proxy", 0, HAPROXY_TAKEN, NULL},
    {"strict-sni", 0, HAPROXY_TAKEN, NULL},
    {"backlog", 1, HAPROXY_TAKEN, NULL},
    {"interface", 1, HAPROXY_TAKEN, NULL},
    {"v6only", 0, HAPROXY_TAKEN, NULL},
    {"maxconn", 1, HAPROXY_TAKEN, NULL},
    {"crt-list", 1, HAPROXY_TAKEN, NULL},
    {"ca-verify-file", 1, HAPROXY_LOST, NULL},
    {"generate-certificates", 0, HAPROXY_LOST, NULL},
    {"allow-0rtt", 0, HAPROXY_NOT_NEEDED, "there is no early data"},
    {"user", 1, HAPROXY_LOST, "the owner of this socket"},
    {"group", 1, HAPROXY_LOST, "the group of this socket"},
    {"mode", 1, HAPROXY_LOST, "the mode of this socket"},
    {"uid", 1, HAPROXY_LOST, "the owner of this socket"},
    {"gid", 1, HAPROXY_LOST, "the group of this socket"},
    {"namespace", 1, HAPROXY_GUARD, "start tls-off in that network namespace"},
    {"tcp-md5sig", 1, HAPROXY_GUARD, NULL},
    {"transparent", 0, HAPROXY_LOST, NULL},
    {"accept-netscaler-cip", 1, HAPROXY_GUARD, "see proxy_protocol"},
    {"sigalgs", 1, HAPROXY_LOST, NULL},
    {"client-sigalgs", 1, HAPROXY_LOST, NULL},
    {"no-alpn", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-strict-sni", 0, HAPROXY_NOT_NEEDED, NULL},
    {"ocsp-update", 1, HAPROXY_NOT_NEEDED, "see fetch_ocsp"},
    {"expose-fd", 1, HAPROXY_NOT_NEEDED, NULL},
    {"tls-tickets", 0, HAPROXY_NOT_NEEDED, NULL},
    {"name", 1, HAPROXY_NOT_NEEDED, NULL},
    {"id", 1, HAPROXY_NOT_NEEDED, NULL},
    {"nice", 1, HAPROXY_NOT_NEEDED, NULL},
    {"process", 1, HAPROXY_NOT_NEEDED, NULL},
    {"thread", 1, HAPROXY_NOT_NEEDED, NULL},
    {"shards", 1, HAPROXY_NOT_NEEDED, NULL},
    {"level", 1, HAPROXY_NOT_NEEDED, NULL},
    {"npn", 1, HAPROXY_NOT_NEEDED, NULL},
    {"mss", 1, HAPROXY_NOT_NEEDED, NULL},
    {"tcp-ut", 1, HAPROXY_NOT_NEEDED, NULL},
    {"proto", 1, HAPROXY_NOT_NEEDED, NULL},
    {"severity-output", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ssl-max-ver", 1, HAPROXY_NOT_NEEDED, "TLS 1.3 is offered, too"},
    {"ktls", 1, HAPROXY_NOT_NEEDED, NULL},
    {"cc", 1, HAPROXY_NOT_NEEDED, "see tcp_congestion"},
    {"tls-ticket-keys", 1, HAPROXY_NOT_NEEDED, "tls-off ticket-secret makes one, see [tickets]"},
    {"ca-ignore-err", 1, HAPROXY_LOST, NULL},
    {"crt-ignore-err", 1, HAPROXY_LOST, NULL},
    {"ca-sign-file", 1, HAPROXY_LOST, NULL},
    {"ca-sign-pass", 1, HAPROXY_LOST, NULL},
    {"defer-accept", 0, HAPROXY_NOT_NEEDED, NULL},
    {"tfo", 0, HAPROXY_NOT_NEEDED, NULL},
    {"v4v6", 0, HAPROXY_TAKEN, NULL},
    {"prefer-client-ciphers", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-ca-names", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-tls-tickets", 0, HAPROXY_NOT_NEEDED, "ticket keys are changed each hour"},
    {"no-sslv3", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-tlsv13", 0, HAPROXY_NOT_NEEDED, "TLS 1.3 is offered, too"},
    {"force-tlsv12", 0, HAPROXY_NOT_NEEDED, "TLS 1.3 is offered, too"},
    {"force-tlsv11", 0, HAPROXY_NOT_NEEDED, "tls-off begins at TLS 1.2"},
    {"force-tlsv10", 0, HAPROXY_NOT_NEEDED, "tls-off begins at TLS 1.2"},
    {"force-sslv3", 0, HAPROXY_NOT_NEEDED, "tls-off begins at TLS 1.2"},
    {"guid-prefix", 1, HAPROXY_NOT_NEEDED, "services have names"},
    {"idle-ping", 1, HAPROXY_NOT_NEEDED, "see timeouts.keepalive"},
    {"no-tlsv10", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-tlsv11", 0, HAPROXY_NOT_NEEDED, NULL},
};

static const struct parameter server_parameters[] = {
    {"send-proxy", 0, HAPROXY_TAKEN, NULL},
    {"send-proxy-v2", 0, HAPROXY_TAKEN, NULL},
    {"send-proxy-v2-ssl", 0, HAPROXY_TAKEN, NULL},
    {"send-proxy-v2-ssl-cn", 0, HAPROXY_TAKEN, NULL},
    {"proxy-v2-options", 1, HAPROXY_TAKEN, NULL},
    {"ssl", 0, HAPROXY_LOST, "TLS to a backend"},
    {"verify", 1, HAPROXY_NOT_NEEDED, NULL},
    {"verifyhost", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ca-file", 1, HAPROXY_NOT_NEEDED, NULL},
    {"crt", 1, HAPROXY_NOT_NEEDED, NULL},
    {"sni", 1, HAPROXY_NOT_NEEDED, NULL},
    {"alpn", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ssl-min-ver", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ssl-max-ver", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ciphers", 1, HAPROXY_NOT_NEEDED, NULL},
    {"ciphersuites", 1, HAPROXY_NOT_NEEDED, NULL},
    {"crl-file", 1, HAPROXY_NOT_NEEDED, NULL},
    {"check-sni", 1, HAPROXY_NOT_NEEDED, NULL},
    {"check-alpn", 1, HAPROXY_NOT_NEEDED, NULL},
    {"check-proto", 1, HAPROXY_NOT_NEEDED, NULL},
    {"agent-check", 0, HAPROXY_LOST, "agents are not asked"},
    {"agent-port", 1, HAPROXY_NOT_NEEDED, NULL},
    {"agent-addr", 1, HAPROXY_NOT_NEEDED, NULL},
    {"agent-inter", 1, HAPROXY_NOT_NEEDED, NULL},
    {"backup", 0, HAPROXY_LOST, "it serves like the others now"},
    {"weight", 1, HAPROXY_LOST, "all backends weigh the same"},
    {"maxconn", 1, HAPROXY_LOST, "a limit of one backend"},
    {"source", 1, HAPROXY_LOST, NULL},
    {"disabled", 0, HAPROXY_TAKEN, NULL},
    {"check", 0, HAPROXY_NOT_NEEDED, "a backend that fails is ejected for a while"},
    {"check-send-proxy", 0, HAPROXY_NOT_NEEDED, NULL},
    {"check-ssl", 0, HAPROXY_NOT_NEEDED, NULL},
    {"no-check", 0, HAPROXY_NOT_NEEDED, NULL},
    {"enabled", 0, HAPROXY_NOT_NEEDED, NULL},
    {"inter", 1, HAPROXY_NOT_NEEDED, NULL},
    {"fastinter", 1, HAPROXY_NOT_NEEDED, NULL},
    {"downinter", 1, HAPROXY_NOT_NEEDED, NULL},
    {"rise", 1, HAPROXY_NOT_NEEDED, NULL},
    {"fall", 1, HAPROXY_NOT_NEEDED, NULL},
    {"port", 1, HAPROXY_NOT_NEEDED, NULL},
    {"addr", 1, HAPROXY_NOT_NEEDED, NULL},
    {"observe", 1, HAPROXY_NOT_NEEDED, NULL},
    {"on-error", 1, HAPROXY_NOT_NEEDED, NULL},
    {"on-marked-down", 1, HAPROXY_NOT_NEEDED, NULL},
    {"on-marked-up", 1, HAPROXY_NOT_NEEDED, NULL},
    {"error-limit", 1, HAPROXY_NOT_NEEDED, NULL},
    {"slowstart", 1, HAPROXY_NOT_NEEDED, NULL},
    {"id", 1, HAPROXY_NOT_NEEDED, NULL},
    {"cookie", 1, HAPROXY_NOT_NEEDED, NULL},
    {"init-addr", 1, HAPROXY_NOT_NEEDED, NULL},
    {"resolvers", 1, HAPROXY_NOT_NEEDED, NULL},
    {"resolve-prefer", 1, HAPROXY_NOT_NEEDED, NULL},
    {"resolve-opts", 1, HAPROXY_NOT_NEEDED, NULL},
    {"minconn", 1, HAPROXY_NOT_NEEDED, NULL},
    {"maxqueue", 1, HAPROXY_NOT_NEEDED, NULL},
    {"track", 1, HAPROXY_NOT_NEEDED, NULL},
    {"tcp-ut", 1, HAPROXY_NOT_NEEDED, NULL},
    {"tfo", 0, HAPROXY_NOT_NEEDED, NULL},
};

typedef void (*take_fn)(void *ctx, const char *name, const char *value);

/* The parameters of a line from word AT on; those that are TAKEN are given to TAKE. False when one is lost that keeps clients
 * out, or may. */
static bool each_parameter(struct model *m, const struct haproxy_line *l, size_t at, const struct parameter *known, size_t n,
                           take_fn take, void *ctx) {
    bool kept = true;
    while (at < l->n) {
        const char *name = l->words[at++].text;
        const struct parameter *p = NULL;
        for (size_t i = 0; i < n; i++)
            if (strcmp(name, known[i].name) == 0)
                p = &known[i];
        const char *value = p && p->follow ? haproxy_word(l, at) : "";
        at += p ? p->follow : 0;
        kept = kept && p && p->effect != HAPROXY_GUARD;
        if (p && p->effect == HAPROXY_TAKEN)
            take(ctx, name, value);
        else if (!p || p->effect != HAPROXY_NOT_NEEDED)
            model_note(m, MODEL_LOST, l->line, "%s: %s%s%s%s%s", haproxy_word(l, 0), name, value[0] ? " " : "", value,
                       p && p->why ? ": " : "", p && p->why ? p->why : "");
        else if (p->why)
            model_note(m, MODEL_NOT_NEEDED, l->line, "%s: %s", name, p->why);
    }
    return kept;
}

/* ---- bind ---- */

struct bind {
    struct model *m;
    struct model_service *s;
    const struct haproxy_line *l;
    const struct haproxy_section *global;
    struct haproxy_bind *ret;
    const char *backlog, *interface;
    bool v6only;
};

/* NAME as haproxy finds it: below crt-base or ca-base. */
static const char *based(const struct bind *b, const char *base, const char *name) {
    const char *dir = haproxy_word(haproxy_setting(b->global, base, NULL), 1);
    return name[0] == '/' || !dir[0] ? model_path(b->m, name) : model_text(b->m, "%s/%s", dir, name);
}

/* A directory, or a file with its key in it, or in FILE.key beside it, or one for each kind of key (FILE.rsa). What is not
 * there is taken by its name. */
static void take_cert(const struct bind *b, const char *value) {
    static const char *const kinds[] = {".rsa", ".ecdsa", ".dsa"};
    static const char *const beside[] = {".key", ".issuer", ".ocsp", ".sctl", NULL};
    const char *path = based(b, "crt-base", value), *key = model_text(b->m, "%s.key", path), *dot = strrchr(path, '.');
    struct stat st;
    bool there = stat(path, &st) == 0, is_file = there ? !S_ISDIR(st.st_mode) : dot && !strchr(dot, '/'), is_bundle = false;
    for (size_t i = 0; !there && i < ARRAY_LEN(kinds); i++) {
        const char *one = model_text(b->m, "%s%s", path, kinds[i]);
        if (stat(one, &st) < 0)
            continue;
        model_add_cert(b->m, b->s, one, one, NULL);
        is_bundle = true;
    }
    if (!is_file && there)
        model_add_cert_dir(b->m, b->s, b->l->line, path, NULL, beside);
    else if (!is_bundle)
        model_add_cert(b->m, b->s, path, !is_file ? NULL : stat(key, &st) == 0 ? key : path, NULL);
}

/* Whether OPTIONS of a certificate ask clients for theirs. */
static bool guards_clients(struct model *m, const char *options) {
    bool verify = false;
    for (const char *p = options; *p && *p != ']'; p += strspn(p, " \t")) {
        size_t n = strcspn(p, " \t]");
        const char *word = model_text(m, "%.*s", (int)n, p);
        if ((verify && strcmp(word, "none") != 0) || strcmp(word, "ca-file") == 0 || strcmp(word, "ca-verify-file") == 0 ||
            strcmp(word, "crl-file") == 0)
            return true;
        verify = strcmp(word, "verify") == 0;
        p += n;
    }
    return false;
}

/* A line of a list: "FILE [OPTIONS] NAMES". */
static void take_listed(const struct bind *b, char *text, unsigned line) {
    char *rest = NULL, *file = strtok_r(text, " \t\r", &rest);
    if (!file || file[0] == '#')
        return;
    take_cert(b, model_text(b->m, "%s", file));
    rest += strspn(rest, " \t\r");
    if (rest[0] == '[' && guards_clients(b->m, rest + 1))
        model_guard_lost(b->s, line);
    const char *options_end = rest[0] == '[' ? strchr(rest, ']') : NULL, *names = options_end ? options_end + 1 : rest;
    names += strspn(names, " \t\r");
    if (names[0] && names[0] != '#' && names[0] != '[' && !b->ret->names_line)
        b->ret->names_line = line;
    if (rest[0] == '[')
        model_note(b->m, MODEL_LOST, line, "%s: options of one certificate: %s", file, rest);
    else if (rest[0] && rest[0] != '#')
        model_note(b->m, MODEL_LOST, line, "%s: names other than the certificate's own: %s", file, rest);
}

static void take_list(const struct bind *b, const char *name) {
    char reason[512];
    struct text why = text_of(reason, sizeof(reason));
    struct span bytes, text;
    unsigned line;
    if (named_file_read(b->m, model_path(b->m, name), &bytes, &line, &why) < 0) {
        model_note(b->m, MODEL_LOST, b->l->line, "crt-list: %s", reason);
        model_guard_lost(b->s, b->l->line);
        return;
    }
    for (; span_take_line(&bytes, &text); line++) {
        char *copy = strndup((const char *)text.p, text.len);
        MUST(copy);
        take_listed(b, copy, line);
        free(copy);
    }
}

void haproxy_accept_proxy(struct model *m, struct model_service *s, unsigned line, const char *word) {
    model_set(m, s, "proxy_protocol", "accept", "required");
    model_add(m, s, "proxy_protocol", "trust", "127.0.0.0/8");
    model_note(m, MODEL_LOST, line, "%s: say in proxy_protocol.trust whose headers are believed; only 127.0.0.0/8 is there now",
               word);
}

static void take_bind(void *ctx, const char *name, const char *value) {
    struct bind *b = ctx;
    struct model *m = b->m;
    if (strcmp(name, "ssl") == 0)
        b->ret->tls = true;
    else if ((strstr(name, "crt") || strstr(name, "-file")) && (strchr(value, '$') || value[0] == '@')) {
        model_note(m, MODEL_LOST, b->l->line, "%s %s: expected a file, without variables", name, value);
        if (strcmp(name, "crl-file") == 0)
            model_guard_lost(b->s, b->l->line);
    } else if (strcmp(name, "crt") == 0 || strcmp(name, "default-crt") == 0)
        take_cert(b, value);
    else if (strcmp(name, "crt-list") == 0)
        take_list(b, value);
    else if (strcmp(name, "v4v6") == 0)
        b->v6only = false;
    else if (strcmp(name, "ca-file") == 0)
        model_set(m, b->s, "client_auth", "ca", based(b, "ca-base", value));
    else if (strcmp(name, "crl-file") == 0)
        model_set(m, b->s, "client_auth", "crl", based(b, "ca-base", value));
    else if (strcmp(name, "verify") == 0)
        model_set_verify(m, b->s, b->l->line, value);
    else if (strcmp(name, "ciphers") == 0)
        b->ret->ciphers = value;
    else if (strcmp(name, "ciphersuites") == 0)
        b->ret->suites = value;
    else if (strcmp(name, "curves") == 0 || strcmp(name, "ecdhe") == 0)
        model_groups(m, b->s, b->l->line, value);
    else if (strcmp(name, "ssl-min-ver") == 0)
        model_min_version(m, b->s, b->l->line, value);
    else if (strcmp(name, "no-tlsv12") == 0 || strcmp(name, "force-tlsv13") == 0)
        model_min_version(m, b->s, b->l->line, "TLSv1.3");
    else if (strcmp(name, "strict-sni") == 0)
        model_set_raw(m, b->s, "", "strict_sni", "true");
    else if (strcmp(name, "maxconn") == 0)
        model_set_number(m, b->s, b->l->line, "limits", "sessions", value, INT32_MAX);
    else if (strcmp(name, "backlog") == 0)
        b->backlog = value;
    else if (strcmp(name, "interface") == 0)
        b->interface = value;
    else if (strcmp(name, "v6only") == 0)
        b->v6only = true;
    else if (strcmp(name, "accept-proxy") == 0)
        haproxy_accept_proxy(m, b->s, b->l->line, name);
    else { /* alpn: a list apart by commas */
        for (const char *p = value; *p; p += strspn(p, ",")) {
            size_t n = strcspn(p, ",");
            model_add(m, b->s, "", "alpn", model_text(m, "%.*s", (int)n, p));
            p += n;
        }
    }
}

/* One address of a bind or server line without its family's prefix; NULL for families that have no counterpart. */
static const char *plain_address(struct model *m, const char *address) {
    static const char *const same[] = {"ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        if (strncmp(address, same[i], strlen(same[i])) == 0)
            return address + strlen(same[i]);
    if (strncmp(address, "unix@", 5) == 0)
        return address + 5;
    if (strncmp(address, "abns@", 5) == 0)
        return model_text(m, "@%s", address + 5);
    return strchr(address, '@') || strchr(address, '$') ? NULL : address;
}

/* HAProxy's "" and "*" are IPv4 alone; "::" is both families unless it says "v6only". */
static void add_listen(const struct bind *b, const char *text) {
    const char *address = plain_address(b->m, text), *port, *host = address ? model_split(b->m, address, &port) : NULL;
    struct model_socket how = {b->backlog, b->interface};
    bool any = host && (!host[0] || strcmp(host, "*") == 0),
         six = strncmp(text, "ipv6@", 5) == 0 || strncmp(text, "tcp6@", 5) == 0;
    if (!host) {
        model_note(b->m, MODEL_LOST, b->l->line, "bind %s: expected an address and a port", text);
        host = strchr(text, '@') ? NULL : model_split(b->m, text, &port);
        if (host && port)
            model_drop_address(b->m, b->l->line, port);
    } else if (host[0] == '/' || host[0] == '@')
        model_listen_unix(b->m, b->s, b->l->line, address);
    else if (any && !six)
        (void)model_listen(b->m, b->s, b->l->line, "0.0.0.0", port, &how); /* noted, here and below */
    else if (any || strcmp(host, "::") == 0)
        (void)model_listen(b->m, b->s, b->l->line, b->v6only ? "::" : NULL, port, &how);
    else
        (void)model_listen(b->m, b->s, b->l->line, host, port, &how);
}

void haproxy_bind_addresses(struct model *m, struct model_service *s, const struct haproxy_line *l) {
    struct haproxy_bind unused = {.tls = false};
    struct bind b = {m, s, l, NULL, &unused, NULL, NULL, false};
    for (size_t i = 2; i < l->n; i++)
        b.v6only = b.v6only || strcmp(l->words[i].text, "v6only") == 0;
    for (const char *p = haproxy_word(l, 1); *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        add_listen(&b, model_text(m, "%.*s", (int)n, p));
        p += n;
    }
}

void haproxy_bind(struct model *m, struct model_service *s, const struct haproxy_line *l, const struct haproxy_section *global,
                  struct haproxy_bind *ret) {
    struct bind b = {m, s, l, global, ret, NULL, NULL, false};
    if (!each_parameter(m, l, 2, bind_parameters, ARRAY_LEN(bind_parameters), take_bind, &b))
        model_guard_lost(s, l->line);
    for (const char *p = haproxy_word(l, 1); *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        add_listen(&b, model_text(m, "%.*s", (int)n, p));
        p += n;
    }
}

/* ---- server ---- */

struct server {
    struct model *m;
    struct model_service *s;
    bool disabled;
    const char *sends; /* the version of PROXY headers; NULL = none */
    const char *tlvs;  /* of version 2, as TOML without brackets; NULL = none */
};

static void add_tlv(struct server *v, const char *tlv) {
    if (!v->tlvs || !strstr(v->tlvs, tlv))
        v->tlvs = model_text(v->m, "%s%s\"%s\"", v->tlvs ? v->tlvs : "", v->tlvs ? ", " : "", tlv);
}

/* Apart by commas: "ssl", "cert-cn" and the like are parts of one TLV. */
static void take_proxy_options(struct server *v, const char *list) {
    static const char *const same[] = {"authority", "crc32c", "unique-id"};
    for (const char *p = list; *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        const char *word = model_text(v->m, "%.*s", (int)n, p), *tlv = "ssl";
        for (size_t i = 0; i < ARRAY_LEN(same); i++)
            tlv = strcmp(word, same[i]) == 0 ? same[i] : tlv;
        add_tlv(v, tlv);
        p += n;
    }
}

static void take_server_word(void *ctx, const char *name, const char *value) {
    struct server *v = ctx;
    if (strcmp(name, "disabled") == 0)
        v->disabled = true;
    else if (strcmp(name, "proxy-v2-options") == 0)
        take_proxy_options(v, value);
    else
        v->sends = strcmp(name, "send-proxy") == 0 ? "v1" : "v2";
    if (strncmp(name, "send-proxy-v2-ssl", 17) == 0)
        add_tlv(v, "ssl");
}

/* What holds for all servers: the lines of the defaults, then those of the section. */
static void take_default_servers(const struct haproxy_section *of, struct server *v) {
    if (!of)
        return;
    take_default_servers(of->defaults, v);
    for (size_t i = 0; i < of->nlines; i++)
        if (strcmp(haproxy_word(&of->lines[i], 0), "default-server") == 0)
            (void)each_parameter(v->m, &of->lines[i], 1, server_parameters, ARRAY_LEN(server_parameters), take_server_word,
                                 v); /* they keep no client out, here and below */
}

void haproxy_server(struct model *m, struct model_service *s, const struct haproxy_line *l, const struct haproxy_section *of) {
    struct server v = {m, s, false, NULL, NULL};
    bool first = !model_has(s, "", "backends"), all_send = model_has(s, "proxy_protocol", "send");
    const char *text = haproxy_word(l, 2), *address = plain_address(m, text), *port = NULL;
    take_default_servers(of, &v);
    (void)each_parameter(m, l, 3, server_parameters, ARRAY_LEN(server_parameters), take_server_word, &v);
    if (v.disabled) {
        model_note(m, MODEL_NOT_NEEDED, l->line, "server %s is disabled", haproxy_word(l, 1));
        return;
    }
    if (v.sends)
        model_set(m, s, "proxy_protocol", "send", v.sends);
    add_tlv(&v, "alpn"); /* HAProxy's headers of version 2 have it without an option */
    if (v.sends && strcmp(v.sends, "v2") == 0 && !model_has(s, "proxy_protocol", "tlvs"))
        model_set_raw(m, s, "proxy_protocol", "tlvs", model_text(m, "[%s]", v.tlvs));
    if (!first && all_send != (v.sends != NULL))
        model_note(m, MODEL_LOST, l->line, "server %s: PROXY headers go to all servers, or to none", haproxy_word(l, 1));
    bool is_path = address && (address[0] == '/' || address[0] == '@');
    const char *host = is_path ? address : address ? model_split(m, address, &port) : NULL;
    if (host && (port || is_path))
        model_add_backend(m, s, l->line, host, port);
    else
        model_note(m, MODEL_LOST, l->line, "server %s: expected an address with a port", text);
}
