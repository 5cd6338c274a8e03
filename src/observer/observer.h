/*
 * The role that turns events into log lines. It sweeps the other roles' rings ten times a second, so no process on the data
 * path wakes it or waits for it, and it alone touches the log: a full disk or a blocked pipe stops nothing but the log.
 */
#pragma once

#include <stdint.h>

/* Names that only the TLS layer knows; each gives NULL for a number that is none of its own. */
struct format_names {
    const char *(*suite)(uint16_t id);
    const char *(*group)(uint16_t id);
};

/* Serves until the supervisor says STOP or is gone. The exit status of the process. */
int observer_run(int control, const struct format_names *names);
