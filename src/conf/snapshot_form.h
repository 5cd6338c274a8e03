/*
 * The form of a snapshot, for both directions. Everything in it goes by name, so that a build with other keys can read it:
 *
 *   block   entries, up to the end of what the block is in
 *   entry   name, type and flag, length, value
 *   item    of a list of blocks: length, block
 *
 * An entry that the reader does not know is passed over, unless its writer says that it must be understood; one that is missing
 * leaves what was there before. Between builds with the same keys neither can be: then it is a fault. docs/decisions/090.
 */
#pragma once

#include "base/codec.h"
#include "base/span.h"
#include "base/text.h"

#define BLOCK_DEPTH   3   /* the conf, a service, a backend */
#define BLOCK_ENTRIES 256 /* of one block */
#define ENTRY_DEPTH   4

enum entry_type { ENTRY_NUMBER = 1, ENTRY_TEXT, ENTRY_OTHER };

/* With the type, of an entry that is written. */
#define ENTRY_MUST_UNDERSTAND 0x80u

/* With the type, of an entry that is read: without it the snapshot makes no sense. Not written. */
#define ENTRY_NEEDED 0x100u

struct conf;

/* The entries of a block that is read. */
struct block {
    struct {
        struct span name, value;
        uint8_t type; /* with its flag */
        bool taken;
    } list[BLOCK_ENTRIES];
    size_t n;
    size_t next; /* likely the one asked for */
};

/* What is between begin and end: cursors, and what is to be put back. */
struct entry {
    const char *name; /* "" of an item */
    size_t length_at; /* written */
    struct rd rd;     /* read; the outer one waits in */
    struct rd *outer;
};

struct snapshot_io {
    struct codec codec;
    struct conf *conf; /* what is written; or read into, with memory for texts and lists */
    bool same_keys;    /* read: the writer's are ours */
    int err;           /* what was wrong first, when it is more than ERR_FORMAT of a cursor */
    struct text *why;
    struct entry entries[ENTRY_DEPTH + BLOCK_DEPTH];
    size_t depth;
    struct block blocks[BLOCK_DEPTH]; /* last, and large: nothing sets it to zero */
    size_t nblocks;
};

/* One cursor of CODEC is set. WHY may be NULL; it gets the name of what is not understood. */
void snapshot_io_init(struct snapshot_io *io, struct codec codec, bool same_keys, struct text *why);

/* 0, ERR_FORMAT, or ERR_UNSUPPORTED: not for this build. */
MUST_CHECK int snapshot_io_error(struct snapshot_io *io);

/* Whether the cursor is bad; then there is nothing more to be read. */
bool snapshot_io_bad(struct snapshot_io *io);

/* What was read makes no sense. No effect on what is written. */
void snapshot_io_refuse_if(struct snapshot_io *io, bool is_wrong);

/* There is no memory for what is read. */
void snapshot_io_no_memory(struct snapshot_io *io);

/*
 * The entry NAME of the block, TYPE with its flags: true when its value is now written or read, which entry_end() ends. False:
 * it is missing, and entry_end() is not called.
 */
bool entry_begin(struct snapshot_io *io, const char *name, unsigned type);
void entry_end(struct snapshot_io *io);

/* A block: all that there is (after the head), or the value of an item. */
void block_begin(struct snapshot_io *io);
void block_end(struct snapshot_io *io);

/* An item of a list of blocks, and its block. */
void item_begin(struct snapshot_io *io);
void item_end(struct snapshot_io *io);
