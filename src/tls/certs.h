/*
 * The certificates of all services as a handshaker uses them: chosen from the credential store by server name and by what the
 * client can verify, and turned into libssl's objects when a client first asks. Those are kept in a cache of fixed size, so a
 * process needs the same memory for ten certificates and for ten thousand.
 *
 * Exact names beat wildcards ("*.example.org", one label), wildcards beat the default, which is the first entry. For one name
 * there may be one entry per key type (RSA, EC, Ed25519); where two entries of one type have the same name, the one added first
 * serves it. Entries of other types that share the first entry's first name belong to the default too.
 */
#pragma once

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"
#include "creds/creds.h"

#define CERTS_CACHE_ENTRIES 1024 /* leaves with their keys; about 7 KB each */
#define CERTS_CACHE_CAS     64   /* intermediates, which chains share */

struct certs;

/* Where keys come from: by their number in the store. */
struct certs_keys {
    EVP_PKEY *(*get)(void *ctx, const struct creds *store, uint32_t key); /* a reference for the caller; NULL = not to be had */
    /* Signs at once, where the keys are in this process: as key_sign_fn in key_provider.h. NULL: they are elsewhere. */
    int (*sign)(void *ctx, const struct creds *store, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                size_t *ret_len);
    void (*release)(void *ctx); /* at the end; may be NULL */
    void *ctx;
    uint32_t set; /* number of the credentials, where the holder of the private halves is asked by number */
};

/* Maps the store in FD, which stays the caller's. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM; KEYS is not released then. */
MUST_CHECK int certs_open(int fd, const struct certs_keys *keys, struct certs **ret);

/* Handshakes that are under way keep what they use. */
void certs_free(struct certs *c);

/* What was mapped; borrowed. */
const struct creds *certs_store(const struct certs *c);

/* How the best entry of a service for NAME (lower case, "" = none requested) would be found. */
enum creds_match certs_lookup(const struct certs *c, uint32_t service, const char *name);

/* Takes an entry's objects, which stay the cache's; false: it could not. */
typedef bool (*certs_use_fn)(void *ctx, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain);

/* What a client of TLS 1.3 can verify (RFC 8446 4.2.3): small, since libssl asks for certificates when the hello is gone. */
struct certs_client {
    uint32_t schemes;    /* by which we may prove ourselves: bit I is sig_scheme_at(I) */
    uint16_t chain_sigs; /* by which a chain may be signed (chain_sigs.h) */
};

/* From its two lists (raw u16 lists; SIGALGS_CERT empty = not sent: the other one holds for both). */
struct certs_client certs_client_of(struct span sigalgs, struct span sigalgs_cert);

/*
 * Gives every entry for NAME to USE, one per key type; where there is a CLIENT (NULL = none) and something for it, the one that
 * certs_choose() chooses alone. ERR_CRYPTO.
 */
MUST_CHECK int certs_use(struct certs *c, uint32_t service, const char *name, const struct certs_client *client,
                         certs_use_fn use, void *ctx);

/* The leaf of the first entry for NAME, borrowed until the next call; NULL when it is not to be had. */
X509 *certs_leaf(struct certs *c, uint32_t service, const char *name);

/* The leaf of an entry, as above. */
X509 *certs_entry_leaf(struct certs *c, uint32_t entry);

/* Whether some entry for NAME can be verified with one of the signature algorithms (raw u16 list; empty = a client of SHA-1
 * times, which no entry serves). VERSION is the one that will be spoken. */
bool certs_has_sigalg(const struct certs *c, uint32_t service, const char *name, struct span sigalgs, uint16_t version);

/* What a TLS 1.3 handshake shows and signs with. OCSP borrows the store: valid as long as C. */
struct certs_choice {
    uint32_t entry;
    uint32_t key;     /* number of its key in the store */
    uint16_t scheme;  /* IANA registry "TLS SignatureScheme" */
    struct span ocsp; /* a response that is valid now; empty = none */
};

/*
 * The entry for NAME by which the first of our schemes can be served that the client lists: of those whose chain it can verify;
 * without one, of those whose leaf it can; else of all, since the client may know better (RFC 8446 4.4.2.2). ERR_NO_SIGALG.
 */
MUST_CHECK int certs_choose(const struct certs *c, uint32_t service, const char *name, const struct certs_client *client,
                            struct certs_choice *ret);

/* A Certificate message as one way of compression left it; kept with the entry's other objects. */
struct certs_packed {
    bool tried;        /* else the caller fills it in */
    uint32_t body_len; /* before */
    uint32_t len;      /* after; 0 = it saves nothing */
    uint8_t *p;        /* from malloc() */
};

/* The place for it, of the message with a staple or without; valid until the next call. NULL when it is not to be had. */
struct certs_packed *certs_packed(struct certs *c, uint32_t entry, int way, bool stapled);

/* Number of its credentials; whether certs_sign() has keys to sign with. */
uint32_t certs_set(const struct certs *c);
bool certs_signs(const struct certs *c);

/* A signature of TBS by a key of the store. What the keys' sign() says. */
MUST_CHECK int certs_sign(const struct certs *c, uint32_t key, uint16_t scheme, struct span tbs, uint8_t *sig, size_t cap,
                          size_t *ret_len);

/* The OCSP response of a leaf from here, while it is valid; empty = none. Borrows the leaf. */
struct span certs_staple(const X509 *leaf);
