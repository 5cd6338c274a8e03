#include "tls/hs13_client.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "tls/client_auth.h"
#include "tls/libcrypto.h"

/* What a proof may be signed by (RFC 8446 4.2.3): scheme, digest, libcrypto's kind of key and its curve. */
static const struct proof {
    uint16_t scheme;
    const char *digest; /* NULL = of the key's own */
    const char *type;
    const char *curve;
} proofs[] = {
    {0x0403, "SHA256", "EC", "prime256v1"}, {0x0503, "SHA384", "EC", "secp384r1"}, {0x0603, "SHA512", "EC", "secp521r1"},
    {0x0807, NULL, "ED25519", NULL},        {0x0804, "SHA256", "RSA", NULL},       {0x0805, "SHA384", "RSA", NULL},
    {0x0806, "SHA512", "RSA", NULL},        {0x0809, "SHA256", "RSA-PSS", NULL},   {0x080a, "SHA384", "RSA-PSS", NULL},
    {0x080b, "SHA512", "RSA-PSS", NULL},
};

size_t hs13_signed_content(bool server, struct span digest, uint8_t to[static HANDSHAKE_TBS_MAX]) {
    static const char contexts[2][34] = {"TLS 1.3, client CertificateVerify", "TLS 1.3, server CertificateVerify"};
    struct wr w = wr_of(to, HANDSHAKE_TBS_MAX);
    memset(wr_room(&w, 64), ' ', 64);
    wr_bytes(&w, contexts[server], sizeof(contexts[0])); /* its zero separates, too */
    wr_span(&w, digest);
    MUST(wr_end(&w));
    return w.len;
}

/* ---- Certificate ---- */

struct client_chain {
    struct span leaf; /* DER */
    struct span rest; /* the entries behind it */
    size_t n;
};

/* Lengths and counts, before anything is decoded. */
static int read_client_chain(const struct client_auth *rules, struct span body, struct client_chain *ret, struct text *why) {
    struct rd r = rd_of(body);
    size_t max = client_auth_chain_max(rules);
    *ret = (struct client_chain){.n = 0};
    if (body.len > client_auth_bytes_max(rules))
        return ERR_CLIENT_CERT_LARGE;
    struct span context = rd_vec8(&r), list = rd_vec24(&r);
    if (!rd_end(&r) || context.len)
        return ERR_RECORD_DECODE;
    for (struct rd entries = rd_of(list); rd_left(&entries); ret->n++) {
        struct span der = rd_vec24(&entries), extensions = rd_vec16(&entries);
        if (entries.bad || der.len == 0)
            return ERR_RECORD_DECODE;
        if (extensions.len)
            return ERR_CLIENT_CERT_EXTENSION;
        if (ret->n == 0) {
            ret->leaf = der;
            ret->rest = span_of(entries.p, rd_left(&entries));
        }
    }
    if (ret->n <= max)
        return 0;
    text_addf(why, "found %zu certificates, expected at most %zu", ret->n, max);
    return ERR_CLIENT_CERT_DEPTH;
}

static X509 *decode_client_cert(struct span der) {
    const uint8_t *p = der.p;
    X509 *x = d2i_X509(NULL, &p, (long)der.len);
    if (x && p == der.p + der.len)
        return x;
    X509_free(x);
    return NULL;
}

/* Only the leaf's key has to be one that we know: the rest may be of no use (RFC 8446 4.4.2). */
static X509 *decode_leaf(struct span der) {
    X509 *x = decode_client_cert(der);
    if (x && X509_get0_pubkey(x))
        return x;
    X509_free(x);
    return NULL;
}

/* The certificates behind the leaf, from their entries; NULL when one of them cannot be read. */
static STACK_OF(X509) * decode_rest(struct span list) {
    STACK_OF(X509) *rest = sk_X509_new_null();
    for (struct rd entries = rd_of(list); rest && rd_left(&entries);) {
        X509 *x = decode_client_cert(rd_vec24(&entries));
        (void)rd_vec16(&entries); /* empty */
        if (!x || !sk_X509_push(rest, x)) {
            X509_free(x);
            sk_X509_pop_free(rest, X509_free);
            return NULL;
        }
    }
    return rest;
}

int hs13_keep_certificate(struct hs13 *h, struct span der) {
    if (!h->server->reports_client_cert || der.len == 0 || der.len > CLIENT_CERT_MAX)
        return 0;
    h->client_der = malloc(der.len);
    if (!h->client_der)
        return ERR_NOMEM;
    memcpy(h->client_der, der.p, der.len);
    h->client_der_len = (uint16_t)der.len;
    return 0;
}

static int keep_rest(struct hs13 *h, struct span entries) {
    if (entries.len == 0)
        return 0;
    h->client_rest = malloc(entries.len);
    if (!h->client_rest)
        return ERR_NOMEM;
    memcpy(h->client_rest, entries.p, entries.len);
    h->client_rest_len = (uint32_t)entries.len;
    return 0;
}

static int take_client_chain(struct hs13 *h, const struct client_chain *c) {
    h->client = calloc(1, sizeof(*h->client));
    if (!h->client)
        return ERR_NOMEM;
    h->client_cert = decode_leaf(c->leaf);
    h->client_cert_len = h->client_cert ? (uint32_t)c->leaf.len : 0;
    STACK_OF(X509) *rest = h->client_cert ? decode_rest(c->rest) : NULL;
    int err =
        rest ? client_auth_judge(h->server->clients, h->client_cert, rest, h->client, &h->why, NULL) : ERR_CLIENT_CERT_BAD;
    sk_X509_pop_free(rest, X509_free);
    if (!err)
        err = keep_rest(h, c->rest);
    return err ? err : hs13_keep_certificate(h, c->leaf);
}

int hs13_settle_client(struct hs13 *h) {
    const struct client_auth *rules = h->server->clients;
    bool changed = memcmp(h->rules, h->server->binding, sizeof(h->rules)) != 0;
    if (!rules)
        return 0;
    STACK_OF(X509) *rest = changed ? decode_rest(span_of(h->client_rest, h->client_rest_len)) : NULL;
    int err = changed && !rest ? ERR_NOMEM : client_auth_settle(rules, changed, h->client_cert, rest, h->client, &h->why);
    sk_X509_pop_free(rest, X509_free);
    return err;
}

int hs13_take_certificate(struct hs13 *h, struct span body) {
    struct client_chain c;
    int err = read_client_chain(h->server->clients, body, &c, &h->why);
    memcpy(h->rules, h->server->binding, sizeof(h->rules));
    if (err == 0 && c.n == 0 && client_auth_required(h->server->clients))
        err = ERR_CLIENT_CERT_MISSING;
    if (err == 0 && c.n > 0)
        err = take_client_chain(h, &c);
    err = libcrypto_reason(err);
    if (err < 0)
        return err;
    h->identity_settled = true;
    h->proof_settled = c.n == 0; /* nothing is claimed */
    h->state = c.n > 0 ? HS13_CERT_VERIFY : HS13_FINISH;
    return 0;
}

/* ---- CertificateVerify ---- */

/* The row of SCHEME when a key of this kind may prove by it. */
static const struct proof *proof_of(uint16_t scheme, const EVP_PKEY *key) {
    char curve[32] = "";
    for (size_t i = 0; i < ARRAY_LEN(proofs); i++) {
        const struct proof *p = &proofs[i];
        if (p->scheme != scheme || !EVP_PKEY_is_a(key, p->type))
            continue;
        if (!p->curve || (EVP_PKEY_get_group_name(key, curve, sizeof(curve), NULL) == 1 && strcmp(curve, p->curve) == 0))
            return p;
    }
    return NULL;
}

static bool verify_proof(const struct proof *p, EVP_PKEY *key, struct span content, struct span signature) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    bool pss = strncmp(p->type, "RSA", 3) == 0;
    bool good = md && EVP_DigestVerifyInit_ex(md, &ctx, p->digest, NULL, NULL, key, NULL) == 1;
    if (good && pss)
        good = EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    good = good && EVP_DigestVerify(md, signature.p, signature.len, content.p, content.len) == 1;
    EVP_MD_CTX_free(md);
    return good;
}

int hs13_take_certificate_verify(struct hs13 *h, struct span body) {
    uint8_t digest[HASH_LEN_MAX], content[HANDSHAKE_TBS_MAX];
    struct rd r = rd_of(body);
    uint16_t scheme = rd_u16(&r);
    struct span signature = rd_vec16(&r);
    if (!rd_end(&r))
        return ERR_RECORD_DECODE;
    EVP_PKEY *key = X509_get0_pubkey(h->client_cert);
    const struct proof *p = key ? proof_of(scheme, key) : NULL;
    if (!p)
        return ERR_RECORD_ILLEGAL;
    hs13_keys_digest(&h->keys, digest);
    size_t len = hs13_signed_content(false, span_of(digest, hash_len(h->suite->hash)), content);
    int err = libcrypto_reason(verify_proof(p, key, span_of(content, len), signature) ? 0 : ERR_CLIENT_CERT_PROOF);
    if (err < 0)
        return err;
    h->proof_settled = true;
    h->state = HS13_FINISH;
    return 0;
}
