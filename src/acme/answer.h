/* What comes back of a request to an issuer, whatever became of it; and whose fault a failure is. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

/* What a failure means for what comes next. */
enum fault {
    FAULT_NONE,
    FAULT_ISSUER, /* away, overloaded, lying, or not willing to deal with us: another issuer may be */
    FAULT_NAMES,  /* a name could not be validated, or may not be had: another issuer would say the same */
    FAULT_OURS,   /* keymaker, disk, memory: no use in asking anybody else */
};

/* All of it lives during the call that brings it. */
struct answer {
    enum fault fault;
    const char *why;     /* a sentence, when there is a fault */
    const char *problem; /* the type of an RFC 7807 problem without its prefix ("badNonce"); "" = none */
    unsigned status;     /* of HTTP; 0 = there was no answer */
    const json_t *json;  /* NULL = it was none */
    struct span body;
    const char *location; /* "" = none */
    int64_t retry_after;  /* seconds; -1 = none */
    const char (*alternates)[1024];
    size_t nalternates;
};

typedef void (*answer_fn)(void *ctx, const struct answer *a);

/* "urn:ietf:params:acme:error:badNonce" -> "badNonce"; "" for other texts and NULL. */
const char *answer_problem(const char *type);

/* Whose fault a problem is (RFC 8555 6.7). STATUS: of the answer it came with. */
enum fault answer_fault(const char *problem, unsigned status);
