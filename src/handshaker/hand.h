/*
 * What the files of the handshaker share: the process' state and one connection's state. Nothing here leaves this folder.
 *
 * A connection costs one small struct until its whole ClientHello is there; only then do a handshake and its buffers exist.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/loop.h"
#include "base/slab.h"
#include "conf/conf.h"
#include "handshaker/budget.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/signer_link.h"
#include "tls/certs.h"
#include "tls/client_auth.h"
#include "tls/handshake.h"
#include "tls/tickets.h"
#include "wire/child.h"
#include "wire/conn_info.h"

#define HANDSHAKER_READ_MAX   (16 * 1024)                            /* bytes taken from a client at once */
#define HANDSHAKER_IN_MAX     (HELLO_WIRE_MAX + HANDSHAKER_READ_MAX) /* bytes of a client's that may wait: a hello and one read */
#define HANDSHAKER_OUT_MAX    (256 * 1024)
#define HANDSHAKER_ACCEPT_MAX 64 /* connections taken a turn and listener */
#define HANDSHAKER_SIGNERS    2  /* our own, and the next worker's for when ours hangs or is gone */

/* What a descriptor in the loop is. */
enum handshaker_kind { HANDSHAKER_CONTROL, HANDSHAKER_LISTENER, HANDSHAKER_CONN, HANDSHAKER_LINK, HANDSHAKER_SIGNER };

enum conn_state {
    CONN_HEADER,    /* a PROXY header is to come first */
    CONN_HELLO,     /* the ClientHello is not complete */
    CONN_HANDSHAKE, /* libssl is at work */
    CONN_SIGNER,    /* the signer is gone or stuck; nothing has been sent yet */
    CONN_FLUSH,     /* handshake done, our last bytes have not left */
    CONN_DELIVER,   /* waits in the queue to a relay */
    CONN_CLOSING,   /* refused: the answer leaves, then the client may close first */
    CONN_DEAD,
    CONN_STATES,
};

/* Known from the ClientHello on, and only then in memory. */
struct asked {
    char sni[HELLO_NAME_MAX + 1]; /* any bytes but zero when it is no host name; cut when too long */
    bool sni_is_name;
    char ja4[HELLO_JA4_LEN + 1];
    struct sketch_ref named; /* place of its client's verified name in the counters; none before the handshake is done */
};

struct conn {
    struct slab_item item;
    struct list link; /* in the queue to a relay, or among the dead */
    struct wtimer timer;
    struct list held; /* among its holder's, oldest first */
    struct holder *holder;
    uint64_t charged;
    int fd;
    uint8_t state;        /* enum conn_state */
    bool client_counted;  /* in the figures of its client */
    bool service_counted; /* in the figures of its service */
    bool fin_seen;        /* a read met the end of what the client sends */
    bool end_reported;    /* epoll has said so: reads go on until they meet it, for it is said once */
    bool wants_out;       /* EPOLLOUT is watched */
    bool under_way;       /* libssl has taken the ClientHello: there is no way back */
    bool late;            /* its time was over while its bytes lay unread: it got a little more, once */
    uint16_t listener;
    uint16_t service;
    uint16_t relay;
    int reason;        /* the first fault, enum err; 0 = none so far */
    uint8_t alert;     /* the client's, with ERR_PEER_ALERT */
    const char *stage; /* what was waited for, static text */
    struct addr peer;  /* the other end of the TCP connection */
    struct addr client;
    struct addr local;
    uint64_t unique_id[2]; /* a number of 128 bits: names it in the log, the PROXY header and trace points */
    uint64_t accepted_us;  /* monotonic */
    uint64_t accepted_wall_us;
    struct hello_scan scan; /* of its ClientHello */
    struct buf in;          /* the client's bytes that wait */
    struct buf out;         /* ours that have not left */
    struct handshake *handshake;
    struct asked *asked;
    struct handshake_result *result; /* of a finished handshake, until handed over */
    uint32_t handshake_us;
    uint16_t counted_at;       /* block of its service in the counters; 0 = not yet */
    struct sketch_ref tracked; /* place of its client's address in them */
};

/* The name it goes by, "" = none. */
static inline const char *conn_asked_name(const struct conn *c) {
    return c->asked && c->asked->sni_is_name ? c->asked->sni : "";
}

/* A service as this role needs it. */
struct handshaker_service {
    const struct conf_service *conf;
    struct tls_server *server; /* NULL in passthrough mode */
};

struct handshaker_link {
    int fd; /* to the relay; -1 = none at present */
    bool blocked;
    uint64_t blocked_ms; /* since when it has taken nothing more; 0 = it has room, as far as known */
    uint32_t unread;     /* bytes of what was sent that the relay had not read when last looked at */
    uint64_t looked_ms;  /* when that was */
    uint64_t read_ms;    /* when it was last seen to have read some, or owed nothing */
    struct list queue;   /* of conns, oldest first */
};

/* A listening socket. */
struct handshaker_socket {
    int fd;            /* -1 = closed */
    uint16_t listener; /* which of conf.listeners */
};

/* What holds at a listener before the service is known: the widest limits of its services, 0 = none. */
struct hand_gate {
    uint64_t sessions_per_client;
    uint64_t rate_per_client;
    uint16_t service; /* the first one, in whose name connections are refused */
};

struct hand {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct handshaker_service *services;
    struct hand_gate *gates; /* a listener each */
    struct tickets *tickets;
    struct certs *certs; /* of all services; replaced as a whole */
    struct scoreboard_row row;
    struct slab conns;
    struct list dead; /* freed after the turn */
    struct handshaker_link links[CONF_WORKERS_MAX];
    struct signer_link signers[HANDSHAKER_SIGNERS];
    bool signer_notified[HANDSHAKER_SIGNERS]; /* that it does not answer */
    uint32_t signatures;                      /* asked for */
    struct list unsigned_conns;               /* that wait for a signer, oldest first */
    struct handshaker_socket *sockets;        /* that listen; several may be of one address */
    size_t nsockets;
    bool accepting;
    bool draining;
    uint64_t limits_logged_ms; /* when running out of descriptors was last logged */
    uint64_t budget_told_ms;   /* when giving way was */
    struct budget budget;
    bool waits_for_room; /* accepting pauses until the budget has some */
    struct wtimer trim_timer;
    uint32_t relay_room;       /* sessions a relay can hold */
    struct wtimer resume;      /* accept again after running out of descriptors */
    struct wtimer retry;       /* look again at relays for which sessions wait */
    uint64_t handed_us;        /* when sessions last went to a relay; this and the next two: pace.c */
    uint64_t rested_us;        /* when others last had the CPU by our own doing, sleep apart */
    uint32_t signed_before;    /* signatures asked for by then */
    struct wtimer drain_timer; /* the last moment of a drain */
    struct wtimer stats_timer;
    bool published; /* this turn: the figures of the process */
    uint8_t hello_scratch[HELLO_MESSAGE_MAX];
    uint8_t read_scratch[HANDSHAKER_READ_MAX];
};

/* accept.c */
void accept_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
void accept_start(struct hand *h);

/* Takes what waits in the queues now: nobody may serve these addresses after us. */
void accept_rest(struct hand *h);

/* Some of what waits at a socket of a handshaker that does not serve it now. FD is owned from here. */
void accept_for_other(struct hand *h, int fd, uint16_t listener);
void accept_stop(struct hand *h); /* for good: closes the listening sockets */

/* Out of descriptors: stops accepting until h->resume fires. */
void accept_pause(struct hand *h);

/* What all services of each listener would refuse; once, before anything is accepted. */
void accept_gates(struct hand *h);

/* Whether the peer of a PROXY listener may name clients: 0 or ERR_PROXY_UNTRUSTED. */
int accept_peer(const struct hand *h, const struct conn *c);

/* The client's address is known for sure: counts it. 0, or the limit that refuses it whatever service it wants. */
int accept_client(struct hand *h, struct conn *c);

/* The client's certificate was refused, which cost more than a handshake: it counts as one more. */
void accept_charge(struct hand *h, const struct conn *c);

/* The service is known: counts it. 0, or the limit that refuses it. */
int accept_service(struct hand *h, struct conn *c);

/* conn.c */
void conn_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* A new connection; FD is owned from here on, also when it is refused. */
void conn_start(struct hand *h, int fd, uint16_t listener, const struct addr *peer);
void conn_timeout(struct hand *h, struct conn *c);

/* Ends the connection with a reason: the alert or answer it calls for is sent, and the event is put. */
void conn_fail(struct hand *h, struct conn *c, int reason);

/* Ends it without an answer, and without taking memory: it holds most while others need room, or the time of a drain is over.
 */
void conn_cut(struct hand *h, struct conn *c, int reason);

/* It has waited for the signer long enough. */
void conn_resume(struct hand *h, struct conn *c);

/* Takes it out of the figures of its client and service (-1), or puts it back (1). */
void conn_count(struct hand *h, const struct conn *c, int change);

/* Everything is done with it: the struct goes after this turn. */
void conn_end(struct hand *h, struct conn *c);
void conn_goto(struct hand *h, struct conn *c, enum conn_state state);

/* What the log says of it so far. Borrows C. */
void conn_fill_info(const struct hand *h, const struct conn *c, struct conn_info *ret);

/* creds.c: a set of credentials from the supervisor; the message's descriptor is closed. False: it cannot be used. */
bool creds_take_first(struct hand *h, struct ipc_msg *m);
void creds_take(struct hand *h, struct ipc_msg *m);

/* greet.c: from the first bytes to a service and a handshake. Both return false when nothing more can be done now. */
bool greet_header(struct hand *h, struct conn *c);
bool greet_hello(struct hand *h, struct conn *c);

/* The same ClientHello again, after the wait for the signer. */
bool greet_again(struct hand *h, struct conn *c);

/* signing.c: the signer, and those who wait for it. */
void signing_init(struct hand *h);
void signing_link(struct hand *h, uint16_t signer, int fd); /* FD is owned from here */
void signing_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);
bool signing_there(const struct hand *h);

/* After a step of libssl: logs what it has shown of the signer. */
void signing_note(struct hand *h);

/* C, of which nothing has been sent, waits with its ClientHello. */
void signing_wait(struct hand *h, struct conn *c);

/* Takes up those that wait, when the signer is there; true when some are left for the next turn. */
bool signing_turn(struct hand *h);

/* clients.c: what a service holds clients' certificates against, from a store; *RET is NULL where none are asked for. */
bool clients_make(const struct conf_service *s, const struct creds *store, uint32_t service, struct client_auth **ret,
                  struct text *why);

/* New rules for all services, or none of them. */
bool clients_take(struct hand *h, const struct creds *store, struct text *why);

/* deliver.c */
void deliver_queue(struct hand *h, struct conn *c);
void deliver_link(struct hand *h, uint16_t relay, int fd);
void deliver_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Hands over what waits, as far as the relays take it. */
void deliver_flush(struct hand *h);

/* The same for a few sessions, and only to relays that have read all they got before. False: there was nothing to send. */
bool deliver_portion(struct hand *h);

/* Whether sessions wait that could be handed over now. If they still do after a while, the relay is looked at. */
bool deliver_waits(struct hand *h);

/* C has waited too long: one more try, by any relay. */
void deliver_last_try(struct hand *h, struct conn *c);

/* pace.c: after each piece of work, and at the end of a turn (true: look for events before sleeping). */
void pace(struct hand *h);
bool pace_turn(struct hand *h);

/* h->retry has fired: full links are tried again, and relays that stand are left. */
void deliver_retry(struct hand *h);
