/* The proxy's state as one JSON tree: /status.json, and what the dashboard and `tls-off status` draw. Schema: docs/admin.md. */
#pragma once

#include "observer/admin.h"

#define STATUS_CERTIFICATES_MAX 1000 /* shown, those that expire first */

/* LIVE is what the dashboard is sent each second: without what is long and does not change by the second. */
enum status_extent { STATUS_WHOLE, STATUS_LIVE };

/* NULL when out of memory. */
json_t *status_json(struct admin *a, enum status_extent extent);

/* "serving", "degraded", "reloading", "draining" ...; static storage. */
const char *status_state(const struct admin *a);

/* The most sessions that all relays together take. */
uint64_t status_sessions_max(const struct admin *a);

/* Parts of it, in files of their own. */
void status_services(struct admin *a, json_t *list, enum status_extent extent);
void status_certificates(struct admin *a, json_t *list, size_t limit);
void status_processes(struct admin *a, json_t *list);

/* The entries whose leaf expires first, soonest first, at most MAX; how many. */
size_t status_expiring(const struct creds *c, uint32_t *list, size_t max);

/* {"full": n, "resumed": n, "failed": {reason: n}} of a service, or of all (NULL). */
void status_handshakes(struct admin *a, json_t *object, const char *service);

/* {"handshake_seconds": {"buckets": [[le, n], ...], "sum": s, "count": n}, ...} of rows of KIND and SERVICE (NULL: all). */
void status_histograms(struct admin *a, json_t *object, enum stats_kind kind, const char *service, const char *name);
