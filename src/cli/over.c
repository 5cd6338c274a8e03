#include "cli/over.h"

#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/text.h"
#include "cli/admin_client.h"

#define TABLE   "inet tls_off"
#define TIMEOUT "10m" /* each run begins it again for those who are still over */

static const struct measure {
    const char *name, *member, *sort;
    bool is_bytes;
} measures[] = {
    {"rate", NULL, "rate", true}, /* both ways together, over the last 10 seconds */
    {"bytes", NULL, "bytes", true},
    {"sessions", "sessions", "sessions", false},
    {"handshakes", "handshakes_total", NULL, false},
    {"failed", "failed_total", "failed", false},
};

static const struct measure *measure_of(const struct over *o) {
    for (size_t i = 0; i < ARRAY_LEN(measures); i++)
        if (strcmp(measures[i].name, o->measure) == 0)
            return &measures[i];
    return NULL;
}

/* "10MB", "64KiB", "1000"; a unit only where there are bytes. */
static bool read_bound(const char *text, bool is_bytes, double *ret) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};
    char digits[24];
    uint64_t n;
    size_t len = strspn(text, "0123456789");
    struct text t = text_of(digits, sizeof(digits));
    text_add_span(&t, span_of(text, len));
    if (t.cut || text_parse_u64(digits, UINT64_MAX, &n) < 0)
        return false;
    for (size_t i = 0; i < (is_bytes ? ARRAY_LEN(units) : 1); i++)
        if (strcmp(text + len, units[i].name) == 0) {
            *ret = (double)n * units[i].factor;
            return true;
        }
    return false;
}

bool over_read(const char *text, struct over *ret) {
    size_t len = strcspn(text, "=");
    for (size_t i = 0; i < ARRAY_LEN(measures) && text[len]; i++)
        if (strlen(measures[i].name) == len && strncmp(text, measures[i].name, len) == 0) {
            ret->measure = measures[i].name;
            return read_bound(text + len + 1, measures[i].is_bytes, &ret->bound);
        }
    return false;
}

const char *over_sort(const struct over *o) {
    return measure_of(o)->sort;
}

static double measured_value(const json_t *client, const struct measure *m) {
    if (m->member)
        return admin_number(client, m->member);
    if (strcmp(m->name, "bytes") == 0)
        return admin_number(client, "bytes_in") + admin_number(client, "bytes_out");
    return admin_number(json_object_get(client, "rate_in"), "10s") + admin_number(json_object_get(client, "rate_out"), "10s");
}

json_t *over_select(const json_t *clients, const struct over *o) {
    const struct measure *m = measure_of(o);
    json_t *list = json_array(), *c;
    size_t i;
    json_array_foreach(clients, i, c) if (list && measured_value(c, m) > o->bound && json_array_append(list, c) < 0) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

/* The family of a client that a firewall can know; AF_UNSPEC, with why not. */
static int family_of(const json_t *client, const char **ret_why) {
    char ip[ADDR_TEXT_MAX];
    const char *name = admin_text(client, "client");
    struct text t = text_of(ip, sizeof(ip));
    struct addr a;
    text_add_span(&t, span_of(name, strcspn(name, "/")));
    *ret_why = "is no address";
    if (json_is_true(json_object_get(client, "verified")) || t.cut || addr_parse_ip(ip, &a) < 0)
        return AF_UNSPEC;
    *ret_why = "is this machine";
    return addr_is_loopback(&a) || addr_is_any(&a) ? AF_UNSPEC : a.family; /* ::1 is in ::/64 */
}

/* An element that is there keeps its time, so it goes and comes again: in one transaction, nothing passes in between. */
static void print_element(const char *set, const char *client) {
    printf("add element %s %s { %s timeout %s }\n", TABLE, set, client, TIMEOUT);
    printf("delete element %s %s { %s }\n", TABLE, set, client);
    printf("add element %s %s { %s timeout %s }\n", TABLE, set, client, TIMEOUT);
}

void over_print_nft(const json_t *list, const struct over *o) {
    const json_t *c;
    size_t i;
    printf("# tls-off clients --over %s=%.0f --format nft\n", o->measure, o->bound);
    printf("add table %s\n", TABLE);
    printf("add set %s over4 { type ipv4_addr; flags timeout; }\n", TABLE);
    printf("add set %s over6 { type ipv6_addr; flags interval, timeout; }\n", TABLE);
    json_array_foreach(list, i, c) {
        const char *why, *name = admin_text(c, "client");
        int family = family_of(c, &why);
        if (family == AF_UNSPEC)
            printf("# omitted: a client that %s\n", why); /* a name may hold anything, line ends included */
        else
            print_element(family == AF_INET ? "over4" : "over6", name);
    }
}
