/*
 * One client connection, with or without TLS, that never blocks. The load generator decides what is sent.
 */
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "load_lean.h"

/* Where to, and how. `session` is what resuming connections offer; owned here, refreshed until `resume` begins. */
struct target {
    struct sockaddr_in to;
    SSL_CTX *ctx; /* NULL: no TLS, or */
    bool lean;    /* by our own client */
    SSL_SESSION *session;
    bool resume;
};

struct conn {
    int fd; /* -1: none */
    SSL *ssl;
    struct lean *lean;
};

enum tls { TLS_NONE, TLS_LEAN, TLS_LIBSSL_1_2, TLS_LIBSSL_1_3 };

/*
 * `cipher` is a suite of TLS 1.3 by its IANA name or a TLS 1.2 cipher by OpenSSL's name. `identity`, a PEM file of certificate
 * and key, is what libssl's client shows when it is asked (NULL: none). False: said on stderr.
 */
bool target_init(struct target *t, uint16_t port, enum tls tls, const char *cipher, const char *identity);
void target_fini(struct target *t);

/* Starts connecting and registers the descriptor for both directions, edge-triggered, with `cookie`. */
bool conn_open(struct conn *c, const struct target *t, int epoll_fd, void *cookie);

/* Bytes moved, 0 = not now, -1 = the connection is gone. The first send makes the TLS handshake too. */
ssize_t conn_send(struct conn *c, const uint8_t *p, size_t n);
ssize_t conn_recv(struct conn *c, uint8_t *p, size_t n);

/* Of a connection with TLS. The names are static strings. */
bool conn_is_established(const struct conn *c);
bool conn_is_resumed(const struct conn *c);
const char *conn_version(const struct conn *c);
const char *conn_cipher(const struct conn *c);

/* Polite to the peer: close_notify, then the end. */
void conn_close(struct conn *c);
