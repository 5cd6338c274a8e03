/*
 * Typed, size-capped messages between roles over SOCK_SEQPACKET, with descriptors.
 *
 * One message is one packet: type (u16), body. A receiver gives a table of the types it accepts with their sizes and number
 * of descriptors; anything else is an error of that peer (ERR_FORMAT), its descriptors are closed, and this process goes on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/span.h"
#include "base/step.h"

#define IPC_BODY_MAX     (64 * 1024)
#define IPC_FDS_MAX      4   /* descriptors of a message that rules allow */
#define IPC_FDS_SENT_MAX 253 /* of any message: SCM_MAX_FD of the kernel */

/* One row a permitted message type; a table ends with a row of type 0. */
struct ipc_rule {
    uint16_t type;
    uint8_t fds;      /* exactly this many descriptors */
    uint32_t min_len; /* of the body */
    uint32_t max_len;
};

/* A received message: BODY borrows the scratch given; the receiver closes it (ipc_msg_close()). */
struct ipc_msg {
    uint16_t type;
    unsigned nfds;
    int fds[IPC_FDS_MAX]; /* -1: taken */
    struct span body;
};

/* A connected pair, close-on-exec, non-blocking; SNDBUF bytes of send buffer requested each way (0 = the host's default). */
MUST_CHECK int ipc_pair(int sndbuf, int ret_fds[static 2]);

/* ERROR of a send: the kernel has no memory for it at present. A moment later it may. */
bool ipc_no_memory(int error);

/*
 * Sends one message; the descriptors are duplicated to the receiver and stay the sender's too.
 * ERR_AGAIN when the peer's queue is full or the kernel has no memory, ERR_CLOSED when it is gone, ERR_LIMIT when too large,
 * ERR_SYSTEM (errno).
 */
MUST_CHECK int ipc_send(int fd, uint16_t type, struct span body, const int *fds, unsigned nfds);

/*
 * Receives one message into SCRATCH (at least IPC_BODY_MAX + 2 bytes) and checks it against RULES.
 * STEP_DONE, STEP_WANT_READ, STEP_EOF; STEP_FAILED with *ret_err ERR_FORMAT (peer broke the rules), ERR_OUT_OF_FDS (this
 * process may open no more descriptors: the message stays where it is, before all others) or ERR_SYSTEM (errno). RET then has
 * the type, as far as it is known, and nothing to close.
 */
enum step ipc_recv(int fd, void *scratch, size_t cap, const struct ipc_rule *rules, struct ipc_msg *ret, int *ret_err);

/* Gives up the first message of the queue, with its descriptors. */
void ipc_skip(int fd);

/* A received message as it came: BODY borrows the scratch given. */
struct ipc_raw {
    uint16_t type;
    unsigned nfds;
    bool fds_lost; /* some did not fit, or this process may open no more */
    struct span body;
};

/*
 * As ipc_recv(), for links with rules of their own: the type is not looked at, and up to CAP descriptors are put into FDS, the
 * caller's to close. SCRATCH has IPC_BODY_MAX bytes. STEP_FAILED: ERR_FORMAT (no type, or cut), ERR_SYSTEM.
 */
enum step ipc_recv_raw(int fd, void *scratch, int *fds, unsigned cap, struct ipc_raw *ret, int *ret_err);

/*
 * The same, but the message comes with all its descriptors or stays where it is: ERR_OUT_OF_FDS when this process may not open
 * so many now, ERR_FORMAT (and it is gone) when it has more than CAP.
 */
enum step ipc_recv_whole(int fd, void *scratch, int *fds, unsigned cap, struct ipc_raw *ret, int *ret_err);

/* Descriptor I of the message, the caller's from now on. */
int ipc_take(struct ipc_msg *m, unsigned i);

/* Closes the descriptors a message still holds. */
void ipc_msg_close(struct ipc_msg *m);
