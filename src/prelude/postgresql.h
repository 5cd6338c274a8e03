/* PostgreSQL (the protocol's chapter "Message Flow", SSL and GSSAPI session encryption, canceling requests). */
#pragma once

#include "prelude/prelude.h"

extern const struct prelude_protocol prelude_postgresql;
