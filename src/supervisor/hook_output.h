/*
 * What a program of the operator's writes: a pipe that is read while it runs, so that no write fails or waits for long. Lines
 * go into the log as they come, up to a limit; the rest is read and counted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

struct super;

#define HOOK_OUTPUT_MAX   65536 /* bytes of one call that are logged */
#define HOOK_OUTPUT_LINES 256   /* and lines: all of it fits into the ring of the log at once */
#define HOOK_LINE_MAX     510   /* longer ones are logged in pieces */

struct hook_output {
    int fd;    /* -1 = none, or all has been read */
    bool over; /* the limit has been reached */
    unsigned lines;
    uint64_t len;     /* read so far */
    uint64_t omitted; /* of it, not logged */
    size_t line_len;
    char line[HOOK_LINE_MAX];
};

/* The end for the program, in RET; it may also be opened by its name in /proc, as any user. ERR_SYSTEM (errno).
 */
MUST_CHECK int hook_output_open(struct super *s, struct hook_output *o, int *ret);

/* Reads what is there; PREFIX stands before each line. False: nothing more can come. */
bool hook_output_read(struct super *s, struct hook_output *o, const char *prefix);

/* Logs what is left, as far as it is there at once, and closes. */
void hook_output_end(struct super *s, struct hook_output *o, const char *prefix);

/* Closes. */
void hook_output_close(struct hook_output *o);
