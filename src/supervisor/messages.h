/* Messages of children. */
#pragma once

#include <stdint.h>

/* The loop's handler of SUPER_CHILD: receives the next message, and sends keys when there is room. */
void messages_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
