/*
 * What roles put into their ring for the observer: log lines, ends of sessions, failed connections. The observer turns them
 * into text; the roles never format, never wait, and never name a file.
 *
 * Rings outlive a generation of processes: what one build wrote, another may read. So services, backends and reasons go by
 * name, and every event begins with the version of its form; one of another version is counted as not readable.
 */
#pragma once

#include "base/defs.h"
#include "base/log_level.h"
#include "base/span.h"
#include "shm/ring.h"
#include "shm/roles.h"
#include "wire/conn_info.h"

enum event_kind { EVENT_LINE = 1, EVENT_SESSION, EVENT_FAILURE };

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
    struct conn_info conn_info;   /* EVENT_SESSION, EVENT_FAILURE; its service is an index of the writer's own */
    struct span service;          /* its name; empty = not known yet */
    int reason;                   /* enum err, 0 = ok */
    uint8_t alert;                /* with ERR_PEER_ALERT: its description */
    struct span backend;          /* EVENT_SESSION: as the configuration writes it; empty = none tried */
    uint64_t bytes_in, bytes_out; /* plain bytes from and to the client */
    uint32_t connect_us;
    uint64_t duration_us;
    uint8_t client_end, backend_end; /* enum side_end */
    uint16_t retries;                /* connects that failed or met a full backlog before the one that did not */
};

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
