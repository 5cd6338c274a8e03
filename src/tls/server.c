/* What a service offers, on either path of its handshakes. */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rd.h"
#include "tls/client_auth.h"
#include "tls/handshake.h"
#include "tls/hs_libssl_server.h"

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

static int set_alpn(struct tls_server *s, const struct tls_policy *p) {
    for (size_t i = 0; i < p->nalpn; i++) {
        uint8_t len = (uint8_t)strlen(p->alpn[i]);
        if (buf_append(&s->alpn, &len, 1) < 0 || buf_append(&s->alpn, p->alpn[i], len) < 0)
            return ERR_NOMEM;
    }
    return 0;
}

/* Tickets are good under the present rules for clients only; where backends get certificates, only those that can hold one. */
static void bind_tickets(struct tls_server *s) {
    uint8_t rules[CLIENT_AUTH_DIGEST_LEN + 1];
    size_t len = 0;
    if (s->clients) {
        memcpy(rules, client_auth_digest(s->clients), CLIENT_AUTH_DIGEST_LEN);
        len = CLIENT_AUTH_DIGEST_LEN;
    }
    if (s->clients && s->reports_client_cert)
        rules[len++] = 1;
    ticket_bind_rules(s->service_binding, span_of(rules, len), s->binding);
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
    s->ticket_with_finished = policy->ticket_with_finished;
    s->nsuites = policy->nsuites;
    s->ngroups = policy->ngroups;
    buf_init(&s->alpn, 64 * 256);
    s->suites = copy_list(policy->suites, policy->nsuites);
    s->groups = copy_list(policy->groups, policy->ngroups);
    if (!s->suites || !s->groups || set_alpn(s, policy) < 0)
        goto fail;
    ticket_bind_service(policy, s->service_binding);
    bind_tickets(s);
    s->ctx = hs_libssl_server_new(s);
    if (s->ctx)
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
    int err = same ? 0 : hs_libssl_server_announce(s->ctx, clients);
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
    hs_libssl_server_free(s->ctx);
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
    int err = version == TLS_1_3 ? hello_judge_1_3(h) : hello_judge_1_2(h);
    if (err < 0)
        return err;
    if (!shares_suite(s, h, version))
        return ERR_NO_SUITE;
    if (!shares_group(s, h, version))
        return ERR_NO_GROUP;
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
