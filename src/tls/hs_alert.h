/* Alerts of ours during libssl's handshake, under the keys that libssl would use. For handshake.c. */
#pragma once

#include <stddef.h>

#include "tls/handshake_internal.h"

/*
 * libssl has one alert for many reasons, h->client_err has it. Its alert, the only record behind OUT_BEFORE, has not left
 * yet and never will: ours takes its place and its number. When ours cannot be made, its stays.
 */
void hs_alert_replace(struct handshake *h, size_t out_before);
