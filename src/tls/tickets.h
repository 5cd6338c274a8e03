/*
 * Session tickets under keys of our own. Every hour has its keys, derived from a secret by HKDF: every process with the
 * secret, on this machine or another, at this start or the next, resumes the sessions of the others without communication.
 * Tickets are sealed with the keys of the present hour; those of the hour before and of the next (a machine whose clock is
 * ahead) are opened too. Of several secrets the first one seals, and all of them open: so a fleet changes its secret without
 * losing a resumption. See ticket_bind.h for what a ticket is bound to.
 */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"

#define TICKETS_SECRET_MIN 32
#define TICKETS_SECRET_MAX 4096
#define TICKETS_SECRETS    8 /* at once */
#define TICKETS_PEER_MAX                                                                                                       \
    8192 /* DER of a client's certificate: with a larger one the session has no ticket, since its ticket                       \
            would make the next ClientHello larger than 16 KiB, which many between us and the client do not pass */
#define TICKETS_LIFETIME_S    3600            /* sent to clients: tickets are accepted at least so long */
#define TICKETS_RENEWED_MAX_S (7 * 24 * 3600) /* RFC 8446 4.6.1: no session is older, however often its ticket was renewed */
#define TICKETS_CLOCK_SKEW_S  3600            /* of machines that share a secret */

struct tickets;

/*
 * Of N secrets (1 to TICKETS_SECRETS), each of TICKETS_SECRET_MIN to _MAX bytes; they are hashed, not kept. Keys follow the
 * wall-clock time. NULL when out of memory, when a number or length is wrong, or when the library failed.
 */
struct tickets *tickets_new(const struct span *secrets, size_t n);

/* Other secrets from now on, or false and the ones before. */
MUST_CHECK bool tickets_use(struct tickets *t, const struct span *secrets, size_t n);
void tickets_free(struct tickets *t);

/* Whether a session that began with a full handshake at FULL_S, whatever was resumed since, may be resumed at NOW_S. */
bool tickets_may_renew(int64_t full_s, int64_t now_s);

/* The key of the last ticket that was sealed or opened does not stay in libcrypto's contexts. */
void tickets_forget(void);

/*
 * Tickets of our own handshake, as bytes: name of the hour, salt, what is sealed by AES-256-GCM under a key that is derived for
 * this ticket alone (so no nonce can repeat, on however many machines). Their names are others than those of libssl's tickets:
 * neither path opens the other's.
 */
#define TICKETS_SEALED_MORE (16 + 32 + 16) /* bytes that a ticket has more than its content */

/* Seals LEN bytes that stand at TICKET + TICKETS_SEALED_MORE - 16, in place. ERR_CRYPTO. */
MUST_CHECK int tickets_seal(struct tickets *t, uint8_t *ticket, size_t len);

/*
 * The content of a ticket into TO (CAP bytes, the caller wipes it). ERR_NOT_FOUND: not one of ours, not of these hours, or
 * changed. ERR_CRYPTO.
 */
MUST_CHECK int tickets_open(struct tickets *t, struct span ticket, uint8_t *to, size_t cap, size_t *ret_len);

/*
 * Tickets in libssl's container, whose layout is libssl's: it brings CIPHER (AES-256-CBC) and MAC (HMAC-SHA256), which get the
 * keys. Seals: NAME and IV (16 bytes) are filled in, the keys are the present hour's. Opens: the keys are those that NAME
 * is of.
 */
#define TICKETS_NAME_LEN 16

enum tickets_key {
    TICKETS_KEY_FAILED, /* the library has */
    TICKETS_KEY_NONE,   /* not one of ours, or not of these hours */
    TICKETS_KEY_PRESENT,
    TICKETS_KEY_OTHER, /* of another hour, or of a secret that does not seal */
};

enum tickets_key tickets_container(struct tickets *t, uint8_t name[static TICKETS_NAME_LEN], uint8_t *iv,
                                   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, bool seal);
