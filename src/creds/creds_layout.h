/*
 * How a credential store lies in memory: a head, then tables of fixed records, then the bytes they refer to. Both sides are the
 * same binary on the same machine, so numbers have its byte order. Only creds.c and creds_write.c see this.
 *
 * Head and row tables are not in the digest: the table's hash is keyed at random, and the key stamp is compared separately.
 */
#pragma once

#include <stdint.h>

#include "base/hash.h"
#include "creds/creds.h"

#define CREDS_MAGIC  0x544f4352u /* "TOCR" */
#define CREDS_FORMAT 2u

/* N records at OFF bytes from the beginning; OFF is a multiple of 8. */
struct creds_table {
    uint32_t off, n;
};

/* LEN bytes at OFF from the beginning of the bytes. A text has a zero behind it that is not counted. */
struct creds_ref {
    uint32_t off, len;
};

struct creds_head {
    uint32_t magic, format;
    uint64_t len;
    uint8_t digest[CREDS_DIGEST_LEN];
    uint64_t key_stamp;
    struct hash_key hash_key;
    struct creds_table services, entries, keys, certs, refs; /* digested from here on: in this order, without gaps */
    struct creds_table bytes;
    struct creds_table rows;
};

/* N records of another table, from FIRST on. */
struct creds_range {
    uint32_t first, n;
};

struct creds_service_rec {
    struct creds_ref name;
    struct creds_range entries;
    struct creds_range rows;                  /* a power of two, never all in use; 0 = no names */
    struct creds_range client_ca, client_crl; /* refs */
    uint32_t fallback[CREDS_SLOTS];           /* entries, or CREDS_NONE */
    uint32_t unused;
};

struct creds_entry_rec {
    int64_t ocsp_from, ocsp_until;
    struct creds_ref cert_file, issuer, serial, ocsp;
    struct creds_range certs;
    struct creds_range names; /* refs */
    uint32_t service, key, kind;
    uint16_t leaf_sig, chain_sigs;
};

struct creds_key_rec {
    struct creds_ref file, pass_file, spki; /* no pass file: length 0 */
    uint32_t kind, unused;
};

struct creds_cert_rec {
    int64_t not_before, not_after;
    struct creds_ref der;
};

/* Of a hash table with open addressing; not in use: the name's length is 0. */
struct creds_row {
    struct creds_ref name;
    uint32_t entry[CREDS_SLOTS]; /* or CREDS_NONE */
    uint32_t hash;               /* its low half, to spare comparing */
};
