/* ClientHello messages made piece by piece, for tests of what reads them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/wr.h"
#include "tls/hello.h"
#include "tls/hello_find.h"

#define SAMPLE(bytes)  span_of(bytes, sizeof(bytes))
#define LITERAL(bytes) span_of(bytes, sizeof(bytes) - 1)

/* A ClientHello under construction; zeroed fields are the usual values. */
struct draft {
    uint16_t version;
    struct span session_id, suites, compression;
    bool no_block;
    struct wr ext;
    uint8_t ext_bytes[HELLO_MESSAGE_MAX + 64];
    uint8_t bytes[HELLO_MESSAGE_MAX + 64];
};

static struct draft draft;

static inline struct draft *fresh(void) {
    memset(&draft, 0, sizeof(draft));
    draft.version = 0x0303;
    draft.suites = LITERAL("\x13\x01\xc0\x2b");
    draft.compression = LITERAL("\x00");
    draft.ext = wr_of(draft.ext_bytes, sizeof(draft.ext_bytes));
    return &draft;
}

static inline void extend(struct draft *d, uint16_t type, struct span data) {
    wr_u16(&d->ext, type);
    wr_vec16(&d->ext, data);
}

static inline struct span finish(struct draft *d) {
    struct wr w = wr_of(d->bytes, sizeof(d->bytes));
    wr_u8(&w, 1);
    wr_u24(&w, 0);
    wr_u16(&w, d->version);
    for (int i = 0; i < 32; i++)
        wr_u8(&w, (uint8_t)i);
    wr_vec8(&w, d->session_id);
    wr_vec16(&w, d->suites);
    wr_vec8(&w, d->compression);
    if (!d->no_block)
        wr_vec16(&w, wr_written(&d->ext));
    assert_true(wr_end(&d->ext) && wr_end(&w));
    size_t body = w.len - 4;
    d->bytes[1] = (uint8_t)(body >> 16);
    d->bytes[2] = (uint8_t)(body >> 8);
    d->bytes[3] = (uint8_t)body;
    return wr_written(&w);
}

static inline int parse_with(uint16_t type, struct span data, struct hello *ret) {
    struct draft *d = fresh();
    extend(d, type, data);
    return hello_parse(finish(d), ret);
}
