/* What a collector's answer means (OTLP 1.x, "OTLP/HTTP Response"). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/text.h"
#include "http_out/http_out.h"

enum otlp_verdict {
    OTLP_TAKEN,   /* but for those that it refused */
    OTLP_LATER,   /* may be sent again: status 429, 502, 503, 504, or no answer */
    OTLP_REFUSED, /* sending it again would not help */
};

/* SPANS were sent. *ret_refused: how many of those were not taken. WHY: the collector's or our words, of one line; empty = all
 * is well. */
enum otlp_verdict otlp_answer_read(const struct http_out_answer *a, uint32_t spans, uint32_t *ret_refused, struct text *why);
