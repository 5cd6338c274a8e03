/*
 * Bytes of a snapshot, edited as another build might have written them. Written beside the code that is tested, from the
 * description of the form in docs/decisions/090.
 */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"

#define EDIT_HEAD 16
#define EDIT_MUST 0x80

struct edit {
    const char *path[3]; /* of the entry: "service", "limits.sessions"; of lists it is the first item */
    enum { EDIT_LEAVE, EDIT_DROP, EDIT_TWICE, EDIT_RENAME, EDIT_RETYPE, EDIT_VALUE, EDIT_ADD } how;
    const char *name;  /* RENAME: the new one; ADD: of an entry in front of that one */
    uint8_t type;      /* RETYPE, ADD; RENAME: added to it */
    struct span value; /* VALUE, ADD */
    bool reversed;     /* entries in the other order, in every block on the path */
    bool met;          /* the entry was there */
    uint8_t was;       /* its type */
};

struct edit_entry {
    struct span name, value;
    uint8_t type;
};

static void edit_put(struct wr *w, struct span name, uint8_t type, struct span value) {
    wr_vec8(w, name);
    wr_u8(w, type);
    wr_u32(w, (uint32_t)value.len);
    wr_span(w, value);
}

static void edit_block(struct wr *w, struct span block, struct edit *e, size_t depth);

/* A list of items, of which the first is looked into. */
static struct span edit_items(struct span value, struct edit *e, size_t depth) {
    size_t cap = value.len + 4096;
    uint8_t *room = malloc(cap), *inner = malloc(cap);
    struct rd r = rd_of(value);
    struct wr w = wr_of(room, cap), in = wr_of(inner, cap);
    MUST(room && inner);
    wr_u32(&w, rd_u32(&r));
    struct span first = rd_bytes(&r, rd_u32(&r));
    edit_block(&in, first, e, depth);
    wr_u32(&w, (uint32_t)in.len);
    wr_span(&w, wr_written(&in));
    wr_span(&w, rd_bytes(&r, rd_left(&r)));
    MUST(wr_end(&w) && wr_end(&in) && rd_end(&r));
    free(inner);
    return wr_written(&w); /* the caller frees it */
}

static void edit_entry(struct wr *w, struct edit_entry x, struct edit *e) {
    e->met = true;
    e->was = x.type;
    if (e->how == EDIT_DROP)
        return;
    if (e->how == EDIT_ADD || e->how == EDIT_TWICE)
        edit_put(w, e->how == EDIT_ADD ? span_str(e->name) : x.name, e->how == EDIT_ADD ? e->type : x.type,
                 e->how == EDIT_ADD ? e->value : x.value);
    edit_put(w, e->how == EDIT_RENAME ? span_str(e->name) : x.name,
             e->how == EDIT_RETYPE   ? e->type
             : e->how == EDIT_RENAME ? x.type | e->type
                                     : x.type,
             e->how == EDIT_VALUE ? e->value : x.value);
}

static void edit_block(struct wr *w, struct span block, struct edit *e, size_t depth) {
    static struct edit_entry lists[3][256];
    struct edit_entry *list = lists[depth];
    size_t n = 0;
    struct rd r = rd_of(block);
    while (rd_left(&r)) {
        MUST(n < 256 && !r.bad);
        list[n].name = rd_vec8(&r);
        list[n].type = rd_u8(&r);
        list[n].value = rd_bytes(&r, rd_u32(&r));
        n++;
    }
    bool last = depth == 2 || !e->path[depth + 1];
    for (size_t i = 0; i < n; i++) {
        struct edit_entry *x = &list[e->reversed ? n - 1 - i : i];
        bool here = e->path[depth] && span_eq(x->name, span_str(e->path[depth]));
        if (here && last) {
            edit_entry(w, *x, e);
        } else if (here) {
            struct span inner = edit_items(x->value, e, depth + 1);
            edit_put(w, x->name, x->type, inner);
            free((void *)(uintptr_t)inner.p);
        } else {
            edit_put(w, x->name, x->type, x->value);
        }
    }
}

/* To be freed. FOREIGN: of a build with other keys. */
static uint8_t *edit_snapshot(struct span bytes, bool foreign, struct edit *e, size_t *ret_len) {
    size_t cap = bytes.len + 8192;
    uint8_t *room = malloc(cap);
    struct wr w = wr_of(room, cap);
    MUST(room);
    wr_bytes(&w, bytes.p, EDIT_HEAD);
    edit_block(&w, span_of(bytes.p + EDIT_HEAD, bytes.len - EDIT_HEAD), e, 0);
    MUST(wr_end(&w));
    struct wr length = wr_of(room + 12, 4);
    wr_u32(&length, (uint32_t)(w.len - EDIT_HEAD));
    room[8] ^= foreign;
    *ret_len = w.len;
    return room;
}
