/* Takes up certificates that other instances of the fleet have ordered, one after the other. */
#pragma once

#include "acme/ca.h"
#include "acme/job.h"
#include "base/span.h"

struct scheduler;

struct follow {
    struct scheduler *scheduler;
    struct job *asked; /* about whose certificate; NULL = none */
    struct ca_call call;
    size_t turn;
    uint64_t held_ms;  /* nothing is looked at before then: what failed here would fail for all certificates */
    uint64_t pause_ms; /* the last one; 0 = the last one was taken */
    uint8_t *sealed;   /* owned */
};

void follow_init(struct follow *f, struct scheduler *s);
void follow_stop(struct follow *f);

/* The object NAME has changed, or, when it is empty, any may have. */
void follow_news(struct follow *f, struct span name);

/* How long FOLLOW holds still; 0 = it does not. */
uint64_t follow_hold_ms(const struct follow *f);

/* Looks at the next one that there may be news of, when nothing is under way. */
void follow_next(struct follow *f);
