/*
 * Decides by the wall clock which certificate is ordered, asks issuers when they want renewals, and does what operators ask
 * for. Looks about once a minute, so a clock that jumps is noticed; a few attempts run at a time.
 */
#pragma once

#include "acme/order.h"
#include "base/defs.h"

#define SCHEDULER_ORDERS 8

struct scheduler;

/* A job changed how it stands. */
typedef void (*scheduler_fn)(void *ctx, const struct job *j);

struct scheduler {
    struct order_env env;
    struct job *jobs; /* one a certificate, by the configuration's places */
    size_t njobs;
    struct order orders[SCHEDULER_ORDERS];
    struct ca_call asking; /* about a certificate in use: its state, or its renewal */
    struct job *asked;     /* whose; NULL = nobody's */
    struct ca_call command;
    uint16_t command_issuer;
    struct job *command_job;
    struct alarm_clock clock;
    size_t turn; /* where looking for something to ask begins */
    uint64_t (*random)(void);
    scheduler_fn changed;
    void *ctx;
    bool running;
};

/* ENV's ENDED and CTX are set here. JOBS and what they point to are the caller's. */
void scheduler_init(struct scheduler *s, const struct order_env *env, struct job *jobs, size_t njobs);

/* Begins: the first look is at once. */
void scheduler_run(struct scheduler *s);

/* A certificate is due before its time. */
void scheduler_renew(struct scheduler *s, uint16_t cert);

/* False: a command is under way already. */
bool scheduler_revoke(struct scheduler *s, uint16_t cert, uint8_t reason);
bool scheduler_rollover(struct scheduler *s, uint16_t issuer);

/* The attempt for J; NULL = none. */
const struct order *scheduler_order_of(const struct scheduler *s, const struct job *j);

/* Abandons all that is under way. */
void scheduler_stop(struct scheduler *s);
