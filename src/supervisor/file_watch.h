/* Whether the files that the configuration names have changed. */
#pragma once

#include <stdint.h>

struct super;
struct conf;

/* Files that are read again together. */
enum watched { WATCHED_CREDS, WATCHED_ACCESS, WATCHED_SECRETS, WATCHED_KINDS };

/* Watches all that the configuration in use names; what was watched before is forgotten. */
void file_watch(struct super *s);

/* A number for the state of all files of a kind; *RET_NEWEST: when the last of them was changed, seconds since 1970. */
uint64_t file_look(const struct conf *c, enum watched which, uint64_t *ret_newest);
