/* The ordered stop. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/control.h"

struct super;

/*
 * Begins a patient drain of MS after DELAY_MS, in which the proxy serves as ever but says that it is not ready: those who send
 * it clients need that time to hear of it.
 */
void stop_announce(struct super *s, uint64_t delay_ms, uint64_t ms);
void stop_begin(struct super *s, enum drain_how how, uint64_t ms);
void stop_at_once(struct super *s);

/* The delay of a drain is over, or a phase takes too long. */
void stop_timer(struct super *s);

/* Whether it goes on for good: nothing announced, nothing begun. */
bool stop_is_far(const struct super *s);

/* Enters the next phase of a stop when the present one is over. */
void stop_advance(struct super *s);
