/* The links to the signers, and the connections that wait for a signature. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct handshaker;
struct conn;

void signing_init(struct handshaker *h);
void signing_link(struct handshaker *h, uint16_t signer, int fd); /* FD is owned from here */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
bool signing_there(const struct handshaker *h);

/* After a step of libssl: logs what it has shown of the signer. */
void signing_note(struct handshaker *h);

/* C, of which nothing has been sent, waits with its ClientHello. */
void signing_wait(struct handshaker *h, struct conn *c);

/* Resumes those that wait, when a signer is there; true when some are left for the next turn. */
bool signing_turn(struct handshaker *h);
