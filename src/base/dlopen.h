/*
 * A library loaded at run time, by the one role or command that wants it: linked, all of them would map it. Its functions are
 * found by name into a table of pointers of their own types.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/text.h"

struct dlopen_table {
    const char *name;
    void *library;
    bool ok; /* all that was looked for is there */
};

/* ERR_UNSUPPORTED with a sentence in WHY. What is loaded stays until the process ends. NAME is static text. */
MUST_CHECK int dlopen_open(const char *name, struct dlopen_table *ret, struct text *why);

/* Puts the function's address into PLACE, a pointer of SIZE bytes; else NULL there and, the first time, the reason in WHY. */
void dlopen_find(struct dlopen_table *l, const char *function, void *place, size_t size, struct text *why);
