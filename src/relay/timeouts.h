/* A session's time is over, or may be. */
#pragma once

struct wtimer;

/* T is the session's timer; CTX is the relay. */
void session_timeout(void *ctx, struct wtimer *t);
