#include "tls/record_layer_pack.h"

#include <string.h>

#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"

#define SEQ_MAX (UINT64_C(1) << 62) /* far beyond what any session reaches: arithmetic stays simple */

enum flag { KEY_UPDATE_OWED = 1, NO_RENEGOTIATION_OWED = 2, CLOSE_SEEN = 4, CLOSE_SENT = 8, FLAGS_KNOWN = 15 };

static void pack_direction(struct wr *w, const struct traffic_keys *k) {
    wr_u64(w, k->seq);
    wr_u64(w, k->explicit_nonce);
    wr_vec8(w, span_of(k->secret, sizeof(k->secret)));
    wr_vec8(w, span_of(k->key, sizeof(k->key)));
    wr_bytes(w, k->iv, sizeof(k->iv));
}

struct span record_layer_pack(const struct record_layer *p, uint8_t to[static RECORD_LAYER_PACKED_MAX]) {
    struct wr w = wr_of(to, RECORD_LAYER_PACKED_MAX);
    unsigned flags = (p->key_update_owed ? KEY_UPDATE_OWED : 0) | (p->no_renegotiation_owed ? NO_RENEGOTIATION_OWED : 0) |
                     (p->close_seen ? CLOSE_SEEN : 0) | (p->close_sent ? CLOSE_SENT : 0);
    wr_u16(&w, p->suite_id);
    wr_u16(&w, p->out_max);
    wr_vec8(&w, span_of(p->post, p->post_len));
    wr_u8(&w, 0);
    wr_u8(&w, (uint8_t)MIN(MAX(p->idle_records, 0), UINT8_MAX)); /* all that minors before 3 know of it */
    wr_u8(&w, p->renegotiations);
    wr_u8(&w, p->alert_seen);
    wr_u8(&w, (uint8_t)flags);
    wr_u32(&w, p->key_updates_in);
    wr_u32(&w, p->key_updates_out);
    pack_direction(&w, &p->in);
    pack_direction(&w, &p->out);
    wr_u16(&w, (uint16_t)p->idle_records);
    MUST(wr_end(&w));
    return wr_written(&w);
}

/* Exactly as long as the place it goes to. */
static void unpack_key(struct rd *r, uint8_t *to, size_t n) {
    r->bad = rd_u8(r) != n || r->bad;
    rd_copy(r, to, n);
}

static void unpack_direction(struct rd *r, struct traffic_keys *ret) {
    ret->seq = rd_u64(r);
    ret->explicit_nonce = rd_u64(r);
    unpack_key(r, ret->secret, sizeof(ret->secret));
    unpack_key(r, ret->key, sizeof(ret->key));
    rd_copy(r, ret->iv, sizeof(ret->iv));
    r->bad = r->bad || ret->seq >= SEQ_MAX;
}

static void unpack_flags(struct rd *r, bool newer, struct record_layer *ret) {
    uint8_t flags = rd_u8(r);
    ret->key_update_owed = flags & KEY_UPDATE_OWED;
    ret->no_renegotiation_owed = flags & NO_RENEGOTIATION_OWED;
    ret->close_seen = flags & CLOSE_SEEN;
    ret->close_sent = flags & CLOSE_SENT;
    r->bad = r->bad || (flags > FLAGS_KNOWN && !newer);
}

int record_layer_unpack(struct span packed, uint8_t minor, bool newer, struct record_layer *ret) {
    struct rd r = rd_of(packed);
    memset(ret, 0, sizeof(*ret));
    ret->suite_id = rd_u16(&r);
    ret->out_max = rd_u16(&r);
    struct span post = rd_vec8(&r);
    if (post.len < sizeof(ret->post) && post.len)
        memcpy(ret->post, post.p, post.len);
    ret->post_len = (uint8_t)post.len; /* one that is too long is not valid */
    uint8_t empty_records = rd_u8(&r), key_updates = rd_u8(&r);
    ret->idle_records = MAX(empty_records, key_updates); /* in minors before 3 two counters, and nothing saved up */
    ret->renegotiations = rd_u8(&r);
    ret->alert_seen = rd_u8(&r);
    unpack_flags(&r, newer, ret);
    ret->key_updates_in = rd_u32(&r);
    ret->key_updates_out = rd_u32(&r);
    unpack_direction(&r, &ret->in);
    unpack_direction(&r, &ret->out);
    if (minor >= 3)
        ret->idle_records = (int16_t)rd_u16(&r);
    if (!r.bad && (newer || rd_end(&r)) && record_layer_valid(ret))
        return 0;
    secret_wipe(ret, sizeof(*ret));
    return ERR_FORMAT;
}
