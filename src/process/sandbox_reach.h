/* Files and ports, by Landlock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/* Files a role may reach below a path. */
enum reach { REACH_NONE, REACH_READ, REACH_WRITE, REACH_OWN /* and directories, links, sockets, removal */ };

struct reach_row {
    const char *path; /* one that is not there is passed over */
    enum reach reach;
};

/* What Landlock lets through. */
struct reach_rules {
    bool any_file; /* else only ROWS */
    const struct reach_row *rows;
    size_t nrows;
    bool any_port; /* TCP connections; else only to PORTS */
    const uint16_t *ports;
    size_t nports;
    bool abstract_sockets; /* connects to abstract Unix sockets of processes outside */
};

/* Landlock: only what RULES let through, and no signals to processes outside. *ret_abi: what the kernel has, 0 = none. False:
 * errno. */
MUST_CHECK bool sandbox_reach(const struct reach_rules *rules, int *ret_abi);

/* ABI with which Landlock got a kind of restriction. */
#define REACH_ABI_PORTS  4
#define REACH_ABI_SCOPES 6
