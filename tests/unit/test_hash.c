#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "base/hash.h"

/* SipHash-1-3 by the authors' reference code (github.com/veorq/SipHash with 1 and 3 rounds): key 00..0f, input 00, 01, ... */
static void reference_vectors(void **state) {
    static const uint64_t expected[] = {
        UINT64_C(0xabac0158050fc4dc), UINT64_C(0xc9f49bf37d57ca93), UINT64_C(0x82cb9b024dc7d44d), UINT64_C(0x8bf80ab8e7ddf7fb),
        UINT64_C(0xcf75576088d38328), UINT64_C(0xdef9d52f49533b67), UINT64_C(0xc50d2b50c59f22a7), UINT64_C(0xd3927d989bb11140),
        UINT64_C(0x369095118d299a8e), UINT64_C(0x25a48eb36c063de4), UINT64_C(0x79de85ee92ff097f), UINT64_C(0x70c118c1f94dc352),
        UINT64_C(0x78a384b157b4d9a2), UINT64_C(0x306f760c1229ffa7), UINT64_C(0x605aa111c0f95d34), UINT64_C(0xd320d86d2a519956),
        UINT64_C(0xcc4fdd1a7d908b66),
    };
    const struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
    uint8_t in[ARRAY_LEN(expected)];
    for (size_t i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)i;
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_true(hash_bytes(&key, span_of(in, i)) == expected[i]);
}

/* What CPython 3.11 gives for hash(bytes) with PYTHONHASHSEED=0. */
static void zero_key_vectors(void **state) {
    const struct hash_key key = {0, 0};
    assert_true(hash_bytes(&key, span_str("abc")) == UINT64_C(0xc03bc3a0042630f2));
    assert_true(hash_bytes(&key, span_str("tls-off: a longer text of several words")) == UINT64_C(0x311ab155155b88a0));
}

static void the_key_matters(void **state) {
    const struct hash_key a = {1, 0}, b = {0, 1};
    assert_true(hash_bytes(&a, span_str("x")) != hash_bytes(&b, span_str("x")));
    assert_true(hash_bytes(&a, span_of(NULL, 0)) != hash_bytes(&b, span_of(NULL, 0)));
}

static void alignment_does_not_matter(void **state) {
    const struct hash_key key = {3, 4};
    uint8_t in[40] = {0};
    for (size_t off = 0; off < 8; off++)
        assert_true(hash_bytes(&key, span_of(in + off, 30)) == hash_bytes(&key, span_of(in, 30)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_vectors),
        cmocka_unit_test(zero_key_vectors),
        cmocka_unit_test(the_key_matters),
        cmocka_unit_test(alignment_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
