/* What a generation has in use that is exchanged while it runs: credentials and access lists. */
#pragma once

#include <stdint.h>

#include "access/access.h"
#include "base/defs.h"
#include "creds/creds.h"

/* A store with its number, as a generation has one in use. */
struct creds_set {
    uint32_t number; /* 0 = none; no two tries have the same */
    uint32_t nth;    /* of those that were used: for people */
    int fd;
    struct creds store;
};

/* FD is owned from here on, also when it is no store. ERR_FORMAT, ERR_SYSTEM. */
MUST_CHECK int creds_set_take(struct creds_set *c, uint32_t number, int fd);
void creds_set_free(struct creds_set *c);

/* An access table, as a generation has one in use. */
struct access_set {
    int fd; /* -1 = none */
    struct access table;
};

/* FD is owned from here on, also when it is no table. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM. */
MUST_CHECK int access_set_take(struct access_set *a, int fd);
void access_set_free(struct access_set *a);
