/*
 * The keymaker: private keys of accounts and managed certificates. It makes them, signs by them what wire/keymaking.h lists,
 * and puts finished certificates into use. It has files below one directory and no network.
 */
#pragma once

#include "process/role.h"

extern const struct role_table keymaker_role;
