/* Parts of the state (status.h). */
#pragma once

#include "observer/status.h"

/* "up", "full", "partly", "down"; static storage. */
const char *status_backend_state(const struct admin *a, const char *service, const char *backend);

void status_services(struct admin *a, json_t *list, enum status_extent extent);
void status_processes(struct admin *a, json_t *list);

/* {"full": n, "resumed": n, "failed": {reason: n}} of a service, or of all (NULL). */
void status_handshakes(struct admin *a, json_t *object, const char *service);

/* {"handshake_seconds": {"buckets": [[le, n], ...], "sum": s, "count": n}, ...} of rows of KIND and SERVICE (NULL: all). */
void status_histograms(struct admin *a, json_t *object, enum stats_kind kind, const char *service, const char *name);
