#include "tls/hs13_out.h"

#include "base/secret.h"
#include "tls/record.h"

#define MESSAGE_HEADER_LEN 4
#define LEVEL_FATAL        2

static size_t content_max(const struct hs13 *h) {
    return h->sealing ? h->plain_max : h->whole_max;
}

static int append_out(struct hs13 *h, const void *p, size_t n) {
    if (h->out_err == 0)
        h->out_err = buf_append(h->out, p, n);
    return h->out_err;
}

/* The record begun, in OUT's memory. */
static uint8_t *record_of(const struct hs13 *h) {
    return h->out->p + h->out->off + h->rec_at;
}

static int seal_record(struct hs13 *h, enum content_type type) {
    struct record_run run;
    size_t len = 0;
    uint8_t *room = buf_reserve(h->out, RECORD_SUFFIX_MAX); /* may move the record */
    if (!room)
        return ERR_NOMEM;
    int err = record_run_begin(&run, h->env->aead, h->suite, &h->out_keys, true);
    if (err == 0)
        err = record_seal(&run, type, record_of(h), h->rec_len, &len);
    if (err == 0)
        buf_commit(h->out, len - RECORD_HEADER_LEN - h->rec_len);
    return err;
}

static void end_record(struct hs13 *h, enum content_type type) {
    if (!h->writing || h->out_err)
        return;
    if (h->sealing) {
        h->out_err = seal_record(h, type);
        h->writing = h->out_err < 0; /* hs13_out_alert() cuts off what could not be sealed */
        return;
    }
    h->writing = false;
    const uint8_t header[] = {(uint8_t)type, 3, 3, (uint8_t)(h->rec_len >> 8), (uint8_t)h->rec_len};
    memcpy(record_of(h), header, sizeof(header));
}

static void begin_record(struct hs13 *h) {
    static const uint8_t header[RECORD_HEADER_LEN];
    h->rec_at = buf_len(h->out);
    h->rec_len = 0;
    h->writing = append_out(h, header, sizeof(header)) == 0;
}

static void put_raw(struct hs13 *h, struct span s, enum content_type type) {
    while (s.len > 0 && h->out_err == 0) {
        if (!h->writing)
            begin_record(h);
        size_t n = MIN(s.len, content_max(h) - h->rec_len);
        if (append_out(h, s.p, n))
            return;
        h->rec_len += n;
        s = span_of(s.p + n, s.len - n);
        if (h->rec_len == content_max(h))
            end_record(h, type);
    }
}

static void put_handshake(struct hs13 *h, struct span s) {
    if (!h->finish_said)
        hs13_keys_add(&h->keys, s);
    put_raw(h, s, CONTENT_HANDSHAKE);
}

void hs13_out_begin(struct hs13 *h, uint8_t type, size_t body_len) {
    const uint8_t head[] = {type, (uint8_t)(body_len >> 16), (uint8_t)(body_len >> 8), (uint8_t)body_len};
    size_t len = sizeof(head) + body_len;
    if (body_len >> 24 || h->msg_left)
        h->out_err = ERR_LIMIT;
    if (h->writing && len > content_max(h) - h->rec_len)
        end_record(h, CONTENT_HANDSHAKE);
    (void)buf_reserve(h->out, MIN(len, content_max(h)) +
                                  RECORD_OVERHEAD_MAX); /* at once, not by doubling; put_handshake() sees a failure */
    h->msg_left = body_len;
    put_handshake(h, span_of(head, sizeof(head)));
}

void hs13_out_put(struct hs13 *h, struct span part) {
    if (part.len > h->msg_left)
        h->out_err = ERR_LIMIT;
    if (h->out_err)
        return;
    h->msg_left -= part.len;
    put_handshake(h, part);
}

void hs13_out_message(struct hs13 *h, uint8_t type, struct span body) {
    hs13_out_begin(h, type, body.len);
    hs13_out_put(h, body);
}

int hs13_out_flush(struct hs13 *h) {
    if (h->out_err == 0 && h->msg_left)
        h->out_err = ERR_LIMIT;
    end_record(h, CONTENT_HANDSHAKE);
    return h->out_err;
}

void hs13_out_ccs(struct hs13 *h) {
    static const uint8_t ccs[] = {CONTENT_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1};
    if (hs13_out_flush(h) == 0)
        (void)append_out(h, ccs, sizeof(ccs)); /* kept in OUT_ERR */
}

void hs13_out_alert(struct hs13 *h, enum alert alert) {
    const uint8_t body[] = {LEVEL_FATAL, (uint8_t)alert};
    if (h->writing)
        buf_cut(h->out, h->rec_at);
    h->writing = false;
    h->out_err = 0;
    put_raw(h, span_of(body, sizeof(body)), CONTENT_ALERT);
    end_record(h, CONTENT_ALERT);
    if (h->out_err && h->writing)
        buf_cut(h->out, h->rec_at);
}
