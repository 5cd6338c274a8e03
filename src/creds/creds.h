/*
 * The credential store: all public TLS material of one configuration in one sealed memfd, mapped read-only by every process
 * that needs it, so that ten thousand certificates are in memory once. Private keys are never in it, only the names of their
 * files and the public keys that they must belong to.
 *
 * It is made by the config role (creds/creds_write.h). The layout is checked once, when it is mapped, since a role trusts no
 * other role; after that every accessor gives what lies within the mapping. Spans and texts borrow the mapping.
 * The DER is not parsed here: its parser treats it as outside bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define CREDS_MAX        (1024u * 1024 * 1024) /* bytes of a store */
#define CREDS_DIGEST_LEN 32
#define CREDS_CHAIN_MAX  32 /* certificates of one chain */
#define CREDS_NEVER      INT64_MAX
#define CREDS_NONE       UINT32_MAX

enum creds_kind { CREDS_RSA, CREDS_EC_P256, CREDS_EC_P384, CREDS_ED25519, CREDS_KINDS };

/* For one name there may be one entry of each of these: libssl has one place for both curves. */
enum creds_slot { CREDS_SLOT_RSA, CREDS_SLOT_EC, CREDS_SLOT_ED25519, CREDS_SLOTS };

enum creds_slot creds_slot_of(enum creds_kind kind);

/* "RSA", "P-256"; static storage. */
const char *creds_kind_name(enum creds_kind kind);

/* How well a name fits a service's certificates. */
enum creds_match { CREDS_NO_MATCH, CREDS_DEFAULT, CREDS_WILDCARD, CREDS_EXACT };

/* A mapped store. Copying the struct does not map it again. */
struct creds {
    const struct creds_head *head;
    size_t len;
    bool mapped;
};

/* Maps what FD holds and checks it. FD stays the caller's. ERR_FORMAT (not sealed, or no store), ERR_SYSTEM. */
MUST_CHECK int creds_map(int fd, struct creds *ret);
void creds_unmap(struct creds *c);

/* The check alone, over bytes that the caller keeps (8-aligned). ERR_FORMAT. */
MUST_CHECK int creds_of(struct span bytes, struct creds *ret);

/* SHA-256 over all that was gathered: equal stores, equal contents (CREDS_DIGEST_LEN bytes). */
const uint8_t *creds_digest(const struct creds *c);

/* Changes when a key file was written or replaced, its content not being known. */
uint64_t creds_key_stamp(const struct creds *c);

/* ---- services: in the order of conf.services ---- */

struct creds_service {
    const char *name;
    uint32_t first_entry, nentries; /* its entries, in the order of the configuration; the first is the default */
    uint32_t nclient_ca, nclient_crl;
};

uint32_t creds_services(const struct creds *c);
struct creds_service creds_service(const struct creds *c, uint32_t service);

/* DER of the n-th certificate of the client CA bundle, of the n-th CRL; empty beyond the last. */
struct span creds_client_ca(const struct creds *c, uint32_t service, uint32_t n);
struct span creds_client_crl(const struct creds *c, uint32_t service, uint32_t n);

/* ---- entries: a chain and the key that belongs to it ---- */

struct creds_entry {
    enum creds_kind kind;
    uint32_t service;
    uint32_t key;    /* number of its key */
    uint32_t nchain; /* certificates, the leaf included */
    uint32_t nnames;
    uint16_t leaf_sig, chain_sigs; /* how its leaf and all of its chain are signed (tls/chain_sigs.h) */
    const char *cert_file;
    const char *issuer;            /* of the leaf, one line for display */
    const char *serial;            /* hex */
    struct span ocsp;              /* DER of a checked OCSPResponse; empty = none */
    int64_t ocsp_from, ocsp_until; /* seconds since 1970; CREDS_NEVER = no nextUpdate */
};

uint32_t creds_entries(const struct creds *c);
struct creds_entry creds_entry(const struct creds *c, uint32_t entry);

struct creds_cert {
    struct span der;               /* equal certificates of many chains are the same bytes at the same place */
    int64_t not_before, not_after; /* seconds since 1970; INT64_MIN = cannot be read */
};

/* The n-th certificate of an entry's chain, 0 = leaf. N below nchain. */
struct creds_cert creds_cert(const struct creds *c, uint32_t entry, uint32_t n);

/* The n-th host name of an entry (lower case, A-labels, may begin with "*."). N below nnames. */
const char *creds_name(const struct creds *c, uint32_t entry, uint32_t n);

/* Every name of the service's entries, each once or more. SERVICE below creds_services(). */
void creds_each_name(const struct creds *c, uint32_t service, void (*take)(void *ctx, const char *name), void *ctx);

/* ---- private keys, by what is public of them; several entries may share one ---- */

struct creds_key {
    enum creds_kind kind;
    const char *file;      /* PEM */
    const char *pass_file; /* NULL = the key is not encrypted */
    struct span spki;      /* DER of the SubjectPublicKeyInfo that the key must belong to */
};

uint32_t creds_keys(const struct creds *c);
struct creds_key creds_key(const struct creds *c, uint32_t key);

/* ---- choosing by server name ---- */

/*
 * The entries that serve NAME (lower case, no trailing dot; "" = none requested), one a slot or CREDS_NONE: an exact name beats
 * a wildcard of one label, a wildcard beats the default. A slot that is empty in the better row comes from the wildcard's.
 */
enum creds_match creds_choose(const struct creds *c, uint32_t service, const char *name, uint32_t ret[static CREDS_SLOTS]);
