/*
 * The server's side of a TLS 1.3 handshake (RFC 8446, RFC 9846), on libcrypto's primitives and without libssl: full and resumed
 * (psk_dhe_ke), HelloRetryRequest, client certificates. Bytes of records in, bytes of records out; no sockets, no waiting.
 *
 * A handshake under way is plain data in locked memory, wiped when it goes. Policy is not decided here: names, versions,
 * certificates, tickets and rules for clients are asked of the functions that libssl's path asks, too (server_internal.h).
 * Early data is never taken: it is skipped up to TLS_EARLY_MAX and HS13_EARLY_RECORDS_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/slab.h"
#include "base/span.h"
#include "tls/engine.h"
#include "tls/handshake.h"
#include "tls/hs13_group.h"

#define HS13_EARLY_RECORDS_MAX 128 /* of early data, and TLS_EARLY_MAX bytes with the records' headers */
#define HS13_IDLE_RECORDS_MAX  32  /* ChangeCipherSpec and user_canceled, together */

/* What a process lends to its handshakes. The functions are the product's own after hs13_env_init(). */
struct hs13_env {
    struct engine_contexts *aead;
    void (*random)(void *to, size_t n);
    int (*exchange)(uint16_t group, struct span peer, struct hs13_share *ret); /* see hs13_exchange() */
    struct slab states;
    struct hs13_scratch *scratch;
};

/* Memory for MAX handshakes at once, locked as far as the limit allows. AEAD is kept. ERR_NOMEM. */
MUST_CHECK int hs13_env_init(struct hs13_env *env, struct engine_contexts *aead, uint32_t max);
void hs13_env_fini(struct hs13_env *env);

enum hs13_step {
    HS13_WANT_READ, /* more of the client's records */
    HS13_WANT_SIGN, /* hs13_sign_request(), then hs13_signed(); nothing is read until then */
    HS13_DONE,
    HS13_FAILED, /* hs13_error() */
};

struct hs13;

/*
 * ENV, S, OUT (which receives all bytes for the client) and LOG (NULL = no key log) are kept. NULL when out of memory. All
 * output of a step is to be sent after it, also of one that failed.
 */
struct hs13 *hs13_new(struct hs13_env *env, const struct tls_server *s, struct buf *out, const struct key_log *log);
void hs13_free(struct hs13 *h);

/* Bytes of the client's that are kept: of a message that is not whole yet, and of its certificates. */
size_t hs13_held(const struct hs13 *h);

/*
 * The first ClientHello, as hello_find() and hello_parse() gave it; tls_server_check() has passed it, and it offers TLS 1.3.
 * Its records are taken off the input by the caller.
 */
enum hs13_step hs13_begin(struct hs13 *h, const struct hello *hello, struct span message);

/* Takes whole records from the front of IN, which it decrypts in place; *ret_used bytes are done with. */
enum hs13_step hs13_step(struct hs13 *h, uint8_t *in, size_t len, size_t *ret_used);

/* What is to be signed; the same as often as it is asked for. */
void hs13_sign_request(const struct hs13 *h, struct handshake_sign *ret);

/* The answer: a signature, or with ERR < 0 why there is none. A handshake that waits for no signature is not changed by it. */
enum hs13_step hs13_signed(struct hs13 *h, int err, struct span signature);

/* Ends it from outside, with the alert that ERR calls for; a handshake that has failed is not changed by it. */
void hs13_abort(struct hs13 *h, int err);

/* Why it failed; *ret_alert is the client's alert with ERR_PEER_ALERT. */
int hs13_error(const struct hs13 *h, uint8_t *ret_alert);

/* One line for the log; "" when there is none. */
const char *hs13_detail(const struct hs13 *h);

/* What is waited for: "client Finished". Static storage. */
const char *hs13_waiting_for(const struct hs13 *h);

/* The session after HS13_DONE; then H can only be freed. RET borrows H and its service. ERR_LEAVE. */
MUST_CHECK int hs13_finish(struct hs13 *h, struct handshake_result *ret);
