/*
 * The summary of this instance's clients for the others of its fleet (wire/summary.h), from the counters that are read once a
 * second anyway.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/defs.h"
#include "observer/stats_view.h"
#include "wire/summary.h"

/* Into TO, emptied before: MOST clients, at most SUMMARY_CLIENTS. HEAD without its floor, which is found here. False when out
 * of memory. */
MUST_CHECK bool digest_write(const struct stats_view *f, const struct summary_head *head, size_t most, struct buf *to,
                             size_t *ret_entries);
