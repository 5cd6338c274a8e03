#include "acme/challenge_cert.h"

#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <string.h>

#define VALID_S    (7 * 86400L)
#define IDENTIFIER "1.3.6.1.5.5.7.1.31" /* id-pe-acmeIdentifier */

/* Critical: an OCTET STRING of the digest, in the OCTET STRING that every extension is. */
static bool add_identifier(X509 *x, const char *key_authorization) {
    uint8_t der[2 + SHA256_DIGEST_LENGTH] = {V_ASN1_OCTET_STRING, SHA256_DIGEST_LENGTH};
    (void)SHA256((const uint8_t *)key_authorization, strlen(key_authorization), der + 2);
    ASN1_OBJECT *id = OBJ_txt2obj(IDENTIFIER, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *e = NULL;
    if (id && value && ASN1_OCTET_STRING_set(value, der, sizeof(der)) == 1)
        e = X509_EXTENSION_create_by_OBJ(NULL, id, 1, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;
    X509_EXTENSION_free(e);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(id);
    return ok;
}

static bool add_alt_name(X509 *x, const char *name) {
    uint8_t ip[16];
    size_t ip_len = managed_name_address(name, ip);
    const void *data = ip_len ? (const void *)ip : name;
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *n = GENERAL_NAME_new();
    ASN1_STRING *s = ip_len ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    bool ok = names && n && s && ASN1_STRING_set(s, data, (int)(ip_len ? ip_len : strlen(name))) == 1 &&
              sk_GENERAL_NAME_push(names, n);
    if (ok) {
        GENERAL_NAME_set0_value(n, ip_len ? GEN_IPADD : GEN_DNS, s);
        ok = X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT) == 1;
    } else {
        GENERAL_NAME_free(n);
        ASN1_STRING_free(s);
    }
    GENERAL_NAMES_free(names);
    return ok;
}

X509 *challenge_cert(const struct challenge *c, EVP_PKEY *key) {
    X509 *x = X509_new();
    X509_NAME *subject = x ? X509_get_subject_name(x) : NULL;
    bool ok = x && X509_set_version(x, X509_VERSION_3) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(x), -VALID_S) && X509_gmtime_adj(X509_getm_notAfter(x), VALID_S) &&
              X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)"tls-alpn-01", -1, -1, 0) == 1 &&
              X509_set_issuer_name(x, subject) == 1 && X509_set_pubkey(x, key) == 1 && add_alt_name(x, c->identifier) &&
              add_identifier(x, c->key_authorization) && X509_sign(x, key, EVP_sha256()) > 0;
    if (ok)
        return x;
    X509_free(x);
    return NULL;
}
