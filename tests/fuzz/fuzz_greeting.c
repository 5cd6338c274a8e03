/*
 * Arbitrary first bytes of a backend through greeting_read(). Beside memory safety: an answer, once given, does not change when
 * more bytes come; what is passed on or swallowed ends with a line and is within its bound.
 *
 * Input: a byte for the kind, then what the backend sends.
 */
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "relay/greeting.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_end(struct span bytes, const struct greeting_end *end) {
    MUST(end->len > 0 && end->len <= bytes.len && end->len <= GREETING_MAX);
    MUST(bytes.p[end->len - 1] == '\n');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    enum greeting kind = (enum greeting)(GREETING_NONE + 1 + data[0] % (GREETINGS - 1));
    struct greeting_end whole = {0};
    struct span all = span_of(data + 1, size - 1);
    enum step step = greeting_read(kind, all, &whole);
    if (step == STEP_DONE || whole.err == ERR_GREETING_REFUSED)
        check_end(all, &whole);
    else if (step == STEP_FAILED)
        MUST(whole.len == 0 &&
             (whole.err == ERR_GREETING_PREAUTH || whole.err == ERR_GREETING_FORMAT || whole.err == ERR_GREETING_TOO_LONG));
    else
        MUST(step == STEP_WANT_READ && all.len < GREETING_MAX);
    for (size_t n = all.len; n-- > 0;) {
        struct greeting_end end = {0};
        enum step cut = greeting_read(kind, span_of(all.p, n), &end);
        MUST(cut == STEP_WANT_READ || (cut == step && end.len == whole.len && end.err == whole.err));
        MUST(cut == STEP_WANT_READ || step == STEP_FAILED || n >= whole.len);
    }
    return 0;
}
