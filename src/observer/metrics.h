/* GET /metrics, for Prometheus. */
#pragma once

struct admin;
struct http_request;
struct http_reply;

void metrics_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
