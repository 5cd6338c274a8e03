/* The roles a process of tls-off can have, and how each is named on the command line and in logs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum role {
    ROLE_SUPERVISOR,
    ROLE_CONFIG,
    ROLE_OBSERVER,
    ROLE_RESOLVER,
    ROLE_RELAY,
    ROLE_HANDSHAKER,
    ROLE_SIGNER,
    ROLE_KEYMAKER,
    ROLE_ACME,
    ROLE_FLEET,
    ROLE_EXPORTER,
    ROLE_COUNT,
};

/* A worker is one of each: handshaker, signer and relay of the same number. */
static inline bool role_of_worker(enum role role) {
    return role == ROLE_RELAY || role == ROLE_HANDSHAKER || role == ROLE_SIGNER;
}

/* Where a role finds its socket to the supervisor. */
#define ROLE_CONTROL_FD 3

/* "relay"; static storage. */
const char *role_name(enum role role);

/* ROLE_COUNT when the name is none. */
enum role role_by_name(const char *name);
