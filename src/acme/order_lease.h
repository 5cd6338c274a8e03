/*
 * What an attempt in a fleet holds alone: the names of its certificate, as validators ask by the name alone, and for a while
 * the account at an issuer. The store gives all names of one lease or none, so nobody waits for another one who waits for him.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/share_link.h"
#include "base/alarm_clock.h"
#include "base/defs.h"
#include "conf/conf_acme.h"

struct order;

struct order_lease {
    struct order *order;
    const struct conf_managed *cert;        /* whose names are leased; NULL = an account is */
    char account[CONF_SHARED_NAME_MAX + 8]; /* "account/NAME" */
    uint64_t fence;                         /* 0 = not held */
    uint64_t until_ms;                      /* monotonic: as we count, not later than the store does */
    uint64_t asked_ms;                      /* when it was last asked for */
    struct alarm_clock renewal;
};

/* Asks for it; FN has O. False: it cannot be asked. */
MUST_CHECK bool order_lease_ask(struct order_lease *l, struct order *o, share_fn fn);

/* The store has given it: it is renewed from now on. */
void order_lease_begin(struct order_lease *l, uint64_t fence);

/* Asks whether it is still ours; FN has O. False: it cannot be asked. */
MUST_CHECK bool order_lease_confirm(struct order_lease *l, struct order *o, share_fn fn);

/* Whether it is held for certain, or is not wanted at all. */
bool order_lease_is_safe(const struct order_lease *l);

/* The store says that it is another one's. The attempt ends. */
void order_lease_lose(struct order_lease *l);

/* Goes back to the store, if it is held. Without the store it ends there with its time. */
void order_lease_give(struct order_lease *l);

/* What writes name that are only for the one who holds it. */
struct span order_lease_key(const struct order_lease *l);
