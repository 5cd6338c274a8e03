/* Options of stunnel.conf as keys of a service. */
#include <string.h>
#include <strings.h>

#include "convert/stunnel.h"

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
    {"delay", "names of backends are looked up as their answers say"},
    {"compression", "there is none in TLS 1.3, and none here"},
    {"fips", "see OpenSSL's own configuration"},
    {"session", "sessions are resumed by tickets"},
    {"sessionCacheSize", "sessions are resumed by tickets"},
    {"sessionCacheTimeout", "sessions are resumed by tickets"},
    {"sessionResume", "sessions are resumed by tickets"},
    {"ticketKeySecret", "tls-off ticket-secret makes one, see [tickets]"},
    {"ticketMacSecret", "tls-off ticket-secret makes one, see [tickets]"},
    {"renegotiation", "there is none"},
    {"reset", "a session that fails ends with a reset"},
    {"securityLevel", "certificates and keys have to be of level 2"},
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
    {"logId", "every session has a unique id"},
    {"iconActive", "there is no icon"},
    {"taskbar", "there is no taskbar"},
};

static bool is_yes(const char *v) {
    return strcasecmp(v, "yes") == 0;
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
    bool is_ascii = true;
    for (const char *p = v; *p; p++)
        is_ascii = is_ascii && (unsigned char)*p < 0x80;
    if (strcasecmp(name, "checkHost") == 0 && is_ascii && strncmp(v, "**", 2) != 0 && model_is_name(v))
        model_add(t->m, s->s, "client_auth", "allow", model_text(t->m, "dns:%s", v));
    else {
        model_note(t->m, MODEL_LOST, line, "%s = %s: see client_auth.allow", name, v);
        s->lost[STUNNEL_CHECK] = line;
    }
}

static void take_verify(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    bool level = strcasecmp(name, "verify") == 0, known = strlen(v) == 1 && strchr("012", v[0]);
    bool one_by_one = level ? !known : strcasecmp(name, "verifyPeer") == 0 && is_yes(v);
    bool *which = strcasecmp(name, "verifyPeer") == 0    ? &s->peer
                  : strcasecmp(name, "verifyChain") == 0 ? &s->chain
                                                         : &s->require;
    s->require_line = is_yes(v) || level ? line : s->require_line;
    if (level) {
        s->chain = strcmp(v, "0") != 0;
        s->peer = !known;
        s->require = s->chain && strcmp(v, "1") != 0;
    } else {
        *which = is_yes(v);
        s->require = s->require || is_yes(v); /* a line that says "no" does not take it back, but for its own */
    }
    if (level || which == &s->peer)
        s->lost[STUNNEL_ONE_BY_ONE] = one_by_one ? line : 0;
    if (!one_by_one)
        return;
    model_note(t->m, MODEL_LOST, line,
               "%s = %s: certificates of CAfile admit by their CA here, not one by one; see client_auth.allow", name, v);
}

/* Options that ask more of clients than there is here; their lines are noted by the caller. */
static void lose_guards_of(struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    static const char *const names[STUNNEL_LOSSES] = {[STUNNEL_LIBWRAP] = "libwrap",
                                                      [STUNNEL_IDENT] = "ident",
                                                      [STUNNEL_CRL_PATH] = "CRLpath",
                                                      [STUNNEL_OCSP] = "OCSP",
                                                      [STUNNEL_OCSP_AIA] = "OCSPaia"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i] && strcasecmp(name, names[i]) == 0)
            s->lost[i] = strcasecmp(v, "no") == 0 ? 0 : line;
}

/* "[HOST:]PORT" or "/PATH". Without a host stunnel listens at IPv4 alone; "::" is both families. */
static void take_address(struct stunnel *t, struct stunnel_section *s, bool is_accept, const char *v, unsigned line) {
    const struct model_socket how = {NULL, s->device};
    const char *port = v, *host = strchr(v, ':') ? model_split(t->m, v, &port) : NULL;
    s->has_connect = s->has_connect || !is_accept;
    if (!is_accept)
        model_add_backend(t->m, s->s, line, v[0] == '/' ? v : host, port);
    else if (v[0] == '/')
        model_listen_unix(t->m, s->s, line, v);
    else
        (void)model_listen(t->m, s->s, line,
                           !host || !host[0]         ? "0.0.0.0"
                           : strcmp(host, "::") == 0 ? NULL
                                                     : host,
                           port, &how); /* noted */
}

/* socket = a|l|r:OPTION=VALUE, of the sockets that listen, are accepted, or reach a backend. Only a device keeps clients out.
 */
static void take_socket_option(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    static const char device[] = ":SO_BINDTODEVICE=";
    const char *value = v[0] && strncasecmp(v + 1, device, sizeof(device) - 1) == 0 ? v + sizeof(device) : NULL;
    bool listens = v[0] == 'a' || v[0] == 'A';
    if (!value && !strcasestr(v, "BINDTODEVICE")) {
        model_note(t->m, MODEL_NOT_NEEDED, line, "socket: sockets are set up as servers and proxies want them");
    } else if (value && value[0] && listens && !model_has(s->s, "", "listen")) {
        s->device = value;
    } else {
        model_note(t->m, MODEL_LOST, line, "socket = %s: expected a:SO_BINDTODEVICE=DEVICE above \"accept\"", v);
        if (v[0] != 'r' && v[0] != 'R')
            model_guard_lost(s->s, line);
    }
}

/* A file; NULL after a note for what is in a token. */
static const char *take_file(struct stunnel *t, const char *name, const char *v, unsigned line) {
    if (strncasecmp(v, "pkcs11:", 7) != 0)
        return model_path(t->m, v);
    model_note(t->m, MODEL_LOST, line, "%s = %s: expected a file", name, v);
    return NULL;
}

/* What keeps TLS 1.3 from clients has no counterpart. */
static void take_max_version(struct stunnel *t, const char *name, const char *v, unsigned line) {
    bool has13 = strcasecmp(v, "TLSv1.3") == 0 || strcasecmp(v, "all") == 0;
    if (strcasecmp(name, "sslVersionMax") == 0 && has13)
        model_note(t->m, MODEL_NOT_NEEDED, line, "sslVersionMax: TLS 1.3 is the newest there is");
    else if (!has13)
        model_note(t->m, MODEL_NOT_NEEDED, line, "%s = %s: TLS 1.3 is offered, too", name, v);
}

static void take_option_of_openssl(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    if (strcasecmp(v, "NO_TLSv1.2") == 0 || strcasecmp(v, "NO_TLSv1_2") == 0)
        model_min_version(t->m, s->s, line, "TLSv1.3");
    else if (strcasecmp(v, "NO_TLSv1.3") == 0 || strcasecmp(v, "NO_TLSv1_3") == 0)
        take_max_version(t, "options", v, line);
    else
        model_note(t->m, MODEL_NOT_NEEDED, line, "options = %s: old versions and renegotiation do not exist here", v);
}

static void take_failover(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    model_set(t->m, s->s, "", "balance", "round-robin");
    if (strcasecmp(v, "prio") == 0)
        model_note(t->m, MODEL_LOST, line, "failover = prio: all backends serve alike");
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
    s->is_any = strcmp(colon + 1, "*") == 0;
    if (!model_add_name(t->m, s->s, line, model_text(t->m, "%s%s", any_depth ? "*" : "", colon + 1)))
        model_lose_name(s->s, line);
}

/* config = COMMAND:VALUE, a command of OpenSSL's */
static void take_command(struct stunnel *t, struct stunnel_section *s, const char *v, unsigned line) {
    const char *colon = strchr(v, ':'), *value = colon ? colon + 1 : "";
    const char *name = model_text(t->m, "%.*s", colon ? (int)(colon - v) : (int)strlen(v), v);
    if (strcasecmp(name, "MinProtocol") == 0)
        model_min_version(t->m, s->s, line, value);
    else if (strcasecmp(name, "Ciphersuites") == 0)
        s->suites = model_text(t->m, "%s", value);
    else if (strcasecmp(name, "CipherString") == 0)
        s->ciphers = model_text(t->m, "%s", value);
    else if (strcasecmp(name, "Groups") == 0 || strcasecmp(name, "Curves") == 0)
        model_groups(t->m, s->s, line, value);
    else {
        model_note(t->m, MODEL_LOST, line, "config = %s", v);
        if (strncasecmp(name, "Verify", 6) == 0 || strcasecmp(name, "Protocol") == 0)
            model_guard_lost(s->s, line);
    }
}

/* Options that are the service's, but are not in the table. */
static bool take_special(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    struct model *m = t->m;
    if (strcasecmp(name, "client") == 0)
        s->is_client = is_yes(v);
    else if (strcasecmp(name, "accept") == 0 || strcasecmp(name, "connect") == 0)
        take_address(t, s, strcasecmp(name, "accept") == 0, v, line);
    else if (strcasecmp(name, "socket") == 0)
        take_socket_option(t, s, v, line);
    else if (strcasecmp(name, "cert") == 0)
        s->cert = take_file(t, name, v, line);
    else if (strcasecmp(name, "key") == 0)
        s->key = take_file(t, name, v, line);
    else if (strcasecmp(name, "options") == 0)
        take_option_of_openssl(t, s, v, line);
    else if (strcasecmp(name, "ciphers") == 0)
        s->ciphers = v;
    else if (strcasecmp(name, "ciphersuites") == 0)
        s->suites = v;
    else if (strcasecmp(name, "curves") == 0 || strcasecmp(name, "curve") == 0)
        model_groups(m, s->s, line, v);
    else if (strcasecmp(name, "sslVersion") == 0 || strcasecmp(name, "sslVersionMin") == 0) {
        model_min_version(m, s->s, line, strcasecmp(v, "all") == 0 ? "TLSv1.2" : v);
        if (strcasecmp(name, "sslVersion") == 0)
            take_max_version(t, name, v, line);
    } else if (strcasecmp(name, "sslVersionMax") == 0)
        take_max_version(t, name, v, line);
    else if (strcasecmp(name, "protocol") == 0)
        take_protocol(t, s, v, line);
    else if (strcasecmp(name, "config") == 0)
        take_command(t, s, v, line);
    else if (strcasecmp(name, "sni") == 0)
        take_sni(t, s, v, line);
    else if (strcasecmp(name, "failover") == 0)
        take_failover(t, s, v, line);
    else if (strncasecmp(name, "check", 5) == 0)
        take_check(t, s, name, v, line);
    else if (strncasecmp(name, "verify", 6) == 0 || strcasecmp(name, "requireCert") == 0)
        take_verify(t, s, name, v, line);
    else if (strcasecmp(name, "setuid") == 0)
        model_set_user(m, line, v);
    else if (strcasecmp(name, "output") == 0)
        model_set_log_file(m, line, model_path(m, v));
    else
        return false;
    return true;
}

void stunnel_take_option(struct stunnel *t, struct stunnel_section *s, const char *name, const char *v, unsigned line) {
    s->has_psk = s->has_psk || strncasecmp(name, "PSK", 3) == 0;
    if (!v[0])
        return; /* the default */
    if (take_special(t, s, name, v, line))
        return;
    lose_guards_of(s, name, v, line);
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct stunnel_option *o = &options[i];
        if (strcasecmp(name, o->name) != 0)
            continue;
        const char *value = o->kind == STUNNEL_PATH ? model_path(t->m, v) : model_duration(t->m, v, "s");
        if (value && strcmp(o->key, "linger") == 0 && strcmp(value, "none") == 0)
            value = "0s"; /* not to wait, where no time elsewhere is no end */
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
