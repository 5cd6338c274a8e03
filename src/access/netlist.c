#include "access/netlist.h"

#include <string.h>

#include "base/err.h"

#define NETLIST_FOUND_MAX 48 /* of a bad line's bytes in its message */
#define ENTRY_MAX         63 /* the longest network is 43 bytes */

void netlist_init(struct netlist *l) {
    *l = (struct netlist){.bad = 0};
    grow_init(&l->nets, sizeof(struct cidr), NETLIST_MAX * sizeof(struct cidr));
}

void netlist_fini(struct netlist *l) {
    grow_fini(&l->nets);
}

int netlist_add(struct netlist *l, const struct cidr *net) {
    if (l->nets.n == NETLIST_MAX)
        return ERR_LIMIT;
    struct cidr *to = grow_add(&l->nets, 1);
    if (!to)
        return ERR_NOMEM;
    *to = *net;
    return 0;
}

/* ---- one entry ---- */

/* Strangers write lists: control bytes and what is no ASCII stay out of messages. */
static void add_found(struct text *why, struct span s) {
    char found[NETLIST_FOUND_MAX + 1];
    size_t n = MIN(s.len, (size_t)NETLIST_FOUND_MAX);
    for (size_t i = 0; i < n; i++)
        found[i] = s.p[i] >= ' ' && s.p[i] <= '~' && s.p[i] != '"' ? (char)s.p[i] : '?';
    found[n] = 0;
    text_addf(why, "found \"%s%s\", ", found, s.len > n ? "..." : "");
}

/* The address in front of the first '/' or '%', and which of them it was (0: neither). */
static bool has_address(struct span s, struct addr *ret, uint8_t *ret_behind) {
    char ip[ENTRY_MAX + 1];
    size_t n = 0;
    while (n < s.len && s.p[n] != '/' && s.p[n] != '%')
        n++;
    *ret_behind = n < s.len ? s.p[n] : 0;
    if (n == 0 || n > ENTRY_MAX || memchr(s.p, 0, n))
        return false;
    memcpy(ip, s.p, n);
    ip[n] = 0;
    return addr_parse_ip(ip, ret) == 0;
}

int netlist_parse(struct span s, struct cidr *ret, struct text *why) {
    char entry[ENTRY_MAX + 1];
    struct addr ip;
    uint8_t behind;
    if (s.len <= ENTRY_MAX && !memchr(s.p, 0, s.len)) {
        memcpy(entry, s.p, s.len);
        entry[s.len] = 0;
        if (cidr_parse(entry, ret) == 0)
            return 0;
    }
    add_found(why, s);
    if (!has_address(s, &ip, &behind))
        text_add(why, "expected an address or a network, as 192.0.2.0/24 or 2001:db8::1");
    else if (behind == '%')
        text_add(why, "expected an address without a scope");
    else
        text_addf(why, "expected a prefix length up to %s and zero bits behind the prefix",
                  memchr(s.p, ':', s.len) ? "/128" : "/32");
    return ERR_FORMAT;
}

bool netlist_is_network(const char *text) {
    struct addr ip;
    uint8_t behind;
    return has_address(span_str(text), &ip, &behind) || text[strspn(text, "0123456789./")] == 0;
}

/* ---- a file ---- */

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* The line without its comment and the blanks around what is left. */
static struct span entry_of(struct span line) {
    size_t from = 0, to = 0;
    while (to < line.len && line.p[to] != '#' && line.p[to] != ';')
        to++;
    while (from < to && is_blank(line.p[from]))
        from++;
    while (to > from && is_blank(line.p[to - 1]))
        to--;
    return span_of(line.p + from, to - from);
}

static int read_list_line(struct netlist *l, struct span line, size_t number, netlist_bad_fn bad, void *ctx) {
    char reason[256];
    struct text why = text_of(reason, sizeof(reason));
    struct cidr net;
    struct span entry = entry_of(line);
    if (entry.len == 0)
        return 0;
    if (netlist_parse(entry, &net, &why) == 0)
        return netlist_add(l, &net);
    l->bad++;
    bad(ctx, number, reason);
    return 0;
}

int netlist_read(struct netlist *l, struct span text, netlist_bad_fn bad, void *ctx) {
    if (span_has_prefix(text, "\xef\xbb\xbf")) /* UTF-8 byte order mark */
        text = span_of(text.p + 3, text.len - 3);
    struct span line;
    for (size_t number = 1; span_take_line(&text, &line); number++) {
        int err = read_list_line(l, line, number, bad, ctx);
        if (err)
            return err;
    }
    return 0;
}
