/*
 * Accounts of the fleet that other instances have made: taken up from the store, so that what others offer validators can be
 * distinguished from what a stranger has put there. A challenge is answered only for an account of ours (its thumbprint, RFC
 * 8555 8.1).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/ca.h"
#include "base/alarm_clock.h"
#include "base/defs.h"
#include "base/log_pause.h"
#include "base/span.h"

struct scheduler;

struct far_accounts {
    struct scheduler *scheduler;
    uint64_t round; /* the one under way, or the last */
    bool running;
    bool again;
    size_t at; /* issuer */
    struct ca_call call;
    uint8_t *sealed; /* owned */
    struct log_pause pause;
    struct alarm_clock again_at;             /* after what failed here: disk, keymaker */
    void (*done)(void *ctx, uint64_t round); /* of all issuers, what the store has is known */
    void *ctx;
};

/* DONE and CTX are set by the caller afterwards. */
void far_accounts_init(struct far_accounts *f, struct scheduler *s);
void far_accounts_stop(struct far_accounts *f);

/* Looks at all issuers, in a round that begins now, or when the one under way is over. */
void far_accounts_look(struct far_accounts *f);

bool far_accounts_has(const struct far_accounts *f, struct span thumbprint);
