/*
 * A handshake between one of our services and libssl's client, both in memory: for self-tests at the start of a process.
 * Inside of tls/ only. It makes no keys and looks at no certificate.
 */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>

#include "base/buf.h"
#include "tls/handshake.h"

struct selftest_talk {
    SSL_CTX *ctx;
    SSL *client;
    BIO *to_server, *to_client; /* the client's */
    struct buf out;             /* the server's bytes */
    struct handshake *server;
};

/* A TLS 1.3 client of the usual settings, which may be changed. False: out of memory; T is to be closed all the same. */
bool selftest_talk_open(struct selftest_talk *t);
void selftest_talk_close(struct selftest_talk *t);

/* The client's hello, and the handshake that S begins with it. */
bool selftest_talk_begin(struct selftest_talk *t, const struct tls_server *s);

/* Both sides in turn until the server is done. */
bool selftest_talk_on(struct selftest_talk *t);

/* What the server has to say goes to the client, whose state shows what came of it. */
bool selftest_talk_deliver(struct selftest_talk *t);
