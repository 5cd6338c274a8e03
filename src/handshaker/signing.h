/* The links to the signers, and the connections that wait for a signature. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/wheel.h"
#include "handshaker/signer_link.h"

struct handshaker;
struct conn;

#define SIGNERS 2 /* our own, and the next worker's while ours hangs or is gone */

struct signing {
    struct signer_link links[SIGNERS];
    struct list asked[SIGNERS]; /* connections whose request is there, oldest first */
    bool notified[SIGNERS];     /* that it does not answer */
    uint32_t gens[SIGNERS];     /* how many links there were: what is reported of an earlier one is not of the present one */
    struct list unasked;        /* whose requests are to be sent, oldest first */
    unsigned wanted;            /* signatures, since they were last asked for */
    struct list answered;       /* that have their signature, and go on at the end of the turn */
    struct list helloed;        /* that have nothing but a ClientHello, and begin when a signer is there */
    struct wtimer timer;        /* the time of signers that owe answers */
    uint32_t waits;             /* for a signature in the middle of a step of libssl's */
};

void signing_init(struct handshaker *h);
void signing_link(struct handshaker *h, uint16_t signer, int fd); /* FD is owned from here */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void signing_timeout(void *ctx, struct wtimer *t);
/* Whether a signer answers and has the keys in use. */
bool signing_there(const struct handshaker *h);

/* The process did not run for MS: the time of signers moves. */
void signing_shift(struct handshaker *h, uint64_t ms);

/* Logs what became of the signers, and takes back what was asked of those that are stuck or gone. */
void signing_note(struct handshaker *h);

/* C's handshake wants a signature: it is asked for with others, at the end of the turn, or when they are enough. */
void signing_want(struct handshaker *h, struct conn *c);

/* C, of which nothing has been sent, waits with its ClientHello. */
void signing_wait(struct handshaker *h, struct conn *c);

/* The end of a turn: goes on where there is an answer or a signer, and asks. True when some are left for the next turn. */
bool signing_turn(struct handshaker *h);
