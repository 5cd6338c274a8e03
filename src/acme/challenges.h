/*
 * Challenges that validators may come for, now (RFC 8555 8): offered by orders, looked up by the responders. This table is the
 * one place where they are kept; nothing else knows how.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "wire/control_hook.h"

#define CHALLENGES_MAX      1024
#define CHALLENGE_TOKEN_MAX 128
#define CHALLENGE_NAME_MAX  255
#define CHALLENGE_AUTH_MAX  (CHALLENGE_TOKEN_MAX + 1 + 43) /* token "." thumbprint */

/* How far the DNS record of a challenge is: records.h. */
enum record_state { RECORD_NONE, RECORD_WANTED, RECORD_SETTING, RECORD_SET, RECORD_UNWANTED, RECORD_REMOVING };

struct challenge {
    const void *owner; /* NULL = nobody's, and free when it has no record */
    enum challenge_type type;
    char identifier[CHALLENGE_NAME_MAX + 1]; /* a host or an address */
    char name[CHALLENGE_NAME_MAX + 1]; /* as a validator asks: of an address, its reverse name for tls-alpn-01 (RFC 8738 6) */
    char token[CHALLENGE_TOKEN_MAX + 1];
    char key_authorization[CHALLENGE_AUTH_MAX + 1];
    unsigned answered; /* times that a responder has given it out */
    enum record_state record;
    struct control_hook hook;
    void (*record_fn)(void *ctx, const char *why);
    void *record_ctx;
};

struct far_challenges;

struct challenges {
    struct far_challenges *far; /* of other instances of the fleet; NULL = none */
    struct challenge list[CHALLENGES_MAX];
    size_t n;            /* places that were ever used */
    const char *webroot; /* where answers of http-01 are written as well; NULL = nowhere */
    int supervisor;      /* runs the program that puts records into place; -1 = no more */
};

/*
 * NAME: of a host, or an address. ERR_LIMIT (too many), ERR_FORMAT (the token is none, RFC 8555 8.1, or the name is too long),
 * ERR_SYSTEM (errno: the answer cannot be written).
 */
MUST_CHECK int challenges_offer(struct challenges *c, const void *owner, enum challenge_type type, const char *name,
                                const char *token, const char *thumbprint);

/* All of OWNER's. */
void challenges_withdraw(struct challenges *c, const void *owner);

/* That which OWNER has offered. */
struct challenge *challenges_of(struct challenges *c, const void *owner, enum challenge_type type, const char *token);

/* As a validator asks for NAME: of an address, its reverse name for tls-alpn-01 (RFC 8738 6). */
void challenge_asked_name(enum challenge_type type, const char *name, struct text *to);

/* What it is called in the store of a fleet, and what is there: identifier, blank, key authorization. Both borrow TO. */
#define CHALLENGE_SHARED_MAX (CHALLENGE_NAME_MAX + CHALLENGE_AUTH_MAX + 2)
struct span challenge_shared_name(const struct challenge *c, char to[static CHALLENGE_SHARED_MAX]);
struct span challenge_pack(const struct challenge *c, char to[static CHALLENGE_SHARED_MAX]);

/* Only what a responder needs. False: it is no such thing. */
MUST_CHECK bool challenge_unpack(struct span data, struct challenge *ret);

/* Of the account that it is for: RFC 8555 8.1. */
struct span challenge_thumbprint(const struct challenge *c);

/* NULL when there is none. NAME as the client sent it. */
struct challenge *challenges_by_name(struct challenges *c, enum challenge_type type, struct span name);
struct challenge *challenges_by_token(struct challenges *c, struct span token);
