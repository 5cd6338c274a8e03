#include "wire/export.h"

#include <string.h>

#include "base/err.h"
#include "wire/event.h"

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

static void pack_progress(struct wr *w, const struct export_session *s) {
    wr_u8(w, s->state);
    wr_u8(w, s->client_end);
    wr_u8(w, s->backend_end);
    wr_vec8(w, s->reason);
    pack_flow(w, &s->up);
    pack_flow(w, &s->down);
}

static void pack_times(struct wr *w, const struct export_session *s) {
    wr_u64(w, s->deadline_ms);
    wr_u64(w, s->timer_ms);
    wr_u64(w, s->idle_ms);
    wr_u32(w, s->down_idle_ms);
    wr_u64(w, s->connecting_us);
    wr_u32(w, s->connect_us);
    wr_u16(w, s->retries);
}

void export_pack(struct wr *w, const struct export_session *s) {
    bool relayed = !(s->flags & EXPORT_HANDOFF);
    wr_u32(w, s->flags);
    if (relayed)
        pack_progress(w, s);
    pack_bytes(w, &s->partial);
    if (relayed) {
        pack_times(w, s);
        pack_backend(w, s);
    }
    wr_vec16(w, s->packed_info);
    wr_vec16(w, s->record_layer);
    wr_u8(w, s->greeting);
    if (relayed)
        wr_u32(w, s->first_byte_us);
}

/* ---- reading ---- */

static void refuse_if(struct rd *r, bool wrong) {
    r->bad = r->bad || wrong;
}

/* A part or the whole has been read: what is left over is of a newer minor, or wrong. */
static void end_of(struct rd *r, bool newer) {
    if (!newer)
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

static void unpack_progress(struct rd *r, struct export_session *ret) {
    ret->state = rd_u8(r);
    ret->client_end = rd_u8(r);
    ret->backend_end = rd_u8(r);
    refuse_if(r, ret->state >= EXPORT_STATES || ret->client_end >= END_COUNT || ret->backend_end >= END_COUNT);
    ret->reason = rd_vec8(r);
    unpack_flow(r, &ret->up);
    unpack_flow(r, &ret->down);
}

static void unpack_times(struct rd *r, struct export_session *ret) {
    ret->deadline_ms = unpack_time(r);
    ret->timer_ms = unpack_time(r);
    ret->idle_ms = unpack_span_of_time(r);
    ret->down_idle_ms = rd_u32(r);
    ret->connecting_us = unpack_span_of_time(r);
    ret->connect_us = rd_u32(r);
    ret->retries = rd_u16(r);
}

/* Leaves it in the form that this build packs: with what an older one lacks, without what a later one has behind. */
static void unpack_conn_info(struct rd *r, struct export_session *ret) {
    static uint8_t again[CONN_INFO_PACKED_MAX];
    struct rd conn_info = rd_of(rd_vec16(r));
    struct wr w = wr_of(again, sizeof(again));
    conn_info_unpack(&conn_info, &ret->conn_info);
    refuse_if(r, conn_info.bad);
    if (r->bad)
        return;
    conn_info_pack(&w, &ret->conn_info);
    refuse_if(r, !wr_end(&w));
    ret->packed_info = wr_written(&w);
}

int export_unpack(struct span blob, uint8_t major, uint8_t minor, struct export_session *ret) {
    struct rd r = rd_of(blob);
    if (major != EXPORT_MAJOR)
        return ERR_UNSUPPORTED;
    memset(ret, 0, sizeof(*ret));
    ret->minor = minor;
    ret->newer = minor > EXPORT_MINOR;
    ret->flags = rd_u32(&r);
    refuse_if(&r, (ret->flags & ~(uint32_t)EXPORT_FLAGS_KNOWN) && !ret->newer);
    ret->flags &= EXPORT_FLAGS_KNOWN;
    bool handoff = ret->flags & EXPORT_HANDOFF, tls = ret->flags & EXPORT_TLS;
    refuse_if(&r, handoff && ret->flags & ~(uint32_t)(EXPORT_HANDOFF | EXPORT_TLS | EXPORT_READ_AHEAD));
    if (!handoff)
        unpack_progress(&r, ret);
    unpack_bytes(&r, &ret->partial);
    if (!handoff) {
        unpack_times(&r, ret);
        unpack_backend(&r, ret);
    }
    unpack_conn_info(&r, ret);
    ret->record_layer = rd_vec16(&r);
    ret->greeting = minor >= 5 ? rd_u8(&r) : GREETING_NONE;
    refuse_if(&r, ret->greeting >= GREETINGS || (ret->greeting && !tls));
    refuse_if(&r, !handoff && (ret->greeting != GREETING_NONE) != (ret->state == EXPORT_STATE_PREFACE));
    ret->first_byte_us = !handoff && minor >= 8 ? rd_u32(&r) : 0;
    refuse_if(&r, ret->first_byte_us && ret->down.bytes == 0);
    refuse_if(&r, tls != (ret->record_layer.len > 0) || tls != (ret->conn_info.tls_version != 0));
    end_of(&r, ret->newer);
    return r.bad ? ERR_FORMAT : 0;
}
