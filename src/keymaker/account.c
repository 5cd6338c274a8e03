#include "keymaker/account.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base64url.h"
#include "base/durable.h"
#include "base/err.h"
#include "keymaker/csr.h"
#include "keymaker/installed.h"
#include "keymaker/jws.h"
#include "keymaker/key_file.h"
#include "tls/pem_file.h"

#define JWK_MAX     160
#define HEADER_MAX  (JWK_MAX + KEYMAKING_NONCE_MAX + 2 * KEYMAKING_URL_MAX + 128)
#define PAYLOAD_MAX (32 * 1024)
#define EAB_KEY_MIN 32 /* bytes: those of HS256 (RFC 7518 3.2) */

struct key_path {
    char p[PATH_MAX];
};

static const char *key_path(struct key_path *to, const struct accounts *a, uint16_t issuer, const char *suffix) {
    struct text t = text_of(to->p, sizeof(to->p));
    text_addf(&t, "%s/accounts/%s.%s", a->conf->dir, a->conf->issuers[issuer].name, suffix);
    return to->p;
}

/* One line of base64url, as issuers give it out. */
static int read_eab(struct accounts *a, size_t i, struct text *why) {
    const char *file = a->conf->issuers[i].eab_key_file;
    struct pem_file f;
    int err = pem_file_read(file, "a key in base64url", &f, why);
    if (err < 0)
        return err;
    struct span s = pem_file_span(&f);
    while (s.len && (s.p[s.len - 1] == '\n' || s.p[s.len - 1] == '\r' || s.p[s.len - 1] == '='))
        s.len--;
    err = base64url_read(s, a->eab[i].key, ACCOUNT_EAB_MAX, &a->eab[i].len);
    pem_file_fini(&f);
    if (err == 0 && a->eab[i].len >= EAB_KEY_MIN)
        return 0;
    text_addf(why, "%s: found no key for external account binding, expected one line of base64url, %d bytes or more", file,
              EAB_KEY_MIN);
    return ERR_FORMAT;
}

int accounts_init(struct accounts *a, const struct conf_acme *conf, struct text *why) {
    a->conf = conf;
    int err = 0;
    for (size_t i = 0; i < conf->nissuers && err == 0; i++)
        if (conf->issuers[i].eab_kid)
            err = read_eab(a, i, why);
    return err;
}

/* ---- headers ---- */

/* By the account, or by the key itself while there is none (RFC 8555 6.2). */
static int put_header(const struct keymaking_request *q, const EVP_PKEY *key, struct text *to) {
    int err = 0;
    text_add(to, "{\"alg\":\"ES256\",");
    if (q->op == KEYMAKING_ACCOUNT) {
        text_add(to, "\"jwk\":");
        err = jws_jwk(key, to);
    } else {
        text_addf(to, "\"kid\":\"%.*s\"", (int)q->account.len, (const char *)q->account.p);
    }
    text_addf(to, ",\"nonce\":\"%.*s\",\"url\":\"%.*s\"}", (int)q->nonce.len, (const char *)q->nonce.p, (int)q->url.len,
              (const char *)q->url.p);
    return to->cut ? ERR_LIMIT : err;
}

/* ---- payloads ---- */

static void put_list(struct text *to, const char *const *texts, size_t n) {
    text_add(to, "[");
    for (size_t i = 0; i < n; i++)
        text_addf(to, "%s\"%s\"", i ? "," : "", texts[i]);
    text_add(to, "]");
}

/* RFC 8555 7.3.4. */
static int put_binding(const struct accounts *a, const struct keymaking_request *q, const EVP_PKEY *key, struct text *to) {
    char header[HEADER_MAX], jwk[JWK_MAX];
    struct text h = text_of(header, sizeof(header)), k = text_of(jwk, sizeof(jwk));
    text_addf(&h, "{\"alg\":\"HS256\",\"kid\":\"%s\",\"url\":\"%.*s\"}", a->conf->issuers[q->issuer].eab_kid, (int)q->url.len,
              (const char *)q->url.p);
    int err = jws_jwk(key, &k);
    text_add(to, ",\"externalAccountBinding\":");
    struct span mac_key = span_of(a->eab[q->issuer].key, a->eab[q->issuer].len);
    return err == 0 ? jws_mac(mac_key, span_of(header, h.len), span_of(jwk, k.len), to) : err;
}

static int put_account(const struct accounts *a, const struct keymaking_request *q, const EVP_PKEY *key, struct text *to) {
    const struct conf_issuer *issuer = &a->conf->issuers[q->issuer];
    int err = 0;
    text_add(to, "{\"termsOfServiceAgreed\":true");
    if (issuer->ncontact) {
        text_add(to, ",\"contact\":");
        put_list(to, issuer->contact, issuer->ncontact);
    }
    if (issuer->eab_kid)
        err = put_binding(a, q, key, to);
    text_add(to, "}");
    return err;
}

static int put_order(const struct conf_managed *cert, struct span data, struct text *to) {
    struct keymaking_order o;
    uint8_t ip[16];
    if (keymaking_unpack_order(data, &o) < 0 || !jws_is_plain(o.profile) || !jws_is_plain(o.replaces))
        return ERR_FORMAT;
    installed_forget_next_key(cert);
    text_add(to, "{\"identifiers\":[");
    for (size_t i = 0; i < cert->nnames; i++)
        text_addf(to, "%s{\"type\":\"%s\",\"value\":\"%s\"}", i ? "," : "",
                  managed_name_address(cert->names[i], ip) ? "ip" : "dns", cert->names[i]);
    text_add(to, "]");
    if (o.profile.len)
        text_addf(to, ",\"profile\":\"%.*s\"", (int)o.profile.len, (const char *)o.profile.p);
    if (o.replaces.len)
        text_addf(to, ",\"replaces\":\"%.*s\"", (int)o.replaces.len, (const char *)o.replaces.p);
    text_add(to, "}");
    return 0;
}

static int put_csr(const struct conf_managed *cert, struct text *to, struct text *why) {
    EVP_PKEY *key = NULL;
    int err = installed_next_key(cert, &key, why);
    text_add(to, "{\"csr\":\"");
    if (err == 0)
        err = csr_make(cert, key, to);
    text_add(to, "\"}");
    EVP_PKEY_free(key);
    return err;
}

static int put_revocation(const struct conf_managed *cert, struct span reason, struct text *to, struct text *why) {
    if (reason.len != 1 || reason.p[0] > 10)
        return ERR_FORMAT;
    text_add(to, "{\"certificate\":\"");
    int err = installed_der(cert, to, why);
    text_addf(to, "\",\"reason\":%u}", reason.p[0]);
    return err;
}

/* RFC 8555 7.3.5: signed by the new key inside, by the present one outside. */
static int put_key_change(const struct accounts *a, const struct keymaking_request *q, const EVP_PKEY *key, struct text *to,
                          struct text *why) {
    char header[HEADER_MAX], payload[HEADER_MAX];
    struct text h = text_of(header, sizeof(header)), p = text_of(payload, sizeof(payload));
    struct key_path path;
    EVP_PKEY *next = NULL;
    int err = key_file_ensure(key_path(&path, a, q->issuer, "next.key"), MANAGED_ECDSA_P256, &next, why);
    if (err < 0)
        return err;
    text_add(&h, "{\"alg\":\"ES256\",\"jwk\":");
    err = jws_jwk(next, &h);
    text_addf(&h, ",\"url\":\"%.*s\"}", (int)q->url.len, (const char *)q->url.p);
    text_addf(&p, "{\"account\":\"%.*s\",\"oldKey\":", (int)q->account.len, (const char *)q->account.p);
    if (err == 0)
        err = jws_jwk(key, &p);
    text_add(&p, "}");
    if (err == 0)
        err = h.cut || p.cut ? ERR_LIMIT : jws_sign(next, span_of(header, h.len), span_of(payload, p.len), to);
    EVP_PKEY_free(next);
    return err;
}

/* ---- requests ---- */

static int put_payload(const struct accounts *a, const struct keymaking_request *q, const EVP_PKEY *key, struct text *to,
                       struct text *why) {
    const struct conf_managed *cert = &a->conf->certs[q->cert];
    switch (q->op) {
    case KEYMAKING_ACCOUNT:
        return put_account(a, q, key, to);
    case KEYMAKING_FETCH:
        return 0;
    case KEYMAKING_CHALLENGE:
        text_add(to, "{}");
        return 0;
    case KEYMAKING_ORDER:
        return put_order(cert, q->data, to);
    case KEYMAKING_FINALIZE:
        return put_csr(cert, to, why);
    case KEYMAKING_REVOKE:
        return put_revocation(cert, q->data, to, why);
    case KEYMAKING_ROLLOVER:
        return put_key_change(a, q, key, to, why);
    default:
        return ERR_UNSUPPORTED;
    }
}

static int sign_request(const struct accounts *a, const struct keymaking_request *q, EVP_PKEY *key, struct text *to,
                        struct text *why) {
    static char payload[PAYLOAD_MAX];
    char header[HEADER_MAX];
    struct text h = text_of(header, sizeof(header)), p = text_of(payload, sizeof(payload));
    bool plain = jws_is_plain(q->url) && jws_is_plain(q->nonce) && jws_is_plain(q->account);
    if (!plain || !span_has_prefix(q->url, "https://") || q->nonce.len == 0 ||
        (q->account.len == 0) != (q->op == KEYMAKING_ACCOUNT)) {
        text_add(why, "what is to be signed is not of a form that is signed");
        return ERR_FORMAT;
    }
    int err = put_header(q, key, &h);
    if (err == 0)
        err = put_payload(a, q, key, &p, why);
    if (err == 0)
        err = p.cut ? ERR_LIMIT : jws_sign(key, span_of(header, h.len), span_of(payload, p.len), to);
    ERR_clear_error();
    return err;
}

/* The issuer has taken the new key. After a crash before this it knows none but the new one, which then still waits. */
static int use_next_key(const struct accounts *a, uint16_t issuer, struct text *why) {
    struct key_path next, now;
    char dir[PATH_MAX];
    struct text d = text_of(dir, sizeof(dir));
    text_addf(&d, "%s/accounts", a->conf->dir);
    if (rename(key_path(&next, a, issuer, "next.key"), key_path(&now, a, issuer, "key")) == 0 && durable_sync_dir(dir) == 0)
        return 0;
    text_addf(why, "%s: %s", next.p, strerror(errno));
    return ERR_SYSTEM;
}

int accounts_answer(const struct accounts *a, const struct keymaking_request *q, struct text *to, struct text *why) {
    struct key_path path;
    EVP_PKEY *key = NULL;
    if (q->op == KEYMAKING_ROLLED_OVER)
        return use_next_key(a, q->issuer, why);
    int err = key_file_ensure(key_path(&path, a, q->issuer, "key"), MANAGED_ECDSA_P256, &key, why);
    if (err == 0 && q->op == KEYMAKING_THUMBPRINT)
        err = jws_thumbprint(key, to);
    else if (err == 0)
        err = sign_request(a, q, key, to, why);
    EVP_PKEY_free(key);
    return err;
}
