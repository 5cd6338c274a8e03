/*
 * The admin sockets without libmicrohttpd: every request gets the same answer, which says what is missing. Nobody waits for
 * what does not come.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/loop.h"

#define NO_HTTP_SOCKETS     2  /* by enum admin_kind */
#define NO_HTTP_CONNECTIONS 16 /* that have sent nothing yet; the oldest one is answered when a new one comes */

struct no_http {
    struct loop *loop;
    unsigned kind;
    char why[256];                /* why the library is not there; empty = it is */
    int sockets[NO_HTTP_SOCKETS]; /* -1 = none */
    struct {
        int fd;       /* -1 = none */
        uint32_t tag; /* of this connection in the event loop */
    } conns[NO_HTTP_CONNECTIONS];
    uint32_t accepted;
};

/* WHY is there already. Registers the handler of KIND. */
void no_http_start(struct no_http *n, struct loop *loop, unsigned kind);

/* Answers at listening socket number NTH from now on; FD is taken over in any case. ERR_SYSTEM (errno), ERR_NOMEM. */
MUST_CHECK int no_http_listen(struct no_http *n, unsigned nth, int fd);
void no_http_fini(struct no_http *n);
