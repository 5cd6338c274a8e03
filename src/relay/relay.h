/* The relay role: owns established sessions, relays their bytes between client and backend, and passes on each end and each
 * reset as it came. */
#pragma once

#include "process/role.h"

extern const struct role_table relay_role;
