/*
 * When an issuer wants a renewal (RFC 9773), in a fleet: the instance that takes the lease asks, and the others find in the
 * store what it has learned. Each looks there when it would ask.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "conf/conf_acme.h"

struct job;
struct scheduler;

struct info_shared {
    char name[CONF_SHARED_NAME_MAX + 16]; /* of the object, and of what is leased */
    uint64_t fence;                       /* 0 = not held */
    uint64_t version;                     /* that the object has next */
};

/* About the certificate that S asks about now: it is found, or the issuer is asked. False: the store cannot be asked. */
MUST_CHECK bool info_shared_look(struct scheduler *s);

/* The issuer has answered about J's certificate; NULL: it has not. */
void info_shared_put(struct scheduler *s, const struct job *j);
