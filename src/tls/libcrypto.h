/*
 * The first call of libcrypto in a process. Its configuration file is never read: what is negotiated and accepted follows from
 * our configuration alone, not from the machine's openssl.cnf and not from OPENSSL_CONF of the process that starts us
 * (docs/decisions/045-no-openssl-conf.md).
 */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

/* False when libcrypto cannot be used. A signer installs its secure heap first. */
MUST_CHECK bool libcrypto_begin(void);
