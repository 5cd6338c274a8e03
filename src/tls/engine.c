/*
 * Which AEAD engine a process works with, its self-test, and the working contexts.
 *
 * An engine is only used after it has answered published vectors through the very functions that records will take.
 */
#include "tls/engine.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"

struct known_answer {
    enum aead_id aead;
    const char *key;
    const char *nonce;
    const char *aad;
    size_t aad_len;
    const char *plain;
    size_t len;
    const char *sealed;
    const char *tag;
};

#define GCM_NONCE "\xca\xfe\xba\xbe\xfa\xce\xdb\xad\xde\xca\xf8\x88"
#define GCM_KEY   "\xfe\xff\xe9\x92\x86\x65\x73\x1c\x6d\x6a\x8f\x94\x67\x30\x83\x08"
#define GCM_AAD   "\xfe\xed\xfa\xce\xde\xad\xbe\xef\xfe\xed\xfa\xce\xde\xad\xbe\xef\xab\xad\xda\xd2"
#define GCM_PLAIN                                                                                                              \
    "\xd9\x31\x32\x25\xf8\x84\x06\xe5\xa5\x59\x09\xc5\xaf\xf5\x26\x9a\x86\xa7\xa9\x53\x15\x34\xf7\xda\x2e\x4c\x30\x3d"         \
    "\x8a\x31\x8a\x72\x1c\x3c\x0c\x95\x95\x68\x09\x53\x2f\xcf\x0e\x24\x49\xa6\xb5\x25\xb1\x6a\xed\xf5\xaa\x0d\xe6\x57"         \
    "\xba\x63\x7b\x39"

static const struct known_answer known_answers[] = {
    /* McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4 */
    {AEAD_AES_128_GCM, GCM_KEY, GCM_NONCE, GCM_AAD, 20, GCM_PLAIN, 60,
     "\x42\x83\x1e\xc2\x21\x77\x74\x24\x4b\x72\x21\xb7\x84\xd0\xd4\x9c\xe3\xaa\x21\x2f\x2c\x02\xa4\xe0\x35\xc1\x7e\x23"
     "\x29\xac\xa1\x2e\x21\xd5\x14\xb2\x54\x66\x93\x1c\x7d\x8f\x6a\x5a\xac\x84\xaa\x05\x1b\xa3\x0b\x39\x6a\x0a\xac\x97"
     "\x3d\x58\xe0\x91",
     "\x5b\xc9\x4f\xbc\x32\x21\xa5\xdb\x94\xfa\xe9\x5a\xe7\x12\x1a\x47"},
    /* the same, test case 16 */
    {AEAD_AES_256_GCM, GCM_KEY GCM_KEY, GCM_NONCE, GCM_AAD, 20, GCM_PLAIN, 60,
     "\x52\x2d\xc1\xf0\x99\x56\x7d\x07\xf4\x7f\x37\xa3\x2a\x84\x42\x7d\x64\x3a\x8c\xdc\xbf\xe5\xc0\xc9\x75\x98\xa2\xbd"
     "\x25\x55\xd1\xaa\x8c\xb0\x8e\x48\x59\x0d\xbb\x3d\xa7\xb0\x8b\x10\x56\x82\x88\x38\xc5\xf6\x1e\x63\x93\xba\x7a\x0a"
     "\xbc\xc9\xf6\x62",
     "\x76\xfc\x6e\xce\x0f\x4e\x17\x68\xcd\xdf\x88\x53\xbb\x2d\x55\x1b"},
    /* RFC 8439 2.8.2 */
    {AEAD_CHACHA20_POLY1305,
     "\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8d\x8e\x8f\x90\x91\x92\x93\x94\x95\x96\x97\x98\x99\x9a\x9b"
     "\x9c\x9d\x9e\x9f",
     "\x07\x00\x00\x00\x40\x41\x42\x43\x44\x45\x46\x47", "\x50\x51\x52\x53\xc0\xc1\xc2\xc3\xc4\xc5\xc6\xc7", 12,
     "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.", 114,
     "\xd3\x1a\x8d\x34\x64\x8e\x60\xdb\x7b\x86\xaf\xbc\x53\xef\x7e\xc2\xa4\xad\xed\x51\x29\x6e\x08\xfe\xa9\xe2\xb5\xa7"
     "\x36\xee\x62\xd6\x3d\xbe\xa4\x5e\x8c\xa9\x67\x12\x82\xfa\xfb\x69\xda\x92\x72\x8b\x1a\x71\xde\x0a\x9e\x06\x0b\x29"
     "\x05\xd6\xa5\xb6\x7e\xcd\x3b\x36\x92\xdd\xbd\x7f\x2d\x77\x8b\x8c\x98\x03\xae\xe3\x28\x09\x1b\x58\xfa\xb3\x24\xe4"
     "\xfa\xd6\x75\x94\x55\x85\x80\x8b\x48\x31\xd7\xbc\x3f\xf4\xde\xf0\x8e\x4b\x7a\x9d\xe5\x76\xd2\x65\x86\xce\xc6\x4b"
     "\x61\x16",
     "\x1a\xe1\x0b\x59\x4f\x09\xe2\x6a\x7e\x90\x2e\xcb\xd0\x60\x06\x91"},
};

static const uint8_t *text_bytes(const char *text) {
    return (const uint8_t *)text;
}

static bool seals_as_known(const struct engine *e, void *ctx, const struct known_answer *k) {
    uint8_t data[128], tag[AEAD_TAG_LEN];
    memcpy(data, k->plain, k->len);
    if (e->set_key(ctx, text_bytes(k->key)) != 0)
        return false;
    if (e->seal(ctx, text_bytes(k->nonce), span_of(k->aad, k->aad_len), data, k->len, tag) != 0)
        return false;
    return memcmp(data, k->sealed, k->len) == 0 && memcmp(tag, k->tag, sizeof tag) == 0;
}

/* Opens the known answer, and refuses it once a bit of the tag is another. */
static bool opens_as_known(const struct engine *e, void *ctx, const struct known_answer *k) {
    uint8_t data[128], tag[AEAD_TAG_LEN];
    struct span aad = span_of(k->aad, k->aad_len);
    memcpy(data, k->sealed, k->len);
    memcpy(tag, k->tag, sizeof tag);
    if (e->set_key(ctx, text_bytes(k->key)) != 0)
        return false;
    if (e->open(ctx, text_bytes(k->nonce), aad, data, k->len, tag) != 0 || memcmp(data, k->plain, k->len) != 0)
        return false;
    memcpy(data, k->sealed, k->len);
    tag[AEAD_TAG_LEN - 1] ^= 1;
    return e->open(ctx, text_bytes(k->nonce), aad, data, k->len, tag) == ERR_BAD_MAC;
}

bool engine_known_answers(const struct engine *e) {
    bool good = true;
    for (size_t i = 0; i < ARRAY_LEN(known_answers) && good; i++) {
        const struct known_answer *k = &known_answers[i];
        void *seal = e->ctx_new(k->aead, true);
        void *open = e->ctx_new(k->aead, false);
        good = seal && open && seals_as_known(e, seal, k) && opens_as_known(e, open, k);
        e->ctx_free(seal);
        e->ctx_free(open);
    }
    return good;
}

#define AGREE_LEN 16385

/* Seals the same LEN bytes with both; then E opens its own. */
static bool agree_at(const struct engine *e, void *const ctx[static 2], const struct engine *ref, void *ref_ctx, size_t len,
                     uint8_t *mine, uint8_t *theirs) {
    static const uint8_t header[] = {23, 3, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    uint8_t my_tag[AEAD_TAG_LEN], their_tag[AEAD_TAG_LEN];
    struct span aad = span_of(header, len & 1 ? sizeof header : 5);
    const uint8_t *nonce = text_bytes(GCM_NONCE);
    for (size_t i = 0; i < len; i++)
        mine[i] = theirs[i] = (uint8_t)(i * 7 + (i >> 8));
    if (e->seal(ctx[0], nonce, aad, mine, len, my_tag) != 0 || ref->seal(ref_ctx, nonce, aad, theirs, len, their_tag) != 0)
        return false;
    if (memcmp(mine, theirs, len) != 0 || memcmp(my_tag, their_tag, sizeof my_tag) != 0)
        return false;
    if (e->open(ctx[1], nonce, aad, mine, len, my_tag) != 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (mine[i] != (uint8_t)(i * 7 + (i >> 8)))
            return false;
    return true;
}

static bool agree_on(const struct engine *e, const struct engine *ref, enum aead_id aead, uint8_t *mine, uint8_t *theirs) {
    static const size_t lens[] = {0, 1, 15, 16, 17, 64, 255, 256, 257, 511, 769, 1024, 1400, 2048, 4097, AGREE_LEN};
    void *ctx[2] = {e->ctx_new(aead, true), e->ctx_new(aead, false)};
    void *ref_ctx = ref->ctx_new(aead, true);
    const uint8_t *key = text_bytes(GCM_KEY GCM_KEY);
    bool good = ctx[0] && ctx[1] && ref_ctx && e->set_key(ctx[0], key) == 0 && e->set_key(ctx[1], key) == 0 &&
                ref->set_key(ref_ctx, key) == 0;
    for (size_t i = 0; i < ARRAY_LEN(lens) && good; i++)
        good = agree_at(e, ctx, ref, ref_ctx, lens[i], mine, theirs);
    e->ctx_free(ctx[0]);
    e->ctx_free(ctx[1]);
    ref->ctx_free(ref_ctx);
    return good;
}

bool engine_agrees(const struct engine *e, const struct engine *reference) {
    uint8_t *room = malloc(2 * AGREE_LEN);
    bool good = room != NULL;
    for (enum aead_id aead = 0; aead < AEAD_COUNT && good; aead++)
        good = agree_on(e, reference, aead, room, room + AGREE_LEN);
    free(room);
    return good;
}

/* Fastest first. */
static const struct engine *const engines[] = {
#ifdef HAVE_IPSEC_MB
    &engine_mb,
#endif
    &engine_libcrypto,
};

const struct engine *engine_find(const char *name) {
    bool any = strcmp(name, "auto") == 0;
    for (size_t i = 0; i < ARRAY_LEN(engines); i++)
        if ((any || strcmp(engines[i]->name, name) == 0) && engines[i]->usable())
            return engines[i];
    return NULL;
}

void engine_contexts_init(struct engine_contexts *c, const struct engine *engine) {
    *c = (struct engine_contexts){.engine = engine};
}

void engine_contexts_fini(struct engine_contexts *c) {
    for (int i = 0; i < AEAD_COUNT; i++) {
        c->engine->ctx_free(c->seal[i]);
        c->engine->ctx_free(c->open[i]);
        c->seal[i] = c->open[i] = NULL;
    }
}

void *engine_contexts_load(struct engine_contexts *c, enum aead_id aead, bool seal, const uint8_t *key) {
    void **slot = seal ? &c->seal[aead] : &c->open[aead];
    if (!*slot)
        *slot = c->engine->ctx_new(aead, seal);
    if (!*slot || c->engine->set_key(*slot, key) != 0)
        return NULL;
    c->loaded[seal] |= (uint8_t)(1u << aead);
    return *slot;
}

void engine_contexts_forget(struct engine_contexts *c) {
    static const uint8_t zeros[AEAD_KEY_MAX];
    for (int seal = 0; seal < 2; seal++) {
        for (unsigned aead = 0; aead < AEAD_COUNT; aead++)
            if (c->loaded[seal] & 1u << aead)
                (void)c->engine->set_key(seal ? c->seal[aead] : c->open[aead], zeros); /* as it could be set before */
        c->loaded[seal] = 0;
    }
}
