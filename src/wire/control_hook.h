/*
 * DNS records of challenges (RFC 8555 8.4): the acme role asks for a program of the operator's to be run, which may start none
 * itself; the supervisor runs it and answers HOOKED. One at a time. What is run for which name is the configuration's: a
 * message has its places there, so all that the asker can choose is the value, of the one form that such values have.
 */
#pragma once

#include "base/defs.h"
#include "base/ipc.h"

#define HOOK_VALUE_LEN 43 /* base64url of a SHA-256 */
#define HOOKED_MAX     256

#define CONTROL_HOOK_LEN (7 + HOOK_VALUE_LEN) /* body of HOOK */

enum hook_verb { HOOK_PRESENT, HOOK_CLEANUP, HOOK_VERBS };

struct control_hook {
    enum hook_verb verb;
    uint16_t issuer, cert, name; /* places in conf.acme, and among the certificate's names */
    char value[HOOK_VALUE_LEN + 1];
};
MUST_CHECK int control_send_hook(int fd, const struct control_hook *h);
MUST_CHECK int control_read_hook(const struct ipc_msg *m, struct control_hook *ret);

/* WHY: empty = it has ended with status 0. */
MUST_CHECK int control_send_hooked(int fd, struct span why);
