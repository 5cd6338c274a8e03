/*
 * The handshaker's end of the link to a signer. Requests go out together, and their answers come as events; nobody waits. Only
 * libssl, which asks in the middle of a handshake's step, waits for its one answer, for a quarter of a second at most.
 *
 * A signer that owes answers and has said nothing for that long is stuck: it is asked nothing more until it has given them all.
 * So is one whose link had no memory for a request, for a moment.
 * One that was started while a set of credentials was being taken may have the next set and not the one in use: that it lacks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "tls/key_provider.h"
#include "wire/sign.h"

#define SIGNER_ANSWER_MS 250 /* a signature takes 0.03 to 5 ms; the rest is for a busy machine */
#define SIGNER_RETRY_MS  20  /* until it is asked again when there was no memory for a request */
#define SIGNER_OWED_MAX  64  /* answers to signer_link_send() that may be on their way */

enum signer_state { SIGNER_GONE, SIGNER_THERE, SIGNER_STUCK };

/* An answer to signer_link_send() on link L, no matter who waits for it by now; its number is any. */
struct signer_link;
typedef void (*signer_answer_fn)(void *ctx, struct signer_link *l, const struct sign_answer *a);

struct signer_link {
    int fd; /* -1 = none at present */
    enum signer_state state;
    unsigned owed;      /* answers that have not come */
    uint64_t answer_ms; /* when it last answered, or began to owe */
    uint64_t asked;     /* requests of signer_link_ask() so far */
    uint32_t lacks;     /* the newest set that it said it does not have, nor any older one; 0 = none */
    signer_answer_fn on_answer;
    void *ctx;
    struct sign_wait *wait; /* of signer_link_ask(), while it does */
    unsigned breaches;      /* messages that no signer sends */
    unsigned refusals;      /* requests that were refused */
    int refused_for;        /* the last reason, enum err */
};

/* CTX is kept. */
void signer_link_init(struct signer_link *l, signer_answer_fn on_answer, void *ctx);

/* A new link, owned from here; the one before is closed. ERR_SYSTEM (errno): FD is closed. */
MUST_CHECK int signer_link_open(struct signer_link *l, int fd);
void signer_link_close(struct signer_link *l);

/* L's signer has answered that it does not have SET: it is not asked for that one and older ones. */
void signer_link_lacks(struct signer_link *l, uint32_t set);

/* Whether it may be asked for keys of SET now. */
bool signer_link_serves(const struct signer_link *l, uint32_t set);

/* How many requests it takes now. */
unsigned signer_link_room(const struct signer_link *l);

/* Sends N requests (at most signer_link_room(), and SIGN_BATCH_MAX) in one message. False: none was; L is stuck or gone. */
MUST_CHECK bool signer_link_send(struct signer_link *l, const struct sign_request *q, unsigned n);

/*
 * A key_sign_fn; CTX is the link. Answers to other requests that come first are given to on_answer(). ERR_SIGNER_TIMEOUT when
 * there is no signer, or it does not answer in time, or lacks the set; ERR_SIGNER_REFUSED.
 */
int signer_link_ask(void *ctx, struct key_name name, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                    size_t *ret_len);

/* It has sent what no signer sends, or has not sent what it owed: closed. */
void signer_link_broken(struct signer_link *l);

/* Processes what has happened to the link meanwhile, without blocking: answers, its end, a silence that is too long. */
void signer_link_look(struct signer_link *l);

/* When that is due by the passing of time alone (clock_mono_ms()); UINT64_MAX = never. */
uint64_t signer_link_due_ms(const struct signer_link *l);
