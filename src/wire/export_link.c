#include "wire/export_link.h"

#include <unistd.h>

#include "base/err.h"

void export_msg_close(struct export_msg *m) {
    for (unsigned i = 0; i < m->nfds; i++)
        if (m->fds[i] >= 0)
            close(m->fds[i]);
    m->nfds = 0;
}

enum step export_recv(int fd, uint8_t *scratch, struct export_msg *ret, int *ret_err) {
    struct ipc_raw raw;
    enum step step = ipc_recv_raw(fd, scratch, ret->fds, EXPORT_FDS_MAX, &raw, ret_err);
    ret->nfds = 0;
    if (step != STEP_DONE)
        return step;
    ret->nfds = raw.nfds;
    /* The space holds all that a message can carry, so the kernel cuts descriptors only for want of free ones. */
    ret->fds_lost = raw.fds_lost;
    if (ret->fds_lost)
        export_msg_close(ret);
    ret->type = raw.type;
    ret->body = raw.body;
    return STEP_DONE;
}

void export_batch_pack(struct wr *w, const struct export_batch *b) {
    wr_u8(w, b->major);
    wr_u8(w, b->minor);
    wr_u32(w, b->number);
    wr_u16(w, b->n);
}

void export_batch_unpack(struct rd *r, struct export_batch *ret) {
    ret->major = rd_u8(r);
    ret->minor = rd_u8(r);
    ret->number = rd_u32(r);
    ret->n = rd_u16(r);
    if (ret->n == 0 || ret->n > EXPORT_BATCH_MAX)
        r->bad = true;
}

void export_append(struct wr *w, const struct export_session *s, unsigned fds) {
    wr_u8(w, (uint8_t)fds);
    size_t at = w->len;
    wr_u24(w, 0);
    export_pack(w, s);
    if (w->bad)
        return;
    struct wr length = wr_of(w->p + at, 3);
    wr_u24(&length, (uint32_t)(w->len - at - 3));
}

struct span export_next(struct rd *r, unsigned *ret_fds) {
    uint8_t fds = rd_u8(r);
    if (fds < 1 || fds > 2)
        r->bad = true;
    *ret_fds = fds;
    return rd_vec24(r);
}

void export_taken_pack(struct wr *w, const struct export_taken *t) {
    wr_u32(w, t->number);
    wr_vec16(w, t->results);
}

int export_taken_unpack(const struct export_msg *m, struct export_taken *ret) {
    struct rd r = rd_of(m->body);
    struct export_taken t = {.number = rd_u32(&r)};
    t.results = rd_vec16(&r);
    if (m->type != EXPORT_TAKEN || m->nfds || !rd_end(&r) || t.results.len == 0 || t.results.len > EXPORT_BATCH_MAX)
        return ERR_FORMAT;
    for (size_t i = 0; i < t.results.len; i++)
        if (t.results.p[i] >= EXPORT_RESULTS)
            return ERR_FORMAT;
    *ret = t;
    return 0;
}

int export_bytes_unpack(const struct export_msg *m, enum export_part *ret_part, struct span *ret_bytes) {
    struct rd r = rd_of(m->body);
    uint8_t part = rd_u8(&r);
    struct span bytes = rd_bytes(&r, rd_left(&r));
    if (m->type != EXPORT_BYTES || m->nfds || r.bad || part >= EXPORT_PARTS || bytes.len == 0)
        return ERR_FORMAT;
    *ret_part = (enum export_part)part;
    *ret_bytes = bytes;
    return 0;
}
