/*
 * What goes to the other instances of a fleet, and comes from them: certificates with their keys, the key of an order under
 * way, the key of an account. Outside of this process they are sealed. What is older than what was taken before is refused.
 */
#pragma once

#include "base/defs.h"
#include "base/text.h"
#include "conf/conf.h"
#include "seal/seal.h"
#include "wire/keymaking.h"

struct fleet_keys {
    const struct conf_acme *conf;
    struct seal seal;
};

/* Reads the key file, while files may still be opened; without one nothing is shared. ERR_*; a sentence in WHY. */
MUST_CHECK int fleet_keys_init(struct fleet_keys *s, const struct conf *conf, struct text *why);

/* Whether Q is one of those. */
bool fleet_keys_is_asked(enum keymaking_op op);

/* The answer to Q in TO. Of KEYMAKING_OPEN_CERT: the name of its issuer, empty when another one stays in use. ERR_*; a sentence
 * in WHY. */
MUST_CHECK int fleet_keys_answer(const struct fleet_keys *s, const struct keymaking_request *q, uint8_t *to, size_t cap,
                                 size_t *ret_len, struct text *why);
