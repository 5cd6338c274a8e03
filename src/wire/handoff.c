#include "wire/handoff.h"

#include <string.h>

#include "base/err.h"

/* Leads every body, so that a later generation may still read what an earlier one sends. */
#define HANDOFF_VERSION  2
#define HANDOFF_INFO_MIN 60 /* connection info with every address and text empty */
#define HANDOFF_KEYS_LEN 108
#define OUT_MAX          16384 /* RFC 8446 5.1 */

const struct ipc_rule handoff_rules[] = {
    {HANDOFF_SESSION, 1, 2 + HANDOFF_INFO_MIN + 2 * HANDOFF_KEYS_LEN + 4, HANDOFF_BODY_MAX},
    {HANDOFF_PASSTHROUGH, 1, 2 + HANDOFF_INFO_MIN + 2, HANDOFF_BODY_MAX},
    {0, 0, 0, 0},
};

static void pack_half(struct wr *w, const struct handoff_keys *h) {
    wr_u64(w, h->seq);
    wr_u64(w, h->explicit_nonce);
    wr_bytes(w, h->secret, sizeof(h->secret));
    wr_bytes(w, h->key, sizeof(h->key));
    wr_bytes(w, h->iv, sizeof(h->iv));
}

static void unpack_half(struct rd *r, struct handoff_keys *ret) {
    ret->seq = rd_u64(r);
    ret->explicit_nonce = rd_u64(r);
    rd_copy(r, ret->secret, sizeof(ret->secret));
    rd_copy(r, ret->key, sizeof(ret->key));
    rd_copy(r, ret->iv, sizeof(ret->iv));
}

void handoff_pack(struct wr *w, const struct handoff *h, enum handoff_type type) {
    wr_u16(w, HANDOFF_VERSION);
    conn_info_pack(w, &h->conn_info);
    if (type == HANDOFF_SESSION) {
        pack_half(w, &h->in);
        pack_half(w, &h->out);
        wr_u16(w, h->out_max);
    }
    w->bad = w->bad || h->read_ahead.len > HANDOFF_READ_AHEAD_MAX;
    wr_vec16(w, h->read_ahead);
}

int handoff_unpack(const struct ipc_msg *m, struct handoff *ret) {
    if (m->type != HANDOFF_SESSION && m->type != HANDOFF_PASSTHROUGH)
        return ERR_FORMAT;
    memset(ret, 0, sizeof(*ret));

    struct rd r = rd_of(m->body);
    if (rd_u16(&r) != HANDOFF_VERSION)
        return ERR_FORMAT;
    conn_info_unpack(&r, &ret->conn_info);
    if (m->type == HANDOFF_SESSION) {
        unpack_half(&r, &ret->in);
        unpack_half(&r, &ret->out);
        ret->out_max = rd_u16(&r);
        if (ret->out_max == 0 || ret->out_max > OUT_MAX)
            r.bad = true;
    }
    ret->read_ahead = rd_vec16(&r);
    if (ret->read_ahead.len > HANDOFF_READ_AHEAD_MAX)
        r.bad = true;

    /* Keys belong to a version and a suite; bytes passed through belong to neither. */
    if ((m->type == HANDOFF_SESSION) != (ret->conn_info.tls_version != 0))
        r.bad = true;
    return rd_end(&r) ? 0 : ERR_FORMAT;
}
