/* Messages of children. */
#pragma once

struct super;
struct worker;

/* Receives the next message of W, whose socket is readable. */
void worker_receive(struct super *s, struct worker *w);
