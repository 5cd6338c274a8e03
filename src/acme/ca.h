/*
 * One issuer: its directory, a pool of nonces, our account, and signed requests to it (RFC 8555 6, 7.1.1, 7.3). A request is a
 * few steps: directory, nonce, signature by the keymaker, POST; one refused for its nonce is signed again at once.
 *
 * A change of the account's key that was interrupted leaves two keys, and the issuer alone knows which is in force. Before the
 * first request that is signed, and whenever a signature may have been by the wrong one, it is asked.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acme/answer.h"
#include "acme/ca_backoff.h"
#include "acme/key_link.h"
#include "base/defs.h"
#include "base/text.h"
#include "conf/conf_acme.h"
#include "http_out/http_out.h"
#include "wire/keymaking.h"

#define CA_NONCES    8
#define CA_URL_MAX   1024
#define CA_TRIES_MAX 10 /* of one request, for its nonce; of newOrder by who asks */

struct log;
struct store;

enum ca_url { CA_NEW_NONCE, CA_NEW_ACCOUNT, CA_NEW_ORDER, CA_REVOKE_CERT, CA_KEY_CHANGE, CA_RENEWAL_INFO, CA_URLS };

struct ca {
    const struct conf_issuer *issuer;
    uint16_t index;
    struct http_out *http;
    struct key_link *keys;
    struct span trust; /* certificates in PEM */
    const struct store *store;
    struct log *log;

    char urls[CA_URLS][CA_URL_MAX]; /* "" = not offered */
    bool known;                     /* the directory is here */
    uint64_t read_ms;               /* since then */
    json_t *profiles;               /* that it offers; NULL = none */
    json_t *domains, *caa;          /* its names in records of dns-persist-01, and for CAA; NULL = not said */
    char hash_prefix[CA_URL_MAX];   /* of accounts in such records; "" = their URL is there as it is */
    char nonces[CA_NONCES][KEYMAKING_NONCE_MAX + 1];
    size_t nnonces;
    char account[CA_URL_MAX];  /* "" = not known */
    uint64_t account_version;  /* in the store of the fleet; 0 = not known */
    char thumbprint[64];       /* of our key; "" = not known */
    char account_key[64];      /* the thumbprint of the key that ACCOUNT is of; "" = not known */
    int64_t learn_s;           /* it is not asked for before then */
    int64_t info_s;            /* nor for renewal information */
    bool settled;              /* it is known which key it has for our account: the keymaker's in use, not one that waits */
    bool waits;                /* one waits, as far as is known: it has not been in force when that was settled */
    unsigned attempts;         /* under way at it */
    struct ca_backoff backoff; /* no attempt begins at it */
};

/* A request under way; begins zeroed. */
struct ca_call {
    struct ca *ca; /* NULL = none */
    enum { CALL_DIRECTORY, CALL_ACCOUNT, CALL_NONCE, CALL_SIGNING, CALL_POST, CALL_GET, CALL_KEYMAKER } step;
    enum keymaking_op op;
    uint16_t cert;
    enum ca_url place; /* CA_URLS: URL is given */
    char url[CA_URL_MAX];
    uint8_t data[512];
    size_t data_len;
    unsigned tries;
    bool directory_only;
    bool resettled;
    struct http_out_request http;
    answer_fn fn;
    void *ctx;
};

/* Reads what server certificates of the issuer are checked against. ERR_*; a sentence in WHY. */
MUST_CHECK int ca_init(struct ca *c, const struct conf_issuer *issuer, uint16_t index, struct http_out *http,
                       struct key_link *keys, const struct store *store, struct log *log, struct text *why);

/* Has the directory read when it is not known, or old, and which key is the account's. The answer is empty. */
void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx);

/* A signed request to PLACE of the directory, or to URL (with CA_URLS). DATA as wire/keymaking.h has it. FN is called once. */
void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, enum ca_url place, const char *url,
             struct span data, answer_fn fn, void *ctx);

/* A GET of PLACE, "/" and SUFFIX, not signed. The directory is read before when it is not known. */
void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx);

/* Only what the keymaker does alone: its data is the answer's body. */
void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, struct span data, answer_fn fn,
                 void *ctx);

/* FN is not called any more. */
void ca_cancel(struct ca_call *call);

/* Whether the directory offers this profile. */
bool ca_has_profile(const struct ca *c, const char *profile);
