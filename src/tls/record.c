#include "tls/record.h"

#include <string.h>

#include "base/err.h"

#define RECORD_AAD_MAX 13

int record_run_begin(struct record_run *run, struct engine_contexts *contexts, const struct suite *suite,
                     struct traffic_keys *keys, bool seal) {
    void *ctx = engine_contexts_load(contexts, suite->aead, seal, keys->key);
    if (!ctx)
        return ERR_CRYPTO;
    *run = (struct record_run){.keys = keys, .suite = suite, .engine = contexts->engine, .ctx = ctx};
    return 0;
}

static void put_u16(uint8_t *p, size_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put_u64(uint8_t *p, uint64_t v) {
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(v >> (56 - 8 * i));
}

static size_t explicit_len(const struct suite *suite) {
    return suite->version == TLS_1_3 ? 0 : aead_of(suite->aead)->tls12_explicit_len;
}

size_t record_prefix(const struct suite *suite) {
    return RECORD_HEADER_LEN + explicit_len(suite);
}

/* RFC 8446 5.3, RFC 7905 2: the sequence number, right-aligned, over the IV. RFC 5288 3: fixed part, then EXPLICIT's bytes. */
static void make_nonce(const struct record_run *run, const uint8_t *explicit, uint8_t nonce[static AEAD_NONCE_LEN]) {
    memcpy(nonce, run->keys->iv, AEAD_NONCE_LEN);
    if (explicit_len(run->suite) > 0) {
        memcpy(nonce + 4, explicit, 8);
        return;
    }
    uint8_t seq[8];
    put_u64(seq, run->keys->seq);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= seq[i];
}

/* 1.3: the header as it is (RFC 8446 5.2). 1.2: number, type, version, plain length (RFC 5246 6.2.3.3). */
static struct span make_aad(const struct record_run *run, const uint8_t *header, size_t plain_len,
                            uint8_t room[static RECORD_AAD_MAX]) {
    if (run->suite->version == TLS_1_3)
        return span_of(header, RECORD_HEADER_LEN);
    put_u64(room, run->keys->seq);
    memcpy(room + 8, header, 3);
    put_u16(room + 11, plain_len);
    return span_of(room, RECORD_AAD_MAX);
}

uint64_t record_seals_left(const struct suite *suite, const struct traffic_keys *keys) {
    uint64_t limit = suite_seal_limit(suite);
    return keys->seq < limit ? limit - keys->seq : 0;
}

/* A number used twice under one key would give the key away; the limits end a key long before. */
static void next_number(struct traffic_keys *keys) {
    MUST(keys->seq != UINT64_MAX);
    keys->seq++;
}

int record_seal(struct record_run *run, enum content_type type, uint8_t *rec, size_t plain_len, size_t *ret_len) {
    uint8_t nonce[AEAD_NONCE_LEN], aad_room[RECORD_AAD_MAX];
    const struct suite *suite = run->suite;
    struct traffic_keys *keys = run->keys;
    bool is_1_3 = suite->version == TLS_1_3;
    size_t prefix = record_prefix(suite);
    uint8_t *data = rec + prefix;
    size_t data_len = plain_len + is_1_3;

    MUST(plain_len <= RECORD_PLAIN_MAX);
    if (record_seals_left(suite, keys) == 0)
        return ERR_KEY_LIMIT;

    if (is_1_3)
        data[plain_len] = (uint8_t)type;
    rec[0] = is_1_3 ? CONTENT_APPLICATION_DATA : (uint8_t)type;
    put_u16(rec + 1, TLS_1_2);
    put_u16(rec + 3, prefix - RECORD_HEADER_LEN + data_len + AEAD_TAG_LEN);
    if (prefix > RECORD_HEADER_LEN)
        put_u64(rec + RECORD_HEADER_LEN, keys->explicit_nonce);
    make_nonce(run, rec + RECORD_HEADER_LEN, nonce);

    struct span aad = make_aad(run, rec, plain_len, aad_room);
    int rc = run->engine->seal(run->ctx, nonce, aad, data, data_len, data + data_len);
    if (rc)
        return rc;
    next_number(keys);
    if (prefix > RECORD_HEADER_LEN)
        keys->explicit_nonce++;
    *ret_len = prefix + data_len + AEAD_TAG_LEN;
    return 0;
}

int record_judge(uint8_t type, size_t len, size_t expansion) {
    if (len > RECORD_PLAIN_MAX + expansion)
        return ERR_RECORD_OVERFLOW;
    bool never_empty = type == CONTENT_ALERT || type == CONTENT_HANDSHAKE;
    return never_empty && len == expansion ? ERR_RECORD_TYPE : 0;
}

int record_frame(const struct suite *suite, const uint8_t *in, size_t in_len) {
    if (in_len < RECORD_HEADER_LEN)
        return 0;
    if (in[0] < CONTENT_CHANGE_CIPHER_SPEC || in[0] > CONTENT_APPLICATION_DATA)
        return ERR_RECORD_TYPE;
    if (in[1] != 3)
        return ERR_RECORD_VERSION;
    int len = in[3] << 8 | in[4];
    if (len > RECORD_WIRE_MAX - RECORD_HEADER_LEN)
        return ERR_RECORD_OVERFLOW;
    return RECORD_HEADER_LEN + len;
}

/* Strips padding and content type off an opened TLS 1.3 record (RFC 8446 5.4). */
static int strip_inner(const uint8_t *data, size_t len, enum content_type *ret_type, struct span *ret_plain) {
    while (len > 0 && data[len - 1] == 0)
        len--;
    if (len == 0)
        return ERR_RECORD_TYPE;
    *ret_type = data[len - 1];
    *ret_plain = span_of(data, len - 1);
    return 0;
}

int record_open(struct record_run *run, uint8_t *rec, size_t rec_len, enum content_type *ret_type, struct span *ret_plain) {
    uint8_t nonce[AEAD_NONCE_LEN], aad_room[RECORD_AAD_MAX];
    bool is_1_3 = run->suite->version == TLS_1_3;
    size_t prefix = record_prefix(run->suite);

    if (is_1_3 && rec[0] != CONTENT_APPLICATION_DATA)
        return ERR_RECORD_TYPE;
    if (rec_len < prefix + AEAD_TAG_LEN)
        return ERR_BAD_MAC;
    uint8_t *data = rec + prefix;
    size_t len = rec_len - prefix - AEAD_TAG_LEN;
    if (len > (size_t)RECORD_PLAIN_MAX + is_1_3)
        return ERR_RECORD_OVERFLOW;
    if (run->keys->seq == UINT64_MAX)
        return ERR_KEY_LIMIT;

    make_nonce(run, rec + RECORD_HEADER_LEN, nonce);
    struct span aad = make_aad(run, rec, len, aad_room);
    int rc = run->engine->open(run->ctx, nonce, aad, data, len, data + len);
    if (rc)
        return rc;
    next_number(run->keys);
    if (is_1_3)
        return strip_inner(data, len, ret_type, ret_plain);
    *ret_type = rec[0];
    *ret_plain = span_of(data, len);
    return 0;
}
