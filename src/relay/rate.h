/*
 * Byte rates of a client, of a server name and of a service: reading waits, both ways, until bytes may be transferred again.
 * Nothing is dropped.
 *
 * All sessions in this relay that are under one rate share a limiter, which reserves quanta from its bucket (shm/buckets.h),
 * shared by all relays. What was reserved is consumed as it is read; a session that finds nothing left is
 * queued, and one timer per limiter wakes as many as the next quantum allows: a session that waits costs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/wheel.h"

struct relay;
struct session;
struct conf_service;

/* Whether sessions of this service are under any of them. */
bool rate_limits(const struct conf_service *s);

/* Before anything else, once. False without memory. */
MUST_CHECK bool rate_init(struct relay *r);
void rate_fini(struct relay *r);

/* Bytes the session may read now, at most WANT; 0 when it has to wait: it is then queued, and will be made ready. */
size_t rate_room(struct relay *r, struct session *s, size_t want);

/* Bytes that were read: plain ones, and the padding of records. */
void rate_consume(struct relay *r, struct session *s, size_t bytes);

/* It is queued, and only a refill makes it ready. */
bool rate_waits(const struct session *s);

/* So many more are in its limiter's queue: for session_wait(). */
void rate_count_waiting(const struct session *s, int change);

/* The session is here no more. May be called at any time. */
void rate_leave(struct relay *r, struct session *s);

/* T is the timer of a limiter: what it has reserved may be consumed. */
void rate_timer(void *ctx, struct wtimer *t);

/* At the end of each turn: what is left of quanta goes to queued sessions. */
void rate_turn(struct relay *r);
