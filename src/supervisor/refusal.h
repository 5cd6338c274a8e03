/* Why the next generation cannot serve. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "conf/load.h"

struct super;

struct refusal {
    bool is_made;
    bool is_located; /* each line of the text names its place in a file */
    char text[DIAGNOSTICS_TEXT_MAX];
};

/* The first reason counts, and none when the transition is decided already. */
void refuse_next(struct super *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
