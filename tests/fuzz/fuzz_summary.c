/*
 * Arbitrary bytes as another instance's summary. Beside memory safety: there are no more entries than there may be, no number
 * that cannot be, no client twice; and what is read has one form, so written again it is the same bytes.
 */
#include <string.h>

#include "base/err.h"
#include "shm/peers.h"
#include "wire/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const struct summary_entry *e, const struct summary_entry *before) {
    struct addr_net nets[ADDR_NETS];
    MUST(e->kind < SUMMARY_KINDS && e->key_len > 0 && e->key_len <= SKETCH_KEY_MAX);
    for (unsigned v = 0; v < SUMMARY_OF_NETS; v++)
        MUST(e->values[v] <= PEERS_COUNT_MAX);
    MUST(!before || summary_order(before, e) < 0);
    size_t n = summary_nets(e, nets);
    MUST(n <= ADDR_NETS && (n == 0) == (e->kind == SUMMARY_VERIFIED));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t again[SUMMARY_MAX];
    struct wr w = wr_of(again, sizeof(again));
    struct summary_head head;
    struct summary_reader s;
    const struct summary_entry *e;
    size_t n, skipped, seen = 0;
    if (summary_check(span_of(data, size), &head, &n, &skipped) < 0)
        return 0;
    MUST(n <= SUMMARY_ENTRIES && skipped <= n);
    MUST(summary_begin(&s, span_of(data, size), &head) == 0 && summary_write_head(&w, &head));
    struct summary_entry before;
    for (int more; (more = summary_next(&s, &e)) != 0; seen++) {
        MUST(more == 1);
        check_entry(e, seen ? &before : NULL);
        MUST(summary_write_entry(&w, e));
        before = *e;
    }
    MUST(seen == n - skipped);
    if (skipped == 0)
        MUST(w.len == size && memcmp(again, data, size) == 0);
    return 0;
}
