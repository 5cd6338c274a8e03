/*
 * The protocols of command lines, each a table: SMTP submission (RFC 3207), LMTP (RFC 2033), IMAP (RFC 9051), POP3 (RFC 2595),
 * ManageSieve (RFC 5804), NNTP (RFC 4642).
 */
#pragma once

#include "prelude/prelude.h"

extern const struct prelude_protocol prelude_smtp;
extern const struct prelude_protocol prelude_lmtp;
extern const struct prelude_protocol prelude_imap;
extern const struct prelude_protocol prelude_pop3;
extern const struct prelude_protocol prelude_sieve;
extern const struct prelude_protocol prelude_nntp;
