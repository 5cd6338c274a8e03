/* Pauses between attempts that double, in any unit: the caller keeps the last one, 0 where the last attempt was good. */
#pragma once

#include <stdint.h>

#include "base/defs.h"

/* The pause behind one of PAUSE. */
static inline uint32_t backoff_next(uint32_t pause, uint32_t first, uint32_t most) {
    return pause < first ? first : (uint32_t)MIN((uint64_t)pause * 2, (uint64_t)most);
}
