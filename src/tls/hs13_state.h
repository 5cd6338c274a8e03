/* A handshake under way, as the files of hs13 share it. Inside of them only. */
#pragma once

#include <openssl/x509.h>

#include "tls/client_id.h"
#include "tls/hello_pair.h"
#include "tls/hs13.h"
#include "tls/hs13_keys.h"
#include "tls/hs13_ticket.h"
#include "tls/server_internal.h"

#define ALERT_LINE_MAX 256

enum hs13_state {
    HS13_HELLO,       /* hs13_begin() is to come */
    HS13_HELLO2,      /* asked for another ClientHello */
    HS13_SIGN,        /* waits for our signature */
    HS13_CERT,        /* the client's certificate was asked for */
    HS13_CERT_VERIFY, /* one came */
    HS13_FINISH,
    HS13_ESTABLISHED,
    HS13_DEAD,
    HS13_STATES,
};

/* Plain data; its bufs hold no secrets. */
struct hs13 {
    struct slab_item item;
    struct hs13_env *env;
    const struct tls_server *server;
    struct buf *out;
    const struct key_log *log; /* NULL = none */
    struct buf part;           /* of a message that lies in several records */

    uint8_t state; /* enum hs13_state */
    uint8_t alert; /* the peer's */
    int err;

    /* what was agreed on */
    const struct suite *suite;
    uint16_t group;
    uint16_t plain_max; /* bytes of content in a protected record of ours */
    uint16_t whole_max; /* in an unprotected one, and in the client's behind its hello: max_fragment_length */
    uint8_t fragment;   /* max_fragment_length's code, to be answered; 0 = none */
    bool size_limit;    /* record_size_limit is to be answered */
    bool name_used;     /* server_name is to be answered */
    bool wants_ocsp;
    bool retried;       /* a HelloRetryRequest was sent */
    uint16_t identity;  /* of its tickets, the one resumed */
    bool wants_tickets; /* psk_dhe_ke is among its modes */
    bool resumed;
    uint16_t compression; /* of our certificate; 0 = none */
    uint16_t scheme;      /* we sign by */
    uint32_t set, key;    /* we sign with: credentials, and a key of them */
    struct cert_alg our_cert;
    struct span alpn; /* borrows the service */
    int64_t full_s;   /* when the client was last judged by a full handshake */

    /* records */
    bool sealing;           /* ours are protected */
    bool opened;            /* one of the client's was */
    bool writing;           /* a record of ours is begun: */
    size_t rec_at, rec_len; /* where in OUT, and bytes of content so far */
    size_t msg_left;        /* bytes to come of the message begun */
    int out_err;
    uint32_t early_left, early_records; /* of early data that may be skipped */
    uint16_t idle_records, fragments;
    struct traffic_keys in, out_keys;

    /* keys */
    struct hs13_keys keys;
    uint8_t client_app[HASH_LEN_MAX]; /* read from the client's Finished on */
    uint8_t client_random[32];
    uint8_t session_id_len;
    uint8_t session_id[32];
    uint8_t pinned[HELLO_PIN_LEN]; /* what a second ClientHello must not change */

    /* S1: who the client is. Each is set by its one check, and all three are asked again at the end. */
    bool identity_settled, proof_settled, finish_settled;
    bool finish_said; /* our Finished is in the transcript, and nothing of ours after it is */
    bool ticket_given;
    struct client_id *client; /* who it is; NULL = no certificate */
    X509 *client_cert;
    uint32_t client_cert_len; /* its DER */
    uint8_t *client_rest;     /* what came with it, as entries of its Certificate message: certificates that are read take many
                                 times as much */
    uint32_t client_rest_len;
    uint8_t rules[TICKET_BIND_LEN]; /* that it was judged by: what the service's tickets were bound to then */
    uint8_t *client_der;            /* the same as backends get it; NULL = they do not */
    uint16_t client_der_len;

    char sni[HELLO_NAME_MAX + 1];
    struct text why;
    char why_room[ALERT_LINE_MAX];
};

/* Secrets that live for one step; locked. */
struct hs13_scratch {
    struct hs13_share share;
    struct hs13_ticket ticket;
    uint8_t ticket_bytes[HS13_TICKET_MAX];
};
