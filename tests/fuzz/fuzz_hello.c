/*
 * Arbitrary first bytes of a connection through hello_find() and hello_parse(). Beside memory safety: an answer, once given,
 * does not change when more bytes come; and what was taken keeps the promises of hello.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "tls/hello.h"
#include "tls/hello_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct span s, struct span inside) {
    MUST(!s.p || (s.p >= inside.p && s.p + s.len <= inside.p + inside.len));
    MUST(s.p || s.len == 0);
}

static void check_hello(const struct hello *h, struct span message) {
    const struct span lists[] = {h->suites, h->groups, h->sigalgs, h->versions};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        check_span(lists[i], message);
        MUST(lists[i].len % 2 == 0);
    }
    check_span(h->random, message);
    check_span(h->session_id, message);
    check_span(h->key_shares, message);
    check_span(h->alpn, message);
    MUST(h->random.len == 32 && h->session_id.len <= 32 && h->suites.len >= 2);
    MUST(strlen(h->ja4) == HELLO_JA4_LEN);
    MUST(h->max_fragment_length <= 4 && (h->record_size_limit == 0 || h->record_size_limit >= 64));
    check_span(h->sni_other, message);
    MUST(!h->sni_other.len || (!h->sni[0] && !memchr(h->sni_other.p, 0, h->sni_other.len)));
    MUST(strspn(h->sni, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(h->sni) && strlen(h->sni) <= HELLO_NAME_MAX);
}

static void parse(struct span message) {
    struct hello h;
    int err = hello_parse(message, &h);
    MUST(err == 0 || err == ERR_HELLO_MALFORMED || err == ERR_RECORD_ILLEGAL);
    if (!err)
        check_hello(&h, message);
}

/* The answer to a prefix must be "more", or the answer to the whole; and after "more" the whole has the same answer. */
static void check_prefix(struct span in, size_t n, enum step whole_step, int whole_err) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct hello_scan scan = {0};
    struct span message;
    size_t wire_len;
    int err = 0;
    enum step step = hello_find(&scan, span_of(in.p, n), scratch, &message, &wire_len, &err);
    MUST(step == STEP_WANT_READ || (step == whole_step && err == whole_err));
    if (step == STEP_WANT_READ)
        MUST(hello_find(&scan, in, scratch, &message, &wire_len, &err) == whole_step && err == whole_err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span in = span_of(data, size), message;
    struct hello_scan scan = {0};
    size_t wire_len = 0;
    int err = 0;
    enum step step = hello_find(&scan, in, scratch, &message, &wire_len, &err);
    switch (step) {
    case STEP_DONE:
        MUST(wire_len <= size && wire_len <= HELLO_WIRE_MAX && message.len >= 4 && message.len <= HELLO_MESSAGE_MAX);
        parse(message);
        break;
    case STEP_FAILED:
        MUST(err_known(err));
        break;
    default:
        MUST(step == STEP_WANT_READ && size < HELLO_WIRE_MAX);
    }
    if (size)
        check_prefix(in, size / 2, step, err);
    if (size)
        check_prefix(in, size - 1, step, err);
    parse(in);
    return 0;
}
