/*
 * States, the client's records and messages, and the end. One table says what each state takes; everything else ends the
 * handshake, with one alert, and what comes after that is not looked at.
 */
#include "tls/hs13.h"

#include <openssl/x509.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/rand.h"
#include "base/secret.h"
#include "tls/client_auth.h"
#include "tls/hello_find.h"
#include "tls/hs13_client.h"
#include "tls/hs13_hello.h"
#include "tls/hs13_msgs.h"
#include "tls/hs13_out.h"

#define MESSAGE_HEADER_LEN 4
#define PROOF_MAX          (2 + 2 + 2048) /* of a signature of 16,384 bits */

_Static_assert(sizeof(struct hs13) <= 1536, "thousands of handshakes under way, all in locked memory");

static int take_finished(struct hs13 *h, struct span body);
static int take_second_hello(struct hs13 *h, struct span message);

/* All states side by side. A handler gets the body, but that of ClientHello the message; it moves the state. */
static const struct {
    const char *waiting_for;
    bool reads;    /* the client's records are taken */
    bool sealed;   /* which are protected */
    bool ends_key; /* nothing may follow the message in its record */
    uint8_t type;  /* the one message taken */
    int over;      /* what a longer body means */
    size_t max;    /* than so many bytes */
    int (*take)(struct hs13 *h, struct span message);
} states[HS13_STATES] = {
    [HS13_HELLO] = {.waiting_for = "ClientHello"},
    [HS13_HELLO2] = {"second ClientHello", true, false, true, MSG_CLIENT_HELLO, ERR_HELLO_TOO_LONG,
                     HELLO_MESSAGE_MAX - MESSAGE_HEADER_LEN, take_second_hello},
    [HS13_SIGN] = {.waiting_for = "the signer"},
    [HS13_CERT] = {"client Certificate", true, true, false, MSG_CERTIFICATE, ERR_CLIENT_CERT_LARGE, CLIENT_CHAIN_MAX,
                   hs13_take_certificate},
    [HS13_CERT_VERIFY] = {"client CertificateVerify", true, true, false, MSG_CERTIFICATE_VERIFY, ERR_RECORD_DECODE, PROOF_MAX,
                          hs13_take_certificate_verify},
    [HS13_FINISH] = {"client Finished", true, true, true, MSG_FINISHED, ERR_RECORD_DECODE, HASH_LEN_MAX, take_finished},
    [HS13_ESTABLISHED] = {.waiting_for = "nothing"},
    [HS13_DEAD] = {.waiting_for = "nothing"},
};

/* ---- life ---- */

int hs13_env_init(struct hs13_env *env, struct engine_contexts *aead, uint32_t max) {
    memset(env, 0, sizeof(*env));
    env->aead = aead;
    env->random = rand_bytes;
    env->exchange = hs13_exchange;
    env->scratch = secret_alloc(sizeof(*env->scratch), NULL);
    if (!env->scratch)
        return ERR_NOMEM;
    int err = slab_init(&env->states, sizeof(struct hs13), max, true);
    if (err < 0)
        secret_free(env->scratch, sizeof(*env->scratch));
    return err;
}

void hs13_env_fini(struct hs13_env *env) {
    slab_fini(&env->states);
    secret_free(env->scratch, sizeof(*env->scratch));
}

struct hs13 *hs13_new(struct hs13_env *env, const struct tls_server *s, struct buf *out, const struct key_log *log) {
    struct hs13 *h = slab_alloc(&env->states);
    if (!h)
        return NULL;
    h->env = env;
    h->server = s;
    h->out = out;
    h->log = log;
    h->plain_max = h->whole_max = RECORD_PLAIN_MAX;
    h->why = text_of(h->why_room, sizeof(h->why_room));
    buf_init(&h->part, MAX(HELLO_MESSAGE_MAX, CLIENT_CHAIN_MAX + MESSAGE_HEADER_LEN));
    return h;
}

static void wipe_keys(struct hs13 *h) {
    secret_wipe(&h->keys, sizeof(h->keys));
    secret_wipe(&h->in, sizeof(h->in));
    secret_wipe(&h->out_keys, sizeof(h->out_keys));
    secret_wipe(h->client_app, sizeof(h->client_app));
}

void hs13_free(struct hs13 *h) {
    if (!h)
        return;
    buf_fini(&h->part);
    X509_free(h->client_cert);
    free(h->client_rest);
    free(h->client_der);
    free(h->client);
    slab_free(&h->env->states, h);
}

size_t hs13_held(const struct hs13 *h) {
    return h->part.cap + CLIENT_CERT_EXPANSION * (size_t)h->client_cert_len + h->client_rest_len + h->client_der_len;
}

static enum hs13_step fail_hs13(struct hs13 *h, int err) {
    int alert = err_alert(err);
    h->err = err;
    if (alert != ALERT_NONE)
        hs13_out_alert(h, (enum alert)alert);
    h->state = HS13_DEAD;
    wipe_keys(h);
    buf_fini(&h->part);
    return HS13_FAILED;
}

static enum hs13_step step_of(const struct hs13 *h) {
    switch (h->state) {
    case HS13_DEAD:
        return HS13_FAILED;
    case HS13_ESTABLISHED:
        return HS13_DONE;
    case HS13_SIGN:
        return HS13_WANT_SIGN;
    default:
        return HS13_WANT_READ;
    }
}

/* ---- the client's messages ---- */

static int take_second_hello(struct hs13 *h, struct span message) {
    return hs13_hello_second(h, message);
}

static int take_finished(struct hs13 *h, struct span body) {
    uint8_t mac[HASH_LEN_MAX];
    size_t len = hash_len(h->suite->hash);
    if (body.len != len)
        return ERR_RECORD_DECODE;
    hs13_finished_mac(h, h->in.secret, mac);
    bool good = secret_eq(body.p, mac, len);
    secret_wipe(mac, sizeof(mac));
    if (!good)
        return ERR_FINISHED;
    int err = hs13_settle_client(h);
    if (err < 0)
        return err;
    h->finish_settled = true;
    h->state = HS13_ESTABLISHED;
    return 0;
}

/* After the client's Finished is in the transcript: the ticket, and the key of its data. */
static int establish(struct hs13 *h) {
    hs13_put_ticket(h);
    memcpy(h->in.secret, h->client_app, sizeof(h->in.secret));
    hs13_keys_traffic(h->suite, &h->in);
    return hs13_out_flush(h);
}

/* One whole message; MORE: bytes follow it in its record. */
static int take_message(struct hs13 *h, struct span message, bool more) {
    unsigned was = h->state;
    struct span body = span_of(message.p + MESSAGE_HEADER_LEN, message.len - MESSAGE_HEADER_LEN);
    if (more && states[was].ends_key) /* RFC 8446 5.1 */
        return ERR_RECORD_TYPE;
    int err = states[was].take(h, was == HS13_HELLO2 ? message : body);
    if (err == 0 && was != HS13_HELLO2)
        hs13_keys_add(&h->keys, message);
    return err == 0 && h->state == HS13_ESTABLISHED ? establish(h) : err;
}

/* What the first bytes of a message say: 0 while they are too few, its whole length, or an error. */
static int look_at_message_head(const struct hs13 *h, struct span s, size_t *ret_len) {
    *ret_len = 0;
    if (s.p && s.len > 0 && s.p[0] != states[h->state].type)
        return ERR_RECORD_TYPE;
    if (!s.p || s.len < MESSAGE_HEADER_LEN)
        return 0;
    size_t body = (size_t)s.p[1] << 16 | (size_t)s.p[2] << 8 | s.p[3];
    if (body > states[h->state].max)
        return states[h->state].over;
    *ret_len = MESSAGE_HEADER_LEN + body;
    return 0;
}

/* Bytes of messages: whole ones are taken where they are, a part waits in h->part. */
static int take_handshake(struct hs13 *h, struct span s) {
    int err = s.len ? 0 : ERR_RECORD_TYPE; /* RFC 8446 5.1 */
    while (s.len && !err) {
        size_t len = 0, held = buf_len(&h->part);
        if (held) { /* its head first, so that no more is taken than it has */
            size_t n = MIN(s.len, held < MESSAGE_HEADER_LEN ? MESSAGE_HEADER_LEN - held : s.len);
            err = look_at_message_head(h, buf_span(&h->part), &len);
            if (len)
                n = MIN(n, len - held);
            if (err == 0)
                err = buf_append(&h->part, s.p, n);
            s = span_of(s.p + n, s.len - n);
        }
        struct span at = held ? buf_span(&h->part) : s;
        if (err == 0)
            err = look_at_message_head(h, at, &len);
        if (err)
            return err;
        if (!len || at.len < len) {
            if (!held) {
                err = buf_append(&h->part, s.p, s.len);
                s = span_of(NULL, 0);
            }
            continue;
        }
        if (!held)
            s = span_of(s.p + len, s.len - len);
        err = take_message(h, span_of(at.p, len), s.len > 0);
        buf_fini(&h->part);
    }
    return err;
}

/* ---- the client's records ---- */

static int count_idle(struct hs13 *h) {
    return ++h->idle_records > HS13_IDLE_RECORDS_MAX ? ERR_RECORD_FLOOD : 0;
}

/* RFC 8446 6: the level says nothing. */
static int take_alert(struct hs13 *h, struct span body) {
    if (body.len != 2)
        return body.len ? ERR_RECORD_DECODE : ERR_RECORD_TYPE;
    if (body.p[1] == ALERT_USER_CANCELED)
        return count_idle(h);
    if (body.p[1] == ALERT_CLOSE_NOTIFY)
        return ERR_HANDSHAKE_CLOSED;
    h->alert = body.p[1];
    return ERR_PEER_ALERT;
}

/* RFC 8446 4.2.10: nothing of early data is wanted, and it is recognized because its record does not open, or is no hello. */
static int skip_early(struct hs13 *h, size_t rec_len) {
    if (rec_len > h->early_left || ++h->early_records > HS13_EARLY_RECORDS_MAX)
        return ERR_RECORD_FLOOD;
    h->early_left -= (uint32_t)rec_len;
    return 0;
}

static int take_content(struct hs13 *h, enum content_type type, struct span content) {
    bool torn = buf_len(&h->part) > 0;
    if (content.len > (states[h->state].sealed ? h->whole_max : RECORD_PLAIN_MAX)) /* agreed on once we have answered */
        return ERR_RECORD_OVERFLOW;
    if (type == CONTENT_HANDSHAKE) {
        int err = take_handshake(h, content);
        if (err == 0 && buf_len(&h->part) && ++h->fragments > HANDSHAKE_FRAGMENTS_MAX)
            err = ERR_RECORD_FLOOD;
        return err;
    }
    return type == CONTENT_ALERT && !torn ? take_alert(h, content) : ERR_RECORD_TYPE;
}

static int take_sealed(struct hs13 *h, uint8_t *rec, size_t len) {
    enum content_type type = CONTENT_ALERT; /* of nothing, until it is opened */
    struct span content = {NULL, 0};
    struct record_run run;
    int err = record_run_begin(&run, h->env->aead, h->suite, &h->in, false);
    if (err == 0)
        err = record_open(&run, rec, len, &type, &content);
    if (err == ERR_BAD_MAC && h->early_left && !h->opened)
        return skip_early(h, len);
    if (err < 0)
        return err;
    h->opened = true;
    return take_content(h, type, content);
}

static int take_record(struct hs13 *h, uint8_t *rec, size_t len) {
    struct span content = span_of(rec + RECORD_HEADER_LEN, len - RECORD_HEADER_LEN);
    bool torn = buf_len(&h->part) > 0, sealed = states[h->state].sealed;
    if (rec[0] == CONTENT_CHANGE_CIPHER_SPEC) /* RFC 8446 5: dropped */
        return record_is_dummy_ccs(content) && !torn ? count_idle(h) : ERR_RECORD_TYPE;
    if (sealed && rec[0] == CONTENT_APPLICATION_DATA)
        return take_sealed(h, rec, len);
    if (!sealed && rec[0] == CONTENT_APPLICATION_DATA && !torn && h->early_left)
        return skip_early(h, len);
    if (!sealed || (rec[0] == CONTENT_ALERT && !h->opened)) /* who dislikes our ServerHello has no keys */
        return take_content(h, rec[0], content);
    return ERR_RECORD_TYPE;
}

/* What protection takes of a record; early data under another suite is as long. */
static size_t expansion(uint8_t type) {
    return type == CONTENT_APPLICATION_DATA ? 1 + AEAD_TAG_LEN : 0;
}

/* ---- steps ---- */

enum hs13_step hs13_begin(struct hs13 *h, const struct hello *hello, struct span message) {
    if (h->state != HS13_HELLO)
        return step_of(h);
    int err = hs13_hello_first(h, hello, message);
    return err ? fail_hs13(h, err) : step_of(h);
}

enum hs13_step hs13_step(struct hs13 *h, uint8_t *in, size_t len, size_t *ret_used) {
    *ret_used = 0;
    while (states[h->state].reads) {
        size_t left = len - *ret_used;
        if (left == 0)
            return HS13_WANT_READ;
        int n = record_frame(h->suite, in + *ret_used, left);
        int err = n > 0 ? record_judge(in[*ret_used], (size_t)n - RECORD_HEADER_LEN, expansion(in[*ret_used])) : n;
        if (err < 0)
            return fail_hs13(h, err);
        if (n == 0 || (size_t)n > left)
            return HS13_WANT_READ;
        err = take_record(h, in + *ret_used, (size_t)n);
        *ret_used += (size_t)n;
        if (err)
            return fail_hs13(h, err);
    }
    return step_of(h);
}

void hs13_sign_request(const struct hs13 *h, struct handshake_sign *ret) {
    uint8_t digest[HASH_LEN_MAX];
    hs13_keys_digest(&h->keys, digest);
    ret->set = h->set;
    ret->key = h->key;
    ret->scheme = h->scheme;
    ret->tbs_len = hs13_signed_content(true, span_of(digest, hash_len(h->suite->hash)), ret->tbs);
}

enum hs13_step hs13_signed(struct hs13 *h, int err, struct span signature) {
    if (h->state != HS13_SIGN)
        return step_of(h);
    if (err == 0 && (signature.len == 0 || signature.len > UINT16_MAX))
        err = ERR_SIGNER_REFUSED;
    if (err == 0)
        err = hs13_end_flight(h, signature);
    return err ? fail_hs13(h, err) : step_of(h);
}

void hs13_abort(struct hs13 *h, int err) {
    if (h->state != HS13_DEAD)
        (void)fail_hs13(h, err);
}

int hs13_error(const struct hs13 *h, uint8_t *ret_alert) {
    *ret_alert = h->alert;
    return h->err;
}

const char *hs13_detail(const struct hs13 *h) {
    return h->why_room;
}

const char *hs13_waiting_for(const struct hs13 *h) {
    return states[h->state].waiting_for;
}

int hs13_finish(struct hs13 *h, struct handshake_result *ret) {
    if (h->state != HS13_ESTABLISHED || !h->identity_settled || !h->proof_settled || !h->finish_settled || h->out_err)
        return ERR_LEAVE;
    memset(ret, 0, sizeof(*ret));
    ret->record_layer.suite_id = h->suite->id;
    ret->record_layer.out_max = h->plain_max;
    ret->record_layer.in = h->in;
    ret->record_layer.out = h->out_keys;
    ret->version = TLS_1_3;
    ret->suite = h->suite->id;
    ret->group = h->group;
    ret->resumed = h->resumed;
    ret->sig_scheme = h->scheme;
    ret->cert_compression = h->compression;
    ret->our_cert = h->resumed ? cert_alg_of(certs_leaf(h->server->certs, h->server->service, h->sni)) : h->our_cert;
    ret->alpn = h->alpn;
    ret->client = h->client;
    ret->client_cert = span_of(h->client_der, h->client_der_len);
    h->state = HS13_DEAD; /* the keys are the session's now */
    wipe_keys(h);
    return 0;
}
