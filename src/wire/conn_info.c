#include "wire/conn_info.h"

#include <string.h>

#include "wire/addr_pack.h"

#define VERSION_1_2 0x0303
#define VERSION_1_3 0x0304

static void pack_client(struct wr *w, const struct conn_info_client *c) {
    wr_u8(w, c->verified);
    if (!c->verified)
        return;
    wr_u8(w, c->identity_source);
    w->bad =
        w->bad || c->name.len > CONN_INFO_NAME_MAX || c->serial.len > CONN_INFO_SERIAL_MAX || c->cert.len > CONN_INFO_CERT_MAX;
    wr_vec16(w, c->name);
    wr_vec8(w, c->cn);
    wr_vec8(w, c->serial);
    wr_bytes(w, c->fingerprint, sizeof(c->fingerprint));
    wr_vec16(w, c->cert);
}

static void unpack_client(struct rd *r, struct conn_info_client *ret) {
    memset(ret, 0, sizeof(*ret));
    uint8_t verified = rd_u8(r);
    r->bad = r->bad || verified > 1;
    ret->verified = verified == 1;
    if (!ret->verified)
        return;
    ret->identity_source = rd_u8(r);
    ret->name = rd_vec16(r);
    ret->cn = rd_vec8(r);
    ret->serial = rd_vec8(r);
    rd_copy(r, ret->fingerprint, sizeof(ret->fingerprint));
    ret->cert = rd_vec16(r);
    if (ret->identity_source >= IDENTITY_COUNT || (ret->identity_source == IDENTITY_NOTHING) != (ret->name.len == 0) ||
        ret->name.len > CONN_INFO_NAME_MAX || ret->serial.len > CONN_INFO_SERIAL_MAX || ret->cert.len > CONN_INFO_CERT_MAX)
        r->bad = true;
}

void conn_info_pack(struct wr *w, const struct conn_info *f) {
    wr_bytes(w, f->unique_id, CONN_INFO_UNIQUE_ID_LEN);
    wr_u16(w, f->service);
    addr_pack(w, &f->client);
    addr_pack(w, &f->peer);
    addr_pack(w, &f->local);
    wr_u16(w, f->tls_version);
    wr_u16(w, f->suite);
    wr_u16(w, f->group);
    wr_u8(w, f->resumed);
    wr_u64(w, f->start_wall_us);
    wr_u64(w, f->start_mono_us);
    wr_u32(w, f->handshake_us);
    wr_vec8(w, f->sni);
    wr_vec8(w, f->alpn);
    w->bad = w->bad || f->ja4.len > CONN_INFO_JA4_MAX;
    wr_vec8(w, f->ja4);
    wr_u16(w, f->sig_scheme);
    wr_u8(w, f->cert_sig);
    wr_u8(w, f->cert_key);
    wr_u16(w, f->cert_key_bits);
    pack_client(w, &f->id);
    wr_u8(w, f->matched_name);
    wr_vec8(w, f->cert_file);
    wr_u8(w, f->made_by);
}

/* What there was from the first version on. */
static void unpack_first(struct rd *r, struct conn_info *ret) {
    memset(ret, 0, sizeof(*ret));
    rd_copy(r, ret->unique_id, CONN_INFO_UNIQUE_ID_LEN);
    ret->service = rd_u16(r);
    addr_unpack(r, &ret->client);
    addr_unpack(r, &ret->peer);
    addr_unpack(r, &ret->local);
    ret->tls_version = rd_u16(r);
    ret->suite = rd_u16(r);
    ret->group = rd_u16(r);
    uint8_t resumed = rd_u8(r);
    ret->resumed = resumed == 1;
    ret->start_wall_us = rd_u64(r);
    ret->start_mono_us = rd_u64(r);
    ret->handshake_us = rd_u32(r);
    ret->sni = rd_vec8(r);
    ret->alpn = rd_vec8(r);
    ret->ja4 = rd_vec8(r);
    bool known = ret->tls_version == 0 || ret->tls_version == VERSION_1_2 || ret->tls_version == VERSION_1_3;
    r->bad = r->bad || !known || resumed > 1 || ret->ja4.len > CONN_INFO_JA4_MAX;
}

static void unpack_ends(struct rd *r, struct conn_info *ret) {
    ret->sig_scheme = rd_u16(r);
    ret->cert_sig = rd_u8(r);
    ret->cert_key = rd_u8(r);
    ret->cert_key_bits = rd_u16(r);
    unpack_client(r, &ret->id);
}

static void unpack_served(struct rd *r, struct conn_info *ret) {
    ret->matched_name = rd_u8(r);
    ret->cert_file = rd_vec8(r);
    r->bad = r->bad || ret->matched_name >= SERVED_COUNT;
}

static bool has_more(const struct rd *r) {
    return !r->bad && rd_left(r) > 0;
}

void conn_info_unpack(struct rd *r, struct conn_info *ret) {
    unpack_first(r, ret);
    if (has_more(r))
        unpack_ends(r, ret);
    if (has_more(r))
        unpack_served(r, ret);
    uint8_t maker = has_more(r) ? rd_u8(r) : MADE_BY_UNKNOWN;
    ret->made_by = maker < MADE_BY_COUNT ? maker : MADE_BY_UNKNOWN; /* a later build may know more */
}

const char *handshake_maker_text(unsigned maker) {
    static const char *const texts[MADE_BY_COUNT] = {
        [MADE_BY_UNKNOWN] = "", [MADE_BY_LIBSSL] = "libssl", [MADE_BY_OWN] = "own"};
    return maker < MADE_BY_COUNT ? texts[maker] : "";
}

struct span conn_info_served_name(enum matched_name as, struct span sni, char to[static MATCHED_NAME_MAX]) {
    const uint8_t *dot = sni.len ? memchr(sni.p, '.', sni.len) : NULL;
    switch (as) {
    case SERVED_EXACT:
        return sni;
    case SERVED_WILDCARD:
        if (!dot || sni.len > 255)
            break;
        size_t len = (size_t)(sni.p + sni.len - dot);
        to[0] = '*';
        memcpy(to + 1, dot, len);
        return span_of(to, len + 1);
    case SERVED_NO_NAME:
        return span_of("", 0);
    default:
        break;
    }
    return span_str("other");
}
