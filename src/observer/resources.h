/* Which resource answers for which path, and by which methods. */
#pragma once

struct http_request;
struct http_reply;

/* A http_answer_fn; CTX is the struct admin. */
void admin_answer(void *ctx, const struct http_request *q, struct http_reply *r);
