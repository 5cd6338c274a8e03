/* What counts as a host name in SNI, in certificates and on the command line: one answer for all of them. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/span.h"

#define HOSTNAME_MAX 255 /* characters, without a trailing dot (RFC 1035 2.3.4) */

/*
 * Reads a host name: letters, digits, '-', '_' and single dots between labels; one trailing dot is dropped, letters become
 * lower case. With WILDCARD a leading "*." is taken too. The meaning of the labels is not checked: an IPv4 address passes,
 * A-labels of IDNA stay as they are. ERR_FORMAT.
 */
MUST_CHECK int hostname_read(struct span text, bool wildcard, char ret[static HOSTNAME_MAX + 1]);

/* As a client may ask for it: no wildcard, and no literal address (RFC 6066 3). *RET is written only on success. ERR_FORMAT. */
MUST_CHECK int hostname_asked(struct span text, char ret[static HOSTNAME_MAX + 1]);
