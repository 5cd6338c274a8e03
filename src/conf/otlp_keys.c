#include "conf/otlp_keys.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/file.h"
#include "base/secret.h"
#include "conf/report.h"
#include "conf/secret_file.h"

#define HARM     "send spans in your name"
#define WHY_MAX  512
#define EXPECTED "lines like \"Authorization: Bearer ...\""

static const char name_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~"; /* RFC 9110 5.6.2 */

/* ---- the endpoint ---- */

/* "host", "host:port", "[v6]:port" up to LEN. */
static bool parse_authority(const char *s, size_t len, struct otlp_endpoint *e) {
    const char *end = s + len, *host = s, *host_end;
    if (*s == '[') {
        host++;
        host_end = memchr(s, ']', len);
        s = host_end ? host_end + 1 : end;
    } else {
        host_end = memchr(s, ':', len);
        host_end = host_end ? host_end : end;
        s = host_end;
    }
    if (!host_end || host_end == host || (size_t)(host_end - host) >= sizeof(e->host) || (s < end && *s != ':'))
        return false;
    struct text h = text_of(e->host, sizeof(e->host));
    text_add_span(&h, span_of(host, (size_t)(host_end - host)));
    if (s == end)
        return true;
    char digits[8];
    struct text d = text_of(digits, sizeof(digits));
    text_add_span(&d, span_of(s + 1, (size_t)(end - s - 1)));
    uint64_t port = 0;
    bool ok = !d.cut && text_parse_u64(digits, UINT16_MAX, &port) == 0 && port > 0;
    e->port = ok ? (uint16_t)port : 0;
    return ok;
}

bool otlp_endpoint_parse(const char *url, struct otlp_endpoint *ret) {
    bool tls = strncmp(url, "https://", 8) == 0;
    if (!tls && strncmp(url, "http://", 7) != 0)
        return false;
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("\"\\#<>", *p))
            return false;
    *ret = (struct otlp_endpoint){.scheme = tls ? "https" : "http", .port = tls ? 443 : 80};
    const char *authority = url + (tls ? 8 : 7), *path = strchr(authority, '/');
    size_t len = path ? (size_t)(path - authority) : 0;
    return len && strlen(url) <= CONF_OTLP_URL_MAX && !memchr(authority, '@', len) && !memchr(authority, '?', len) &&
           parse_authority(authority, len, ret);
}

static bool is_here(const struct otlp_endpoint *e) {
    struct addr a;
    return strcmp(e->host, "localhost") == 0 || (addr_parse_ip(e->host, &a) == 0 && addr_is_loopback(&a));
}

/* ---- fields of requests ---- */

/* What requests have anyway, or what would change where they end. */
static bool is_taken(struct span name) {
    static const char *const taken[] = {
        "Host",   "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection",
        "Expect", "TE",           "Upgrade"};
    for (size_t i = 0; i < ARRAY_LEN(taken); i++)
        if (name.len == strlen(taken[i]) && strncasecmp((const char *)name.p, taken[i], name.len) == 0)
            return true;
    return false;
}

/* One line, without its end. What is wrong with it; NULL = nothing. */
static const char *line_fault(const char *line) {
    size_t name = strspn(line, name_chars);
    const char *value = line + name + (line[name] == ':');
    if (name == 0 || line[name] != ':')
        return "no field name";
    if (is_taken(span_of(line, name)))
        return "a field that is not yours to set";
    if (!value[strspn(value, " \t")])
        return "no value";
    for (const char *p = value; *p; p++)
        if ((*p < ' ' && *p != '\t') || *p > '~')
            return "a byte that is no printable ASCII";
    return NULL;
}

static int take_lines(const char *file, struct otlp_headers *h, struct text *why) {
    size_t n = 0, number = 0;
    for (char *line = h->secret, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        number++;
        size_t len = strlen(line);
        while (len && strchr(" \t\r", line[len - 1]))
            line[--len] = 0;
        if (len == 0 || line[0] == '#')
            continue;
        const char *fault = line_fault(line);
        if (fault || n == OTLP_HEADERS_MAX) {
            text_addf(why, "%s: line %zu: found %s, expected " EXPECTED, file, number, fault ? fault : "more than 16 fields");
            return ERR_FORMAT;
        }
        h->fields[n++] = line;
    }
    return 0;
}

int otlp_headers_read(const char *file, struct otlp_headers *ret, struct text *why) {
    struct file f = {.path = file, .expected = EXPECTED, .max = OTLP_HEADERS_FILE_MAX};
    size_t len = 0;
    *ret = (struct otlp_headers){.secret = NULL};
    int err = file_open(&f, why);
    if (err < 0)
        return err;
    err = secret_file_rights(&f, HARM, why);
    ret->secret = err == 0 ? secret_alloc(OTLP_HEADERS_FILE_MAX + 1, NULL) : NULL;
    if (err == 0)
        err = file_read(&f, (uint8_t *)ret->secret, &len, why);
    file_close(&f);
    if (err == 0 && memchr(ret->secret, 0, len)) {
        text_addf(why, "%s: found a byte of zero, expected " EXPECTED, file);
        err = ERR_FORMAT;
    }
    if (err == 0) {
        ret->secret[len] = 0;
        err = take_lines(file, ret, why);
    }
    if (err < 0)
        otlp_headers_free(ret);
    return err;
}

void otlp_headers_free(struct otlp_headers *h) {
    secret_free(h->secret, OTLP_HEADERS_FILE_MAX + 1);
    *h = (struct otlp_headers){.secret = NULL};
}

/* ---- checks ---- */

static void warn_without_effect(struct load *l) {
    static const enum conf_key others[] = {KEY_OTLP_CA_FILE, KEY_OTLP_HEADERS_FILE, KEY_OTLP_TIMEOUT, KEY_OTLP_SERVICE_NAME,
                                           KEY_OTLP_SAMPLE};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (l->node[others[i]])
            load_warning(l, load_top_at(l, others[i]), load_top_key(others[i]), "has no effect without \"otlp.endpoint\"");
}

static void check_headers(struct load *l, const struct otlp_endpoint *e) {
    const struct conf_otlp *o = &l->conf->otlp;
    char reason[PATH_MAX + WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    struct otlp_headers h;
    struct toml_pos at = load_top_at(l, KEY_OTLP_HEADERS_FILE);
    const char *key = load_top_key(KEY_OTLP_HEADERS_FILE);
    if (otlp_headers_read(o->headers_file, &h, &why) < 0)
        load_error(l, at, key, "%s", reason);
    else if (strcmp(e->scheme, "http") == 0 && !is_here(e))
        load_warning(l, at, key, "its fields are sent unencrypted to %s: anyone on the way can read them", e->host);
    otlp_headers_free(&h);
}

static void check_ca_file(struct load *l, const struct otlp_endpoint *e) {
    const struct conf_otlp *o = &l->conf->otlp;
    char reason[PATH_MAX + WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    struct file f = {.path = o->ca_file, .expected = "certificates in PEM", .max = OTLP_TRUST_MAX};
    if (strcmp(e->scheme, "http") == 0)
        load_warning(l, load_top_at(l, KEY_OTLP_CA_FILE), load_top_key(KEY_OTLP_CA_FILE),
                     "has no effect: \"otlp.endpoint\" is not https");
    if (file_open(&f, &why) < 0)
        load_error(l, load_top_at(l, KEY_OTLP_CA_FILE), load_top_key(KEY_OTLP_CA_FILE), "%s", reason);
    else
        file_close(&f);
}

void check_otlp(struct load *l) {
    const struct conf_otlp *o = &l->conf->otlp;
    struct otlp_endpoint e;
    if (!o->endpoint) {
        if (!l->node[KEY_OTLP_ENDPOINT]) /* else it has been refused */
            warn_without_effect(l);
        return;
    }
    if (!o->service_name[0])
        load_error(l, load_top_at(l, KEY_OTLP_SERVICE_NAME), load_top_key(KEY_OTLP_SERVICE_NAME),
                   "found an empty name, expected what this proxy is called among your services");
    if (!otlp_endpoint_parse(o->endpoint, &e))
        load_error(
            l, load_top_at(l, KEY_OTLP_ENDPOINT), load_top_key(KEY_OTLP_ENDPOINT),
            "found \"%.200s\", expected a URL like \"http://127.0.0.1:4318/v1/traces\", with its path and without a password",
            o->endpoint);
}

void check_otlp_files(struct load *l) {
    const struct conf_otlp *o = &l->conf->otlp;
    struct otlp_endpoint e;
    if (!o->endpoint || !otlp_endpoint_parse(o->endpoint, &e)) /* which has been reported */
        return;
    if (o->headers_file)
        check_headers(l, &e);
    if (o->ca_file)
        check_ca_file(l, &e);
}
