#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "tls/client_auth.h"
#include "tls/handshake_internal.h"
#include "tls/sig_scheme.h"

/* Joins names with ':' as libssl's setters want them. */
#define SHARE_LOOKUPS_MAX (1 << 20) /* about as long as a signature takes; clients send a handful of shares */

static void join(struct text *t, const char *name) {
    if (t->len)
        text_add(t, ":");
    text_add(t, name);
}

static int set_suites(SSL_CTX *ctx, const struct tls_policy *p) {
    char tls13[512], tls12[1024];
    struct text t13 = text_of(tls13, sizeof(tls13)), t12 = text_of(tls12, sizeof(tls12));
    for (size_t i = 0; i < p->nsuites; i++) {
        const struct suite *s = suite_by_id(p->suites[i]);
        if (s)
            join(s->version == TLS_1_3 ? &t13 : &t12, s->openssl_name);
    }
    if (t13.cut || t12.cut || SSL_CTX_set_ciphersuites(ctx, tls13) != 1)
        return ERR_CRYPTO;
    if (t12.len == 0) /* libssl refuses an empty list; without any 1.2 suite there is no 1.2 */
        return SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 ? 0 : ERR_CRYPTO;
    if (t13.len == 0 && SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION) != 1)
        return ERR_CRYPTO;
    return SSL_CTX_set_cipher_list(ctx, tls12) == 1 ? 0 : ERR_CRYPTO;
}

/*
 * Within a tuple (separated by '/'; OpenSSL 3.5) libssl takes our first group among those the client has sent a share of. So a
 * hybrid group is in a tuple before those behind it: a client that has it gets a HelloRetryRequest if need be
 * (HelloRetryRequest). Between the others the order is not worth a round trip.
 */
static int set_groups(SSL_CTX *ctx, const struct tls_policy *p) {
    char names[512];
    struct text t = text_of(names, sizeof(names));
    bool after_hybrid = false;
    for (size_t i = 0; i < p->ngroups; i++) {
        const struct group *g = group_by_id(p->groups[i]);
        if (!g)
            continue;
        if (t.len)
            text_add(&t, after_hybrid && !g->hybrid ? "/" : ":");
        text_add(&t, g->openssl_name);
        after_hybrid = g->hybrid;
    }
    if (!t.len || t.cut) /* an empty list would be libssl's */
        return ERR_CRYPTO;
    if (SSL_CTX_set1_groups_list(ctx, names) == 1)
        return 0;
    for (char *c = names; (c = strchr(c, '/'));) /* a provider's group in an older libssl, which knows no tuples */
        *c = ':';
    return SSL_CTX_set1_groups_list(ctx, names) == 1 ? 0 : ERR_CRYPTO;
}

/*
 * What we sign with, and what clients' certificates and their proofs may be signed with: nothing on SHA-1 or SHA-224, whatever
 * the library or its configuration file would allow.
 */
static int set_sigalgs(SSL_CTX *ctx) {
    char names[512];
    struct text t = text_of(names, sizeof(names));
    for (size_t i = 0; sig_scheme_at(i); i++)
        join(&t, sig_scheme_name(sig_scheme_at(i)));
    if (t.cut)
        return ERR_CRYPTO;
    return SSL_CTX_set1_sigalgs_list(ctx, names) == 1 && SSL_CTX_set1_client_sigalgs_list(ctx, names) == 1 ? 0 : ERR_CRYPTO;
}

/* Our order decides (RFC 7301 3.2). */
struct span tls_server_alpn(const struct tls_server *s, struct span offered) {
    for (struct rd ours = rd_of(buf_span(&s->alpn)); rd_left(&ours);) {
        struct span name = rd_vec8(&ours);
        for (struct rd theirs = rd_of(offered); rd_left(&theirs);)
            if (span_eq(name, rd_vec8(&theirs)) && !theirs.bad)
                return name;
    }
    return span_of(NULL, 0);
}

/* tls_server_check() has made sure that something is shared. */
static int alpn_select(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *in, unsigned in_len,
                       void *arg) {
    (void)ssl;
    struct span name = tls_server_alpn(arg, span_of(in, in_len));
    if (!name.len)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = name.p;
    *ret_len = (unsigned char)name.len;
    return SSL_TLSEXT_ERR_OK;
}

static int set_alpn(struct tls_server *s, const struct tls_policy *p) {
    for (size_t i = 0; i < p->nalpn; i++) {
        uint8_t len = (uint8_t)strlen(p->alpn[i]);
        if (buf_append(&s->alpn, &len, 1) < 0 || buf_append(&s->alpn, p->alpn[i], len) < 0)
            return ERR_NOMEM;
    }
    if (p->nalpn)
        SSL_CTX_set_alpn_select_cb(s->ctx, alpn_select, s);
    return 0;
}

/* Tickets are good under the present rules for clients only. */
static void bind_tickets(struct tls_server *s) {
    struct span rules = span_of(NULL, 0);
    if (s->clients)
        rules = span_of(client_auth_digest(s->clients), CLIENT_AUTH_DIGEST_LEN);
    ticket_bind_rules(s->service_binding, rules, s->binding);
}

static int set_rules(struct tls_server *s, const struct tls_policy *p, struct tickets *tickets) {
    SSL_CTX *ctx = s->ctx;
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_recv_max_early_data(ctx, HANDSHAKE_EARLY_SKIPPED);
    SSL_CTX_set_keylog_callback(ctx, handshake_on_secret);
    SSL_CTX_set_info_callback(ctx, handshake_on_info);
    SSL_CTX_set_cert_cb(ctx, handshake_on_cert, NULL);
    certs_staple(ctx);
    SSL_CTX_set_security_level(ctx, TLS_SECURITY_LEVEL);
    if (SSL_CTX_set_min_proto_version(ctx, p->min_version) != 1 || SSL_CTX_set_max_proto_version(ctx, TLS_1_3) != 1)
        return ERR_CRYPTO;
    ticket_bind_service(p, s->service_binding);
    bind_tickets(s);
    int err = set_suites(ctx, p);
    if (err == 0)
        err = set_groups(ctx, p);
    if (err == 0)
        err = set_sigalgs(ctx);
    if (err == 0)
        err = set_alpn(s, p);
    if (err == 0)
        err = tickets_attach(tickets, ctx);
    if (err == 0 && s->clients)
        err = client_auth_attach(s->clients, ctx);
    return err;
}

static uint16_t *copy_list(const uint16_t *list, size_t n) {
    uint16_t *copy = malloc(MAX(n, 1) * sizeof(*copy));
    if (copy && n)
        memcpy(copy, list, n * sizeof(*copy));
    return copy;
}

struct tls_server *tls_server_new(const struct tls_policy *policy, struct certs *certs, struct tickets *tickets,
                                  struct text *why) {
    const char *reason = NULL;
    struct tls_server *s = calloc(1, sizeof(*s));
    if (!s)
        goto fail;
    s->certs = certs;
    s->tickets = tickets;
    s->service = policy->service;
    s->min_version = policy->min_version;
    s->strict_sni = policy->strict_sni;
    s->clients = policy->clients;
    s->reports_client_cert = policy->reports_client_cert;
    s->own_tls13 = policy->own_tls13;
    s->nsuites = policy->nsuites;
    s->ngroups = policy->ngroups;
    buf_init(&s->alpn, 64 * 256);
    s->suites = copy_list(policy->suites, policy->nsuites);
    s->groups = copy_list(policy->groups, policy->ngroups);
    s->ctx = SSL_CTX_new_ex(NULL, kdf_provider_load() ? KDF_PROVIDER_QUERY : NULL, TLS_server_method());
    if (!s->suites || !s->groups || !s->ctx || set_rules(s, policy, tickets) < 0)
        goto fail;
    return s;
fail:
    if (!s)
        client_auth_free(policy->clients);
    reason = ERR_reason_error_string(ERR_peek_last_error());
    text_addf(why, "service %s: libssl refuses the settings: %s", policy->name, reason ? reason : "it does not say why");
    ERR_clear_error();
    tls_server_free(s);
    return NULL;
}

void tls_server_use_certs(struct tls_server *s, struct certs *certs) {
    s->certs = certs;
}

int tls_server_use_clients(struct tls_server *s, struct client_auth *clients) {
    bool same = !s->clients || !clients ||
                memcmp(client_auth_digest(s->clients), client_auth_digest(clients), CLIENT_AUTH_DIGEST_LEN) == 0;
    struct client_auth *unused = clients;
    int err = same ? 0 : client_auth_announce(clients, s->ctx);
    if (!same && err == 0) {
        unused = s->clients;
        s->clients = clients;
        bind_tickets(s);
    }
    client_auth_free(unused);
    return err;
}

void tls_server_free(struct tls_server *s) {
    if (!s)
        return;
    SSL_CTX_free(s->ctx);
    buf_fini(&s->alpn);
    free(s->suites);
    free(s->groups);
    client_auth_free(s->clients);
    free(s);
}

uint16_t tls_server_version(const struct tls_server *s, const struct hello *h) {
    if (h->legacy_version <= 0x0300) /* RFC 8446 D.5; other values mean nothing beside supported_versions (4.2.1) */
        return 0;
    bool has13 = h->versions.len ? hello_list_has(h->versions, TLS_1_3) : false;
    bool has12 = h->versions.len ? hello_list_has(h->versions, TLS_1_2) : h->legacy_version >= TLS_1_2;
    bool ours13 = false, ours12 = false;
    for (size_t i = 0; i < s->nsuites; i++) {
        const struct suite *suite = suite_by_id(s->suites[i]);
        ours13 |= suite && suite->version == TLS_1_3;
        ours12 |= suite && suite->version == TLS_1_2 && s->min_version <= TLS_1_2;
    }
    if (has13 && ours13)
        return TLS_1_3;
    return has12 && ours12 ? TLS_1_2 : 0;
}

static bool shares_suite(const struct tls_server *s, const struct hello *h, uint16_t version) {
    for (size_t i = 0; i < s->nsuites; i++) {
        const struct suite *suite = suite_by_id(s->suites[i]);
        if (suite && suite->version == version && hello_list_has(h->suites, s->suites[i]))
            return true;
    }
    return false;
}

static bool shares_group(const struct tls_server *s, const struct hello *h, uint16_t version) {
    if (h->groups.len == 0) /* RFC 8422 4: a 1.2 client that names none takes any */
        return version == TLS_1_2 || h->has_psk;
    for (size_t i = 0; i < s->ngroups; i++)
        if (hello_list_has(h->groups, s->groups[i]))
            return true;
    return false;
}

/* libssl looks every key share up in the client's list of groups, and has no bound for it. */
static bool shares_are_few(const struct hello *h) {
    size_t n = 0;
    for (struct rd r = rd_of(h->key_shares); rd_left(&r) > 0; n++) {
        (void)rd_u16(&r);
        (void)rd_vec16(&r);
    }
    return n * (h->groups.len / 2) <= SHARE_LOOKUPS_MAX;
}

/* Without schemes a client may still resume; whether it can is seen later. */
static bool may_verify(const struct tls_server *s, const struct hello *h, uint16_t version) {
    if (version == TLS_1_3 && h->has_psk && h->sigalgs.len == 0)
        return true;
    return certs_has_sigalg(s->certs, s->service, h->sni, h->sigalgs, version);
}

int tls_server_check(const struct tls_server *s, const struct hello *h) {
    uint16_t version = tls_server_version(s, h);
    if (!version)
        return ERR_NO_VERSION;
    int err = version == TLS_1_3 ? hello_judge_1_3(h) : 0;
    if (err < 0)
        return err;
    if (!shares_suite(s, h, version))
        return ERR_NO_SUITE;
    if (!shares_group(s, h, version))
        return ERR_NO_GROUP;
    if (!shares_are_few(h))
        return ERR_LIMIT;
    if (s->strict_sni && certs_lookup(s->certs, s->service, h->sni) < CREDS_WILDCARD)
        return ERR_UNKNOWN_NAME;
    if (h->sni_other.len > HELLO_NAME_MAX) /* as libssl would answer */
        return ERR_UNKNOWN_NAME;
    if (!may_verify(s, h, version))
        return ERR_NO_SIGALG;
    if (h->alpn.len && buf_len(&s->alpn) && !tls_server_alpn(s, h->alpn).len)
        return ERR_NO_ALPN;
    return 0;
}
