/* Shared by the files of the attempt: what their states use. */
#pragma once

#include "acme/order.h"

#define ATTEMPT_S 3600 /* of all of it, from its beginning or the last program that has helped it on */

void order_goto(struct order *o, enum order_state next);

/* The attempt has failed. What follows depends on whose fault it was: the next issuer, another order, or a pause. */
void order_fail(struct order *o, enum fault fault, int64_t retry_after, const char *fmt, ...) PRINTF_LIKE(4, 5);

/* True when A is a fault, which has then been dealt with. */
bool order_failed_by(struct order *o, const struct answer *a);

/* POST-as-GET of o->url. */
void order_fetch(struct order *o, const char *url, answer_fn fn);

/* How long before something is looked at again: what the issuer says, else longer each time. */
void order_lengthen_pause(struct order *o, int64_t retry_after);

/* A text of the issuer's into TO; false when it is missing, too long, or no https URL. */
bool order_take_url(const json_t *json, const char *key, char to[static JOB_URL_MAX]);

/* order_authz.c */
void enter_authz(struct order *o);
void enter_record(struct order *o);
void enter_tell(struct order *o);
void enter_check(struct order *o);
bool order_take_authzs(struct order *o, const json_t *json);
