/*
 * GET /trace: the events of one client, live, to the one who runs `tls-off trace`.
 *
 * Who is traced stands in a page that all roles see (shm/tracers.h), so a reload changes nothing: the next observer finds the
 * tracers there and keeps what it receives for them until they ask again, with their number, or ORPHAN_MS after it serves.
 * Each tracer has a queue of bounded size; what finds no room is counted, and said in its place. Lines of one sweep are in
 * the order of their times, whichever process they came from.
 */
#pragma once

#include "observer/admin.h"
#include "wire/event.h"

#define TRACING_QUEUE_MAX    (1u << 20) /* bytes that wait for one reader */
#define TRACING_STUCK_MS     20000
#define TRACING_ORPHAN_MS    10000
#define TRACING_FOR_MAX_MS   (UINT64_C(24) * 3600 * 1000)
#define TRACING_FOR_MS       (UINT64_C(3600) * 1000) /* when nothing is said */
#define TRACING_SESSIONS_MAX 1000000

struct tracing;

/* NULL when out of memory. */
struct tracing *tracing_new(struct admin *a);

/* Before the HTTP server goes. Tracers are left to the next observer. */
void tracing_free(struct tracing *t);

/* This observer has the admin sockets: tracers of the one before come here, or are gone. */
void tracing_serve(struct tracing *t);

/* Each event, before anything else is decided about it. T may be NULL, here and in the next one. */
void tracing_event(struct tracing *t, const struct event *e);

/* The end of a sweep: readers get what there is. */
void tracing_flush(struct tracing *t);

/* Whether a reader has not got all of it yet. */
bool tracing_waits(const struct tracing *t);

/* Clients that are traced at present, by the one that reads and by those who are yet to ask again. T may be NULL. */
unsigned tracing_count(const struct tracing *t);

/* Once a second. */
void tracing_second(struct tracing *t);

void trace_answer(struct admin *a, const struct http_request *q, struct http_reply *r);
