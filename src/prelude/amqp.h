/* AMQP 1.0 (OASIS, part 5.2: the protocol header for TLS). */
#pragma once

#include "prelude/prelude.h"

extern const struct prelude_protocol prelude_amqp;
