/* hitch.conf(5): keys and values, and blocks for frontends and certificates. A frontend with keys of its own is a service. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/tcp_options.h"
#include "convert/lexer.h"
#include "convert/readers.h"

/* Certificates in the order of the file; the last one is hitch's default. */
#define CERTS_MAX 256

struct hitch_cert {
    const char *cert, *key;
};

/* What a frontend has, or all of them by default. */
struct hitch_scope {
    unsigned line; /* of a frontend */
    const char *host, *port;
    bool all_certs; /* of all scopes, beside its own */
    const char *ciphers, *suites;
    unsigned ciphers_line;
    struct hitch_cert certs[CERTS_MAX];
    size_t ncerts;
};

struct hitch {
    struct model *m;
    const struct lexer_words *w;
    size_t at;
    struct text *why;
    struct model_service *common; /* keys of all frontends; the service of those that have none of their own */
    struct hitch_scope all;
    struct hitch_front {
        struct hitch_scope scope;
        struct model_service *own; /* NULL: it has no keys of its own */
    } * fronts;
    size_t nfronts;
    const char *pem_dir, *pem_glob;
    unsigned pem_line;
    const char *backlog;
};

/* A key that is one of ours. */
struct hitch_key {
    const char *name;
    const char *table, *key;
    enum { HITCH_VERIFY, HITCH_SECONDS, HITCH_PATH, HITCH_LIST, HITCH_TOP_NUMBER, HITCH_SWITCH } kind;
};

static const struct hitch_key keys[] = {
    {"alpn-protos", "", "alpn", HITCH_LIST},
    {"client-verify-ca", "client_auth", "ca", HITCH_PATH},
    {"client-verify", "client_auth", "mode", HITCH_VERIFY},
    {"sni-nomatch-abort", "", "strict_sni", HITCH_SWITCH},
    {"keepalive", "timeouts", "keepalive", HITCH_SECONDS},
    {"ssl-handshake-timeout", "timeouts", "handshake", HITCH_SECONDS},
    {"backend-connect-timeout", "timeouts", "connect", HITCH_SECONDS},
    {"workers", "", "workers", HITCH_TOP_NUMBER},
};

/* Keys that mean nothing here, and why. */
static const char *const not_needed[][2] = {
    {"daemon", "tls-off runs in the foreground; the service manager does the rest"},
    {"group", "the user's own group is used"},
    {"chroot", "every process has a sandbox of its own"},
    {"pidfile", "the service manager knows it"},
    {"prefer-server-ciphers", "the server's order counts"},
    {"quiet", "see [log] level"},
    {"log-level", "see [log] level"},
    {"syslog-facility", "see [log]"},
    {"ocsp-dir",
     "\"fetch_ocsp\" of a service has responses fetched, one that lies beside its certificate as FILE.ocsp is stapled"},
    {"ocsp-connect-tmo", "fixed, see \"fetch_ocsp\""},
    {"ocsp-resp-tmo", "fixed, see \"fetch_ocsp\""},
    {"ocsp-refresh-interval", "in the middle of their validity, see \"fetch_ocsp\""},
    {"ocsp-verify-staple", "responses are always verified"},
    {"backend-refresh", "names of backends are looked up as their answers say"},
    {"ssl-engine", "there are no engines"},
    {"tls", "TLS 1.2 and 1.3, see min_version"},
    {"proxy-authority", "see proxy_protocol.tlvs"},
    {"backendrefresh", "names of backends are looked up as their answers say"},
    {"enable-tcp-fastopen", "not used"},
    {"shared-cache", "sessions are resumed by tickets"},
    {"shared-cache-listen", "sessions are resumed by tickets"},
    {"shared-cache-peer", "sessions are resumed by tickets"},
    {"tcp-fastopen", "not used"},
    {"recv-bufsize", "the kernel's own choice is used"},
    {"send-bufsize", "the kernel's own choice is used"},
};

static bool says_yes(const char *v) {
    return strcasecmp(v, "on") == 0 || strcasecmp(v, "yes") == 0 || strcasecmp(v, "true") == 0;
}

static int hitch_fail(struct hitch *h, unsigned line, const char *expected) {
    text_addf(h->why, "line %u: expected %s", line, expected);
    return ERR_FORMAT;
}

static bool is_mark(const struct hitch *h, char mark) {
    return h->at < h->w->n && h->w->list[h->at].is_mark && h->w->list[h->at].text[0] == mark;
}

static void add_cert(struct hitch *h, struct hitch_scope *s, const char *cert, const char *key, unsigned line) {
    if (s->ncerts == CERTS_MAX)
        model_note(h->m, MODEL_LOST, line, "more than %d certificates", CERTS_MAX);
    else
        s->certs[s->ncerts++] = (struct hitch_cert){model_path(h->m, cert), key ? model_path(h->m, key) : NULL};
}

/* "[HOST]:PORT+CERT"; the certificate may be missing. */
static void read_endpoint(struct hitch *h, struct hitch_scope *s, const char *value, unsigned line) {
    const char *plus = strchr(value, '+');
    s->host = model_split(h->m, plus ? model_text(h->m, "%.*s", (int)(plus - value), value) : value, &s->port);
    if (!s->port)
        model_note(h->m, MODEL_LOST, line, "found \"%s\", expected \"[HOST]:PORT\"", value);
    if (plus)
        add_cert(h, s, plus + 1, NULL, line);
}

static void set_seconds(struct model *m, struct model_service *to, const struct hitch_key *k, const char *v, unsigned line) {
    uint64_t n;
    if (strcmp(k->key, "keepalive") == 0 && text_parse_u64(v, UINT32_MAX, &n) == 0 && n > TCP_KEEPALIVE_MAX_S) {
        model_note(m, MODEL_NOT_NEEDED, line, "%s = %s is %d, the kernel's most", k->name, v, TCP_KEEPALIVE_MAX_S);
        v = model_text(m, "%d", TCP_KEEPALIVE_MAX_S);
    }
    const char *duration = model_duration(m, v, "s");
    if (duration)
        model_set(m, to, k->table, k->key, duration);
    else
        model_note(m, MODEL_LOST, line, "%s = %s: expected seconds", k->name, v);
}

static void set_known(struct hitch *h, struct model_service *to, const struct hitch_key *k, const char *v, unsigned line) {
    struct model *m = h->m;
    switch (k->kind) {
    case HITCH_VERIFY:
        model_set_verify(m, to, line, v);
        break;
    case HITCH_SECONDS:
        set_seconds(m, to, k, v, line);
        break;
    case HITCH_PATH:
        model_set(m, to, k->table, k->key, model_path(m, v));
        break;
    case HITCH_SWITCH:
        model_set_raw(m, to, k->table, k->key, says_yes(v) ? "true" : "false");
        if (says_yes(v))
            model_note(m, MODEL_LOST, line, "%s: clients that ask for no name are refused, too", k->name);
        break;
    case HITCH_LIST:
        for (const char *p = v; *p; p += strspn(p, ", ")) {
            size_t n = strcspn(p, ", ");
            model_add(m, to, k->table, k->key, model_text(m, "%.*s", (int)n, p));
            p += n;
        }
        break;
    case HITCH_TOP_NUMBER:
        if (strcmp(v, "auto") == 0) /* hitch 1.8: one a CPU, as without the key here */
            break;
        model_set_number(m, model_top(m), line, k->table, k->key, v, MODEL_WORKERS_MAX);
        break;
    }
}

static void set_proxy(struct hitch *h, struct model_service *to, const char *key, const char *v, unsigned line) {
    if (!says_yes(v))
        return;
    bool v1 = strcmp(key, "write-proxy-v1") == 0;
    model_set(h->m, to, "proxy_protocol", "send", v1 ? "v1" : "v2");
    if (strcmp(key, "proxy-proxy") != 0)
        return;
    model_set(h->m, to, "proxy_protocol", "accept", "required");
    model_add(h->m, to, "proxy_protocol", "trust", "127.0.0.0/8");
    model_note(h->m, MODEL_LOST, line,
               "proxy-proxy: say in proxy_protocol.trust whose headers are believed; only 127.0.0.0/8 is there now");
}

/* hitch sends the TLVs of TLS unless it is asked not to, and of a client's certificate when it is asked to. */
static void set_tlvs(struct hitch *h, const char *key, bool on, unsigned line) {
    if (strcmp(key, "proxy-tlv") == 0 && !on)
        model_set_raw(h->m, h->common, "proxy_protocol", "tlvs", "[]");
    if (strcmp(key, "proxy-client-cert") == 0 && on)
        model_note(h->m, MODEL_LOST, line,
                   "proxy-client-cert: add \"client-cert\" to proxy_protocol.tlvs; it is the DER form in the TLV of TLS");
}

static bool is_switch(const char *key) {
    static const char *const switches[] = {"syslog", "write-ip", "ssl"};
    for (size_t i = 0; i < ARRAY_LEN(switches); i++)
        if (strcmp(key, switches[i]) == 0)
            return true;
    return false;
}

/* The next word, unless it is the key of a value. */
static const char *word_of_list(const struct hitch *h) {
    const struct lexer_words *w = h->w;
    bool is_word = h->at < w->n && !w->list[h->at].is_mark, is_last = h->at + 1 >= w->n;
    return is_word && (is_last || !w->list[h->at + 1].is_mark || w->list[h->at + 1].text[0] != '=') ? w->list[h->at].text
                                                                                                    : NULL;
}

/* The words up to the next key; the lowest version among them is the one that counts. */
static void read_versions(struct hitch *h, struct model_service *to, unsigned line) {
    const char *v, *lowest = NULL;
    bool has13 = false;
    for (; (v = word_of_list(h)); h->at++) {
        has13 = has13 || strcasecmp(v, "TLSv1.3") == 0;
        if (strcasecmp(v, "TLSv1.2") == 0 || (!lowest && strcasecmp(v, "TLSv1.3") == 0))
            lowest = v;
        else if (strcasecmp(v, "TLSv1.3") != 0)
            model_note(h->m, MODEL_NOT_NEEDED, line, "%s: tls-off begins at TLS 1.2", v);
    }
    if (lowest)
        model_min_version(h->m, to, line, lowest);
    if (lowest && !has13)
        model_note(h->m, MODEL_NOT_NEEDED, line, "tls-protos: TLS 1.3 is offered, too");
}

static struct hitch_front *add_front(struct hitch *h, unsigned line) {
    struct hitch_front *grown = realloc(h->fronts, (h->nfronts + 1) * sizeof(*grown));
    MUST(grown);
    h->fronts = grown;
    grown[h->nfronts] = (struct hitch_front){.scope.line = line};
    return &grown[h->nfronts++];
}

static bool set_scalar(struct hitch *h, struct hitch_scope *s, struct model_service *to, const char *key, const char *v,
                       unsigned line) {
    if (strcmp(key, "host") == 0)
        s->host = v;
    else if (strcmp(key, "port") == 0)
        s->port = v;
    else if (strncmp(key, "ciphers", 7) == 0) {
        *(key[7] ? &s->suites : &s->ciphers) = v;
        s->ciphers_line = line;
    } else if (strcmp(key, "ecdh-curve") == 0)
        model_groups(h->m, to, line, v);
    else if (strcmp(key, "pem-file") == 0)
        add_cert(h, s, v, NULL, line);
    else if (strcmp(key, "pem-dir") == 0) {
        h->pem_dir = model_path(h->m, v);
        h->pem_line = line;
    } else if (strcmp(key, "pem-dir-glob") == 0)
        h->pem_glob = v;
    else if (strcmp(key, "backlog") == 0)
        h->backlog = v;
    else if (strcmp(key, "user") == 0)
        model_set_user(h->m, line, v);
    else if (strcmp(key, "syslog") == 0 && says_yes(v))
        model_set(h->m, model_top(h->m), "log", "target", "syslog");
    else if (strcmp(key, "log-filename") == 0)
        model_set_log_file(h->m, line, model_path(h->m, v));
    else if (strcmp(key, "match-global-certs") == 0)
        s->all_certs = says_yes(v);
    else if (strncmp(key, "write-proxy", 11) == 0 || strcmp(key, "proxy-proxy") == 0)
        set_proxy(h, h->common, key, v, line);
    else if (strcmp(key, "proxy-tlv") == 0 || strcmp(key, "proxy-client-cert") == 0)
        set_tlvs(h, key, says_yes(v), line);
    else /* what is only a loss when it is on */
        return !says_yes(v) && is_switch(key);
    return true;
}

/* There is one: the last. */
static void read_backend(struct hitch *h, const char *value, unsigned line) {
    const char *port = NULL, *host = value[0] == '/' ? value : model_split(h->m, value, &port);
    model_unset(h->common, "", "backends");
    model_add_backend(h->m, h->common, line, host, port);
}

static void set_value(struct hitch *h, struct hitch_scope *s, struct model_service *to, const char *key, const char *v,
                      unsigned line) {
    if (!v[0])
        return; /* the default */
    if (strcmp(key, "frontend") == 0) {
        read_endpoint(h, &add_front(h, line)->scope, v, line);
        return;
    }
    if (set_scalar(h, s, to, key, v, line))
        return;
    if (strcmp(key, "backend") == 0) {
        read_backend(h, v, line);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(key, keys[i].name) == 0) {
            set_known(h, to, &keys[i], v, line);
            return;
        }
    for (size_t i = 0; i < ARRAY_LEN(not_needed); i++)
        if (strcmp(key, not_needed[i][0]) == 0) {
            model_note(h->m, MODEL_NOT_NEEDED, line, "%s: %s", key, not_needed[i][1]);
            return;
        }
    model_note(h->m, MODEL_LOST, line, "%s = %s", key, v);
    if (strncmp(key, "client-", 7) == 0) /* of a newer hitch, or misspelt */
        model_guard_lost(to, line);
}

/* pem-file = { cert = ..., private-key = ..., ocsp-resp-file = ... } */
static int read_cert_block(struct hitch *h, struct hitch_scope *s) {
    const char *cert = NULL, *key = NULL;
    unsigned line = h->w->list[h->at++].line;
    while (!is_mark(h, '}')) {
        if (h->at + 2 >= h->w->n || !h->w->list[h->at + 1].is_mark)
            return hitch_fail(h, line, "\"key = value\" lines and \"}\" in this block");
        const char *name = h->w->list[h->at].text, *v = h->w->list[h->at + 2].text;
        if (strcmp(name, "cert") == 0)
            cert = v;
        else if (strcmp(name, "private-key") == 0)
            key = v;
        else if (strcmp(name, "ocsp-resp-file") == 0)
            model_note(h->m, MODEL_NOT_NEEDED, h->w->list[h->at].line, "a response is stapled from CERT.ocsp: copy %s there",
                       v);
        else
            model_note(h->m, MODEL_LOST, h->w->list[h->at].line, "%s = %s", name, v);
        h->at += 3;
    }
    h->at++;
    if (cert)
        add_cert(h, s, cert, key, line);
    return 0;
}

static int read_scope(struct hitch *h, struct hitch_scope *s, struct model_service *to, unsigned block);

static int read_front_block(struct hitch *h) {
    unsigned line = h->w->list[h->at++].line;
    struct hitch_front *f = add_front(h, line);
    f->own = model_add_service(h->m, "hitch", line);
    return read_scope(h, &f->scope, f->own, line);
}

/* Up to the end of the file, or of the block that begins at line BLOCK. */
static int read_scope(struct hitch *h, struct hitch_scope *s, struct model_service *to, unsigned block) {
    while (h->at < h->w->n && !(block && is_mark(h, '}'))) {
        const struct lexer_word *key = &h->w->list[h->at++];
        if (key->is_mark || !is_mark(h, '='))
            return hitch_fail(h, key->line, "\"key = value\"");
        h->at++;
        int err = 0;
        if (is_mark(h, '{') && strcmp(key->text, "frontend") == 0 && !block)
            err = read_front_block(h);
        else if (is_mark(h, '{') && strcmp(key->text, "pem-file") == 0)
            err = read_cert_block(h, s);
        else if (strcmp(key->text, "tls-protos") == 0)
            read_versions(h, to, key->line);
        else if (!lexer_on_line(h->w, h->at, key->line))
            err = hitch_fail(h, key->line, "a value behind \"=\"");
        else
            set_value(h, s, to, key->text, h->w->list[h->at++].text, key->line);
        if (err)
            return err;
        while (block && (is_mark(h, ';') || is_mark(h, ',')))
            h->at++;
    }
    if (!block)
        return 0;
    if (!is_mark(h, '}'))
        return hitch_fail(h, block, "\"}\" at the end of this block");
    h->at++;
    return 0;
}

/* ---- when all is read ---- */

/* The last one is hitch's default, the first one ours. */
static void put_certs_of(struct hitch *h, struct model_service *to, const struct hitch_scope *of) {
    for (size_t i = 0; i < of->ncerts; i++) {
        const struct hitch_cert *c = &of->certs[i == 0 ? of->ncerts - 1 : i - 1];
        model_add_cert(h->m, to, c->cert, c->key ? c->key : c->cert, NULL);
    }
}

static void put_certs(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    put_certs_of(h, to, s);
    if (s->ncerts && !s->all_certs && s != &h->all)
        return;
    if (s != &h->all)
        put_certs_of(h, to, &h->all);
    if (h->pem_dir)
        model_add_cert_dir(h->m, to, h->pem_line, h->pem_dir, h->pem_glob, NULL);
}

static void put_suites(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    model_suites(h->m, to, s->ciphers_line ? s->ciphers_line : h->all.ciphers_line, s->ciphers ? s->ciphers : h->all.ciphers,
                 s->suites ? s->suites : h->all.suites);
}

static void put_listen(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    struct model_socket how = {.backlog = h->backlog};
    bool any = !s->host || !s->host[0] || strcmp(s->host, "*") == 0;
    (void)model_listen(h->m, to, s->line, any ? NULL : s->host, s->port ? s->port : "443", &how); /* noted */
}

static void put_fronts(struct hitch *h) {
    bool shared = false;
    for (size_t i = 0; i < h->nfronts; i++) {
        struct hitch_front *f = &h->fronts[i];
        bool own = (f->own && (model_has_keys(f->own) || model_keeps_out(f->own))) || f->scope.ncerts || f->scope.ciphers ||
                   f->scope.suites;
        struct model_service *to = !own ? h->common : f->own ? f->own : model_add_service(h->m, "hitch", f->scope.line);
        shared = shared || !own;
        put_listen(h, to, &f->scope);
        if (!own)
            continue;
        model_inherit(to, h->common, "listen");
        put_certs(h, to, &f->scope);
        put_suites(h, to, &f->scope);
    }
    if (!shared) {
        model_clear(h->common);
        return;
    }
    put_certs(h, h->common, &h->all);
    put_suites(h, h->common, &h->all);
}

int convert_hitch(struct model *m, struct span bytes, struct text *why) {
    static const struct lexer_format format = {"={},", "#", true, false, false};
    struct lexer_words words;
    int err = lexer_read(bytes, 1, &format, &words, why);
    if (err)
        return err;
    struct hitch h = {.m = m, .w = &words, .why = why, .common = model_add_service(m, "hitch", 1)};
    model_set(m, h.common, "timeouts", "idle", "none"); /* hitch has no such time */
    err = read_scope(&h, &h.all, h.common, 0);
    if (!err && !h.nfronts)
        read_endpoint(&h, &add_front(&h, 1)->scope, "[*]:8443", 1); /* hitch's default */
    if (!err)
        put_fronts(&h);
    free(h.fronts);
    lexer_free(&words);
    return err;
}
