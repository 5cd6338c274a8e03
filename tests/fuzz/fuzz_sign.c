/*
 * Requests as a taken-over handshaker would send them, against real keys of every kind. Whatever the bytes, the signer does not
 * fall over; what it signs has one of the two shapes, by a scheme that fits the key, with a size that the key has.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/key_store.h"
#include "base/defs.h"
#include "base/err.h"
#include "creds/sign_rule.h"
#include "signer/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {"RSA:2048", "EC:P-256", "EC:P-384", "ED25519"};
static struct keyring *ring;
static size_t sizes[ARRAY_LEN(types)];

static void make_ring(void) {
    struct store_item items[ARRAY_LEN(types)];
    struct creds store;
    char line[256];
    struct text why = text_of(line, sizeof(line));
    char *dir = make_dir();
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        EVP_PKEY *key = make_key(types[i]);
        items[i] = (struct store_item){.file = make_path(dir, types[i]), .kind = (enum creds_kind)i, .key = key};
        key_write(items[i].file, key, FORM_PKCS8, NULL);
        sizes[i] = (size_t)EVP_PKEY_get_size(key);
    }
    int fd = store_make(items, ARRAY_LEN(types));
    ring = keyring_new();
    make_must(ring && creds_map(fd, &store) == 0 && keyring_begin(ring, 1, &store) == 0, "keyring");
    for (uint32_t i = 0; i < ARRAY_LEN(types); i++) {
        int file = open(items[i].file, O_RDONLY | O_CLOEXEC);
        make_must(keyring_take(ring, i, file, -1, &why) == 0, line);
        close(file);
        EVP_PKEY_free(items[i].key);
    }
    keyring_commit(ring);
    creds_unmap(&store);
    close(fd);
    make_dir_remove(dir);
}

/* What is signed has one of the two shapes, and the answer comes back as it is packed. */
static void sign_one(const struct sign_request *q) {
    static uint8_t sig[SIGN_SIGNATURE_MAX];
    size_t len = 0;
    MUST(q->tbs.len > 0 && q->tbs.len <= SIGN_TBS_MAX);
    int err = keyring_sign(ring, q, sig, &len);
    MUST(err == 0 || err == ERR_NOT_FOUND || err == ERR_FORMAT || err == ERR_UNSUPPORTED);
    if (err == 0) {
        MUST(q->set == 1 && q->key < ARRAY_LEN(types));
        MUST(sign_scheme_fits((enum creds_kind)q->key, q->scheme, sign_shape(q->tbs)));
        MUST(q->key == CREDS_EC_P256 || q->key == CREDS_EC_P384 ? len > 8 && len <= sizes[q->key] : len == sizes[q->key]);
    }
    const struct sign_answer a = {.number = q->number, .err = err, .signature = span_of(sig, len)};
    struct sign_answer back[SIGN_BATCH_MAX];
    uint8_t packed[2 * SIGN_ANSWER_LEN];
    unsigned n = 0;
    struct wr w = wr_of(packed, sizeof(packed));
    sign_put_answer(&w, &a);
    sign_put_answer(&w, &a);
    MUST(wr_end(&w));
    const struct ipc_msg m = {.type = SIGN_ANSWERS, .body = wr_written(&w)};
    MUST(sign_read_answers(&m, back, &n) == 0 && n == 2);
    MUST(back[1].number == a.number && back[1].err == err && (err || span_eq(back[1].signature, a.signature)));
}

/* The first byte: how the message comes (0: as it is; else its first request has a set and key that are there). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t body[SIGN_ANSWERS_MAX + 64];
    struct sign_request q[SIGN_BATCH_MAX];
    struct sign_answer answers[SIGN_BATCH_MAX];
    unsigned n = 0;
    if (!ring)
        make_ring();
    if (size < 1 || size > sizeof(body))
        return 0;
    memcpy(body, data + 1, size - 1);
    struct ipc_msg m = {.type = SIGN_REQUESTS, .body = span_of(body, size - 1)};
    if (data[0] && size > 17) {
        static const uint8_t there[] = {0, 0, 0, 1, 0, 0, 0};
        memcpy(body + 8, there, sizeof(there));
        body[15] = (uint8_t)(data[0] % ARRAY_LEN(types));
    }
    int err = sign_read_requests(&m, q, &n);
    MUST(err == 0 ? n > 0 && n <= SIGN_BATCH_MAX : err == ERR_FORMAT);
    for (unsigned i = 0; err == 0 && i < n; i++)
        sign_one(&q[i]);
    /* and the same bytes as answers, as from a broken signer */
    m.type = SIGN_ANSWERS;
    err = sign_read_answers(&m, answers, &n);
    MUST(err == 0 ? n > 0 && n <= SIGN_BATCH_MAX : err == ERR_FORMAT);
    return 0;
}
