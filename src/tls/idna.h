/*
 * International host names. On the wire (SNI) and in well-made certificates a label beyond ASCII is an A-label ("xn--..."); in
 * common names, private CAs and configuration it is found as it is written (a U-label). Everything is compared as A-labels.
 */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "tls/hostname.h"

/*
 * hostname_read() with a wildcard allowed, and U-labels (UTF-8) taken and turned into A-labels (IDNA2008 with the mapping of
 * UTS 46, non-transitional). ERR_FORMAT: no host name, or libidn2 refuses it; ERR_UNSUPPORTED: libidn2 is not installed.
 */
MUST_CHECK int idna_hostname(struct span utf8, char ret[static HOSTNAME_MAX + 1]);
