/*
 * The admin sockets: opened by the supervisor, with the rights it has, and served by the observer. They outlive every observer
 * and every reload, so a client that asks during one waits briefly instead of being refused.
 */
#pragma once

#include <stdbool.h>

#include "base/text.h"
#include "conf/conf.h"
#include "supervisor/unix_socket.h"
#include "wire/event.h"

struct admin_sockets {
    int unix_fd, tcp_fd; /* -1 = none */
    struct unix_socket file;
};

void admin_sockets_init(struct admin_sockets *a);

/*
 * Opens what C asks for. A stale socket file, at which nothing answers, is replaced. False: what the operator has configured is
 * not available. WHY may hold a sentence either way: without a default socket that another instance has, the start continues.
 */
MUST_CHECK bool admin_sockets_open(struct admin_sockets *a, const struct conf_admin *c, struct text *why);

/*
 * For a reload: what NEW asks for, keeping what is open already; nothing is closed when that fails (false, reason in WHY).
 * Connections queued at a kept socket are not lost. One whose file was removed is made again.
 */
MUST_CHECK bool admin_sockets_change(struct admin_sockets *a, const struct conf_admin *new, struct text *why);

/* Closes, and removes the socket file. */
void admin_sockets_close(struct admin_sockets *a);

/* Sends the sockets to an observer that is being introduced. */
MUST_CHECK int admin_sockets_give(const struct admin_sockets *a, int control);

void admin_sockets_log(const struct admin_sockets *a, struct log *v);
