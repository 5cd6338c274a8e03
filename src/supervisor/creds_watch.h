/* Whether the files that the configuration names have changed. */
#pragma once

#include <stdint.h>

struct super;
struct conf;

/* Watches all that the configuration in use names; what was watched before is forgotten. */
void creds_watch(struct super *s);

/* A number for the state of all those files; *RET_NEWEST: when the last of them was changed, seconds since 1970. */
uint64_t creds_look(const struct conf *c, uint64_t *ret_newest);
