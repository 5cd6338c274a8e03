/* GET /healthz: this process answers. */
#pragma once

struct admin;
struct http_request;
struct http_reply;

void health_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
