/* The role that holds the private keys: it signs for one handshaker, and does nothing else. */
#pragma once

#include "process/role.h"

extern const struct role_table signer_role;
