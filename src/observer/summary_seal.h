/*
 * How summaries of clients travel (wire/summary.h): sealed with the fleet's key from observer to observer, so that neither the
 * store nor anyone who writes to it can make one up. The instance is in front in clear, for the key in the store, and is
 * authenticated.
 */
#pragma once

#include "base/buf.h"
#include "base/defs.h"
#include "conf/conf_store.h"
#include "seal/seal.h"
#include "wire/summary.h"

struct summary_seal {
    struct seal seal;
    char name[CONF_CLUSTER_MAX + 16]; /* of one cluster no other one takes it */
    struct buf out;
};

/* Reads the key file, while files may still be opened. ERR_*; a sentence in WHY. */
MUST_CHECK int summary_seal_init(struct summary_seal *s, const struct conf_store *conf, struct text *why);
void summary_seal_fini(struct summary_seal *s);

/* SUMMARY of INSTANCE for the store; borrows S until the next one. Empty: it cannot be sealed. */
struct span summary_seal_close(struct summary_seal *s, uint64_t instance, struct span summary);

/* The reverse: borrows TO. ERR_CRYPTO: sealed with another key or for another cluster, or not at all. */
MUST_CHECK int summary_seal_open(const struct summary_seal *s, struct span sealed, uint8_t to[static SUMMARY_MAX],
                                 struct span *ret);
