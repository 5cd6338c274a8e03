#include "conf/suggestion.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"

static int lower_char(char c) {
    return tolower((unsigned char)c);
}

/* Optimal string alignment, three rows of the matrix at a time. */
size_t suggestion_distance(const char *a, const char *b) {
    size_t na = strnlen(a, SUGGESTION_WORD_MAX + 1), nb = strnlen(b, SUGGESTION_WORD_MAX + 1);
    size_t rows[3][SUGGESTION_WORD_MAX + 1];
    if (na > SUGGESTION_WORD_MAX || nb > SUGGESTION_WORD_MAX)
        return SIZE_MAX;
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        above[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t differs = lower_char(a[i - 1]) != lower_char(b[j - 1]);
            size_t d = MIN(MIN(above[j] + 1, row[j - 1] + 1), above[j - 1] + differs);
            if (i > 1 && j > 1 && lower_char(a[i - 1]) == lower_char(b[j - 2]) && lower_char(a[i - 2]) == lower_char(b[j - 1]))
                d = MIN(d, before[j - 2] + 1);
            row[j] = d;
        }
        size_t *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[nb];
}

void suggestion_offer(struct suggestion *n, const char *candidate) {
    size_t d = suggestion_distance(n->word, candidate);
    if (d == SIZE_MAX || (n->best && d >= n->distance))
        return;
    n->best = candidate;
    n->distance = d;
}

const char *suggestion_get(const struct suggestion *n) {
    size_t len = strnlen(n->word, SUGGESTION_WORD_MAX);
    return n->best && n->distance <= MAX(1, len / 3 + 1) ? n->best : NULL;
}
