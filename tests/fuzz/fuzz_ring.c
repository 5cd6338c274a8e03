/*
 * A ring whose shared memory holds whatever the input says: positions and the first data, then an order of puts and gets.
 * Nothing may be read or written outside, every record is within its bounds, and the ring works again once it was drained.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/rd.h"
#include "shm/ring.h"

#define SIZE      65536u
#define HEAD      4096u /* bytes before the data */
#define POSITIONS 256u  /* the part of them that is used, behind the mark */
#define MARK      8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct ring *r) {
    uint8_t *got = malloc(RING_RECORD_MAX); /* on the heap, so that the sanitizer sees its end */
    MUST(got);
    for (unsigned i = 0;; i++) {
        int n = ring_get(r, got);
        MUST(n == ERR_FORMAT || (n >= 0 && n <= RING_RECORD_MAX));
        MUST(i <= SIZE / 8 + 1);
        if (n == 0)
            break;
    }
    free(got);
}

/* Each operation is one byte, some take more: scribble, put, get. */
static void operate(struct ring *r, struct rd *in) {
    uint8_t *shared = (uint8_t *)r->shared;
    uint8_t got[RING_RECORD_MAX];
    static const uint8_t record[RING_RECORD_MAX];
    while (rd_left(in)) {
        uint8_t op = rd_u8(in);
        size_t at = rd_u16(in);
        if (op % 4 == 0) {
            struct span bytes = rd_bytes(in, MIN(rd_left(in), op / 4));
            at = MIN(at, SIZE - bytes.len);
            if (bytes.len)
                memcpy(shared + HEAD + at, bytes.p, bytes.len);
        } else if (op % 4 == 1) {
            rd_copy(in, shared + MARK + at % (POSITIONS - MARK - 8), MIN(rd_left(in), 8));
        } else if (op % 4 == 2) {
            (void)ring_put(r, span_of(record, at % RING_RECORD_MAX + 1)); /* may find no room */
        } else {
            int n = ring_get(r, got);
            MUST(n == ERR_FORMAT || (n >= 0 && n <= RING_RECORD_MAX));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct ring r;
    int fd;
    struct rd in = rd_of(span_of(data, MIN(size, 4096)));
    MUST(ring_create(SIZE, &fd) == 0);
    MUST(ring_map(fd, &r) == 0);
    close(fd);
    operate(&r, &in);
    drain(&r);
    static const char alive[] = "alive";
    uint8_t got[RING_RECORD_MAX];
    MUST(ring_put(&r, span_of(alive, sizeof(alive))));
    MUST(ring_get(&r, got) == sizeof(alive) && memcmp(got, alive, sizeof(alive)) == 0);
    ring_unmap(&r);
    return 0;
}
