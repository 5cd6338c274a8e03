/* XMPP for clients (RFC 6120 5). Direct TLS is XEP-0368. */
#pragma once

#include "prelude/prelude.h"

extern const struct prelude_protocol prelude_xmpp_client;
