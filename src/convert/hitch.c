/* hitch.conf(5): keys and values, and blocks for frontends and certificates. A frontend with keys of its own is a service. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "convert/lexer.h"
#include "convert/readers.h"

/* Certificates in the order of the file; the last one is hitch's default. */
#define CERTS_MAX 256

struct hitch_cert {
    const char *cert, *key;
};

/* What a frontend has, or all of them by default. */
struct hitch_scope {
    const char *host, *port;
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
    const char *backlog;
    unsigned backlog_line;
};

/* A key that is one of ours. */
struct hitch_key {
    const char *name;
    const char *table, *key;
    enum { HITCH_TEXT, HITCH_SECONDS, HITCH_PATH, HITCH_LIST, HITCH_TOP_NUMBER, HITCH_TOP_TEXT, HITCH_SWITCH } kind;
};

static const struct hitch_key keys[] = {
    {"alpn-protos", "", "alpn", HITCH_LIST},
    {"client-verify-ca", "client_auth", "ca", HITCH_PATH},
    {"client-verify", "client_auth", "mode", HITCH_TEXT},
    {"sni-nomatch-abort", "", "strict_sni", HITCH_SWITCH},
    {"keepalive", "timeouts", "keepalive", HITCH_SECONDS},
    {"ssl-handshake-timeout", "timeouts", "handshake", HITCH_SECONDS},
    {"backend-connect-timeout", "timeouts", "connect", HITCH_SECONDS},
    {"workers", "", "workers", HITCH_TOP_NUMBER},
    {"user", "", "user", HITCH_TOP_TEXT},
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
    {"ocsp-dir", "a response is stapled when it lies beside its certificate as FILE.ocsp"},
    {"ocsp-connect-tmo", "no responses are fetched"},
    {"ocsp-resp-tmo", "no responses are fetched"},
    {"ocsp-refresh-interval", "no responses are fetched"},
    {"ocsp-verify-staple", "responses are always verified"},
    {"backend-refresh", "names of backends are looked up as their answers say"},
    {"ssl-engine", "there are no engines"},
    {"shared-cache", "sessions are resumed by tickets"},
    {"shared-cache-listen", "sessions are resumed by tickets"},
    {"shared-cache-peer", "sessions are resumed by tickets"},
    {"tcp-fastopen", "not used"},
    {"recv-bufsize", "the kernel's own choice is used"},
    {"send-bufsize", "the kernel's own choice is used"},
};

static bool is_on(const char *v) {
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

/* "[HOST]:PORT+CERT", each part but the port may be missing. */
static void read_endpoint(struct hitch *h, struct hitch_scope *s, const char *value, unsigned line) {
    const char *colon = strrchr(value, ':'), *plus = colon ? strchr(colon, '+') : NULL;
    if (!colon) {
        model_note(h->m, MODEL_LOST, line, "found \"%s\", expected \"[HOST]:PORT\"", value);
        return;
    }
    int open = value[0] == '[', host_len = (int)(colon - value) - open - (colon > value && colon[-1] == ']');
    s->host = model_text(h->m, "%.*s", host_len < 0 ? 0 : host_len, value + open);
    s->port = model_text(h->m, "%.*s", (int)(plus ? plus - colon - 1 : (long)strlen(colon + 1)), colon + 1);
    if (plus)
        add_cert(h, s, plus + 1, NULL, line);
}

static void set_duration(struct model *m, struct model_service *to, const struct hitch_key *k, const char *v, unsigned line) {
    const char *duration = model_duration(m, v, "s");
    if (duration)
        model_set(m, to, k->table, k->key, duration);
    else
        model_note(m, MODEL_LOST, line, "%s = %s: expected seconds", k->name, v);
}

static void set_known(struct hitch *h, struct model_service *to, const struct hitch_key *k, const char *v, unsigned line) {
    struct model *m = h->m;
    switch (k->kind) {
    case HITCH_TEXT:
        model_set(m, to, k->table, k->key, v);
        break;
    case HITCH_SECONDS:
        set_duration(m, to, k, v, line);
        break;
    case HITCH_PATH:
        model_set(m, to, k->table, k->key, model_path(m, v));
        break;
    case HITCH_SWITCH:
        model_set_raw(m, to, k->table, k->key, is_on(v) ? "true" : "false");
        break;
    case HITCH_LIST:
        for (const char *p = v; *p; p += strspn(p, ", ")) {
            size_t n = strcspn(p, ", ");
            model_add(m, to, k->table, k->key, model_text(m, "%.*s", (int)n, p));
            p += n;
        }
        break;
    case HITCH_TOP_NUMBER:
        model_set_number(m, model_top(m), line, k->table, k->key, v);
        break;
    case HITCH_TOP_TEXT:
        model_set(m, model_top(m), k->table, k->key, v);
        break;
    }
}

static void set_proxy(struct hitch *h, struct model_service *to, const char *key, const char *v, unsigned line) {
    if (!is_on(v))
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

/* The words of the line; the lowest version among them is the one that counts. */
static void read_versions(struct hitch *h, struct model_service *to, unsigned line) {
    const char *v, *lowest = NULL;
    for (; (v = lexer_on_line(h->w, h->at, line)); h->at++) {
        if (strcasecmp(v, "TLSv1.2") == 0 || (!lowest && strcasecmp(v, "TLSv1.3") == 0))
            lowest = v;
        else if (strcasecmp(v, "TLSv1.3") != 0)
            model_note(h->m, MODEL_NOT_NEEDED, line, "%s: tls-off begins at TLS 1.2", v);
    }
    if (lowest)
        model_min_version(h->m, to, line, lowest);
}

static struct hitch_front *add_front(struct hitch *h) {
    struct hitch_front *grown = realloc(h->fronts, (h->nfronts + 1) * sizeof(*grown));
    MUST(grown);
    h->fronts = grown;
    grown[h->nfronts] = (struct hitch_front){.own = NULL};
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
    else if (strcmp(key, "pem-dir") == 0)
        h->pem_dir = model_path(h->m, v);
    else if (strcmp(key, "pem-dir-glob") == 0)
        h->pem_glob = v;
    else if (strcmp(key, "backlog") == 0) {
        h->backlog = v;
        h->backlog_line = line;
    } else if (strcmp(key, "syslog") == 0 && is_on(v))
        model_set(h->m, model_top(h->m), "log", "target", "syslog");
    else if (strcmp(key, "log-filename") == 0)
        model_set(h->m, model_top(h->m), "log", "target", model_path(h->m, v));
    else if (strcmp(key, "backend") == 0 && v[0] == '/')
        model_add(h->m, h->common, "", "backends", model_backend(h->m, v, NULL));
    else if (strncmp(key, "write-proxy", 11) == 0 || strcmp(key, "proxy-proxy") == 0)
        set_proxy(h, h->common, key, v, line);
    else
        return strcmp(key, "syslog") == 0;
    return true;
}

static void read_backend(struct hitch *h, const char *value, unsigned line) {
    struct hitch_scope at = {.host = NULL};
    read_endpoint(h, &at, value, line);
    if (at.port)
        model_add(h->m, h->common, "", "backends", model_backend(h->m, at.host, at.port));
}

static void set_value(struct hitch *h, struct hitch_scope *s, struct model_service *to, const char *key, const char *v,
                      unsigned line) {
    if (strcmp(key, "frontend") == 0) {
        read_endpoint(h, &add_front(h)->scope, v, line);
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
    struct hitch_front *f = add_front(h);
    f->own = model_add_service(h->m, "hitch");
    return read_scope(h, &f->scope, f->own, h->w->list[h->at++].line);
}

/* Up to the end of the file, or of the block that begins in line BLOCK. */
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

static void put_certs(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    const struct hitch_scope *of = s->ncerts ? s : &h->all;
    for (size_t i = 0; i < of->ncerts; i++) { /* the last one is hitch's default, the first one ours */
        const struct hitch_cert *c = &of->certs[i == 0 ? of->ncerts - 1 : i - 1];
        model_add_cert(h->m, to, c->cert, c->key ? c->key : c->cert, NULL);
    }
    if (h->pem_dir && of == &h->all)
        model_add_cert(h->m, to, model_text(h->m, "%s/%s", h->pem_dir, h->pem_glob ? h->pem_glob : "*"), NULL, NULL);
}

static void put_suites(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    model_suites(h->m, to, s->ciphers_line ? s->ciphers_line : h->all.ciphers_line, s->ciphers ? s->ciphers : h->all.ciphers,
                 s->suites ? s->suites : h->all.suites);
}

static void put_listen(struct hitch *h, struct model_service *to, const struct hitch_scope *s) {
    const char *address = model_address(h->m, s->host, s->port ? s->port : "443");
    model_add(h->m, to, "", "listen", address);
    if (h->backlog)
        model_set_number(h->m, model_listener(h->m, address), h->backlog_line, "", "backlog", h->backlog);
}

static void put_fronts(struct hitch *h) {
    bool shared = false;
    for (size_t i = 0; i < h->nfronts; i++) {
        struct hitch_front *f = &h->fronts[i];
        bool own = (f->own && model_has_keys(f->own)) || f->scope.ncerts || f->scope.ciphers || f->scope.suites;
        struct model_service *to = !own ? h->common : f->own ? f->own : model_add_service(h->m, "hitch");
        shared = shared || !own;
        put_listen(h, to, &f->scope);
        if (!own)
            continue;
        model_inherit(to, h->common, "listen");
        put_certs(h, to, &f->scope);
        put_suites(h, to, &f->scope);
    }
    if (!shared) {
        model_clear(h->m, h->common);
        return;
    }
    put_certs(h, h->common, &h->all);
    put_suites(h, h->common, &h->all);
}

int convert_hitch(struct model *m, struct span bytes, struct text *why) {
    static const struct lexer_format format = {"={},", "#", true, false};
    struct lexer_words words;
    int err = lexer_read(bytes, &format, &words, why);
    if (err)
        return err;
    struct hitch h = {.m = m, .w = &words, .why = why, .common = model_add_service(m, "hitch")};
    err = read_scope(&h, &h.all, h.common, 0);
    if (!err && !h.nfronts)
        read_endpoint(&h, &add_front(&h)->scope, "[*]:8443", 1); /* hitch's default */
    if (!err)
        put_fronts(&h);
    free(h.fronts);
    lexer_free(&words);
    return err;
}
