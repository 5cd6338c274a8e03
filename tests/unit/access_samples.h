/* Access tables for tests and fuzzers. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "access/access_write.h"
#include "base/defs.h"

static inline void sample_bad_line(void *ctx, size_t line, const char *why) {
    (void)line;
    (void)why;
    ++*(size_t *)ctx;
}

/* A list of the lines in TEXT; every one of them must be good. */
static inline uint32_t sample_list(struct access_writer *w, const char *file, const char *text) {
    struct netlist nets;
    size_t bad = 0;
    uint32_t list;
    netlist_init(&nets);
    MUST(netlist_read(&nets, span_str(text), sample_bad_line, &bad) == 0 && bad == 0);
    const struct access_list l = {.file = file, .networks = (uint32_t)nets.nets.n, .stamp = 7};
    MUST(access_add_list(w, &l, &nets, &list) == 0);
    netlist_fini(&nets);
    return list;
}

/* Service 0: no lists. 1: allow and deny. 2: the same deny list. 3: as 1. */
static inline struct access_writer *sample_access_writer(void) {
    struct access_writer *w = access_writer_new();
    MUST(w && access_add_service(w) == 0 && access_add_service(w) == 0);
    uint32_t allow = sample_list(w, "service.a.access.allow", "10.0.0.0/8\n10.1.2.3\n2001:db8::/32\n192.0.2.0/24\n");
    uint32_t deny = sample_list(w, "/lists/bad.txt", "10.1.0.0/16\n2001:db8:1::/48\n192.0.2.0/24\n198.51.100.7\n");
    MUST(access_use_list(w, allow, false) == 0 && access_use_list(w, deny, true) == 0);
    MUST(access_add_service(w) == 0 && access_use_list(w, deny, true) == 0);
    MUST(access_add_service(w) == 0 && access_use_list(w, allow, false) == 0 && access_use_list(w, deny, true) == 0);
    return w;
}

/* Uses all that a reader could use; the sum keeps the compiler from leaving it out. */
static inline size_t sample_access_read(const struct access *a) {
    static const struct addr clients[] = {
        {.family = AF_INET, .ip = {10, 1, 2, 3}},
        {.family = AF_INET, .ip = {255, 255, 255, 255}},
        {.family = AF_INET},
        {.family = AF_INET6, .ip = {0x20, 0x01, 0x0d, 0xb8}},
        {.family = AF_INET6},
        {.family = AF_UNSPEC},
        {.family = AF_INET6, .ip = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}},
    };
    size_t sum = 0;
    for (uint32_t i = 0; i < access_lists(a); i++)
        sum += strlen(access_list(a, i).file) + access_list(a, i).networks;
    for (uint32_t i = 0; i < access_services(a); i++) {
        for (size_t k = 0; k < ARRAY_LEN(clients); k++) {
            struct access_verdict v = access_judge(a, i, &clients[k]);
            sum += v.admitted + (v.list == ACCESS_NONE ? 0 : access_list(a, v.list).bad);
        }
        sum += access_same_rules(a, 0, i);
    }
    return sum;
}
