#include "tls/hs13_msgs.h"

#include <time.h>

#include "base/secret.h"
#include "base/wr.h"
#include "tls/client_auth.h"
#include "tls/hs13_out.h"
#include "tls/sig_scheme.h"

/* IANA registry "TLS ExtensionType Values". */
enum {
    EXT_SERVER_NAME = 0,
    EXT_MAX_FRAGMENT_LENGTH = 1,
    EXT_SIGNATURE_ALGORITHMS = 13,
    EXT_ALPN = 16,
    EXT_RECORD_SIZE_LIMIT = 28,
    EXT_PRE_SHARED_KEY = 41,
    EXT_SUPPORTED_VERSIONS = 43,
    EXT_CERTIFICATE_AUTHORITIES = 47,
    EXT_KEY_SHARE = 51,
};

#define RECORD_SIZE_TAKEN (RECORD_PLAIN_MAX + 1) /* RFC 8449 4: with the content type */
#define SMALL_MAX         384                    /* any message but Certificate, with the largest ALPN name */

/* A vector whose length is filled in afterwards (RFC 8446 3.4). */
static size_t begin16(struct wr *w) {
    wr_u16(w, 0);
    return w->len;
}

static void end16(struct wr *w, size_t at) {
    size_t len = w->len - at;
    if (w->bad)
        return;
    w->p[at - 2] = (uint8_t)(len >> 8);
    w->p[at - 1] = (uint8_t)len;
}

static void put_small(struct hs13 *h, uint8_t type, const struct wr *w) {
    if (!wr_end(w))
        h->out_err = ERR_LIMIT;
    hs13_out_message(h, type, wr_written(w));
}

/* What a ServerHello and a HelloRetryRequest have in common, up to the extensions (RFC 8446 4.1.3). */
static void begin_hello(const struct hs13 *h, struct wr *w, const uint8_t random[static 32]) {
    wr_u16(w, TLS_1_2);
    wr_bytes(w, random, 32);
    wr_vec8(w, span_of(h->session_id, h->session_id_len));
    wr_u16(w, h->suite->id);
    wr_u8(w, 0); /* no compression */
}

static void put_version(struct wr *w) {
    wr_u16(w, EXT_SUPPORTED_VERSIONS);
    wr_vec16(w, span_of((const uint8_t[]){TLS_1_3 >> 8, TLS_1_3 & 0xff}, 2));
}

void hs13_put_server_hello(struct hs13 *h, struct span share) {
    uint8_t room[SMALL_MAX + HS13_SHARE_MAX], random[32];
    struct wr w = wr_of(room, sizeof(room));
    h->env->random(random, sizeof(random));
    begin_hello(h, &w, random);
    size_t extensions = begin16(&w);
    if (h->resumed) {
        wr_u16(&w, EXT_PRE_SHARED_KEY);
        wr_vec16(&w, span_of((const uint8_t[]){(uint8_t)(h->identity >> 8), (uint8_t)h->identity}, 2));
    }
    wr_u16(&w, EXT_KEY_SHARE);
    wr_u16(&w, (uint16_t)(2 + 2 + share.len));
    wr_u16(&w, h->group);
    wr_vec16(&w, share);
    put_version(&w);
    end16(&w, extensions);
    put_small(h, MSG_SERVER_HELLO, &w);
}

void hs13_put_retry(struct hs13 *h) {
    static const uint8_t random[32] = {0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                       0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                       0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c}; /* RFC 8446 4.1.3 */
    uint8_t room[SMALL_MAX];
    struct wr w = wr_of(room, sizeof(room));
    begin_hello(h, &w, random);
    size_t extensions = begin16(&w);
    wr_u16(&w, EXT_KEY_SHARE);
    wr_vec16(&w, span_of((const uint8_t[]){(uint8_t)(h->group >> 8), (uint8_t)h->group}, 2));
    put_version(&w);
    end16(&w, extensions);
    put_small(h, MSG_SERVER_HELLO, &w);
}

void hs13_put_encrypted_extensions(struct hs13 *h) {
    uint8_t room[SMALL_MAX];
    struct wr w = wr_of(room, sizeof(room));
    size_t extensions = begin16(&w);
    if (h->name_used) { /* RFC 6066 3 */
        wr_u16(&w, EXT_SERVER_NAME);
        wr_u16(&w, 0);
    }
    if (h->fragment) {
        wr_u16(&w, EXT_MAX_FRAGMENT_LENGTH);
        wr_vec16(&w, span_of(&h->fragment, 1));
    }
    if (h->alpn.len) {
        wr_u16(&w, EXT_ALPN);
        size_t extension = begin16(&w), list = begin16(&w);
        wr_vec8(&w, h->alpn);
        end16(&w, list);
        end16(&w, extension);
    }
    if (h->size_limit) {
        wr_u16(&w, EXT_RECORD_SIZE_LIMIT);
        wr_vec16(&w, span_of((const uint8_t[]){RECORD_SIZE_TAKEN >> 8, RECORD_SIZE_TAKEN & 0xff}, 2));
    }
    end16(&w, extensions);
    put_small(h, MSG_ENCRYPTED_EXTENSIONS, &w);
}

/* Without certificate_authorities where the names are none, or more than an extension holds. */
void hs13_put_certificate_request(struct hs13 *h) {
    uint8_t room[SMALL_MAX];
    struct wr w = wr_of(room, sizeof(room));
    struct span names = client_auth_names(h->server->clients);
    wr_u8(&w, 0); /* no context: not after the handshake */
    size_t extensions = begin16(&w);
    wr_u16(&w, EXT_SIGNATURE_ALGORITHMS);
    size_t extension = begin16(&w), list = begin16(&w);
    for (size_t i = 0; sig_scheme_at(i); i++) /* PKCS #1 for their certificates alone */
        wr_u16(&w, sig_scheme_at(i));
    end16(&w, list);
    end16(&w, extension);
    if (names.len) {
        wr_u16(&w, EXT_CERTIFICATE_AUTHORITIES);
        wr_u16(&w, (uint16_t)(2 + names.len));
        wr_u16(&w, (uint16_t)names.len);
    }
    end16(&w, extensions);
    size_t whole = w.len - extensions + names.len;
    if (!wr_end(&w) || whole > UINT16_MAX) {
        h->out_err = ERR_LIMIT;
        return;
    }
    room[extensions - 2] = (uint8_t)(whole >> 8);
    room[extensions - 1] = (uint8_t)whole;
    hs13_out_begin(h, MSG_CERTIFICATE_REQUEST, w.len + names.len);
    hs13_out_put(h, wr_written(&w));
    hs13_out_put(h, names);
}

void hs13_put_certificate_verify(struct hs13 *h, struct span signature) {
    uint8_t head[4];
    struct wr w = wr_of(head, sizeof(head));
    wr_u16(&w, h->scheme);
    wr_u16(&w, (uint16_t)signature.len);
    hs13_out_begin(h, MSG_CERTIFICATE_VERIFY, sizeof(head) + signature.len);
    hs13_out_put(h, wr_written(&w));
    hs13_out_put(h, signature);
}

void hs13_finished_mac(const struct hs13 *h, const uint8_t *base, uint8_t ret[static HASH_LEN_MAX]) {
    uint8_t digest[HASH_LEN_MAX];
    hs13_keys_digest(&h->keys, digest);
    hs13_keys_mac(h->suite->hash, base, digest, ret);
}

void hs13_put_finished(struct hs13 *h) {
    uint8_t mac[HASH_LEN_MAX];
    hs13_finished_mac(h, h->out_keys.secret, mac);
    hs13_out_message(h, MSG_FINISHED, span_of(mac, hash_len(h->suite->hash)));
}

void hs13_put_ticket(struct hs13 *h) {
    static const uint8_t nonce[] = {0}; /* one ticket a session */
    struct hs13_scratch *s = h->env->scratch;
    struct hs13_ticket *t = &s->ticket;
    uint8_t resumption[HASH_LEN_MAX], head[SMALL_MAX];
    size_t len = 0;
    if (!h->wants_tickets || h->ticket_given)
        return;
    h->ticket_given = true;
    hs13_keys_derive(&h->keys, "res master", resumption);
    memset(t, 0, sizeof(*t));
    hs13_keys_ticket(h->suite->hash, resumption, span_of(nonce, sizeof(nonce)), t->psk);
    t->hash = h->suite->hash;
    t->issued_s = (int64_t)time(NULL);
    t->full_s = h->resumed ? h->full_s : t->issued_s;
    if (h->client)
        t->client = *h->client;
    if (h->client_der)
        memcpy(t->cert, h->client_der, t->cert_len = h->client_der_len);
    ticket_bind_name(h->server->binding, h->sni, t->binding);
    if (hs13_ticket_seal(h->server->tickets, t, s->ticket_bytes, &len) == 0) {
        uint8_t age_add[4];
        struct wr w = wr_of(head, sizeof(head));
        h->env->random(age_add, sizeof(age_add));
        wr_u32(&w, TICKETS_LIFETIME_S);
        wr_bytes(&w, age_add, sizeof(age_add));
        wr_vec8(&w, span_of(nonce, sizeof(nonce)));
        wr_u16(&w, (uint16_t)len);
        hs13_out_begin(h, MSG_NEW_SESSION_TICKET, w.len + len + 2);
        hs13_out_put(h, wr_written(&w));
        hs13_out_put(h, span_of(s->ticket_bytes, len));
        hs13_out_put(h, span_of("\0", 2)); /* no extensions: no early data */
    }
    secret_wipe(resumption, sizeof(resumption));
    secret_wipe(t, sizeof(*t));
}

void hs13_put_early_ticket(struct hs13 *h) {
    const union sha2 before = h->keys.transcript; /* no secret */
    uint8_t message[4 + HASH_LEN_MAX] = {MSG_FINISHED, 0, 0, (uint8_t)hash_len(h->suite->hash)};
    hs13_finished_mac(h, h->in.secret, message + 4);
    hs13_keys_add(&h->keys, span_of(message, 4 + hash_len(h->suite->hash)));
    hs13_put_ticket(h);
    h->keys.transcript = before;
    secret_wipe(message, sizeof(message));
}
