/*
 * A table of routes of outside bytes, and hellos of outside bytes against it: first patterns, one a line, "\tSERVICE" after it,
 * then an empty line, a name, a zero and a list of protocols. Beside memory safety: the answer is one of the claims, and its
 * pattern takes the name.
 */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "route/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SERVICES 8

static bool takes(const char *pattern, const char *name) {
    struct route_pattern p = route_pattern_of(pattern);
    size_t n = strlen(name);
    if (p.kind == ROUTE_ALL)
        return true;
    if (p.kind == ROUTE_NAMELESS || p.kind == ROUTE_EXACT)
        return span_eq(p.name, span_str(name));
    return n > p.name.len && name[n - p.name.len - 1] == '.' && span_eq(span_of(name + n - p.name.len, p.name.len), p.name);
}

static void claim_lines(struct route_table *t, char *lines) {
    uint16_t service = 0;
    for (char *rest = lines, *line; (line = strtok_r(rest, "\n", &rest));) {
        char *tab = strchr(line, '\t');
        if (tab) { /* the next services */
            *tab = '\0';
            service = (uint16_t)((service + (uint8_t)tab[1]) % SERVICES);
        }
        struct route_pattern p = route_pattern_of(line);
        if (strlen(line) > 255 ||
            (p.kind != ROUTE_ALL && p.kind != ROUTE_NAMELESS && p.name.len == 0)) /* as the loader checks */
            continue;
        MUST(route_table_claim(t, (uint16_t)(service & 1), service, line, (enum route_weight)(service % 3)) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const protocols[] = {"h2", "p", "http/1.1"};
    char *text = malloc(size + 2);
    MUST(text);
    if (size)
        memcpy(text, data, size);
    text[size] = text[size + 1] = '\0';
    char *name = strstr(text, "\n\n");
    struct route_table *t = route_table_new(2, SERVICES);
    MUST(t);
    for (uint16_t s = 0; s < SERVICES; s++)
        route_table_speak(t, s, (struct route_protocols){protocols + s % 2, s % 3, s & 4});
    if (name && strlen(name + 2) <= 255) {
        *name = '\0';
        name += 2;
        claim_lines(t, text);
        size_t used = (size_t)(name - text) + strlen(name) + 1;
        struct span alpn = used < size ? span_of(text + used, size - used) : span_of("", 0);
        for (uint16_t at = 0; at < 2; at++) {
            struct route_answer a = route_find(t, &(struct route_ask){at, name, alpn});
            MUST(a.service == ROUTE_NOBODY || (a.service < SERVICES && a.service % 2 == at && takes(a.pattern, name)));
        }
    }
    route_table_free(t);
    free(text);
    return 0;
}
