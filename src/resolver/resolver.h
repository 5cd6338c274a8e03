/*
 * The resolver role: turns the host names of backends into addresses, so that no relay ever waits for a name server.
 * Present only when some backend is a host name.
 */
#pragma once

#include "process/role.h"

extern const struct role_table resolver_role;
