/* What is worth a warning about the times of certificates: the same words at the start, at a change and every day. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "creds/creds.h"

#define CREDS_EXPIRY_DAYS 14 /* a certificate that ends this soon is worth a warning */

/*
 * Adds a line about certificate N (from 1, the leaf) of FILE when at NOW (seconds since 1970) it is expired, not yet valid, or
 * about to expire within CREDS_EXPIRY_DAYS. False when there is nothing to report.
 */
bool creds_expiry_say(struct text *t, const char *file, uint32_t n, int64_t not_before, int64_t not_after, int64_t now);

/* Calls LINE for every entry whose OCSP response has ended after BEFORE and by NOW. */
void creds_ocsp_warn(const struct creds *c, int64_t before, int64_t now, void (*line)(void *ctx, const char *text), void *ctx);

/* Calls LINE for every certificate of the store with something to report, once for each file. */
void creds_expiry_warn(const struct creds *c, int64_t now, void (*line)(void *ctx, const char *text), void *ctx);
