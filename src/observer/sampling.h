/*
 * Repeated failures are counted, so that a flood of bad clients cannot fill a disk: of each service and reason the first
 * SAMPLING_LINES of a window are written, the rest are logged as one number when the window ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "observer/fields.h"

#define SAMPLING_LINES     10
#define SAMPLING_WINDOW_MS 10000

struct sampling_row;

struct sampling {
    struct sampling_row *rows; /* services by reasons; the last service stands for all that are out of range */
    uint16_t services;
    uint64_t next_ms; /* no open window ends before; UINT64_MAX = none open */
};

typedef void (*sampling_fn)(void *ctx, const struct sampled *s);

/* Aborts when out of memory: start of a process. */
void sampling_init(struct sampling *s, uint16_t services);
void sampling_fini(struct sampling *s);

/* Whether this failure is to be written; counts it otherwise. A reason of 0 or out of the table always passes. */
bool sampling_pass(struct sampling *s, uint16_t service, int reason, uint64_t now_ms);

/* Ends the windows that are over and logs what they held back. To be called before sampling_pass() at the same time. */
void sampling_turn(struct sampling *s, uint64_t now_ms, sampling_fn fn, void *ctx);

/* Ends all windows, when the process ends. */
void sampling_end(struct sampling *s, uint64_t now_ms, sampling_fn fn, void *ctx);
