/*
 * The acme role: orders certificates from issuers (RFC 8555) and answers their validators. It talks to the network and holds no
 * private key of ours: whatever has to be signed, the keymaker signs.
 */
#pragma once

#include "process/role.h"

extern const struct role_table acme_role;
