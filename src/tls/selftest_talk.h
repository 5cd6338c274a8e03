/*
 * Handshakes between one of our services and libssl's client, both in memory: for self-tests at the start of a process.
 * Inside of tls/ only. It makes no keys and looks at no certificate.
 */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "tls/handshake.h"

struct selftest_talk {
    SSL_CTX *ctx;
    SSL *client;
    BIO *to_server, *to_client; /* the client's */
    struct buf out;             /* the server's bytes */
    struct handshake *server;
    struct ssl_session_st *session;                                   /* SSL_SESSION of the last ticket */
    uint8_t client_secret[HASH_LEN_MAX], server_secret[HASH_LEN_MAX]; /* by the client's key log */
};

/* What the client asks for, as libssl's lists have it; NULL = libssl's own. */
struct selftest_offer {
    const char *suites, *groups;
    bool resumes; /* by the ticket of the one before */
};

/* False: out of memory; T is to be closed all the same. */
bool selftest_talk_open(struct selftest_talk *t);
void selftest_talk_close(struct selftest_talk *t);

/* A TLS 1.3 client says hello, and S begins a handshake with it; the one before ends. */
bool selftest_talk_begin(struct selftest_talk *t, const struct tls_server *s, const struct selftest_offer *offer);

/* Both sides in turn until the server is done. */
bool selftest_talk_on(struct selftest_talk *t);

/* The client takes what the server has said last: it is done, too, and has a ticket. */
bool selftest_talk_take_ticket(struct selftest_talk *t);

/* Whether the client has resumed. */
bool selftest_talk_resumed(const struct selftest_talk *t);
