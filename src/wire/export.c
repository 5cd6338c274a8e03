#include "wire/export.h"

#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "wire/event.h"

#define SECRET_MAX 48
#define KEY_MAX    32
#define POST_MAX   4

/* Bits of the record layer's flags. */
enum {
    RECORD_LAYER_KEY_UPDATE_OWED = 1,
    RECORD_LAYER_NO_RENEGOTIATION_OWED = 2,
    RECORD_LAYER_CLOSE_SEEN = 4,
    RECORD_LAYER_CLOSE_SENT = 8,
    RECORD_LAYER_KNOWN = 15
};

/* ---- writing ---- */

static void pack_u24(struct wr *w, size_t n) {
    w->bad = w->bad || n > 0xffffff;
    wr_u24(w, (uint32_t)n);
}

static void pack_bytes(struct wr *w, const struct export_bytes *b) {
    wr_u32(w, b->ahead);
    pack_u24(w, b->here.len);
    wr_span(w, b->here);
}

static void pack_flow(struct wr *w, const struct export_flow *f) {
    wr_u64(w, f->bytes);
    wr_u8(w, f->state);
    wr_u8(w, f->chunk_shift);
    pack_bytes(w, &f->wait);
}

/* A length of 16 bits in front of what is packed next: its place, to be given to end_part(). */
static size_t begin_part(struct wr *w) {
    size_t at = w->len;
    wr_u16(w, 0);
    return at;
}

static void end_part(struct wr *w, size_t at) {
    size_t n = w->bad ? 0 : w->len - at - 2;
    w->bad = w->bad || n > 0xffff;
    if (w->bad)
        return;
    w->p[at] = (uint8_t)(n >> 8);
    w->p[at + 1] = (uint8_t)n;
}

static void export_pack_keys(struct wr *w, const struct handoff_keys *h) {
    wr_u64(w, h->seq);
    wr_u64(w, h->explicit_nonce);
    wr_vec8(w, span_of(h->secret, sizeof(h->secret)));
    wr_vec8(w, span_of(h->key, sizeof(h->key)));
    wr_bytes(w, h->iv, sizeof(h->iv));
}

static void pack_record_layer(struct wr *w, const struct export_record_layer *p) {
    unsigned flags = (p->key_update_owed ? RECORD_LAYER_KEY_UPDATE_OWED : 0) | (p->close_seen ? RECORD_LAYER_CLOSE_SEEN : 0) |
                     (p->no_renegotiation_owed ? RECORD_LAYER_NO_RENEGOTIATION_OWED : 0) |
                     (p->close_sent ? RECORD_LAYER_CLOSE_SENT : 0);
    wr_u16(w, p->suite);
    wr_u16(w, p->out_max);
    wr_vec8(w, span_of(p->post, p->post_len));
    wr_u8(w, 0);
    wr_u8(w, (uint8_t)MIN(MAX(p->idle_records, 0), UINT8_MAX)); /* all that minors before 3 know of it */
    wr_u8(w, p->renegotiations);
    wr_u8(w, p->alert_seen);
    wr_u8(w, (uint8_t)flags);
    wr_u32(w, p->key_updates_in);
    wr_u32(w, p->key_updates_out);
    export_pack_keys(w, &p->in);
    export_pack_keys(w, &p->out);
    wr_u16(w, (uint16_t)p->idle_records);
}

static void pack_backend(struct wr *w, const struct export_session *s) {
    wr_vec8(w, s->service);
    wr_u64(w, s->idle_timeout_ms);
    wr_u64(w, s->linger_timeout_ms);
    wr_u64(w, s->connect_timeout_ms);
    wr_u8(w, s->truncation);
    wr_u8(w, s->backend_kind);
    wr_vec16(w, s->backend);
    wr_vec16(w, s->backend_path);
    wr_u8(w, s->ntried);
    for (size_t i = 0; i < s->ntried; i++)
        wr_vec16(w, s->tried[i]);
}

void export_pack(struct wr *w, const struct export_session *s) {
    wr_u32(w, s->flags);
    wr_u8(w, s->state);
    wr_u8(w, s->client_end);
    wr_u8(w, s->backend_end);
    wr_vec8(w, s->reason);
    pack_flow(w, &s->up);
    pack_flow(w, &s->down);
    pack_bytes(w, &s->partial);
    wr_u64(w, s->deadline_ms);
    wr_u64(w, s->timer_ms);
    wr_u64(w, s->idle_ms);
    wr_u32(w, s->down_idle_ms);
    wr_u64(w, s->connecting_us);
    wr_u32(w, s->connect_us);
    wr_u16(w, s->retries);
    pack_backend(w, s);
    size_t conn_info = begin_part(w);
    conn_info_pack(w, &s->conn_info);
    end_part(w, conn_info);
    size_t record_layer = begin_part(w);
    if (s->flags & EXPORT_TLS)
        pack_record_layer(w, &s->record_layer);
    end_part(w, record_layer);
}

/* ---- reading ---- */

static void refuse_if(struct rd *r, bool wrong) {
    r->bad = r->bad || wrong;
}

/* A part or the whole has been read: what is left over is of a later minor, or wrong. */
static void end_of(struct rd *r, bool later) {
    if (!later)
        refuse_if(r, rd_left(r) > 0);
}

static uint64_t unpack_time(struct rd *r) {
    uint64_t t = rd_u64(r);
    refuse_if(r, t > EXPORT_TIME_MAX && t != EXPORT_NEVER);
    return t;
}

/* One that is never "none". */
static uint64_t unpack_span_of_time(struct rd *r) {
    uint64_t t = rd_u64(r);
    refuse_if(r, t > EXPORT_TIME_MAX);
    return t;
}

static void unpack_bytes(struct rd *r, struct export_bytes *ret) {
    ret->ahead = rd_u32(r);
    ret->here = rd_vec24(r);
    refuse_if(r, ret->ahead > EXPORT_WAIT_MAX || ret->here.len > EXPORT_WAIT_MAX);
}

static void unpack_flow(struct rd *r, struct export_flow *ret) {
    ret->bytes = rd_u64(r);
    ret->state = rd_u8(r);
    ret->chunk_shift = rd_u8(r);
    unpack_bytes(r, &ret->wait);
    refuse_if(r, ret->state >= EXPORT_FLOW_STATES);
}

/* Exactly as long as the place it goes to. */
static void unpack_key(struct rd *r, uint8_t *to, size_t n) {
    struct span s = rd_vec8(r);
    refuse_if(r, s.len != n);
    if (!r->bad)
        memcpy(to, s.p, n);
}

static void export_unpack_keys(struct rd *r, struct handoff_keys *ret) {
    ret->seq = rd_u64(r);
    ret->explicit_nonce = rd_u64(r);
    unpack_key(r, ret->secret, sizeof(ret->secret));
    unpack_key(r, ret->key, sizeof(ret->key));
    rd_copy(r, ret->iv, sizeof(ret->iv));
}

static void unpack_record_layer(struct rd *r, uint8_t minor, struct export_record_layer *ret) {
    bool later = minor > EXPORT_MINOR;
    ret->suite = rd_u16(r);
    ret->out_max = rd_u16(r);
    struct span post = rd_vec8(r);
    refuse_if(r, post.len > sizeof(ret->post));
    if (!r->bad && post.len)
        memcpy(ret->post, post.p, post.len);
    ret->post_len = (uint8_t)post.len;
    uint8_t empty_records = rd_u8(r), key_updates = rd_u8(r);
    ret->idle_records = MAX(empty_records, key_updates); /* in minors before 3 two counters, and nothing saved up */
    ret->renegotiations = rd_u8(r);
    ret->alert_seen = rd_u8(r);
    uint8_t flags = rd_u8(r);
    ret->key_update_owed = flags & RECORD_LAYER_KEY_UPDATE_OWED;
    ret->no_renegotiation_owed = flags & RECORD_LAYER_NO_RENEGOTIATION_OWED;
    ret->close_seen = flags & RECORD_LAYER_CLOSE_SEEN;
    ret->close_sent = flags & RECORD_LAYER_CLOSE_SENT;
    refuse_if(r, flags > RECORD_LAYER_KNOWN && !later);
    ret->key_updates_in = rd_u32(r);
    ret->key_updates_out = rd_u32(r);
    export_unpack_keys(r, &ret->in);
    export_unpack_keys(r, &ret->out);
    if (minor >= 3)
        ret->idle_records = (int16_t)rd_u16(r);
    end_of(r, later);
}

static struct span unpack_text(struct rd *r) {
    struct span s = rd_vec16(r);
    refuse_if(r, s.len > EXPORT_TEXT_MAX || (s.len && memchr(s.p, 0, s.len)));
    return s;
}

static void unpack_backend(struct rd *r, struct export_session *ret) {
    ret->service = rd_vec8(r);
    refuse_if(r, ret->service.len == 0 || (ret->service.p && memchr(ret->service.p, 0, ret->service.len)));
    ret->idle_timeout_ms = unpack_time(r);
    ret->linger_timeout_ms = unpack_time(r);
    ret->connect_timeout_ms = unpack_time(r);
    ret->truncation = rd_u8(r);
    ret->backend_kind = rd_u8(r);
    ret->backend = unpack_text(r);
    ret->backend_path = unpack_text(r);
    refuse_if(r, ret->truncation > EXPORT_TRUNCATION_MAX || ret->backend_kind > EXPORT_BACKEND_MAX);
    refuse_if(r, (ret->backend_kind == 0) != (ret->backend.len == 0));
    ret->ntried = rd_u8(r);
    refuse_if(r, ret->ntried > EXPORT_TRIED_MAX);
    for (size_t i = 0; i < ret->ntried && !r->bad; i++)
        ret->tried[i] = unpack_text(r);
}

/* What connection info of an older minor lacks, all of it "not known" as zeros: since 0 sig_scheme, cert_sig, cert_key,
 * cert_key_bits, no verified client; since 1 matched_name, cert_file. */
static const uint8_t conn_info_grew[EXPORT_MINOR] = {9, 2, 0};

static void unpack_conn_info(struct rd *r, uint8_t minor, struct conn_info *ret) {
    static uint8_t older[CONN_INFO_LEAN_MAX];
    struct span packed = rd_vec16(r);
    struct rd conn_info = rd_of(packed);
    if (minor < EXPORT_MINOR) {
        size_t grew = conn_info_grew[minor];
        if (r->bad || packed.len > sizeof(older) - grew) {
            r->bad = true;
            return;
        }
        memset(older, 0, sizeof(older));
        memcpy(older, packed.p, packed.len);
        conn_info = rd_of(span_of(older, packed.len + grew));
    }
    conn_info_unpack(&conn_info, ret);
    end_of(&conn_info, minor > EXPORT_MINOR);
    refuse_if(r, conn_info.bad);
}

/* Connection info and record layer: parts with a length of their own, so that either can grow. */
static void unpack_parts(struct rd *r, uint8_t minor, struct export_session *ret) {
    unpack_conn_info(r, minor, &ret->conn_info);
    struct rd record_layer = rd_of(rd_vec16(r));
    if (ret->flags & EXPORT_TLS)
        unpack_record_layer(&record_layer, minor, &ret->record_layer);
    else
        refuse_if(&record_layer, rd_left(&record_layer) > 0);
    refuse_if(r, record_layer.bad || (ret->conn_info.tls_version != 0) != ((ret->flags & EXPORT_TLS) != 0));
}

int export_unpack(struct span blob, uint8_t major, uint8_t minor, struct export_session *ret) {
    bool later = minor > EXPORT_MINOR;
    struct rd r = rd_of(blob);
    memset(ret, 0, sizeof(*ret));
    if (major != EXPORT_MAJOR)
        return ERR_UNSUPPORTED;
    ret->flags = rd_u32(&r);
    refuse_if(&r, (ret->flags & ~(uint32_t)EXPORT_FLAGS_KNOWN) && !later);
    ret->flags &= EXPORT_FLAGS_KNOWN;
    ret->state = rd_u8(&r);
    ret->client_end = rd_u8(&r);
    ret->backend_end = rd_u8(&r);
    refuse_if(&r, ret->state >= EXPORT_STATES || ret->client_end >= END_COUNT || ret->backend_end >= END_COUNT);
    ret->reason = rd_vec8(&r);
    unpack_flow(&r, &ret->up);
    unpack_flow(&r, &ret->down);
    unpack_bytes(&r, &ret->partial);
    ret->deadline_ms = unpack_time(&r);
    ret->timer_ms = unpack_time(&r);
    ret->idle_ms = unpack_span_of_time(&r);
    ret->down_idle_ms = rd_u32(&r);
    ret->connecting_us = unpack_span_of_time(&r);
    ret->connect_us = rd_u32(&r);
    ret->retries = rd_u16(&r);
    unpack_backend(&r, ret);
    unpack_parts(&r, minor, ret);
    end_of(&r, later);
    if (!r.bad)
        return 0;
    secret_wipe(&ret->record_layer, sizeof(ret->record_layer));
    return ERR_FORMAT;
}
