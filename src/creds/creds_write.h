/*
 * Making a credential store (creds/creds.h): what the config role has read and checked is gathered and sealed. Equal bytes are
 * kept once, so chains that share an intermediate cost it once. Everything given is copied.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "creds/creds.h"

struct creds_writer;

struct creds_writer *creds_writer_new(void); /* NULL when out of memory */
void creds_writer_free(struct creds_writer *w);

/* The next service, in the order of conf.services; what is added after belongs to it. ERR_NOMEM, ERR_LIMIT throughout. */
MUST_CHECK int creds_add_service(struct creds_writer *w, const char *name);

struct creds_new_entry {
    enum creds_kind kind;
    const struct creds_cert *chain; /* leaf first */
    uint32_t nchain;
    uint16_t leaf_sig, chain_sigs; /* as in struct creds_entry */
    struct span spki;
    const char *cert_file;
    const char *key_file;
    const char *pass_file; /* NULL = none */
    const char *issuer;
    const char *serial;
    struct span ocsp;
    int64_t ocsp_from, ocsp_until;
    uint64_t key_stamp; /* changes when the key file does */
};
MUST_CHECK int creds_add_entry(struct creds_writer *w, const struct creds_new_entry *e, uint32_t *ret_entry);

/*
 * A host name of the last entry, as creds_name() gives it. *RET_OTHER is CREDS_NONE, or an earlier entry of the same slot that
 * has the name already and keeps it.
 */
MUST_CHECK int creds_add_name(struct creds_writer *w, const char *name, uint32_t *ret_other);

/* The file that an earlier entry came from; valid until something is added. */
const char *creds_writer_cert_file(const struct creds_writer *w, uint32_t entry);

/* Every name of the entries of a service, as it was added; those that an earlier entry keeps come again. */
void creds_writer_names(const struct creds_writer *w, uint32_t service, void (*take)(void *ctx, const char *name), void *ctx);

/* Client-authentication material of the last service: all certificates, then all CRLs, nothing else between them. */
MUST_CHECK int creds_add_client_ca(struct creds_writer *w, struct span der);
MUST_CHECK int creds_add_client_crl(struct creds_writer *w, struct span der);

/*
 * Writes the store into a sealed memfd. DIGEST is SHA-256 (this layer knows no cryptography). The writer is only good for
 * freeing then. ERR_LIMIT, ERR_NOMEM, ERR_SYSTEM (errno).
 */
typedef void (*creds_digest_fn)(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]);
MUST_CHECK int creds_seal(struct creds_writer *w, creds_digest_fn digest, int *ret_fd);
