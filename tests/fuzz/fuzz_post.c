/*
 * The content of alert and handshake records after the handshake, without the encryption around it. Beside memory safety: the
 * record layer stays valid, errors are of the known kinds, keys change exactly with the count of KeyUpdates, and in TLS 1.2 it
 * makes no difference how a message is cut into records.
 *
 * Input: byte 0 chooses the suite; then records: a byte for the kind, a length byte, the content.
 */
#include <stdlib.h>
#include <string.h>

#include "../unit/record_peer.h"
#include "base/err.h"
#include "base/rd.h"
#include "tls/post.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct record_peer peer;

static bool one_alert(struct record_layer *p, struct span body) {
    int err = 0;
    enum step step = post_alert(p, peer.suite, body, &err);
    if (step == STEP_DONE)
        return true;
    if (step == STEP_EOF) {
        MUST(p->close_seen && body.len == 2 && body.p[1] == ALERT_CLOSE_NOTIFY);
        return false;
    }
    MUST(step == STEP_FAILED);
    MUST(err == ERR_RECORD_TYPE || err == ERR_RECORD_DECODE || err == ERR_RECORD_ILLEGAL || err == ERR_RECORD_FLOOD ||
         err == ERR_PEER_ALERT);
    MUST((err == ERR_PEER_ALERT) == (p->alert_seen != 0));
    return false;
}

/* The same bytes, one a record. */
static int byte_by_byte(struct record_layer *p, struct span body) {
    bool rekeyed = false;
    int rc = 0;
    for (size_t i = 0; i < body.len && rc == 0; i++) {
        p->idle_records = 0;
        rc = post_handshake(p, peer.suite, span_of(body.p + i, 1), &rekeyed);
    }
    return rc;
}

static bool one_handshake(struct record_layer *p, struct span body) {
    struct record_layer before = *p, other = *p;
    bool rekeyed = false;
    int rc = post_handshake(p, peer.suite, body, &rekeyed);
    MUST(rc == 0 || rc == ERR_RECORD_TYPE || rc == ERR_RECORD_DECODE || rc == ERR_RECORD_ILLEGAL || rc == ERR_RECORD_FLOOD);
    MUST(rekeyed == (p->key_updates_in != before.key_updates_in));
    MUST(rekeyed == (memcmp(&p->in, &before.in, sizeof p->in) != 0));
    MUST(memcmp(&p->out, &before.out, sizeof p->out) == 0);
    if (peer.suite->version == TLS_1_2 && body.len > 0 && before.idle_records < RECORD_LAYER_IDLE_MAX) {
        MUST(byte_by_byte(&other, body) == rc);
        MUST(rc || (other.post_len == p->post_len && memcmp(other.post, p->post, p->post_len) == 0));
        MUST(other.renegotiations == p->renegotiations && other.no_renegotiation_owed == p->no_renegotiation_owed);
    }
    return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rd r = rd_of(span_of(data, size));
    peer_init(&peer, suite_at(rd_u8(&r) % 9), &engine_libcrypto);
    struct record_layer *p = &peer.record_layer;

    bool going = true;
    while (going && !r.bad && rd_left(&r) > 0) {
        uint8_t kind = rd_u8(&r);
        struct span body = rd_vec8(&r);
        if (kind % 4 == 0)
            going = one_alert(p, body);
        else if (kind % 4 == 1)
            record_layer_progress(p, body.len); /* data came or went */
        else
            going = one_handshake(p, body);
        MUST(record_layer_valid(p));
        MUST(p->idle_records <= RECORD_LAYER_IDLE_MAX && p->idle_records >= -RECORD_LAYER_SAVED_MAX);
        MUST(p->renegotiations <= RECORD_LAYER_RENEGOTIATIONS_MAX);
    }
    return 0;
}
