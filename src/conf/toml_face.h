/*
 * TOML as a plain C tree with the position of every key and value: all that the loader may know of the TOML library.
 * Children of a table are in the order of the file. Bounded in bytes, depth and nodes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TOML_FILE_MAX  (32 * 1024 * 1024) /* 4,096 services with a hundred names each take 12 MiB */
#define TOML_DEPTH_MAX 64
#define TOML_NODES_MAX 1000000

enum toml_kind { TOML_STRING, TOML_INTEGER, TOML_FLOAT, TOML_BOOLEAN, TOML_TIME, TOML_ARRAY, TOML_TABLE };

/* Both count from 1; 0 = not known. */
struct toml_pos {
    uint32_t line, column;
};

struct toml_node {
    enum toml_kind kind;
    struct toml_pos at;
    struct toml_pos key_at;     /* members of a table */
    char *key;                  /* members of a table; NULL elsewhere */
    char *string;               /* TOML_STRING; UTF-8, never holds a zero byte */
    int64_t integer;            /* TOML_INTEGER; TOML_BOOLEAN: 0 or 1 */
    double number;              /* TOML_FLOAT */
    struct toml_node *children; /* TOML_ARRAY, TOML_TABLE */
    size_t nchildren;
};

/* Where a text is no TOML, and why. */
struct toml_fault {
    struct toml_pos at;
    char text[256];
};

/* The root table, or NULL with *RET_FAULT filled in. The text need not end in a zero. */
struct toml_node *toml_read(const char *text, size_t len, struct toml_fault *ret_fault);

/* NULL is fine. */
void toml_free(struct toml_node *root);

#ifdef __cplusplus
}
#endif
