#include "conf/snapshot_form.h"

#include <string.h>

#include "base/err.h"

#define LENGTH_BYTES 4

void snapshot_io_init(struct snapshot_io *io, struct codec codec, bool same_keys, struct text *why) {
    memset(io, 0, offsetof(struct snapshot_io, blocks));
    io->codec = codec;
    io->same_keys = same_keys;
    io->why = why;
    io->nblocks = 0;
}

bool snapshot_io_bad(struct snapshot_io *io) {
    return codec_bad(&io->codec, false);
}

int snapshot_io_error(struct snapshot_io *io) {
    if (io->err == 0 && snapshot_io_bad(io))
        return io->same_keys ? ERR_FORMAT : ERR_UNSUPPORTED;
    return io->err;
}

void snapshot_io_refuse_if(struct snapshot_io *io, bool is_wrong) {
    (void)codec_bad(&io->codec, io->codec.r && is_wrong); /* sticky */
}

void snapshot_io_no_memory(struct snapshot_io *io) {
    io->err = io->err ? io->err : ERR_NOMEM;
    (void)codec_bad(&io->codec, true); /* sticky */
}

static void add_path_part(struct snapshot_io *io, struct span name) {
    text_add(io->why, io->why->len ? "." : "");
    text_add_span(io->why, name);
}

/* Of a build with other keys it may well make sense to that build. Only the first one is named. */
static void not_understood(struct snapshot_io *io, struct span name) {
    (void)codec_bad(&io->codec, true);
    if (io->err || io->same_keys)
        return;
    io->err = ERR_UNSUPPORTED;
    for (size_t i = 0; i < io->depth && io->why; i++)
        if (io->entries[i].name[0])
            add_path_part(io, span_str(io->entries[i].name));
    if (io->why)
        add_path_part(io, name);
}

/* ---- values with a length ---- */

static void value_begin(struct snapshot_io *io, const char *name, struct span value) {
    MUST(io->depth < ARRAY_LEN(io->entries));
    struct entry *e = &io->entries[io->depth++];
    e->name = name;
    if (io->codec.w) {
        e->length_at = io->codec.w->len;
        wr_u32(io->codec.w, 0);
        return;
    }
    e->outer = io->codec.r;
    e->rd = rd_of(value);
    io->codec.r = &e->rd;
}

/* True: the value was read, and it was whole and fine, or it has been written. */
static bool value_end(struct snapshot_io *io) {
    struct entry *e = &io->entries[--io->depth];
    struct wr *w = io->codec.w;
    if (!w) {
        io->codec.r = e->outer;
        return rd_end(&e->rd);
    }
    if (!w->bad) {
        struct wr length = wr_of(w->p + e->length_at, LENGTH_BYTES);
        wr_u32(&length, (uint32_t)(w->len - e->length_at - LENGTH_BYTES));
    }
    return true;
}

/* ---- blocks ---- */

void block_begin(struct snapshot_io *io) {
    MUST(io->nblocks < BLOCK_DEPTH);
    struct block *b = &io->blocks[io->nblocks++];
    struct rd *r = io->codec.r;
    b->n = b->next = 0;
    while (r && !r->bad && rd_left(r) > 0) {
        struct span name = rd_vec8(r);
        uint8_t type = rd_u8(r);
        struct span value = rd_bytes(r, rd_u32(r));
        if (codec_bad(&io->codec, name.len == 0 || b->n == BLOCK_ENTRIES))
            break;
        b->list[b->n].name = name;
        b->list[b->n].value = value;
        b->list[b->n].type = type;
        b->list[b->n++].taken = false;
    }
}

/* An entry that nobody has asked for: of a name that is not known here, or there twice. */
static void judge_unknown(struct snapshot_io *io, const struct block *b, size_t at) {
    bool again = false;
    for (size_t i = 0; i < b->n; i++)
        again = again || (i != at && span_eq(b->list[i].name, b->list[at].name));
    if (again && !io->err)
        io->err = ERR_FORMAT;
    if (again || io->same_keys || b->list[at].type & ENTRY_MUST_UNDERSTAND)
        not_understood(io, b->list[at].name);
}

void block_end(struct snapshot_io *io) {
    const struct block *b = &io->blocks[--io->nblocks];
    for (size_t i = 0; i < b->n && !snapshot_io_bad(io); i++)
        if (!b->list[i].taken)
            judge_unknown(io, b, i);
}

/* Entries are read in the order in which they were written, but for those that only one of the builds knows. */
static size_t find_entry(const struct block *b, const char *name) {
    for (size_t i = 0; i < b->n; i++) {
        size_t at = (b->next + i) % b->n;
        if (span_eq(b->list[at].name, span_str(name)))
            return at;
    }
    return b->n;
}

bool entry_begin(struct snapshot_io *io, const char *name, unsigned type) {
    struct block *b = &io->blocks[io->nblocks - 1];
    if (io->codec.w) {
        wr_vec8(io->codec.w, span_str(name));
        wr_u8(io->codec.w, (uint8_t)type);
        value_begin(io, name, span_of(NULL, 0));
        return true;
    }
    if (snapshot_io_bad(io))
        return false;
    size_t at = find_entry(b, name);
    if (at == b->n) {
        if (io->same_keys || type & ENTRY_NEEDED)
            not_understood(io, span_str(name));
        return false;
    }
    b->next = at + 1;
    b->list[at].taken = true;
    if ((b->list[at].type & ~ENTRY_MUST_UNDERSTAND) != (type & 0x7f)) {
        not_understood(io, span_str(name));
        return false;
    }
    value_begin(io, name, b->list[at].value);
    return true;
}

void entry_end(struct snapshot_io *io) {
    const char *name = io->entries[io->depth - 1].name;
    if (!value_end(io))
        not_understood(io, span_str(name));
}

void item_begin(struct snapshot_io *io) {
    struct span value = {NULL, 0};
    if (io->codec.r)
        value = rd_bytes(io->codec.r, rd_u32(io->codec.r));
    value_begin(io, "", value);
    block_begin(io);
}

/* Of a block all is read at its beginning: what is left is a fault within. */
void item_end(struct snapshot_io *io) {
    block_end(io);
    snapshot_io_refuse_if(io, !value_end(io));
}
