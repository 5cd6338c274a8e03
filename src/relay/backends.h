/*
 * The backends of one service as one relay sees them: which one gets the next session, which ones are ejected for now.
 *
 * Choosing is by the service's balance rule among the backends that are in; a backend whose connects failed
 * BACKEND_FAILURES_OUT times in a row, or whose queue of connections does not drain, is ejected for 1, 2, 4 ... 60 seconds (a
 * Unix socket: 1 second), then is half-open: it gets one session. When all are ejected, the one whose time ends first is tried.
 * No I/O here: the caller connects and reports.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/log_pause.h"
#include "conf/conf.h"

#define BACKEND_ADDRS_MAX 16
#define BACKEND_NONE      UINT16_MAX

/* One refused connect may be a restart of the application; it is a pattern after this many. */
#define BACKEND_FAILURES_OUT 3
#define BACKEND_OUT_MAX_MS   60000
#define BACKEND_OUT_UNIX_MS  1000 /* of a Unix socket at the most: to try one costs a session nothing */

/* A queue that is full is no fault; one that has not moved for so long is, or for half of the time to connect. */
#define BACKEND_STALL_MS 1000

/* How long an address that failed is passed over while its name has others. */
#define BACKEND_ADDR_OUT_MS 10000

struct backend {
    const struct conf_backend *conf;
    uint64_t id;       /* hash of its text, for client-hash */
    uint32_t sessions; /* ours, now (connecting included) */
    uint32_t failures; /* connects failed in a row */
    uint64_t out_until_ms;
    uint64_t full_since_ms;               /* its queue of connections was full, and there was no success since; 0 = not so */
    struct log_pause fault_log;           /* of first failures */
    uint64_t error_ms;                    /* when the last fault was */
    int error;                            /* errno of it; 0 = none so far */
    bool was_reported;                    /* its failure, to the observer */
    bool half_open;                       /* one session is trying it after a time out */
    struct addr addrs[BACKEND_ADDRS_MAX]; /* TCP: what the name means at present */
    uint8_t naddrs;
    uint8_t next_addr;     /* the one to try next */
    uint16_t addrs_failed; /* bits, until */
    uint64_t addrs_until_ms;
};

struct backends {
    const struct conf_service *service;
    struct backend *list; /* service->nbackends of them */
    uint32_t turn;        /* round-robin */
};

/* Aborts when out of memory. SERVICE is kept. The first turn is random, lest all relays begin with the same backend. */
void backends_init(struct backends *b, const struct conf_service *service);
void backends_fini(struct backends *b);

/*
 * The backend for a client, not among the bits of TRIED (bit i = backend i); BACKEND_NONE when all are tried. Counts a session
 * on it: every pick is followed by one backends_leave(). client-hash is rendezvous hashing of CLIENT and the backend's text, so
 * that removing or adding a backend remaps only its own clients.
 */
uint16_t backends_pick(struct backends *b, const uint8_t client[static 16], uint64_t tried, uint64_t now_ms);

/* Counts a session on backend I that another relay had picked: to be followed by one backends_leave(). */
void backends_join(struct backends *b, uint16_t i);

/* The session on backend I is over, or its connect was given up. */
void backends_leave(struct backends *b, uint16_t i);

/* A connect to backend I succeeded. True when it had been put out (for the log). */
bool backends_connected(struct backends *b, uint16_t i);

/* A connect failed. True when that puts it out (for the log); *ret_out_ms for how long. */
bool backends_failed(struct backends *b, uint16_t i, uint64_t now_ms, uint32_t *ret_out_ms);

/* Its queue of connections is full. True when it has been so for too long, which puts it out; *ret_out_ms for how long. */
bool backends_full(struct backends *b, uint16_t i, uint64_t now_ms, uint32_t *ret_out_ms);

/*
 * New addresses of a named TCP backend (at most BACKEND_ADDRS_MAX are kept, the port is the configuration's). Indices come from
 * another process: one that names no such backend is ignored, as is an empty list.
 */
void backends_resolved(struct backends *b, uint16_t i, const struct addr *addrs, size_t n);

/*
 * Which of a TCP backend's addresses is to be tried first: they take turns, without those to which a connect has failed lately
 * while there are others. When it fails, those that follow are tried before the backend has failed.
 */
uint8_t backends_addr(struct backends *b, uint16_t i, uint64_t now_ms);

/* A connect to that address failed. */
void backends_addr_failed(struct backends *b, uint16_t i, uint8_t addr, uint64_t now_ms);

/*
 * The socket address to connect to; ADDR is a TCP backend's. ERR_NOT_FOUND while a name has no address (yet), ERR_LIMIT when a
 * Unix path does not fit.
 */
MUST_CHECK int backends_sockaddr(const struct backends *b, uint16_t i, uint8_t addr, struct sockaddr_storage *ret,
                                 socklen_t *ret_len);
