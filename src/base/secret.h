/*
 * Memory for keys: whole pages, locked as far as the limit allows, excluded from core dumps and from forked children, wiped
 * before it goes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Overwrites in a way no compiler removes. */
void secret_wipe(void *p, size_t n);

/* Zeroed pages for N bytes; NULL when out of memory. *ret_locked (may be NULL): whether they are locked. */
void *secret_alloc(size_t n, bool *ret_locked);

/* Wipes and unmaps N bytes got from secret_alloc(). NULL is fine. */
void secret_free(void *p, size_t n);

/* Compares in constant time. */
bool secret_eq(const void *a, const void *b, size_t n);
