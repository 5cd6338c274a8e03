/*
 * What would become of a ClientHello, and why: the answer of `tls-off explain` and `tls-off check --explain`, from a
 * configuration and its certificates. The same table and rule as the handshakers' give it (route/route.h).
 */
#pragma once

#include <jansson.h>

#include "conf/conf.h"
#include "creds/creds.h"

#define EXPLANATION_PROTOCOLS_MAX 16

/* What is asked, as text. */
struct explanation_ask {
    const char *address;   /* one that is listened on, or one of those that "0.0.0.0" or "[::]" stand for */
    const char *name;      /* lower case; "" = none */
    const char *protocols; /* separated by commas; "" = no ALPN */
};

/* The state of a backend, static text; NULL = not known. */
typedef const char *(*explanation_state_fn)(void *ctx, const char *service, const char *backend);

/* C has its CREDS. STATE may be NULL. NULL when the question makes no sense, with the reason in WHY, or without memory. */
struct text;
json_t *explanation_of(const struct conf *c, const struct creds *creds, const struct explanation_ask *ask,
                       explanation_state_fn state, void *ctx, struct text *why);
