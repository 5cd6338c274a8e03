/* `tls-off explain`, and what `tls-off check --explain` shares with it: which service a ClientHello reaches, and why. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "observer/explanation.h"
#include "tls/hostname.h"

#define EXPLAIN_TEXTS 3 /* ADDRESS, NAME, ALPN */

/* What the operator asks: an address, and maybe a name and protocols. */
struct explain_question {
    char name[HOSTNAME_MAX + 1];
    struct explanation_ask ask;
};

/*
 * Q borrows the N texts ("ADDRESS", "NAME", "ALPN"; the last two may be missing). A name is read as a client would send it; one
 * that is no host name counts as none, which is said on stderr. False after a line on stderr.
 */
bool explain_read(const char *const *texts, size_t n, struct explain_question *q);

/* One explanation, as JSON or as text. The exit status. */
int explain_print(const json_t *o, bool json);

struct arguments;
extern const char explain_usage[];

/* The exit status. */
int cmd_explain(const struct arguments *a);
