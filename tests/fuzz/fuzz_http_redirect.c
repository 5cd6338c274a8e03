/* A plain HTTP request of outside bytes: whatever is answered is one redirect with the three header lines it is to have. */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "handshaker/http_redirect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char head[] = "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://",
                      tail[] = "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    struct buf out;
    buf_init(&out, 16384);
    enum step step = http_redirect(span_of(data, size), &out);
    struct span s = buf_span(&out);
    MUST((step == STEP_DONE) == (s.len > 0));
    if (step == STEP_DONE) {
        MUST(s.len >= sizeof(head) + sizeof(tail) && memcmp(s.p, head, sizeof(head) - 1) == 0);
        MUST(memcmp(s.p + s.len - (sizeof(tail) - 1), tail, sizeof(tail) - 1) == 0);
        for (size_t i = sizeof(head) - 1; i < s.len - (sizeof(tail) - 1); i++)
            MUST(s.p[i] > ' ' && s.p[i] < 0x7f);
    }
    buf_fini(&out);
    return 0;
}
