/* LDAP (RFC 4511, StartTLS in 4.14). */
#pragma once

#include "prelude/prelude.h"

extern const struct prelude_protocol prelude_ldap;
