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
#include "keymaker/version_file.h"

#define JWK_MAX     160
#define HEADER_MAX  (JWK_MAX + KEYMAKING_NONCE_MAX + 2 * KEYMAKING_URL_MAX + 128)
#define PAYLOAD_MAX (40 * 1024) /* a CSR with the most names, each of the greatest length */

struct key_path {
    char p[PATH_MAX];
};

static const char *key_path(struct key_path *to, const struct accounts *a, uint16_t issuer, const char *suffix) {
    struct text t = text_of(to->p, sizeof(to->p));
    text_addf(&t, "%s/accounts/%s.%s", a->conf->dir, a->conf->issuers[issuer].name, suffix);
    return to->p;
}

int accounts_init(struct accounts *a, const struct conf_acme *conf, struct text *why) {
    a->conf = conf;
    int err = 0;
    for (size_t i = 0; i < conf->nissuers && err == 0; i++)
        if (conf->issuers[i].eab_kid)
            err = eab_key_read(conf->issuers[i].eab_key_file, a->eab[i].key, &a->eab[i].len, why);
    return err;
}

/* ---- headers ---- */

/* By the key itself: the issuer is not known to have an account for it (RFC 8555 6.2). */
static bool is_by_key(enum keymaking_op op) {
    return op == KEYMAKING_ACCOUNT || op == KEYMAKING_FIND;
}

static int put_header(const struct keymaking_request *q, const EVP_PKEY *key, struct text *to) {
    int err = 0;
    text_add(to, "{\"alg\":\"ES256\",");
    if (is_by_key(q->op)) {
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

static void add_text_list(struct text *to, const char *const *texts, size_t n) {
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
        add_text_list(to, issuer->contact, issuer->ncontact);
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
    if (version_file_read(key_path(&path, a, q->issuer, "version"))) { /* others have that key, and may bring it back */
        text_addf(why, "the account is one of a fleet (%s)", path.p);
        return ERR_UNSUPPORTED;
    }
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
    case KEYMAKING_FIND: /* RFC 8555 7.3.1 */
        text_add(to, "{\"onlyReturnExisting\":true}");
        return 0;
    default:
        return ERR_UNSUPPORTED;
    }
}

static int sign_for_issuer(const struct accounts *a, const struct keymaking_request *q, EVP_PKEY *key, struct text *to,
                           struct text *why) {
    static char payload[PAYLOAD_MAX];
    char header[HEADER_MAX];
    struct text h = text_of(header, sizeof(header)), p = text_of(payload, sizeof(payload));
    bool plain = jws_is_plain(q->url) && jws_is_plain(q->nonce) && jws_is_plain(q->account);
    if (!plain || !span_has_prefix(q->url, "https://") || q->nonce.len == 0 || (q->account.len == 0) != is_by_key(q->op)) {
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

/* ---- the key that waits ---- */

/*
 * It is on the disk before anything is signed by it, and takes the place of the account's key by one rename when the issuer is
 * known to have it. Until then it stays, whatever happens: the issuer alone knows which of the two is the account's, and is
 * asked.
 */
static int answer_about_waiting(const struct accounts *a, const struct keymaking_request *q, struct text *to,
                                struct text *why) {
    struct key_path path;
    EVP_PKEY *next = NULL;
    int err = key_file_read(key_path(&path, a, q->issuer, "next.key"), &next, why);
    if (err == ERR_NOT_FOUND)
        return 0;
    if (err == 0)
        err = q->op == KEYMAKING_WAITS ? jws_thumbprint(next, to) : sign_for_issuer(a, q, next, to, why);
    EVP_PKEY_free(next);
    return err;
}

/* The issuer has taken it. Asked again, since an answer was lost, it is in place. In a fleet the store has the other one, which
 * is not to come back. */
static int use_next_key(const struct accounts *a, uint16_t issuer, struct text *why) {
    struct key_path next, now, version;
    char dir[PATH_MAX];
    EVP_PKEY *key = NULL;
    struct text d = text_of(dir, sizeof(dir));
    text_addf(&d, "%s/accounts", a->conf->dir);
    int err = key_file_read(key_path(&next, a, issuer, "next.key"), &key, why);
    EVP_PKEY_free(key);
    if (err < 0)
        return err == ERR_NOT_FOUND ? 0 : err;
    uint64_t shared = version_file_read(key_path(&version, a, issuer, "version"));
    err = shared ? version_file_write(version.p, shared + 1) : 0;
    if (err == 0)
        err = rename(next.p, key_path(&now, a, issuer, "key")) == 0 ? durable_sync_dir(dir) : ERR_SYSTEM;
    if (err < 0)
        text_addf(why, "%s: %s", next.p, strerror(errno));
    return err;
}

int accounts_answer(const struct accounts *a, const struct keymaking_request *q, struct text *to, struct text *why) {
    struct key_path path;
    EVP_PKEY *key = NULL;
    if (q->op == KEYMAKING_WAITS || q->op == KEYMAKING_FIND)
        return answer_about_waiting(a, q, to, why);
    int err = q->op == KEYMAKING_ROLLED_OVER ? use_next_key(a, q->issuer, why) : 0;
    if (err == 0)
        err = key_file_ensure(key_path(&path, a, q->issuer, "key"), MANAGED_ECDSA_P256, &key, why);
    if (err == 0 && (q->op == KEYMAKING_THUMBPRINT || q->op == KEYMAKING_ROLLED_OVER))
        err = jws_thumbprint(key, to);
    else if (err == 0)
        err = sign_for_issuer(a, q, key, to, why);
    EVP_PKEY_free(key);
    return err;
}
