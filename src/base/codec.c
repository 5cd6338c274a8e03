#include "base/codec.h"

bool codec_bad(struct codec *io, bool is_bad) {
    bool *sticky = io->r ? &io->r->bad : &io->w->bad;
    *sticky = *sticky || is_bad;
    return *sticky;
}

uint64_t codec_number(struct codec *io, size_t bytes, uint64_t v) {
    if (io->r)
        return rd_uint(io->r, bytes);
    wr_uint(io->w, v, bytes);
    return v;
}

size_t codec_count(struct codec *io, size_t n, size_t max) {
    n = codec_number(io, sizeof(uint32_t), n);
    return codec_bad(io, n > max || (io->r && n > rd_left(io->r))) ? 0 : n;
}

void codec_bytes(struct codec *io, void *p, size_t n) {
    if (io->r)
        rd_copy(io->r, p, n);
    else
        wr_bytes(io->w, p, n);
}
