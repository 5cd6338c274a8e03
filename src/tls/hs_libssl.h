/*
 * A handshake by libssl: what is kept beside it, and what others ask of it. hs_libssl.c alone drives it; hs_libssl_server.c
 * answers what libssl asks meanwhile. Inside of tls/ only.
 */
#pragma once

#include <openssl/x509.h>

#include "tls/handshake_path.h"
#include "tls/hello_find.h"
#include "tls/hello_pair.h"
#include "tls/hs_bio.h"
#include "tls/kdf_provider.h"
#include "tls/server_internal.h"

#define HS_LIBSSL_DETAIL_MAX 512

/* Holds the traffic secrets for a moment: wiped when freed, like all that libssl holds beside it. */
struct hs_libssl {
    struct handshake base;
    SSL *ssl;
    struct hs_bio bio;
    const struct suite *suite;   /* set once done */
    struct kdf_secrets provided; /* by our provider */
    struct kdf_secrets logged;   /* by libssl's key log, while it is on */
    const struct key_log *log;   /* where its lines go, too; NULL = nowhere */
    const struct tls_server *server;
    uint8_t rules[TICKET_BIND_LEN]; /* what the server's tickets were bound to when libssl last got them */
    uint16_t record_size_limit;
    struct hello_scan scan; /* of the ClientHello that is due */
    uint8_t pinned[HELLO_PIN_LEN];
    bool begun;           /* the first hello was fed */
    bool second_judged;   /* and a second, which keeps to what was pinned */
    bool early_offered;   /* the client sends early data, which is passed over */
    size_t early_skipped; /* bytes of it between a HelloRetryRequest and its answer */
    unsigned records;     /* fed behind the hellos */
    int err;
    uint8_t alert;      /* the peer's fatal alert */
    uint8_t sent_alert; /* libssl's own; 0 = none */
    char detail[HS_LIBSSL_DETAIL_MAX];
    char sni[HELLO_NAME_MAX + 1]; /* for the choice of certificates, */
    struct certs_client verifies; /* in TLS 1.3 with this */
    int cert_err;                 /* why there are none */
    struct client_id *client;     /* once its certificate is verified */
    int client_err;               /* or why it is refused */
    bool judged;                  /* our rules refuse it: CLIENT_ERR is more precise than libssl's alert */
    bool alert_sent;              /* libssl has sent a fatal alert */
    uint8_t *client_cert;         /* DER, from libssl's memory; only when it is to be sent to the backend */
    size_t chain_len;             /* bytes of the certificates that it holds of the client */
};

/* A handshake_new() of this path. */
MUST_CHECK int hs_libssl_new(const struct tls_server *s, const struct hello *hello, struct buf *out, const struct key_log *log,
                             struct handshake **ret);

/* H, which is one of this path. */
struct hs_libssl *hs_libssl_of(const struct handshake *h);

/*
 * What became of the client's certificate: 0 and who it is (copied), or why it is refused and one line for the log. Returns
 * ERR, or ERR_NOMEM.
 */
MUST_CHECK int hs_libssl_note_client(struct hs_libssl *h, int err, const struct client_id *id, const char *detail);

/* Judges it by the rules in use, and notes the verdict. X509_V_OK, or libcrypto's error. */
MUST_CHECK int hs_libssl_judge_client(struct hs_libssl *h, X509 *cert, STACK_OF(X509) * others);

/*
 * What we put into libssl's tickets: when the full handshake was from which the session comes, in seconds since 1970, and who
 * the client is. ERR_FORMAT.
 */
#define HS_LIBSSL_NOTE_MAX (8 + CLIENT_ID_PACKED)
struct ssl_session_st; /* SSL_SESSION */
size_t hs_libssl_note(int64_t full_s, const struct client_id *client, uint8_t to[static HS_LIBSSL_NOTE_MAX]);
MUST_CHECK int hs_libssl_recall(struct ssl_session_st *session, int64_t *ret_full_s, struct client_id *ret);

/* What libssl knows at this moment. */
uint16_t hs_libssl_version(const struct hs_libssl *h);
bool hs_libssl_is_finished(const struct hs_libssl *h);
const struct suite *hs_libssl_suite(const struct hs_libssl *h); /* NULL = none yet, or none of ours */

/* Of TLS 1.2, all of it: ERR_LEAVE. The caller wipes RET. */
struct hs_libssl_tls12 {
    uint8_t master[48], client_random[32], server_random[32];
};
MUST_CHECK int hs_libssl_tls12(const struct hs_libssl *h, struct hs_libssl_tls12 *ret);

/* A handshake_alert() of this path (hs_alert.c). */
void hs_libssl_alert(struct handshake *base, int err);

/* Whether provider and key log gave the same application traffic secrets. */
bool hs_libssl_secrets_agree(const struct hs_libssl *h);
