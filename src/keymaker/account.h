/* The accounts: one key an issuer, and the requests that are signed by it. Headers and payloads are written here and nowhere
 * else. */
#pragma once

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "conf/eab_key.h"
#include "wire/keymaking.h"

/* What the keymaker knows beside the configuration. */
struct accounts {
    const struct conf_acme *conf;
    struct {
        uint8_t key[EAB_KEY_MAX]; /* for external account binding */
        size_t len;
    } eab[CONF_ISSUERS_MAX];
};

/* Reads the keys for external account binding, while files may still be opened. ERR_*; a sentence in WHY. */
MUST_CHECK int accounts_init(struct accounts *a, const struct conf_acme *conf, struct text *why);

/* The answer to Q in TO; its issuer and certificate are of the configuration. ERR_*; a sentence in WHY. */
MUST_CHECK int accounts_answer(const struct accounts *a, const struct keymaking_request *q, struct text *to, struct text *why);
