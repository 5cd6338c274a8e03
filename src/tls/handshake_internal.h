/* What server.c and handshake.c share, and nobody else sees: libssl's side of a service and of a handshake. */
#pragma once

#include <openssl/ssl.h>

#include "tls/handshake.h"
#include "tls/hs_bio.h"
#include "tls/kdf_provider.h"
#include "tls/ticket_bind.h"

struct tls_server {
    SSL_CTX *ctx;
    struct certs *certs;
    uint32_t service; /* whose certificates */
    uint16_t min_version;
    bool strict_sni;
    uint16_t *suites, *groups;
    size_t nsuites, ngroups;
    struct client_auth *clients; /* NULL = none are asked for */
    bool tells_client_cert;
    struct buf alpn;                          /* ProtocolName vectors in our order */
    uint8_t binding[TICKET_BIND_LEN];         /* of its tickets */
    uint8_t service_binding[TICKET_BIND_LEN]; /* the part that does not change */
};

/* libssl's, for keys, signatures and chains of either side: what is computable in less than 2^112 steps is refused. */
#define TLS_SECURITY_LEVEL 2

SSL *handshake_ssl(const struct handshake *h);

/* libssl's certificate callback: it comes when a certificate is needed, so never for a session that is resumed. */
int handshake_on_cert(SSL *ssl, void *arg);

#define HANDSHAKE_DETAIL_MAX 512

/*
 * What became of the client's certificate: 0 and who it is (copied), or why it is refused and one line for the log. Returns
 * ERR, or ERR_NOMEM.
 */
MUST_CHECK int handshake_note_client(struct handshake *h, int err, const struct client_id *id, const char *detail);

/* The rules for clients that are in use at this moment; NULL = none are asked for certificates. */
const struct client_auth *handshake_rules(const struct handshake *h);

/* Who the client is, by the certificate it has shown in this handshake; NULL = nobody so far. */
const struct client_id *handshake_client(const struct handshake *h);

/* libssl's key-log callback: takes the application traffic secrets, where our provider is not trusted to. */
void handshake_on_secret(const SSL *ssl, const char *line);

/* libssl's info callback: takes the peer's alerts. */
void handshake_on_info(const SSL *ssl, int where, int ret);

/* Whether provider and key log told the same application traffic secrets. */
bool handshake_secrets_agree(const struct handshake *h);
