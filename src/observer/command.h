/* Commands to the supervisor, and what became of them. */
#pragma once

struct admin;
struct http_request;
struct http_reply;

void command_post(struct admin *a, const struct http_request *q, struct http_reply *r);
void command_get(struct admin *a, const struct http_request *q, struct http_reply *r);
