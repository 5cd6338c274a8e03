#include "tls/handshake.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/client_auth.h"
#include "tls/handshake_internal.h"
#include "tls/hs_alert.h"
#include "tls/hs_keys.h"
#include "tls/hs_own.h"
#include "tls/key_provider.h"

/*
 * Binds libssl's tickets: those of the present rules. Rules may change while a handshake is under way, and a
 * second ClientHello is held against the new ones.
 */
static bool bind_tickets(struct handshake *h) {
    uint8_t binding[TICKET_BIND_LEN];
    memcpy(h->rules, h->server->binding, sizeof(h->rules));
    ticket_bind_name(h->rules, h->sni, binding);
    return SSL_set_session_id_context(h->ssl, binding, sizeof(binding)) == 1;
}

static bool rules_changed(const struct handshake *h) {
    return memcmp(h->rules, h->server->binding, sizeof(h->rules)) != 0;
}

int handshake_new(const struct tls_server *s, const struct hello *hello, struct buf *out, struct handshake **ret) {
    struct handshake *h = calloc(1, sizeof(*h));
    if (!h)
        return ERR_NOMEM;
    int err = ERR_CRYPTO;
    BIO *bio = NULL;
    if (hs_own_takes(s, hello)) {
        err = hs_own_new(s, hello, out, &h->own);
        if (err == 0)
            *ret = h;
        goto out;
    }
    h->server = s;
    h->bio.out = out;
    h->record_size_limit = hello->record_size_limit;
    h->early_offered = hello->has_early_data;
    memcpy(h->sni, hello->sni, sizeof(h->sni));
    h->ssl = SSL_new(s->ctx);
    if (!h->ssl)
        goto out;
    bio = hs_bio_new(&h->bio);
    if (!bio)
        goto out;
    SSL_set_bio(h->ssl, bio, bio);
    SSL_set_accept_state(h->ssl);
    if (SSL_set_app_data(h->ssl, h) != 1 || !bind_tickets(h))
        goto out;
    *ret = h;
    err = 0;
out:
    ERR_clear_error();
    if (err < 0)
        handshake_free(h);
    return err;
}

int handshake_on_cert(SSL *ssl, void *arg) {
    (void)arg;
    struct handshake *h = SSL_get_app_data(ssl);
    h->cert_err = certs_use(h->server->certs, h->server->service, h->sni, ssl);
    return h->cert_err == 0;
}

SSL *handshake_ssl(const struct handshake *h) {
    return h->ssl;
}

size_t handshake_bytes(const struct handshake *h) {
    return h->own ? hs_own_bytes(h->own) : HANDSHAKE_BYTES;
}

void handshake_free(struct handshake *h) {
    if (!h)
        return;
    hs_own_free(h->own);
    if (h->ssl) {
        /* without this libssl would call the session broken and not let it be resumed */
        SSL_set_shutdown(h->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(h->ssl);
    }
    OPENSSL_free(h->client_cert);
    free(h->client);
    secret_wipe(h, sizeof(*h));
    free(h);
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads hex digits up to the end of the text; 0 when they are none or too many. */
static uint8_t read_secret(const char *hex, uint8_t to[static HASH_LEN_MAX]) {
    size_t n = strlen(hex) / 2;
    if (n > HASH_LEN_MAX)
        return 0;
    for (size_t i = 0; i < n; i++) {
        int hi = hex_value(hex[2 * i]), lo = hex_value(hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return 0;
        to[i] = (uint8_t)(hi << 4 | lo);
    }
    return (uint8_t)n;
}

/* LINE is "LABEL client_random secret", hex in lower case. */
void handshake_on_secret(const SSL *ssl, const char *line) {
    struct handshake *h = SSL_get_app_data(ssl);
    const char *secret = strrchr(line, ' ');
    if (!secret)
        return;
    if (strncmp(line, "CLIENT_TRAFFIC_SECRET_0 ", 24) == 0)
        h->logged.client_len = read_secret(secret + 1, h->logged.client);
    else if (strncmp(line, "SERVER_TRAFFIC_SECRET_0 ", 24) == 0)
        h->logged.server_len = read_secret(secret + 1, h->logged.server);
}

void handshake_on_info(const SSL *ssl, int where, int ret) {
    struct handshake *h = SSL_get_app_data(ssl);
    if (where == SSL_CB_WRITE_ALERT && ret >> 8 == SSL3_AL_FATAL)
        h->alert_sent = true;
    if (where != SSL_CB_READ_ALERT)
        return;
    uint8_t alert = (uint8_t)(ret & 0xff);
    bool closing = alert == ALERT_CLOSE_NOTIFY || alert == ALERT_USER_CANCELED;
    if (ret >> 8 == SSL3_AL_FATAL || (SSL_version(ssl) == TLS_1_3 && !closing)) /* RFC 8446 6: the level is ignored */
        h->alert = alert;
}

int handshake_note_client(struct handshake *h, int err, const struct client_id *id, const char *detail) {
    struct client_id *copy = err == 0 ? malloc(sizeof(*copy)) : NULL;
    if (err == 0 && !copy)
        err = ERR_NOMEM;
    if (copy)
        *copy = *id;
    free(h->client);
    h->client = copy;
    h->client_err = err;
    h->judged = err < 0;
    if (err < 0)
        snprintf(h->detail, sizeof(h->detail), "%s", detail);
    return err;
}

int handshake_judge_client(struct handshake *h, X509 *cert, STACK_OF(X509) * others) {
    struct client_id id;
    char detail[HANDSHAKE_DETAIL_MAX] = "";
    struct text t = text_of(detail, sizeof(detail));
    int error = X509_V_OK, err = client_auth_judge(h->server->clients, cert, others, &id, &t, &error);
    bool noted = handshake_note_client(h, err, &id, detail) == err;
    return noted ? error : X509_V_ERR_OUT_OF_MEM;
}

const struct client_auth *handshake_rules(const struct handshake *h) {
    return h->server->clients;
}

const struct client_id *handshake_client(const struct handshake *h) {
    return h->client;
}

/* Turns libssl's error queue into one of our reasons. */
static enum step fail(struct handshake *h, int err) {
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (!h->client_err && err == ERR_HANDSHAKE && h->server->clients && !h->alert)
        h->client_err = client_auth_fault(h->ssl, ERR_GET_REASON(ERR_peek_last_error())); /* libssl's own comes last */
    if (h->client_err)
        err = h->client_err;
    h->judged = h->judged || h->client_err == ERR_CLIENT_CERT_LARGE; /* a limit of ours, nothing malformed */
    if (reason && !h->detail[0])
        snprintf(h->detail, sizeof(h->detail), "%s", reason);
    ERR_clear_error();
    h->err = h->alert ? ERR_PEER_ALERT : err;
    return STEP_FAILED;
}

/* libssl's state after a HelloRetryRequest, and after our Finished, which comes with the secrets. */
static bool awaits_second_hello(const struct handshake *h) {
    return SSL_get_state(h->ssl) == TLS_ST_EARLY_DATA && !h->provided.server_len && !h->logged.server_len;
}

/*
 * Our check of a whole record before libssl sees it: STEP_DONE, pass it to libssl. STEP_WANT_READ: it is passed over, as
 * early data before the second hello is (RFC 8446 4.2.10), which libssl takes for plain and finds too long. STEP_FAILED.
 */
static enum step judge_record(struct handshake *h, uint8_t type, struct span content) {
    bool is_1_3 = SSL_version(h->ssl) == TLS_1_3;
    if (is_1_3 && type == CONTENT_CHANGE_CIPHER_SPEC && !record_is_dummy_ccs(content))
        return fail(h, ERR_RECORD_TYPE);
    if (!is_1_3 || type != CONTENT_APPLICATION_DATA || !h->early_offered || !awaits_second_hello(h))
        return STEP_DONE;
    h->early_skipped += content.len;
    return h->early_skipped > HANDSHAKE_EARLY_SKIPPED || content.len == 0 ? fail(h, ERR_RECORD_TYPE) : STEP_WANT_READ;
}

enum step handshake_step(struct handshake *h, struct span *in) {
    if (h->own)
        return hs_own_step(h->own, in);
    for (;;) {
        if (in->len < RECORD_HEADER_LEN)
            return STEP_WANT_READ;
        size_t len = RECORD_HEADER_LEN + (size_t)(in->p[3] << 8 | in->p[4]);
        int err = record_judge(in->p[0], len - RECORD_HEADER_LEN, hs_keys_expansion(h, in->p[0]));
        if (err < 0)
            return fail(h, err);
        if (in->len < len)
            return STEP_WANT_READ;
        struct span record = span_of(in->p, len);
        in->p += len;
        in->len -= len;
        enum step judged = judge_record(h, record.p[0], span_of(record.p + RECORD_HEADER_LEN, len - RECORD_HEADER_LEN));
        if (judged == STEP_FAILED)
            return STEP_FAILED;
        if (judged == STEP_WANT_READ)
            continue;
        hs_bio_feed(&h->bio, record);
        h->begun = true;

        if (rules_changed(h) && !bind_tickets(h))
            return fail(h, ERR_CRYPTO);
        size_t out_before = buf_len(h->bio.out);
        ERR_clear_error();
        kdf_provider_watch(&h->provided);
        int done = SSL_do_handshake(h->ssl);
        kdf_provider_watch(NULL);
        if (h->bio.overflow)
            return fail(h, ERR_LIMIT);
        if (done == 1) /* a key ends with its record (RFC 8446 5.1) */
            return h->bio.in.len == 0 && !SSL_has_pending(h->ssl) ? STEP_DONE : fail(h, ERR_RECORD_TYPE);
        int ours = h->cert_err ? h->cert_err : key_provider_error();
        if (ours) {
            ERR_clear_error(); /* libssl knows no more than that it failed */
            return fail(h, ours);
        }
        if (SSL_get_error(h->ssl, done) != SSL_ERROR_WANT_READ) { /* a close_notify shows as an end */
            (void)fail(h, SSL_get_shutdown(h->ssl) & SSL_RECEIVED_SHUTDOWN ? ERR_HANDSHAKE_CLOSED : ERR_HANDSHAKE);
            if (h->judged && h->client_err)
                hs_alert_replace(h, out_before);
            return STEP_FAILED;
        }
        if (h->bio.in.len != 0) /* libssl wants more although it was given more: not to be waited for */
            return fail(h, ERR_HANDSHAKE);
    }
}

int handshake_error(const struct handshake *h, uint8_t *ret_alert) {
    if (h->own)
        return hs_own_error(h->own, ret_alert);
    *ret_alert = h->alert;
    return h->err;
}

const char *handshake_detail(const struct handshake *h) {
    return h->own ? hs_own_detail(h->own) : h->detail;
}

const char *handshake_waiting_for(const struct handshake *h) {
    if (h->own)
        return hs_own_waiting_for(h->own);
    if (!h->begun)
        return "ClientHello";
    switch (SSL_get_state(h->ssl)) {
    case TLS_ST_BEFORE:
    case TLS_ST_SR_CLNT_HELLO:
        return "ClientHello";
    case TLS_ST_EARLY_DATA:
        return awaits_second_hello(h) ? "second ClientHello" : "client Finished";
    case TLS_ST_SW_SRVR_DONE:
        return "ClientKeyExchange";
    case TLS_ST_SR_KEY_EXCH:
    case TLS_ST_SW_FINISHED: /* TLS 1.2 resumed */
        return "ChangeCipherSpec";
    default:
        return "client Finished";
    }
}

bool handshake_secrets_agree(const struct handshake *h) {
    const struct kdf_secrets *a = &h->provided, *b = &h->logged;
    return a->client_len && a->client_len == b->client_len && a->server_len == b->server_len &&
           secret_eq(a->client, b->client, a->client_len) && secret_eq(a->server, b->server, a->server_len);
}

/* The group as the IANA registry numbers it. */
static uint16_t group_used(SSL *ssl) {
    long nid = SSL_get_negotiated_group(ssl);
    switch (nid) {
    case NID_undef:
        return 0;
    case NID_X25519:
        return 0x001d;
    case NID_X9_62_prime256v1:
        return 0x0017;
    case NID_secp384r1:
        return 0x0018;
    case NID_secp521r1:
        return 0x0019;
    default: /* libssl marks groups that have no NID */
        return nid & TLSEXT_nid_unknown ? (uint16_t)(nid & 0xffff) : 0;
    }
}

/* What we have signed with, as the IANA registry numbers it; libssl gives the hash and the kind of the key. */
static uint16_t scheme_used(SSL *ssl) {
    static const struct {
        int type, hash;
        uint16_t id;
    } known[] = {
        {EVP_PKEY_EC, NID_sha256, 0x0403},      {EVP_PKEY_EC, NID_sha384, 0x0503},      {EVP_PKEY_EC, NID_sha512, 0x0603},
        {EVP_PKEY_RSA_PSS, NID_sha256, 0x0804}, {EVP_PKEY_RSA_PSS, NID_sha384, 0x0805}, {EVP_PKEY_RSA_PSS, NID_sha512, 0x0806},
        {EVP_PKEY_RSA, NID_sha256, 0x0401},     {EVP_PKEY_RSA, NID_sha384, 0x0501},     {EVP_PKEY_RSA, NID_sha512, 0x0601},
        {EVP_PKEY_ED25519, NID_undef, 0x0807},
    };
    int type = NID_undef, hash = NID_undef;
    if (SSL_session_reused(ssl) || SSL_get_signature_type_nid(ssl, &type) != 1)
        return 0;
    (void)SSL_get_signature_nid(ssl, &hash); /* Ed25519 has none */
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].type == type && known[i].hash == hash)
            return known[i].id;
    return 0;
}

/* RFC 6066 4 and RFC 8449 4: how much one record of ours may carry. */
static uint16_t plain_limit(const struct handshake *h, uint16_t version) {
    size_t max = RECORD_PLAIN_MAX;
    uint8_t mfl = SSL_SESSION_get_max_fragment_length(SSL_get_session(h->ssl));
    if (mfl >= TLSEXT_max_fragment_length_512 && mfl <= TLSEXT_max_fragment_length_4096)
        max = (size_t)256 << mfl;
    if (h->record_size_limit >= 64)
        max = MIN(max, (size_t)h->record_size_limit - (version == TLS_1_3 ? 1 : 0));
    return (uint16_t)max;
}

/* Whether the session was made under the rules for clients that are in use now. */
static bool is_of_present_rules(const struct handshake *h) {
    uint8_t present[TICKET_BIND_LEN];
    unsigned len = 0;
    const unsigned char *made_under = SSL_SESSION_get0_id_context(SSL_get_session(h->ssl), &len);
    ticket_bind_name(h->server->binding, h->sni, present);
    return span_eq(span_of(made_under, len), span_of(present, sizeof(present)));
}

/*
 * Rules that came into use after the client was checked apply to it now. A session that was resumed has no more than the
 * client's own certificate: one with intermediates is refused, and comes in by a full handshake.
 */
static int judge_anew(struct handshake *h) {
    X509 *cert = SSL_get0_peer_certificate(h->ssl);
    if (!cert)
        return ERR_CLIENT_CERT_UNKNOWN_CA;
    return handshake_judge_client(h, cert, SSL_get_peer_cert_chain(h->ssl)) == X509_V_OK ? 0 : h->client_err;
}

/* Who the client is: known from this handshake, or from the one that is resumed. No client that the rules refuse passes here.
 */
static int settle_client(struct handshake *h, struct handshake_result *ret) {
    const struct client_auth *clients = h->server->clients;
    int err = 0;
    if (!clients)
        return 0;
    if (SSL_session_reused(h->ssl)) {
        free(h->client);
        h->client = calloc(1, sizeof(*h->client));
        err = h->client ? client_auth_recall(h->ssl, h->client) : ERR_NOMEM;
        if (err < 0)
            return err;
    }
    bool verified = h->client && h->client->verified;
    if (!verified && client_auth_required(clients))
        return ERR_CLIENT_CERT_MISSING;
    if (verified && !is_of_present_rules(h))
        err = judge_anew(h);
    if (err < 0)
        return err;
    ret->client = verified ? h->client : NULL;
    X509 *cert = verified && h->server->reports_client_cert ? SSL_get0_peer_certificate(h->ssl) : NULL;
    int len = cert ? i2d_X509(cert, NULL) : 0;
    if (len > 0 && len <= CLIENT_CERT_MAX && i2d_X509(cert, &h->client_cert) == len)
        ret->client_cert = span_of(h->client_cert, (size_t)len);
    return 0;
}

/* The certificate that was sent, or that stands for the name of a session that was resumed without one. */
static X509 *our_cert(const struct handshake *h) {
    X509 *shown = SSL_get_certificate(h->ssl);
    return shown ? shown : certs_leaf(h->server->certs, h->server->service, h->sni);
}

int handshake_finish(struct handshake *h, struct handshake_result *ret) {
    SSL *ssl = h->ssl;
    if (h->own)
        return hs_own_finish(h->own, ret);
    if (!SSL_is_init_finished(ssl) || SSL_has_pending(ssl) || h->bio.in.len != 0 || h->bio.header_len != 0)
        return ERR_LEAVE;
    uint16_t version = (uint16_t)SSL_version(ssl);
    h->suite = suite_by_id(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
    if (!h->suite || h->suite->version != version)
        return ERR_LEAVE;

    memset(ret, 0, sizeof(*ret));
    ret->record_layer.suite_id = h->suite->id;
    ret->record_layer.out_max = plain_limit(h, version);
    int err = settle_client(h, ret);
    if (err == 0)
        err = hs_keys_take(h, &ret->record_layer);
    if (err < 0) {
        record_layer_wipe(&ret->record_layer);
        return err;
    }
    ret->version = version;
    ret->suite = h->suite->id;
    ret->resumed = SSL_session_reused(ssl);
    ret->group = ret->resumed && version == TLS_1_2 ? 0 : group_used(ssl);
    ret->sig_scheme = scheme_used(ssl);
    ret->our_cert = cert_alg_of(our_cert(h));
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_len);
    ret->alpn = span_of(alpn, alpn_len);
    return 0;
}
