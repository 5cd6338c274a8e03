/* The process table: what operators and scripts see of the processes. */
#pragma once

struct super;

/* Fills it from the state of the supervisor and publishes it. */
void publish_proctab(struct super *s);
