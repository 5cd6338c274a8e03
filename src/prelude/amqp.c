/*
 * See amqp.h. The client says "AMQP", a protocol number and a version; number 2 is TLS, and the go-ahead is the same eight
 * bytes. Any other header is answered with the one that is taken here, and the end of the connection, as 2.2 has it.
 */
#include "prelude/amqp.h"

#include <string.h>

#include "base/err.h"

static const char tls_header[8] = {'A', 'M', 'Q', 'P', 2, 1, 0, 0};

static enum step amqp_cut(struct span in, size_t *ret_len) {
    if (memcmp(in.p, tls_header, MIN(in.len, (size_t)4)) != 0)
        return STEP_FAILED;
    *ret_len = sizeof(tls_header);
    return STEP_DONE;
}

static int amqp_take(struct prelude *p, struct span unit, struct wr *answer) {
    (void)p;
    wr_bytes(answer, tls_header, sizeof(tls_header));
    return memcmp(unit.p, tls_header, sizeof(tls_header)) == 0 ? PRELUDE_GO : ERR_STARTTLS_CLEAR;
}

/* Nothing that could be taken for the go-ahead. */
static void amqp_last_words(const struct prelude *p, int reason, struct wr *answer) {
    (void)p;
    if (reason == ERR_STARTTLS_MALFORMED)
        wr_bytes(answer, tls_header, sizeof(tls_header));
}

const struct prelude_protocol prelude_amqp = {
    .name = "amqp",
    .cut = amqp_cut,
    .take = amqp_take,
    .last_words = amqp_last_words,
};
