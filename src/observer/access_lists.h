/* Access lists in the status and in the metrics. */
#pragma once

#include <jansson.h>

#include "observer/admin.h"

#define STATUS_LISTS_MAX 1000 /* shown */

struct exposition;

void status_access(struct admin *a, json_t *list);

/* A sentence for each list that cannot be read. */
void status_failing_lists(struct admin *a, json_t *degraded);
void access_lists_expose(struct admin *a, struct exposition *x);
