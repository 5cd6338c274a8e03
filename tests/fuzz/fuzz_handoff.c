/*
 * Arbitrary bytes as a hand-off message. The first byte chooses the type. What is taken is in range, and packing it again
 * gives the same bytes.
 */
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "wire/handoff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t again[IPC_BODY_MAX];

static bool family_ok(const struct addr *a) {
    return a->family == AF_UNSPEC || a->family == AF_INET || a->family == AF_INET6;
}

static void check(const struct handoff *h, const struct ipc_msg *m) {
    const struct conn_info *f = &h->conn_info;
    MUST(family_ok(&f->client) && family_ok(&f->peer) && family_ok(&f->local));
    MUST(f->sni.len <= 255 && f->alpn.len <= 255 && f->ja4.len <= CONN_INFO_JA4_MAX);
    MUST(h->read_ahead.len <= HANDOFF_READ_AHEAD_MAX && h->out_max <= 16384);
    MUST((m->type == HANDOFF_SESSION) == (f->tls_version == 0x0303 || f->tls_version == 0x0304));

    struct wr w = wr_of(again, sizeof(again));
    handoff_pack(&w, h, (enum handoff_type)m->type);
    MUST(wr_end(&w) && span_eq(wr_written(&w), m->body));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct ipc_msg m = {.type = (uint16_t)(data[0] % 4), .body = span_of(data + 1, size - 1)};
    struct handoff h;
    int err = handoff_unpack(&m, &h);
    MUST(err == 0 || err == ERR_FORMAT);
    if (err == 0)
        check(&h, &m);
    return 0;
}
