/* TXT records of a name (RFC 1035 3.3.14), as the name servers of this machine have them. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/span.h"

#define DNS_TXT_MAX 4096 /* bytes of one record's text; longer ones are cut */

/* TEXT borrows. */
typedef void (*dns_txt_fn)(void *ctx, struct span text);

/* FN for each; false after a sentence in WHY. That there is no such name is no failure. */
struct text;
MUST_CHECK bool dns_txt_ask(const char *name, dns_txt_fn fn, void *ctx, struct text *why);

/* The records of an answer; false when it is malformed. */
MUST_CHECK bool dns_txt_read(struct span answer, dns_txt_fn fn, void *ctx);
