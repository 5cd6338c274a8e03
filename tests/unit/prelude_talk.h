/* A conversation before TLS, for the tests of the machines: bytes in at any cut, the answers and the last verdict out. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "prelude/prelude.h"

struct talk {
    struct prelude p;
    char answers[8192]; /* all of them, ended by a zero */
    size_t answered;
    size_t taken;
    int verdict; /* the last one */
};

/*
 * Feeds SAID, STEP bytes more each time, as a connection does: what is not taken comes again. From memory that ends where the
 * bytes end, so that the sanitizer reports a read past it.
 */
static inline void talk_in_pieces(struct talk *t, enum starttls protocol, struct span said, size_t step) {
    *t = (struct talk){.p = {.protocol = (uint8_t)protocol, .greeted = prelude_protocol(protocol)->greeting != NULL}};
    size_t here = 0;
    do {
        here = MIN(here + step, said.len);
        do {
            size_t n = here - t->taken, taken = 0;
            uint8_t *copy = malloc(n + 1);
            MUST(copy);
            if (n)
                memcpy(copy + 1, said.p + t->taken, n);
            struct wr w = wr_of(t->answers + t->answered, PRELUDE_ANSWER_MAX);
            MUST(t->answered + PRELUDE_ANSWER_MAX < sizeof(t->answers));
            t->verdict = prelude_step(&t->p, span_of(copy + 1, n), &w, &taken);
            free(copy);
            MUST(wr_end(&w) && taken <= n);
            t->taken += taken;
            t->answered += w.len;
        } while (t->verdict == PRELUDE_ANSWERED);
    } while (t->verdict == PRELUDE_MORE && here < said.len);
    t->answers[t->answered] = 0;
}

/* The same in every cut: answers and verdict must not depend on it. */
static inline void talk_over(struct talk *t, enum starttls protocol, struct span said) {
    talk_in_pieces(t, protocol, said, said.len ? said.len : 1);
    for (size_t step = 1; step < said.len; step++) {
        struct talk other;
        talk_in_pieces(&other, protocol, said, step);
        MUST(other.verdict == t->verdict && other.answered == t->answered);
        MUST(memcmp(other.answers, t->answers, t->answered) == 0);
        if (t->verdict >= 0)
            MUST(other.taken == t->taken);
    }
}

/* The bytes of a literal, zeros within it included. */
#define SAID(s) span_of("" s "", sizeof(s) - 1)
