/*
 * Whether our own handshake and libssl's client understand each other: every suite of TLS 1.3, an exchange that has to be asked
 * for, and a session resumed, up to the same traffic secrets. Before clients come, in memory, with a service of its own whose
 * key is made for it. Inside of tls/ only.
 */
#pragma once

#include <stdbool.h>

bool selftest_own(void);
