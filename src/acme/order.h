/*
 * One attempt to get a certificate, as a table of states (RFC 8555 7.1.6 from the client's side). The order at the issuer is
 * the truth: its URL is on the disk, so after a crash an attempt goes on by reading it, whatever it had come to. Each state
 * asks one thing, has a deadline, and may be repeated.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/ca.h"
#include "acme/challenges.h"
#include "acme/job.h"
#include "acme/order_shared.h"
#include "acme/store.h"
#include "base/alarm_clock.h"
#include "base/defs.h"
#include "wire/event.h"

enum order_state {
    ORDER_IDLE,
    ORDER_LEASE,        /* in a fleet: one instance at a time (order_shared.h) */
    ORDER_TAKE_UP,      /* another one may have ordered it meanwhile */
    ORDER_RESUME,       /* or may have begun to */
    ORDER_TAKE_KEY,     /* and may have made its key */
    ORDER_TAKE_ACCOUNT, /* all have one account */
    ORDER_DIRECTORY,
    ORDER_THUMBPRINT, /* our key, made when there is none */
    ORDER_ACCOUNT,    /* our account, made when there is none */
    ORDER_SHARE_ACCOUNT,
    ORDER_LIST,    /* one may have been made that nobody knows: the account's orders */
    ORDER_FIND,    /* whether one of them is ours */
    ORDER_CONFIRM, /* the lease is still ours */
    ORDER_NEW,
    ORDER_READ,    /* how far it is: leads to one of the next */
    ORDER_AUTHZ,   /* reads one authorization after the other */
    ORDER_RECORD,  /* a program puts its DNS record into place */
    ORDER_OFFER,   /* its challenge can be answered by all instances */
    ORDER_RESPOND, /* its challenge can be answered: the issuer may come */
    ORDER_PAUSE,   /* before it is looked at again */
    ORDER_CHECK,   /* reads authorizations until all are valid */
    ORDER_SHARE_KEY,
    ORDER_FINALIZE, /* the CSR */
    ORDER_POLL,     /* before the order is read again */
    ORDER_DOWNLOAD,
    ORDER_ALTERNATE, /* another chain, when that is preferred */
    ORDER_SHARE,
    ORDER_INSTALL,
    ORDER_STATES
};

/* What attempts share. */
struct order_env {
    struct loop *loop;
    const struct conf_acme *acme;
    struct share_link *share; /* of a fleet; NULL = none */
    struct ca *cas;           /* by the configuration's places */
    const struct job *jobs;   /* of all certificates; what is under way for one is not for another */
    size_t njobs;
    const struct store *store;
    struct challenges *challenges;
    struct log *log;
    int64_t (*now)(void);                    /* seconds since 1970 */
    void (*moved)(void *ctx, struct job *j); /* its attempt has a new state; NULL = nobody wants to know */
    void (*ended)(void *ctx, struct job *j, bool ok);
    void *ctx;
};

struct order {
    const struct order_env *env;
    struct job *job; /* NULL = free */
    struct ca *ca;
    enum order_state state;
    struct ca_call call;
    struct alarm_clock clock;
    uint64_t until_ms; /* of the whole attempt; a clock that is set does not move it */
    bool counted;      /* it has begun, as the disk knows */
    struct order_shared shared;
    unsigned tried;   /* issuers, by bits of their place in the certificate's list */
    bool began_again; /* the order that was there is of no use */
    bool replaces;    /* newOrder named the certificate that it replaces */
    bool no_replaces; /* the issuer does not take it as a renewal */
    bool account_new; /* the account was asked for in this attempt */
    struct {
        char url[JOB_URL_MAX];
        bool valid;
    } authz[CONF_ACME_NAMES_MAX];
    size_t nauthz, at;
    unsigned asked;              /* how often newOrder was sent */
    unsigned pages;              /* of the account's list of orders */
    size_t listed, looked;       /* orders in it, whose URLs are in AUTHZ meanwhile */
    struct challenge *challenge; /* of the one at AT, while its record is made */
    uint16_t name;               /* of the certificate, that it is about */
    uint32_t pause_ms;
    char url[JOB_URL_MAX]; /* of what is asked next */
    char finalize[JOB_URL_MAX];
    size_t alternate, nalternates;
    char alternates[HTTP_OUT_ALTERNATES][JOB_URL_MAX];
    char *chain; /* PEM, owned */
    size_t chain_len;
};

/* Begins, or goes on with, an attempt for J. The attempt is counted on the disk before the issuer hears of it. */
void order_begin(struct order *o, const struct order_env *env, struct job *j);

/* Ends it without an outcome; what is on the disk stays. */
void order_abandon(struct order *o);

/* "finalize"; static storage. */
const char *order_state_name(enum order_state state);
