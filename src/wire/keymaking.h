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
    KEYMAKING_REFUSED, /* number, a sentence */
};

/* X(symbol, name in logs, ISSUER and CERT that are looked at, what DATA is; what the answer is) */
#define KEYMAKING_OPS(X)                                                                                                       \
    X(THUMBPRINT, "thumbprint")   /* of the account's key (RFC 7638), which is made when there is none; text */                \
    X(ACCOUNT, "newAccount")      /* a JWS by the key itself */                                                                \
    X(FETCH, "POST-as-GET")       /* a JWS with an empty payload */                                                            \
    X(CHALLENGE, "challenge")     /* a JWS with {} */                                                                          \
    X(ORDER, "newOrder")          /* for the certificate's names; data: struct keymaking_order; a JWS */                       \
    X(FINALIZE, "finalize")       /* a JWS with a CSR for the certificate's names and its new key */                           \
    X(REVOKE, "revokeCert")       /* of the certificate in use; data: the reason, one byte; a JWS */                           \
    X(ROLLOVER, "keyChange")      /* a JWS that changes the account's key to one that waits */                                 \
    X(ROLLED_OVER, "rolled over") /* the key that waits is the account's now; empty */                                         \
    X(INSTALL, "install")         /* data: a chain in PEM; struct keymaking_cert */                                            \
    X(INSPECT, "inspect")         /* struct keymaking_cert of the one in use */

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
#define KEYMAKING_BODY_MAX  (KEYMAKING_CHAIN_MAX + 4 * 1024)

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
    bool refused;
    struct span data; /* the operation's, or the reason; borrows the message */
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
