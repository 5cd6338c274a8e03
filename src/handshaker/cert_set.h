/* Sets of credentials from the supervisor: the first before this process serves, later ones while it does. */
#pragma once

#include <stdbool.h>

struct handshaker;
struct ipc_msg;

/* M carries the set; its descriptor is closed. False: the set cannot be used. */
bool cert_set_take_first(struct handshaker *h, struct ipc_msg *m);
void cert_set_take(struct handshaker *h, struct ipc_msg *m);
