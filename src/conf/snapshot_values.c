#include "conf/snapshot_values.h"

#include <string.h>

#include "conf/conf.h"

unsigned snapshot_choice(struct snapshot_io *io, unsigned v, unsigned last) {
    v = (unsigned)codec_number(&io->codec, 1, v);
    snapshot_io_refuse_if(io, v > last);
    return snapshot_io_bad(io) ? 0 : v;
}

void snapshot_text(struct snapshot_io *io, const char **s, size_t max) {
    bool there = *s != NULL;
    SNAPSHOT_CHOICE(io, there, 1);
    if (io->codec.w) {
        if (there)
            wr_vec16(io->codec.w, span_str(*s));
        return;
    }
    struct span in = there ? rd_vec16(io->codec.r) : span_of(NULL, 0);
    snapshot_io_refuse_if(io, in.len > max || (in.len && memchr(in.p, 0, in.len)));
    *s = NULL;
    if (!there || snapshot_io_bad(io))
        return;
    char *copy = snapshot_room(io, NULL, in.len + 1, 1);
    if (!copy)
        return;
    if (in.len)
        memcpy(copy, in.p, in.len);
    *s = copy;
}

void snapshot_needed_text(struct snapshot_io *io, const char **s, size_t min, size_t max) {
    snapshot_text(io, s, max);
    snapshot_io_refuse_if(io, !*s || strlen(*s) < min);
    *s = *s ? *s : "";
}

void snapshot_path(struct snapshot_io *io, const char **s) {
    snapshot_text(io, s, SNAPSHOT_TEXT_MAX);
    snapshot_io_refuse_if(io, *s && (*s)[0] != '/');
}

void *snapshot_room(struct snapshot_io *io, void *list, size_t n, size_t size) {
    if (io->codec.w)
        return list;
    void *room = conf_try_alloc(io->conf, n * size);
    if (!room)
        snapshot_io_no_memory(io);
    return room;
}

size_t snapshot_count(struct snapshot_io *io, size_t n, size_t min, size_t max) {
    n = codec_count(&io->codec, n, io->codec.r ? max : SIZE_MAX);
    snapshot_io_refuse_if(io, n < min);
    return snapshot_io_bad(io) ? 0 : n;
}

void snapshot_addr(struct snapshot_io *io, struct addr *a) {
    SNAPSHOT_VALUE(io, a->family);
    SNAPSHOT_VALUE(io, a->port);
    codec_bytes(&io->codec, a->ip, sizeof(a->ip));
    SNAPSHOT_VALUE(io, a->scope);
    snapshot_io_refuse_if(io, !addr_is_ip(a) || (a->scope && !addr_is_link_local(a)));
    for (size_t i = 4; i < sizeof(a->ip) && a->family == AF_INET; i++)
        snapshot_io_refuse_if(io, a->ip[i] != 0);
}

void snapshot_ids(struct snapshot_io *io, uint16_t **ids, size_t *n, size_t min, size_t max) {
    SNAPSHOT_LIST(io, *ids, *n, min, max);
    for (size_t i = 0; i < *n; i++)
        SNAPSHOT_VALUE(io, (*ids)[i]);
}

void snapshot_texts(struct snapshot_io *io, const char ***texts, size_t *n, size_t max, size_t len_min, size_t len_max) {
    SNAPSHOT_LIST(io, *texts, *n, 0, max);
    for (size_t i = 0; i < *n && !snapshot_io_bad(io); i++)
        snapshot_needed_text(io, &(*texts)[i], len_min, len_max);
}

void entry_of_texts(struct snapshot_io *io, const char *name, const char ***texts, size_t *n, size_t max, size_t len_min,
                    size_t len_max) {
    if (!entry_begin(io, name, ENTRY_OTHER))
        return;
    snapshot_texts(io, texts, n, max, len_min, len_max);
    entry_end(io);
}

void entry_of_path(struct snapshot_io *io, const char *name, const char **s) {
    if (!entry_begin(io, name, ENTRY_OTHER))
        return;
    snapshot_path(io, s);
    entry_end(io);
}
