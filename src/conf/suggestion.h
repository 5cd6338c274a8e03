/* What a mistyped word was probably meant to be. */
#pragma once

#include <stddef.h>

#define SUGGESTION_WORD_MAX 64 /* longer words are never near */

/* Single edits (insert, remove, replace, swap of neighbours) from A to B, case ignored; SIZE_MAX for words too long. */
size_t suggestion_distance(const char *a, const char *b);

/* A running choice of the most similar of several words. Zero-initialise with WORD set. */
struct suggestion {
    const char *word;
    const char *best; /* borrowed from the caller; NULL = none seen */
    size_t distance;
};

void suggestion_offer(struct suggestion *n, const char *candidate);

/* The best one when it is near enough to be worth naming, or NULL. */
const char *suggestion_get(const struct suggestion *n);
