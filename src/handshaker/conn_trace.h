/* What `tls-off trace` is sent of connections that are no session yet. Called only while somebody is traced (tracers_any()). */
#pragma once

#include "wire/event.h"

struct handshaker;
struct conn;

/* DETAIL may be NULL. */
void conn_trace(struct handshaker *h, const struct conn *c, enum trace_step step, const char *detail);
