#include "load_lean.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/rd.h"
#include "base/wr.h"
#include "tls/hs13_keys.h"
#include "tls/hs13_msgs.h"
#include "tls/record.h"

#define GROUP_X25519 0x001d
#define SHARE_LEN    32
#define TICKET_MAX   2048
#define HELLO_MAX    (TICKET_MAX + 512)
#define IN_MAX       (2 * RECORD_WIRE_MAX)
#define FLIGHT_MAX   8192

enum { EXT_GROUPS = 10, EXT_SIGNATURES = 13, EXT_PSK = 41, EXT_VERSIONS = 43, EXT_MODES = 45, EXT_SHARE = 51 };

enum state { STATE_NEW, STATE_HELLO, STATE_FLIGHT, STATE_ESTABLISHED };

struct lean {
    int fd; /* the caller's */
    enum state state;
    bool resume, resumed;
    struct hs13_keys keys;
    struct traffic_keys in, out;
    uint8_t client_app[HASH_LEN_MAX];
    uint8_t hello[RECORD_HEADER_LEN + HELLO_MAX]; /* the record */
    size_t hello_len;
    uint8_t flight[FLIGHT_MAX]; /* messages that are not whole yet */
    size_t flight_len;
    uint8_t bytes[IN_MAX]; /* records that are not taken yet */
    size_t len;
    struct span plain; /* of the record at the front, inside BYTES */
    size_t record_len; /* which goes when PLAIN has been read; 0 = none */
};

/* What all connections share. */
static struct {
    const struct suite *suite;
    struct engine_contexts aead;
    EVP_PKEY *own, *peer;
    EVP_PKEY_CTX *agree;
    uint8_t share[SHARE_LEN];
    uint8_t ticket[TICKET_MAX], psk[HASH_LEN_MAX];
    size_t ticket_len; /* 0 = none */
    uint32_t age_add;
    uint64_t ticket_ms;
    uint64_t hellos;
} client;

static uint64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

bool lean_init(const char *suite) {
    size_t len = sizeof(client.share);
    const struct engine *engine = engine_find("auto");
    for (size_t i = 0; suite_at(i); i++)
        if (strcmp(suite_at(i)->name, suite ? suite : "TLS_AES_128_GCM_SHA256") == 0)
            client.suite = suite_at(i);
    client.own = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    client.agree = client.own ? EVP_PKEY_CTX_new(client.own, NULL) : NULL;
    if (!client.suite || client.suite->version != TLS_1_3 || !engine || !client.agree ||
        EVP_PKEY_derive_init(client.agree) != 1 || EVP_PKEY_get_raw_public_key(client.own, client.share, &len) != 1) {
        fprintf(stderr, "load: no TLS 1.3 suite %s, or no X25519\n", suite ? suite : "");
        return false;
    }
    engine_contexts_init(&client.aead, engine);
    return true;
}

const char *lean_suite(void) {
    return client.suite->name;
}

struct lean *lean_new(int fd, bool resume) {
    struct lean *l = malloc(sizeof(*l)); /* 50 KB, most of which is never touched */
    if (!l)
        return NULL;
    l->fd = fd;
    l->state = STATE_NEW;
    l->resume = resume && client.ticket_len;
    l->resumed = false;
    l->hello_len = l->flight_len = l->len = l->record_len = 0;
    l->plain = span_of(NULL, 0);
    return l;
}

void lean_free(struct lean *l) {
    free(l);
}

bool lean_is_established(const struct lean *l) {
    return l->state == STATE_ESTABLISHED;
}

bool lean_is_resumed(const struct lean *l) {
    return l->resumed;
}

/* ---- ClientHello ---- */

static void put_extension(struct wr *w, uint16_t type, struct span data) {
    wr_u16(w, type);
    wr_vec16(w, data);
}

/* The ticket, and room for the binder. */
static void put_ticket(struct wr *w) {
    size_t hash = hash_len(client.suite->hash), identities = 2 + client.ticket_len + 4;
    wr_u16(w, EXT_PSK);
    wr_u16(w, (uint16_t)(2 + identities + 2 + 1 + hash));
    wr_u16(w, (uint16_t)identities);
    wr_vec16(w, span_of(client.ticket, client.ticket_len));
    wr_u32(w, (uint32_t)(now_ms() - client.ticket_ms) + client.age_add);
    wr_u16(w, (uint16_t)(1 + hash));
    wr_u8(w, (uint8_t)hash);
    (void)wr_room(w, hash);
}

static void put_extensions(const struct lean *l, struct wr *w) {
    static const uint8_t groups[] = {0, 4, GROUP_X25519 >> 8, GROUP_X25519 & 0xff, 0, 0x17};
    static const uint8_t signatures[] = {0, 10, 4, 3, 5, 3, 8, 4, 8, 5, 4, 1}; /* ECDSA, RSA-PSS; PKCS #1 for chains */
    uint8_t share[2 + 2 + 2 + SHARE_LEN] = {0, 4 + SHARE_LEN, GROUP_X25519 >> 8, GROUP_X25519 & 0xff, 0, SHARE_LEN};
    memcpy(share + 6, client.share, SHARE_LEN);
    put_extension(w, EXT_GROUPS, span_of(groups, sizeof(groups)));
    put_extension(w, EXT_SIGNATURES, span_of(signatures, sizeof(signatures)));
    put_extension(w, EXT_VERSIONS, span_of((const uint8_t[]){2, TLS_1_3 >> 8, TLS_1_3 & 0xff}, 3));
    put_extension(w, EXT_MODES, span_of((const uint8_t[]){1, 1}, 2));
    put_extension(w, EXT_SHARE, span_of(share, sizeof(share)));
    if (l->resume)
        put_ticket(w);
}

static void set16(uint8_t *at, size_t n) {
    at[0] = (uint8_t)(n >> 8);
    at[1] = (uint8_t)n;
}

/* RFC 8446 4.2.11.2: over the hello without its binders. */
static void bind_ticket(struct lean *l, uint8_t *message, size_t len) {
    uint8_t base[HASH_LEN_MAX], digest[HASH_LEN_MAX];
    size_t hash = hash_len(client.suite->hash);
    struct hs13_keys k;
    hs13_keys_begin(&k, client.suite->hash);
    hs13_keys_early(&k, span_of(client.psk, hash));
    hs13_keys_add(&k, span_of(message, len - hash - 3));
    hs13_keys_digest(&k, digest);
    hs13_keys_binder(&k, base);
    hs13_keys_mac(client.suite->hash, base, digest, message + len - hash);
    memcpy(l->keys.secret, k.secret, sizeof(k.secret)); /* the early stage has begun */
}

static void make_hello(struct lean *l) {
    uint8_t random[32] = {0}, session[32] = {1};
    struct wr w = wr_of(l->hello, sizeof(l->hello));
    uint64_t number = ++client.hellos;
    memcpy(random, &number, sizeof(number)); /* nobody's secrets: different is enough */
    wr_bytes(&w, (const uint8_t[]){CONTENT_HANDSHAKE, 3, 1, 0, 0, MSG_CLIENT_HELLO, 0, 0, 0}, 9);
    wr_u16(&w, TLS_1_2);
    wr_bytes(&w, random, sizeof(random));
    wr_vec8(&w, span_of(session, sizeof(session)));
    wr_u16(&w, 2);
    wr_u16(&w, client.suite->id);
    wr_u16(&w, 1 << 8); /* no compression */
    size_t extensions = w.len;
    wr_u16(&w, 0);
    put_extensions(l, &w);
    MUST(wr_end(&w)); /* a ticket has at most TICKET_MAX */
    set16(l->hello + extensions, w.len - extensions - 2);
    set16(l->hello + 3, w.len - RECORD_HEADER_LEN);
    set16(l->hello + 7, w.len - RECORD_HEADER_LEN - 4);
    l->hello_len = w.len;
    hs13_keys_begin(&l->keys, client.suite->hash);
    if (l->resume)
        bind_ticket(l, l->hello + RECORD_HEADER_LEN, w.len - RECORD_HEADER_LEN);
    else
        hs13_keys_early(&l->keys, span_of(NULL, 0));
    hs13_keys_add(&l->keys, span_of(l->hello + RECORD_HEADER_LEN, w.len - RECORD_HEADER_LEN));
}

/* ---- records out ---- */

/* A short count would be a socket buffer full of a few hundred bytes: the peer does not read. */
static bool send_all(const struct lean *l, const uint8_t *p, size_t n) {
    return send(l->fd, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

/* The record behind what W has; PLAIN may be W's own room. */
static bool put_sealed(struct lean *l, struct wr *w, enum content_type type, const uint8_t *plain, size_t n) {
    struct record_run run;
    size_t len = 0;
    uint8_t *rec = wr_room(w, RECORD_HEADER_LEN + n + RECORD_SUFFIX_MAX);
    if (!rec || record_run_begin(&run, &client.aead, client.suite, &l->out, true) < 0)
        return false;
    memcpy(rec + RECORD_HEADER_LEN, plain, n);
    if (record_seal(&run, type, rec, n, &len) < 0)
        return false;
    w->len -= RECORD_HEADER_LEN + n + RECORD_SUFFIX_MAX - len;
    return true;
}

/* ---- the server's messages ---- */

static bool agree(struct span share, uint8_t secret[static SHARE_LEN]) {
    size_t len = SHARE_LEN;
    if (share.len != SHARE_LEN)
        return false;
    if (!client.peer)
        client.peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, share.p, share.len);
    else if (EVP_PKEY_set1_encoded_public_key(client.peer, share.p, share.len) != 1)
        return false;
    return client.peer && EVP_PKEY_derive_set_peer_ex(client.agree, client.peer, 0) == 1 &&
           EVP_PKEY_derive(client.agree, secret, &len) == 1 && len == SHARE_LEN;
}

static void set_traffic(const struct lean *l, struct traffic_keys *keys, const char *label) {
    hs13_keys_derive(&l->keys, label, keys->secret);
    hs13_keys_traffic(client.suite, keys);
}

/* No retry: X25519 is what all have. */
static bool take_server_hello(struct lean *l, struct span message) {
    struct rd r = rd_of(span_of(message.p + 4, message.len - 4));
    struct span share = span_of(NULL, 0);
    uint8_t secret[SHARE_LEN];
    (void)rd_bytes(&r, 2 + 32);
    (void)rd_vec8(&r);
    bool ours = rd_u16(&r) == client.suite->id;
    (void)rd_u8(&r);
    struct rd extensions = rd_of(rd_vec16(&r));
    while (rd_left(&extensions)) {
        uint16_t type = rd_u16(&extensions);
        struct rd data = rd_of(rd_vec16(&extensions));
        l->resumed |= type == EXT_PSK;
        if (type == EXT_SHARE && rd_u16(&data) == GROUP_X25519)
            share = rd_vec16(&data);
    }
    if (!rd_end(&r) || !ours || (l->resumed && !l->resume) || !agree(share, secret))
        return false;
    if (l->resume && !l->resumed)
        hs13_keys_early(&l->keys, span_of(NULL, 0));
    hs13_keys_add(&l->keys, message);
    hs13_keys_next(&l->keys, span_of(secret, sizeof(secret)));
    set_traffic(l, &l->out, "c hs traffic");
    set_traffic(l, &l->in, "s hs traffic");
    l->state = STATE_FLIGHT;
    return true;
}

static void finished_mac(const struct lean *l, const struct traffic_keys *keys, uint8_t ret[static HASH_LEN_MAX]) {
    uint8_t digest[HASH_LEN_MAX];
    hs13_keys_digest(&l->keys, digest);
    hs13_keys_mac(client.suite->hash, keys->secret, digest, ret);
}

/* As libssl's client does it: ChangeCipherSpec and Finished at once, data after them. */
static bool answer_finished(struct lean *l) {
    uint8_t mac[HASH_LEN_MAX], room[128], message[4 + HASH_LEN_MAX] = {MSG_FINISHED};
    size_t hash = hash_len(client.suite->hash);
    struct wr w = wr_of(room, sizeof(room));
    message[3] = (uint8_t)hash;
    finished_mac(l, &l->out, mac);
    memcpy(message + 4, mac, hash);
    wr_bytes(&w, (const uint8_t[]){CONTENT_CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1}, 6);
    hs13_keys_next(&l->keys, span_of(NULL, 0));
    set_traffic(l, &l->in, "s ap traffic");
    hs13_keys_derive(&l->keys, "c ap traffic", l->client_app);
    hs13_keys_add(&l->keys, span_of(message, 4 + hash));
    if (!put_sealed(l, &w, CONTENT_HANDSHAKE, message, 4 + hash) || !send_all(l, w.p, w.len))
        return false;
    memcpy(l->out.secret, l->client_app, sizeof(l->out.secret));
    hs13_keys_traffic(client.suite, &l->out);
    l->state = STATE_ESTABLISHED;
    return true;
}

static bool take_finished(struct lean *l, struct span message) {
    uint8_t mac[HASH_LEN_MAX];
    size_t hash = hash_len(client.suite->hash);
    finished_mac(l, &l->in, mac);
    if (message.len != 4 + hash || memcmp(mac, message.p + 4, hash) != 0)
        return false;
    hs13_keys_add(&l->keys, message);
    return answer_finished(l);
}

static bool take_ticket(const struct lean *l, struct span message) {
    uint8_t resumption[HASH_LEN_MAX];
    struct rd r = rd_of(span_of(message.p + 4, message.len - 4));
    (void)rd_u32(&r);
    client.age_add = rd_u32(&r);
    struct span nonce = rd_vec8(&r), ticket = rd_vec16(&r);
    (void)rd_vec16(&r);
    if (!rd_end(&r) || ticket.len > sizeof(client.ticket))
        return false;
    memcpy(client.ticket, ticket.p, client.ticket_len = ticket.len);
    client.ticket_ms = now_ms();
    hs13_keys_derive(&l->keys, "res master", resumption);
    hs13_keys_ticket(client.suite->hash, resumption, nonce, client.psk);
    return true;
}

static bool take_message(struct lean *l, struct span message) {
    uint8_t type = message.p[0];
    if (l->state == STATE_HELLO)
        return type == MSG_SERVER_HELLO && take_server_hello(l, message);
    if (l->state == STATE_ESTABLISHED) /* a ticket of a resumed session is not looked at */
        return type == MSG_NEW_SESSION_TICKET && (l->resumed || take_ticket(l, message));
    if (type == MSG_FINISHED)
        return take_finished(l, message);
    hs13_keys_add(&l->keys, message);
    return type == MSG_ENCRYPTED_EXTENSIONS || type == MSG_CERTIFICATE || type == MSG_CERTIFICATE_VERIFY;
}

static bool take_handshake(struct lean *l, struct span content) {
    if (content.len > sizeof(l->flight) - l->flight_len)
        return false;
    memcpy(l->flight + l->flight_len, content.p, content.len);
    l->flight_len += content.len;
    size_t at = 0;
    while (l->flight_len - at >= 4) {
        const uint8_t *p = l->flight + at;
        size_t len = 4 + ((size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]);
        if (l->flight_len - at < len)
            break;
        if (!take_message(l, span_of(p, len)))
            return false;
        at += len;
    }
    l->flight_len -= at;
    memmove(l->flight, l->flight + at, l->flight_len);
    return true;
}

/* ---- records in ---- */

/* The whole record at the front: its plain bytes are l->plain when it is the application's, else it is done with. */
static bool take_record(struct lean *l, size_t len) {
    struct span content = span_of(l->bytes + RECORD_HEADER_LEN, len - RECORD_HEADER_LEN);
    enum content_type type = l->bytes[0];
    if (l->state >= STATE_FLIGHT && type == CONTENT_APPLICATION_DATA) {
        struct record_run run;
        if (record_run_begin(&run, &client.aead, client.suite, &l->in, false) < 0 ||
            record_open(&run, l->bytes, len, &type, &content) < 0)
            return false;
        if (type == CONTENT_APPLICATION_DATA && l->state == STATE_ESTABLISHED) {
            l->plain = content;
            return true;
        }
    } else if (type == CONTENT_CHANGE_CIPHER_SPEC) {
        return true;
    }
    return type == CONTENT_HANDSHAKE && take_handshake(l, content);
}

static void drop_record(struct lean *l) {
    l->len -= l->record_len;
    memmove(l->bytes, l->bytes + l->record_len, l->len);
    l->record_len = 0;
}

/* One more record, if there is one: 1, 0 = not now, -1. */
static int next_record(struct lean *l) {
    while (true) {
        int n = record_frame(client.suite, l->bytes, l->len);
        if (n > 0 && (size_t)n <= l->len) {
            l->record_len = (size_t)n;
            return take_record(l, l->record_len) ? 1 : -1;
        }
        ssize_t got = n < 0 ? 0 : recv(l->fd, l->bytes + l->len, sizeof(l->bytes) - l->len, 0);
        if (got <= 0)
            return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
        l->len += (size_t)got;
    }
}

/* 1 = established. */
static int shake_hands(struct lean *l) {
    if (!l->hello_len)
        make_hello(l);
    if (l->state == STATE_NEW && !send_all(l, l->hello, l->hello_len)) /* not connected yet, or refused */
        return errno == EAGAIN || errno == EINPROGRESS || errno == ENOTCONN ? 0 : -1;
    l->state = MAX(l->state, STATE_HELLO);
    while (l->state != STATE_ESTABLISHED) {
        int n = next_record(l);
        if (n <= 0)
            return n;
        drop_record(l);
    }
    return 1;
}

/* ---- the connection's bytes ---- */

ssize_t lean_send(struct lean *l, const uint8_t *p, size_t n) {
    static uint8_t room[RECORD_PLAIN_MAX + RECORD_OVERHEAD_MAX];
    struct wr w = wr_of(room, sizeof(room));
    int ready = shake_hands(l);
    if (ready <= 0)
        return ready;
    n = MIN(n, (size_t)RECORD_PLAIN_MAX);
    return put_sealed(l, &w, CONTENT_APPLICATION_DATA, p, n) && send_all(l, w.p, w.len) ? (ssize_t)n : -1;
}

ssize_t lean_recv(struct lean *l, uint8_t *p, size_t n) {
    while (!l->plain.len) {
        int got = next_record(l);
        if (got <= 0)
            return got;
        if (!l->plain.len)
            drop_record(l);
    }
    n = MIN(n, l->plain.len);
    memcpy(p, l->plain.p, n);
    l->plain = span_of(l->plain.p + n, l->plain.len - n);
    if (!l->plain.len)
        drop_record(l);
    return (ssize_t)n;
}

void lean_shutdown(struct lean *l) {
    static const uint8_t close_notify[] = {1, 0};
    uint8_t room[64];
    struct wr w = wr_of(room, sizeof(room));
    if (l->state == STATE_ESTABLISHED && put_sealed(l, &w, CONTENT_ALERT, close_notify, sizeof(close_notify)))
        (void)send_all(l, w.p, w.len); /* the descriptor goes next */
}
