/*
 * One session, and its life.
 *
 * A session has two sides, client and backend, and two flows between them: up (to the backend) and down (to the client). One
 * function pumps both. Whether bytes are records is a property of a side; the record layer is in the session, for only clients
 * speak TLS (docs/decisions/140). An idle session holds its struct and its packed connection info, and nothing else.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/list.h"
#include "base/pool.h"
#include "base/slab.h"
#include "base/span.h"
#include "base/wheel.h"
#include "relay/session_metrics.h"
#include "tls/record_layer.h"

struct relay;
struct conf_service;
struct conn_info;
struct export_session;
struct rate_share;
struct hold;

#define CHUNK_MIN_SHIFT 14 /* 16 KiB a system call at first, */
#define CHUNK_MAX_SHIFT 18 /* up to 256 KiB for a bulk session */

#define SESSION_EVENTS (EPOLLIN | EPOLLRDHUP | EPOLLET) /* watched on every socket; EPOLLOUT is added */

enum session_state {
    SESSION_CONNECTING, /* no backend yet */
    SESSION_OPEN,       /* bytes move */
    SESSION_CLOSING,    /* nothing more is read; what waits leaves, then the client may close first */
    SESSION_PREFACE,    /* a backend took it; no bytes of the client move before it has sent its greeting (preface.h) */
    SESSION_DEAD,
    SESSION_STATES,
};

/* Where a session waits: its link is in that list, and in no other. session_wait() alone sets it. */
enum session_waits {
    WAITS_NOT,       /* for nothing but an event */
    WAITS_READY,     /* for a share of work */
    WAITS_REST,      /* for the second half of that share, in this turn */
    WAITS_MIGRATION, /* on its way from or to another relay: frozen */
    WAITS_END,       /* to be freed */
    WAITS_BACKLOG,   /* for a backend with room, in the queue of its service; from here on, somebody counts how many do */
    WAITS_RATE,      /* for a byte rate, in the limiter's queue */
};

enum flow_state {
    FLOW_OPEN,
    FLOW_EOF_SEEN, /* the source has ended; what waits leaves, then the sink is notified */
    FLOW_SHUT,     /* the sink was notified */
    FLOW_BROKEN,   /* the sink takes no more */
};

struct flow {
    struct chain wait; /* bytes the sink has not taken */
    uint64_t bytes;    /* plain bytes relayed */
    uint8_t state;     /* enum flow_state */
    uint8_t chunk_shift;
    bool readable;    /* the source may have bytes */
    bool blocked;     /* the sink took no more; an event follows */
    uint32_t mark_us; /* low bits of the time when window_moved() last looked; 0 = never */
};

/* One of the two peers: its socket, and what is known of its connection. */
struct side {
    int fd;             /* -1 = none */
    uint8_t end;        /* enum side_end: how its bytes ended */
    bool tls : 1;       /* its bytes are records of the record layer; false: they pass as they are */
    bool wants_out : 1; /* EPOLLOUT is watched */
    bool ended : 1;     /* events announced an end: read until it shows */
    bool gone : 1;      /* it reads no more either */
    bool shut : 1;      /* we have ended our direction of TCP */
    bool fin : 1;       /* it has ended its direction, and that was read */
    bool reset : 1;     /* to be closed with a reset, after all bytes have left */
};

struct session {
    struct slab_item item;
    struct list link; /* where it waits */
    struct wtimer timer;
    struct side client, backend;
    struct flow up, down;
    struct chain partial; /* the client's bytes that are no whole record yet */
    uint64_t deadline_ms; /* of the state; CONF_NEVER = none */
    uint64_t active_ms;   /* bytes last relayed */
    uint64_t tried;       /* backends whose connect failed */
    uint8_t *conn_info;   /* packed */
    uint16_t conn_info_len;
    uint16_t service;
    uint16_t chosen; /* backend of the service; BACKEND_NONE = none chosen */
    uint16_t retries;
    uint64_t connect_begun_us;
    uint32_t connect_us;
    uint32_t first_byte_us; /* from the same time to the backend's first byte; 0 = none yet, or not known */
    int reason;             /* the first fault, enum err; 0 = none */
    uint8_t state;          /* enum session_state */
    uint8_t waits;          /* enum session_waits */
    bool read_ahead;        /* PARTIAL may hold whole records */
    bool connected;         /* a backend took it */
    bool on_backend;        /* counted at its backend */
    bool addr_failed;       /* an address of its backend's name, in this attempt */
    bool stays;             /* the relay that this one exports to cannot take it */
    bool refilled;          /* it has waited for a byte rate, and may read now */
    uint8_t greeting;       /* enum greeting; until it is swallowed */
    uint8_t addr; /* which of its backend's addresses is being tried, and how many have been, it included; 0 = not known */
    uint8_t addrs_tried;
    uint16_t connect_errno; /* why the last attempt to connect did not succeed */
    uint32_t down_ms;       /* low bits of the time when bytes last came from the backend */
    uint32_t unsent;        /* of a half-closed session, at the last look: bytes that its sinks have yet to take, and one */
    struct session_metrics counts;
    struct rate_share *rate; /* in the byte rates that bind it; NULL = none (yet) */
    struct hold *hold;       /* of memory; NULL = none */
    struct record_layer record_layer;
};

/* One that a handshaker has handed over (CLIENT_FD is owned from here on), or that cannot be read. */
void session_start(struct relay *r, const struct export_session *x, int client_fd);
void session_refuse(struct relay *r, int client_fd);
void session_goto(struct relay *r, struct session *s, enum session_state state);

/* The first reason stays; sends the alert that is due and lets the session close. */
void session_fail(struct relay *r, struct session *s, int reason);

/* Ends a session on our own account (idle, stop): both sides get an orderly end. */
void session_stop(struct relay *r, struct session *s, int reason);

/* Ends it on the spot because we stop, whatever is in flight. */
void session_cut(struct relay *r, struct session *s);
void session_end(struct relay *r, struct session *s);

/* Its end here, when its descriptors are closed and all is reported: wiped, and freed at the turn's end. */
void session_release(struct relay *r, struct session *s);
void session_client_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void session_backend_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* The record layer of a session with TLS. False: it makes no sense, or is of another version of TLS than the session. */
MUST_CHECK bool session_take_record_layer(struct session *s, const struct export_session *x);

/* Watches both sides again: all that has happened since is reported again. False (errno) when that is not possible. */
MUST_CHECK bool session_watch_again(struct relay *r, struct session *s);

/* A stream socket of TCP, or of the Unix domain. That it does not block is not relied on: the flag is shared with its sender,
 * and every call uses MSG_DONTWAIT. */
bool session_socket_fits(int fd);

/* So many more wait where it does: for session_wait(). */
void session_count_waiting(struct relay *r, const struct session *s, int change);

/* Takes the session out of the list in which it waits, and puts it at the end of IN (NULL = none, for WAITS_NOT). */
static inline void session_wait(struct relay *r, struct session *s, enum session_waits waits, struct list *in) {
    if (s->waits >= WAITS_BACKLOG)
        session_count_waiting(r, s, -1);
    list_remove(&s->link);
    s->waits = (uint8_t)waits;
    if (in)
        list_push(in, &s->link);
    if (waits >= WAITS_BACKLOG)
        session_count_waiting(r, s, 1);
}

/* Queues the session for this turn's work. */
void session_ready(struct relay *r, struct session *s);

/* One fair share of work for each session of READY: first the clients' bytes to all backends, then the rest of each. */
void session_work(struct relay *r, struct list *ready);
/* One direction of an open session is over. */
static inline bool session_half_closed(const struct session *s) {
    return s->state == SESSION_OPEN && (s->up.state != FLOW_OPEN || s->down.state != FLOW_OPEN);
}
