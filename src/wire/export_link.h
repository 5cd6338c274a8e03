/*
 * The links on which sessions travel: messages with as many descriptors as the kernel lets through in one. From a handshaker
 * to a relay there are SESSIONS alone; they are the relay's when they are in its queue. Between two relays, exporter to
 * importer:
 *
 * - LIVENESS, once, first: the reading end of a pipe. A byte in it: I live and serve on what you have not acknowledged. Its
 * end: I am dead, what you hold is yours. See docs/hand-over-format.md, "Who owns a session".
 * - BYTES: waiting bytes of the session that comes next, when they are too many to be in it.
 * - SESSIONS: some sessions with all their descriptors, in order.
 *
 * Importer to exporter:
 *
 * - TAKEN, for each SESSIONS, in order: what became of each session in it.
 */
#pragma once

#include "base/defs.h"
#include "base/ipc.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/export.h"

#define EXPORT_FDS_MAX    IPC_FDS_SENT_MAX
#define EXPORT_BATCH_MAX  96          /* sessions a message */
#define EXPORT_ARRIVE_MAX 16          /* hand-offs a message */
#define EXPORT_BYTES_MAX  (48 * 1024) /* waiting bytes a message */

enum export_type { EXPORT_LIVENESS = 1, EXPORT_BYTES, EXPORT_SESSIONS, EXPORT_TAKEN };

/* Whose bytes are in a BYTES message. */
enum export_part { EXPORT_PART_UP, EXPORT_PART_DOWN, EXPORT_PART_PARTIAL, EXPORT_PARTS };

/* What became of a session. */
enum export_result {
    EXPORT_IS_TAKEN,   /* it is the importer's from now on */
    EXPORT_IS_REFUSED, /* not readable or not possible: nothing would change if it came again */
    EXPORT_NO_ROOM,    /* the importer has no room, descriptors or memory at present */
    EXPORT_RESULTS,
};

struct export_msg {
    uint16_t type;
    unsigned nfds;
    int fds[EXPORT_FDS_MAX]; /* the receiver's to close */
    bool fds_lost;           /* this process may open no more: some descriptors are missing, the rest has been closed */
    struct span body;        /* borrows the scratch given */
};

/*
 * As ipc_recv(): SCRATCH has IPC_BODY_MAX bytes. STEP_DONE, STEP_WANT_READ, STEP_EOF (the other end is gone, all has been
 * read), STEP_FAILED (*ret_err: ERR_FORMAT, ERR_SYSTEM). The type has not been looked at.
 */
enum step export_recv(int fd, uint8_t *scratch, struct export_msg *ret, int *ret_err);
void export_msg_close(struct export_msg *m);

/* Head of a SESSIONS message; the sessions follow, each behind its number of descriptors and its length. */
struct export_batch {
    uint8_t major, minor;
    uint32_t number; /* counts the batches of a link from 1 */
    uint16_t n;
};
#define EXPORT_BATCH_LEN 8
void export_batch_pack(struct wr *w, const struct export_batch *b);
void export_batch_unpack(struct rd *r, struct export_batch *ret);

/* Adds a session with so many descriptors; its keys are in W's memory then: the caller wipes it. */
void export_append(struct wr *w, const struct export_session *s, unsigned fds);

/* The next session's bytes and number of descriptors (1 or 2); empty and R bad when there are none. */
struct span export_next(struct rd *r, unsigned *ret_fds);

/* A TAKEN message: results of batch NUMBER, one byte each. */
struct export_taken {
    uint32_t number;
    struct span results; /* enum export_result */
};
#define EXPORT_TAKEN_MAX (6 + EXPORT_BATCH_MAX)
void export_taken_pack(struct wr *w, const struct export_taken *t);
MUST_CHECK int export_taken_unpack(const struct export_msg *m, struct export_taken *ret);

/* A BYTES message: the part (u8), then the bytes. */
MUST_CHECK int export_bytes_unpack(const struct export_msg *m, enum export_part *ret_part, struct span *ret_bytes);
