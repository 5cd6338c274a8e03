/* Values of other configurations as ours: addresses, ports, names, durations. What has no counterpart is noted. */
#include <ctype.h>
#include <netdb.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/err.h"
#include "convert/model_parts.h"

#define PORTS_MAX 64 /* of a range */

/* Number or name of a port; 0 for what is none. */
static unsigned port_of(const char *text) {
    uint64_t n;
    if (text_parse_u64(text, UINT16_MAX, &n) == 0)
        return (unsigned)n;
    const struct servent *known = text[0] ? getservbyname(text, "tcp") : NULL;
    return known ? ntohs((uint16_t)known->s_port) : 0;
}

/* "443", "https" or "8000-8010"; false for what is none of these. */
static bool port_range(const char *text, unsigned *ret_first, unsigned *ret_last) {
    const char *dash = strchr(text, '-');
    uint64_t first, last;
    char head[8] = "";
    if (dash && (size_t)(dash - text) < sizeof(head))
        memcpy(head, text, (size_t)(dash - text));
    if (head[0] && text_parse_u64(head, UINT16_MAX, &first) == 0 && text_parse_u64(dash + 1, UINT16_MAX, &last) == 0) {
        *ret_first = (unsigned)first;
        *ret_last = (unsigned)last;
    } else {
        *ret_first = *ret_last = port_of(text);
    }
    return *ret_first > 0 && *ret_last >= *ret_first && *ret_last - *ret_first < PORTS_MAX;
}

const char *model_split(struct model *m, const char *address, const char **ret_port) {
    const char *colon = strrchr(address, ':'), *close = strrchr(address, ']');
    *ret_port = colon && (!close || close < colon) && colon[1] ? colon + 1 : NULL;
    size_t n = *ret_port ? (size_t)(colon - address) : strlen(address);
    bool brackets = n > 1 && address[0] == '[' && address[n - 1] == ']';
    return brackets ? model_text(m, "%.*s", (int)n - 2, address + 1) : model_text(m, "%.*s", (int)n, address);
}

/* HOST as an address to listen at, with brackets around IPv6; "" for all of both families. NULL for what is none. */
static const char *listen_host(struct model *m, const char *host) {
    struct addr a;
    if (!host)
        return "";
    if (strcasecmp(host, "localhost") == 0)
        return "127.0.0.1";
    if (addr_parse_ip(host, &a) < 0)
        return NULL;
    return strchr(host, ':') ? model_text(m, "[%s]", host) : host;
}

void model_drop_address(struct model *m, unsigned line, const char *port) {
    unsigned first, last;
    if (!port || !port_range(port, &first, &last))
        return;
    struct model_service *s = model_add_service(m, "address", line);
    for (unsigned p = first; p <= last; p++)
        model_add(m, s, "", "listen", model_text(m, "?:%u", p));
    model_drop(s, line);
}

bool model_listen(struct model *m, struct model_service *s, unsigned line, const char *host, const char *port,
                  const struct model_socket *how) {
    const char *ip = listen_host(m, host);
    unsigned first, last;
    if (!ip) {
        model_note(m, MODEL_LOST, line, "found \"%s\" as an address, expected one of IPv4 or IPv6", host);
        model_drop_address(m, line, port);
        return false;
    }
    if (!port || !port_range(port, &first, &last)) {
        model_note(m, MODEL_LOST, line,
                   "found \"%s\" as a port, expected a number, a service of /etc/services, or at most %d ports",
                   port ? port : "", PORTS_MAX);
        return false;
    }
    for (unsigned p = first; p <= last; p++) {
        const char *address = model_text(m, "%s:%u", ip, p);
        model_add(m, s, "", "listen", address);
        if (how && how->backlog && strcmp(how->backlog, "0") != 0)
            model_set_number(m, model_listener(m, address), line, "", "backlog", how->backlog, INT32_MAX);
        if (how && how->device)
            model_set(m, model_listener(m, address), "", "device", how->device);
    }
    return true;
}

/* "/PATH" or "@NAME" as a socket of ours. */
static const char *unix_name(struct model *m, unsigned line, const char *path) {
    if (strlen(path) <= 107 && path[1])
        return model_text(m, "unix:%s", path);
    model_note(m, MODEL_LOST, line, "found \"%s\", expected the name of a socket of at most 107 bytes", path);
    return NULL;
}

void model_listen_unix(struct model *m, struct model_service *s, unsigned line, const char *path) {
    const char *name = unix_name(m, line, path);
    if (name)
        model_add(m, s, "", "listen", name);
}

/* An address that means one machine, or a name: its last label is no number. */
static bool is_host(const char *host) {
    struct addr a;
    const char *dot = strrchr(host, '.'), *last = dot ? dot + 1 : host;
    if (addr_parse_ip(host, &a) == 0)
        return !addr_is_link_local(&a);
    for (const char *p = host; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_", *p))
            return false;
    return host[0] && !strchr(".-", host[0]) && !strstr(host, "..") && strlen(host) <= 253 &&
           (!*last || last[strspn(last, "0123456789")]);
}

static void add_model_backend(struct model *m, struct model_service *s, unsigned line, const char *backend) {
    if (model_count(s, "", "backends") < MODEL_BACKENDS_MAX)
        model_add(m, s, "", "backends", backend);
    else
        model_note(m, MODEL_LOST, line, "%s: more than %d backends of one service", backend, MODEL_BACKENDS_MAX);
}

void model_add_backend(struct model *m, struct model_service *s, unsigned line, const char *host, const char *port) {
    if (host && (host[0] == '/' || host[0] == '@')) {
        const char *name = unix_name(m, line, host);
        if (name)
            add_model_backend(m, s, line, name);
        return;
    }
    unsigned number = port ? port_of(port) : 0;
    if (!host || !host[0] || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    else if (strcmp(host, "::") == 0)
        host = "::1";
    if (!number || !is_host(host))
        model_note(m, MODEL_LOST, line, "found \"%s%s%s\" as a backend, expected an address and a port", host, port ? ":" : "",
                   port ? port : "");
    else
        add_model_backend(m, s, line, model_text(m, strchr(host, ':') ? "tcp:[%s]:%u" : "tcp:%s:%u", host, number));
}

/* A host name, whose labels are letters, digits, '-' and '_', or beyond ASCII; no address. */
static bool is_host_or_wildcard(const char *name) {
    struct addr a;
    size_t n = strlen(name), label = 0;
    for (const char *p = name; *p; p++) {
        if (*p == '.' ? label == 0 : !isalnum((unsigned char)*p) && *p != '-' && *p != '_' && (unsigned char)*p < 0x80)
            return false;
        label = *p == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label && n <= 253 && addr_parse_ip(name, &a) < 0 && strcmp(name, "_") != 0;
}

bool model_is_name(const char *name) {
    const char *host = name + (strncmp(name, "**.", 3) == 0 ? 3 : strncmp(name, "*.", 2) == 0 ? 2 : 0);
    size_t n = strlen(host);
    char *copy = strndup(host, n > 1 && host[n - 1] == '.' ? n - 1 : n); /* without the root */
    MUST(copy);
    bool ok = !name[0] || is_host_or_wildcard(copy);
    free(copy);
    return ok;
}

bool model_add_name(struct model *m, struct model_service *s, unsigned line, const char *name) {
    char *lower = strdup(name);
    MUST(lower);
    for (char *p = lower; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    size_t n = strlen(lower);
    if (n > 1 && lower[n - 1] == '.')
        lower[n - 1] = '\0'; /* the root */
    bool ok = strcmp(lower, "*") == 0 || model_is_name(lower);
    if (ok && model_count(s, "", "names") >= MODEL_NAMES_MAX) {
        model_note(m, MODEL_LOST, line, "%s: more than %d names of one service", name, MODEL_NAMES_MAX);
        model_lose_name(s, line);
    } else if (ok)
        model_add(m, s, "", "names", lower);
    else
        model_note(m, MODEL_LOST, line, "found \"%s\", expected a host name", name);
    free(lower);
    return ok;
}

void model_add_any_name(struct model *m, struct model_service *s) {
    model_add(m, s, "", "names", "*");
    model_add(m, s, "", "names", "");
}

/* ---- of the machine ---- */

void model_set_user(struct model *m, unsigned line, const char *name) {
    if (getpwnam(name))
        model_set(m, model_top(m), "", "user", name);
    else
        model_note(m, MODEL_NOT_NEEDED, line, "user %s: there is none on this machine", name);
}

void model_set_log_file(struct model *m, unsigned line, const char *path) {
    struct stat st;
    const char *slash = strrchr(path, '/'), *dir = model_text(m, "%.*s", (int)(slash - path) + 1, path); /* it is absolute */
    if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        model_set(m, model_top(m), "log", "target", path);
    else
        model_note(m, MODEL_NOT_NEEDED, line, "log file %s: there is no such directory on this machine, see log.target", path);
}

/* ---- durations ---- */

#define DAY_MS      (UINT64_C(24) * 3600 * 1000)
#define DURATION_MS (366 * DAY_MS) /* the most that a key of ours takes */

/* Milliseconds of the unit at P; 0 for what is none. RET_LEN: its letters. */
static uint64_t unit_ms(const char *p, size_t *ret_len) {
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1},     {"s", 1000},       {"m", 60000},       {"h", 3600000},
                 {"d", DAY_MS}, {"w", 7 * DAY_MS}, {"M", 30 * DAY_MS}, {"y", 365 * DAY_MS}};
    *ret_len = strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strlen(units[i].unit) == *ret_len && strncmp(p, units[i].unit, *ret_len) == 0)
            return units[i].ms;
    return 0;
}

static const char *duration_text(struct model *m, uint64_t ms) {
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = 0;
    while (ms % units[i].ms)
        i++;
    return model_text(m, "%llu%s", (unsigned long long)(ms / units[i].ms), units[i].unit);
}

const char *model_duration(struct model *m, const char *text, const char *plain) {
    uint64_t sum = 0;
    if (!text[0])
        return NULL;
    for (const char *p = text; *p;) {
        size_t digits = strspn(p, "0123456789"), letters;
        uint64_t n, unit;
        if (!digits || text_parse_u64(model_text(m, "%.*s", (int)digits, p), UINT32_MAX, &n) < 0)
            return NULL;
        p += digits;
        bool is_micro = strcmp(p, "us") == 0; /* HAProxy's */
        unit = is_micro ? 1 : *p && *p != ' ' ? unit_ms(p, &letters) : unit_ms(plain, &letters);
        if (!unit)
            return NULL;
        sum += is_micro ? (n + 999) / 1000 : n * unit;
        p += strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        p += strspn(p, " ");
    }
    return sum ? duration_text(m, MIN(sum, DURATION_MS)) : "none";
}
