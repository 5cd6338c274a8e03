/* Lines for the operator: faults of a configuration. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/text.h"

#define DIAGNOSTICS_TEXT_MAX (24 * 1024) /* fits one control message */

/* Faults found, as lines of text: errors, which stop a start, before warnings, which do not. Bounded; further ones are counted.
 */
struct diagnostics {
    /* Called for each as it is found, the omitted ones too; NULL = nobody. POSITION and KEY as in diagnostics_add(). */
    void (*each)(void *each_ctx, bool is_error, const char *position, const char *key, const char *text);
    void *each_ctx;
    char *text; /* all lines, each ended by '\n' */
    size_t len, cap;
    size_t errors_len; /* where the warnings begin */
    unsigned errors, warnings, dropped;
};

void diagnostics_init(struct diagnostics *f);
void diagnostics_fini(struct diagnostics *f);

/* Adds one line. POSITION: "file:line:column" or "file", KEY may be NULL. */
void diagnostics_add(struct diagnostics *f, bool is_error, const char *position, const char *key, const char *fmt, ...)
    PRINTF_LIKE(5, 6);

/* Adds the line with the number of omitted diagnostics, if any. After it nothing may be added. */
void diagnostics_close(struct diagnostics *f);
