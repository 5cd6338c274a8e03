/*
 * Bytes of outsiders as text: valid UTF-8, without control characters and without those that end lines or turn the direction of
 * what a terminal shows, whatever the bytes were.
 */
#pragma once

#include <stdbool.h>

#include "base/span.h"
#include "base/text.h"

/* Adds S with what would do harm as escapes of JSON strings (RFC 8259 7). QUOTED: quotes and backslashes, too. */
void escape_add(struct text *t, struct span s, bool quoted);

/* The same in quotes: a JSON string. */
void escape_quoted(struct text *t, struct span s);

/* Adds S with what is no UTF-8, or would do harm, as U+FFFD. */
void escape_clean(struct text *t, struct span s);
