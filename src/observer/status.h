/* The proxy's state as one JSON tree: /status.json, and what the dashboard and `tls-off status` draw. Schema: docs/admin.md. */
#pragma once

#include <jansson.h>

#include "observer/admin.h"

/* LIVE is what the dashboard is sent each second: without what is long and does not change by the second. */
enum status_extent { STATUS_WHOLE, STATUS_LIVE };

/* NULL when out of memory. */
json_t *status_json(struct admin *a, enum status_extent extent);

/* "serving", "degraded", "reloading", "draining" ...; static storage. */
const char *status_state(const struct admin *a);

/* The most sessions that all relays together take. */
uint64_t status_sessions_max(const struct admin *a);

/* GET /status.json, GET /readyz */
void status_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
void ready_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
