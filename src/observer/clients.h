/* Who moves how much: /clients.json, and the same list for the dashboard. Schema: docs/admin-lists.md. */
#pragma once

#include <jansson.h>

#include "observer/admin.h"

enum client_sort { CLIENTS_BY_BYTES, CLIENTS_BY_RATE, CLIENTS_BY_SESSIONS, CLIENTS_BY_FAILED, CLIENTS_BY_NAME };

struct client_query {
    size_t limit;
    enum client_sort sort;
    const char *client; /* only that one; NULL = all */
};

/* What a request asks for. False: R has what is wrong with it. */
MUST_CHECK bool client_query_read(const struct http_request *q, struct http_reply *r, struct client_query *ret);

/* A list of objects. NULL when out of memory. */
json_t *clients_json(struct admin *a, const struct client_query *query);

/* GET /clients.json */
void clients_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
