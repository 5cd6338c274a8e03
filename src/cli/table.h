/* Tables for people: columns as wide as they must be, within the terminal's width, and numbers that can be read. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/defs.h"
#include "base/text.h"

#define TABLE_COLUMNS 12
#define TABLE_CELL    280 /* the longest host name with its port, an address of a Unix socket */
#define HUMAN_MAX     16

struct table {
    size_t columns, rows, cap;
    int elastic;    /* the column that shrinks when the width is not enough */
    unsigned right; /* bits of columns that hold numbers */
    char (*cells)[TABLE_CELL];
};

/* HEAD: names separated by '|'; one that begins with '>' is a number, with '~' the elastic one. */
void table_begin(struct table *t, const char *head);

/* The cells of one row, separated by '\t'; extra ones are dropped. */
void table_row(struct table *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Prints within WIDTH and empties the table. A table without rows prints nothing. */
void table_end(struct table *t, FILE *to, size_t width);

/* Columns a text takes; bytes of what fits into N columns. */
size_t table_columns(const char *s);
size_t table_clip(const char *s, size_t n);

/*
 * Adds S in WIDTH columns. When it does not fit, a '~' replaces the middle: addresses and names differ at their ends, mostly at
 * the last one.
 */
void table_shorten(struct text *to, const char *s, size_t width);

/* Columns of the terminal that stdout is; no bound (SIZE_MAX) when it is none, so that nothing is cut for grep. */
size_t table_width(void);

/* "1.23 M", "999"; bytes "1.23 MB"; seconds "3d 4h", "12.3 s", "1.2 ms". TO is returned. */
const char *human_count(double v, char to[static HUMAN_MAX]);
const char *human_bytes(double v, char to[static HUMAN_MAX]);
const char *human_seconds(double v, char to[static HUMAN_MAX]);
