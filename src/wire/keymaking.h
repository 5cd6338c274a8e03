/*
 * What the acme role asks of the keymaker and what it gets back, over one SOCK_SEQPACKET link.
 *
 * A request names an operation, an issuer and a certificate by their places in the configuration, and, for a signature, the
 * URL, the nonce and the account that go into the protected header (RFC 8555 6.2). The keymaker writes header and payload
 * itself, so the only things it ever signs are these forms: an account's request for a certificate of other names, or for
 * another key than the keymaker's own, cannot be had from it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"

enum keymaking_type {
    KEYMAKING_REQUEST = 1,
    KEYMAKING_DONE,    /* number, data */
    KEYMAKING_REFUSED, /* number, a sentence: what was asked, or the data that came with it, is not of a kind that is done */
    KEYMAKING_FAILED,  /* number, a sentence: it could not be done here: disk, memory */
};

/* X(symbol, name in logs, ISSUER and CERT that are looked at, what DATA is; what the answer is) */
#define KEYMAKING_OPS(X)                                                                                                       \
    X(THUMBPRINT, "thumbprint")      /* of the account's key (RFC 7638), which is made when there is none; text */             \
    X(ACCOUNT, "newAccount")         /* a JWS by the key itself */                                                             \
    X(FETCH, "POST-as-GET")          /* a JWS with an empty payload */                                                         \
    X(CHALLENGE, "challenge")        /* a JWS with {} */                                                                       \
    X(ORDER, "newOrder")             /* for the certificate's names; data: struct keymaking_order; a JWS */                    \
    X(FINALIZE, "finalize")          /* a JWS with a CSR for the certificate's names and its new key */                        \
    X(REVOKE, "revokeCert")          /* of the certificate in use; data: the reason, one byte; a JWS */                        \
    X(ROLLOVER, "keyChange")         /* a JWS that changes the account's key to one that waits */                              \
    X(WAITS, "waiting key")          /* of an account, of a rollover whose end is not known: its thumbprint; empty = none */   \
    X(FIND, "find account")          /* a JWS by the key that waits: newAccount that makes none; empty = none waits */         \
    X(ROLLED_OVER, "rolled over")    /* the key that waits, if one does, is the account's now; thumbprint of that one */       \
    X(INSTALL, "install")            /* data: a chain in PEM; struct keymaking_cert */                                         \
    X(INSPECT, "inspect")            /* struct keymaking_cert of the one in use */                                             \
    X(SEAL_CERT, "seal certificate") /* data: a version, and a chain for the order's key; sealed with both and the issuer */   \
    X(SEAL_KEY, "seal key")          /* data: a version; the order's key, which is made when there is none, sealed */          \
    X(SEAL_ACCOUNT, "seal account")  /* data: a version, and the account's URL; sealed with the account's key */               \
    X(OPEN_CERT, "take certificate") /* data: a version, and what was sealed; put into use; struct keymaking_cert */           \
    X(OPEN_KEY, "take key")          /* the same; the order's key from now on; empty */                                        \
    X(OPEN_ACCOUNT, "take account")  /* the same; the account's key from now on; its URL */

enum keymaking_op {
#define KEYMAKING_OP(symbol, name) KEYMAKING_##symbol,
    KEYMAKING_OPS(KEYMAKING_OP)
#undef KEYMAKING_OP
        KEYMAKING_COUNT
};

const char *keymaking_op_name(enum keymaking_op op);

#define KEYMAKING_URL_MAX   1024
#define KEYMAKING_NONCE_MAX 256
#define KEYMAKING_CHAIN_MAX (48 * 1024)
#define KEYMAKING_DATA_MAX  (KEYMAKING_CHAIN_MAX + 5 * 1024) /* a chain and a key, sealed */
#define KEYMAKING_BODY_MAX  (KEYMAKING_CHAIN_MAX + 8 * 1024)

struct keymaking_request {
    uint32_t number; /* the asker's: identifies an answer that comes too late */
    enum keymaking_op op;
    uint16_t issuer, cert;
    struct span url, nonce;
    struct span account; /* its URL ("kid") */
    struct span data;
};

struct keymaking_answer {
    uint32_t number;
    enum keymaking_type outcome; /* KEYMAKING_DONE, _REFUSED or _FAILED */
    struct span data;            /* the operation's, or the reason; borrows the message */
};

/* For KEYMAKING_ORDER. Both may be empty. */
struct keymaking_order {
    struct span profile;
    struct span replaces; /* RFC 9773 5 */
};

#define KEYMAKING_ARI_MAX 128

/* About the certificate in use. */
struct keymaking_cert {
    bool from_issuer;              /* a CA's; false: our own self-signed one, or none */
    bool names_right;              /* has all configured names and no other, and a key of the configured kind */
    int64_t not_before, not_after; /* seconds since 1970 */
    uint64_t version;              /* in the store of the fleet; 0 = it is not from there */
    struct span issuer;            /* its name in the configuration, when it has just been put into use; else empty */
    struct span ari;               /* its identifier (RFC 9773 4.1); empty = it has none */
};

extern const struct ipc_rule keymaking_to_keymaker[];
extern const struct ipc_rule keymaking_to_acme[];

/* ERR_LIMIT, or as ipc_send(). */
MUST_CHECK int keymaking_send_request(int fd, const struct keymaking_request *r);
MUST_CHECK int keymaking_send_answer(int fd, const struct keymaking_answer *a);

/* ERR_FORMAT. Spans borrow the message. */
MUST_CHECK int keymaking_read_request(const struct ipc_msg *m, struct keymaking_request *ret);
MUST_CHECK int keymaking_read_answer(const struct ipc_msg *m, struct keymaking_answer *ret);

/* Packed in TO, which has CAP bytes; the length, or ERR_LIMIT. */
MUST_CHECK int keymaking_pack_order(const struct keymaking_order *o, void *to, size_t cap, size_t *ret_len);
MUST_CHECK int keymaking_unpack_order(struct span data, struct keymaking_order *ret);
MUST_CHECK int keymaking_pack_cert(const struct keymaking_cert *c, void *to, size_t cap, size_t *ret_len);
MUST_CHECK int keymaking_unpack_cert(struct span data, struct keymaking_cert *ret);
