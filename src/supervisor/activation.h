/*
 * Listening sockets that the service manager has opened and passed (sd_listen_fds(3)): they replace ours for the same
 * addresses. One for an address that no service has is an error: connections to it would wait forever.
 */
#pragma once

#include "base/text.h"
#include "supervisor/listeners.h"

/* The first descriptor behind those that were passed; before activation_take(). */
int activation_end(void);

/* Takes what was passed, which may be nothing. False, with a sentence in WHY. Once, at the start. */
bool activation_take(struct listeners *l, struct text *why);

/* Each of them is wanted by C. False, with a sentence for each in WHY. */
bool activation_check(const struct listeners *l, const struct conf *c, struct text *why);
