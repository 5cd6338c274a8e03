/*
 * The sandbox of a role: what a process may still do once it serves, even when an attacker controls its code.
 *
 * One table (sandbox.c) holds the rights of all roles side by side: user, capabilities, system calls (seccomp), directories and
 * TCP ports (Landlock), limits. Entering the sandbox cannot be undone, and what is refused afterwards fails with EPERM or
 * EACCES; calls that no role has any honest use for (ptrace, exec, mount, bpf ...) end the process.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/text.h"
#include "shm/roles.h"

/* What the table cannot know. Texts and lists are borrowed during the call. */
struct sandbox {
    const char *directory; /* that is the role's own, where the table lets it have one */
    const char *other;     /* the same right for one more; NULL = none */
    const char *user;      /* to become when started as root; NULL = stay who we are */
    const uint16_t *ports; /* TCP ports it may connect to, where the table lets it connect at all */
    size_t nports;
    bool abstract_sockets; /* some backend is one: the role may connect to abstract Unix sockets, where it may connect at all */
};

/* Protections that this kernel, or this user, cannot give: not a fault, but worth a line. */
enum sandbox_missing {
    SANDBOX_NO_USER = 1,     /* not root: all roles stay one user */
    SANDBOX_NO_LANDLOCK = 2, /* no Landlock in this kernel */
    SANDBOX_NO_PORTS = 4,    /* Landlock older than ABI 4: TCP ports are not restricted */
    SANDBOX_NO_SCOPES = 16,  /* Landlock older than ABI 6: signals and abstract sockets are up to the system call filter */
    SANDBOX_NO_SECCOMP = 8,  /* no seccomp filters in this kernel, or in this build */
};

/*
 * Becomes SANDBOX->user and enters the sandbox of ROLE, for good. *ret_missing: what could not be had.
 * ERR_NOT_FOUND (no such user), ERR_SYSTEM; WHY then has what failed.
 */
MUST_CHECK int sandbox_enter(enum role role, const struct sandbox *sandbox, unsigned *ret_missing, struct text *why);

/* The supervisor's own, before it starts anybody: no core dumps, nothing gained by exec, only the capabilities it needs. */
MUST_CHECK int sandbox_supervisor(struct text *why);
