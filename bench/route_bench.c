/*
 * What finding the service of a ClientHello costs: 1, 100 and 4,096 services on one address, a hundred names each (most exact,
 * some with one and with any number of labels before them), asked for exact names, for names that a pattern takes, for names of
 * nobody, and for long names of many labels, in an order that no cache predicts. Also what making the table takes. CPU time of
 * this process; the first column is the table's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/defs.h"
#include "route/route.h"

#define LOOKUPS   2000000u
#define NAMES     100u
#define ASKED     4096u
#define NAME_ROOM 256

static double cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static const char *const protocols[] = {"h2", "http/1.1"};

static char *pattern_of(uint32_t service, uint32_t name) {
    char *text;
    const char *before = name == 0 ? "*." : name == 1 ? "**.deep." : "";
    MUST(asprintf(&text, "%sn%u.s%u.example.org", before, name, service) > 0);
    return text;
}

static struct route_table *make(uint32_t services, char **names) {
    struct route_table *t = route_table_new(1, (uint16_t)services);
    MUST(t);
    for (uint32_t s = 0; s < services; s++) {
        route_table_speak(t, (uint16_t)s, (struct route_protocols){protocols, 2, false});
        for (uint32_t n = 0; n < NAMES; n++)
            MUST(route_table_claim(t, 0, (uint16_t)s, names[s * NAMES + n], ROUTE_GIVEN) == 0);
    }
    MUST(route_table_claim(t, 0, 0, "*", ROUTE_GIVEN) == 0);
    return t;
}

/* FORMAT has the number of a name and of a service. */
static void run(const struct route_table *t, const char *what, const char *format, uint32_t services, const char *alpn) {
    static char asked[ASKED][NAME_ROOM];
    uint32_t seed = 1;
    uint64_t sum = 0;
    for (size_t i = 0; i < ASKED; i++) {
        seed = seed * 1664525u + 1013904223u;
        (void)snprintf(asked[i], sizeof(asked[i]), format, (seed >> 8) % (NAMES - 2) + 2, (seed >> 16) % services);
    }
    double began = cpu_ns();
    for (uint32_t i = 0; i < LOOKUPS; i++) {
        const struct route_ask a = {0, asked[i * 2654435761u % ASKED], span_str(alpn)};
        sum += route_find(t, &a).service;
    }
    printf("  %-28s %7.1f ns\n", what, (cpu_ns() - began) / LOOKUPS);
    if (sum == UINT64_MAX) /* the result is used */
        puts("");
}

static void bench(uint32_t services) {
    char **names = calloc((size_t)services * NAMES, sizeof(*names));
    MUST(names);
    for (uint32_t i = 0; i < services * NAMES; i++)
        names[i] = pattern_of(i / NAMES, i % NAMES);
    double began = cpu_ns();
    struct route_table *t = make(services, names);
    printf("%u services, %u names: table in %.1f ms\n", services, services * NAMES, (cpu_ns() - began) / 1e6);
    run(t, "exact", "n%u.s%u.example.org", services, "\2h2\10http/1.1");
    run(t, "one label", "x%1$u.n0.s%2$u.example.org", services, "\2h2\10http/1.1");
    run(t, "any labels", "a.b.c.x%1$u.deep.n1.s%2$u.example.org", services, "");
    run(t, "nobody's", "x%u.s%u.example.com", services, "\2h2\10http/1.1");
    run(t, "nobody's, 100 labels",
        "x%u.s%u.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.org",
        services, "");
    route_table_free(t);
    for (uint32_t i = 0; i < services * NAMES; i++)
        free(names[i]);
    free(names);
}

int main(void) {
    static const uint32_t services[] = {1, 100, 4096};
    for (size_t i = 0; i < ARRAY_LEN(services); i++)
        bench(services[i]);
    return 0;
}
