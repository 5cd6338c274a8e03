/*
 * DNS records of challenges (dns-01): put into place and removed by a program that the supervisor runs, one at a time. How far
 * the record of a challenge is stands in the challenge itself, so asking for its removal never needs room.
 */
#pragma once

#include "acme/challenges.h"
#include "base/ipc.h"

/* WHY: "" = it is there. */
typedef void (*records_fn)(void *ctx, const char *why);

/* Has the record of CH put into place, for a name of conf.acme. FN is called unless the challenge is withdrawn before. */
void records_want(struct challenges *c, struct challenge *ch, uint16_t issuer, uint16_t cert, uint16_t name, records_fn fn,
                  void *ctx);

/* The challenge is withdrawn: so is its record, some time. */
void records_release(struct challenges *c, struct challenge *ch);

/* The supervisor's answer. */
void records_hear(struct challenges *c, const struct ipc_msg *m);
