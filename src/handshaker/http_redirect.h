/*
 * Plain HTTP at a TLS port, answered with the same address under https (308, RFC 9110 15.4.9): for people who typed the wrong
 * scheme. Only what is needed of the request is read: target and host, both checked, so that nothing of the client's gets
 * into a header that is not a host name, a port or a path.
 */
#pragma once

#include "base/buf.h"
#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"

#define HTTP_REDIRECT_MAX 8192 /* bytes of request line and headers */

/*
 * STEP_WANT_READ: the headers are not complete. STEP_DONE: the answer was added to OUT. STEP_FAILED: no request that can be
 * redirected (no Host, or a bad one, "*", CONNECT, too long); or no memory.
 */
MUST_CHECK enum step http_redirect(struct span request, struct buf *out);
