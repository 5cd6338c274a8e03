/* HTTP/1.1 as far as a load generator needs it: one request, and where its chunked answer ends. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct web {
    uint8_t *request; /* owned */
    size_t len;
};

/* A POST of SIZE bytes. False: no memory. */
bool web_init(struct web *w, size_t size);
void web_fini(struct web *w);

/* The last bytes of an answer so far. */
#define WEB_TAIL 5
struct web_tail {
    uint8_t bytes[WEB_TAIL];
};

/* N more bytes have come; true when they end the answer (the body holds no such bytes). */
bool web_ends(struct web_tail *t, const uint8_t *p, size_t n);
