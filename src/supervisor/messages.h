/* Messages of children. */
#pragma once

#include <stdint.h>

struct super;

/* The loop's handler of SUPER_CHILD: receives the next message, and sends keys when there is room. */
void messages_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Receives what workers that are starting have sent: one that has ended may have said why, and nothing is read after its end.
 */
void messages_of_starting(struct super *s);
