/* What server.c, handshake.c and hs_*.c share, private to these files: libssl's side of a service and of a handshake. */
#pragma once

#include <openssl/ssl.h>

#include "tls/handshake.h"
#include "tls/hs_bio.h"
#include "tls/kdf_provider.h"
#include "tls/server_internal.h"

/* libssl's, for keys, signatures and chains of either side: what is computable in less than 2^112 steps is refused. */
#define TLS_SECURITY_LEVEL 2

/* libssl's certificate callback: it comes when a certificate is needed, so never for a session that is resumed. */
int handshake_on_cert(SSL *ssl, void *arg);

#define HANDSHAKE_DETAIL_MAX 512

/*
 * Early data that is passed over (RFC 8446 4.2.10). Our tickets allow none; a client with another's goes by what that one's
 * maker allowed. 64 KiB, and what protection adds to them in records of a usual size.
 */
#define HANDSHAKE_EARLY_SKIPPED (64 * 1024 + 1024)

/* Holds the traffic secrets for a moment: wiped when freed, like all that libssl holds beside it. */
struct handshake {
    struct hs_own *own; /* our own handshake; libssl's fields are of no meaning then */
    SSL *ssl;
    struct hs_bio bio;
    const struct suite *suite;   /* set once done */
    struct kdf_secrets provided; /* by our provider */
    struct kdf_secrets logged;   /* by libssl's key log, while it is on */
    const struct tls_server *server;
    uint8_t rules[TICKET_BIND_LEN]; /* what the server's tickets were bound to when libssl last got them */
    uint16_t record_size_limit;
    bool begun;           /* a record was fed */
    bool early_offered;   /* the client sends early data, which is passed over */
    size_t early_skipped; /* bytes of it between a HelloRetryRequest and its answer */
    int err;
    uint8_t alert; /* the peer's fatal alert */
    char detail[HANDSHAKE_DETAIL_MAX];
    char sni[HELLO_NAME_MAX + 1]; /* for the choice of certificates */
    int cert_err;                 /* why there are none */
    struct client_id *client;     /* once its certificate is verified */
    int client_err;               /* or why it is refused */
    bool judged;                  /* our rules refuse it: CLIENT_ERR is more precise than libssl's alert */
    bool alert_sent;              /* libssl has sent a fatal alert */
    uint8_t *client_cert;         /* DER, from libssl's memory; only when it is to be sent to the backend */
};

SSL *handshake_ssl(const struct handshake *h);

/*
 * What became of the client's certificate: 0 and who it is (copied), or why it is refused and one line for the log. Returns
 * ERR, or ERR_NOMEM.
 */
MUST_CHECK int handshake_note_client(struct handshake *h, int err, const struct client_id *id, const char *detail);

/* Judges it by the rules in use, and notes the verdict. X509_V_OK, or libcrypto's error. */
MUST_CHECK int handshake_judge_client(struct handshake *h, X509 *cert, STACK_OF(X509) * others);

/* The rules for clients that are in use at this moment; NULL = no client certificates are requested. */
const struct client_auth *handshake_rules(const struct handshake *h);

/* Who the client is, by the certificate it has shown in this handshake; NULL = none so far. */
const struct client_id *handshake_client(const struct handshake *h);

/* libssl's key-log callback: takes the application traffic secrets, where our provider is not trusted to. */
void handshake_on_secret(const SSL *ssl, const char *line);

/* libssl's info callback: takes the peer's alerts. */
void handshake_on_info(const SSL *ssl, int where, int ret);

/* Whether provider and key log gave the same application traffic secrets. */
bool handshake_secrets_agree(const struct handshake *h);
