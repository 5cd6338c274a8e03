/*
 * From files and directories to a credential store (creds/creds.h). Runs in the config role and in `tls-off check`: every chain
 * is read, checked and put into the store with its names, its OCSP response and the file of its key. Private keys are not read,
 * save with CERT_LOAD_KEYS; where a file holds a key beside the chain, its bytes lie in memory for keys and are wiped.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"
#include "creds/creds_write.h"
#include "tls/cert_chain.h"

struct cert_load;

/* Keys are read too, and must belong to their certificates: for `tls-off check`, where no signer will look at them. */
#define CERT_LOAD_KEYS 1u

/* NULL when out of memory. */
struct cert_load *cert_load_new(unsigned flags);
void cert_load_free(struct cert_load *l);

/*
 * The next service, in the order of conf.services. FETCHED: the directory of OCSP responses that the acme role has fetched;
 * NULL = none are. ERR_NOMEM.
 */
MUST_CHECK int cert_load_service(struct cert_load *l, const char *name, const char *fetched);

struct cert_load_pair {
    const char *cert;       /* PEM, leaf first */
    const char *key;        /* PEM; may be the same file */
    const char *passphrase; /* file; NULL = none */
};

/*
 * Adds a chain with the name of its key's file. On failure a plain message (file, what was found, what was expected) is added
 * to WHY: unreadable, no PEM, no certificate, key of no supported kind, refused by libssl's security level. ERR_FORMAT,
 * ERR_SYSTEM, ERR_NOMEM. Taken with a warning: expired and not yet valid, names that another certificate serves already, a
 * response that cannot be stapled, a key file open to other users. After a failure L is as before; after ERR_NOMEM only good
 * for freeing.
 */
MUST_CHECK int cert_load_files(struct cert_load *l, const struct cert_load_pair *p, struct text *why, cert_warn_fn warn,
                               void *ctx);

/*
 * Adds what an item of "certificates" stands for (creds/cert_item.h), in order of name:
 * - of a directory every pair by name: "x.pem" or "x.crt" with the key in "x.key", or in "x.pem" itself; and what an ACME
 * client keeps there or in a directory below: "fullchain.pem" with "privkey.pem", "fullchain.cer" with the one "NAME.key";
 * - a file as one in a directory.
 * Hidden files, other directories and certificates without a key in a directory are passed over; a name of those above that
 * leads to no file is a warning. No pair is an error (ERR_NOT_FOUND). When pairs are bad, all of them are reported (separated
 * by "; ") and the good ones are added.
 */
MUST_CHECK int cert_load_item(struct cert_load *l, const char *item, struct text *why, cert_warn_fn warn, void *ctx);

size_t cert_load_count(const struct cert_load *l);

/* For material that others read: see creds_write.h. */
struct creds_writer *cert_load_writer(struct cert_load *l);

/* The store; L is only good for freeing then. ERR_LIMIT, ERR_NOMEM, ERR_SYSTEM (errno). */
MUST_CHECK int cert_load_seal(struct cert_load *l, int *ret_fd);
