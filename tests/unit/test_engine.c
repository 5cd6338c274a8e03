/* The AEAD engines: known answers, refusals, and all engines against each other. */
#include "tls/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define LONG_LEN 16385

static uint8_t plain[LONG_LEN], work[LONG_LEN];
static const uint8_t key[AEAD_KEY_MAX] = "0123456789abcdef0123456789abcde";
static const uint8_t nonce[AEAD_NONCE_LEN] = "nonce-nonce";
static const struct span aad = {(const uint8_t *)"header-bytes!", 13};

/* All engines that may be used on this machine; the first is the reference. */
static const struct engine *usable[4];
static size_t nusable;

static int find_engines(void **state) {
    static const char *const names[] = {"libcrypto", "mb"};
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i * 31 + (i >> 8));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (engine_find(names[i]))
            usable[nusable++] = engine_find(names[i]);
    return nusable > 0 ? 0 : -1;
}

static void libcrypto_answers_the_known_questions(void **state) {
    assert_true(engine_libcrypto.usable());
    assert_ptr_equal(engine_find("libcrypto"), &engine_libcrypto);
}

/* A fast engine that is quietly passed over would make every other test here one of libcrypto alone. */
static void mb_works_where_it_is_built_in(void **state) {
#ifdef HAVE_IPSEC_MB
    if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul"))
        skip();
    assert_ptr_equal(engine_find("mb"), &engine_mb);
    assert_ptr_equal(engine_find("auto"), &engine_mb);
    assert_int_equal(nusable, 2);
#else
    assert_null(engine_find("mb"));
    assert_ptr_equal(engine_find("auto"), &engine_libcrypto);
#endif
}

static void unknown_engines_are_not_found(void **state) {
    assert_null(engine_find(""));
    assert_null(engine_find("kernel"));
    assert_null(engine_find("libcrypt"));
}

static void auto_finds_a_usable_engine(void **state) {
    const struct engine *e = engine_find("auto");
    assert_non_null(e);
    assert_true(engine_known_answers(e));
    assert_ptr_equal(e, nusable > 1 ? usable[1] : usable[0]);
}

/* An engine that encrypts nothing and accepts everything. */
static void *fake_ctx_new(enum aead_id aead, bool seal) {
    return &work;
}
static void *fake_ctx_none(enum aead_id aead, bool seal) {
    return NULL;
}
static void fake_ctx_free(void *ctx) {
}
static int fake_set_key(void *ctx, const uint8_t *k) {
    return 0;
}
static int fake_seal(void *ctx, const uint8_t n[static 12], struct span a, uint8_t *data, size_t len, uint8_t tag[static 16]) {
    return 0;
}
static int fake_open(void *ctx, const uint8_t n[static 12], struct span a, uint8_t *data, size_t len,
                     const uint8_t tag[static 16]) {
    return 0;
}

/* Decrypts rightly and believes every tag. */
static int open_gullibly(void *ctx, const uint8_t n[static 12], struct span a, uint8_t *data, size_t len,
                         const uint8_t tag[static 16]) {
    int rc = engine_libcrypto.open(ctx, n, a, data, len, tag);
    return rc == ERR_BAD_MAC ? 0 : rc;
}

static void the_known_answer_test_can_fail(void **state) {
    struct engine fake = {
        .ctx_new = fake_ctx_new, .ctx_free = fake_ctx_free, .set_key = fake_set_key, .seal = fake_seal, .open = fake_open};
    assert_false(engine_known_answers(&fake));
    fake.ctx_new = fake_ctx_none;
    assert_false(engine_known_answers(&fake));

    struct engine half = engine_libcrypto;
    assert_true(engine_known_answers(&half));
    half.open = fake_open;
    assert_false(engine_known_answers(&half));
    half.open = open_gullibly;
    assert_false(engine_known_answers(&half));
    half = engine_libcrypto;
    half.seal = fake_seal;
    assert_false(engine_known_answers(&half));
}

static void engines_that_differ_do_not_agree(void **state) {
    for (size_t e = 0; e < nusable; e++) {
        assert_true(engine_agrees(usable[e], &engine_libcrypto));
        struct engine bad = *usable[e];
        bad.open = fake_open; /* leaves the sealed bytes as they are */
        assert_false(engine_agrees(&bad, &engine_libcrypto));
        bad = *usable[e];
        bad.seal = fake_seal;
        assert_false(engine_agrees(&bad, &engine_libcrypto));
        bad = *usable[e];
        bad.ctx_new = fake_ctx_none;
        bad.ctx_free = fake_ctx_free;
        assert_false(engine_agrees(&bad, &engine_libcrypto));
    }
}

static void check_length(void *seal, void *open, const struct engine *sealer, const struct engine *opener, size_t len) {
    uint8_t tag[AEAD_TAG_LEN];
    memcpy(work, plain, len);
    assert_int_equal(sealer->seal(seal, nonce, aad, work, len, tag), 0);
    if (len >= 16)
        assert_memory_not_equal(work, plain, len);
    assert_int_equal(opener->open(open, nonce, aad, work, len, tag), 0);
    assert_memory_equal(work, plain, len);
}

static void every_engine_opens_what_every_engine_seals(void **state) {
    static const size_t edges[] = {1400, 4095, 4096, 8191, 16383, 16384, 16385};
    for (size_t s = 0; s < nusable; s++)
        for (size_t o = 0; o < nusable; o++)
            for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++) {
                void *seal = usable[s]->ctx_new(aead, true), *open = usable[o]->ctx_new(aead, false);
                assert_int_equal(usable[s]->set_key(seal, key), 0);
                assert_int_equal(usable[o]->set_key(open, key), 0);
                for (size_t len = 0; len <= 1100; len++)
                    check_length(seal, open, usable[s], usable[o], len);
                for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++)
                    check_length(seal, open, usable[s], usable[o], edges[i]);
                usable[s]->ctx_free(seal);
                usable[o]->ctx_free(open);
            }
}

static void engines_seal_to_the_same_bytes(void **state) {
    static uint8_t other[LONG_LEN];
    uint8_t tag[AEAD_TAG_LEN], other_tag[AEAD_TAG_LEN];
    for (size_t e = 1; e < nusable; e++)
        for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++) {
            void *a = usable[0]->ctx_new(aead, true), *b = usable[e]->ctx_new(aead, true);
            assert_int_equal(usable[0]->set_key(a, key), 0);
            assert_int_equal(usable[e]->set_key(b, key), 0);
            for (size_t len = 0; len <= LONG_LEN; len += len < 600 ? 1 : 997) {
                for (size_t aad_len = 5; aad_len <= 13; aad_len += 8) {
                    memcpy(work, plain, len);
                    memcpy(other, plain, len);
                    assert_int_equal(usable[0]->seal(a, nonce, span_of(aad.p, aad_len), work, len, tag), 0);
                    assert_int_equal(usable[e]->seal(b, nonce, span_of(aad.p, aad_len), other, len, other_tag), 0);
                    assert_memory_equal(tag, other_tag, sizeof tag);
                    assert_memory_equal(work, other, len);
                }
            }
            usable[0]->ctx_free(a);
            usable[e]->ctx_free(b);
        }
}

static void a_flipped_bit_anywhere_is_refused(void **state) {
    enum { LEN = 100 };
    uint8_t sealed[LEN], tag[AEAD_TAG_LEN], bad_nonce[AEAD_NONCE_LEN], bad_aad[13], bad_tag[AEAD_TAG_LEN];
    for (size_t e = 0; e < nusable; e++)
        for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++) {
            const struct engine *g = usable[e];
            void *seal = g->ctx_new(aead, true), *open = g->ctx_new(aead, false);
            assert_int_equal(g->set_key(seal, key), 0);
            assert_int_equal(g->set_key(open, key), 0);
            memcpy(sealed, plain, LEN);
            assert_int_equal(g->seal(seal, nonce, aad, sealed, LEN, tag), 0);
            for (size_t bit = 0; bit < 8 * (LEN + AEAD_NONCE_LEN + sizeof bad_aad + AEAD_TAG_LEN); bit++) {
                size_t at = bit / 8;
                uint8_t flip = (uint8_t)(1 << bit % 8);
                memcpy(work, sealed, LEN);
                memcpy(bad_nonce, nonce, sizeof bad_nonce);
                memcpy(bad_aad, aad.p, sizeof bad_aad);
                memcpy(bad_tag, tag, sizeof bad_tag);
                if (at < LEN)
                    work[at] ^= flip;
                else if (at < LEN + AEAD_NONCE_LEN)
                    bad_nonce[at - LEN] ^= flip;
                else if (at < LEN + AEAD_NONCE_LEN + sizeof bad_aad)
                    bad_aad[at - LEN - AEAD_NONCE_LEN] ^= flip;
                else
                    bad_tag[at - LEN - AEAD_NONCE_LEN - sizeof bad_aad] ^= flip;
                assert_int_equal(g->open(open, bad_nonce, span_of(bad_aad, sizeof bad_aad), work, LEN, bad_tag), ERR_BAD_MAC);
            }
            /* A refusal leaves the context fit for the next record. */
            memcpy(work, sealed, LEN);
            assert_int_equal(g->open(open, nonce, aad, work, LEN, tag), 0);
            assert_memory_equal(work, plain, LEN);
            g->ctx_free(seal);
            g->ctx_free(open);
        }
}

static void seal_writes_no_byte_outside(void **state) {
    uint8_t room[16 + 64 + 16 + 16];
    for (size_t e = 0; e < nusable; e++)
        for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++) {
            void *seal = usable[e]->ctx_new(aead, true);
            assert_int_equal(usable[e]->set_key(seal, key), 0);
            for (size_t len = 0; len <= 64; len++) {
                memset(room, 0xa5, sizeof room);
                assert_int_equal(usable[e]->seal(seal, nonce, aad, room + 16, len, room + 16 + len), 0);
                for (size_t i = 0; i < 16; i++)
                    assert_int_equal(room[i], 0xa5);
                for (size_t i = 32 + len; i < sizeof room; i++)
                    assert_int_equal(room[i], 0xa5);
            }
            usable[e]->ctx_free(seal);
        }
}

static void contexts_are_made_once_and_take_new_keys(void **state) {
    uint8_t other_key[AEAD_KEY_MAX] = {9}, tag[AEAD_TAG_LEN];
    for (size_t e = 0; e < nusable; e++)
        for (enum aead_id aead = 0; aead < AEAD_COUNT; aead++) {
            struct engine_contexts c;
            engine_contexts_init(&c, usable[e]);
            void *seal = engine_contexts_load(&c, aead, true, key);
            assert_non_null(seal);
            memcpy(work, plain, 50);
            assert_int_equal(usable[e]->seal(seal, nonce, aad, work, 50, tag), 0);
            assert_ptr_equal(engine_contexts_load(&c, aead, true, other_key), seal);

            void *open = engine_contexts_load(&c, aead, false, other_key);
            assert_non_null(open);
            assert_ptr_not_equal(open, seal);
            uint8_t sealed[50];
            memcpy(sealed, work, 50);
            assert_int_equal(usable[e]->open(open, nonce, aad, sealed, 50, tag), ERR_BAD_MAC);
            assert_ptr_equal(engine_contexts_load(&c, aead, false, key), open);
            assert_int_equal(usable[e]->open(open, nonce, aad, work, 50, tag), 0);
            assert_memory_equal(work, plain, 50);
            engine_contexts_fini(&c);
            assert_null(c.seal[aead]);
            assert_null(c.open[aead]);
        }
}

static void contexts_that_cannot_be_made_are_null(void **state) {
    struct engine fake = {
        .ctx_new = fake_ctx_none, .ctx_free = fake_ctx_free, .set_key = fake_set_key, .seal = fake_seal, .open = fake_open};
    struct engine_contexts c;
    engine_contexts_init(&c, &fake);
    assert_null(engine_contexts_load(&c, AEAD_AES_128_GCM, true, key));
    engine_contexts_fini(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libcrypto_answers_the_known_questions),
        cmocka_unit_test(mb_works_where_it_is_built_in),
        cmocka_unit_test(unknown_engines_are_not_found),
        cmocka_unit_test(auto_finds_a_usable_engine),
        cmocka_unit_test(the_known_answer_test_can_fail),
        cmocka_unit_test(engines_that_differ_do_not_agree),
        cmocka_unit_test(every_engine_opens_what_every_engine_seals),
        cmocka_unit_test(engines_seal_to_the_same_bytes),
        cmocka_unit_test(a_flipped_bit_anywhere_is_refused),
        cmocka_unit_test(seal_writes_no_byte_outside),
        cmocka_unit_test(contexts_are_made_once_and_take_new_keys),
        cmocka_unit_test(contexts_that_cannot_be_made_are_null),
    };
    return cmocka_run_group_tests(tests, find_engines, NULL);
}
