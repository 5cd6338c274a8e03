/*
 * Arbitrary first bytes of a connection through proxy_in_read(). Beside memory safety: an answer, once given, does not change
 * when more bytes come; a header keeps to its bounds; and a client it names is named as the rest of the program names it.
 */
#include <string.h>

#include "base/err.h"
#include "handshaker/proxy_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_addr(const struct addr *a, bool local) {
    struct sockaddr_storage ss;
    struct addr back;
    if (local) {
        MUST(a->family == AF_UNSPEC);
        return;
    }
    MUST(a->family == AF_INET || a->family == AF_INET6);
    (void)addr_to_sockaddr(a, &ss); /* its length is known by the family */
    addr_from_sockaddr(&ss, &back);
    MUST(memcmp(a, &back, sizeof(back)) == 0); /* no IPv4 hidden in IPv6 */
}

static void check_header(const struct proxy_in *h, size_t size) {
    MUST(h->len >= 15 && h->len <= size && h->len <= PROXY_IN_MAX);
    check_addr(&h->client, h->local);
    check_addr(&h->service, h->local);
}

/* The answer to a prefix must be "more", or the answer to the whole. */
static void check_prefix(struct span in, enum step whole_step, int whole_err, const struct proxy_in *whole) {
    struct proxy_in h = {0};
    int err = 0;
    enum step step = proxy_in_read(in, &h, &err);
    if (step == STEP_WANT_READ)
        return;
    MUST(step == whole_step);
    if (step == STEP_DONE)
        MUST(h.len == whole->len && h.local == whole->local);
    else
        MUST(err == whole_err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct proxy_in h = {0};
    int err = 0;
    enum step step = proxy_in_read(span_of(data, size), &h, &err);
    switch (step) {
    case STEP_DONE:
        check_header(&h, size);
        break;
    case STEP_FAILED:
        MUST(err == ERR_PROXY_MISSING || err == ERR_PROXY_MALFORMED);
        break;
    default:
        MUST(step == STEP_WANT_READ && size < PROXY_IN_MAX);
    }
    for (size_t n = size; n > 0; n /= 2)
        check_prefix(span_of(data, n - 1), step, err, &h);
    return 0;
}
