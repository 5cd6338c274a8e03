#include "tls/ocsp_file.h"

#include <limits.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509_vfy.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "tls/pem_scan.h"

void ocsp_file_fini(struct ocsp_file *o) {
    pem_file_fini(&o->bytes);
}

static int ocsp_error(struct text *why, const char *file, const char *message) {
    text_addf(why, "%s: %s", file, message);
    return ERR_FORMAT;
}

/* The first of the two names that is there. */
static bool find_file(const char *cert_file, char room[static PATH_MAX]) {
    size_t len = strlen(cert_file);
    size_t stem =
        len > 4 && (strcmp(cert_file + len - 4, ".pem") == 0 || strcmp(cert_file + len - 4, ".crt") == 0) ? len - 4 : 0;
    for (int i = stem ? 0 : 1; i < 2; i++) {
        struct text t = text_of(room, PATH_MAX);
        text_add_span(&t, span_of(cert_file, i == 0 ? stem : len));
        text_add(&t, ".ocsp");
        if (!t.cut && access(room, F_OK) == 0)
            return true;
    }
    return false;
}

/* Who issued the leaf, as the chain has it: the next certificate, or itself. */
static X509 *issuer_of(const struct cert_chain *c) {
    if (sk_X509_num(c->others) > 0 && X509_check_issued(sk_X509_value(c->others, 0), c->leaf) == X509_V_OK)
        return sk_X509_value(c->others, 0);
    return X509_check_issued(c->leaf, c->leaf) == X509_V_OK ? c->leaf : NULL;
}

/* Signed by the issuer, or by one whom the issuer let sign responses: the issuer is all the trust there is. */
static bool is_signed(OCSP_BASICRESP *basic, const struct cert_chain *c, X509 *issuer) {
    X509_STORE *store = X509_STORE_new();
    bool ok = store && X509_STORE_add_cert(store, issuer) == 1 && X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
    STACK_OF(X509) *helpers = sk_X509_dup(c->others);
    ok = ok && helpers && sk_X509_push(helpers, issuer) > 0 && OCSP_basic_verify(basic, helpers, store, 0) == 1;
    sk_X509_free(helpers);
    X509_STORE_free(store);
    return ok;
}

/* The certificate's single response: the id may be made with any hash, so each is tried with its own. */
static OCSP_SINGLERESP *find_single(OCSP_BASICRESP *basic, const struct cert_chain *c, X509 *issuer) {
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
        OCSP_CERTID *theirs = (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(single); /* its getters take no const */
        ASN1_OBJECT *hash = NULL;
        if (OCSP_id_get0_info(NULL, &hash, NULL, NULL, theirs) != 1)
            continue;
        const EVP_MD *md = EVP_get_digestbyobj(hash);
        OCSP_CERTID *ours = md ? OCSP_cert_to_id(md, c->leaf, issuer) : NULL;
        bool same = ours && OCSP_id_cmp(ours, theirs) == 0;
        OCSP_CERTID_free(ours);
        if (same)
            return single;
    }
    return NULL;
}

static int64_t time_of(const ASN1_GENERALIZEDTIME *t) {
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : INT64_MIN;
}

static int judge_single(OCSP_SINGLERESP *single, const char *file, int64_t now, struct ocsp_file *o, struct text *why) {
    ASN1_GENERALIZEDTIME *this_update = NULL, *next_update = NULL;
    int status = OCSP_single_get0_status(single, NULL, NULL, &this_update, &next_update);
    if (status != V_OCSP_CERTSTATUS_GOOD) {
        text_addf(why, "%s: found status \"%s\", expected \"good\"", file, OCSP_cert_status_str(status));
        return ERR_FORMAT;
    }
    o->from = this_update ? time_of(this_update) : INT64_MIN;
    o->until = next_update ? time_of(next_update) : CREDS_NEVER;
    if (o->from == INT64_MIN || o->until == INT64_MIN)
        return ocsp_error(why, file, "its times cannot be read");
    if (o->until > now)
        return 0;
    char date[32];
    struct tm tm;
    time_t until = (time_t)o->until;
    if (!gmtime_r(&until, &tm) || strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm) == 0)
        memcpy(date, "?", 2);
    text_addf(why, "%s: the response ended on %s UTC, expected a newer one", file, date);
    return ERR_FORMAT;
}

static int check_basic(OCSP_BASICRESP *basic, const struct cert_chain *c, const char *file, int64_t now, struct ocsp_file *o,
                       struct text *why) {
    X509 *issuer = issuer_of(c);
    if (!issuer) {
        text_addf(why, "%s: cannot be checked: expected the issuer's certificate as the second one in %s", file, c->file);
        return ERR_FORMAT;
    }
    OCSP_SINGLERESP *single = find_single(basic, c, issuer);
    if (!single) {
        text_addf(why, "%s: the response is not about the certificate in %s", file, c->file);
        return ERR_FORMAT;
    }
    if (!is_signed(basic, c, issuer))
        return ocsp_error(why, file,
                          "the response is not signed by the certificate's issuer, nor by whom the issuer lets sign");
    return judge_single(single, file, now, o, why);
}

/* PEM is the usual mistake. */
static void explain_blocks(const struct ocsp_file *o, struct text *why) {
    char message[1];
    struct text unused = text_of(message, sizeof(message));
    struct pem_scan s = pem_scan_of(pem_file_span(&o->bytes), "");
    struct pem_block b;
    if (pem_scan_next(&s, &b, &unused) == STEP_DONE)
        text_addf(why, "; block %u (line %u) is \"%.*s\" in PEM", b.n, b.line, (int)b.label.len, (const char *)b.label.p);
}

static int parse_response(const struct cert_chain *c, const char *file, int64_t now, struct ocsp_file *o, struct text *why) {
    const uint8_t *p = o->bytes.p, *end = p + o->bytes.len;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &p, (long)o->bytes.len);
    OCSP_BASICRESP *basic = NULL;
    int err = 0;
    if (!response || p != end) {
        err = ocsp_error(why, file, "found no OCSP response, expected one in DER");
        explain_blocks(o, why);
    } else if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        text_addf(why, "%s: the responder answered \"%s\", expected \"successful\"", file,
                  OCSP_response_status_str(OCSP_response_status(response)));
        err = ERR_FORMAT;
    } else {
        basic = OCSP_response_get1_basic(response);
        err = basic ? check_basic(basic, c, file, now, o, why) : ocsp_error(why, file, "the response is of no kind we know");
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    return err;
}

int ocsp_file_load(const struct cert_chain *c, int64_t now, struct ocsp_file *ret, struct text *why) {
    char file[PATH_MAX];
    *ret = (struct ocsp_file){.from = 0, .until = 0};
    if (!find_file(c->file, file))
        return 0;
    int err = pem_file_read(file, "an OCSP response", &ret->bytes, why);
    if (!err)
        err = parse_response(c, file, now, ret, why);
    if (err)
        ocsp_file_fini(ret);
    ERR_clear_error();
    return err;
}
