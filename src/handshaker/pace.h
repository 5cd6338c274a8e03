/* How the handshaker shares its CPU with relays. */
#pragma once

#include <stdbool.h>

struct handshaker;

/* After each piece of work. */
void pace(struct handshaker *h);

/* At the end of a turn. True: look for events before sleeping. */
bool pace_turn(struct handshaker *h);
