/* Whether an address can be listened on, and if not, why, in words for the operator. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/defs.h"

enum port_state {
    PORT_FREE,
    PORT_IN_USE,
    PORT_NO_PERMISSION,
    PORT_NO_ADDRESS, /* this machine does not have the address */
    PORT_FAILED,     /* anything else; errno */
};

/* Tries to bind (not to listen) and lets go again. */
enum port_state port_probe(const struct addr *a);

/* Who listens on a port, as far as /proc shows this user. */
struct port_holder {
    pid_t pid; /* 0 = not known */
    char name[32];
};

/* Looks for a listening socket that conflicts with A. */
void port_find_holder(const struct addr *a, struct port_holder *ret);
