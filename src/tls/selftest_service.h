/*
 * A service for self-tests, with a key and a certificate made for it: the real ones are with the signer, which need not be
 * there yet. Inside of tls/ only.
 */
#pragma once

#include <stdbool.h>

#include "tls/handshake.h"

#define SELFTEST_SERVICE "self-test"

struct selftest_service {
    struct certs *certs;
    struct tickets *tickets;
    struct tls_server *server;
};

/* False: it is to be closed all the same. */
bool selftest_service_open(struct selftest_service *s, const struct tls_policy *p);
void selftest_service_close(struct selftest_service *s);
