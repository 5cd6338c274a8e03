/* HMAC against RFC 4231 and against libcrypto's own. */
#include "tls/sha2.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const EVP_MD *md_of(unsigned hash_id) {
    return hash_id == HASH_SHA384 ? EVP_sha384() : EVP_sha256();
}

/* RFC 4231, test case 2. */
static void hmac_is_that_of_rfc4231(void **state) {
    static const uint8_t sha256[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
                                     0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
                                     0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    static const uint8_t sha384[] = {0xaf, 0x45, 0xd2, 0xe3, 0x76, 0x48, 0x40, 0x31, 0x61, 0x7f, 0x78, 0xd2,
                                     0xb5, 0x8a, 0x6b, 0x1b, 0x9c, 0x7e, 0xf4, 0x64, 0xf5, 0xa0, 0x1b, 0x47,
                                     0xe4, 0x2e, 0xc3, 0x73, 0x63, 0x22, 0x44, 0x5e, 0x8e, 0x22, 0x40, 0xca,
                                     0x5e, 0x69, 0xe2, 0xc7, 0x8b, 0x32, 0x39, 0xec, 0xfa, 0xb2, 0x16, 0x49};
    const struct span parts[] = {span_str("what do ya want "), span_str("for nothing?")};
    uint8_t out[HASH_LEN_MAX];
    sha2_hmac(HASH_SHA256, span_str("Jefe"), parts, 2, out);
    assert_memory_equal(out, sha256, sizeof sha256);
    sha2_hmac(HASH_SHA384, span_str("Jefe"), parts, 2, out);
    assert_memory_equal(out, sha384, sizeof sha384);
}

/* Keys around a block's length, which are padded, taken whole or hashed first; messages in none, one and three parts. */
static void hmac_equals_libcryptos_at_every_length_of_key(void **state) {
    uint8_t key[300], message[150], ours[HASH_LEN_MAX], theirs[EVP_MAX_MD_SIZE];
    for (size_t i = 0; i < sizeof key; i++)
        key[i] = (uint8_t)(i * 5 + 1);
    memset(message, 0x36, sizeof message);
    for (unsigned hash = HASH_SHA256; hash <= HASH_SHA384; hash++)
        for (size_t n = 0; n <= sizeof key; n++)
            for (size_t nparts = 0; nparts <= 3; nparts++) {
                const struct span parts[] = {span_of(message, 70), span_of(message + 70, 0), span_of(message + 70, 80)};
                size_t len = (size_t[]){0, 70, 70, 150}[nparts];
                sha2_hmac(hash, span_of(key, n), parts, nparts, ours);
                unsigned theirs_len = 0;
                assert_non_null(HMAC(md_of(hash), key, (int)n, message, len, theirs, &theirs_len));
                assert_int_equal(theirs_len, hash_len(hash));
                assert_memory_equal(ours, theirs, theirs_len);
            }
}

static void the_result_may_replace_a_part(void **state) {
    uint8_t block[HASH_LEN_MAX], apart[HASH_LEN_MAX];
    memset(block, 7, sizeof block);
    struct span part = span_of(block, 32);
    sha2_hmac(HASH_SHA256, span_str("key"), &part, 1, apart);
    sha2_hmac(HASH_SHA256, span_str("key"), &part, 1, block);
    assert_memory_equal(block, apart, 32);
}

static void hashes_in_pieces_equal_libcryptos(void **state) {
    uint8_t data[1000], ours[HASH_LEN_MAX], theirs[EVP_MAX_MD_SIZE];
    memset(data, 0xa5, sizeof data);
    for (unsigned hash = HASH_SHA256; hash <= HASH_SHA384; hash++)
        for (size_t n = 0; n <= sizeof data; n += 37) {
            union sha2 s;
            sha2_begin(hash, &s);
            for (size_t at = 0; at < n; at += 13)
                sha2_add(hash, &s, data + at, n - at < 13 ? n - at : 13);
            sha2_end(hash, &s, ours);
            assert_int_equal(EVP_Digest(data, n, theirs, NULL, md_of(hash), NULL), 1);
            assert_memory_equal(ours, theirs, hash_len(hash));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hmac_is_that_of_rfc4231),
        cmocka_unit_test(hmac_equals_libcryptos_at_every_length_of_key),
        cmocka_unit_test(the_result_may_replace_a_part),
        cmocka_unit_test(hashes_in_pieces_equal_libcryptos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
