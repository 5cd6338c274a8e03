/* Bytes as a list of networks: what is in force is in the ranges, and nothing else is near it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/access_samples.h"
#include "access/access_write.h"
#include "base/defs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t longest_of(const struct cidr *nets, size_t n, const struct addr *a) {
    uint8_t best = RANGES_NONE;
    for (size_t i = 0; i < n; i++)
        if (cidr_has(&nets[i], a) && (best == RANGES_NONE || nets[i].bits > best))
            best = nets[i].bits;
    return best;
}

static void check(struct cidr *nets, size_t n, enum ranges_family family) {
    struct ranges_draft *d;
    struct ranges r;
    uint8_t *at = NULL;
    MUST(ranges_draft(nets, n, &d) == 0);
    uint32_t count = ranges_draft_count(d);
    if (count) {
        MUST(posix_memalign((void **)&at, 64, ranges_len(family, count)) == 0);
        memset(at, 0, ranges_len(family, count));
        ranges_write(d, family, at);
    }
    ranges_open(family, at, count, &r);
    unsigned len = family == RANGES_IPV4 ? 4 : 16;
    for (size_t i = 0; i < n; i++) { /* the last address of each, and the one behind it */
        struct addr a = nets[i].net;
        for (unsigned b = nets[i].bits; b < len * 8; b++)
            a.ip[b / 8] |= (uint8_t)(0x80u >> b % 8);
        MUST(ranges_find(&r, family, a.ip) == longest_of(nets, n, &a));
        for (unsigned k = len; k-- > 0 && ++a.ip[k] == 0;)
            continue;
        MUST(ranges_find(&r, family, a.ip) == longest_of(nets, n, &a));
    }
    ranges_draft_free(d);
    free(at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct netlist l, of[RANGES_FAMILIES];
    size_t bad = 0;
    netlist_init(&l);
    netlist_init(&of[0]);
    netlist_init(&of[1]);
    MUST(size > 4096 || netlist_read(&l, span_of(data, size), sample_bad_line, &bad) == 0);
    MUST(bad == l.bad);
    for (size_t i = 0; i < l.nets.n; i++) {
        const struct cidr *c = grow_at(&l.nets, i);
        MUST(netlist_add(&of[c->net.family == AF_INET6], c) == 0);
    }
    for (unsigned f = 0; f < RANGES_FAMILIES; f++) {
        check(of[f].nets.n ? grow_at(&of[f].nets, 0) : NULL, of[f].nets.n, (enum ranges_family)f);
        netlist_fini(&of[f]);
    }
    netlist_fini(&l);
    return 0;
}
