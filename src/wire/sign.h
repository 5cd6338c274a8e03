/*
 * What a handshaker asks of its signer and what it gets back, over one SOCK_SEQPACKET link.
 *
 * A request names a key, a signature scheme and ALL the bytes to be signed; there are two kinds of bytes that a TLS server
 * signs, and nothing else is ever signed (sign_shape()). There is no other operation: no decryption, no raw digest, no export.
 * Both sides use these functions, so they cannot disagree, and neither believes the other: the signer sizes its answer by the
 * key, the handshaker drops what it did not ask for.
 *
 * ERR_NOT_FOUND says that the signer does not have that set, nor any older one; it will not get them later, and no other
 * request is refused for it. All other errors are refusals.
 *
 * Requests share a message, so that the signer is woken once, and so do answers. Each request is answered once, in order, but
 * the answers to one message may come in several: those that are there leave when the rest takes long.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/ipc.h"
#include "base/span.h"
#include "base/wr.h"
#include "creds/creds.h"

enum sign_type { SIGN_REQUESTS = 1, SIGN_ANSWERS };

#define SIGN_BATCH_MAX     16   /* requests, or answers, in a message */
#define SIGN_TBS_MAX       256  /* a ServerKeyExchange over P-521 has 201 bytes */
#define SIGN_SIGNATURE_MAX 1024 /* RSA of 8192 bits */

struct sign_request {
    uint64_t number; /* the asker's own, not looked at by the signer: in the answer it is the same */
    uint32_t set;    /* of credentials */
    uint32_t key;    /* in that set */
    uint16_t scheme; /* IANA registry "TLS SignatureScheme" */
    struct span tbs; /* the bytes to be signed; borrows the message */
};

struct sign_answer {
    uint64_t number;
    int err;               /* 0, or why it was refused */
    struct span signature; /* borrows the message */
};

/* What the signer accepts from a handshaker, and a handshaker from its signer. */
extern const struct ipc_rule sign_to_signer[];
extern const struct ipc_rule sign_to_handshaker[];

#define SIGN_REQUEST_LEN  (8 + 4 + 4 + 2 + 2 + SIGN_TBS_MAX)
#define SIGN_ANSWER_LEN   (8 + 2 + 2 + SIGN_SIGNATURE_MAX)
#define SIGN_REQUESTS_MAX (SIGN_BATCH_MAX * SIGN_REQUEST_LEN) /* of a message's body */
#define SIGN_ANSWERS_MAX  (SIGN_BATCH_MAX * SIGN_ANSWER_LEN)

/* One more into the body of a SIGN_REQUESTS or SIGN_ANSWERS. W goes bad when it does not fit. */
void sign_put_request(struct wr *w, const struct sign_request *r);
void sign_put_answer(struct wr *w, const struct sign_answer *a);

/* All of a message, in order: 1 to SIGN_BATCH_MAX, or ERR_FORMAT. */
MUST_CHECK int sign_read_requests(const struct ipc_msg *m, struct sign_request ret[static SIGN_BATCH_MAX], unsigned *ret_n);
MUST_CHECK int sign_read_answers(const struct ipc_msg *m, struct sign_answer ret[static SIGN_BATCH_MAX], unsigned *ret_n);
