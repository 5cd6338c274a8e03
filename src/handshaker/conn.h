/*
 * One connection, from accept to hand-off. It costs one small struct until its whole ClientHello has arrived; only then do a
 * handshake and its buffers exist.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "prelude/prelude.h"
#include "shm/sketch.h"
#include "tls/handshake.h"
#include "tls/hello.h"
#include "tls/hello_find.h"
#include "wire/conn_info.h"

struct handshaker;
struct holder;

enum conn_state {
    CONN_HEADER,    /* a PROXY header must come first */
    CONN_PAUSE,     /* the greeting waits a moment: who begins with TLS must not see it */
    CONN_PRELUDE,   /* STARTTLS and its kin: the client has not asked for TLS */
    CONN_GO_AHEAD,  /* it has, and our answer has not left */
    CONN_HELLO,     /* the ClientHello is not complete */
    CONN_HANDSHAKE, /* the client's next bytes are waited for */
    CONN_SIGNER,    /* waits for a signature: one that was asked for, or a signer to begin with */
    CONN_FLUSH,     /* handshake done, our last bytes have not left */
    CONN_QUEUED,    /* waits in the queue to a relay */
    CONN_CLOSING,   /* refused: the answer leaves, then the client may close first */
    CONN_DEAD,
    CONN_STATES,
};

/* Known from the ClientHello on, and only then in memory. */
struct hello_info {
    char sni[HELLO_NAME_MAX + 1]; /* any bytes but zero when it is no host name; truncated when too long */
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
    bool client_counted;  /* in the session count of its client */
    bool service_counted; /* in the session count of its service */
    bool name_counted;    /* in that of its server name */
    bool fin_seen;        /* a read returned the client's end of stream */
    bool end_reported;    /* epoll reported it, once: reads continue until they return it */
    bool unread;          /* bytes or an end may wait in the socket, and epoll does not say so again */
    bool wants_out;       /* EPOLLOUT is watched */
    bool under_way;       /* libssl has consumed the ClientHello: it cannot be replayed */
    bool mute;            /* refused by a reset, without an answer */
    bool upgraded;        /* TLS begins behind the go-ahead of a prelude */
    bool late;            /* its time was over while its bytes lay unread: extended, once */
    uint16_t listener;
    uint16_t service;
    uint16_t relay;
    int reason;    /* the first fault, enum err; 0 = none so far */
    uint8_t alert; /* the client's, with ERR_PEER_ALERT */
    const char *
        refused_by; /* the access list, with ERR_ACCESS_DENIED, or the pattern, with ERR_JA4_DENIED; not the connection's own */
    const char *stage; /* what was waited for, static text */
    struct addr peer;  /* the other end of the TCP connection */
    struct addr client;
    struct addr local;
    uint64_t unique_id[2]; /* a number of 128 bits: names it in the log, the PROXY header and trace points */
    uint64_t accepted_us;  /* monotonic */
    uint64_t accepted_wall_us;
    struct prelude prelude;
    struct hello_scan scan; /* of its ClientHello */
    struct buf in;          /* the client's bytes that wait */
    struct buf out;         /* ours that have not left */
    struct handshake *handshake;
    struct hello_info *hello_info;
    struct handshake_result *result; /* of a finished handshake, until handed over */
    uint32_t handshake_us;
    uint16_t counted_at;       /* block of its service in the counters; 0 = not yet */
    struct sketch_ref tracked; /* place of its client's address in them */
};

/* The host name in its SNI, "" = none. */
static inline const char *conn_sni(const struct conn *c) {
    return c->hello_info && c->hello_info->sni_is_name ? c->hello_info->sni : "";
}

/* What it said as a server name, whether it is one or not; "" = nothing. */
static inline const char *conn_said_name(const struct conn *c) {
    return c->hello_info ? c->hello_info->sni : "";
}

/* Bytes that it holds itself. */
static inline uint64_t conn_bytes(const struct conn *c) {
    return sizeof(*c) + c->in.cap + c->out.cap + (c->hello_info ? sizeof(*c->hello_info) : 0) +
           (c->result ? sizeof(*c->result) : 0) + (c->handshake ? handshake_bytes(c->handshake) : 0);
}

void conn_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* A new connection; FD is owned from here on, also when it is refused. False: there is no room for one more. */
MUST_CHECK bool conn_start(struct handshaker *h, int fd, uint16_t listener, const struct addr *peer);

/* Sends what the socket takes of OUT. False when the client is gone. */
MUST_CHECK bool conn_flush(struct handshaker *h, struct conn *c);

/* The client has ended its side, or reset the connection, before there was a session. */
void conn_ended(struct handshaker *h, struct conn *c, int reason);
void conn_timeout(void *ctx, struct wtimer *t);

/* Ends the connection with a reason: sends the alert or answer it calls for, and logs the event. */
void conn_fail(struct handshaker *h, struct conn *c, int reason);

/*
 * Ends it without an answer, and without taking memory: it holds most while others need room, or the time of a drain is over.
 */
void conn_cut(struct handshaker *h, struct conn *c, int reason);

/* There is a signature, or a signer. */
void conn_resume(struct handshaker *h, struct conn *c);

/* Takes it out of the session counts of its client and service (-1), or puts it back (1). */
void conn_count(struct handshaker *h, const struct conn *c, int change);

/* Ends it; the struct is freed after this turn. */
void conn_end(struct handshaker *h, struct conn *c);
void conn_goto(struct handshaker *h, struct conn *c, enum conn_state state);
