/* The two ways a handshake is made, as handshake.c has them side by side: libssl's (hs_libssl.c) and our own (hs_own.c). Inside
 * of tls/ only. */
#pragma once

#include "tls/handshake.h"

/* What handshake.h says of each. */
struct handshake_path {
    bool own;
    void (*free)(struct handshake *h);
    size_t (*bytes)(const struct handshake *h);
    enum step (*step)(struct handshake *h, struct span *in);
    bool (*wants_signature)(const struct handshake *h); /* NULL: never; then the next two are not called */
    void (*sign_request)(const struct handshake *h, struct handshake_sign *ret);
    void (*signed_by)(struct handshake *h, int err, struct span signature);
    void (*alert)(struct handshake *h, int err);
    int (*error)(const struct handshake *h, uint8_t *ret_alert);
    const char *(*detail)(const struct handshake *h);
    const char *(*waiting_for)(const struct handshake *h);
    int (*finish)(struct handshake *h, struct handshake_result *ret);
};

/* First member of each path's own. */
struct handshake {
    const struct handshake_path *path;
};
