/*
 * The load generator's own types: what is asked for (options), and what runs (struct load).
 *
 * Work is cut into operations. An operation occupies a slot, sends `out` bytes and receives `in` bytes; the mode says how many.
 * The first nine bytes sent are the command that bench/backend.c reads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "load_conn.h"
#include "load_hist.h"
#include "load_web.h"

#define COMMAND_LEN 9u

enum mode {
    MODE_ECHO,    /* established connections, `size` bytes there and back */
    MODE_CONNECT, /* a connection for each operation: handshake, one echo, close */
    MODE_DOWN,    /* `size` bytes from the backend */
    MODE_UP,      /* `size` bytes to the backend, one byte back */
    MODE_IDLE,    /* some traffic on each connection, then nothing */
    MODE_WEB,     /* as wrk: connections begin all at once, then HTTP POSTs of `size` bytes on them */
};

struct options {
    enum mode mode;
    uint32_t port, connections, active; /* active: operations under way at once; 0 = all */
    uint64_t size, count;               /* count: operations to do; 0 = as many as fit in the time */
    double seconds, rate;               /* rate: operations a second at fixed times; 0 = the next when one is done */
    const char *cipher, *identity;      /* as target_init() takes them */
    enum tls tls;
    bool resume;
};

struct slot {
    struct conn conn;
    uint64_t began_ns, out_left, in_left, out_len;
    uint32_t warmed;
    char verb; /* the command's first byte */
    bool busy;
    bool shaken; /* its connection's handshake is over */
    struct web_tail tail;
};

struct load {
    const struct options *o;
    struct target target;
    int epoll_fd;
    struct slot *slots;
    uint32_t *idle; /* indexes of slots without an operation */
    uint32_t nidle, in_flight, settled;
    bool measuring, stopping;
    uint64_t started, begun_ns, until_ns, due_ns; /* started: operations begun while measuring */
    uint64_t ops, bytes, errors, fresh_errors, resumed, last_ns, seed;
    const char *version, *cipher; /* as negotiated; static strings */
    struct hist hist, handshakes;
    struct web web;
};

/* False: said on stderr. */
bool options_read(int argc, char **argv, struct options *ret_options);
