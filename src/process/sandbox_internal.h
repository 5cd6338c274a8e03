/* Shared by the files of the sandbox. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/* A sanitizer's build: it looks for leaks by ptrace, and what it reports goes to files, by calls that no role needs. */
#ifdef SANDBOX_OPEN
#define SANDBOX_IS_OPEN true
#else
#define SANDBOX_IS_OPEN false
#endif

/* Groups of system calls; a role has several. What each holds: sandbox_calls.c. */
enum calls {
    CALLS_LOOP = 1,    /* event loop, messages, descriptors that are there, memory, time, an orderly end */
    CALLS_ACCEPT = 2,  /* connections from listening sockets that are there */
    CALLS_CONNECT = 4, /* new stream sockets: Unix and TCP */
    CALLS_RESOLVE = 8, /* what the C library's resolver does: UDP, netlink, reading files, loading libraries */
    CALLS_READ_FILES = 16,
    CALLS_WRITE_FILES = 32,
    CALLS_LOG = 64,          /* Unix datagrams to syslog and journal; an eventfd for the HTTP server */
    CALLS_CHECK = 128,       /* trying whether an address can be listened on */
    CALLS_USERS = 256,       /* asking local daemons for users: nscd, sssd, systemd */
    CALLS_LOCAL_NAMES = 512, /* asking local daemons for addresses: nscd, systemd-resolved, avahi */
    CALLS_CURL = 1024,       /* what libcurl does: TCP, and a thread for each name that it resolves */
    CALLS_STORE = 2048,      /* a Unix stream socket, to the store of the fleet, and memory for what it has */
};

/* Loads the filter: only these calls. False: errno; ENOSYS when the kernel has no filters. */
MUST_CHECK bool sandbox_calls(unsigned groups);

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
