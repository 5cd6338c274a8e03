/*
 * One client connection, with or without TLS, that never blocks. The load generator decides what is sent.
 */
#pragma once

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Where to, and how. `session` is what resuming connections offer; owned here, refreshed until `resume` begins. */
struct target {
    struct sockaddr_in to;
    SSL_CTX *ctx; /* NULL: no TLS */
    SSL_SESSION *session;
    bool resume;
};

struct conn {
    int fd; /* -1: none */
    SSL *ssl;
};

/* `cipher` is a suite of TLS 1.3 by its IANA name or a TLS 1.2 cipher by OpenSSL's name. False: said on stderr. */
bool target_init(struct target *t, uint16_t port, bool tls, bool v12, const char *cipher);
void target_fini(struct target *t);

/* Starts connecting and registers the descriptor for both directions, edge-triggered, with `cookie`. */
bool conn_open(struct conn *c, const struct target *t, int epoll_fd, void *cookie);

/* Bytes moved, 0 = not now, -1 = the connection is gone. The first send makes the TLS handshake too. */
ssize_t conn_send(struct conn *c, const uint8_t *p, size_t n);
ssize_t conn_recv(struct conn *c, uint8_t *p, size_t n);

/* Polite to the peer: close_notify, then the end. */
void conn_close(struct conn *c);
