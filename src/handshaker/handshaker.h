/*
 * The handshaker role: owns TCP connections until their handshake is done, then hands them to a relay. The state of the
 * process.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log_pause.h"
#include "base/loop.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "handshaker/admit.h"
#include "handshaker/budget.h"
#include "handshaker/keylog_file.h"
#include "handshaker/signing.h"
#include "process/role.h"
#include "route/route.h"
#include "shm/scoreboard.h"
#include "tls/certs.h"
#include "tls/handshake.h"
#include "tls/hello_find.h"
#include "tls/tickets.h"

#define HANDSHAKER_READ_MAX   (16 * 1024)                            /* bytes read from a client at once */
#define HANDSHAKER_IN_MAX     (HELLO_WIRE_MAX + HANDSHAKER_READ_MAX) /* bytes of a client that may wait: a hello and one read */
#define HANDSHAKER_OUT_MAX    (256 * 1024)
#define HANDSHAKER_ACCEPT_MAX 64 /* connections taken a turn and listener */

/* Kinds of timers; 0 is what there is most of. */
enum handshaker_timer {
    HANDSHAKER_TIMER_CONN,
    HANDSHAKER_TIMER_RESUME,
    HANDSHAKER_TIMER_RETRY,
    HANDSHAKER_TIMER_TRIM,
    HANDSHAKER_TIMER_STATS,
    HANDSHAKER_TIMER_DRAIN,
    HANDSHAKER_TIMER_SIGNER,
    HANDSHAKER_TIMER_KEYLOG,
};

/* What a descriptor in the loop is. */
enum handshaker_kind { HANDSHAKER_LISTENER = ROLE_CONTROL + 1, HANDSHAKER_CONN, HANDSHAKER_LINK, HANDSHAKER_SIGNER };

/* A service as this role needs it. */
struct handshaker_service {
    const struct conf_service *conf;
    struct tls_server *server; /* NULL in passthrough mode */
};

struct handshaker_link {
    int fd;       /* to the relay; -1 = none at present */
    uint32_t gen; /* how many there were: what is reported of an earlier one is not of this one */
    bool blocked;
    uint64_t blocked_ms; /* since when it has taken nothing more; 0 = it has room, as far as known */
    uint32_t unread;     /* bytes of what was sent that the relay had not read when last looked at */
    uint64_t looked_ms;  /* when that was */
    uint64_t read_ms;    /* when it was last seen to have read some, or had nothing unread */
    struct list queue;   /* of conns, oldest first */
};

/* A listening socket. */
struct handshaker_socket {
    int fd;            /* -1 = closed */
    uint16_t listener; /* which of conf.listeners */
};

struct handshaker {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct handshaker_service *services;
    struct admission admission;
    struct tickets *tickets;
    struct certs *certs;        /* of all services; replaced as a whole */
    struct route_table *routes; /* to the services; the names in them are those of CERTS */
    struct scoreboard_row row;
    struct slab conns;
    struct list dead; /* freed after the turn */
    struct handshaker_link links[WORKERS_MAX];
    struct signing signing;
    struct keylog_file keylog;
    struct handshaker_socket *sockets; /* that listen; several may be of one address */
    size_t nsockets;
    bool accepting;
    bool draining;
    struct log_pause limits_log; /* running out of descriptors */
    struct log_pause budget_log; /* evictions */
    bool own_failed;             /* our own handshake was wanted and did not pass its self-test */
    struct budget budget;
    bool waits_for_room; /* accepting pauses until the budget has some */
    struct wtimer trim_timer;
    uint32_t relay_room;       /* sessions a relay can hold */
    struct wtimer resume;      /* accept again after running out of descriptors */
    struct wtimer retry;       /* check again relays for which sessions wait */
    uint64_t handed_us;        /* when sessions last went to a relay; this and the next two: pace.c */
    uint64_t yielded_us;       /* when we last yielded the CPU, other than by sleeping */
    uint32_t waits_before;     /* signatures that libssl has waited for by then */
    struct wtimer drain_timer; /* the deadline of a drain */
    struct wtimer stats_timer;
    bool published; /* this turn: the gauges of the process */
    uint8_t hello_scratch[HELLO_MESSAGE_MAX];
    uint8_t read_scratch[HANDSHAKER_READ_MAX];
};

extern const struct role_table handshaker_role;
