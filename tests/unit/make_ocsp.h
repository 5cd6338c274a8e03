/* OCSP responses for tests, made by libcrypto. */
#pragma once

#include <openssl/ocsp.h>

#include "make_cert.h"

struct make_ocsp {
    X509 *cert, *issuer;
    X509 *signer; /* who signs; goes along with the response */
    EVP_PKEY *signer_key;
    int status;              /* V_OCSP_CERTSTATUS_* */
    long begins_s, ends_s;   /* thisUpdate and nextUpdate, from now */
    bool without_end;        /* no nextUpdate */
    int response_status;     /* OCSP_RESPONSE_STATUS_* */
    const EVP_MD *id_digest; /* NULL = SHA-1, as responders do */
};

static inline void make_ocsp_file(const char *path, const struct make_ocsp *m) {
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(m->id_digest ? m->id_digest : EVP_sha1(), m->cert, m->issuer);
    ASN1_TIME *from = X509_gmtime_adj(NULL, m->begins_s), *until = X509_gmtime_adj(NULL, m->ends_s);
    ASN1_TIME *revoked = X509_gmtime_adj(NULL, -1000);
    make_must(basic && id && from && until && revoked, "OCSP response");
    make_must(OCSP_basic_add1_status(basic, id, m->status, 0, m->status == V_OCSP_CERTSTATUS_REVOKED ? revoked : NULL, from,
                                     m->without_end ? NULL : until) != NULL,
              "OCSP status");
    make_must(OCSP_basic_sign(basic, m->signer, m->signer_key, EVP_sha256(), NULL, 0) == 1, "OCSP signature");
    OCSP_RESPONSE *response = OCSP_response_create(m->response_status, m->response_status ? NULL : basic);
    uint8_t *der = NULL;
    int len = i2d_OCSP_RESPONSE(response, &der);
    make_must(len > 0, "OCSP response");
    make_file(path, der, (size_t)len);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(response);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    ASN1_TIME_free(revoked);
}
