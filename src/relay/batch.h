/* One message of sessions to another relay, as it is being made: bodies with keys in locked memory, descriptors beside them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "wire/export_link.h"

struct relay;
struct session;

struct batch {
    uint8_t *body; /* IPC_BODY_MAX bytes of secret memory */
    size_t len;
    int fds[EXPORT_FDS_MAX]; /* the sessions' own: sending copies them */
    unsigned nfds;
    uint16_t n;
    bool sealed; /* to be sent as it is, in parts perhaps */
    bool full;
    const struct session *ahead; /* its waiting bytes go first, in messages of their own; NULL = none or all sent */
    unsigned part;               /* of those: the one to go on with, */
    size_t off;                  /* from here */
};

/* ERR_NOMEM. */
MUST_CHECK int batch_init(struct batch *p);
void batch_fini(struct batch *p);
bool batch_has_room(const struct batch *p);

/* Adds a session in the state it is in now. False when it does not fit behind what is there already. */
MUST_CHECK bool batch_session(struct batch *p, struct relay *r, struct session *s);

/* Sends it as batch NUMBER. ERR_AGAIN: to be called again, with nothing added. ERR_CLOSED, ERR_LIMIT, ERR_SYSTEM. */
MUST_CHECK int batch_send(struct batch *p, int link, uint32_t number);

/* Empty again, wiped. */
void batch_clear(struct batch *p);
