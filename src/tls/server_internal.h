/* What a service offers, as both handshakes see it: libssl's (hs_libssl.c) and our own (hs13.c). Inside of tls/ only. */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/span.h"
#include "tls/ticket_bind.h"

/* libssl's, for keys, signatures and chains of either side: what is computable in less than 2^112 steps is refused. */
#define TLS_SECURITY_LEVEL 2

/*
 * Early data that is passed over (RFC 8446 4.2.10). Our tickets allow none; a client with another's goes by what that one's
 * maker allowed: 64 KiB, and what protection adds to them in records of a usual size.
 */
#define TLS_EARLY_MAX (65 * 1024)

struct hello;

struct tls_server {
    SSL_CTX *ctx; /* libssl's side of it */
    struct certs *certs;
    struct tickets *tickets;
    uint32_t service; /* whose certificates */
    uint16_t min_version;
    bool strict_sni;
    uint16_t *suites, *groups;
    size_t nsuites, ngroups;
    struct client_auth *clients; /* NULL = none are asked for */
    bool reports_client_cert;
    bool own_tls13;
    bool ticket_with_finished;
    struct buf alpn;                          /* ProtocolName vectors in our order */
    uint8_t binding[TICKET_BIND_LEN];         /* of its tickets */
    uint8_t service_binding[TICKET_BIND_LEN]; /* the part that does not change */
};

/* The highest version both sides speak, or 0. */
uint16_t tls_server_version(const struct tls_server *s, const struct hello *h);

/* The first of our protocol names that is among those OFFERED (ProtocolName vectors); empty = none. Borrows S. */
struct span tls_server_alpn(const struct tls_server *s, struct span offered);
