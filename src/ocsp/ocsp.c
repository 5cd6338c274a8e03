#include "ocsp/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/err.h"

#define DAY_S INT64_C(86400)

/* ---- the certificate ---- */

X509 *ocsp_issuer(X509 *leaf, STACK_OF(X509) * others) {
    for (int i = 0; i < sk_X509_num(others); i++)
        if (X509_check_issued(sk_X509_value(others, i), leaf) == X509_V_OK)
            return sk_X509_value(others, i);
    return X509_check_issued(leaf, leaf) == X509_V_OK ? leaf : NULL;
}

/* Characters of a URL; what would be none goes into no request and no log. */
static bool is_plain_http(const char *url) {
    size_t len = strlen(url);
    bool ok = strncasecmp(url, "http://", 7) == 0 && len > 7 && len < OCSP_URL_MAX;
    for (size_t i = 0; i < len && ok; i++)
        ok = url[i] > ' ' && url[i] <= '~';
    return ok;
}

int ocsp_responder(X509 *leaf, char to[static OCSP_URL_MAX]) {
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(leaf);
    int err = ERR_NOT_FOUND;
    for (int i = 0; i < sk_OPENSSL_STRING_num(urls) && err < 0; i++) {
        const char *url = sk_OPENSSL_STRING_value(urls, i);
        if (!is_plain_http(url))
            continue;
        memcpy(to, url, strlen(url) + 1);
        err = 0;
    }
    X509_email_free(urls);
    ERR_clear_error();
    return err;
}

int ocsp_request(const struct ocsp_subject *s, uint8_t **ret, size_t *ret_len) {
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), s->leaf, s->issuer); /* the digest that all responders know */
    uint8_t *der = NULL;
    int len = -1;
    if (request && id && OCSP_request_add0_id(request, id)) {
        id = NULL; /* the request's now */
        len = i2d_OCSP_REQUEST(request, &der);
    }
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    if (len <= 0)
        return ERR_CRYPTO;
    *ret = der;
    *ret_len = (size_t)len;
    return 0;
}

int ocsp_file_name(struct span leaf, char to[static OCSP_FILE_NAME_MAX]) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (EVP_Digest(leaf.p, leaf.len, digest, &len, EVP_sha256(), NULL) != 1)
        return ERR_CRYPTO;
    struct text t = text_of(to, OCSP_FILE_NAME_MAX);
    text_add_hex(&t, span_of(digest, len));
    text_add(&t, OCSP_FILE_NAME_TAIL);
    return 0;
}

/* ---- the answer ---- */

const char *ocsp_says_name(enum ocsp_says says) {
    return says == OCSP_SAYS_GOOD ? "good" : says == OCSP_SAYS_REVOKED ? "revoked" : "unknown";
}

int64_t ocsp_fetched_until(const struct ocsp_answer *a) {
    return a->until ? a->until : a->from + DAY_S;
}

/* Signed by the issuer, or by one whom the issuer let sign responses: the issuer is all the trust there is. */
static bool is_signed(OCSP_BASICRESP *basic, const struct ocsp_subject *s) {
    X509_STORE *store = X509_STORE_new();
    bool ok =
        store && X509_STORE_add_cert(store, s->issuer) == 1 && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
    STACK_OF(X509) *helpers = s->others ? sk_X509_dup(s->others) : sk_X509_new_null();
    ok = ok && helpers && sk_X509_push(helpers, s->issuer) > 0 && OCSP_basic_verify(basic, helpers, store, 0) == 1;
    sk_X509_free(helpers);
    X509_STORE_free(store);
    return ok;
}

/* The certificate's single response: the id may be made with any hash, so each is tried with its own. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const struct ocsp_subject *s) {
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        OCSP_CERTID *theirs = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single); /* its getters take no const */
        ASN1_OBJECT *hash = NULL;
        if (OCSP_id_get0_info(NULL, &hash, NULL, NULL, theirs) != 1)
            continue;
        const EVP_MD *md = EVP_get_digestbyobj(hash);
        OCSP_CERTID *ours = md ? OCSP_cert_to_id(md, s->leaf, s->issuer) : NULL;
        bool same = ours && OCSP_id_cmp(ours, theirs) == 0;
        OCSP_CERTID_free(ours);
        if (same)
            return single;
    }
    return NULL;
}

/* 0 is no time of ours: nothing here is that old. */
static int64_t time_of(const ASN1_GENERALIZEDTIME *t) {
    struct tm tm;
    return t && ASN1_TIME_to_tm(t, &tm) == 1 ? MAX((int64_t)timegm(&tm), 0) : 0;
}

static int read_single(OCSP_SINGLERESP *single, struct ocsp_answer *ret, struct text *why) {
    ASN1_GENERALIZEDTIME *this_update = NULL, *next_update = NULL, *revoked = NULL;
    int status = OCSP_single_get0_status(single, NULL, &revoked, &this_update, &next_update);
    const struct ocsp_answer a = {.says = status == V_OCSP_CERTSTATUS_GOOD      ? OCSP_SAYS_GOOD
                                          : status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_SAYS_REVOKED
                                                                                : OCSP_SAYS_UNKNOWN,
                                  .from = time_of(this_update),
                                  .until = time_of(next_update),
                                  .revoked = time_of(revoked)};
    if (!a.from || (next_update && !a.until) || (next_update && a.until <= a.from)) {
        text_add(why, "its times cannot be read, or end before they begin");
        return ERR_FORMAT;
    }
    *ret = a;
    return 0;
}

static int read_basic(OCSP_BASICRESP *basic, const struct ocsp_subject *s, struct ocsp_answer *ret, struct text *why) {
    OCSP_SINGLERESP *single = find_single(basic, s);
    if (!single)
        text_addf(why, "the response is not about the certificate in %s", s->file);
    else if (!is_signed(basic, s))
        text_add(why, "the response is not signed by the certificate's issuer, nor by whom the issuer lets sign");
    else
        return read_single(single, ret, why);
    return ERR_FORMAT;
}

int ocsp_read(struct span der, const struct ocsp_subject *s, struct ocsp_answer *ret, struct text *why) {
    const uint8_t *p = der.p;
    OCSP_RESPONSE *response = der.len && der.len <= INT32_MAX ? d2i_OCSP_RESPONSE(NULL, &p, (long)der.len) : NULL;
    OCSP_BASICRESP *basic = NULL;
    int err = ERR_FORMAT;
    if (!response || p != der.p + der.len) {
        text_add(why, "found no OCSP response, expected one in DER");
    } else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        text_addf(why, "the responder answered \"%s\", expected \"successful\"",
                  OCSP_response_status_str(OCSP_response_status(response)));
    } else {
        basic = OCSP_response_get1_basic(response);
        if (basic)
            err = read_basic(basic, s, ret, why);
        else
            text_add(why, "the response is of no kind we know");
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return err;
}
