#include "conf/schema.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/tcp_options.h"
#include "base/text.h"
#include "conf/suggestion.h"

#define NAMES_MAX   (KEY_COUNT + 8)
#define SECTION_MAX 64 /* longest section of the table, and then some */

void reading_refuse(struct reading *r, const struct toml_node *node, const char *expected_fmt, ...) {
    char shown[VALUE_SHOWN_MAX], expected[512];
    va_list args;
    va_start(args, expected_fmt);
    (void)vsnprintf(expected, sizeof(expected), expected_fmt, args); /* cut is fine in a message */
    va_end(args);
    load_error(r->l, node->at, r->key, "found %s, expected %s", value_shown(node, shown), expected);
}

static void store(void *to, size_t size, uint64_t v) {
    uint8_t v8 = (uint8_t)v;
    uint16_t v16 = (uint16_t)v;
    uint32_t v32 = (uint32_t)v;
    const void *from = size == 1 ? (void *)&v8 : size == 2 ? (void *)&v16 : size == 4 ? (void *)&v32 : (void *)&v;
    MUST(size == 1 || size == 2 || size == 4 || size == 8);
    memcpy(to, from, size);
}

static void read_boolean(struct reading *r, const struct toml_node *node) {
    store(r->target, r->row->size, node->integer != 0);
}

static void read_integer(struct reading *r, const struct toml_node *node) {
    uint64_t v = (uint64_t)node->integer;
    if (node->integer < 0 || v < r->row->min || v > r->row->max)
        reading_refuse(r, node, "an integer from %llu to %llu", (unsigned long long)r->row->min,
                       (unsigned long long)r->row->max);
    else
        store(r->target, r->row->size, v);
}

/* 0 or at least the minimum. */
static void read_rate(struct reading *r, const struct toml_node *node) {
    if (node->integer == 0 || (node->integer >= (int64_t)r->row->min && node->integer <= (int64_t)r->row->max))
        store(r->target, r->row->size, (uint64_t)node->integer);
    else
        reading_refuse(r, node, "0 (no limit) or an integer from %llu to %llu", (unsigned long long)r->row->min,
                       (unsigned long long)r->row->max);
}

static void read_word(struct reading *r, const struct toml_node *node) {
    char words[256];
    struct text t = text_of(words, sizeof(words));
    int v = value_word(r->row->words, node->string);
    value_words_text(r->row->words, &t);
    if (v < 0)
        reading_refuse(r, node, "%s", words);
    else
        store(r->target, r->row->size, (uint64_t)v);
}

static void set_text(struct reading *r, const char *text) {
    memcpy(r->target, &text, sizeof(text));
}

static void read_text(struct reading *r, const struct toml_node *node) {
    if (strlen(node->string) > r->row->max)
        reading_refuse(r, node, "at most %llu bytes", (unsigned long long)r->row->max);
    else
        set_text(r, conf_strdup(r->l->conf, node->string));
}

static void read_path(struct reading *r, const struct toml_node *node) {
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    if (path)
        set_text(r, path);
    else
        reading_refuse(r, node, "a file name of 1 to %d bytes", PATH_MAX - 1);
}

static void read_duration(struct reading *r, const struct toml_node *node) {
    uint64_t ms = 0;
    int err = value_duration(node->string, &ms);
    if (err == 0 && ms >= r->row->min)
        store(r->target, r->row->size, ms);
    else if (err == ERR_LIMIT)
        reading_refuse(r, node, "at most 366 days, or \"none\"");
    else if (err)
        reading_refuse(r, node, "a duration like \"250ms\", \"10s\", \"5m\", \"1h\", or \"none\"");
    else
        reading_refuse(r, node, "at least \"%llums\"", (unsigned long long)r->row->min);
}

/* The one key that is an integer or a string. */
static void read_size(struct reading *r, const struct toml_node *node) {
    uint64_t v = node->kind == TOML_INTEGER && node->integer > 0 ? (uint64_t)node->integer : 0;
    int err = node->kind == TOML_STRING ? value_size(node->string, &v) : 0;
    if (err == 0 && v >= r->row->min && v <= r->row->max)
        store(r->target, r->row->size, v);
    else
        reading_refuse(r, node, "a size like 4194304, \"64KiB\", \"256MiB\" or \"1GiB\", from \"%lluMiB\" to \"%lluGiB\"",
                       (unsigned long long)(r->row->min >> 20), (unsigned long long)(r->row->max >> 30));
}

static void read_log_target(struct reading *r, const struct toml_node *node) {
    static const struct word targets[] = {{"stderr", LOG_TO_STDERR},
                                          {"stdout", LOG_TO_STDOUT},
                                          {"syslog", LOG_TO_SYSLOG},
                                          {"journal", LOG_TO_JOURNAL},
                                          {NULL, 0}};
    struct conf *c = r->l->conf;
    int v = value_word(targets, node->string);
    if (v >= 0) {
        c->log_target = (enum log_target)v;
        return;
    }
    const char *path = node->string[0] ? load_path(r->l, node->string) : NULL;
    if (!path) {
        reading_refuse(r, node, "\"stderr\", \"stdout\", \"journal\", \"syslog\" or a file name");
        return;
    }
    c->log_target = LOG_TO_FILE;
    c->log_file = path;
}

static void read_engine(struct reading *r, const struct toml_node *node) {
    static const struct word engines[] = {{"auto", 0}, {"libcrypto", 1}, {"mb", 2}, {NULL, 0}};
    if (value_word(engines, node->string) < 0)
        reading_refuse(r, node, "\"auto\", \"libcrypto\" or \"mb\"");
    else
        set_text(r, conf_strdup(r->l->conf, node->string));
}

static const struct word handshakes[] = {{"auto", HANDSHAKE_AUTO}, {"libssl", HANDSHAKE_LIBSSL}, {NULL, 0}};
static const struct word log_formats[] = {{"text", LOG_AS_TEXT}, {"json", LOG_AS_JSON}, {"logfmt", LOG_AS_LOGFMT}, {NULL, 0}};
static const struct word log_levels[] = {{"error", LOG_LEVEL_ERROR},
                                         {"warning", LOG_LEVEL_WARNING},
                                         {"info", LOG_LEVEL_INFO},
                                         {"debug", LOG_LEVEL_DEBUG},
                                         {NULL, 0}};
static const struct word modes[] = {{"terminate", MODE_TERMINATE}, {"passthrough", MODE_PASSTHROUGH}, {NULL, 0}};
static const struct word versions[] = {{"1.2", 0x0303}, {"1.3", 0x0304}, {NULL, 0}};
static const struct word balances[] = {{"least-sessions", BALANCE_LEAST_SESSIONS},
                                       {"round-robin", BALANCE_ROUND_ROBIN},
                                       {"client-hash", BALANCE_CLIENT_HASH},
                                       {NULL, 0}};
static const struct word truncations[] = {{"close", TRUNCATION_CLOSE}, {"reset", TRUNCATION_RESET}, {NULL, 0}};
static const struct word client_auth_modes[] = {
    {"none", CLIENT_AUTH_NONE}, {"optional", CLIENT_AUTH_OPTIONAL}, {"required", CLIENT_AUTH_REQUIRED}, {NULL, 0}};
static const struct word proxy_sends[] = {{"none", PROXY_SEND_NONE}, {"v1", PROXY_SEND_V1}, {"v2", PROXY_SEND_V2}, {NULL, 0}};
static const struct word proxy_accepts[] = {{"none", false}, {"required", true}, {NULL, 0}};

#define ROW(p, k, ...)                                                                                                         \
    { .path = (p), .kind = (k), .read = __VA_ARGS__ }
#define TOP(m)     .offset = offsetof(struct conf, m), .size = sizeof(((struct conf *)0)->m)
#define SERVICE(m) .offset = offsetof(struct conf_service, m), .size = sizeof(((struct conf_service *)0)->m)
#define LIMIT_MAX  ((uint64_t)INT64_MAX)

/* clang-format off */
const struct key_row key_rows[KEY_COUNT] = {
    [KEY_WORKERS]        = ROW("workers", TOML_INTEGER, read_integer, TOP(workers), .max = WORKERS_MAX),
    [KEY_USER]           = ROW("user", TOML_STRING, read_text, TOP(user), .max = CONF_NAME_MAX),
    [KEY_STATE_DIR]      = ROW("state_dir", TOML_STRING, read_path, TOP(state_dir)),
    [KEY_ENGINE]         = ROW("engine", TOML_STRING, read_engine, TOP(engine)),
    [KEY_HANDSHAKE]      = ROW("handshake", TOML_STRING, read_word, TOP(handshake), .words = handshakes),
    [KEY_TCP_CONGESTION] = ROW("tcp_congestion", TOML_STRING, read_text, TOP(tcp_congestion), .max = 15), /* TCP_CA_NAME_MAX */
    [KEY_BUSY_POLL]      = ROW("busy_poll_us", TOML_INTEGER, read_integer, TOP(busy_poll_us), .max = CONF_BUSY_POLL_MAX),
    [KEY_DRAIN_TIMEOUT]  = ROW("drain_timeout", TOML_STRING, read_duration, TOP(drain_ms)),
    [KEY_WATCH_INTERVAL] = ROW("watch_interval", TOML_STRING, read_duration, TOP(watch_ms), .min = 1000),
    [KEY_BUFFER_MEMORY]  = ROW("buffer_memory", TOML_STRING, read_size, TOP(buffer_memory), .min = 1ull << 20, .max = 1024ull << 30),
    [KEY_HANDSHAKE_MEMORY] = ROW("handshake_memory", TOML_STRING, read_size, TOP(handshake_memory), .min = 1ull << 20, .max = 1024ull << 30),

    [KEY_LOG_TARGET] = ROW("log.target", TOML_STRING, read_log_target),
    [KEY_LOG_FORMAT] = ROW("log.format", TOML_STRING, read_word, TOP(log_format), .words = log_formats),
    [KEY_LOG_LEVEL]  = ROW("log.level", TOML_STRING, read_word, TOP(log_level), .words = log_levels),

    [KEY_ADMIN_SOCKET]        = ROW("admin.socket", TOML_STRING, read_admin_socket),
    [KEY_ADMIN_SOCKET_MODE]   = ROW("admin.socket_mode", TOML_STRING, read_admin_mode),
    [KEY_ADMIN_SOCKET_OWNER]  = ROW("admin.socket_owner", TOML_STRING, read_admin_owner),
    [KEY_ADMIN_SOCKET_GROUP]  = ROW("admin.socket_group", TOML_STRING, read_admin_group),
    [KEY_ADMIN_LISTEN]        = ROW("admin.listen", TOML_STRING, read_admin_listen),

    [KEY_TICKETS_SECRET_FILE] = ROW("tickets.secret_file", TOML_STRING, read_path, TOP(ticket_secret)),

    [KEY_LISTEN]        = ROW("service.*.listen", TOML_ARRAY, read_listen),
    [KEY_BACKENDS]      = ROW("service.*.backends", TOML_ARRAY, read_backends),
    [KEY_CERTIFICATES]  = ROW("service.*.certificates", TOML_ARRAY, read_certificates),
    [KEY_ALPN]          = ROW("service.*.alpn", TOML_ARRAY, read_alpn),
    [KEY_MODE]          = ROW("service.*.mode", TOML_STRING, read_word, SERVICE(mode), .words = modes),
    [KEY_MIN_VERSION]   = ROW("service.*.min_version", TOML_STRING, read_word, SERVICE(min_version), .words = versions),
    [KEY_CIPHER_SUITES] = ROW("service.*.cipher_suites", TOML_ARRAY, read_suites),
    [KEY_GROUPS]        = ROW("service.*.groups", TOML_ARRAY, read_groups),
    [KEY_STRICT_SNI]    = ROW("service.*.strict_sni", TOML_BOOLEAN, read_boolean, SERVICE(strict_sni)),
    [KEY_BALANCE]       = ROW("service.*.balance", TOML_STRING, read_word, SERVICE(balance), .words = balances),
    [KEY_TRUNCATION]    = ROW("service.*.truncation", TOML_STRING, read_word, SERVICE(truncation), .words = truncations),

    [KEY_PROXY_SEND]   = ROW("service.*.proxy_protocol.send", TOML_STRING, read_word, SERVICE(proxy_send), .words = proxy_sends),
    [KEY_PROXY_TLVS]   = ROW("service.*.proxy_protocol.tlvs", TOML_ARRAY, read_tlvs),
    [KEY_PROXY_ACCEPT] = ROW("service.*.proxy_protocol.accept", TOML_STRING, read_word, SERVICE(proxy_accept), .words = proxy_accepts),
    [KEY_PROXY_TRUST]  = ROW("service.*.proxy_protocol.trust", TOML_ARRAY, read_trust),

    [KEY_CLIENT_AUTH_MODE]  = ROW("service.*.client_auth.mode", TOML_STRING, read_word, SERVICE(client_auth), .words = client_auth_modes),
    [KEY_CLIENT_AUTH_CA]    = ROW("service.*.client_auth.ca", TOML_STRING, read_path, SERVICE(client_ca)),
    [KEY_CLIENT_AUTH_CRL]   = ROW("service.*.client_auth.crl", TOML_STRING, read_path, SERVICE(client_crl)),
    [KEY_CLIENT_AUTH_DEPTH] = ROW("service.*.client_auth.depth", TOML_INTEGER, read_integer, SERVICE(client_depth), .max = CONF_CLIENT_DEPTH_MAX),
    [KEY_CLIENT_AUTH_ALLOW] = ROW("service.*.client_auth.allow", TOML_ARRAY, read_client_allow),

    [KEY_TIMEOUT_HANDSHAKE] = ROW("service.*.timeouts.handshake", TOML_STRING, read_duration, SERVICE(handshake_ms), .min = 1),
    [KEY_TIMEOUT_CONNECT]   = ROW("service.*.timeouts.connect", TOML_STRING, read_duration, SERVICE(connect_ms), .min = 1),
    [KEY_TIMEOUT_IDLE]      = ROW("service.*.timeouts.idle", TOML_STRING, read_duration, SERVICE(idle_ms), .min = 1),
    [KEY_TIMEOUT_LINGER]    = ROW("service.*.timeouts.linger", TOML_STRING, read_duration, SERVICE(linger_ms)),
    [KEY_TIMEOUT_KEEPALIVE] = ROW("service.*.timeouts.keepalive", TOML_STRING, read_duration, SERVICE(keepalive_ms), .min = 1000, .max = TCP_KEEPALIVE_MAX_S * 1000),
    [KEY_TIMEOUT_HALF_CLOSED]    = ROW("service.*.timeouts.half_closed", TOML_STRING, read_duration, SERVICE(half_closed_ms), .min = 1),
    [KEY_TIMEOUT_PARTIAL_RECORD] = ROW("service.*.timeouts.partial_record", TOML_STRING, read_duration, SERVICE(partial_record_ms), .min = 1),

    [KEY_LIMIT_SESSIONS]            = ROW("service.*.limits.sessions", TOML_INTEGER, read_integer, SERVICE(max_sessions), .max = LIMIT_MAX),
    [KEY_LIMIT_SESSIONS_PER_CLIENT] = ROW("service.*.limits.sessions_per_client", TOML_INTEGER, read_integer, SERVICE(max_sessions_per_client), .max = LIMIT_MAX),
    [KEY_LIMIT_HANDSHAKES]          = ROW("service.*.limits.handshakes_per_client_per_second", TOML_INTEGER, read_integer, SERVICE(max_handshakes_per_client_per_second), .max = LIMIT_MAX),
    [KEY_LIMIT_BYTES]               = ROW("service.*.limits.bytes_per_second_per_client", TOML_INTEGER, read_rate, SERVICE(max_bytes_per_client), .min = CONF_RATE_MIN, .max = CONF_RATE_MAX),
};
/* clang-format on */

/* A section being walked: its path in the table ("service.*.limits") and as the operator wrote it ("service.web.limits"). */
struct section {
    const char *path;
    const char *shown;
    size_t service; /* SIZE_MAX outside services */
};

/* What follows the section in a row's path: "sessions" of "service.*.limits.sessions"; NULL when the row is elsewhere. */
static const char *below(const char *row_path, const char *section) {
    size_t n = strlen(section);
    if (n == 0)
        return row_path;
    return strncmp(row_path, section, n) == 0 && row_path[n] == '.' ? row_path + n + 1 : NULL;
}

/* The names that may be directly in a section, each once, ended by NULL. Names of sections are copied into STORE. */
static void known_names(const char *section, char store[NAMES_MAX][SECTION_MAX], const char *names[static NAMES_MAX + 1]) {
    size_t n = 0;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const char *rest = below(key_rows[k].path, section);
        size_t len = rest ? strcspn(rest, ".") : 0;
        if (!rest || len >= SECTION_MAX)
            continue;
        memcpy(store[n], rest, len);
        store[n][len] = 0;
        bool seen = false;
        for (size_t i = 0; i < n; i++)
            seen = seen || strcmp(names[i], store[n]) == 0;
        if (!seen) {
            names[n] = store[n];
            n++;
        }
    }
    names[n] = NULL;
}

void reading_unknown_key(struct load *l, const struct toml_node *node, const char *section, const char *const *names) {
    char key[CONF_KEY_TEXT_MAX], all[512];
    struct text t = text_of(key, sizeof(key)), a = text_of(all, sizeof(all));
    struct suggestion near = {.word = node->key};
    for (size_t i = 0; names[i]; i++) {
        suggestion_offer(&near, names[i]);
        text_addf(&a, "%s\"%s\"", i == 0 ? "" : names[i + 1] ? ", " : " or ", names[i]);
    }
    text_addf(&t, "%s%s%.100s", section, section[0] ? "." : "", node->key);
    const char *best = suggestion_get(&near);
    if (best)
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\"", best);
    else
        load_error(l, node->key_at, key, "found an unknown key, expected %s", all);
}

/* The row whose last part is NAME: that of a service when there are several, which is what most keys are about. */
static const char *find_elsewhere(const char *name) {
    const char *found = NULL;
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const char *path = key_rows[k].path, *last = strrchr(path, '.');
        if (!key_rows[k].read || strcmp(last ? last + 1 : path, name) != 0)
            continue;
        if (!found || strncmp(found, "service.*", 9) != 0)
            found = path;
    }
    return found;
}

/* A key that exists, but in another section: a better hint than the most similar name here. */
static bool belongs_elsewhere(struct load *l, const struct toml_node *node, const struct section *s) {
    const char *path = find_elsewhere(node->key), *last = path ? strrchr(path, '.') : NULL;
    char key[CONF_KEY_TEXT_MAX];
    struct text t = text_of(key, sizeof(key));
    if (!path)
        return false;
    text_addf(&t, "%s%s%.100s", s->shown, s->shown[0] ? "." : "", node->key);
    bool of_service = strncmp(path, "service.*", 9) == 0;
    if (!last)
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\" above all sections", node->key);
    else
        load_error(l, node->key_at, key, "found an unknown key, expected \"%s\" in [%s%.*s]", node->key,
                   of_service ? "service.NAME" : "", (int)(last - path - (of_service ? 9 : 0)), path + (of_service ? 9 : 0));
    return true;
}

static void unknown_key(struct load *l, const struct toml_node *node, const struct section *s) {
    char store[NAMES_MAX][SECTION_MAX];
    const char *names[NAMES_MAX + 1];
    known_names(s->path, store, names);
    struct suggestion near = {.word = node->key};
    for (size_t i = 0; names[i]; i++)
        suggestion_offer(&near, names[i]);
    if (suggestion_get(&near) || !belongs_elsewhere(l, node, s))
        reading_unknown_key(l, node, s->shown, names);
}

static bool kind_fits(const struct key_row *row, enum toml_kind kind) {
    return kind == row->kind || (row->read == read_size && kind == TOML_INTEGER);
}

static void read_key(struct load *l, enum conf_key k, const struct toml_node *node, const struct section *s) {
    const struct key_row *row = &key_rows[k];
    struct reading r = {.l = l, .row = row};
    uint8_t *base = (uint8_t *)l->conf;
    if (s->service == SIZE_MAX) {
        r.key = load_top_key(k);
        l->node[k] = node;
    } else {
        r.key = load_key(l, s->service, k);
        r.service = &l->conf->services[s->service];
        r.origin = &l->services[s->service];
        r.origin->node[k] = node;
        base = (uint8_t *)r.service;
    }
    r.target = base + row->offset;
    if (row->read == read_size && !kind_fits(row, node->kind))
        reading_refuse(&r, node, "a string or an integer");
    else if (row->words && !kind_fits(row, node->kind)) {
        char words[256];
        struct text t = text_of(words, sizeof(words));
        value_words_text(row->words, &t);
        reading_refuse(&r, node, "%s", words);
    } else if (!kind_fits(row, node->kind))
        reading_refuse(&r, node, "%s", value_kind(row->kind));
    else
        row->read(&r, node);
}

static bool is_section(const char *path) {
    for (size_t k = 0; k < KEY_COUNT; k++)
        if (below(key_rows[k].path, path))
            return true;
    return false;
}

static enum conf_key find_key(const char *path) {
    for (size_t k = 0; k < KEY_COUNT; k++)
        if (strcmp(key_rows[k].path, path) == 0)
            return (enum conf_key)k;
    return KEY_COUNT;
}

static void walk_services(struct load *l, const struct toml_node *table);

/* Sections lie at most three deep, so does this recursion. */
static void walk(struct load *l, const struct toml_node *table, const struct section *s) {
    for (size_t i = 0; i < table->nchildren; i++) {
        const struct toml_node *n = &table->children[i];
        char path[SECTION_MAX], shown[CONF_KEY_TEXT_MAX];
        struct text p = text_of(path, sizeof(path)), t = text_of(shown, sizeof(shown));
        const char *dot = s->path[0] ? "." : "";
        text_addf(&p, "%s%s%s", s->path, dot, n->key);
        text_addf(&t, "%s%s%.100s", s->shown, dot, n->key);
        enum conf_key k = p.cut || strchr(n->key, '.') || strchr(n->key, '*') ? KEY_COUNT : find_key(path);
        bool section = !p.cut && !strchr(n->key, '.') && !strchr(n->key, '*') && n->key[0] && is_section(path);

        if (k != KEY_COUNT)
            read_key(l, k, n, s);
        else if (!section)
            unknown_key(l, n, s);
        else if (n->kind != TOML_TABLE)
            load_error(l, n->at, shown, "found %s, expected a section [%s%s]", n->kind == TOML_ARRAY ? "an array" : "a value",
                       shown, strcmp(path, "service") == 0 ? ".NAME" : "");
        else if (strcmp(path, "service") == 0)
            walk_services(l, n);
        else
            walk(l, n, &(struct section){path, shown, s->service});
    }
}

static bool is_service_name(const char *s) {
    size_t n = strnlen(s, 65);
    return n >= 1 && n <= 64 && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-")] == 0;
}

static void walk_services(struct load *l, const struct toml_node *table) {
    struct conf *c = l->conf;
    size_t n = MIN(table->nchildren, SERVICES_MAX);
    if (table->nchildren > SERVICES_MAX)
        load_error(l, table->at, "service", "found %zu services, expected at most %d", table->nchildren, SERVICES_MAX);
    c->services = conf_alloc(c, n * sizeof(*c->services));
    l->services = conf_alloc(c, n * sizeof(*l->services));
    for (size_t i = 0; i < n; i++) {
        const struct toml_node *node = &table->children[i];
        char shown[CONF_KEY_TEXT_MAX];
        struct text t = text_of(shown, sizeof(shown));
        text_addf(&t, "service.%.100s", node->key);
        if (node->kind != TOML_TABLE) {
            load_error(l, node->at, shown, "found a value, expected a section [service.NAME]");
            continue;
        }
        if (!is_service_name(node->key)) {
            load_error(l, node->key_at, shown, "found \"%.100s\", expected a name of 1 to 64 of a-z, 0-9, '_' and '-'",
                       node->key);
            continue;
        }
        struct conf_service *s = &c->services[c->nservices];
        load_service_defaults(s);
        s->name = conf_strdup(c, node->key);
        l->services[c->nservices].at = node->at;
        walk(l, node, &(struct section){"service.*", shown, c->nservices++});
    }
}

bool load_schema(struct load *l, const char *text, size_t len) {
    struct toml_fault fault;
    l->root = toml_read(text, len, &fault);
    if (!l->root) {
        load_error(l, fault.at, NULL, "%s", fault.text);
        return false;
    }
    walk(l, l->root, &(struct section){"", "", SIZE_MAX});
    return true;
}
