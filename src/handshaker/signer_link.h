/*
 * The handshaker's end of the link to its signer: one request at a time, answered while the caller waits, for a quarter of a
 * second at most. A signer that does not answer by then is stuck: it is asked nothing more, so nothing waits again, until its
 * late answer arrives.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/key_provider.h"

#define SIGNER_ANSWER_MS 250 /* a signature takes 0.03 to 5 ms; the rest is for a busy machine */

enum signer_state { SIGNER_GONE, SIGNER_THERE, SIGNER_STUCK };

struct signer_link {
    int fd; /* -1 = none at present */
    enum signer_state state;
    uint32_t number;   /* of the last request */
    unsigned breaches; /* messages that no signer sends */
    unsigned refusals; /* requests that were refused */
    int refused_for;   /* the last reason, enum err */
};

void signer_link_init(struct signer_link *l);

/* A new link, owned from here; the one before is closed. ERR_SYSTEM (errno): FD is closed. */
MUST_CHECK int signer_link_open(struct signer_link *l, int fd);
void signer_link_close(struct signer_link *l);

/*
 * A key_sign_fn; CTX is the link. ERR_SIGNER_TIMEOUT when there is no signer, or it does not answer in time;
 * ERR_SIGNER_REFUSED.
 */
int signer_link_ask(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                    size_t *ret_len);

/* Processes what has happened to the link meanwhile, without blocking: a late answer, its end. */
void signer_link_look(struct signer_link *l);
