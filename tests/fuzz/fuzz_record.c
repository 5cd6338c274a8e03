/*
 * A hostile client behind an honest handshake: the input is a list of records, each either sealed with the right key around
 * any content, or raw bytes. Beside memory safety: what the record layer hands out is exactly the data that was sealed, in
 * order, wherever the input is cut; and whatever the record layer owes and writes is understood by the peer.
 *
 * Input: byte 0 chooses the suite; then operations, each a byte, mostly with a length and bytes.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/record_peer.h"
#include "base/err.h"
#include "base/rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WIRE_MAX (256 * 1024)

enum op { OP_DATA, OP_CONTENT, OP_INNER, OP_RAW, OP_BIG, OP_CONTROL, OP_FLUSH, OP_FLUSH_CUT, OP_COUNT };

static struct record_peer peer;
static uint8_t wire[WIRE_MAX];     /* sent and not yet consumed */
static uint8_t expected[WIRE_MAX]; /* data sealed and not yet handed out */
static size_t wire_len, expected_len;
static bool tainted; /* something was sent that a peer of ours would not send: the record layer may fail from here on */

static void check_opened(const struct record_layer_opened *o, size_t in_len) {
    size_t sum = 0;
    MUST(o->consumed <= in_len && o->niov <= RECORD_LAYER_IOV_MAX);
    for (unsigned i = 0; i < o->niov; i++) {
        const uint8_t *p = o->iov[i].iov_base;
        MUST(p >= wire && p + o->iov[i].iov_len <= wire + in_len);
        MUST(o->iov[i].iov_len > 0 && o->iov[i].iov_len <= RECORD_PLAIN_MAX);
        MUST(sum + o->iov[i].iov_len <= expected_len);
        MUST(memcmp(p, expected + sum, o->iov[i].iov_len) == 0);
        sum += o->iov[i].iov_len;
    }
    MUST(sum == o->plain_len);
    memmove(expected, expected + sum, expected_len - sum);
    expected_len -= sum;
}

/* Gives the record layer the first LEN bytes sent. False when the session is over. */
static bool flush(size_t len) {
    struct record_layer_opened o;
    enum step step;
    do {
        uint32_t updates = peer.record_layer.key_updates_in;
        step = record_layer_open(&peer.record_layer, &peer.contexts, wire, len, &o);
        MUST(step == STEP_DONE || step == STEP_WANT_READ || step == STEP_EOF || step == STEP_FAILED);
        MUST((step == STEP_FAILED) == (o.err != 0) && record_layer_valid(&peer.record_layer));
        MUST(o.err == 0 || err_known(o.err));
        check_opened(&o, len);
        memmove(wire, wire + o.consumed, wire_len - o.consumed);
        wire_len -= o.consumed;
        len -= o.consumed;
        for (; updates != peer.record_layer.key_updates_in; updates++)
            peer_next_key(&peer, &peer.out);
    } while (step == STEP_DONE);
    MUST(step != STEP_FAILED || tainted);
    MUST(step != STEP_WANT_READ || len < RECORD_WIRE_MAX);
    return step == STEP_WANT_READ;
}

/* The record layer writes what it owes; the peer must understand it. */
static bool control(void) {
    uint8_t out[RECORD_LAYER_CONTROL_MAX];
    size_t n = 0;
    enum content_type type;
    struct span plain;
    bool owed = record_layer_control_owed(&peer.record_layer);
    MUST(record_layer_control(&peer.record_layer, &peer.contexts, out, &n) == 0);
    MUST(owed == (n > 0) && n <= sizeof out && !record_layer_control_owed(&peer.record_layer));
    if (n == 0)
        return true;
    MUST(record_frame(peer.suite, out, n) == (int)n);
    MUST(peer_open(&peer, out, n, &type, &plain) == 0);
    if (type == CONTENT_HANDSHAKE)
        peer_next_key(&peer, &peer.in);
    else
        MUST(type == CONTENT_ALERT && plain.len == 2 && plain.p[0] == 1);
    return true;
}

static void expect(struct span s) {
    if (s.len)
        memcpy(expected + expected_len, s.p, s.len);
    expected_len += s.len;
}

/* An inner plaintext that holds data is data, however it was padded. */
static void send_inner(uint8_t outer, struct span s) {
    wire_len += peer_seal_inner(&peer, outer, s.p, s.len, wire + wire_len);
    size_t n = s.len;
    while (n > 0 && s.p[n - 1] == 0)
        n--;
    if (outer == CONTENT_APPLICATION_DATA && n > 0 && s.p[n - 1] == CONTENT_APPLICATION_DATA && s.len <= RECORD_PLAIN_MAX + 1)
        expect(span_of(s.p, n - 1));
    tainted = true;
}

static void send_content(enum content_type type, struct span s) {
    wire_len += peer_seal(&peer, type, s.p, s.len, wire + wire_len);
    if (type == CONTENT_APPLICATION_DATA)
        expect(s);
    tainted = tainted || type != CONTENT_APPLICATION_DATA || s.len == 0;
}

static bool one_op(struct rd *r) {
    static const uint8_t big[RECORD_PLAIN_MAX] = {1};
    enum op op = rd_u8(r) % OP_COUNT;
    struct span s;
    uint8_t type;
    switch (op) {
    case OP_DATA:
        send_content(CONTENT_APPLICATION_DATA, rd_vec8(r));
        return true;
    case OP_CONTENT:
        type = rd_u8(r);
        send_content(MAX(type, 1), rd_vec8(r)); /* 0 would be padding in 1.3 */
        return true;
    case OP_INNER:
        type = rd_u8(r);
        s = rd_vec8(r);
        if (peer.suite->version == TLS_1_3)
            send_inner(type, s);
        return true;
    case OP_RAW:
        s = rd_vec8(r);
        if (s.len)
            memcpy(wire + wire_len, s.p, s.len);
        wire_len += s.len;
        tainted = true;
        return true;
    case OP_BIG:
        send_content(CONTENT_APPLICATION_DATA, span_of(big, sizeof big - rd_u8(r)));
        return true;
    case OP_CONTROL:
        return control();
    case OP_FLUSH:
        return flush(wire_len);
    default:
        return flush(wire_len * rd_u8(r) / 256);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static bool ready;
    struct rd r = rd_of(span_of(data, size));
    const struct suite *suite = suite_at(rd_u8(&r) % 9);

    struct engine_contexts kept = peer.contexts; /* made once: keys are loaded again for every run */
    peer_init(&peer, suite, &engine_libcrypto);
    if (ready)
        peer.contexts = kept;
    ready = true;
    wire_len = expected_len = 0;
    tainted = false;

    bool going = true;
    while (going && !r.bad && rd_left(&r) > 0 && wire_len < WIRE_MAX / 2 && expected_len < WIRE_MAX / 2)
        going = one_op(&r);
    if (going && flush(wire_len) && !tainted)
        MUST(wire_len == 0 && expected_len == 0);
    record_layer_wipe(&peer.record_layer);
    return 0;
}
