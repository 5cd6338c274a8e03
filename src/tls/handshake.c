#include "tls/handshake.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/client_auth.h"
#include "tls/handshake_internal.h"
#include "tls/key_provider.h"
#include "tls/keysched.h"

/* Holds the traffic secrets for a moment: wiped when freed, like all that libssl holds beside it. */
struct handshake {
    SSL *ssl;
    struct hs_bio bio;
    const struct suite *suite; /* set once done */
    struct kdf_secrets told;   /* by our provider */
    struct kdf_secrets logged; /* by libssl's key log, while it is on */
    const struct tls_server *server;
    uint8_t rules[TICKET_BIND_LEN]; /* what the server's tickets were bound to when libssl was last told */
    uint16_t record_size_limit;
    bool begun; /* a record was fed */
    int err;
    uint8_t alert; /* the peer's fatal alert */
    char detail[HANDSHAKE_DETAIL_MAX];
    char sni[HELLO_NAME_MAX + 1]; /* for the choice of certificates */
    int cert_err;                 /* why there are none */
    struct client_id *client;     /* once its certificate is verified */
    int client_err;               /* or why it is refused */
    uint8_t *client_cert;         /* DER, from libssl's memory; only when it is to be told */
};

/*
 * Tells libssl what tickets are good for: those of the present rules. Rules may change while a handshake is under way, and a
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
    h->server = s;
    h->bio.out = out;
    h->record_size_limit = hello->record_size_limit;
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

void handshake_free(struct handshake *h) {
    if (!h)
        return;
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
    if (err < 0)
        snprintf(h->detail, sizeof(h->detail), "%s", detail);
    return err;
}

const struct client_auth *handshake_rules(const struct handshake *h) {
    return h->server->clients;
}

const struct client_id *handshake_client(const struct handshake *h) {
    return h->client;
}

/*
 * A fatal alert as the first record under the server's application key. In 1.3 a client hears of its certificate only then,
 * when it takes the handshake for done.
 */
static int seal_alert(struct handshake *h, enum alert alert, uint8_t out[static PLANE_CONTROL_MAX], size_t *ret_len) {
    const struct kdf_secrets *s = h->logged.server_len ? &h->logged : &h->told;
    struct engine_contexts contexts;
    struct plane p = {.out_max = RECORD_PLAIN_MAX};
    const struct suite *suite = suite_by_id(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(h->ssl)));
    if (!suite || s->server_len != hash_len(suite->hash))
        return ERR_LEAVE;
    p.suite_id = suite->id;
    memcpy(p.out.secret, s->server, s->server_len);
    int err = keysched_traffic_key(suite, p.out.secret, p.out.key, p.out.iv);
    engine_contexts_init(&contexts, &engine_libcrypto);
    if (err == 0)
        err = plane_alert(&p, &contexts, alert, out, ret_len);
    engine_contexts_fini(&contexts);
    plane_wipe(&p);
    return err;
}

/*
 * libssl has one alert for many reasons, ours says which. Its alert, the only record behind OUT_BEFORE, has not left yet and
 * never will: in 1.3 ours goes out under the same number. When ours cannot be made, its stays.
 */
static void put_better_alert(struct handshake *h, size_t out_before) {
    int alert = err_alert(h->client_err);
    struct buf *out = h->bio.out;
    uint8_t record[PLANE_CONTROL_MAX];
    size_t len = 0;
    bool tls13 = SSL_version(h->ssl) == TLS_1_3;
    if (!tls13 && h->client_err == ERR_CLIENT_CERT_MISSING) /* RFC 5246 7.4.6 */
        alert = ALERT_HANDSHAKE_FAILURE;
    if (alert == ALERT_NONE || h->bio.out_since_feed != 1 || h->bio.header_len != 0 || buf_len(out) <= out_before)
        return;
    if (tls13 && seal_alert(h, (enum alert)alert, record, &len) < 0)
        return;
    if (!tls13) {
        const uint8_t plain[] = {CONTENT_ALERT, 3, 3, 0, 2, 2, (uint8_t)alert};
        memcpy(record, plain, sizeof(plain));
        len = sizeof(plain);
    }
    if (buf_len(out) - out_before == len) /* the same kind of record, so the same length */
        memcpy(out->p + out->off + out_before, record, len);
}

/* Turns libssl's error queue into one of our reasons. */
static enum step fail(struct handshake *h, int err) {
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    if (!h->client_err && err == ERR_HANDSHAKE && h->server->clients && !h->alert)
        h->client_err = client_auth_fault(h->ssl, ERR_GET_REASON(ERR_peek_last_error())); /* libssl's own comes last */
    if (h->client_err)
        err = h->client_err;
    if (reason && !h->detail[0])
        snprintf(h->detail, sizeof(h->detail), "%s", reason);
    ERR_clear_error();
    h->err = h->alert ? ERR_PEER_ALERT : err;
    return STEP_FAILED;
}

enum step handshake_step(struct handshake *h, struct span *in) {
    for (;;) {
        if (in->len < RECORD_HEADER_LEN)
            return STEP_WANT_READ;
        size_t len = RECORD_HEADER_LEN + (size_t)(in->p[3] << 8 | in->p[4]);
        if (len > RECORD_WIRE_MAX)
            return fail(h, ERR_RECORD_OVERFLOW);
        if (in->len < len)
            return STEP_WANT_READ;
        hs_bio_feed(&h->bio, span_of(in->p, len));
        in->p += len;
        in->len -= len;
        h->begun = true;

        if (rules_changed(h) && !bind_tickets(h))
            return fail(h, ERR_CRYPTO);
        size_t out_before = buf_len(h->bio.out);
        ERR_clear_error();
        kdf_provider_watch(&h->told);
        int done = SSL_do_handshake(h->ssl);
        kdf_provider_watch(NULL);
        if (h->bio.overflow)
            return fail(h, ERR_LIMIT);
        if (done == 1)
            return h->bio.in.len == 0 ? STEP_DONE : fail(h, ERR_LEAVE);
        int ours = h->cert_err ? h->cert_err : key_provider_error();
        if (ours) {
            ERR_clear_error(); /* libssl knows no more than that it failed */
            return fail(h, ours);
        }
        if (SSL_get_error(h->ssl, done) != SSL_ERROR_WANT_READ) { /* a close_notify shows as an end */
            (void)fail(h, SSL_get_shutdown(h->ssl) & SSL_RECEIVED_SHUTDOWN ? ERR_HANDSHAKE_CLOSED : ERR_HANDSHAKE);
            if (h->client_err)
                put_better_alert(h, out_before);
            return STEP_FAILED;
        }
        if (h->bio.in.len != 0) /* libssl wants more although it was given more: not to be waited for */
            return fail(h, ERR_HANDSHAKE);
    }
}

int handshake_error(const struct handshake *h, uint8_t *ret_alert) {
    *ret_alert = h->alert;
    return h->err;
}

const char *handshake_detail(const struct handshake *h) {
    return h->detail;
}

const char *handshake_waiting_for(const struct handshake *h) {
    if (!h->begun)
        return "ClientHello";
    switch (SSL_get_state(h->ssl)) {
    case TLS_ST_BEFORE:
    case TLS_ST_SR_CLNT_HELLO:
        return "ClientHello";
    case TLS_ST_EARLY_DATA: /* libssl's state after a HelloRetryRequest and after our Finished, which comes with the secrets */
        return h->told.server_len || h->logged.server_len ? "client Finished" : "second ClientHello";
    case TLS_ST_SW_SRVR_DONE:
        return "ClientKeyExchange";
    case TLS_ST_SR_KEY_EXCH:
    case TLS_ST_SW_FINISHED: /* TLS 1.2 resumed */
        return "ChangeCipherSpec";
    default:
        return "client Finished";
    }
}

/* TLS 1.3: the secrets as they are; reading starts anew, writing goes on behind the tickets. */
static int take_tls13(const struct handshake *h, struct plane *p) {
    size_t len = hash_len(h->suite->hash);
    const struct kdf_secrets *s = h->logged.client_len ? &h->logged : &h->told;
    if (s->client_len != len || s->server_len != len)
        return ERR_LEAVE;
    memcpy(p->in.secret, s->client, len);
    memcpy(p->out.secret, s->server, len);
    p->in.seq = 0;
    p->out.seq = h->bio.out_since_feed;
    int err = keysched_traffic_key(h->suite, p->in.secret, p->in.key, p->in.iv);
    return err < 0 ? err : keysched_traffic_key(h->suite, p->out.secret, p->out.key, p->out.iv);
}

bool handshake_secrets_agree(const struct handshake *h) {
    const struct kdf_secrets *a = &h->told, *b = &h->logged;
    return a->client_len && a->client_len == b->client_len && a->server_len == b->server_len &&
           secret_eq(a->client, b->client, a->client_len) && secret_eq(a->server, b->server, a->server_len);
}

/* TLS 1.2: exactly the two Finished messages were protected, one each way. */
static int take_tls12(const struct handshake *h, struct plane *p) {
    if (h->bio.in_protected != 1 || h->bio.out_protected != 1)
        return ERR_LEAVE;
    uint8_t master[48], client_random[32], server_random[32];
    struct keysched_tls12 keys;
    int err = ERR_LEAVE;
    if (SSL_SESSION_get_master_key(SSL_get_session(h->ssl), master, sizeof(master)) == sizeof(master) &&
        SSL_get_client_random(h->ssl, client_random, 32) == 32 && SSL_get_server_random(h->ssl, server_random, 32) == 32)
        err = keysched_tls12_block(h->suite, master, client_random, server_random, &keys);
    if (err == 0) {
        memcpy(p->in.key, keys.client_key, sizeof(p->in.key));
        memcpy(p->in.iv, keys.client_iv, sizeof(p->in.iv));
        memcpy(p->out.key, keys.server_key, sizeof(p->out.key));
        memcpy(p->out.iv, keys.server_iv, sizeof(p->out.iv));
        p->in.seq = p->out.seq = 1;
        /* libssl began its explicit nonces at random: going on from there can never repeat one */
        p->out.explicit_nonce = h->bio.out_first8 + 1;
    }
    secret_wipe(master, sizeof(master));
    secret_wipe(&keys, sizeof(keys));
    return err;
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

/* What we have signed with, as the IANA registry numbers it; libssl tells the hash and the kind of the key. */
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
 * Rules that came into use after the client was judged judge it now. A session that was resumed has no more than the client's
 * own certificate: one with intermediates is refused, and comes in by a full handshake.
 */
static int judge_anew(struct handshake *h) {
    X509 *cert = SSL_get0_peer_certificate(h->ssl);
    if (!cert)
        return ERR_CLIENT_CERT_UNKNOWN_CA;
    return client_auth_judge(h->server->clients, h, cert, SSL_get_peer_cert_chain(h->ssl)) == X509_V_OK ? 0 : h->client_err;
}

/* Who the client is: known from this handshake, or from the one that is resumed. Nobody passes here whom the rules keep out. */
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
    X509 *cert = verified && h->server->tells_client_cert ? SSL_get0_peer_certificate(h->ssl) : NULL;
    int len = cert ? i2d_X509(cert, NULL) : 0;
    if (len > 0 && len <= CLIENT_CERT_MAX && i2d_X509(cert, &h->client_cert) == len)
        ret->client_cert = span_of(h->client_cert, (size_t)len);
    return 0;
}

/* libssl is content and the client is not let in: its alert is the first record of the session that it does not get. */
static void refuse_session(struct handshake *h, struct plane *p, int err) {
    struct engine_contexts contexts;
    uint8_t record[PLANE_CONTROL_MAX];
    size_t len = 0;
    enum alert alert = (enum alert)err_alert(err);
    engine_contexts_init(&contexts, &engine_libcrypto);
    if (alert != ALERT_NONE && plane_alert(p, &contexts, alert, record, &len) == 0)
        (void)!buf_append(h->bio.out, record, len); /* without memory: the end of TCP alone */
    engine_contexts_fini(&contexts);
}

/* The certificate that was shown, or that stands for the name of a session that was resumed without one. */
static X509 *our_cert(const struct handshake *h) {
    X509 *shown = SSL_get_certificate(h->ssl);
    return shown ? shown : certs_leaf(h->server->certs, h->server->service, h->sni);
}

int handshake_finish(struct handshake *h, struct handshake_result *ret) {
    SSL *ssl = h->ssl;
    if (!SSL_is_init_finished(ssl) || SSL_has_pending(ssl) || h->bio.in.len != 0 || h->bio.header_len != 0)
        return ERR_LEAVE;
    uint16_t version = (uint16_t)SSL_version(ssl);
    h->suite = suite_by_id(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl)));
    if (!h->suite || h->suite->version != version)
        return ERR_LEAVE;

    memset(ret, 0, sizeof(*ret));
    ret->plane.suite_id = h->suite->id;
    ret->plane.out_max = plain_limit(h, version);
    int err = version == TLS_1_3 ? take_tls13(h, &ret->plane) : take_tls12(h, &ret->plane);
    if (err == 0) {
        err = settle_client(h, ret);
        if (err < 0)
            refuse_session(h, &ret->plane, err);
    }
    if (err < 0) {
        plane_wipe(&ret->plane);
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
