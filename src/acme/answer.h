/* What comes back of a request to an issuer, whatever became of it; and whose fault a failure is. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "base/text.h"

/* What a failure means for what comes next. */
enum fault {
    FAULT_NONE,
    FAULT_ISSUER, /* away or overloaded: another issuer may not be; the order under way may be gone on with */
    FAULT_ANSWER, /* it lies, or is not willing to deal with us: the same, but the order under way is of no use */
    FAULT_COMMON, /* as FAULT_ANSWER, but about the account, or what the issuer offers: all certificates would meet it */
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
    const char *next;     /* page of a list; "" = none */
    int64_t retry_after;  /* seconds; -1 = none */
    const char (*alternates)[1024];
    size_t nalternates;
};

typedef void (*answer_fn)(void *ctx, const struct answer *a);

/* The type of a problem document (RFC 8555 6.7): "urn:ietf:params:acme:error:badNonce" -> "badNonce"; "" for other types and
 * for what is none. Lives as long as PROBLEM. */
const char *answer_problem(const json_t *problem);

/*
 * Whose fault it is. STATUS: of the answer that it came with; 0 = it is a part of an order or of an authorization. Subproblems
 * (6.7.1) that are all about names make it one about names, whatever its own type.
 */
enum fault answer_fault(const json_t *problem, unsigned status);

/* Adds the issuer's own words about it, subproblems with their names included: ", caa: no (a.example.org, caa: no)". */
void answer_add_problem(struct text *t, const json_t *problem);

/* Adds S, cut, as far as it is text: it goes into logs and onto terminals. */
void answer_add_words(struct text *t, const char *s);
