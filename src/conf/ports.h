/* Whether an address can be listened on, and if not, why, in words for the operator. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"
#include "base/defs.h"
#include "conf/conf.h"

struct load;

enum port_state {
    PORT_FREE,
    PORT_IN_USE,
    PORT_NO_PERMISSION,
    PORT_NO_ADDRESS, /* this machine does not have the address */
    PORT_NO_DEVICE,  /* nor the interface */
    PORT_FAILED,     /* anything else; errno */
};

/*
 * A socket bound to AT, the listener's address or what port 0 became, with the options that it must have before; -1 (errno).
 * A kernel without MPTCP gives plain TCP, one without IPv6 gives IPv4 for both. With REUSEPORT unset it fails when anybody else
 * listens there.
 */
MUST_CHECK int port_bind(const struct conf_listener *l, const struct addr *at, bool reuseport);

/* Binds (does not listen) and lets go again. */
enum port_state port_probe(const struct conf_listener *l);

/* Who listens on a port, as far as /proc shows this user. */
struct port_holder {
    pid_t pid; /* 0 = not known */
    char name[32];
};

/* Looks for a listening socket that conflicts with A. */
void port_find_holder(const struct addr *a, struct port_holder *ret);

/* Whether each address can be listened on. */
void check_ports(struct load *l);
