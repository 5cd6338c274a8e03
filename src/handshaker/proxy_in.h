/*
 * Reads the PROXY protocol header that a trusted load balancer puts in front of TLS (haproxy's proxy-protocol.txt, versions 1
 * and 2). Bounded: 107 bytes for version 1, 16 + 2048 for version 2.
 */
#pragma once

#include <stddef.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"

#define PROXY_IN_MAX (16 + 2048)

struct proxy_in {
    size_t len;          /* bytes of the header */
    bool local;          /* LOCAL or UNKNOWN: the connection's own addresses hold */
    struct addr client;  /* source */
    struct addr service; /* destination */
};

/*
 * STEP_WANT_READ: the beginning of a header. STEP_DONE: *ret is filled. STEP_FAILED: *ret_err is ERR_PROXY_MISSING (these bytes
 * begin no header) or ERR_PROXY_MALFORMED (bad field, over the bound, wrong CRC32C).
 */
enum step proxy_in_read(struct span in, struct proxy_in *ret, int *ret_err);
