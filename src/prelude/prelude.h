/*
 * What clients of some protocols say before TLS: STARTTLS and its kin. One small machine a protocol, one constant descriptor
 * each, one driver for all. Bytes in, bytes to answer, a verdict; no I/O, no memory of its own, and nothing that a client said
 * is kept behind the go-ahead. What may be said is bounded: PRELUDE_IN_MAX bytes in PRELUDE_UNITS_MAX units (a unit is a line,
 * a message or a tag, as the protocol has it).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"
#include "base/wr.h"

#define PRELUDE_IN_MAX     4096
#define PRELUDE_UNITS_MAX  16
#define PRELUDE_ANSWER_MAX 1024 /* bytes that one unit is answered with, and last words */

enum starttls {
    STARTTLS_NONE,
    STARTTLS_POSTGRESQL,
    STARTTLS_LDAP,
    STARTTLS_SIEVE,
    STARTTLS_AMQP,
    STARTTLS_XMPP_CLIENT,
    STARTTLS_SMTP,
    STARTTLS_LMTP,
    STARTTLS_IMAP,
    STARTTLS_POP3,
    STARTTLS_NNTP,
    STARTTLS_KINDS,
};

/* Where one client's conversation is. Small: every connection has one. */
struct prelude {
    uint8_t protocol; /* enum starttls, not NONE */
    uint8_t stage;    /* of its machine; 0 in the beginning */
    uint8_t units;
    bool greeted;
    uint16_t taken; /* bytes of the client's */
};

enum prelude_verdict {
    PRELUDE_MORE,     /* no whole unit is here */
    PRELUDE_ANSWERED, /* one unit is taken, and answered unless it needs none */
    PRELUDE_GO,       /* the same, and the answer is the go-ahead: TLS is next */
    PRELUDE_DIRECT,   /* TLS is here already: the client has begun with it */
    PRELUDE_CANCEL,   /* the unit taken is a CancelRequest (PostgreSQL), for which nobody makes TLS */
};

struct line_dialect;

/* A machine's part of a protocol. */
struct prelude_protocol {
    const char *name;     /* in the configuration */
    const char *greeting; /* NULL: the client speaks first */
    bool greets_once;     /* a server does not greet again behind TLS */

    /*
     * How long the first unit of IN is (at least one byte), which may be more than is here. STEP_WANT_READ: not known yet.
     * STEP_FAILED: these bytes begin none.
     */
    enum step (*cut)(struct span in, size_t *ret_len);

    /*
     * Takes a whole unit. A verdict, with what is to be answered in ANSWER; or ERR_STARTTLS_QUIT or ERR_STARTTLS_CLEAR, with
     * the last answer in it; or ERR_STARTTLS_MALFORMED, for which last_words() has the answer.
     */
    int (*take)(struct prelude *p, struct span unit, struct wr *answer);

    /* What is said before the end for any REASON that take() has not answered. May say nothing. */
    void (*last_words)(const struct prelude *p, int reason, struct wr *answer);

    const struct line_dialect *lines; /* of the protocols in lines.c */
};

/* Borrows static memory. */
const struct prelude_protocol *prelude_protocol(enum starttls protocol);

/* Says the greeting, where there is one and it has not been said. ANSWER has room for PRELUDE_ANSWER_MAX. */
void prelude_greet(struct prelude *p, struct wr *answer);

/*
 * One step with all bytes of the client that wait. Returns a verdict, or ERR_STARTTLS_QUIT, _CLEAR, _MALFORMED or _LIMIT when
 * the conversation ends here. *ret_taken: bytes of IN that are done with. A client that speaks before the greeting, and not
 * TLS, is greeted first. ANSWER has room for PRELUDE_ANSWER_MAX.
 */
MUST_CHECK int prelude_step(struct prelude *p, struct span in, struct wr *answer, size_t *ret_taken);

/* The protocol's words for an end that prelude_step() has not answered: its own reasons, a deadline, a refused client. */
void prelude_last_words(const struct prelude *p, int reason, struct wr *answer);
