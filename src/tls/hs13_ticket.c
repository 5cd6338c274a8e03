#include "tls/hs13_ticket.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"

#define FORMAT     1
#define CONTENT_AT (TICKETS_SEALED_MORE - AEAD_TAG_LEN)

int hs13_ticket_seal(struct tickets *keys, const struct hs13_ticket *t, uint8_t to[static HS13_TICKET_MAX], size_t *ret_len) {
    uint8_t packed[CLIENT_ID_PACKED];
    struct wr w = wr_of(to + CONTENT_AT, HS13_TICKET_CONTENT_MAX);
    wr_u8(&w, FORMAT);
    wr_bytes(&w, t->binding, sizeof(t->binding));
    wr_u8(&w, (uint8_t)t->hash);
    wr_bytes(&w, t->psk, hash_len(t->hash));
    wr_u64(&w, (uint64_t)t->issued_s);
    wr_u64(&w, (uint64_t)t->full_s);
    wr_vec16(&w, span_of(packed, client_id_pack(&t->client, packed)));
    wr_vec16(&w, span_of(t->cert, t->cert_len));
    if (!wr_end(&w))
        return ERR_CRYPTO;
    *ret_len = w.len + TICKETS_SEALED_MORE;
    return tickets_seal(keys, to, w.len);
}

int hs13_ticket_open(struct tickets *keys, struct span ticket, uint8_t room[static HS13_TICKET_MAX], struct hs13_ticket *ret) {
    size_t len = 0;
    int err = tickets_open(keys, ticket, room, HS13_TICKET_MAX, &len);
    struct rd r = rd_of(span_of(room, len));
    if (err < 0)
        return err;
    uint8_t format = rd_u8(&r);
    rd_copy(&r, ret->binding, sizeof(ret->binding));
    ret->hash = rd_u8(&r);
    if (format != FORMAT || ret->hash > HASH_SHA384) /* of another version of ours */
        r.bad = true;
    rd_copy(&r, ret->psk, hash_len(ret->hash));
    ret->issued_s = (int64_t)rd_u64(&r);
    ret->full_s = (int64_t)rd_u64(&r);
    struct span packed = rd_vec16(&r), cert = rd_vec16(&r);
    err = rd_end(&r) && cert.len <= sizeof(ret->cert) && client_id_unpack(packed, &ret->client) == 0 ? 0 : ERR_NOT_FOUND;
    ret->cert_len = err ? 0 : (uint16_t)cert.len;
    if (ret->cert_len)
        memcpy(ret->cert, cert.p, cert.len);
    secret_wipe(room, len);
    return err;
}

bool hs13_ticket_fits(const struct hs13_ticket *t, unsigned hash, const uint8_t binding[static TICKET_BIND_LEN],
                      int64_t now_s) {
    int64_t age_s = now_s - t->issued_s;
    return memcmp(t->binding, binding, TICKET_BIND_LEN) == 0 && t->hash == hash && age_s >= -TICKETS_CLOCK_SKEW_S &&
           age_s < TICKETS_LIFETIME_S && tickets_may_renew(t->full_s, now_s);
}
