/* Descriptors inherited from the process that started this one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/*
 * Standard input, output and error are open afterwards, on /dev/null where they were closed: else the next descriptor opened
 * would get their number, and messages of the C library would go to a peer. What was closed still fails when it is used:
 * nothing is read from standard input, nothing written to standard output. False: errno.
 */
bool fds_fill_streams(void);

/* Closes all descriptors from FIRST on, but for KEEP (-1 = none). */
void fds_close_from(int first, int keep);

/* All from FIRST on are closed by the next exec. Async-signal-safe. */
void fds_end_at_exec(int first);
