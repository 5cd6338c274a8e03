/*
 * An attempt in a fleet: one instance at a time makes it, by a lease in the store, and each step is one that another instance
 * can go on from. What the attempt has is part of struct order.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/order_lease.h"
#include "base/defs.h"
#include "conf/conf_acme.h"

struct job;
struct keymaking_cert;
struct order;
struct order_env;
struct ca;
struct answer;

struct order_shared {
    struct order_lease names, account;
    char name[CONF_SHARED_NAME_MAX];     /* of the certificate's objects */
    uint64_t version;                    /* that the next certificate has */
    uint64_t order_version, key_version; /* of what the store has */
    uint8_t *sealed;                     /* owned; what is shared next */
    size_t sealed_len;
};

/* Whether the attempt may go on: each lease is one that it has no need of, or that it has. Else it has ended. */
bool order_shared_holds(struct order *o);

/* How the job stands goes to the store; at the end of the attempt by the second one, whose answer outlives the attempt. */
void order_shared_put_job(struct order *o);
void order_shared_put_outcome(struct order *o);

/*
 * The account that the keymaker has taken up from the store, in that version, is used from now on, and its URL is on the disk
 * beside its key. The version in use already changes nothing: attempts that use it go on.
 */
void order_shared_use_account(const struct order_env *env, struct ca *ca, uint64_t version, struct span url);

/* The certificate of the fleet that C says is in use, and on the disk, with its issuer. */
void order_shared_take_cert(const struct order_env *env, struct job *j, const struct keymaking_cert *c);

/* Gives everything back. */
void order_shared_release(struct order *o);

/* States. */
void enter_lease(struct order *o);
void enter_take_up(struct order *o);
void enter_resume(struct order *o);
void enter_take_key(struct order *o);
void enter_take_account(struct order *o);
void enter_share_account(struct order *o);
void enter_confirm(struct order *o);
void enter_share_key(struct order *o);
void enter_offer(struct order *o);
void enter_share(struct order *o);
