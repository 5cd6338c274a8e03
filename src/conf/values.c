#include "conf/values.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/report.h"

#define VALUES_HOST_MAX 253 /* RFC 1035 2.3.4, as text without the last dot */
#define SHOWN_BYTES     80

struct unit {
    const char *name;
    uint64_t factor;
};

/* Digits, then one of the units; the last unit ends with a NULL name. */
static int number_with_unit(const char *text, const struct unit *units, uint64_t max, uint64_t *ret) {
    char digits[24];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof(digits))
        return n == 0 ? ERR_FORMAT : ERR_LIMIT;
    memcpy(digits, text, n);
    digits[n] = 0;
    for (const struct unit *u = units; u->name; u++) {
        uint64_t v = 0;
        if (strcmp(text + n, u->name) != 0)
            continue;
        int err = text_parse_u64(digits, max / u->factor, &v);
        if (err == 0)
            *ret = v * u->factor;
        return err;
    }
    return ERR_FORMAT;
}

int value_duration(const char *text, uint64_t *ret_ms) {
    static const struct unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {NULL, 0}};
    if (strcmp(text, "none") == 0) {
        *ret_ms = CONF_NEVER;
        return 0;
    }
    return number_with_unit(text, units, CONF_DURATION_MAX, ret_ms);
}

int value_size(const char *text, uint64_t *ret_bytes) {
    static const struct unit units[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1024 * 1024}, {"GiB", 1024 * 1024 * 1024}, {NULL, 0}};
    return number_with_unit(text, units, INT64_MAX, ret_bytes);
}

int value_word(const struct word *words, const char *text) {
    for (; words->name; words++)
        if (strcmp(words->name, text) == 0)
            return (int)words->value;
    return -1;
}

int value_socket(struct load *l, const char *name, const char **ret, struct text *why) {
    bool abstract = name[0] == '@';
    const char *path = abstract ? conf_strdup(l->conf, name) : name[0] ? load_path(l, name) : NULL;
    size_t len = path ? strlen(path) - abstract : 0;
    if (len == 0)
        text_add(why, "a socket's path behind \"unix:\", or '@' and an abstract name");
    else if (len > CONF_SOCKET_PATH_MAX)
        text_addf(why, "a socket's path of at most %d bytes (\"%.60s...\" has %zu)", CONF_SOCKET_PATH_MAX, path, len);
    else
        *ret = path;
    return len == 0 ? ERR_FORMAT : len > CONF_SOCKET_PATH_MAX ? ERR_LIMIT : 0;
}

static int unix_backend(struct load *l, const char *name, struct conf_backend *b, struct text *why) {
    bool abstract = name[0] == '@';
    int err = value_socket(l, name, &b->path, why);
    b->kind = abstract ? BACKEND_UNIX_ABSTRACT : BACKEND_UNIX;
    if (err == 0 && abstract)
        b->path++;
    return err;
}

/* ---- addresses ---- */

/* The number of an interface that has IPv6; 0 = there is none. (if_nametoindex() takes an ioctl, which the config role may
 * not.) */
static uint32_t interface_number(const char *name) {
    char line[128], its_name[32];
    unsigned number = 0, found = 0;
    FILE *f = fopen("/proc/net/if_inet6", "re");
    while (f && !found && fgets(line, sizeof(line), f))
        if (sscanf(line, "%*32s %x %*x %*x %*x %31s", &number, its_name) == 2 && strcmp(its_name, name) == 0)
            found = number;
    if (f)
        (void)fclose(f); /* was only read */
    return found;
}

/* TEXT without the '%' and what is behind it up to the ']', which is put into ZONE. False: there is none. */
static bool cut_zone(const char *text, struct text *plain, struct text *zone) {
    const char *from = text[0] == '[' ? strchr(text, '%') : NULL, *to = from ? strchr(from, ']') : NULL;
    if (!to)
        return false;
    text_add_span(plain, span_of(text, (size_t)(from - text)));
    text_add(plain, to);
    text_add_span(zone, span_of(from + 1, (size_t)(to - from) - 1));
    return true;
}

int value_address(const char *text, struct addr *ret, struct text *why) {
    char plain[ADDR_TEXT_MAX], zone[CONF_DEVICE_MAX + 1];
    struct text p = text_of(plain, sizeof(plain)), z = text_of(zone, sizeof(zone));
    struct addr a;
    bool scoped = cut_zone(text, &p, &z);
    if (p.cut || addr_parse(scoped ? plain : text, &a) < 0)
        return ERR_FORMAT;
    if (scoped && !addr_is_link_local(&a))
        text_add(why, "no interface but behind an address of fe80::/10: others belong to the whole machine");
    else if (!scoped && addr_is_link_local(&a))
        text_add(why, "a link-local address with its interface: \"[fe80::1%eth0]:PORT\"");
    else if (scoped && (z.cut || !(a.scope = interface_number(zone))))
        text_addf(why, "an interface behind '%%' that this machine has, with IPv6 (it has no \"%s\")", zone);
    if (why->len)
        return ERR_NOT_FOUND;
    *ret = a;
    return 0;
}

/* RFC 1123 2.1, with '_' allowed; a name whose last label is a number would be a mistyped address. */
static bool is_host_name(const char *s) {
    size_t n = strlen(s);
    if (n == 0 || n > VALUES_HOST_MAX || s[0] == '.' || s[0] == '-' || strstr(s, ".."))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("-._", s[i]))
            return false;
    const char *last = strrchr(s, '.');
    last = last ? last + 1 : s;
    return last[strspn(last, "0123456789")] != 0 || last[0] == 0;
}

static int tcp_backend(struct load *l, const char *rest, struct conf_backend *b, struct text *why) {
    const char *colon = strrchr(rest, ':');
    uint64_t port = 0;
    b->kind = BACKEND_TCP;
    int err = value_address(rest, &b->addr, why);
    if (err == ERR_NOT_FOUND)
        return err;
    if (err == 0 && b->addr.port != 0) {
        char ip[ADDR_TEXT_MAX];
        b->path = conf_strdup(l->conf, addr_ip_text(&b->addr, ip));
        b->port = b->addr.port;
        return 0;
    }
    if (colon && text_parse_u64(colon + 1, UINT16_MAX, &port) == 0 && port > 0) {
        char *host = conf_alloc(l->conf, (size_t)(colon - rest) + 1);
        memcpy(host, rest, (size_t)(colon - rest));
        if (is_host_name(host)) {
            *b = (struct conf_backend){.kind = BACKEND_TCP, .path = host, .port = (uint16_t)port, .is_name = true};
            return 0;
        }
    }
    text_add(why, "\"tcp:HOST:PORT\" or \"tcp:[IPv6]:PORT\" with a port from 1 to 65535");
    return ERR_FORMAT;
}

int value_backend(struct load *l, const char *text, struct conf_backend *ret, struct text *why) {
    struct conf_backend b = {0};
    int err = ERR_FORMAT;
    if (strncmp(text, "unix:", 5) == 0)
        err = unix_backend(l, text + 5, &b, why);
    else if (strncmp(text, "tcp:", 4) == 0)
        err = tcp_backend(l, text + 4, &b, why);
    else
        text_add(why, "\"unix:/PATH\", \"unix:@NAME\" or \"tcp:HOST:PORT\"");
    if (err)
        return err;
    b.text = conf_strdup(l->conf, text);
    *ret = b;
    return 0;
}

const char *value_kind(enum toml_kind kind) {
    static const char *const kinds[] = {
        [TOML_STRING] = "a string",       [TOML_INTEGER] = "an integer",    [TOML_FLOAT] = "a number with a point",
        [TOML_BOOLEAN] = "true or false", [TOML_TIME] = "a date or a time", [TOML_ARRAY] = "an array",
        [TOML_TABLE] = "a table",
    };
    return kinds[kind];
}

/* Where to cut S so that no UTF-8 sequence is torn. */
static size_t cut_at(const char *s, size_t max) {
    size_t n = strnlen(s, max + 1);
    if (n <= max)
        return n;
    n = max;
    while (n > 0 && ((unsigned char)s[n] & 0xc0) == 0x80)
        n--;
    return n;
}

const char *value_shown(const struct toml_node *n, char to[static VALUE_SHOWN_MAX]) {
    struct text t = text_of(to, VALUE_SHOWN_MAX);
    switch (n->kind) {
    case TOML_STRING: {
        size_t len = cut_at(n->string, SHOWN_BYTES);
        text_add(&t, "\"");
        text_add_span(&t, span_of(n->string, len));
        text_add(&t, n->string[len] ? "...\"" : "\"");
        break;
    }
    case TOML_INTEGER:
        text_addf(&t, "%lld", (long long)n->integer);
        break;
    case TOML_FLOAT:
        text_addf(&t, "%.15g", n->number);
        break;
    case TOML_BOOLEAN:
        text_add(&t, n->integer ? "true" : "false");
        break;
    case TOML_TIME:
    case TOML_ARRAY:
    case TOML_TABLE:
        text_add(&t, n->nchildren == 0 && n->kind == TOML_ARRAY ? "an empty array" : value_kind(n->kind));
        break;
    }
    return to;
}

void value_words_text(const struct word *words, struct text *t) {
    for (const struct word *w = words; w->name; w++) {
        const char *before = w == words ? "" : w[1].name ? ", " : " or ";
        text_addf(t, "%s\"%s\"", before, w->name);
    }
}

const struct toml_node *value_member(const struct toml_node *table, const char *name) {
    for (size_t i = 0; i < table->nchildren; i++)
        if (strcmp(table->children[i].key, name) == 0)
            return &table->children[i];
    return NULL;
}
