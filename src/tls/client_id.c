#include "tls/client_id.h"

#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define CLIENT_ID_FORMAT 1 /* tickets outlive a version of ours by an hour */

size_t client_id_pack(const struct client_id *id, uint8_t to[static CLIENT_ID_PACKED]) {
    struct wr w = wr_of(to, CLIENT_ID_PACKED);
    wr_u8(&w, CLIENT_ID_FORMAT);
    wr_u8(&w, id->verified);
    if (id->verified) {
        wr_u64(&w, (uint64_t)id->verified_s);
        wr_u64(&w, (uint64_t)id->expires_s);
        wr_u8(&w, id->identity_source);
        wr_bytes(&w, id->fingerprint, sizeof(id->fingerprint));
        wr_vec16(&w, span_of(id->name, id->name_len));
        wr_vec8(&w, span_of(id->cn, id->cn_len));
        wr_vec8(&w, span_of(id->serial, id->serial_len));
    }
    MUST(wr_end(&w));
    return w.len;
}

/* Bytes of a vector into TO, as far as it may have them. */
static size_t read_bytes(struct rd *r, struct span s, uint8_t *to, size_t max) {
    if (s.len > max) {
        r->bad = true;
        return 0;
    }
    if (s.len)
        memcpy(to, s.p, s.len);
    return s.len;
}

int client_id_unpack(struct span packed, struct client_id *ret) {
    struct rd r = rd_of(packed);
    struct client_id id = {0};
    uint8_t format = rd_u8(&r), verified = rd_u8(&r);
    if (format != CLIENT_ID_FORMAT || verified > 1)
        return ERR_FORMAT;
    id.verified = verified == 1;
    if (id.verified) {
        id.verified_s = (int64_t)rd_u64(&r);
        id.expires_s = (int64_t)rd_u64(&r);
        id.identity_source = rd_u8(&r);
        rd_copy(&r, id.fingerprint, sizeof(id.fingerprint));
        id.name_len = (uint16_t)read_bytes(&r, rd_vec16(&r), id.name, sizeof(id.name));
        id.cn_len = (uint8_t)read_bytes(&r, rd_vec8(&r), id.cn, sizeof(id.cn));
        id.serial_len = (uint8_t)read_bytes(&r, rd_vec8(&r), id.serial, sizeof(id.serial));
        if (id.identity_source >= IDENTITY_COUNT || (id.identity_source == IDENTITY_NOTHING) != (id.name_len == 0))
            return ERR_FORMAT;
    }
    if (!rd_end(&r))
        return ERR_FORMAT;
    *ret = id;
    return 0;
}
