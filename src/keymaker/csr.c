#include "keymaker/csr.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/base64url.h"
#include "base/err.h"

static bool add_requested_name(GENERAL_NAMES *to, const char *name) {
    uint8_t ip[16];
    size_t ip_len = managed_name_address(name, ip);
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_STRING *s = ip_len ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    const void *data = ip_len ? (const void *)ip : name;
    if (!n || !s || ASN1_STRING_set(s, data, (int)(ip_len ? ip_len : strlen(name))) != 1 || !sk_GENERAL_NAME_push(to, n)) {
        GENERAL_NAME_free(n);
        ASN1_STRING_free(s);
        return false;
    }
    GENERAL_NAME_set0_value(n, ip_len ? GEN_IPADD : GEN_DNS, s);
    return true;
}

static bool add_names(X509_REQ *q, const struct conf_managed *cert) {
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    STACK_OF(X509_EXTENSION) *extensions = NULL;
    bool ok = names != NULL;
    for (size_t i = 0; ok && i < cert->nnames; i++)
        ok = add_requested_name(names, cert->names[i]);
    ok = ok && X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1 &&
         X509_REQ_add_extensions(q, extensions) == 1;
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    return ok;
}

int csr_make(const struct conf_managed *cert, EVP_PKEY *key, struct text *to) {
    uint8_t *der = NULL;
    int len = -1;
    X509_REQ *q = X509_REQ_new();
    if (q && X509_REQ_set_version(q, X509_REQ_VERSION_1) == 1 && X509_REQ_set_pubkey(q, key) == 1 && add_names(q, cert) &&
        X509_REQ_sign(q, key, EVP_sha256()) > 0)
        len = i2d_X509_REQ(q, &der);
    if (len > 0)
        base64url_add(to, span_of(der, (size_t)len));
    OPENSSL_free(der);
    X509_REQ_free(q);
    ERR_clear_error();
    return len <= 0 ? ERR_CRYPTO : to->cut ? ERR_LIMIT : 0;
}
