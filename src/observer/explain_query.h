/* GET /explain: which service and certificate a client would get. */
#pragma once

struct admin;
struct http_request;
struct http_reply;

void explain_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
