/* What is seen to before a ClientHello comes to libssl, beside the rules of both paths. Inside of tls/ only. */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "tls/hello.h"

struct hs_libssl;

/*
 * Lists of which libssl decodes or tries each entry, whether it is of use or not, are bounded, so that no hello costs more than
 * a few handshakes: 0 or ERR_LIMIT.
 */
MUST_CHECK int hs_libssl_bears(const struct hello *h);

/* The second hello is judged as our own handshake judges it; libssl would decide again, by whatever has changed. */
MUST_CHECK int hs_libssl_judge_second(const struct hs_libssl *h, struct span message);
