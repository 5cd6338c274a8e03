/* Private keys go to signers as open files. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"

struct super;
struct worker;
struct creds_set;

struct keys_pump {
    uint32_t set; /* 0 = nothing to send */
    uint32_t next;
};

/*
 * For a signer that has just been started: the set in use, and the one that is being taken when there is one. Only the latter
 * when the keys of the set in use are gone (keys_lost()): else no signer would ever be ready, and the next set never taken.
 */
MUST_CHECK int keys_give(struct super *s, struct worker *w);

/*
 * W, which is starting and about to end, cannot have the keys that it was given first. When those are of the set in use, it is
 * started again soon while another set is being taken, with that one.
 */
void keys_lost(struct super *s, struct worker *w);

/* SET for a signer that runs. */
MUST_CHECK int keys_give_set(struct super *s, struct worker *w, const struct creds_set *set);

/*
 * Continues, when there is something to send and room for it. 0, or the number of the set that W cannot be given, with the
 * reason in WHY.
 */
MUST_CHECK uint32_t keys_pump(struct super *s, struct worker *w, struct text *why);

/*
 * Answers that a signer owes, by the number of the set: the one in use and the one being taken. A set abandoned before it was
 * sent as a whole may be answered or not.
 */
struct keys_owed {
    uint32_t sets[2]; /* 0 = none */
    uint32_t excused;
};

/* W has answered SET; false when no answer was owed. */
MUST_CHECK bool keys_answered(struct worker *w, uint32_t set);

/* No longer waits for an answer to SET. */
void keys_excuse(struct worker *w, uint32_t set);

static inline bool keys_owe(const struct keys_owed *o) {
    return o->sets[0] || o->sets[1];
}

static inline bool keys_wait(const struct keys_pump *p) {
    return p->set != 0;
}
