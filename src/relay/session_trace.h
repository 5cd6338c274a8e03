/* What `tls-off trace` is sent of sessions. Called only while somebody is traced (tracers_any()). */
#pragma once

#include "wire/event.h"

struct relay;
struct session;

/* DETAIL may be NULL. */
void session_trace(struct relay *r, const struct session *s, enum trace_step step, const char *detail);
