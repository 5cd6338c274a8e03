#include "tls/client_auth.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "base/rd.h"
#include "creds/client_rule.h"
#include "tls/client_names.h"
#include "tls/handshake_internal.h"
#include "tls/sha2.h"

#define NAMES_LOGGED_MAX 64 /* CA names sent to clients, so that they can choose among their certificates */
#define CLOCK_SKEW_S     3600

struct client_auth {
    bool required;
    bool has_crl;
    unsigned depth;
    X509_STORE *store;
    STACK_OF(X509_NAME) * names;
    struct buf wire_names; /* the same as they are sent */
    struct client_rule *rules;
    char **texts; /* the rules borrow them */
    size_t nrules;
    uint8_t digest[CLIENT_AUTH_DIGEST_LEN];
};

/* ---- making one ---- */

static void add_part(union sha2 *s, struct span part) {
    const uint8_t len[] = {(uint8_t)(part.len >> 24), (uint8_t)(part.len >> 16), (uint8_t)(part.len >> 8), (uint8_t)part.len};
    sha2_add(HASH_SHA256, s, len, sizeof(len));
    if (part.len)
        sha2_add(HASH_SHA256, s, part.p, part.len);
}

static void digest_of(const struct client_policy *p, uint8_t ret[static CLIENT_AUTH_DIGEST_LEN]) {
    const uint8_t head[] = {2, p->required, (uint8_t)p->depth};
    uint8_t digest[HASH_LEN_MAX];
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    add_part(&s, span_of(head, sizeof(head)));
    for (size_t i = 0; i < p->nca; i++)
        add_part(&s, p->ca[i]);
    add_part(&s, span_str("crl"));
    for (size_t i = 0; i < p->ncrl; i++)
        add_part(&s, p->crl[i]);
    add_part(&s, span_str("allow"));
    for (size_t i = 0; i < p->nallow; i++)
        add_part(&s, span_str(p->allow[i]));
    sha2_end(HASH_SHA256, &s, digest);
    memcpy(ret, digest, CLIENT_AUTH_DIGEST_LEN);
}

static int add_ca(struct client_auth *a, struct span der) {
    const uint8_t *p = der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    int err = x && X509_STORE_add_cert(a->store, x) == 1 ? 0 : ERR_FORMAT;
    if (err == 0 && sk_X509_NAME_num(a->names) < NAMES_LOGGED_MAX) {
        X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));
        if (!name || !sk_X509_NAME_push(a->names, name)) {
            X509_NAME_free(name);
            err = ERR_NOMEM;
        }
    }
    X509_free(x);
    return err;
}

static int encode_names(struct client_auth *a) {
    buf_init(&a->wire_names, UINT16_MAX - 2); /* of an extension, with its inner length */
    for (int i = 0; i < sk_X509_NAME_num(a->names); i++) {
        uint8_t *der = NULL;
        int len = i2d_X509_NAME(sk_X509_NAME_value(a->names, i), &der);
        const uint8_t head[] = {(uint8_t)(len >> 8), (uint8_t)len};
        int err = len > 0 && len <= UINT16_MAX ? buf_append(&a->wire_names, head, sizeof(head)) : ERR_FORMAT;
        if (err == 0)
            err = buf_append(&a->wire_names, der, (size_t)len);
        OPENSSL_free(der);
        if (err)
            return err;
    }
    return 0;
}

static int add_crl(struct client_auth *a, struct span der) {
    const uint8_t *p = der.p;
    X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)der.len);
    int err = crl && X509_STORE_add_crl(a->store, crl) == 1 ? 0 : ERR_FORMAT;
    X509_CRL_free(crl);
    return err;
}

static int add_rules(struct client_auth *a, const struct client_policy *p, struct text *why) {
    a->rules = calloc(MAX(p->nallow, (size_t)1), sizeof(*a->rules));
    a->texts = calloc(p->nallow + 1, sizeof(*a->texts)); /* ended by NULL */
    if (!a->rules || !a->texts)
        return ERR_NOMEM;
    for (; a->nrules < p->nallow; a->nrules++) {
        char *text = a->texts[a->nrules] = strdup(p->allow[a->nrules]);
        int err = text ? client_rule_read(text, &a->rules[a->nrules], why) : ERR_NOMEM;
        if (err < 0)
            return err;
    }
    return 0;
}

static int load_policy(struct client_auth *a, const struct client_policy *p, struct text *why) {
    int err = a->store && a->names && p->nca > 0 ? 0 : ERR_FORMAT;
    for (size_t i = 0; i < p->nca && !err; i++)
        err = add_ca(a, p->ca[i]);
    for (size_t i = 0; i < p->ncrl && !err; i++)
        err = add_crl(a, p->crl[i]);
    if (!err)
        err = encode_names(a);
    return err ? err : add_rules(a, p, why);
}

/* For all arithmetic with dates: at the first call, since later this process may look at no file. */
static void read_time_zone(void) {
    static bool read;
    if (!read)
        tzset();
    read = true;
}

struct client_auth *client_auth_new(const struct client_policy *p, struct text *why) {
    struct client_auth *a = calloc(1, sizeof(*a));
    size_t before = why->len;
    read_time_zone();
    if (a) {
        a->required = p->required;
        a->depth = p->depth;
        a->has_crl = p->ncrl > 0;
        a->store = X509_STORE_new();
        a->names = sk_X509_NAME_new_null();
        digest_of(p, a->digest);
    }
    if (a && load_policy(a, p, why) == 0) {
        ERR_clear_error();
        return a;
    }
    if (why->len == before)
        text_add(why, "the CA certificates and CRLs cannot be taken up");
    ERR_clear_error();
    client_auth_free(a);
    return NULL;
}

void client_auth_free(struct client_auth *a) {
    if (!a)
        return;
    X509_STORE_free(a->store);
    sk_X509_NAME_pop_free(a->names, X509_NAME_free);
    buf_fini(&a->wire_names);
    for (size_t i = 0; a->texts && a->texts[i]; i++) /* the last may be of a rule that could not be read */
        free(a->texts[i]);
    free(a->texts);
    free(a->rules);
    free(a);
}

const uint8_t *client_auth_digest(const struct client_auth *a) {
    return a->digest;
}

bool client_auth_required(const struct client_auth *a) {
    return a->required;
}

/* ---- judging a certificate ---- */

static int reason_of(int x509_error) {
    switch (x509_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return ERR_CLIENT_CERT_EXPIRED;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERR_CLIENT_CERT_EARLY;
    case X509_V_ERR_CERT_REVOKED:
        return ERR_CLIENT_CERT_REVOKED;
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_CRL_NOT_YET_VALID:
        return ERR_CLIENT_CRL_STALE;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
    case X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION:
    case X509_V_ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD:
    case X509_V_ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
    case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
        return ERR_CLIENT_CRL_MISSING;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return ERR_CLIENT_CERT_UNKNOWN_CA;
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
        return ERR_CLIENT_CERT_DEPTH;
    case X509_V_ERR_INVALID_PURPOSE:
        return ERR_CLIENT_CERT_USAGE;
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return ERR_CLIENT_CERT_WEAK;
    case X509_V_ERR_OUT_OF_MEM:
        return ERR_NOMEM;
    default:
        return ERR_CLIENT_CERT_BAD;
    }
}

/*
 * The CA's own certificate is trusted as it is: whatever is wrong with what is known of its revocation (no CRL, another
 * scope, out of date, signed by another issuer) is no fault. That a CRL names it is.
 */
static int on_fault(int ok, X509_STORE_CTX *ctx) {
    int error = X509_STORE_CTX_get_error(ctx), depth = X509_STORE_CTX_get_error_depth(ctx);
    bool of_crl = reason_of(error) == ERR_CLIENT_CRL_MISSING || reason_of(error) == ERR_CLIENT_CRL_STALE;
    if (!ok && of_crl && depth > 0 && depth == sk_X509_num(X509_STORE_CTX_get0_chain(ctx)) - 1) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
        return 1;
    }
    return ok;
}

static int64_t seconds_of(const ASN1_TIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int64_t first_end(const STACK_OF(X509) * chain) {
    int64_t end = INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++)
        end = MIN(end, seconds_of(X509_get0_notAfter(sk_X509_value(chain, i))));
    return end;
}

/* How chains are checked against A, whatever libssl was set to before. */
static bool set_param(const struct client_auth *a, X509_STORE_CTX *ctx) {
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN; /* an intermediate in the CA file is trusted as it is */
    if (a->has_crl)
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    X509_VERIFY_PARAM_set_depth(param, (int)a->depth);
    X509_VERIFY_PARAM_set_auth_level(param, TLS_SECURITY_LEVEL);
    X509_STORE_CTX_set_verify_cb(ctx, on_fault);
    return X509_STORE_CTX_set_default(ctx, "ssl_client") == 1 && X509_VERIFY_PARAM_set_flags(param, flags) == 1;
}

/* 0 or the reason; *RET_X509 is libcrypto's. */
static int judge_chain(const struct client_auth *a, X509_STORE_CTX *ctx, X509 *cert, struct client_id *id, int *ret_x509) {
    *ret_x509 = X509_V_OK;
    if (X509_verify_cert(ctx) != 1) {
        *ret_x509 = X509_STORE_CTX_get_error(ctx);
        return reason_of(*ret_x509);
    }
    id->expires_s = first_end(X509_STORE_CTX_get0_chain(ctx));
    return client_names_judge(cert, a->rules, a->nrules, id);
}

int client_auth_judge(const struct client_auth *a, X509 *cert, STACK_OF(X509) * others, struct client_id *ret, struct text *why,
                      int *ret_x509) {
    struct client_id id = {.verified = true, .verified_s = (int64_t)time(NULL)};
    int error = X509_V_ERR_OUT_OF_MEM, err = ERR_NOMEM;
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    if (ctx && X509_STORE_CTX_init(ctx, a->store, cert, others) == 1 && set_param(a, ctx))
        err = judge_chain(a, ctx, cert, &id, &error);
    if (err < 0) {
        X509 *faulty = error && ctx ? X509_STORE_CTX_get_current_cert(ctx) : NULL;
        client_names_describe(faulty ? faulty : cert, faulty ? X509_STORE_CTX_get_error_depth(ctx) : 0, why);
        if (error)
            text_addf(why, ": %s", X509_verify_cert_error_string(error));
    }
    X509_STORE_CTX_free(ctx);
    if (ret_x509)
        *ret_x509 = err && !error ? X509_V_ERR_APPLICATION_VERIFICATION : error;
    *ret = id;
    return err;
}

/* libssl asks: 1 lets the client in. What was found is noted with the handshake; this is no place to send from. */
static int verify(X509_STORE_CTX *ctx, void *arg) {
    (void)arg;
    SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
    X509 *cert = X509_STORE_CTX_get0_cert(ctx);
    int error = handshake_judge_client(SSL_get_app_data(ssl), cert, X509_STORE_CTX_get0_untrusted(ctx));
    X509_STORE_CTX_set_error(ctx, error);
    if (i2d_X509(cert, NULL) > TICKETS_PEER_MAX)
        (void)SSL_set_num_tickets(ssl, 0); /* cannot fail for 0 */
    return error == X509_V_OK;
}

size_t client_auth_chain_max(const struct client_auth *a) {
    return a->depth + CLIENT_CHAIN_SPARE;
}

size_t client_auth_bytes_max(const struct client_auth *a) {
    return (size_t)MIN(CLIENT_CHAIN_MAX, CLIENT_LEAF_MAX + CLIENT_ISSUER_MAX * ((long)a->depth + 2));
}

struct span client_auth_names(const struct client_auth *a) {
    return buf_span(&a->wire_names);
}

/* ---- before a certificate is decoded ---- */

/* Certificates in a Certificate message (RFC 8446 4.4.2, RFC 5246 7.4.6), up to where it is malformed, which libssl will
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
    struct handshake *h = SSL_get_app_data(ssl);
    size_t max = client_auth_chain_max(handshake_rules(h));
    size_t n = count_certificates(span_of(p, len), SSL_version(ssl) == TLS1_3_VERSION);
    if (n <= max)
        return;
    char detail[HANDSHAKE_DETAIL_MAX];
    struct text t = text_of(detail, sizeof(detail));
    text_addf(&t, "found %zu certificates, expected at most %zu", n, max);
    (void)!handshake_note_client(h, ERR_CLIENT_CERT_DEPTH, NULL, detail); /* it is what was given */
    memset((uint8_t *)(uintptr_t)p + SSL3_HM_HEADER_LENGTH, 0xff, len - SSL3_HM_HEADER_LENGTH);
}

/* ---- tickets ---- */

/* A ticket is about to be sealed: it holds what is known of the client. A session that was resumed has it already. */
static int on_seal(SSL *ssl, void *arg) {
    (void)arg;
    uint8_t packed[CLIENT_ID_PACKED];
    struct client_id none = {0};
    const struct client_id *id = handshake_client(SSL_get_app_data(ssl));
    if (SSL_session_reused(ssl))
        return 1;
    size_t len = client_id_pack(id ? id : &none, packed);
    return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), packed, len);
}

static int recall(SSL_SESSION *session, struct client_id *ret) {
    void *packed = NULL;
    size_t len = 0;
    if (SSL_SESSION_get0_ticket_appdata(session, &packed, &len) != 1 || !packed)
        return ERR_FORMAT;
    return client_id_unpack(span_of(packed, len), ret);
}

bool client_auth_may_resume(const struct client_auth *a, const struct client_id *id) {
    int64_t now = (int64_t)time(NULL);
    if (!id->verified)
        return !a->required;
    return id->expires_s > now && id->verified_s <= now + CLOCK_SKEW_S && now - id->verified_s < CLIENT_RESUME_MAX_S;
}

/* With the certificate that the ticket stands for. */
static bool may_resume(const struct client_auth *a, SSL_SESSION *session) {
    struct client_id id;
    return recall(session, &id) == 0 && client_auth_may_resume(a, &id);
}

/* A ticket was opened, or not. What is not taken up means a full handshake, and a new ticket. */
static SSL_TICKET_RETURN on_open(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t len,
                                 SSL_TICKET_STATUS status, void *arg) {
    (void)name, (void)len, (void)arg;
    SSL_TICKET_RETURN judged = tickets_judge(ssl, session, status);
    if (judged != SSL_TICKET_RETURN_IGNORE_RENEW && !may_resume(handshake_rules(SSL_get_app_data(ssl)), session))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return judged;
}

int client_auth_recall(SSL *ssl, struct client_id *ret) {
    return recall(SSL_get_session(ssl), ret);
}

/* ---- libssl ---- */

/* Since 3.2; a libssl may be newer than the headers we were built with, and an older one ignores the bit. */
#ifndef SSL_OP_NO_RX_CERTIFICATE_COMPRESSION
#define SSL_OP_NO_RX_CERTIFICATE_COMPRESSION ((uint64_t)1 << 33)
#endif

int client_auth_attach(const struct client_auth *a, SSL_CTX *ctx) {
    SSL_CTX_set_options(ctx,
                        SSL_OP_NO_RX_CERTIFICATE_COMPRESSION); /* RFC 8879: on_tls_message() would not see what is inside */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (a->required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
    SSL_CTX_set_cert_verify_callback(ctx, verify, NULL);
    SSL_CTX_set_msg_callback(ctx, on_tls_message);
    SSL_CTX_set_max_cert_list(ctx, (long)client_auth_bytes_max(a));
    if (SSL_CTX_set_session_ticket_cb(ctx, on_seal, on_open, NULL) != 1)
        return ERR_CRYPTO;
    return client_auth_announce(a, ctx);
}

int client_auth_announce(const struct client_auth *a, SSL_CTX *ctx) {
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(a->names);
    if (!names)
        return ERR_CRYPTO;
    SSL_CTX_set_client_CA_list(ctx, names);
    return 0;
}

int client_auth_fault(const SSL *ssl, int reason) {
    OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
    if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        return ERR_CLIENT_CERT_MISSING;
    if (reason == SSL_R_EXCESSIVE_MESSAGE_SIZE) /* no other message of a client's grows; 3.5 fails before it enters the state */
        return ERR_CLIENT_CERT_LARGE;
    if (state == TLS_ST_SR_CERT)
        return ERR_CLIENT_CERT_BAD;
    return state == TLS_ST_SR_CERT_VRFY ? ERR_CLIENT_CERT_PROOF : 0; /* which error comes first differs between versions */
}
