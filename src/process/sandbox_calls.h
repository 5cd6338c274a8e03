/* The filter of system calls. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

/* Groups of system calls; a role has several. */
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
