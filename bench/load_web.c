#include "load_web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool web_init(struct web *w, size_t size) {
    char head[128];
    int n = snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n", size);
    *w = (struct web){.request = malloc((size_t)n + size), .len = (size_t)n + size};
    if (!w->request)
        return false;
    memcpy(w->request, head, (size_t)n);
    memset(w->request + n, 'a', size);
    return true;
}

void web_fini(struct web *w) {
    free(w->request);
    *w = (struct web){0};
}

bool web_ends(struct web_tail *t, const uint8_t *p, size_t n) {
    size_t keep = n < WEB_TAIL ? WEB_TAIL - n : 0;
    memmove(t->bytes, t->bytes + WEB_TAIL - keep, keep);
    memcpy(t->bytes + keep, p + n - (WEB_TAIL - keep), WEB_TAIL - keep);
    return memcmp(t->bytes, "0\r\n\r\n", WEB_TAIL) == 0;
}
