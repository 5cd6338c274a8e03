#include "tls/hs_libssl.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/secret.h"
#include "base/wr.h"
#include "tls/client_auth.h"
#include "tls/hs_alert.h"
#include "tls/hs_keys.h"
#include "tls/hs_libssl_hello.h"
#include "tls/hs_libssl_server.h"
#include "tls/key_provider.h"

/*
 * Binds libssl's tickets: those of the present rules. Rules may change while a handshake is under way, and a
 * second ClientHello is held against the new ones.
 */
static bool bind_libssl_tickets(struct hs_libssl *h) {
    uint8_t binding[TICKET_BIND_LEN];
    memcpy(h->rules, h->server->binding, sizeof(h->rules));
    ticket_bind_name(h->rules, h->sni, binding);
    return SSL_set_session_id_context(h->ssl, binding, sizeof(binding)) == 1;
}

static bool rules_changed(const struct hs_libssl *h) {
    return memcmp(h->rules, h->server->binding, sizeof(h->rules)) != 0;
}

struct hs_libssl *hs_libssl_of(const struct handshake *h) {
    return (struct hs_libssl *)((uintptr_t)h - offsetof(struct hs_libssl, base));
}

int hs_libssl_note_client(struct hs_libssl *h, int err, const struct client_id *id, const char *detail) {
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

static size_t der_len(X509 *x) {
    int len = i2d_X509(x, NULL);
    return len > 0 ? (size_t)len : 0;
}

int hs_libssl_judge_client(struct hs_libssl *h, X509 *cert, STACK_OF(X509) * others) {
    struct client_id id;
    h->chain_len = 0;
    for (int i = 0; i < sk_X509_num(others); i++) /* CERT, which is the first of them, too */
        h->chain_len += der_len(sk_X509_value(others, i));
    char detail[HS_LIBSSL_DETAIL_MAX] = "";
    struct text t = text_of(detail, sizeof(detail));
    int error = X509_V_OK, err = client_auth_judge(h->server->clients, cert, others, &id, &t, &error);
    bool noted = hs_libssl_note_client(h, err, &id, detail) == err;
    return noted ? error : X509_V_ERR_OUT_OF_MEM;
}

size_t hs_libssl_note(int64_t full_s, const struct client_id *client, uint8_t to[static HS_LIBSSL_NOTE_MAX]) {
    struct wr w = wr_of(to, HS_LIBSSL_NOTE_MAX);
    wr_u64(&w, (uint64_t)full_s);
    return w.len + client_id_pack(client, to + w.len);
}

int hs_libssl_recall(SSL_SESSION *session, int64_t *ret_full_s, struct client_id *ret) {
    void *note = NULL;
    size_t len = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &note, &len) != 1 || !note)
        return ERR_FORMAT;
    struct rd r = rd_of(span_of(note, len));
    *ret_full_s = (int64_t)rd_u64(&r);
    return r.bad ? ERR_FORMAT : client_id_unpack(rd_bytes(&r, rd_left(&r)), ret);
}

uint16_t hs_libssl_version(const struct hs_libssl *h) {
    return (uint16_t)SSL_version(h->ssl);
}

bool hs_libssl_is_finished(const struct hs_libssl *h) {
    return SSL_is_init_finished(h->ssl);
}

const struct suite *hs_libssl_suite(const struct hs_libssl *h) {
    const SSL_CIPHER *cipher = SSL_get_current_cipher(h->ssl);
    return cipher ? suite_by_id(SSL_CIPHER_get_protocol_id(cipher)) : NULL;
}

int hs_libssl_tls12(const struct hs_libssl *h, struct hs_libssl_tls12 *ret) {
    bool all = SSL_SESSION_get_master_key(SSL_get_session(h->ssl), ret->master, 48) == 48 &&
               SSL_get_client_random(h->ssl, ret->client_random, 32) == 32 &&
               SSL_get_server_random(h->ssl, ret->server_random, 32) == 32;
    return all ? 0 : ERR_LEAVE;
}

/* Turns libssl's error queue into one of our reasons. */
static enum step fail_libssl(struct hs_libssl *h, int err) {
    unsigned long first = ERR_peek_error(), last = ERR_peek_last_error(); /* libcrypto's come before libssl's own */
    const char *reason = first ? ERR_reason_error_string(first) : NULL;
    if (!h->client_err && err == ERR_HANDSHAKE && h->server->clients && !h->alert)
        h->client_err = hs_libssl_client_fault(h->ssl, ERR_GET_REASON(last), (enum alert)h->sent_alert);
    if (h->client_err)
        err = h->client_err;
    else if (err == ERR_HANDSHAKE && h->sent_alert)
        err = hs_libssl_reason((enum alert)h->sent_alert, ERR_GET_LIB(last) == ERR_LIB_SSL ? ERR_GET_REASON(last) : 0);
    h->judged = h->judged || h->client_err == ERR_CLIENT_CERT_LARGE; /* a limit of ours, nothing malformed */
    if (reason && !h->detail[0])
        snprintf(h->detail, sizeof(h->detail), "%s", reason);
    ERR_clear_error();
    h->err = h->alert ? ERR_PEER_ALERT : err;
    return STEP_FAILED;
}

/* libssl's state after a HelloRetryRequest, and after our Finished, which comes with the secrets. */
static bool awaits_second_hello(const struct hs_libssl *h) {
    return SSL_get_state(h->ssl) == TLS_ST_EARLY_DATA && !h->provided.server_len && !h->logged.server_len;
}

/*
 * Our check of a whole record before libssl sees it: STEP_DONE, pass it to libssl. STEP_WANT_READ: it is passed over, as
 * early data before the second hello is (RFC 8446 4.2.10), which libssl takes for plain and finds too long. STEP_FAILED.
 */
static enum step judge_record(struct hs_libssl *h, uint8_t type, struct span content) {
    bool is_1_3 = SSL_version(h->ssl) == TLS_1_3;
    bool is_plain = is_1_3 || !h->bio.in_ccs;
    if (is_plain && type == CONTENT_CHANGE_CIPHER_SPEC && !record_is_dummy_ccs(content)) /* libssl passes an empty one over */
        return fail_libssl(h, ERR_RECORD_TYPE);
    if (!is_1_3 && content.len < hs_keys_expansion(h, type)) /* libssl calls that an internal error */
        return fail_libssl(h, ERR_BAD_MAC);
    if (!is_1_3 || type != CONTENT_APPLICATION_DATA || !h->early_offered || !awaits_second_hello(h))
        return STEP_DONE;
    h->early_skipped += content.len;
    return h->early_skipped > TLS_EARLY_MAX || content.len == 0 ? fail_libssl(h, ERR_RECORD_TYPE) : STEP_WANT_READ;
}

/* The second hello, which lies in IN as SCAN says. */
static int judge_second(const struct hs_libssl *h, struct span in) {
    uint8_t *scratch = h->scan.records > 1 ? malloc(h->scan.need) : NULL;
    if (h->scan.records > 1 && !scratch)
        return ERR_NOMEM;
    int err = hs_libssl_judge_second(h, hello_gather(&h->scan, in, scratch));
    free(scratch);
    return err;
}

/*
 * The hello that is due, from the front of IN, once all of it is here: libssl gets its records at once. The first one was
 * judged before there was a handshake.
 */
static enum step take_hello(struct hs_libssl *h, struct span in, struct span *ret_records) {
    int err = 0;
    if (in.len < h->scan.wire_len) /* less than before */
        return STEP_WANT_READ;
    enum step found = hello_measure(&h->scan, in, &err);
    if (found == STEP_DONE && h->begun)
        err = judge_second(h, in);
    if (err == ERR_HELLO_UNEXPECTED)
        err = ERR_RECORD_TYPE; /* no longer the first message */
    if (err == ERR_PEER_ALERT)
        h->alert = h->scan.alert;
    if (err < 0)
        return fail_libssl(h, err);
    if (found == STEP_DONE) {
        h->second_judged = h->begun;
        h->begun = true;
        *ret_records = span_of(in.p, h->scan.wire_len);
        h->scan = (struct hello_scan){0};
    }
    return found;
}

/* A record of another kind, once all of it is here. One that is passed over is empty, but for its header. */
static enum step cut_record(struct hs_libssl *h, struct span in, struct span *ret_record) {
    size_t len = RECORD_HEADER_LEN + (size_t)(in.p[3] << 8 | in.p[4]);
    int err = in.p[1] == 3 ? record_judge(in.p[0], len - RECORD_HEADER_LEN, hs_keys_expansion(h, in.p[0])) : ERR_RECORD_VERSION;
    if (err == 0 && h->records >= HANDSHAKE_FRAGMENTS_MAX)
        err = ERR_RECORD_FLOOD;
    if (err < 0)
        return fail_libssl(h, err);
    if (in.len < len)
        return STEP_WANT_READ;
    h->records++;
    *ret_record = span_of(in.p, len);
    return STEP_DONE;
}

static bool hello_is_due(const struct hs_libssl *h, const uint8_t *header) {
    return !h->begun || (header[0] == CONTENT_HANDSHAKE && header[1] == 3 && !h->second_judged && awaits_second_hello(h));
}

static enum step libssl_step(struct handshake *base, struct span *in) {
    struct hs_libssl *h = hs_libssl_of(base);
    for (;;) {
        if (in->len < RECORD_HEADER_LEN)
            return STEP_WANT_READ;
        struct span fed = span_of(in->p, 0);
        bool hello = hello_is_due(h, in->p);
        enum step taken = hello ? take_hello(h, *in, &fed) : cut_record(h, *in, &fed);
        if (taken != STEP_DONE)
            return taken;
        in->p += fed.len;
        in->len -= fed.len;
        enum step judged =
            hello ? STEP_DONE : judge_record(h, fed.p[0], span_of(fed.p + RECORD_HEADER_LEN, fed.len - RECORD_HEADER_LEN));
        if (judged == STEP_FAILED)
            return STEP_FAILED;
        if (judged == STEP_WANT_READ)
            continue;
        hs_bio_feed(&h->bio, fed);

        if (rules_changed(h) && !bind_libssl_tickets(h))
            return fail_libssl(h, ERR_CRYPTO);
        size_t out_before = buf_len(h->bio.out);
        ERR_clear_error();
        bool logs = h->log && hs_libssl_server_begin_key_log(h->server->ctx);
        kdf_provider_watch(&h->provided);
        int done = SSL_do_handshake(h->ssl);
        kdf_provider_watch(NULL);
        if (logs)
            hs_libssl_server_end_key_log(h->server->ctx);
        if (h->bio.overflow)
            return fail_libssl(h, ERR_LIMIT);
        if (done == 1) /* a key ends with its record (RFC 8446 5.1) */
            return h->bio.in.len == 0 && !SSL_has_pending(h->ssl) ? STEP_DONE : fail_libssl(h, ERR_RECORD_TYPE);
        int ours = h->cert_err ? h->cert_err : key_provider_error();
        if (ours) {
            ERR_clear_error(); /* libssl knows no more than that it failed */
            return fail_libssl(h, ours);
        }
        if (SSL_get_error(h->ssl, done) != SSL_ERROR_WANT_READ) { /* a close_notify shows as an end */
            (void)fail_libssl(h, SSL_get_shutdown(h->ssl) & SSL_RECEIVED_SHUTDOWN ? ERR_HANDSHAKE_CLOSED : ERR_HANDSHAKE);
            if ((h->judged && h->client_err) || h->err == ERR_BINDER) /* libssl's is illegal_parameter; RFC 8446 6.2 */
                hs_alert_replace(h, out_before);
            return STEP_FAILED;
        }
        if (h->bio.in.len != 0) /* libssl wants more although it was given more: not to be waited for */
            return fail_libssl(h, ERR_HANDSHAKE);
    }
}

static int libssl_error(const struct handshake *base, uint8_t *ret_alert) {
    const struct hs_libssl *h = hs_libssl_of(base);
    *ret_alert = h->alert;
    return h->err;
}

static const char *libssl_detail(const struct handshake *base) {
    return hs_libssl_of(base)->detail;
}

static const char *libssl_waiting_for(const struct handshake *base) {
    const struct hs_libssl *h = hs_libssl_of(base);
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

bool hs_libssl_secrets_agree(const struct hs_libssl *h) {
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
static uint16_t plain_limit(const struct hs_libssl *h, uint16_t version) {
    size_t max = RECORD_PLAIN_MAX;
    uint8_t mfl = SSL_SESSION_get_max_fragment_length(SSL_get_session(h->ssl));
    if (mfl >= TLSEXT_max_fragment_length_512 && mfl <= TLSEXT_max_fragment_length_4096)
        max = (size_t)256 << mfl;
    if (h->record_size_limit >= 64)
        max = MIN(max, (size_t)h->record_size_limit - (version == TLS_1_3 ? 1 : 0));
    return (uint16_t)max;
}

/* Whether the session was made under the rules for clients that are in use now. */
static bool is_of_present_rules(const struct hs_libssl *h) {
    uint8_t present[TICKET_BIND_LEN];
    unsigned len = 0;
    const unsigned char *made_under = SSL_SESSION_get0_id_context(SSL_get_session(h->ssl), &len);
    ticket_bind_name(h->server->binding, h->sni, present);
    return span_eq(span_of(made_under, len), span_of(present, sizeof(present)));
}

/* Who the client is: known from this handshake, or from the one that is resumed. No client that the rules refuse passes here.
 */
static int settle_client(struct hs_libssl *h, struct handshake_result *ret) {
    const struct client_auth *clients = h->server->clients;
    int64_t full_s = 0;
    int err = 0;
    if (!clients)
        return 0;
    if (SSL_session_reused(h->ssl)) {
        free(h->client);
        h->client = calloc(1, sizeof(*h->client));
        err = h->client ? hs_libssl_recall(SSL_get_session(h->ssl), &full_s, h->client) : ERR_NOMEM;
        if (err < 0)
            return err;
    }
    struct text why = text_of(h->detail, sizeof(h->detail));
    err = client_auth_settle(clients, !is_of_present_rules(h), SSL_get0_peer_certificate(h->ssl),
                             SSL_get_peer_cert_chain(h->ssl), h->client, &why);
    if (err < 0)
        return err;
    bool verified = h->client && h->client->verified;
    ret->client = verified ? h->client : NULL;
    X509 *cert = verified && h->server->reports_client_cert ? SSL_get0_peer_certificate(h->ssl) : NULL;
    int len = cert ? i2d_X509(cert, NULL) : 0;
    if (len > 0 && len <= CLIENT_CERT_MAX && i2d_X509(cert, &h->client_cert) == len)
        ret->client_cert = span_of(h->client_cert, (size_t)len);
    return 0;
}

/* The certificate that was sent, or that stands for the name of a session that was resumed without one. */
static X509 *our_cert(const struct hs_libssl *h) {
    X509 *shown = SSL_get_certificate(h->ssl);
    return shown ? shown : certs_leaf(h->server->certs, h->server->service, h->sni);
}

static int libssl_finish(struct handshake *base, struct handshake_result *ret) {
    struct hs_libssl *h = hs_libssl_of(base);
    SSL *ssl = h->ssl;
    if (!SSL_is_init_finished(ssl) || SSL_has_pending(ssl) || h->bio.in.len != 0 || h->bio.header_len != 0)
        return ERR_LEAVE;
    uint16_t version = hs_libssl_version(h);
    h->suite = hs_libssl_suite(h);
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

/* ---- life ---- */

static size_t libssl_memory(const struct handshake *base) {
    return HANDSHAKE_BYTES + CLIENT_CERT_EXPANSION * hs_libssl_of(base)->chain_len;
}

static void free_libssl(struct handshake *base) {
    struct hs_libssl *h = hs_libssl_of(base);
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

static const struct handshake_path libssl_path = {
    .free = free_libssl,
    .bytes = libssl_memory,
    .step = libssl_step,
    .alert = hs_libssl_alert,
    .error = libssl_error,
    .detail = libssl_detail,
    .waiting_for = libssl_waiting_for,
    .finish = libssl_finish,
};

int hs_libssl_new(const struct tls_server *s, const struct hello *hello, struct buf *out, const struct key_log *log,
                  struct handshake **ret) {
    int err = hs_libssl_bears(hello);
    if (err < 0)
        return err;
    struct hs_libssl *h = calloc(1, sizeof(*h));
    if (!h)
        return ERR_NOMEM;
    err = ERR_CRYPTO;
    BIO *bio = NULL;
    h->base.path = &libssl_path;
    h->server = s;
    h->bio.out = out;
    h->log = log;
    h->record_size_limit = hello->record_size_limit;
    h->early_offered = hello->has_early_data;
    hello_pin(hello, h->pinned);
    memcpy(h->sni, hello->sni, sizeof(h->sni));
    h->verifies = certs_client_of(hello->sigalgs, hello->sigalgs_cert);
    h->ssl = SSL_new(s->ctx);
    if (!h->ssl)
        goto out;
    bio = hs_bio_new(&h->bio);
    if (!bio)
        goto out;
    SSL_set_bio(h->ssl, bio, bio);
    SSL_set_accept_state(h->ssl);
    if (hello->session_id.len == 0) /* such a client wants no dummy ChangeCipherSpec (RFC 8446 D.4) */
        (void)SSL_clear_options(h->ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    if (SSL_set_app_data(h->ssl, h) != 1 || !bind_libssl_tickets(h))
        goto out;
    *ret = &h->base;
    err = 0;
out:
    ERR_clear_error();
    if (err < 0)
        free_libssl(&h->base);
    return err;
}
