/* Shared by the files of the attempt: what their states use. */
#pragma once

#include "acme/order.h"

/* An hour for all of it, from now on: at its beginning, and when a program has helped it on. */
void order_allow_time(struct order *o);

void order_goto(struct order *o, enum order_state next);

/* The attempt is written down, and begins. */
void order_count(struct order *o);

/* The account is there: what comes next. */
void order_after_account(struct order *o);

/* The PLACE-th of the certificate's issuers is asked from now on. */
void order_use_issuer(struct order *o, uint16_t place);

/* How the order stands goes to the disk and, in a fleet, to the store. */
void order_write(struct order *o);

/* The order under way at this issuer is of no use. */
void order_drop(struct order *o);

/* Gives back all that the attempt has. */
void order_release(struct order *o);

/* The attempt has failed. What follows depends on whose fault it was: the next issuer, another order, or a pause. */
void order_fail(struct order *o, enum fault fault, int64_t retry_after, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* True when A is a fault, which has then been dealt with. */
bool order_failed_by(struct order *o, const struct answer *a);

/* POST-as-GET of o->url. */
void order_fetch(struct order *o, const char *url, answer_fn fn);

/* How long before something is looked at again: what the issuer says, else longer each time. */
void order_lengthen_pause(struct order *o, int64_t retry_after);

/* A text of the issuer's into TO; false when it is missing (NULL), too long, or no https URL. */
bool order_take_url(const char *url, char to[static JOB_URL_MAX]);

/* order_find.c */
void enter_list(struct order *o);
void enter_find(struct order *o);

/* order_authz.c */
void enter_authz(struct order *o);
void enter_record(struct order *o);
void enter_respond(struct order *o);
void enter_check(struct order *o);
bool order_take_authzs(struct order *o, const json_t *json);
