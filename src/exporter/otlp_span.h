/*
 * One event of a session, or of a connection that did not become one, as a span in OTLP's JSON (opentelemetry-proto 1.x: ids in
 * hex, 64-bit numbers as strings). Names of attributes are those of OpenTelemetry's semantic conventions where there are any,
 * and begin with "tls_off." where there are none.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "wire/event.h"

#define OTLP_SPAN_MAX (40 * 1024) /* more than the longest one takes, every byte escaped */
#define OTLP_HEAD_MAX (8 * 1024)
#define OTLP_TAIL     "]}]}]}"

/* Who sends the spans. */
struct otlp_resource {
    const char *service_name, *host, *instance;
};

/* What a request begins with: spans follow, separated by commas, then OTLP_TAIL. */
void otlp_head_write(struct text *t, const struct otlp_resource *r);

/*
 * A span of kind SERVER from accept to the end. Its trace has the session's unique id, and its own id is the second half of
 * that: who gets the id by the PROXY header can add spans to it. False: the event is none of a session.
 */
bool otlp_span_write(struct text *t, const struct event *e);
