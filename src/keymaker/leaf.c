#include "keymaker/leaf.h"

#include <openssl/x509v3.h>
#include <string.h>

#include "base/base64url.h"

static bool is_same_name(const GENERAL_NAME *n, const char *name) {
    uint8_t ip[16];
    size_t ip_len = managed_name_address(name, ip);
    const ASN1_STRING *s = n->type == GEN_DNS ? n->d.dNSName : n->type == GEN_IPADD ? n->d.iPAddress : NULL;
    if (!s || (n->type == GEN_IPADD) != (ip_len > 0))
        return false;
    const char *data = (const char *)ASN1_STRING_get0_data(s);
    size_t len = (size_t)ASN1_STRING_length(s);
    return ip_len ? len == ip_len && memcmp(data, ip, len) == 0 : len == strlen(name) && strncasecmp(data, name, len) == 0;
}

bool leaf_names_are(X509 *leaf, const struct conf_managed *cert) {
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    int n = sk_GENERAL_NAME_num(names);
    bool right = n == (int)cert->nnames;
    for (size_t i = 0; right && i < cert->nnames; i++) {
        bool found = false;
        for (int k = 0; k < n && !found; k++)
            found = is_same_name(sk_GENERAL_NAME_value(names, k), cert->names[i]);
        right = found;
    }
    GENERAL_NAMES_free(names);
    return right;
}

bool leaf_chain_holds(const struct cert_chain *chain) {
    X509 *subject = chain->leaf;
    for (int i = 0; i < sk_X509_num(chain->others); i++) {
        X509 *issuer = sk_X509_value(chain->others, i);
        if (X509_check_issued(issuer, subject) != X509_V_OK)
            return false;
        subject = issuer;
    }
    return true;
}

bool leaf_ari(X509 *leaf, struct text *to) {
    const ASN1_OCTET_STRING *id = X509_get0_authority_key_id(leaf);
    uint8_t *der = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(leaf), &der);
    bool ok = id && len > 2 && len < 128; /* so its length has one byte */
    if (ok) {
        base64url_add(to, span_of(ASN1_STRING_get0_data(id), (size_t)ASN1_STRING_length(id)));
        text_add(to, ".");
        base64url_add(to, span_of(der + 2, (size_t)len - 2)); /* the content: a leading zero of high numbers is part of it */
    }
    OPENSSL_free(der);
    return ok && !to->cut;
}
