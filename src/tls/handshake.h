/*
 * One TLS handshake on the server's side, in memory: bytes in, bytes out; no sockets, no time. TLS 1.3 is by default our own
 * (hs13.h); libssl makes TLS 1.2, and TLS 1.3 where it is asked to (hs_libssl.h).
 *
 * A tls_server is what a service offers (certificates, versions, suites, groups, ALPN); handshakes are made from it. When a
 * handshake is done, handshake_finish() takes secrets, record numbers and connection info out of it, as a record layer that
 * goes on exactly where the handshake stopped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"
#include "base/text.h"
#include "tls/cert_alg.h"
#include "tls/certs.h"
#include "tls/client_id.h"
#include "tls/hello.h"
#include "tls/key_log.h"
#include "tls/record_layer.h"
#include "tls/tickets.h"

/* What a service wants. Arrays are borrowed during tls_server_new() only. */
struct tls_policy {
    const char *name; /* of the service: tickets are bound to it */
    uint32_t service; /* its number in the credential store */
    uint16_t min_version;
    const uint16_t *suites;
    size_t nsuites;
    const uint16_t *groups;
    size_t ngroups;
    const char *const *alpn; /* in our order; none = ALPN is not spoken */
    size_t nalpn;
    bool strict_sni;
    struct client_auth *clients; /* NULL = no client certificates are requested; taken over, also on failure */
    bool reports_client_cert;    /* handshake_result.client_cert is wanted */
    bool ticket_with_finished;   /* our own handshake gives its ticket with our Finished, where no certificate is asked for */
    bool own_tls13;              /* TLS 1.3 by our own handshake, where handshake_own_begin() has said yes */
};

struct client_auth;
struct tls_server;

/* CERTS and TICKETS are kept and must outlive it. NULL with a message for the operator in WHY. */
struct tls_server *tls_server_new(const struct tls_policy *policy, struct certs *certs, struct tickets *tickets,
                                  struct text *why);

/* CERTS (kept, as above) from now on, also for handshakes under way that have not come to their certificate. */
void tls_server_use_certs(struct tls_server *s, struct certs *certs);

/*
 * New rules for clients' certificates (taken over, also on failure; NULL where there were none). Whatever is not a session yet
 * is checked by them, handshakes under way too, at whatever point they are. Sessions of the old rules are not resumed.
 * ERR_CRYPTO: the old ones stay.
 */
MUST_CHECK int tls_server_use_clients(struct tls_server *s, struct client_auth *clients);
void tls_server_free(struct tls_server *s);

/*
 * Proves with a handshake in memory that our provider gives the same secrets as libssl's key log (selftest.c), and spares
 * later handshakes the key log. False when it does not (the key log stays on, at 20-50 us a handshake).
 */
bool tls_server_selftest(struct tls_server *s);

/* What a server with the same versions, suites and groups has proved holds for S. */
void tls_server_spare_selftest(struct tls_server *s);

/* Whether the client of this hello can be served, before libssl is troubled: 0 or one of the ClientHello errors. */
MUST_CHECK int tls_server_check(const struct tls_server *s, const struct hello *h);

/*
 * Makes the process ready for our own TLS 1.3 handshake, MAX at once, and has it tested. False: it is not to be trusted here
 * (or there is no memory), and libssl makes all handshakes. Before the process closes itself in.
 */
bool handshake_own_begin(uint32_t max);

/* No key of a handshake or a ticket stays in libcrypto's contexts. To be called now and then. */
void handshake_own_forget(void);

struct handshake;

/*
 * Records that a client may send in one handshake: on our own path those that hold a part of a message and not its end; on
 * libssl's path all but those of its hellos, of whatever type and content.
 */
#define HANDSHAKE_FRAGMENTS_MAX 8192

#define HANDSHAKE_TBS_MAX 146 /* what a CertificateVerify signs (RFC 8446 4.4.3) */

/* A signature that a handshake waits for: by KEY of the credentials SET, which were in use when it was first wanted. */
struct handshake_sign {
    uint32_t set;
    uint32_t key;
    uint16_t scheme; /* IANA registry "TLS SignatureScheme" */
    size_t tbs_len;
    uint8_t tbs[HANDSHAKE_TBS_MAX];
};

/* About what one holds on the heap while the client is waited for, libssl's part included; test_handshake.c measures it. */
#define HANDSHAKE_BYTES     (52u * 1024)
#define HANDSHAKE_OWN_BYTES (2u * 1024) /* the same of our own one, its locked memory included */

/* OUT (kept) receives all bytes for the client, LOG (kept; NULL = nobody) its secrets. ERR_NOMEM, ERR_CRYPTO. */
MUST_CHECK int handshake_new(const struct tls_server *s, const struct hello *h, struct buf *out, const struct key_log *log,
                             struct handshake **ret);
void handshake_free(struct handshake *h);

/* Whether it is our own, not libssl's: settled by handshake_new(). */
bool handshake_is_own(const struct handshake *h);

/* Which of the two it is, and what of the client's it keeps: it may be another after each step. */
size_t handshake_bytes(const struct handshake *h);

/*
 * Takes whole records from the front of *IN (which is advanced, and opened in place: it must be memory that can be written)
 * until the handshake is done or more is needed. What is not taken is offered again, with more behind it. STEP_DONE: done; what
 * is left of *IN belongs to the session. STEP_WANT_READ. STEP_FAILED: handshake_error(); OUT may hold an alert that is to be
 * sent.
 */
enum step handshake_step(struct handshake *h, struct span *in);

/*
 * After STEP_WANT_READ: whether what it wants is a signature, before anything more of the client's. Only our own handshake says
 * so, where private keys are elsewhere (certs.h); libssl's asks in the middle of a step (key_provider.h).
 */
bool handshake_wants_signature(const struct handshake *h);
void handshake_sign_request(const struct handshake *h, struct handshake_sign *ret);

/*
 * The answer: a signature, or with ERR < 0 why there is none. handshake_step() then goes on with it. A handshake that waits for
 * no signature is not changed by it.
 */
void handshake_signed(struct handshake *h, int err, struct span signature);

/*
 * Puts the fatal alert that ERR calls for into OUT, protected as the client expects it at this point; nothing when there is
 * none, when libssl has sent one, or the client. The handshake can then only be freed.
 */
void handshake_alert(struct handshake *h, int err);

/* Why it failed; *ret_alert is the client's alert with ERR_PEER_ALERT. */
int handshake_error(const struct handshake *h, uint8_t *ret_alert);

/* libssl's own name of the failure, for the log; "" when there is none. */
const char *handshake_detail(const struct handshake *h);

/* What the client owes us now: "client Finished". Static storage. */
const char *handshake_waiting_for(const struct handshake *h);

/* What is known at the end. ALPN borrows the handshake. */
struct handshake_result {
    struct record_layer record_layer;
    uint16_t version;
    uint16_t suite;
    uint16_t group; /* 0 = none was used (TLS 1.2 resumed) */
    bool resumed;
    uint16_t sig_scheme;       /* with which we signed; 0 = nothing was signed (resumed) */
    uint16_t cert_compression; /* of our certificate, as in the IANA registry; 0 = none */
    struct cert_alg our_cert;  /* of our certificate */
    struct span alpn;
    const struct client_id *client; /* NULL = no certificate; borrows the handshake, as the next one does */
    struct span client_cert;        /* DER; empty when it is not wanted, or larger than CLIENT_CERT_MAX */
};

/*
 * Takes the session out of libssl after STEP_DONE; then the handshake can only be freed. ERR_LEAVE, ERR_CRYPTO, and why the
 * client is not let in after all, with an alert in OUT: rules that changed meanwhile (tls_server_use_clients()).
 */
MUST_CHECK int handshake_finish(struct handshake *h, struct handshake_result *ret);
