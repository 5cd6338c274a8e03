/*
 * What a handshaker asks of its signer and what it gets back, over one SOCK_SEQPACKET link.
 *
 * A request names a key, a signature scheme and ALL the bytes to be signed; there are two kinds of bytes that a TLS server
 * signs, and nothing else is ever signed (sign_shape()). There is no other operation: no decryption, no raw digest, no export.
 * Both sides use these functions, so they cannot disagree, and neither believes the other: the signer sizes its answer by the
 * key, the handshaker compares the answer with its certificate.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"
#include "creds/creds.h"

enum sign_type {
    SIGN_REQUEST = 1,
    SIGN_DONE,    /* number, signature */
    SIGN_REFUSED, /* number, reason (enum err as a positive number) */
};

#define SIGN_TBS_MAX       256  /* a ServerKeyExchange over P-521 has 201 bytes */
#define SIGN_SIGNATURE_MAX 1024 /* RSA of 8192 bits */

struct sign_request {
    uint32_t number; /* of the request: identifies an answer that comes too late */
    uint32_t set;    /* of credentials */
    uint32_t key;    /* in that set */
    uint16_t scheme; /* IANA registry "TLS SignatureScheme" */
    struct span tbs; /* the bytes to be signed; borrows the message */
};

struct sign_answer {
    uint32_t number;
    int err;               /* 0, or why it was refused */
    struct span signature; /* borrows the message */
};

/* What the signer accepts from a handshaker, and a handshaker from its signer. */
extern const struct ipc_rule sign_to_signer[];
extern const struct ipc_rule sign_to_handshaker[];

#define SIGN_REQUEST_MAX (14 + SIGN_TBS_MAX)
#define SIGN_ANSWER_MAX  (4 + SIGN_SIGNATURE_MAX)

/* The message's body in TO. ERR_LIMIT when the bytes to be signed are too many. */
MUST_CHECK int sign_pack_request(const struct sign_request *r, uint8_t to[static SIGN_REQUEST_MAX], size_t *ret_len);

/* ERR_FORMAT. */
MUST_CHECK int sign_read_request(const struct ipc_msg *m, struct sign_request *ret);

/* The body of SIGN_DONE (A->err == 0) or SIGN_REFUSED in TO. ERR_LIMIT. */
MUST_CHECK int sign_pack_answer(const struct sign_answer *a, uint8_t to[static SIGN_ANSWER_MAX], size_t *ret_len);

/* ERR_FORMAT. */
MUST_CHECK int sign_read_answer(const struct ipc_msg *m, struct sign_answer *ret);
