/*
 * Decides by the wall clock which certificate is ordered, asks issuers when they want renewals, and does what operators ask
 * for. Looks about once a minute, so a clock that jumps is noticed; a few attempts run at a time.
 */
#pragma once

#include "acme/follow.h"
#include "acme/info_shared.h"
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
    struct info_shared info;
    struct ca *learned; /* the issuer that is asked what operators put into records; NULL = none */
    struct ca_call command;
    struct follow follow;
    uint16_t command_issuer;
    struct job *command_job;
    struct alarm_clock clock;
    bool soon;                    /* CLOCK is set for a moment from now */
    int64_t looked_s;             /* wall clock, and monotonic, of the last look: a clock that is set shows */
    uint64_t looked_ms, swept_ms; /* and when all was reported last */
    size_t turn;                  /* where looking for something to ask begins */
    uint64_t (*random)(void);
    scheduler_fn changed;
    void *ctx;
    bool running;
};

/* ENV's ENDED and CTX are set here. JOBS and what they point to are the caller's. */
void scheduler_init(struct scheduler *s, const struct order_env *env, struct job *jobs, size_t njobs);

/* Begins: the first look is at once. */
void scheduler_run(struct scheduler *s);

/* The issuer is asked when it wants a renewal of the certificate that is asked about. */
void scheduler_ask_issuer(struct scheduler *s);

/* It is known; URL may say why, or be NULL. An end not behind its start is no window. */
void scheduler_use_window(struct scheduler *s, struct job *j, const int64_t window[static 2], const char *url);

/* What was asked is known, and written down. */
void scheduler_end_question(struct scheduler *s);

/* Something has changed: looks again in a moment. */
void scheduler_look_soon(struct scheduler *s);

/* A certificate is due before its time. */
void scheduler_renew(struct scheduler *s, uint16_t cert);

/* The issuer has revoked the one that began at NOT_BEFORE: if that is in use, another one is due. */
void scheduler_revoked(struct scheduler *s, uint16_t cert, int64_t not_before);

/* False: a command is under way already. */
bool scheduler_revoke(struct scheduler *s, uint16_t cert, uint8_t reason);
bool scheduler_rollover(struct scheduler *s, uint16_t issuer);

/* The attempt for J; NULL = none. */
const struct order *scheduler_order_of(const struct scheduler *s, const struct job *j);

/* What it is doing, or waiting for: "download"; static storage. */
const char *scheduler_state_of(const struct scheduler *s, const struct job *j);

/* When the next attempt is due, the pauses of all its issuers included; seconds since 1970. */
int64_t scheduler_due(const struct scheduler *s, const struct job *j);

/* Abandons all that is under way. */
void scheduler_stop(struct scheduler *s);
