/*
 * Whether the access lists admit a client: before anything of it is read, when no service of its listener would have it, and
 * again for the service it comes to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "access/access.h"
#include "base/defs.h"

struct handshaker;
struct conn;
struct ipc_msg;
struct text;

#define ADMIT_RULES_MAX                                                                                                        \
    16 /* a listener whose services have more different rules than this judges when the service is known                       \
        */

/* Of a listener: a service of each of the rules there are. */
struct admit_gate {
    uint16_t service[ADMIT_RULES_MAX];
    uint16_t n; /* 0 = some service admits everyone, or there are too many rules */
};

struct admission {
    struct access table;      /* head == NULL: none so far */
    struct admit_gate *gates; /* a listener each */
};

/* A table of the supervisor's (process/role.h). Negative: it cannot be used, and the one before stays. */
int admit_take(void *ctx, struct ipc_msg *m, struct text *why);

/* 0 or ERR_ACCESS_DENIED: the client at its listener; the client in its service. */
MUST_CHECK int admit_client(struct handshaker *h, struct conn *c);
MUST_CHECK int admit_to_service(struct handshaker *h, struct conn *c);

/* 0 or ERR_JA4_DENIED: its ClientHello in its service. One that has sent none has no fingerprint. */
MUST_CHECK int admit_hello(struct handshaker *h, struct conn *c);
