/*
 * What is told about the running proxy, and to whom: the answers of the admin sockets. Each resource is a file of its own, and
 * a row in routes.c. Nothing here changes anything but by a command sent to the supervisor.
 */
#pragma once

#include <jansson.h>

#include "base/loop.h"
#include "conf/conf.h"
#include "observer/http.h"
#include "observer/observer.h"
#include "observer/sink.h"
#include "observer/sources.h"
#include "wire/child.h"

/* Everything a resource may look at. */
struct admin {
    struct http *http;
    const struct conf *conf;
    struct child *child;
    struct loop *loop;
    const struct sources *sources;
    const struct sink *sink;
    const struct format_names *names;
    uint64_t started_wall_us; /* of this observer */
};

/* Answers one request; routes.c finds the resource. A http_answer_fn. */
void admin_answer(void *ctx, const struct http_request *q, struct http_reply *r);

/* Once a second. */
void admin_second(struct admin *a);

/* A JSON tree as the reply's body; the tree is let go of. */
void admin_reply_json(struct http_reply *r, json_t *tree);

/* The resources. */
void health_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
void ready_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
