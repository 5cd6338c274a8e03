/* Alerts of ours during libssl's handshake, under the keys that libssl would use. For hs_libssl.c. */
#pragma once

#include <stddef.h>

#include "tls/hs_libssl.h"

/*
 * libssl has one alert for many reasons, h->err is more precise. Its alert, the only record behind OUT_BEFORE, has not left
 * yet and never will: ours takes its place and its number. When ours cannot be made, its stays.
 */
void hs_alert_replace(struct hs_libssl *h, size_t out_before);
