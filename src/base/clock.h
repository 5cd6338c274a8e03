/* Clocks. Monotonic for deadlines and durations, wall-clock time for what people read. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);

/* Microseconds since 1970, UTC. */
uint64_t clock_wall_us(void);

#define CLOCK_TEXT_MAX 32

/* "2026-11-22T18:03:11.123456Z" (RFC 3339); returns TO. */
const char *clock_text(uint64_t wall_us, char to[static CLOCK_TEXT_MAX]);

/* "2026-11-29T16:00:00Z", with fraction or offset (RFC 3339), as seconds since 1970. ERR_FORMAT. */
MUST_CHECK int clock_parse(const char *s, int64_t *ret_s);
