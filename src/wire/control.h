/*
 * The conversation between the supervisor and each of its children, over the child's descriptor 3.
 *
 *   supervisor                         child
 *   SETUP (role, index, fds)  ------>
 *   LISTENER, LINK (one a peer) ---->
 *   GO                        ------>
 *                             <------  READY | REFUSED
 *   SERVE                     ------>          (handshakers: accept)
 *                             <------  SERVING
 *   LINK (a peer was restarted) ---->
 *   PING                      ------>
 *                             <------  PONG    (process/role.c answers)
 *   DRAIN, STOP               ------>
 *   LOG (file reopened)       ------>          (observer; the first one follows SETUP)
 *                             <------  DRAINED
 *   EXPORT (link), to a relay ------>
 *   IMPORT (link), to another ------>
 *                             <------  EXPORTED, of the first one
 *                             <------  COMMAND (observer: an operator's command; its result is in the process table)
 *
 * The config role gets REQUEST and answers CONFIGURED or REFUSED. Every message has one packing and one unpacking function
 * here, so the two sides cannot disagree.
 *
 * The two sides need not be of the same version: at a reload the supervisor starts the binary that is now on disk, and takes
 * up its new code itself only at the end. CONTROL_PROTOCOL is raised with every change of what processes of different roles
 * exchange (messages here, rings, scoreboard) that the other version would not understand; a newer binary then refuses the
 * REQUEST of a running supervisor, with a text about it. REQUEST's first field and REFUSED never change.
 */
#pragma once

#include <stdint.h>

#include "base/addr.h"
#include "base/defs.h"
#include "base/ipc.h"
#include "shm/roles.h"

#define CONTROL_PROTOCOL 5

enum control_type {
    CONTROL_SETUP = 1, /* fds: snapshot, scoreboard, ring, stats */
    CONTROL_SECRETS,   /* fds: ticket secrets; replaces an earlier one; handshakers only */
    CONTROL_LISTENER,  /* fds: listening socket */
    CONTROL_LINK,      /* fds: socket to another role */
    CONTROL_RING,      /* fds: another role's ring; observer only */
    CONTROL_GO,
    CONTROL_READY,
    CONTROL_REFUSED, /* body: text for the operator */
    CONTROL_LOG,     /* fds: the log file; replaces an earlier one; observer only */
    CONTROL_DRAIN,   /* stop accepting; body: how, milliseconds to finish in */
    CONTROL_DRAINED, /* body: sessions cut */
    CONTROL_STOP,
    CONTROL_REQUEST,    /* config: what to load */
    CONTROL_ADMIN,      /* fds: a listening admin socket; body: which; observer only */
    CONTROL_CONFIGURED, /* fds: snapshot, ticket secret, store of credentials, access table */
    CONTROL_EXPORT,     /* fds: link to the importer; this and the next two: wire/control_export.h */
    CONTROL_IMPORT,     /* fds: link to the exporter */
    CONTROL_EXPORTED,
    CONTROL_SERVE,   /* handshakers: the generation takes over, accept; acme: begin */
    CONTROL_SERVING, /* the answer to it */
    CONTROL_PING,    /* a role that does not answer PONG hangs */
    CONTROL_PONG,
    CONTROL_COMMAND,       /* observer: what an operator asks for */
    CONTROL_PROCTAB,       /* fds: the process table (shm/proctab.h); replaces an earlier one; observer only */
    CONTROL_RING_END,      /* the writer of that ring is gone: read the rest, let it go; observer only */
    CONTROL_STATE,         /* fds: the supervisor's state, for a dry run of the re-exec */
    CONTROL_REQUEST_CREDS, /* fds: snapshot; this and the next six: wire/control_creds.h */
    CONTROL_CREDS_READ,    /* fds: store; body: warnings as text */
    CONTROL_CREDS,         /* fds: store */
    CONTROL_KEY,           /* fds: file of a private key; signers only */
    CONTROL_KEY_PASS,      /* fds: file of its passphrase */
    CONTROL_KEYS_TAKEN,
    CONTROL_KEYS_REFUSED,
    CONTROL_REQUEST_ACCESS,  /* fds: snapshot, access table in use; the answer is ACCESS_READ or REFUSED */
    CONTROL_ACCESS_READ,     /* fds: access table; body: warnings as text */
    CONTROL_ACCESS,          /* fds: access table; replaces an earlier one; handshakers and observer */
    CONTROL_REQUEST_SECRETS, /* fds: snapshot; the answer is SECRETS_READ or REFUSED */
    CONTROL_SECRETS_READ,    /* fds: ticket secrets; no body */
    CONTROL_HOOK,            /* acme: run a program; this and the next: wire/control_hook.h */
    CONTROL_HOOKED,          /* body: why it has failed, as text */
    CONTROL_CPU,             /* body: 1 more than the CPU to run on, 0 = any that is allowed */
    CONTROL_KEYLOG,          /* fds: the file of the key log, to append to; replaces an earlier one; handshakers only */
};

#define CONTROL_TEXT_MAX (32 * 1024)

/* What a child accepts from the supervisor, and the supervisor from some child. */
extern const struct ipc_rule control_to_child[];
extern const struct ipc_rule control_to_supervisor[];

/*
 * As ipc_recv(), for the supervisor: a message that is not for SENDER to send is ERR_FORMAT, with its type in RET. One table
 * defines who may send what.
 */
enum step control_hear(int fd, enum role sender, void *scratch, size_t cap, struct ipc_msg *ret, int *ret_err);

/* "KEYS_REFUSED"; static storage. */
const char *control_type_name(uint16_t type);

struct control_setup {
    enum role role;
    uint16_t index;      /* among the processes of this role */
    uint16_t workers;    /* handshakers and relays, each */
    int32_t cpu;         /* to run on; -1 = any */
    uint32_t generation; /* counts reloads, from 0; all processes of one generation share snapshot, scoreboard and binary */
    uint32_t restarts;   /* of this child within its generation */
};
MUST_CHECK int control_send_setup(int fd, const struct control_setup *s, const int fds[static 4]);
MUST_CHECK int control_read_setup(const struct ipc_msg *m, struct control_setup *ret);

/* A listening socket: which of conf.listeners it serves. */
MUST_CHECK int control_send_listener(int fd, uint16_t listener, int sock);
MUST_CHECK int control_read_listener(const struct ipc_msg *m, uint16_t *ret_listener);

/* A socket or ring of another role; replaces an earlier one of the same peer. */
struct control_peer {
    enum role role;
    uint16_t index;
    uint32_t generation;
};
MUST_CHECK int control_send_peer(int fd, enum control_type type, const struct control_peer *p, int sock);
MUST_CHECK int control_read_peer(const struct ipc_msg *m, struct control_peer *ret);

/* An admin socket for the observer. */
enum admin_kind { ADMIN_UNIX, ADMIN_TCP };
MUST_CHECK int control_send_admin(int fd, enum admin_kind kind, int sock);
MUST_CHECK int control_read_admin(const struct ipc_msg *m, enum admin_kind *ret);

/* For handshakers and relays. Both cut what is left when the time is over, and answer DRAINED when they have nothing left. */
enum drain_how {
    DRAIN_QUICK,   /* a stop: connections without a hello and sessions with nothing in flight end at once, in good order */
    DRAIN_PATIENT, /* sessions that have begun may end on their own */
    DRAIN_HOWS,
};
struct control_drain {
    enum drain_how how;
    uint64_t ms;
};
MUST_CHECK int control_send_drain(int fd, const struct control_drain *d);
MUST_CHECK int control_read_drain(const struct ipc_msg *m, struct control_drain *ret);

/* What an operator can ask the supervisor for. ID is the asker's choice, unique for the life of the supervisor. */
enum command_kind { COMMAND_RELOAD = 1, COMMAND_DRAIN, COMMAND_STOP, COMMAND_KINDS };
struct control_command {
    enum command_kind kind;
    uint64_t id;
    uint64_t ms;       /* DRAIN: how long sessions may take to end; 0 = drain_timeout */
    uint64_t delay_ms; /* DRAIN: how long it is announced (/readyz) before it begins */
};
MUST_CHECK int control_send_command(int fd, const struct control_command *c);
MUST_CHECK int control_read_command(const struct ipc_msg *m, struct control_command *ret);

/* A message of one number: DRAINED (sessions cut), CPU. */
MUST_CHECK int control_send_number(int fd, enum control_type type, uint64_t n);
MUST_CHECK int control_read_number(const struct ipc_msg *m, uint64_t *ret);

/* Messages without a body (GO, READY, SERVE, PING ...), with text (REFUSED), with a ring's writer (RING_END). */
MUST_CHECK int control_send(int fd, enum control_type type);
MUST_CHECK int control_send_ring_end(int fd, const struct control_peer *p);
MUST_CHECK int control_send_text(int fd, enum control_type type, struct span text, const int *fds, unsigned nfds);

/* What the config role shall load: a file, or flags (struct conf_flags). Texts borrow the message. */
#define CONTROL_FLAGS_MAX 16
#define CONTROL_HELD_MAX  260 /* all listeners, and some for administration */
struct control_request {
    uint32_t protocol; /* CONTROL_PROTOCOL of the supervisor; filled in by the sender */
    struct span file;  /* empty = flags */
    struct span listen[CONTROL_FLAGS_MAX];
    uint16_t nlisten;
    struct span backend[CONTROL_FLAGS_MAX];
    uint16_t nbackend;
    struct span name[CONTROL_FLAGS_MAX];
    uint16_t nname;
    struct span directory, ca_file;
    struct addr held[CONTROL_HELD_MAX]; /* the supervisor listens there already: no use in looking whether they are free */
    uint16_t nheld;
};
MUST_CHECK int control_send_request(int fd, const struct control_request *r);
MUST_CHECK int control_read_request(const struct ipc_msg *m, struct control_request *ret);

/* The config role's answer. Texts borrow the message. */
struct control_configured {
    struct span version;  /* of the binary */
    struct span warnings; /* lines */
};
MUST_CHECK int control_send_configured(int fd, const struct control_configured *c, const int fds[static 4]);
MUST_CHECK int control_read_configured(const struct ipc_msg *m, struct control_configured *ret);
