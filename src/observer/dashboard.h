/*
 * The dashboard's files: one page, its script, its style. They are part of the program, so that the page always fits the
 * observer that serves it, and nothing has to be found on a disk. What the page shows comes by live.h and the JSON resources.
 */
#pragma once

#include "observer/admin.h"

/* Answers for "/" and the files beside it. */
void dashboard_answer(struct admin *a, const struct http_request *q, struct http_reply *r);

/* Whether an Accept-Encoding header (NULL = none) allows gzip (RFC 9110 12.5.3). */
bool dashboard_takes_gzip(const char *accept);

/* Whether an If-None-Match header (NULL = none) names TAG (RFC 9110 13.1.2, weak comparison). */
bool dashboard_tag_matches(const char *header, const char *tag);
