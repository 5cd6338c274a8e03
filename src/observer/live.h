/*
 * The stream behind the dashboard (server-sent events): one snapshot a second, made once and shared by all who listen.
 *
 * A stream holds at most the message it is sending and the newest one, so a slow reader skips snapshots instead of queueing
 * them, and one that takes nothing for LIVE_STUCK_MS is cut. Without readers a second costs nothing here; what a
 * new page begins with is the past that stats_view.h keeps.
 */
#pragma once

#include "observer/admin.h"

#define LIVE_STREAMS  16
#define LIVE_CLIENTS  100       /* in a snapshot, the busiest */
#define LIVE_TEXT_MAX (1 << 20) /* of a message; what is larger goes without the services */
#define LIVE_STUCK_MS 20000
#define LIVE_SNDBUF   (128 * 1024) /* of a stream's socket: what waits for a slow reader in the kernel */

struct live;

/* NULL when out of memory. A keeps the pointer's owner; nothing is allocated for streams before there is one. */
struct live *live_new(struct admin *a);

/* Before the HTTP server goes: it must not be stopped while connections are suspended. */
void live_free(struct live *l);

/* Once a second. */
void live_second(struct live *l);

/* GET /live */
void live_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
