/* What is known of a session: its service, and its connection info. */
#pragma once

#include <stdbool.h>

#include "base/defs.h"
#include "base/span.h"

struct relay;
struct session;
struct conf_service;
struct conn_info;

const struct conf_service *session_service(const struct relay *r, const struct session *s);

/* The backend has its header: the client's certificate is not kept for it any longer. F: its connection info; only to be
 * dropped then. */
void session_forget_cert(struct session *s, struct conn_info *f);

/* Keeps a copy of packed connection info as the session's. False when out of memory: nothing has changed. */
MUST_CHECK bool session_keep_conn_info(struct session *s, struct span packed);

/* Adds CHANGE to the scoreboard's values of its service and client. */
void session_count(struct relay *r, const struct session *s, int change);

/* The session's connection info as kept; spans borrow the session. */
void session_conn_info(const struct session *s, struct conn_info *ret);

/*
 * Handshakers keep the limits; but a session on its way between two processes is in no process' metrics, and as many more may
 * pass as are under way. Here they arrive: a session over the limit of established ones ends, before any backend sees it.
 */
int session_over_limit(const struct relay *r, const struct session *s, const struct conn_info *f);
