/* Trusted owners of files: another owner of a secret can read and change it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <unistd.h>

/* Root's, and those of the process that starts us. */
static inline bool owner_is_trusted(uid_t owner) {
    return owner == 0 || owner == geteuid();
}

/* What to expect, for messages: follows "owned by user N, expected ". */
static inline const char *owner_expected(void) {
    return geteuid() == 0 ? "root" : "root or the user that starts tls-off";
}
