/*
 * What roles put into their ring for the observer: log lines, ends of sessions, failed connections. The observer turns them
 * into text; the roles never format, never wait, and never name a file.
 *
 * Rings outlive a generation of processes: what one build wrote, another may read. So services, backends and reasons go by
 * name, and every event begins with the version of its form; this one and the one before are read, others counted as not
 * readable.
 */
#pragma once

#include "base/defs.h"
#include "base/log_level.h"
#include "base/span.h"
#include "base/wr.h"
#include "shm/ring.h"
#include "shm/roles.h"
#include "wire/conn_info.h"

enum event_kind { EVENT_LINE = 1, EVENT_SESSION, EVENT_FAILURE, EVENT_TRACE };

/* EVENT_TRACE: for those who trace this client, never for the log. */
enum trace_step {
    TRACED_ACCEPT,
    TRACED_HELLO,
    TRACED_HANDSHAKE,
    TRACED_TAKEN,
    TRACED_CONNECT,
    TRACED_CONNECT_FAILED,
    TRACED_BACKLOG_FULL,
    TRACED_FIRST_BYTE,
    TRACED_THROTTLED,
    TRACED_EXPORTED,
    TRACED_IMPORTED,
    TRACED_COUNT
};

/* "accept", "connect_failed" ...; static storage. */
const char *trace_step_name(unsigned step);

#define EVENT_TEXT_MAX   1024
#define EVENT_NAME_MAX   512 /* of a service, of a backend: longer ones are cut */
#define EVENT_PACKED_MAX (CONN_INFO_LEAN_MAX + EVENT_TEXT_MAX + 2 * EVENT_NAME_MAX + 256)

/* How one side of a session ended. */
enum side_end { END_OPEN, END_CLOSE, END_TRUNCATED, END_RESET, END_CUT, END_COUNT };

/* "open", "close", "truncated", "reset", "cut". */
const char *side_end_name(unsigned end);

struct event {
    enum event_kind kind;
    uint64_t wall_us;
    enum role role; /* the source */
    uint16_t index;
    uint8_t level; /* enum log_level */

    struct span text; /* EVENT_LINE: the sentence. EVENT_FAILURE: detail ("waiting for client Finished"), may be empty */
    struct conn_info conn_info;      /* all but EVENT_LINE; its service is an index of the writer's own */
    struct span service;             /* its name; empty = not known yet */
    int reason;                      /* enum err, 0 = ok */
    uint8_t alert;                   /* with ERR_PEER_ALERT: its description */
    uint8_t step;                    /* EVENT_TRACE: enum trace_step */
    struct span backend;             /* EVENT_SESSION, EVENT_TRACE: as the configuration writes it; empty = none tried */
    uint64_t bytes_in, bytes_out;    /* plain bytes from and to the client */
    uint64_t relay_us;               /* EVENT_SESSION: when its relay began to look for a backend; from accept, as is */
    uint64_t duration_us;            /* its end, or that of the handshake that failed */
    uint32_t connect_us;             /* from relay_us until a backend took it, */
    uint32_t first_byte_us;          /* and to the first byte of that; at most UINT32_MAX, 0 = none came, or not known */
    uint8_t client_end, backend_end; /* enum side_end */
    uint16_t retries;                /* connects that failed or met a full backlog before the one that did not */
};

/* At most EVENT_PACKED_MAX bytes into W. */
void event_pack(struct wr *w, const struct event *e);

/* Packs and puts. False when the ring had no room (the ring counts it). */
bool event_put(struct ring *ring, const struct event *e);

/* Spans borrow RECORD. ERR_FORMAT. */
MUST_CHECK int event_read(struct span record, struct event *ret);

/* A role's log: its identity and where its lines go. Lines go to stderr while there is no ring. */
struct log {
    struct ring ring; /* shared == NULL: none yet */
    enum role role;
    uint16_t index;
    enum log_level level; /* lines above it are not put */
};
void log_msg(struct log *v, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Every line of TEXT that is not empty, behind BEFORE. */
void log_lines(struct log *v, enum log_level level, const char *before, struct span text);
