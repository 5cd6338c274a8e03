/*
 * The first call of libcrypto in a process, and what its faults amount to. Its configuration file is never read: what is
 * negotiated and accepted follows from our configuration alone, not from the machine's openssl.cnf and not from OPENSSL_CONF of
 * the process that starts us (docs/decisions/045-no-openssl-conf.md).
 */
#pragma once

#include <stdbool.h>

#include "base/defs.h"

/*
 * Before it: all that libcrypto and libssl allocate is wiped when it is freed, so that secrets of a handshake end with it.
 * False: too late.
 */
MUST_CHECK bool libcrypto_wipe_freed(void);

/* False when libcrypto cannot be used. A signer installs its secure heap first. */
MUST_CHECK bool libcrypto_begin(void);

/*
 * After a call that failed: empties libcrypto's queue of errors. ERR, or ERR_NOMEM when an allocation is among them, which is
 * no fault of the one who made the bytes it looked at. 0 stays 0.
 */
int libcrypto_reason(int err);
