/*
 * http-01 (RFC 8555 8.3): answers one kind of GET, from the table of challenges. Anything else gets 404, or the way to https.
 */
#pragma once

#include "acme/challenges.h"
#include "acme/responder.h"
#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

struct http_responder {
    struct responder responder;
    struct challenges *challenges;
    bool redirects;
};

/* As responder_open(). */
MUST_CHECK int http_responder_open(struct http_responder *h, struct challenges *challenges, bool redirects, struct loop *loop,
                                   unsigned kind, const char *path, struct text *why);

/* The whole response to a request (up to the blank line). False: it has to be looked for in the store, and TO is empty. */
bool http_responder_answer(const struct http_responder *h, struct span request, struct text *to);
