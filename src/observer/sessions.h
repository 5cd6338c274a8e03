/*
 * /sessions.json: relays are asked, one after the other and page by page, while the request waits. A relay that does not answer
 * costs a moment and is named in the answer. Schema: docs/admin-lists.md.
 */
#pragma once

#include "base/channel.h"
#include "base/wheel.h"
#include "conf/conf.h"
#include "wire/control.h"

#define SESSIONS_LINKS   (2 * WORKERS_MAX) /* relays of two generations */
#define SESSIONS_QUERIES 16                /* at a time; more are refused with 503 */

struct admin;
struct http_request;
struct http_reply;
struct listing_query;

struct sessions {
    struct admin *admin;
    unsigned timer_kind;
    struct channel links[SESSIONS_LINKS];
    struct control_peer peers[SESSIONS_LINKS]; /* of these links */
    struct listing_query *queries[SESSIONS_QUERIES];
    uint32_t last_id;
};

/* Into a->sessions; KIND and TIMER_KIND: of the loop events and timers. */
void sessions_start(struct admin *a, unsigned kind, unsigned timer_kind);

/* Resumes all waiting requests, before the HTTP server ends. */
void sessions_fini(struct sessions *s);

/* Takes over the link to a relay, in place of an earlier one. ERR_SYSTEM (errno). */
MUST_CHECK int sessions_take_link(struct sessions *s, const struct control_peer *who, int fd);

/* GET /sessions.json */
void sessions_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
