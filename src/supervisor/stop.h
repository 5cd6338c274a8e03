/* The ordered stop. */
#pragma once

#include <stdint.h>

#include "wire/control.h"

struct super;

void stop_begin(struct super *s, enum drain_how how, uint64_t ms);
void stop_at_once(struct super *s);

/* Enters the next phase of a stop when the present one is over. */
void stop_advance(struct super *s);
