/*
 * Order of checks, which decides where two faults meet: hello_parse(), tls_server_check(), key shares, (retry), ticket and its
 * binder, certificate, exchange. What costs nothing comes first; of a refused hello nothing but the binder is computed.
 *
 * All is decided by the first hello. The second brings the share that was asked for, and tickets, which are looked at only now;
 * whatever else the decision used must be the same.
 */
#include "tls/hs13_hello.h"

#include <time.h>

#include "base/rd.h"
#include "base/secret.h"
#include "tls/client_auth.h"
#include "tls/hello_pair.h"
#include "tls/hs13_cert.h"
#include "tls/hs13_client.h"
#include "tls/hs13_msgs.h"
#include "tls/hs13_out.h"

#define PSK_DHE_KE     1 /* RFC 8446 4.2.9 */
#define IDENTITIES_MAX 4 /* tickets of one hello that are looked at */

/* ---- key shares ---- */

static struct span share_of(const struct hello *hello, uint16_t group) {
    for (struct rd r = rd_of(hello->key_shares); rd_left(&r);) {
        uint16_t g = rd_u16(&r);
        struct span share = rd_vec16(&r);
        if (g == group)
            return share;
    }
    return span_of(NULL, 0);
}

static bool offers(const struct hello *hello, uint16_t group) {
    return hs13_group_there(group) && hello_list_has(hello->groups, group);
}

/*
 * Our first group when it is a hybrid one, worth asking for a share; else our first of those the client has sent a share of;
 * else our first at all. Without *ret_share it is asked for.
 */
static int choose_group(struct hs13 *h, const struct hello *hello, struct span *ret_share) {
    const struct tls_server *s = h->server;
    size_t best = s->ngroups;
    for (size_t i = 0; i < s->ngroups && group_by_id(s->groups[i])->hybrid && best == s->ngroups; i++)
        if (offers(hello, s->groups[i]))
            best = i;
    for (size_t i = 0; i < s->ngroups && best == s->ngroups; i++)
        if (offers(hello, s->groups[i]) && share_of(hello, s->groups[i]).len)
            best = i;
    for (size_t i = 0; i < s->ngroups && best == s->ngroups; i++)
        if (offers(hello, s->groups[i]))
            best = i;
    if (best == s->ngroups)
        return ERR_NO_GROUP;
    h->group = s->groups[best];
    *ret_share = share_of(hello, h->group);
    return 0;
}

/* ---- what stands in the hello for later ---- */

static const struct suite *choose_suite(const struct tls_server *s, const struct hello *hello) {
    for (size_t i = 0; i < s->nsuites; i++) {
        const struct suite *suite = suite_by_id(s->suites[i]);
        if (suite && suite->version == TLS_1_3 && hello_list_has(hello->suites, suite->id))
            return suite;
    }
    return NULL;
}

/* RFC 8449 5: who knows record_size_limit does not look at max_fragment_length (RFC 6066 4). */
static void take_limits(struct hs13 *h, const struct hello *hello) {
    if (hello->record_size_limit) {
        h->size_limit = true;
        h->plain_max = (uint16_t)MIN(RECORD_PLAIN_MAX, hello->record_size_limit - 1);
    } else if (hello->max_fragment_length) {
        h->fragment = hello->max_fragment_length;
        h->plain_max = h->whole_max = (uint16_t)(256u << h->fragment);
    }
}

static void keep_hello(struct hs13 *h, const struct hello *hello) {
    const struct tls_server *s = h->server;
    memcpy(h->client_random, hello->random.p, sizeof(h->client_random));
    h->session_id_len = (uint8_t)hello->session_id.len;
    if (hello->session_id.len)
        memcpy(h->session_id, hello->session_id.p, hello->session_id.len);
    memcpy(h->sni, hello->sni, sizeof(h->sni));
    h->name_used = hello->sni[0] && certs_lookup(s->certs, s->service, hello->sni) >= CREDS_WILDCARD;
    h->alpn = tls_server_alpn(s, hello->alpn);
    h->wants_ocsp = hello->wants_ocsp;
    h->early_left = hello->has_early_data ? TLS_EARLY_MAX : 0;
    take_limits(h, hello);
}

/* ---- tickets ---- */

/* RFC 8446 4.2.11.2: over what was said so far and this hello up to its binders. H's keys are of the ticket's early stage. */
static int check_binder(struct hs13 *h, const struct hello *hello, struct span message, struct span binder) {
    uint8_t base[HASH_LEN_MAX], digest[HASH_LEN_MAX], mac[HASH_LEN_MAX];
    size_t len = hash_len(h->suite->hash), cut = (size_t)(hello->psk_binders.p - 2 - message.p);
    struct hs13_keys so_far = {.hash = h->keys.hash, .transcript = h->keys.transcript};
    hs13_keys_add(&so_far, span_of(message.p, cut));
    hs13_keys_digest(&so_far, digest);
    hs13_keys_binder(&h->keys, base);
    hs13_keys_mac(h->suite->hash, base, digest, mac);
    bool good = binder.len == len && secret_eq(binder.p, mac, len);
    secret_wipe(base, sizeof(base));
    secret_wipe(mac, sizeof(mac));
    return good ? 0 : ERR_BINDER;
}

/* Whether T can be resumed by this service, under its present rules, by the client that it was made for. */
static bool may_resume(const struct hs13 *h, const struct hs13_ticket *t) {
    uint8_t binding[TICKET_BIND_LEN];
    const struct client_auth *clients = h->server->clients;
    ticket_bind_name(h->server->binding, h->sni, binding);
    return hs13_ticket_fits(t, h->suite->hash, binding, (int64_t)time(NULL)) &&
           (!clients || client_auth_may_resume(clients, &t->client));
}

static int take_ticket(struct hs13 *h, const struct hs13_ticket *t, uint16_t identity) {
    if (t->client.verified) {
        h->client = malloc(sizeof(*h->client));
        if (!h->client)
            return ERR_NOMEM;
        *h->client = t->client;
        int err = hs13_keep_certificate(h, span_of(t->cert, t->cert_len));
        if (err < 0)
            return err;
    }
    memcpy(h->rules, h->server->binding, sizeof(h->rules));
    h->resumed = true;
    h->identity = identity;
    h->full_s = t->full_s;
    h->identity_settled = h->proof_settled = true;
    return 0;
}

/* Takes the first ticket up that is good here; none is no fault, but a wrong binder is. */
static int resume_session(struct hs13 *h, const struct hello *hello, struct span message) {
    struct hs13_ticket *t = &h->env->scratch->ticket;
    struct rd identities = rd_of(hello->psk_identities), binders = rd_of(hello->psk_binders);
    int err = 0;
    if (!hello->has_psk || !h->wants_tickets)
        return 0;
    for (uint16_t i = 0; i < IDENTITIES_MAX && rd_left(&identities) && !h->resumed && !err; i++) {
        struct span identity = rd_vec16(&identities), binder = rd_vec8(&binders);
        (void)rd_u32(&identities); /* the age matters to early data alone */
        if (hs13_ticket_open(h->server->tickets, identity, h->env->scratch->ticket_bytes, t) < 0 || !may_resume(h, t))
            continue;
        hs13_keys_early(&h->keys, span_of(t->psk, hash_len(t->hash)));
        err = check_binder(h, hello, message, binder);
        if (err == 0)
            err = take_ticket(h, t, i);
    }
    secret_wipe(t, sizeof(*t));
    return err;
}

/* ---- our flight ---- */

static void log_secret(const struct hs13 *h, const char *label, const uint8_t *secret) {
    key_log_secret(h->log, label, span_of(h->client_random, sizeof(h->client_random)),
                   span_of(secret, hash_len(h->suite->hash)));
}

static void enter_handshake_keys(struct hs13 *h) {
    struct hs13_share *share = &h->env->scratch->share;
    hs13_keys_next(&h->keys, span_of(share->secret, share->secret_len));
    secret_wipe(share, sizeof(*share));
    hs13_keys_derive(&h->keys, "c hs traffic", h->in.secret);
    hs13_keys_derive(&h->keys, "s hs traffic", h->out_keys.secret);
    log_secret(h, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", h->in.secret);
    log_secret(h, "SERVER_HANDSHAKE_TRAFFIC_SECRET", h->out_keys.secret);
    hs13_keys_traffic(h->suite, &h->in);
    hs13_keys_traffic(h->suite, &h->out_keys);
    h->sealing = true;
}

static void enter_session_keys(struct hs13 *h) {
    hs13_keys_next(&h->keys, span_of(NULL, 0));
    hs13_keys_derive(&h->keys, "c ap traffic", h->client_app);
    hs13_keys_derive(&h->keys, "s ap traffic", h->out_keys.secret);
    log_secret(h, "CLIENT_TRAFFIC_SECRET_0", h->client_app);
    log_secret(h, "SERVER_TRAFFIC_SECRET_0", h->out_keys.secret);
    if (h->log) {
        uint8_t exporter[HASH_LEN_MAX];
        hs13_keys_derive(&h->keys, "exp master", exporter);
        log_secret(h, "EXPORTER_SECRET", exporter);
        secret_wipe(exporter, sizeof(exporter));
    }
    hs13_keys_traffic(h->suite, &h->out_keys);
}

int hs13_end_flight(struct hs13 *h, struct span signature) {
    if (signature.len)
        hs13_put_certificate_verify(h, signature);
    hs13_put_finished(h);
    int err = hs13_out_flush(h);
    if (err < 0)
        return err;
    h->finish_said = true;
    enter_session_keys(h);
    if (h->server->ticket_with_finished && !h->server->clients) { /* RFC 8446 4.6.1: no client certificate may come between */
        hs13_put_early_ticket(h);
        err = hs13_out_flush(h);
    }
    h->state = h->identity_settled ? HS13_FINISH : HS13_CERT;
    return err;
}

static int choose_certificate(struct hs13 *h, const struct hello *hello, struct certs_choice *ret) {
    const struct tls_server *s = h->server;
    if (hello->sigalgs.len == 0)
        return ERR_HELLO_LACKS;
    const struct certs_client client = certs_client_of(hello->sigalgs, hello->sigalgs_cert);
    int err = certs_choose(s->certs, s->service, h->sni, &client, ret);
    if (err < 0)
        return err;
    h->set = certs_set(s->certs);
    h->key = ret->key;
    h->scheme = ret->scheme;
    h->our_cert = cert_alg_of(certs_entry_leaf(s->certs, ret->entry));
    return 0;
}

/* The hello has all that is needed. */
static int answer_hello(struct hs13 *h, const struct hello *hello, struct span message, struct span share) {
    struct hs13_share *own = &h->env->scratch->share;
    struct certs_choice cert = {.key = 0};
    h->wants_tickets = h->server->tickets && hello->psk_modes.len &&
                       memchr(hello->psk_modes.p, PSK_DHE_KE, hello->psk_modes.len); /* a second hello's own, as its tickets */
    int err = resume_session(h, hello, message);
    if (err == 0 && !h->resumed)
        err = choose_certificate(h, hello, &cert);
    if (err == 0)
        err = h->env->exchange(h->group, share, own);
    if (err < 0)
        return err;
    if (!h->resumed)
        hs13_keys_early(&h->keys, span_of(NULL, 0));
    hs13_keys_add(&h->keys, message);
    hs13_put_server_hello(h, span_of(own->public, own->len));
    err = hs13_out_flush(h); /* alone in its record: the keys change behind it */
    if (err < 0) {
        secret_wipe(own, sizeof(*own));
        return err;
    }
    if (h->session_id_len && !h->retried)
        hs13_out_ccs(h);
    enter_handshake_keys(h);
    hs13_put_encrypted_extensions(h);
    if (h->resumed)
        return hs13_end_flight(h, span_of(NULL, 0));
    if (h->server->clients)
        hs13_put_certificate_request(h);
    else
        h->identity_settled = h->proof_settled = true;
    hs13_put_certificate(h, &cert, hello->cert_compression);
    h->state = HS13_SIGN;
    return hs13_out_flush(h);
}

/* RFC 8446 4.1.4. */
static int answer_with_retry(struct hs13 *h, const struct hello *hello, struct span message) {
    hello_pin(hello, h->pinned);
    hs13_keys_add(&h->keys, message);
    hs13_keys_retry(&h->keys);
    hs13_put_retry(h);
    int err = hs13_out_flush(h);
    if (h->session_id_len)
        hs13_out_ccs(h);
    h->retried = true;
    h->state = HS13_HELLO2;
    return err;
}

int hs13_hello_first(struct hs13 *h, const struct hello *hello, struct span message) {
    struct span share;
    h->suite = choose_suite(h->server, hello);
    if (!h->suite)
        return ERR_NO_SUITE;
    if (hello->groups.len == 0) /* a ticket without an exchange (psk_ke) is not taken up here */
        return ERR_HELLO_LACKS;
    int err = choose_group(h, hello, &share);
    if (err < 0)
        return err;
    keep_hello(h, hello);
    hs13_keys_begin(&h->keys, h->suite->hash);
    return share.len ? answer_hello(h, hello, message, share) : answer_with_retry(h, hello, message);
}

int hs13_hello_second(struct hs13 *h, struct span message) {
    struct hello hello;
    struct span share = {0};
    uint16_t group = 0;
    int err = hello_parse(message, &hello);
    if (err == 0)
        err = hello_judge_second(&hello, h->pinned, &group, &share);
    if (err < 0)
        return err;
    if (group != h->group)
        return ERR_HELLO_CHANGED;
    h->early_left = 0;
    err = tls_server_check(h->server, &hello); /* certificates and rules may be others by now, and tickets are new */
    return err ? err : answer_hello(h, &hello, message, share);
}
