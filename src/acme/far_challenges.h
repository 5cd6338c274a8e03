/*
 * Challenges of orders that other instances of the fleet make: a validator may come to any machine. What is not found here is
 * looked for in the store, by any client that asks for a configured name; few at a time, and who asks waits meanwhile. Answers
 * are not kept: what is offered next must be found. What is for an account that is none of ours was put there by a stranger,
 * and is not answered.
 */
#pragma once

#include "acme/challenges.h"
#include "acme/far_accounts.h"
#include "acme/share_link.h"

#define FAR_PLACES 32

enum far_state { FAR_NONE, FAR_ASKED, FAR_FOUND };

struct log;

struct far_challenges {
    struct share_link *share;
    const struct conf_acme *acme;
    struct far_accounts *accounts;
    struct log *log;
    struct log_pause pause;
    struct far_place {
        struct far_challenges *far;
        enum far_state state;
        char name[CHALLENGE_SHARED_MAX]; /* in the store; "" = free */
        struct challenge found;
        uint64_t unknown_since; /* round of ACCOUNTS in which its account was none of ours; 0 = it is not known yet */
    } places[FAR_PLACES];
    void (*answered)(void *ctx); /* who waits may look again */
    void *ctx;
};

/* NAME: as a client has sent it, or a token. FAR_ASKED: ANSWERED() will be called. *ret is borrowed until the next turn. */
enum far_state far_find(struct far_challenges *f, enum challenge_type type, struct span name, const struct challenge **ret);

/* A round of ACCOUNTS is over: what waited for it is decided. */
void far_decide(struct far_challenges *f, uint64_t round);

/* Whether a challenge for this name can be somebody's: it is configured. */
bool far_may_be(const struct far_challenges *f, struct span name);
