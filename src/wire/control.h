/*
 * The conversation between the supervisor and each of its children, over the child's descriptor 3.
 *
 *   supervisor                         child
 *   SETUP (role, index, fds)  ------>
 *   LISTENER, LINK (one a peer) ---->
 *   GO                        ------>
 *                             <------  READY | REFUSED
 *   LINK (a peer was restarted) ---->
 *   REOPEN, DRAIN, STOP       ------>
 *                             <------  DRAINED
 *   EXPORT (link), to a relay ------>
 *   IMPORT (link), to another ------>
 *                             <------  EXPORTED, of the first one
 *
 * The config role gets REQUEST and answers CONFIGURED or REFUSED. Every message has one packing and one unpacking function
 * here, so the two sides cannot disagree.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/ipc.h"
#include "wire/roles.h"

enum control_type {
    CONTROL_SETUP = 1, /* fds: snapshot, board, ring */
    CONTROL_SECRETS,   /* fds: ticket secret; handshakers only */
    CONTROL_LISTENER,  /* fds: listening socket */
    CONTROL_LINK,      /* fds: socket to another role */
    CONTROL_RING,      /* fds: another role's ring; observer only */
    CONTROL_GO,
    CONTROL_READY,
    CONTROL_REFUSED, /* body: text for the operator */
    CONTROL_REOPEN,  /* log file */
    CONTROL_DRAIN,   /* stop accepting; body: milliseconds to finish in */
    CONTROL_DRAINED, /* body: sessions cut */
    CONTROL_STOP,
    CONTROL_REQUEST,    /* config: what to load */
    CONTROL_ADMIN,      /* fds: a listening admin socket; body: which; observer only */
    CONTROL_CONFIGURED, /* fds: snapshot, ticket secret; body: warnings as text */
    CONTROL_EXPORT,     /* fds: link to the importer; this and the next two: wire/control_export.h */
    CONTROL_IMPORT,     /* fds: link to the exporter */
    CONTROL_EXPORTED,
};

#define CONTROL_TEXT_MAX (32 * 1024)

/* What a child accepts from the supervisor, and the supervisor from a child. */
extern const struct ipc_rule control_to_child[];
extern const struct ipc_rule control_to_supervisor[];

struct control_setup {
    enum role role;
    uint16_t index;      /* among the processes of this role */
    uint16_t workers;    /* handshakers and relays, each */
    int32_t cpu;         /* to run on; -1 = any */
    uint32_t generation; /* counts restarts of this child, from 0 */
};
MUST_CHECK int control_send_setup(int fd, const struct control_setup *s, const int fds[static 3]);
MUST_CHECK int control_read_setup(const struct ipc_msg *m, struct control_setup *ret);

/* A listening socket: which of conf.listeners it serves. */
MUST_CHECK int control_send_listener(int fd, uint16_t listener, int sock);
MUST_CHECK int control_read_listener(const struct ipc_msg *m, uint16_t *ret_listener);

/* A socket or ring of another role; replaces an earlier one of the same peer. */
struct control_peer {
    enum role role;
    uint16_t index;
};
MUST_CHECK int control_send_peer(int fd, enum control_type type, const struct control_peer *p, int sock);
MUST_CHECK int control_read_peer(const struct ipc_msg *m, struct control_peer *ret);

/* An admin socket for the observer. */
enum admin_kind { ADMIN_UNIX, ADMIN_TCP };
MUST_CHECK int control_send_admin(int fd, enum admin_kind kind, int sock);
MUST_CHECK int control_read_admin(const struct ipc_msg *m, enum admin_kind *ret);

/* A message of one number: DRAIN (milliseconds), DRAINED (sessions cut). */
MUST_CHECK int control_send_number(int fd, enum control_type type, uint64_t n);
MUST_CHECK int control_read_number(const struct ipc_msg *m, uint64_t *ret);

/* Messages without a body (GO, READY, REOPEN, STOP) and with text (REFUSED). */
MUST_CHECK int control_send(int fd, enum control_type type);
MUST_CHECK int control_send_text(int fd, enum control_type type, struct span text, const int *fds, unsigned nfds);

/* What the config role shall load: a file, or flags. Texts borrow the message. */
#define CONTROL_FLAGS_MAX 16
struct control_request {
    struct span file; /* empty = flags */
    struct span listen[CONTROL_FLAGS_MAX];
    uint16_t nlisten;
    struct span backend[CONTROL_FLAGS_MAX];
    uint16_t nbackend;
};
MUST_CHECK int control_send_request(int fd, const struct control_request *r);
MUST_CHECK int control_read_request(const struct ipc_msg *m, struct control_request *ret);
