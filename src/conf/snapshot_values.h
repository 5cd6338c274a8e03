/*
 * Values of a snapshot, each by one description for both directions: it is read into, or written from, what is given. What is
 * read is checked, and has its memory in the conf.
 */
#pragma once

#include <limits.h>
#include <stdint.h>

#include "base/addr.h"
#include "conf/snapshot_form.h"

#define SNAPSHOT_TEXT_MAX  (PATH_MAX - 1)
#define SNAPSHOT_ITEMS_MAX 1024 /* of any list that has no limit of its own in conf.h */

/* A plain variable, by its size. */
#define SNAPSHOT_VALUE(io, x) CODEC_VALUE(&(io)->codec, x)

/* A number from 0 to LAST in one byte: an enum, a bool, a set of bits. */
unsigned snapshot_choice(struct snapshot_io *io, unsigned v, unsigned last);
#define SNAPSHOT_CHOICE(io, x, last) ((x) = (__typeof__(x))snapshot_choice((io), (unsigned)(x), (last)))

/* A text of up to MAX bytes that may be NULL. */
void snapshot_text(struct snapshot_io *io, const char **s, size_t max);

/* A text of at least MIN bytes; "" when it is bad, so that it is never NULL. */
void snapshot_needed_text(struct snapshot_io *io, const char **s, size_t min, size_t max);

/* An absolute file name that may be NULL. */
void snapshot_path(struct snapshot_io *io, const char **s);

void snapshot_addr(struct snapshot_io *io, struct addr *a);

/* Begins a list of MIN to MAX items: its count, and its memory, which is new when it is read. */
size_t snapshot_count(struct snapshot_io *io, size_t n, size_t min, size_t max);
void *snapshot_room(struct snapshot_io *io, void *list, size_t n, size_t size);
#define SNAPSHOT_LIST(io, list, n, min, max)                                                                                   \
    ((n) = snapshot_count((io), (n), (min), (max)), (list) = snapshot_room((io), (list), (n), sizeof(*(list))),                \
     (n) = (list) ? (n) : 0)

void snapshot_ids(struct snapshot_io *io, uint16_t **ids, size_t *n, size_t min, size_t max);
void snapshot_texts(struct snapshot_io *io, const char ***texts, size_t *n, size_t max, size_t len_min, size_t len_max);

/* Whole entries. */
void entry_of_texts(struct snapshot_io *io, const char *name, const char ***texts, size_t *n, size_t max, size_t len_min,
                    size_t len_max);
void entry_of_path(struct snapshot_io *io, const char *name, const char **s);
