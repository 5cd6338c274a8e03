/* stunnel(8): global options, then a section a service. Options of the global part are the defaults of all sections. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "convert/readers.h"

/* What is looked at together when a section ends. */
struct stunnel_section {
    const char *name; /* NULL: the global part, whose keys are defaults */
    struct model_service *s;
    unsigned line;
    const char *master; /* the service whose addresses this one shares */
    const char *cert, *key;
    const char *ciphers, *suites;
    const char *verify; /* "required", "optional"; NULL = none */
    bool is_client, has_connect;
};

struct stunnel {
    struct model *m;
    struct stunnel_section defaults, now;
    struct stunnel_section *done; /* sections that became services, for "sni" */
    size_t ndone;
};

/* An option and its counterpart. */
static const struct stunnel_option {
    const char *name;
    const char *table, *key;
    enum { STUNNEL_PATH, STUNNEL_SECONDS } kind;
} options[] = {
    {"CAfile", "client_auth", "ca", STUNNEL_PATH},
    {"CRLfile", "client_auth", "crl", STUNNEL_PATH},
    {"TIMEOUTidle", "timeouts", "idle", STUNNEL_SECONDS},
    {"TIMEOUTconnect", "timeouts", "connect", STUNNEL_SECONDS},
    {"TIMEOUTbusy", "timeouts", "handshake", STUNNEL_SECONDS},
    {"TIMEOUTclose", "timeouts", "linger", STUNNEL_SECONDS},
};

static const char *const not_needed[][2] = {
    {"foreground", "tls-off runs in the foreground; the service manager does the rest"},
    {"pid", "the service manager knows it"},
    {"chroot", "every process has a sandbox of its own"},
    {"setgid", "the user's own group is used"},
    {"debug", "see [log] level"},
    {"log", "a log file is appended to"},
    {"syslog", "see [log]"},
    {"socket", "sockets are set up as servers and proxies want them"},
    {"delay", "names of backends are looked up as their answers say"},
    {"compression", "there is none in TLS 1.3, and none here"},
    {"fips", "see OpenSSL's own configuration"},
    {"options", "old versions and renegotiation do not exist here"},
    {"session", "sessions are resumed by tickets"},
    {"sessionCacheSize", "sessions are resumed by tickets"},
    {"sessionCacheTimeout", "sessions are resumed by tickets"},
    {"sessionResume", "sessions are resumed by tickets"},
    {"ticketKeySecret", "tls-off ticket-secret makes one, see [tickets]"},
    {"ticketMacSecret", "tls-off ticket-secret makes one, see [tickets]"},
    {"renegotiation", "there is none"},
    {"reset", "a session that fails ends with a reset"},
    {"securityLevel", "certificates and keys have to be of level 2"},
    {"sslVersionMax", "TLS 1.3 is the newest there is"},
    {"dhParam", "key exchange is by elliptic curves"},
    {"EGD", "the kernel's random numbers are used"},
    {"RNDfile", "the kernel's random numbers are used"},
    {"RNDbytes", "the kernel's random numbers are used"},
    {"RNDoverwrite", "the kernel's random numbers are used"},
    {"service", "see the unit"},
    {"libwrap", "see [service.x.access]"},
    {"OCSPaia", "revocation is checked by client_auth.crl"},
    {"OCSPrequire", "revocation is checked by client_auth.crl"},
    {"retry", "sessions that cannot reach a backend try another"},
    {"stack", "there are no threads"},
};

static bool is_yes(const char *v) {
    return strcasecmp(v, "yes") == 0;
}

/* "[HOST:]PORT". */
static void split(struct model *m, const char *v, const char **ret_host, const char **ret_port) {
    const char *colon = strrchr(v, ':');
    *ret_host = colon ? model_text(m, "%.*s", (int)(colon - v), v) : NULL;
    *ret_port = colon ? colon + 1 : v;
}

static void take_protocol(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    static const char *const known[][2] = {{"smtp", "smtp"},        {"imap", "imap"}, {"pop3", "pop3"},
                                           {"pgsql", "postgresql"}, {"nntp", "nntp"}, {"ldap", "ldap"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcasecmp(v, known[i][0]) == 0) {
            model_set(t->m, s->s, "", "starttls", known[i][1]);
            return;
        }
    if (strcasecmp(v, "proxy") == 0)
        model_set(t->m, s->s, "proxy_protocol", "send", "v1");
    else
        model_note(t->m, MODEL_LOST, line, "protocol = %s", v);
}

/* Names and addresses that a client's certificate has to hold. */
static void take_check(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    if (strcasecmp(name, "checkHost") == 0)
        model_add(t->m, s->s, "client_auth", "allow", model_text(t->m, "dns:%s", v));
    else
        model_note(t->m, MODEL_LOST, line, "%s = %s: see client_auth.allow", name, v);
}

static void take_verify(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    if (strcasecmp(name, "verify") == 0) {
        bool known = strlen(v) == 1 && strchr("01234", v[0]);
        s->verify = v[0] == '0' ? NULL : v[0] == '1' ? "optional" : "required";
        if (!known || v[0] >= '3')
            model_note(t->m, MODEL_LOST, line,
                       "verify = %s: certificates of CAfile admit by their CA here, not one by one; see client_auth.allow", v);
    } else if (strcasecmp(name, "requireCert") == 0) {
        s->verify = is_yes(v) ? "required" : s->verify;
    } else if (is_yes(v)) {
        s->verify = s->verify ? s->verify : "required";
        if (strcasecmp(name, "verifyPeer") == 0)
            model_note(t->m, MODEL_LOST, line,
                       "verifyPeer: certificates of CAfile admit by their CA here, not one by one; see client_auth.allow");
    }
}

static void take_address(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v) {
    const char *host, *port;
    split(t->m, v, &host, &port);
    bool is_accept = strcasecmp(name, "accept") == 0;
    if (is_accept)
        model_add(t->m, s->s, "", "listen",
                  v[0] == '/' ? model_text(t->m, "unix:%s", v)
                              : model_address(t->m, host && strcmp(host, "::") == 0 ? NULL : host, port));
    else
        model_add(t->m, s->s, "", "backends", v[0] == '/' ? model_backend(t->m, v, NULL) : model_backend(t->m, host, port));
    s->has_connect = s->has_connect || !is_accept;
}

/* sni = SERVICE:PATTERN */
static void take_sni(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    const char *colon = strchr(v, ':');
    if (s->is_client || !colon) {
        model_note(t->m, MODEL_LOST, line, "sni = %s", v);
        return;
    }
    s->master = model_text(t->m, "%.*s", (int)(colon - v), v);
    bool any_depth = strncmp(colon + 1, "*.", 2) == 0;
    model_add(t->m, s->s, "", "names", model_text(t->m, "%s%s", any_depth ? "*" : "", colon + 1));
}

/* Options that are the service's, but are not in the table. */
static bool take_special(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    struct model *m = t->m;
    if (strcasecmp(name, "client") == 0)
        s->is_client = is_yes(v);
    else if (strcasecmp(name, "accept") == 0 || strcasecmp(name, "connect") == 0)
        take_address(t, s, name, v);
    else if (strcasecmp(name, "cert") == 0)
        s->cert = model_path(m, v);
    else if (strcasecmp(name, "key") == 0)
        s->key = model_path(m, v);
    else if (strcasecmp(name, "ciphers") == 0)
        s->ciphers = v;
    else if (strcasecmp(name, "ciphersuites") == 0)
        s->suites = v;
    else if (strcasecmp(name, "curves") == 0 || strcasecmp(name, "curve") == 0)
        model_groups(m, s->s, line, v);
    else if (strcasecmp(name, "sslVersion") == 0 || strcasecmp(name, "sslVersionMin") == 0)
        model_min_version(m, s->s, line, strcasecmp(v, "all") == 0 ? "TLSv1.2" : v);
    else if (strcasecmp(name, "protocol") == 0)
        take_protocol(t, s, v, line);
    else if (strcasecmp(name, "sni") == 0)
        take_sni(t, s, v, line);
    else if (strcasecmp(name, "failover") == 0)
        model_set(m, s->s, "", "balance", "round-robin");
    else if (strncasecmp(name, "check", 5) == 0)
        take_check(t, s, name, v, line);
    else if (strncasecmp(name, "verify", 6) == 0 || strcasecmp(name, "requireCert") == 0)
        take_verify(t, s, name, v, line);
    else if (strcasecmp(name, "setuid") == 0)
        model_set(m, model_top(m), "", "user", v);
    else if (strcasecmp(name, "output") == 0)
        model_set(m, model_top(m), "log", "target", model_path(m, v));
    else
        return false;
    return true;
}

static void take_option(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    if (take_special(t, s, name, v, line))
        return;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct stunnel_option *o = &options[i];
        if (strcasecmp(name, o->name) != 0)
            continue;
        const char *value = o->kind == STUNNEL_PATH ? model_path(t->m, v) : model_duration(t->m, v, "s");
        if (value)
            model_set(t->m, s->s, o->table, o->key, value);
        else
            model_note(t->m, MODEL_LOST, line, "%s = %s: expected seconds", name, v);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(not_needed); i++)
        if (strcasecmp(name, not_needed[i][0]) == 0) {
            model_note(t->m, MODEL_NOT_NEEDED, line, "%s: %s", name, not_needed[i][1]);
            return;
        }
    model_note(t->m, MODEL_LOST, line, "%s = %s", name, v);
}

static const struct stunnel_section *done_section(const struct stunnel *t, const char *name) {
    for (size_t i = 0; i < t->ndone; i++)
        if (strcasecmp(t->done[i].name, name) == 0)
            return &t->done[i];
    return NULL;
}

/* A service that shares another's addresses, and takes what it does not say itself from it. */
static void share_addresses(struct stunnel *t, struct stunnel_section *s) {
    const struct stunnel_section *master = done_section(t, s->master);
    if (!master) {
        model_note(t->m, MODEL_LOST, s->line, "[%s]: sni names the service %s, which is not above", s->name, s->master);
        return;
    }
    s->cert = s->cert ? s->cert : master->cert;
    s->key = s->key ? s->key : master->key;
    model_inherit(s->s, master->s, "names");
    model_add(t->m, master->s, "", "names", "*"); /* it keeps who asks for nothing of the others */
    model_add(t->m, master->s, "", "names", "");
}

static void end_section(struct stunnel *t) {
    struct stunnel_section *s = &t->now;
    if (!s->name)
        return;
    if (s->is_client || !s->has_connect) {
        model_note(t->m, MODEL_LOST, s->line, "[%s]: %s", s->name,
                   s->is_client ? "client = yes: tls-off does not begin TLS itself"
                                : "no \"connect\": only addresses are passed to");
        model_clear(t->m, s->s);
        return;
    }
    if (s->master)
        share_addresses(t, s);
    if (s->cert)
        model_add_cert(t->m, s->s, s->cert, s->key ? s->key : s->cert, NULL);
    if (s->verify)
        model_set(t->m, s->s, "client_auth", "mode", s->verify);
    else
        model_unset_table(s->s, "client_auth");
    model_suites(t->m, s->s, s->line, s->ciphers, s->suites);
    struct stunnel_section *grown = realloc(t->done, (t->ndone + 1) * sizeof(*grown));
    MUST(grown);
    t->done = grown;
    t->done[t->ndone++] = *s;
}

static void begin_section(struct stunnel *t, const char *name, unsigned line) {
    end_section(t);
    const struct model_service *defaults = t->defaults.s;
    t->now = t->defaults;
    t->now.name = name;
    t->now.line = line;
    t->now.s = model_add_service(t->m, name);
    model_inherit(t->now.s, defaults, "");
}

static char *trim(char *s) {
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int read_line(struct stunnel *t, char *text, unsigned line, struct text *why) {
    char *s = trim(text), *end, *equals = strchr(s, '=');
    if (!*s || *s == ';' || *s == '#')
        return 0;
    if (*s == '[' && (end = strchr(s, ']'))) {
        *end = '\0';
        begin_section(t, model_text(t->m, "%s", trim(s + 1)), line);
        return 0;
    }
    if (!equals) {
        text_addf(why, "line %u: found \"%s\", expected \"option = value\" or \"[service]\"", line, s);
        return ERR_FORMAT;
    }
    *equals = '\0';
    const char *name = model_text(t->m, "%s", trim(s)), *v = model_text(t->m, "%s", trim(equals + 1));
    take_option(t, t->now.name ? &t->now : &t->defaults, name, v, line);
    return 0;
}

int convert_stunnel(struct model *m, struct span bytes, struct text *why) {
    struct stunnel t = {.m = m};
    t.defaults.s = model_add_service(m, "defaults");
    int err = 0;
    unsigned line = 0;
    const char *p = (const char *)bytes.p, *end = p + bytes.len;
    p += bytes.len >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (!err && p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        char *copy = strndup(p, (size_t)(stop - p));
        MUST(copy);
        err = read_line(&t, copy, ++line, why);
        free(copy);
        p = stop + (newline != NULL);
    }
    end_section(&t);
    model_clear(m, t.defaults.s);
    free(t.done);
    return err;
}
