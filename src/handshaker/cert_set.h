/* Sets of credentials from the supervisor: the first before this process serves, later ones while it does. */
#pragma once

struct ipc_msg;
struct text;

/* A set, for the handshaker CTX (process/role.h). ERR_FORMAT: it cannot be used, and the one before stays. */
int cert_set_take(void *ctx, struct ipc_msg *m, struct text *why);
