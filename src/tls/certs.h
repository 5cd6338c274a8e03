/*
 * The certificates of one service: loaded from files and folders, chosen by server name and by what the client can verify.
 *
 * An entry is a chain with its private key. Exact names beat wildcards ("*.example.org", one label), wildcards beat the
 * default, which is the first entry. For one name there may be one entry per key type (RSA, EC, Ed25519); where two entries of
 * one type have the same name, the one added first serves it. Entries of other types that share the first entry's first name
 * belong to the default too.
 */
#pragma once

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/text.h"

struct certs;

/* How well a name fits a service's certificates. */
enum certs_match { CERTS_NONE, CERTS_DEFAULT, CERTS_WILDCARD, CERTS_EXACT };

struct certs *certs_new(void);
void certs_free(struct certs *c);

/*
 * Adds the chain in CERT_FILE (PEM, leaf first) with the key in KEY_FILE (PEM). On failure a plain message for the operator
 * (file, what was found, what was expected) is added to WHY: unreadable, no PEM, no certificate, key of no supported kind
 * (RSA >= 2048, EC P-256/P-384, Ed25519), key that does not match. ERR_FORMAT, ERR_SYSTEM, ERR_NOMEM.
 * Also refused: files above 1 MiB, encrypted keys, and what libssl's security level does not allow. Expired and not-yet-valid
 * certificates are taken; certs_warnings() tells. After a failure C is as before, but after ERR_NOMEM only good for freeing.
 */
MUST_CHECK int certs_add_files(struct certs *c, const char *cert_file, const char *key_file, struct text *why);

/*
 * Adds every pair of a folder, by name: "x.pem" or "x.crt" with the key in "x.key", or in "x.pem" itself. In order of
 * name. Hidden files, folders and certificates without a key are passed over. A folder with no pair is an error. When pairs are
 * bad, all of them are told (separated by "; ") and the good ones are added.
 */
MUST_CHECK int certs_add_folder(struct certs *c, const char *folder, struct text *why);

size_t certs_count(const struct certs *c);

/* How the best entry for NAME (lower case, "" = none asked for) would be found. */
enum certs_match certs_lookup(const struct certs *c, const char *name);

/* Puts every entry that serves NAME into SSL (one per key type; libssl picks by the client's signature algorithms). ERR_CRYPTO.
 */
MUST_CHECK int certs_use(const struct certs *c, const char *name, SSL *ssl);

/* Whether some entry for NAME can be verified with one of the signature algorithms (raw u16 list; empty = a client of SHA-1
 * times, which no entry serves). VERSION is the one that will be spoken. */
bool certs_has_sigalg(const struct certs *c, const char *name, struct span sigalgs, uint16_t version);

/*
 * One line for each certificate (those of the chains included) that is expired, not yet valid, or about to expire within DAYS,
 * and for each key file that other users could open.
 */
void certs_warnings(const struct certs *c, int days, void (*line)(void *ctx, const char *text), void *ctx);
