#include "tls/client_auth.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "creds/client_rule.h"
#include "tls/ca_names.h"
#include "tls/client_names.h"
#include "tls/server_internal.h"
#include "tls/sha2.h"

#define CLOCK_SKEW_S 3600

struct client_auth {
    bool required;
    bool has_crl;
    unsigned depth;
    X509_STORE *store;
    struct ca_names names;
    struct client_rule *rules;
    char **texts; /* the rules borrow them */
    size_t nrules;
    uint8_t digest[CLIENT_AUTH_DIGEST_LEN];
};

/* ---- making one ---- */

static void digest_of(const struct client_policy *p, uint8_t ret[static CLIENT_AUTH_DIGEST_LEN]) {
    const uint8_t head[] = {2, p->required, (uint8_t)p->depth};
    uint8_t digest[HASH_LEN_MAX];
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    sha2_add_part(HASH_SHA256, &s, span_of(head, sizeof(head)));
    for (size_t i = 0; i < p->nca; i++)
        sha2_add_part(HASH_SHA256, &s, p->ca[i]);
    sha2_add_part(HASH_SHA256, &s, span_str("crl"));
    for (size_t i = 0; i < p->ncrl; i++)
        sha2_add_part(HASH_SHA256, &s, p->crl[i]);
    sha2_add_part(HASH_SHA256, &s, span_str("allow"));
    for (size_t i = 0; i < p->nallow; i++)
        sha2_add_part(HASH_SHA256, &s, span_str(p->allow[i]));
    sha2_end(HASH_SHA256, &s, digest);
    memcpy(ret, digest, CLIENT_AUTH_DIGEST_LEN);
}

static int add_ca(struct client_auth *a, struct span der) {
    const uint8_t *p = der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    int err = x && X509_STORE_add_cert(a->store, x) == 1 ? 0 : ERR_FORMAT;
    if (err == 0)
        err = ca_names_add(&a->names, x);
    X509_free(x);
    return err;
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
    int err = a->store && p->nca > 0 ? 0 : ERR_FORMAT;
    for (size_t i = 0; i < p->nca && !err; i++)
        err = add_ca(a, p->ca[i]);
    for (size_t i = 0; i < p->ncrl && !err; i++)
        err = add_crl(a, p->crl[i]);
    return err ? err : add_rules(a, p, why);
}

struct client_auth *client_auth_new(const struct client_policy *p, struct text *why) {
    struct client_auth *a = calloc(1, sizeof(*a));
    size_t before = why->len;
    if (a) {
        a->required = p->required;
        a->depth = p->depth;
        a->has_crl = p->ncrl > 0;
        a->store = X509_STORE_new();
        ca_names_init(&a->names);
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
    ca_names_fini(&a->names);
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
    if (!(X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE)) { /* RFC 5280 4.2.1.3; libcrypto is content with keyAgreement */
        *ret_x509 = X509_V_ERR_INVALID_PURPOSE;
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

int client_auth_settle(const struct client_auth *a, bool changed, X509 *cert, STACK_OF(X509) * others, struct client_id *id,
                       struct text *why) {
    if (!id || !id->verified)
        return a->required ? ERR_CLIENT_CERT_MISSING : 0;
    if (!changed)
        return 0;
    return cert ? client_auth_judge(a, cert, others, id, why, NULL) : ERR_CLIENT_CERT_UNKNOWN_CA;
}

size_t client_auth_chain_max(const struct client_auth *a) {
    return a->depth + CLIENT_CHAIN_SPARE;
}

size_t client_auth_bytes_max(const struct client_auth *a) {
    return (size_t)MIN(CLIENT_CHAIN_MAX, CLIENT_LEAF_MAX + CLIENT_ISSUER_MAX * ((long)a->depth + 2));
}

struct span client_auth_names(const struct client_auth *a) {
    return ca_names_sent(&a->names);
}

bool client_auth_may_resume(const struct client_auth *a, const struct client_id *id) {
    int64_t now = (int64_t)time(NULL);
    if (!id->verified)
        return !a->required;
    return id->expires_s > now && id->verified_s <= now + CLOCK_SKEW_S && now - id->verified_s < CLIENT_RESUME_MAX_S;
}
