/*
 * The table of all keys: one row a key, with its path, type, reader and target. What is not in the table is an unknown key.
 */
#pragma once

#include "conf/loader.h"
#include "conf/values.h"

struct key_row;

/* One value being read. */
struct reading {
    struct load *l;
    const struct key_row *row;
    const char *key;              /* for diagnostics */
    struct conf_service *service; /* NULL outside services */
    struct service_origin *origin;
    void *base; /* the conf, the service or the listener */
};

/* Reads NODE, whose kind is right, into where the row says, or adds diagnostics. */
typedef void (*key_read_fn)(struct reading *r, const struct toml_node *node);

struct key_type {
    enum toml_kind kind, or_kind; /* what may be in the file; mostly the same */
    bool is_text;                 /* stored as a const char *, else as a number of any size */
    key_read_fn read;
    bool (*fits)(const struct key_row *row, uint64_t v); /* of a number; NULL = by its bounds */
};

/* See key_table.h. */
struct key_row {
    const char *path;
    const struct key_type *type;
    size_t offset, size; /* of the value in its struct; 0 = not stored by the table */
    const struct word *words;
    uint64_t number, min, max;
    const char *text;
    bool must_understand;
};

extern const struct key_row key_rows[KEY_COUNT];

/* What a row's path begins with: "service.*", "listener.*", or "" for keys outside of both. */
const char *key_scope(const struct key_row *row);

/* "found ..., expected ...": the fault of one value. */
void reading_refuse(struct reading *r, const struct toml_node *node, const char *expected_fmt, ...) PRINTF_LIKE(3, 4);

/* Adds the fault of a key that no row has. NAMES: what would have been right there, ended by NULL. */
void reading_unknown_key(struct load *l, const struct toml_node *node, const char *section, const char *const *names);

/* Every key of the file, one by one. False when the text is no TOML. */
bool load_schema(struct load *l, const char *text, size_t len);
