/*
 * The listening sockets. They belong to the supervisor and outlive generations: an address that stays configured keeps its
 * sockets, so that no connection in a queue is ever lost.
 *
 * Each address has a group of sockets (SO_REUSEPORT), at least one a handshaker; a group never shrinks, handshakers take
 * several when there are fewer of them. A Unix socket is one, which all of them share. Sockets are bound before a generation
 * starts, when an error is still a refusal, and listened on at its switch: one that is not served yet must not get connections.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/text.h"
#include "conf/conf.h"
#include "supervisor/unix_socket.h"
#include "wire/event.h"

struct listener {
    struct unix_socket local; /* of a Unix socket; without a path it is one of TCP, at ASKED */
    struct addr asked;        /* as configured; port 0 asks for any */
    bool v6only, mptcp;
    char device[CONF_DEVICE_MAX + 1]; /* "" = any */
    uint16_t nth;                     /* among those that ask for the same (port 0 only) */
    struct addr real;
    bool given; /* by the service manager: no other sockets join it */
    uint32_t nfds;
    uint32_t nlistening; /* the first ones of them */
    uint32_t nserved;    /* those that a generation serves */
    int fds[WORKERS_MAX];
};

struct listeners {
    struct listener *list;
    size_t n;
};

/* Binds everything C needs; what is bound already is kept. False, with sentences in WHY. */
bool listeners_bind(struct listeners *l, const struct conf *c, struct text *why);

/* Listens on all that C needs and logs the new ones. False, with a sentence in WHY. */
bool listeners_listen(struct listeners *l, struct log *v, const struct conf *c, struct text *why);

/* The generation serves what was bound for it; or it was refused, and what was new is closed. */
void listeners_taken(struct listeners *l);
void listeners_unbind(struct listeners *l);

/* Closes those that C (NULL: none) does not need. */
void listeners_keep(struct listeners *l, struct log *v, const struct conf *c);

/* Those of C's listener number I; NULL when they have not been bound. */
struct listener *listeners_find(const struct listeners *l, const struct conf *c, size_t i);

/* As configured, but for port 0, which has become a real one: "127.0.0.1:443", "*:443", "unix:/run/db.sock"; returns TO. */
#define LISTENER_TEXT_MAX (CONF_SOCKET_PATH_MAX + sizeof("unix:@"))
const char *listener_text(const struct listener *l, char to[static LISTENER_TEXT_MAX]);

/* A new entry, the last one; NULL (errno). Pointers to others are invalid afterwards. */
struct listener *listeners_add(struct listeners *l, const struct conf_listener *asked, uint16_t nth);
