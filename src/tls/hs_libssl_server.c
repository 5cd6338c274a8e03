#include "tls/hs_libssl_server.h"

#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/text.h"
#include "tls/client_auth.h"
#include "tls/hs_libssl.h"
#include "tls/sig_scheme.h"

/* Since 3.2; a libssl may be newer than the headers we were built with, and an older one ignores the bit. */
#ifndef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
#define SSL_OP_NO_RX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 33)
#endif

/* ---- settings ---- */

/* Joins names with ':' as libssl's setters want them. */
static void join_name(struct text *t, const char *name) {
    if (t->len)
        text_add(t, ":");
    text_add(t, name);
}

static int set_suites(SSL_CTX *ctx, const struct tls_server *s) {
    char tls13[512], tls12[1024];
    struct text t13 = text_of(tls13, sizeof(tls13)), t12 = text_of(tls12, sizeof(tls12));
    for (size_t i = 0; i < s->nsuites; i++) {
        const struct suite *suite = suite_by_id(s->suites[i]);
        if (suite)
            join_name(suite->version == TLS_1_3 ? &t13 : &t12, suite->openssl_name);
    }
    if (t13.cut || t12.cut || SSL_CTX_set_ciphersuites(ctx, tls13) != 1)
        return ERR_CRYPTO;
    if (t12.len == 0) /* libssl refuses an empty list; without any 1.2 suite there is no 1.2 */
        return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 ? 0 : ERR_CRYPTO;
    if (t13.len == 0 && SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != 1)
        return ERR_CRYPTO;
    return SSL_CTX_set_cipher_list(ctx, tls12) == 1 ? 0 : ERR_CRYPTO;
}

/*
 * Within a tuple (separated by '/'; OpenSSL 3.5) libssl takes our first group among those the client has sent a share of. So a
 * hybrid group is in a tuple before those behind it: a client that has it gets a HelloRetryRequest if need be
 * (HelloRetryRequest). Between the others the order is not worth a round trip.
 */
static int set_groups(SSL_CTX *ctx, const struct tls_server *s) {
    char names[512];
    struct text t = text_of(names, sizeof(names));
    bool after_hybrid = false;
    for (size_t i = 0; i < s->ngroups; i++) {
        const struct group *g = group_by_id(s->groups[i]);
        if (!g)
            continue;
        if (t.len)
            text_add(&t, after_hybrid && !g->hybrid ? "/" : ":");
        text_add(&t, g->openssl_name);
        after_hybrid = g->hybrid;
    }
    if (!t.len || t.cut) /* an empty list would be libssl's */
        return ERR_CRYPTO;
    if (SSL_CTX_set1_groups_list(ctx, names) == 1)
        return 0;
    for (char *c = names; (c = strchr(c, '/'));) /* a provider's group in an older libssl, which knows no tuples */
        *c = ':';
    return SSL_CTX_set1_groups_list(ctx, names) == 1 ? 0 : ERR_CRYPTO;
}

/*
 * What we sign with, and what clients' certificates and their proofs may be signed with: nothing on SHA-1 or SHA-224, whatever
 * the library or its configuration file would allow.
 */
static int set_sigalgs(SSL_CTX *ctx) {
    char names[512];
    struct text t = text_of(names, sizeof(names));
    for (size_t i = 0; sig_scheme_at(i); i++)
        join_name(&t, sig_scheme_name(sig_scheme_at(i)));
    if (t.cut)
        return ERR_CRYPTO;
    return SSL_CTX_set1_sigalgs_list(ctx, names) == 1 && SSL_CTX_set1_client_sigalgs_list(ctx, names) == 1 ? 0 : ERR_CRYPTO;
}

/* ---- names, keys, alerts ---- */

/* tls_server_check() has made sure that something is shared. */
static int alpn_select(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *in, unsigned in_len,
                       void *arg) {
    (void)ssl;
    struct span name = tls_server_alpn(arg, span_of(in, in_len));
    if (!name.len)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = name.p;
    *ret_len = (unsigned char)name.len;
    return SSL_TLSEXT_ERR_OK;
}

/* It asks when a certificate is needed, so never for a session that is resumed. */
static int on_cert(SSL *ssl, void *arg) {
    (void)arg;
    struct hs_libssl *h = SSL_get_app_data(ssl);
    const struct certs_client *client = SSL_version(ssl) == TLS_1_3 ? &h->verifies : NULL;
    h->cert_err = hs_libssl_use_certs(ssl, h->server->certs, h->server->service, h->sni, client);
    return h->cert_err == 0;
}

static bool use_entry(void *ssl, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain) {
    return SSL_use_cert_and_key(ssl, leaf, key, chain, 1) == 1;
}

int hs_libssl_use_certs(SSL *ssl, struct certs *certs, uint32_t service, const char *name, const struct certs_client *client) {
    SSL_certs_clear(ssl);
    return certs_use(certs, service, name, client, use_entry, ssl);
}

/* libssl asks after it has chosen the certificate; RFC 6066 8, RFC 8446 4.4.2.1. */
static int give_staple(SSL *ssl, void *arg) {
    (void)arg;
    struct span ocsp = certs_staple(SSL_get_certificate(ssl));
    uint8_t *copy = ocsp.len ? OPENSSL_memdup(ocsp.p, ocsp.len) : NULL;
    if (!copy)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (int)ocsp.len); /* owns the copy now */
    return SSL_TLSEXT_ERR_OK;
}

void hs_libssl_staple(SSL_CTX *ctx) {
    SSL_CTX_set_tlsext_status_cb(ctx, give_staple);
}

/* 0 when it is no hex, or too long. */
static uint8_t read_secret(const char *hex, uint8_t to[static HASH_LEN_MAX]) {
    size_t n = 0;
    return text_read_hex(span_str(hex), to, HASH_LEN_MAX, &n) == 0 ? (uint8_t)n : 0;
}

/* The key log, where our provider is not trusted to give the secrets, or an operator wants it: LINE is "LABEL client_random
 * secret", hex in lower case.
 */
static void on_secret(const SSL *ssl, const char *line) {
    struct hs_libssl *h = SSL_get_app_data(ssl);
    const char *secret = strrchr(line, ' ');
    if (!secret)
        return;
    key_log_line(h->log, line);
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
        h->logged.client_len = read_secret(secret + 1, h->logged.client);
    else if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
        h->logged.server_len = read_secret(secret + 1, h->logged.server);
}

static void on_info(const SSL *ssl, int where, int ret) {
    struct hs_libssl *h = SSL_get_app_data(ssl);
    if (where == SSL_CB_WRITE_ALERT && ret >> 8 == SSL3_AL_FATAL) {
        h->alert_sent = true;
        h->sent_alert = (uint8_t)(ret & 0xff);
    }
    if (where != SSL_CB_READ_ALERT)
        return;
    uint8_t alert = (uint8_t)(ret & 0xff);
    bool closing = alert == ALERT_CLOSE_NOTIFY || alert == ALERT_USER_CANCELED;
    if (ret >> 8 == SSL3_AL_FATAL || (SSL_version(ssl) == TLS_1_3 && !closing)) /* RFC 8446 6: the level is ignored */
        h->alert = alert;
}

/* ---- tickets ---- */

/* libssl puts the client's certificate into the ticket. */
static bool peer_fits(const SSL *ssl) {
    X509 *peer = SSL_get0_peer_certificate(ssl);
    return !peer || i2d_X509(peer, NULL) <= TICKETS_PEER_MAX;
}

/*
 * libssl's contract: -1 failed, 0 no ticket, or one that is not ours (a full handshake follows), 1 ready, 2 ready and to be
 * answered with a new one. In 1.3 always a new one, because clients that do not want to be recognized use each only once
 * (RFC 8446 C.4); in 1.2, where they use them again, when it is of another hour or secret.
 */
static int ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal) {
    struct tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (seal && !peer_fits(ssl))
        return 0;
    switch (tickets_container(t, name, iv, cipher, mac, seal)) {
    case TICKETS_KEY_PRESENT:
        return !seal && SSL_version(ssl) == TLS_1_3 ? 2 : 1;
    case TICKETS_KEY_OTHER:
        return 2;
    case TICKETS_KEY_NONE:
        return 0;
    default:
        return -1;
    }
}

/* A ticket of another version of TLS counts as one of another server's, so a full handshake follows. */
static SSL_TICKET_RETURN judge_ticket(const SSL *ssl, const SSL_SESSION *session, SSL_TICKET_STATUS status) {
    bool opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!opened || SSL_SESSION_get_protocol_version(session) != SSL_version(ssl))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

static SSL_TICKET_RETURN on_open(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len,
                                 SSL_TICKET_STATUS status, void *arg) {
    (void)name, (void)len, (void)arg;
    return judge_ticket(ssl, session, status);
}

int hs_libssl_use_tickets(SSL_CTX *ctx, struct tickets *t) {
    if (SSL_CTX_set_app_data(ctx, t) != 1 || SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key) != 1 ||
        SSL_CTX_set_session_ticket_cb(ctx, NULL, on_open, NULL) != 1)
        return ERR_CRYPTO;
    SSL_CTX_set_timeout(ctx, TICKETS_LIFETIME_S);
    return 0;
}

/* A service's ticket is about to be sealed. A session that was resumed keeps the note that it came with. */
static int note_session(SSL *ssl, void *arg) {
    (void)arg;
    uint8_t note[HS_LIBSSL_NOTE_MAX];
    struct client_id none = {0};
    const struct hs_libssl *h = SSL_get_app_data(ssl);
    if (SSL_session_reused(ssl))
        return 1;
    size_t len = hs_libssl_note((int64_t)time(NULL), h->client ? h->client : &none, note);
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), note, len);
}

/* Whether the session may be resumed: it is not too old, nor the client's certificate, if there is one. */
static bool may_recall(const struct hs_libssl *h, SSL_SESSION *session) {
    const struct client_auth *clients = h->server->clients;
    struct client_id id;
    int64_t full_s = 0;
    return hs_libssl_recall(session, &full_s, &id) == 0 && tickets_may_renew(full_s, (int64_t)time(NULL)) &&
           (!clients || client_auth_may_resume(clients, &id));
}

/* What is not taken up means a full handshake, and a new ticket. */
static SSL_TICKET_RETURN recall_session(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len,
                                        SSL_TICKET_STATUS status, void *arg) {
    (void)name, (void)len, (void)arg;
    SSL_TICKET_RETURN judged = judge_ticket(ssl, session, status);
    bool fits = judged != SSL_TICKET_RETURN_IGNORE_RENEW && may_recall(SSL_get_app_data(ssl), session);
    return fits ? judged : SSL_TICKET_RETURN_IGNORE_RENEW;
}

/* ---- clients' certificates ---- */

/* libssl asks: 1 lets the client in. What was found is noted with the handshake; this is no place to send from. */
static int verify_client(X509_STORE_CTX *ctx, void *arg) {
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get0_cert(ctx);
    int error = hs_libssl_judge_client(SSL_get_app_data(ssl), cert, X509_STORE_CTX_get0_untrusted(ctx));
    X509_STORE_CTX_set_error(ctx, error);
    if (i2d_X509(cert, NULL) > TICKETS_PEER_MAX)
        (void)SSL_set_num_tickets(ssl, 0); /* cannot fail for 0 */
    return error == X509_V_OK;
}

/*
 * Certificates in a Certificate message (RFC 8446 4.4.2, RFC 5246 7.4.6), up to where it is malformed, which libssl will
 * report.
 */
static size_t count_certificates(struct span message, bool tls13) {
    struct rd r = rd_of(message);
    (void)rd_bytes(&r, SSL3_HM_HEADER_LENGTH);
    if (tls13)
        (void)rd_vec8(&r); /* certificate_request_context */
    struct rd list = rd_of(rd_bytes(&r, rd_u24(&r)));
    size_t n = 0;
    for (; rd_left(&list) && !list.bad; n++) {
        (void)rd_bytes(&list, rd_u24(&list));
        if (tls13)
            (void)rd_vec16(&list); /* extensions */
    }
    return n;
}

/*
 * libssl decodes every key of a Certificate message, each of which can cost 0.2 ms, before it asks about any. This callback
 * comes when the message is whole and not yet parsed. It cannot refuse, but it can make a message that is too long malformed:
 * its list then claims to be longer than the message, at which libssl stops before the first certificate.
 */
static void on_tls_message(int sent, int version, int type, const void *buf, size_t len, SSL *ssl, void *arg) {
    (void)version, (void)arg;
    const uint8_t *p = buf;
    if (sent || type != SSL3_RT_HANDSHAKE || len <= SSL3_HM_HEADER_LENGTH || p[0] != SSL3_MT_CERTIFICATE)
        return;
    struct hs_libssl *h = SSL_get_app_data(ssl);
    size_t max = client_auth_chain_max(h->server->clients);
    size_t n = count_certificates(span_of(p, len), SSL_version(ssl) == TLS1_3_VERSION);
    if (n <= max)
        return;
    char detail[HS_LIBSSL_DETAIL_MAX];
    struct text t = text_of(detail, sizeof(detail));
    text_addf(&t, "found %zu certificates, expected at most %zu", n, max);
    (void)!hs_libssl_note_client(h, ERR_CLIENT_CERT_DEPTH, NULL, detail); /* it is what was given */
    memset((uint8_t *)(uintptr_t)p + SSL3_HM_HEADER_LENGTH, 0xff, len - SSL3_HM_HEADER_LENGTH);
}

int hs_libssl_server_announce(SSL_CTX *ctx, const struct client_auth *rules) {
    STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
    for (struct rd r = rd_of(client_auth_names(rules)); names && rd_left(&r);) {
        struct span der = rd_vec16(&r);
        const uint8_t *p = der.p;
        X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.len);
        if (!name || !sk_X509_NAME_push(names, name)) {
            X509_NAME_free(name);
            sk_X509_NAME_pop_free(names, X509_NAME_free);
            return ERR_CRYPTO;
        }
    }
    if (!names)
        return ERR_CRYPTO;
    SSL_CTX_set_client_CA_list(ctx, names); /* owns them now */
    return 0;
}

/* Makes libssl ask clients for certificates. They are held against the rules that their service has at that moment. */
static int ask_for_certificates(SSL_CTX *ctx, const struct client_auth *rules) {
    int required = client_auth_required(rules) ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_options(ctx,
                        SSL_OP_NO_RX_CERTIFICATE_COMPRESSION); /* RFC 8879: on_tls_message() would not see what is inside */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | required, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify_client, NULL);
    SSL_CTX_set_msg_callback(ctx, on_tls_message);
    SSL_CTX_set_max_cert_list(ctx, (long)client_auth_bytes_max(rules));
    return hs_libssl_server_announce(ctx, rules);
}

int hs_libssl_client_fault(const SSL *ssl, int reason, enum alert sent) {
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
    bool is_past = SSL_get0_peer_certificate(ssl) || state == TLS_ST_SR_KEY_EXCH || state == TLS_ST_SR_FINISHED;
    if (sent == ALERT_UNEXPECTED_MESSAGE || sent == ALERT_BAD_RECORD_MAC || reason == SSL_R_UNKNOWN_ALERT_TYPE)
        return 0; /* what came is no message of this state */
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return ERR_CLIENT_CERT_MISSING;
    if (reason == SSL_R_EXCESSIVE_MESSAGE_SIZE) /* 3.5 fails before it enters the state */
        return is_past ? 0 : ERR_CLIENT_CERT_LARGE;
    if (state == TLS_ST_SR_CERT)
        return ERR_CLIENT_CERT_BAD;
    return state == TLS_ST_SR_CERT_VRFY ? ERR_CLIENT_CERT_PROOF : 0; /* which error comes first differs between versions */
}

int hs_libssl_reason(enum alert sent, int reason) {
    static const struct {
        int reason, err;
    } exactly[] = {
        {SSL_R_BINDER_DOES_NOT_VERIFY, ERR_BINDER},     {SSL_R_DIGEST_CHECK_FAILED, ERR_FINISHED},
        {SSL_R_BAD_KEY_SHARE, ERR_KEY_SHARE},           {SSL_R_BAD_ECPOINT, ERR_KEY_SHARE},
        {SSL_R_TOO_MANY_WARN_ALERTS, ERR_RECORD_FLOOD}, {SSL_R_TOO_MUCH_EARLY_DATA, ERR_RECORD_FLOOD},
    };
    static const struct {
        enum alert sent;
        int err;
    } by_alert[] = {
        {ALERT_UNEXPECTED_MESSAGE, ERR_RECORD_TYPE},  {ALERT_BAD_RECORD_MAC, ERR_BAD_MAC},
        {ALERT_RECORD_OVERFLOW, ERR_RECORD_OVERFLOW}, {ALERT_ILLEGAL_PARAMETER, ERR_RECORD_ILLEGAL},
        {ALERT_DECODE_ERROR, ERR_RECORD_DECODE},      {ALERT_PROTOCOL_VERSION, ERR_RECORD_VERSION},
        {ALERT_MISSING_EXTENSION, ERR_HELLO_LACKS},
    };
    for (size_t i = 0; i < ARRAY_LEN(exactly); i++)
        if (exactly[i].reason == reason)
            return exactly[i].err;
    for (size_t i = 0; i < ARRAY_LEN(by_alert); i++)
        if (by_alert[i].sent == sent)
            return by_alert[i].err;
    return ERR_HANDSHAKE;
}

/* ---- a service ---- */

static int set_policy(SSL_CTX *ctx, struct tls_server *s) {
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_recv_max_early_data(ctx, TLS_EARLY_MAX);
    SSL_CTX_set_keylog_callback(ctx, on_secret);
    SSL_CTX_set_info_callback(ctx, on_info);
    SSL_CTX_set_cert_cb(ctx, on_cert, NULL);
    hs_libssl_staple(ctx);
    SSL_CTX_set_security_level(ctx, TLS_SECURITY_LEVEL);
    if (buf_len(&s->alpn))
        SSL_CTX_set_alpn_select_cb(ctx, alpn_select, s);
    if (SSL_CTX_set_min_proto_version(ctx, s->min_version) != 1 || SSL_CTX_set_max_proto_version(ctx, TLS_1_3) != 1)
        return ERR_CRYPTO;
    int err = set_suites(ctx, s);
    if (err == 0)
        err = set_groups(ctx, s);
    if (err == 0)
        err = set_sigalgs(ctx);
    if (err == 0)
        err = hs_libssl_use_tickets(ctx, s->tickets);
    if (err == 0 && SSL_CTX_set_session_ticket_cb(ctx, note_session, recall_session, NULL) != 1)
        err = ERR_CRYPTO;
    if (err == 0 && s->clients)
        err = ask_for_certificates(ctx, s->clients);
    return err;
}

SSL_CTX *hs_libssl_server_new(struct tls_server *s) {
    SSL_CTX *ctx = SSL_CTX_new_ex(NULL, kdf_provider_load() ? KDF_PROVIDER_QUERY : NULL, TLS_server_method());
    if (ctx && set_policy(ctx, s) == 0)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

void hs_libssl_server_free(SSL_CTX *ctx) {
    SSL_CTX_free(ctx);
}

bool hs_libssl_server_begin_key_log(SSL_CTX *ctx) {
    bool was_off = SSL_CTX_get_keylog_callback(ctx) == NULL;
    SSL_CTX_set_keylog_callback(ctx, on_secret);
    return was_off;
}

void hs_libssl_server_end_key_log(SSL_CTX *ctx) {
    SSL_CTX_set_keylog_callback(ctx, NULL);
}

/* ---- questions without a service ---- */

bool hs_libssl_has_group(const char *name) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool has = ctx && SSL_CTX_set1_groups_list(ctx, (uintptr_t)name) == 1; /* libssl's macro takes away a const */
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return has;
}

SSL_CTX *hs_libssl_taster_new(void) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx)
        SSL_CTX_set_security_level(ctx, TLS_SECURITY_LEVEL);
    return ctx;
}

bool hs_libssl_takes_chain(SSL_CTX *taster, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * others) {
    return SSL_CTX_use_cert_and_key(taster, leaf, key, others, 1) == 1;
}
