#include "tls/client_names.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/err.h"
#include "tls/client_auth.h"
#include "tls/sha2.h"

/* One name of the certificate after the other is held against the rules; the best so far is remembered. */
struct search {
    const struct client_rule *rules;
    size_t nrules;
    size_t best; /* the rule that lets it in, or without rules the rank of the kind; SIZE_MAX = none yet */
    bool too_long;
    struct client_id *id;
};

/* Without rules: which kind of name is the most specific. */
static size_t source_rank(enum identity_source by) {
    static const uint8_t ranks[IDENTITY_COUNT] = {[IDENTITY_URI] = 1, [IDENTITY_DNS] = 2, [IDENTITY_CN] = 3, [IDENTITY_OU] = 4};
    return ranks[by] ? ranks[by] : SIZE_MAX;
}

static size_t rule_that_takes(const struct search *s, enum identity_source by, struct span value) {
    if (s->nrules == 0)
        return source_rank(by);
    for (size_t i = 0; i < s->nrules; i++)
        if (client_rule_takes(&s->rules[i], by, value))
            return i;
    return SIZE_MAX;
}

static void consider_name(struct search *s, enum identity_source by, struct span value) {
    size_t found = value.len ? rule_that_takes(s, by, value) : SIZE_MAX;
    bool later_cn = found == s->best && by == IDENTITY_CN && s->nrules == 0; /* of several the last is the most specific */
    if ((found >= s->best && !later_cn) || found == SIZE_MAX || (s->nrules == 0 && value.len > CLIENT_NAME_MAX))
        return;
    s->too_long = value.len > CLIENT_NAME_MAX;
    s->best = found;
    if (s->too_long)
        return;
    s->id->identity_source = (uint8_t)by;
    s->id->name_len = (uint16_t)value.len;
    memcpy(s->id->name, value.p, value.len);
}

static int hold_alternative_names(struct search *s, X509 *cert) {
    int critical = 0;
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, &critical, NULL);
    if (!names)
        return critical == -1 ? 0 : ERR_CLIENT_CERT_BAD; /* not there, or not readable or there twice */
    int n = sk_GENERAL_NAME_num(names);
    for (int i = 0; i < n && n <= CLIENT_NAMES_MAX; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_DNS && name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *text = name->type == GEN_DNS ? name->d.dNSName : name->d.uniformResourceIdentifier;
        consider_name(s, name->type == GEN_DNS ? IDENTITY_DNS : IDENTITY_URI,
                      span_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
    }
    GENERAL_NAMES_free(names);
    return n <= CLIENT_NAMES_MAX ? 0 : ERR_CLIENT_CERT_LARGE;
}

static void keep_cn(struct client_id *id, struct span cn) {
    id->cn_len = (uint8_t)cn.len;
    memcpy(id->cn, cn.p, cn.len);
}

/* Each value of a kind in the subject, as UTF-8; one with a zero byte is no text. */
static void hold_subject(struct search *s, X509 *cert, int nid, enum identity_source by) {
    const X509_NAME *subject = X509_get_subject_name(cert);
    for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
        uint8_t *utf8 = NULL;
        int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
        if (len > 0 && !memchr(utf8, 0, (size_t)len)) {
            consider_name(s, by, span_of(utf8, (size_t)len));
            if (by == IDENTITY_CN && len <= CLIENT_CN_MAX)
                keep_cn(s->id, span_of(utf8, (size_t)len));
        }
        OPENSSL_free(utf8);
    }
}

static void spki_digest(struct span bytes, uint8_t ret[static 32]) {
    uint8_t out[HASH_LEN_MAX];
    union sha2 s;
    sha2_begin(HASH_SHA256, &s);
    sha2_add(HASH_SHA256, &s, bytes.p, bytes.len);
    sha2_end(HASH_SHA256, &s, out);
    memcpy(ret, out, 32);
}

/* The key by its pin: named by the digest in hexadecimal digits. */
static int hold_key(struct search *s, X509 *cert) {
    char hex[2 * 32 + 1];
    uint8_t *der = NULL, pin[32];
    struct text t = text_of(hex, sizeof(hex));
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (len <= 0)
        return ERR_CLIENT_CERT_BAD;
    spki_digest(span_of(der, (size_t)len), pin);
    OPENSSL_free(der);
    size_t found = s->nrules ? rule_that_takes(s, IDENTITY_SPKI, span_of(pin, sizeof(pin))) : SIZE_MAX;
    if (found >= s->best)
        return 0;
    text_add_hex(&t, span_of(pin, sizeof(pin)));
    s->best = found;
    s->too_long = false;
    s->id->identity_source = IDENTITY_SPKI;
    s->id->name_len = (uint16_t)t.len;
    memcpy(s->id->name, hex, t.len);
    return 0;
}

static int identify(X509 *cert, struct client_id *id) {
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    int len = ASN1_STRING_length(serial);
    id->serial_len = (uint8_t)MIN(MAX(len, 0), CLIENT_SERIAL_MAX); /* RFC 5280 4.1.2.2: at most 20 */
    if (id->serial_len)
        memcpy(id->serial, ASN1_STRING_get0_data(serial), id->serial_len);
    uint8_t *der = NULL;
    int n = i2d_X509(cert, &der);
    if (n <= 0)
        return ERR_CLIENT_CERT_BAD;
    spki_digest(span_of(der, (size_t)n), id->fingerprint);
    OPENSSL_free(der);
    return 0;
}

int client_names_judge(X509 *cert, const struct client_rule *rules, size_t nrules, struct client_id *ret) {
    struct search s = {.rules = rules, .nrules = nrules, .best = SIZE_MAX, .id = ret};
    int err = identify(cert, ret);
    if (err == 0)
        err = hold_alternative_names(&s, cert);
    if (err == 0) {
        hold_subject(&s, cert, NID_commonName, IDENTITY_CN);
        hold_subject(&s, cert, NID_organizationalUnitName, IDENTITY_OU);
        err = hold_key(&s, cert);
    }
    if (err == 0 && ret->identity_source == IDENTITY_CN && ret->name_len <= CLIENT_CN_MAX) /* there may be others */
        keep_cn(ret, span_of(ret->name, ret->name_len));
    ERR_clear_error();
    if (err < 0)
        return err;
    if (s.too_long)
        return ERR_CLIENT_CERT_LARGE;
    return nrules == 0 || s.best != SIZE_MAX ? 0 : ERR_CLIENT_NOT_ALLOWED;
}

static void add_shown_name(struct text *to, const char *what, const X509_NAME *name) {
    char line[160] = "";
    BIO *bio = BIO_new(BIO_s_mem());
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        int n = BIO_read(bio, line, sizeof(line) - 1);
        line[n > 0 ? n : 0] = 0;
    }
    BIO_free(bio);
    text_addf(to, "%s%s", what, line[0] ? line : "(empty)");
}

void client_names_describe(X509 *cert, int depth, struct text *to) {
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    if (depth > 0)
        text_addf(to, "certificate %d of the chain: ", depth);
    add_shown_name(to, "", X509_get_subject_name(cert));
    add_shown_name(to, ", issued by ", X509_get_issuer_name(cert));
    text_add(to, ", serial ");
    int len = ASN1_STRING_length(serial);
    text_add_hex(to, span_of(ASN1_STRING_get0_data(serial), (size_t)MIN(MAX(len, 0), CLIENT_SERIAL_MAX)));
    ERR_clear_error();
}
