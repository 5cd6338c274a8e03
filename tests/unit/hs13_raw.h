/*
 * A TLS 1.3 client that follows a script, byte by byte, and has the keys: for tests and fuzzers of what a server makes
 * of it. It knows as much of the protocol as an honest handshake needs, and checks our side of it: whole records, one alert,
 * keys.
 */
#pragma once

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/rd.h"
#include "base/wr.h"
#include "hs13_service.h"
#include "tls/hs13_client.h"
#include "tls/hs13_keys.h"
#include "tls/hs13_msgs.h"
#include "tls/record.h"

/* ---- a ClientHello as fields and extensions ---- */

#define RAW_EXTS_MAX 200
#define RAW_BYTES    (96 * 1024)

struct raw_ext {
    uint16_t type;
    struct span data; /* borrows raw_hello.bytes, or the caller's */
};

struct raw_hello {
    uint16_t version;
    uint8_t random[32];
    struct span session_id, suites, compression;
    struct raw_ext exts[RAW_EXTS_MAX];
    size_t nexts;
    uint8_t bytes[RAW_BYTES];
    size_t len;
};

static inline struct span raw_keep(struct raw_hello *h, struct span s) {
    MUST(s.len <= sizeof(h->bytes) - h->len);
    uint8_t *p = h->bytes + h->len;
    if (s.len)
        memcpy(p, s.p, s.len);
    h->len += s.len;
    return span_of(p, s.len);
}

static inline struct raw_ext *raw_find(struct raw_hello *h, uint16_t type) {
    for (size_t i = 0; i < h->nexts; i++)
        if (h->exts[i].type == type)
            return &h->exts[i];
    return NULL;
}

/* One more, at the end, whatever is there already. */
static inline void raw_add(struct raw_hello *h, uint16_t type, struct span data) {
    MUST(h->nexts < RAW_EXTS_MAX);
    h->exts[h->nexts++] = (struct raw_ext){type, raw_keep(h, data)};
}

static inline void raw_set(struct raw_hello *h, uint16_t type, struct span data) {
    struct raw_ext *e = raw_find(h, type);
    if (e)
        e->data = raw_keep(h, data);
    else
        raw_add(h, type, data);
}

static inline void raw_drop(struct raw_hello *h, uint16_t type) {
    struct raw_ext *e = raw_find(h, type);
    if (!e)
        return;
    memmove(e, e + 1, (size_t)(h->exts + h->nexts - e - 1) * sizeof(*e));
    h->nexts--;
}

#define RAW_LIT(text) span_of(text, sizeof(text) - 1)

enum {
    EXT_NAME = 0,
    EXT_MFL = 1,
    EXT_STATUS = 5,
    EXT_GROUPS = 10,
    EXT_SIGALGS = 13,
    EXT_PROTOCOLS = 16,
    EXT_RSL = 28,
    EXT_COMPRESS = 27,
    EXT_PSK = 41,
    EXT_EARLY = 42,
    EXT_VERSIONS = 43,
    EXT_COOKIE = 44,
    EXT_MODES = 45,
    EXT_POST_AUTH = 49,
    EXT_SIGALGS_CERT = 50,
    EXT_SHARE = 51
};

/* What a usual client says, but its key share. */
static inline void raw_hello_usual(struct raw_hello *h) {
    h->nexts = h->len = 0;
    h->version = TLS_1_2;
    memset(h->random, 0x11, sizeof(h->random));
    h->session_id = RAW_LIT("0123456789abcdef0123456789abcdef");
    h->suites = RAW_LIT("\x13\x01\x13\x02\x13\x03");
    h->compression = RAW_LIT("\0");
    raw_add(h, EXT_NAME, RAW_LIT("\0\x12\0\0\x0fwww.example.org"));
    raw_add(h, EXT_GROUPS, RAW_LIT("\0\x08\0\x1d\0\x17\0\x18\0\x19"));
    raw_add(h, EXT_SIGALGS, RAW_LIT("\0\x08\x04\x03\x08\x04\x08\x05\x08\x07"));
    raw_add(h, EXT_VERSIONS, RAW_LIT("\x02\x03\x04"));
    raw_add(h, EXT_MODES, RAW_LIT("\x01\x01"));
}

/* The handshake message. */
static inline void raw_hello_write(const struct raw_hello *h, struct wr *w) {
    size_t at = w->len;
    wr_u8(w, MSG_CLIENT_HELLO);
    wr_u24(w, 0);
    wr_u16(w, h->version);
    wr_bytes(w, h->random, 32);
    wr_vec8(w, h->session_id);
    wr_vec16(w, h->suites);
    wr_vec8(w, h->compression);
    size_t block = w->len;
    wr_u16(w, 0);
    for (size_t i = 0; i < h->nexts; i++) {
        wr_u16(w, h->exts[i].type);
        wr_vec16(w, h->exts[i].data);
    }
    MUST(wr_end(w));
    size_t body = w->len - at - 4, exts = w->len - block - 2;
    w->p[at + 1] = (uint8_t)(body >> 16);
    w->p[at + 2] = (uint8_t)(body >> 8);
    w->p[at + 3] = (uint8_t)body;
    w->p[block] = (uint8_t)(exts >> 8);
    w->p[block + 1] = (uint8_t)exts;
}

/* ---- the client ---- */

enum raw_level { RAW_PLAIN, RAW_HANDSHAKE, RAW_SESSION };

struct raw_client {
    struct engine_contexts *aead;
    struct buf sent; /* for the server */
    const struct suite *suite;
    struct hs13_keys keys;
    EVP_PKEY *key; /* of the share sent last */
    uint16_t group;
    struct hs13_ticket offered; /* psk of the ticket in the hello; hash_len 0 = none */
    bool has_psk;
    bool any_version; /* libssl's alerts repeat the client's legacy_version */

    /* what the server said */
    bool retry, flight_done, resumed, cert_requested;
    uint16_t retry_group;
    unsigned alerts, tickets, ccs, records;
    uint8_t alert;          /* the last */
    enum raw_level alerted; /* and its keys */
    size_t longest;         /* content of a protected record */
    struct traffic_keys in, out;
    enum raw_level in_level, out_level;
    uint8_t client_app[HASH_LEN_MAX];
    uint8_t resumption[HASH_LEN_MAX];
    uint8_t ticket[HS13_TICKET_MAX]; /* the last one */
    size_t ticket_len;
    uint8_t ticket_psk[HASH_LEN_MAX];
    uint32_t ticket_age_add;
    struct buf messages; /* of the server's, not whole yet */
    uint8_t *flight;     /* EncryptedExtensions and what follows, as one run */
    size_t flight_len;
};

static inline void raw_open(struct raw_client *c, struct engine_contexts *aead) {
    memset(c, 0, sizeof(*c));
    c->aead = aead;
    buf_init(&c->sent, 1024 * 1024);
    buf_init(&c->messages, 512 * 1024);
    c->flight = malloc(256 * 1024);
    MUST(c->flight);
}

static inline void raw_close(struct raw_client *c) {
    buf_fini(&c->sent);
    buf_fini(&c->messages);
    EVP_PKEY_free(c->key);
    free(c->flight);
    memset(c, 0, sizeof(*c));
}

static inline void raw_plain(struct raw_client *c, uint8_t type, struct span body) {
    const uint8_t head[] = {type, 3, 3, (uint8_t)(body.len >> 8), (uint8_t)body.len};
    MUST(buf_append(&c->sent, head, sizeof(head)) == 0 && buf_append(&c->sent, body.p, body.len) == 0);
}

/* Under KEYS, with PAD zeros. */
static inline void raw_seal_with(struct raw_client *c, struct traffic_keys *keys, uint8_t type, struct span content,
                                 size_t pad) {
    static uint8_t rec[2 * RECORD_WIRE_MAX];
    struct record_run run;
    size_t len = 0, plain = content.len + (pad ? 1 + pad - 1 : 0);
    MUST(c->suite && plain <= RECORD_PLAIN_MAX);
    memset(rec, 0, RECORD_HEADER_LEN + plain);
    if (content.len)
        memcpy(rec + RECORD_HEADER_LEN, content.p, content.len);
    if (pad)
        rec[RECORD_HEADER_LEN + content.len] = type;
    MUST(record_run_begin(&run, c->aead, c->suite, keys, true) == 0);
    MUST(record_seal(&run, pad ? (enum content_type)0 : (enum content_type)type, rec, plain, &len) == 0);
    MUST(buf_append(&c->sent, rec, len) == 0);
}

/* As the client would send it now: plain before the server's hello, then under its handshake keys. */
static inline void raw_send(struct raw_client *c, uint8_t type, struct span content) {
    if (c->out_level == RAW_PLAIN)
        raw_plain(c, type, content);
    else
        raw_seal_with(c, &c->out, type, content, 0);
}

/* A message, which is in the transcript. */
static inline void raw_message(struct raw_client *c, struct span message) {
    if (c->suite)
        hs13_keys_add(&c->keys, message);
    raw_send(c, CONTENT_HANDSHAKE, message);
}

static inline EVP_PKEY *raw_key(uint16_t group) {
    if (group == 0x001d)
        return EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    return EVP_EC_gen(group == 0x0017 ? "P-256" : group == 0x0018 ? "P-384" : "P-521");
}

/* KEY (kept from here) is the client's; its public half is the key_share of H. */
static inline void raw_share_with(struct raw_client *c, struct raw_hello *h, uint16_t group, EVP_PKEY *key) {
    uint8_t data[200], share[140];
    size_t len = 0;
    struct wr w = wr_of(data, sizeof(data));
    EVP_PKEY_free(c->key);
    c->group = group;
    c->key = key;
    MUST(key && EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, share, sizeof(share), &len) == 1);
    wr_u16(&w, (uint16_t)(4 + len));
    wr_u16(&w, group);
    wr_vec16(&w, span_of(share, len));
    raw_set(h, EXT_SHARE, wr_written(&w));
}

/* A fresh share of GROUP, as key_share of H. */
static inline void raw_share(struct raw_client *c, struct raw_hello *h, uint16_t group) {
    raw_share_with(c, h, group, raw_key(group));
}

static inline void raw_agree(struct raw_client *c, struct span share, uint8_t to[static HS13_SECRET_MAX], size_t *ret_len) {
    EVP_PKEY *peer = EVP_PKEY_new();
    MUST(peer && EVP_PKEY_copy_parameters(peer, c->key) == 1 &&
         EVP_PKEY_set1_encoded_public_key(peer, share.p, share.len) == 1);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(c->key, NULL);
    *ret_len = HS13_SECRET_MAX;
    MUST(peer && ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
         EVP_PKEY_derive(ctx, to, ret_len) == 1);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

/* The ClientHello as it stands; goes to the transcript once the suite is known. */
struct raw_sent_hello {
    uint8_t bytes[2 * RAW_BYTES];
    size_t len;
};
static struct raw_sent_hello raw_first;

/* pre_shared_key with the ticket C has, whose binder is made by raw_hello(); WRONG is added to the binder. */
static inline void raw_offer_ticket(struct raw_client *c, struct raw_hello *h, struct span ticket, const uint8_t *psk,
                                    unsigned hash) {
    static uint8_t data[HS13_TICKET_MAX + 200];
    struct wr w = wr_of(data, sizeof(data));
    c->has_psk = true;
    c->offered.hash = hash;
    memcpy(c->offered.psk, psk, hash_len(hash));
    wr_u16(&w, (uint16_t)(2 + ticket.len + 4));
    wr_vec16(&w, ticket);
    wr_u32(&w, 0x01020304);
    wr_u16(&w, (uint16_t)(1 + hash_len(hash)));
    wr_u8(&w, (uint8_t)hash_len(hash));
    for (size_t i = 0; i < hash_len(hash); i++)
        wr_u8(&w, 0);
    MUST(wr_end(&w));
    raw_drop(h, EXT_PSK);
    raw_add(h, EXT_PSK, wr_written(&w));
}

/* Fills the one binder at the end of MESSAGE in. */
static inline void raw_bind(struct raw_client *c, uint8_t *message, size_t len, bool second) {
    struct hs13_keys k = {0};
    uint8_t base[HASH_LEN_MAX], digest[HASH_LEN_MAX];
    size_t hlen = hash_len(c->offered.hash);
    if (second) {
        k = c->keys;
    } else {
        hs13_keys_begin(&k, c->offered.hash);
    }
    hs13_keys_early(&k, span_of(c->offered.psk, hlen));
    hs13_keys_add(&k, span_of(message, len - hlen - 3));
    hs13_keys_digest(&k, digest);
    hs13_keys_binder(&k, base);
    hs13_keys_mac(c->offered.hash, base, digest, message + len - hlen);
}

/* Writes and sends the hello, first or second. */
static inline void raw_hello(struct raw_client *c, struct raw_hello *h) {
    struct wr w = wr_of(raw_first.bytes, sizeof(raw_first.bytes));
    raw_hello_write(h, &w);
    if (c->has_psk && raw_find(h, EXT_PSK) == &h->exts[h->nexts - 1])
        raw_bind(c, w.p, w.len, c->retry);
    raw_first.len = w.len;
    if (c->retry) {
        hs13_keys_add(&c->keys, wr_written(&w));
    }
    for (size_t off = 0; off < w.len; off += RECORD_PLAIN_MAX)
        raw_plain(c, CONTENT_HANDSHAKE, span_of(w.p + off, MIN(w.len - off, (size_t)RECORD_PLAIN_MAX)));
}

static inline void raw_traffic(struct raw_client *c, struct traffic_keys *keys, const char *label) {
    hs13_keys_derive(&c->keys, label, keys->secret);
    hs13_keys_traffic(c->suite, keys);
}

static inline void raw_take_server_hello(struct raw_client *c, struct span message) {
    static const uint8_t retry_random[4] = {0xcf, 0x21, 0xad, 0x74};
    struct rd r = rd_of(span_of(message.p + 4, message.len - 4));
    struct span share = span_of(NULL, 0);
    MUST(rd_u16(&r) == TLS_1_2);
    struct span random = rd_bytes(&r, 32);
    (void)rd_vec8(&r);
    const struct suite *suite = suite_by_id(rd_u16(&r));
    MUST(suite && rd_u8(&r) == 0 && (!c->suite || c->suite == suite));
    bool retry = memcmp(random.p, retry_random, 4) == 0;
    MUST(!(retry && c->retry));
    struct rd exts = rd_of(rd_vec16(&r));
    MUST(rd_end(&r));
    c->suite = suite;
    while (rd_left(&exts)) {
        uint16_t type = rd_u16(&exts);
        struct span data = rd_vec16(&exts);
        struct rd e = rd_of(data);
        if (type == EXT_SHARE) {
            uint16_t group = rd_u16(&e);
            if (retry)
                c->retry_group = group;
            else
                share = rd_vec16(&e);
            MUST(retry || group == c->group);
        }
        if (type == EXT_PSK)
            c->resumed = true;
    }
    if (!c->retry) {
        hs13_keys_begin(&c->keys, suite->hash);
        hs13_keys_add(&c->keys, span_of(raw_first.bytes, raw_first.len));
    }
    if (retry) {
        hs13_keys_retry(&c->keys);
        hs13_keys_add(&c->keys, message);
        c->retry = true;
        return;
    }
    uint8_t secret[HS13_SECRET_MAX];
    size_t len = 0;
    hs13_keys_add(&c->keys, message);
    raw_agree(c, share, secret, &len);
    hs13_keys_early(&c->keys, c->resumed ? span_of(c->offered.psk, hash_len(suite->hash)) : span_of(NULL, 0));
    hs13_keys_next(&c->keys, span_of(secret, len));
    raw_traffic(c, &c->out, "c hs traffic");
    raw_traffic(c, &c->in, "s hs traffic");
    c->in_level = c->out_level = RAW_HANDSHAKE;
}

static inline void raw_take_ticket(struct raw_client *c, struct span body) {
    struct rd r = rd_of(body);
    (void)rd_u32(&r);
    c->ticket_age_add = rd_u32(&r);
    struct span nonce = rd_vec8(&r), ticket = rd_vec16(&r), exts = rd_vec16(&r);
    MUST(rd_end(&r) && ticket.len <= sizeof(c->ticket) && exts.len == 0);
    memcpy(c->ticket, ticket.p, ticket.len);
    c->ticket_len = ticket.len;
    hs13_keys_ticket(c->suite->hash, c->resumption, nonce, c->ticket_psk);
    c->tickets++;
}

static inline void raw_take_message(struct raw_client *c, struct span message) {
    uint8_t type = message.p[0];
    if (type == MSG_SERVER_HELLO) {
        raw_take_server_hello(c, message);
        return;
    }
    MUST(c->in_level != RAW_PLAIN);
    if (type == MSG_NEW_SESSION_TICKET) {
        MUST(c->in_level == RAW_SESSION);
        raw_take_ticket(c, span_of(message.p + 4, message.len - 4));
        return;
    }
    c->cert_requested |= type == MSG_CERTIFICATE_REQUEST;
    memcpy(c->flight + c->flight_len, message.p, message.len);
    c->flight_len += message.len;
    if (type == MSG_FINISHED) {
        uint8_t digest[HASH_LEN_MAX], mac[HASH_LEN_MAX];
        hs13_keys_digest(&c->keys, digest);
        hs13_keys_mac(c->suite->hash, c->in.secret, digest, mac);
        MUST(message.len == 4 + hash_len(c->suite->hash) && memcmp(mac, message.p + 4, message.len - 4) == 0);
    }
    hs13_keys_add(&c->keys, message);
    if (type == MSG_FINISHED) {
        hs13_keys_next(&c->keys, span_of(NULL, 0));
        hs13_keys_derive(&c->keys, "c ap traffic", c->client_app);
        raw_traffic(c, &c->in, "s ap traffic");
        c->in_level = RAW_SESSION;
        c->flight_done = true;
    }
}

static inline void raw_take_content(struct raw_client *c, uint8_t type, struct span content) {
    MUST(content.len > 0 && c->alerts == 0); /* nothing comes behind an alert */
    if (type == CONTENT_ALERT) {
        MUST(content.len == 2);
        c->alerts++;
        c->alert = content.p[1];
        c->alerted = c->in_level;
        return;
    }
    MUST(type == CONTENT_HANDSHAKE && buf_append(&c->messages, content.p, content.len) == 0);
    while (buf_len(&c->messages) >= 4) {
        struct span s = buf_span(&c->messages);
        size_t len = 4 + ((size_t)s.p[1] << 16 | (size_t)s.p[2] << 8 | s.p[3]);
        if (s.len < len)
            return;
        bool ends_key = s.p[0] == MSG_SERVER_HELLO || s.p[0] == MSG_FINISHED;
        MUST(!ends_key || s.len == len);
        raw_take_message(c, span_of(s.p, len));
        buf_consume(&c->messages, len);
    }
}

/* All that the server has sent. */
static inline void raw_hear(struct raw_client *c, struct buf *out) {
    struct span s = buf_span(out);
    uint8_t *p = (uint8_t *)(uintptr_t)s.p;
    for (size_t off = 0; off < s.len;) {
        MUST(s.len - off >= RECORD_HEADER_LEN);
        size_t len = RECORD_HEADER_LEN + (size_t)(p[off + 3] << 8 | p[off + 4]);
        MUST(len <= s.len - off && (p[off + 1] == 3 || c->any_version));
        c->records++;
        if (p[off] == CONTENT_CHANGE_CIPHER_SPEC) {
            c->ccs++;
        } else if (c->in_level == RAW_PLAIN) {
            raw_take_content(c, p[off], span_of(p + off + RECORD_HEADER_LEN, len - RECORD_HEADER_LEN));
        } else {
            enum content_type type;
            struct span content;
            struct record_run run;
            MUST(record_run_begin(&run, c->aead, c->suite, &c->in, false) == 0);
            MUST(record_open(&run, p + off, len, &type, &content) == 0);
            c->longest = MAX(c->longest, content.len);
            raw_take_content(c, (uint8_t)type, content);
        }
        off += len;
    }
    buf_consume(out, s.len);
}

/* The client's Finished, over all before; then its data goes under the session's key. */
static inline size_t raw_finished(struct raw_client *c, uint8_t to[static 4 + HASH_LEN_MAX]) {
    uint8_t digest[HASH_LEN_MAX];
    size_t len = hash_len(c->suite->hash);
    to[0] = MSG_FINISHED;
    to[1] = to[2] = 0;
    to[3] = (uint8_t)len;
    hs13_keys_digest(&c->keys, digest);
    hs13_keys_mac(c->suite->hash, c->out.secret, digest, to + 4);
    return 4 + len;
}

static inline void raw_enter_session(struct raw_client *c) {
    hs13_keys_derive(&c->keys, "res master", c->resumption);
    memcpy(c->out.secret, c->client_app, sizeof(c->out.secret));
    hs13_keys_traffic(c->suite, &c->out);
    c->out_level = RAW_SESSION;
}

static inline void raw_finish(struct raw_client *c) {
    uint8_t message[4 + HASH_LEN_MAX];
    raw_message(c, span_of(message, raw_finished(c, message)));
    raw_enter_session(c);
}
