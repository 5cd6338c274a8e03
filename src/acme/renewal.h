/* When a certificate is renewed, and when what failed is tried again: arithmetic only. All times are seconds since 1970. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

#define RENEWAL_RETRY_MAX_S (7 * INT64_C(86400)) /* of a Retry-After that ends an attempt */

/* Without advice by the issuer: when a third of the lifetime is left, or half of one of less than 10 days. */
int64_t renewal_time(int64_t not_before, int64_t not_after);

/* The latest time that an issuer's window may lead to: halfway from the date that it would have without advice to the alarm. */
int64_t renewal_latest(int64_t not_before, int64_t not_after);

/* When somebody should look: half of what RENEW_AT left is gone. */
int64_t renewal_alarm(int64_t renew_at, int64_t not_after);

/*
 * Seconds to wait after the N-th failure in a row (1 = the first): 1, 10, 100 minutes, a day; never more than an eighth of what
 * is left until NOT_AFTER (0 = there is no certificate), never less than a minute.
 */
int64_t renewal_pause(unsigned failures, int64_t now, int64_t not_after);

/* Seconds that an issuer is not asked again for a certificate: what its Retry-After says (-1 = nothing), a week and an eighth
 * of what is left until NOT_AFTER at most (0 = there is no certificate). */
int64_t renewal_retry_after(int64_t retry_after, int64_t now, int64_t not_after);

/* RFC 9773 4.2: one time in the window, uniform by RANDOM; an end not behind its start is no window: 0. */
int64_t renewal_choose(int64_t start, int64_t end, uint64_t random);

/* Seconds until the issuer is asked again: what it says, from a minute to a day; 6 hours when it says nothing (-1). */
int64_t renewal_ask_again(int64_t retry_after);
