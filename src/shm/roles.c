#include "shm/roles.h"

#include <string.h>

static const char *const role_names[ROLE_COUNT] = {
    [ROLE_SUPERVISOR] = "supervisor", [ROLE_CONFIG] = "config",     [ROLE_OBSERVER] = "observer",
    [ROLE_RESOLVER] = "resolver",     [ROLE_RELAY] = "relay",       [ROLE_HANDSHAKER] = "handshaker",
    [ROLE_SIGNER] = "signer",         [ROLE_KEYMAKER] = "keymaker", [ROLE_ACME] = "acme",
    [ROLE_FLEET] = "fleet",           [ROLE_EXPORTER] = "exporter",
};

const char *role_name(enum role role) {
    return (unsigned)role < ROLE_COUNT ? role_names[role] : "unknown";
}

enum role role_by_name(const char *name) {
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        if (strcmp(role_names[i], name) == 0)
            return (enum role)i;
    return ROLE_COUNT;
}
