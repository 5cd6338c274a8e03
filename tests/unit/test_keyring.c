/* The signer's keys: every form of file, every way it can be wrong, sets that come and go, and what is signed or not. */
#include "creds/sign_rule.h"
#include "signer/keyring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <sys/prctl.h>

#include "key_store.h"
#include "make_cert.h"
#include "sign_samples.h"
#include "tls/secure_heap.h"
#include "wire/control_creds.h"

static const char *const types[] = {"RSA:2048", "EC:P-256", "EC:P-384", "ED25519"};
#define TYPES ARRAY_LEN(types)

static EVP_PKEY *keys[TYPES];
static char *directory;
static struct keyring *ring;
static char line[1024];
static struct text why;

static int make_all(void **state) {
    (void)state;
    directory = make_dir();
    for (size_t i = 0; i < TYPES; i++)
        keys[i] = make_key(types[i]);
    return 0;
}

static int free_all(void **state) {
    (void)state;
    for (size_t i = 0; i < TYPES; i++)
        EVP_PKEY_free(keys[i]);
    make_dir_remove(directory);
    return 0;
}

static int new_ring(void **state) {
    (void)state;
    why = text_of(line, sizeof(line));
    ring = keyring_new();
    return ring ? 0 : -1;
}

static int free_ring(void **state) {
    (void)state;
    keyring_free(ring);
    assert_int_equal(ERR_peek_error(), 0);
    return 0;
}

/* Takes item after item from its file; the first error. */
static int take(uint32_t set, const struct store_item *items, uint32_t n) {
    struct creds store;
    int fd = store_make(items, n), err = 0;
    assert_int_equal(creds_map(fd, &store), 0);
    close(fd);
    assert_int_equal(keyring_begin(ring, set, &store), 0);
    for (uint32_t i = 0; i < n && err == 0; i++) {
        int file = open(items[i].file, O_RDONLY | O_CLOEXEC);
        int pass = items[i].pass_file ? open(items[i].pass_file, O_RDONLY | O_CLOEXEC) : -1;
        assert_false(keyring_whole(ring));
        err = keyring_take(ring, i, file, pass, &why);
        close(file);
        if (pass >= 0)
            close(pass);
    }
    if (err == 0) {
        assert_true(keyring_whole(ring));
        keyring_commit(ring);
    } else {
        keyring_drop(ring);
    }
    creds_unmap(&store);
    return err;
}

static struct store_item item(size_t type, enum key_form form, const char *pass) {
    char name[32];
    snprintf(name, sizeof(name), "%zu-%d.key", type, (int)form);
    struct store_item it = {.kind = (enum creds_kind)type, .key = keys[type]};
    it.file = strdup(make_path(directory, name));
    key_write(it.file, keys[type], form, pass);
    if (form >= FORM_PKCS8_ENCRYPTED) {
        it.pass_file = strdup(make_path(directory, "pass"));
        make_file(it.pass_file, pass, strlen(pass));
    }
    return it;
}

static void item_free(struct store_item *it) {
    free((char *)(uintptr_t)it->file);
    free((char *)(uintptr_t)it->pass_file);
}

static const char *digest_of(uint16_t scheme) {
    static const char *const by_number[] = {"SHA256", "SHA384", "SHA512"};
    if (scheme == 0x0807)
        return NULL;
    return by_number[scheme >> 8 == 8 ? scheme - 0x0804 : (scheme >> 8) - 4];
}

static bool verifies(EVP_PKEY *key, uint16_t scheme, struct span tbs, const uint8_t *sig, size_t len) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    assert_int_equal(EVP_DigestVerifyInit_ex(md, &ctx, digest_of(scheme), NULL, NULL, key, NULL), 1);
    if (scheme >= 0x0804 && scheme <= 0x0806) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    bool good = EVP_DigestVerify(md, sig, len, tbs.p, tbs.len) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return good;
}

static uint8_t sig[SIGN_SIGNATURE_MAX];
static size_t sig_len;

static int sign(uint32_t set, uint32_t key, uint16_t scheme, struct span tbs) {
    const struct sign_request q = {1, set, key, scheme, tbs};
    return keyring_sign(ring, &q, sig, &sig_len);
}

/* ---- signing ---- */

static void signs_by_every_scheme_that_fits_and_no_other(void **state) {
    (void)state;
    struct store_item items[TYPES];
    for (size_t i = 0; i < TYPES; i++)
        items[i] = item(i, FORM_PKCS8, NULL);
    assert_int_equal(take(5, items, TYPES), 0);
    uint8_t tbs[2][SIGN_TBS_MAX];
    const struct span spans[] = {span_of(tbs[0], sample_tls12(tbs[0], 0x001d, 32)), span_of(tbs[1], sample_tls13(tbs[1], 48))};
    static const enum sign_shape shapes[] = {SIGN_SHAPE_TLS12, SIGN_SHAPE_TLS13};
    unsigned signatures = 0;
    for (uint32_t k = 0; k < TYPES; k++)
        for (size_t v = 0; v < 2; v++)
            for (uint32_t scheme = 0; scheme < 0x0900; scheme++) {
                int err = sign(5, k, (uint16_t)scheme, spans[v]);
                bool fits = sign_scheme_fits((enum creds_kind)k, (uint16_t)scheme, shapes[v]);
                assert_int_equal(err, fits ? 0 : ERR_UNSUPPORTED);
                if (!fits)
                    continue;
                signatures++;
                assert_true(verifies(keys[k], (uint16_t)scheme, spans[v], sig, sig_len));
                assert_true(k ? sig_len <= (size_t)EVP_PKEY_get_size(keys[k]) : sig_len == (size_t)EVP_PKEY_get_size(keys[k]));
            }
    assert_int_equal(signatures, 6 + 3 + 3 + 1 + 3 + 1 + 2);
    for (size_t i = 0; i < TYPES; i++)
        item_free(&items[i]);
}

static void signs_nothing_else(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    assert_int_equal(take(5, &it, 1), 0);
    uint8_t tbs[SIGN_TBS_MAX];
    size_t n = sample_tls13(tbs, 32);
    assert_int_equal(sign(5, 0, 0x0403, span_of(tbs, n)), 0);
    assert_int_equal(sign(5, 0, 0x0403, span_of(tbs, n - 1)), ERR_FORMAT);
    tbs[0] = '!';
    assert_int_equal(sign(5, 0, 0x0403, span_of(tbs, n)), ERR_FORMAT);
    uint8_t zeros[SIGN_TBS_MAX] = {0}; /* lengths of digests among them */
    for (size_t len = 0; len <= sizeof(zeros); len++)
        assert_int_equal(sign(5, 0, 0x0403, span_of(zeros, len)), ERR_FORMAT);
    item_free(&it);
}

static void keys_are_named_by_set_and_number(void **state) {
    (void)state;
    struct store_item items[] = {item(1, FORM_PKCS8, NULL), item(0, FORM_PKCS8, NULL)};
    assert_int_equal(take(5, items, 2), 0);
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    assert_int_equal(sign(5, 0, 0x0403, s), 0);
    assert_int_equal(sign(5, 1, 0x0804, s), 0);
    assert_int_equal(sign(5, 2, 0x0403, s), ERR_FORMAT);
    assert_int_equal(sign(5, UINT32_MAX, 0x0403, s), ERR_FORMAT);
    assert_int_equal(sign(4, 0, 0x0403, s), ERR_NOT_FOUND);
    item_free(&items[0]);
    item_free(&items[1]);
}

static void two_sets_are_good_at_a_time(void **state) {
    (void)state;
    struct store_item items[] = {item(1, FORM_PKCS8, NULL), item(2, FORM_PKCS8, NULL)};
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    assert_false(keyring_has(ring));
    assert_int_equal(take(1u << 8, &items[0], 1), 0);
    assert_true(keyring_has(ring));
    assert_int_equal(sign(1u << 8, 0, 0x0403, s), 0);
    assert_int_equal(take(2u << 8, &items[1], 1), 0);
    assert_int_equal(sign(1u << 8, 0, 0x0403, s), 0);
    assert_true(verifies(keys[1], 0x0403, s, sig, sig_len));
    assert_int_equal(sign(2u << 8, 0, 0x0503, s), 0);
    assert_true(verifies(keys[2], 0x0503, s, sig, sig_len));
    assert_int_equal(take(3u << 8, &items[0], 1), 0);
    assert_int_equal(sign(1u << 8, 0, 0x0403, s), ERR_NOT_FOUND);
    assert_int_equal(sign(2u << 8, 0, 0x0503, s), 0);
    assert_int_equal(sign(3u << 8, 0, 0x0403, s), 0);
    item_free(&items[0]);
    item_free(&items[1]);
}

/* An attempt that was taken here and refused by another signer. */
static void the_set_in_use_outlives_attempts_that_failed(void **state) {
    (void)state;
    struct store_item items[] = {item(1, FORM_PKCS8, NULL), item(2, FORM_PKCS8, NULL)};
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    uint32_t used = 1, failed = 0;
    assert_int_equal(take(used, &items[0], 1), 0);
    for (unsigned i = 0; i < 300; i++) {
        uint32_t next = control_creds_attempt(used, failed);
        assert_true(next > used && next != failed);
        assert_int_equal(take(next, &items[1], 1), 0);
        assert_int_equal(sign(used, 0, 0x0403, s), 0);
        assert_int_equal(sign(next, 0, 0x0503, s), 0);
        if (failed)
            assert_int_equal(sign(failed, 0, 0x0503, s), ERR_NOT_FOUND);
        failed = next;
    }
    used = failed; /* the last one is used */
    uint32_t next = control_creds_attempt(used, used);
    assert_true(next > used);
    assert_int_equal(take(next, &items[0], 1), 0);
    assert_int_equal(sign(used, 0, 0x0503, s), 0);
    assert_int_equal(sign(1, 0, 0x0403, s), ERR_NOT_FOUND);
    item_free(&items[0]);
    item_free(&items[1]);
}

static void a_bad_set_leaves_the_good_one(void **state) {
    (void)state;
    struct store_item good = item(1, FORM_PKCS8, NULL), bad = good;
    bad.key = keys[2];
    bad.kind = CREDS_EC_P384;
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    assert_int_equal(take(1, &good, 1), 0);
    assert_int_equal(take(2, &bad, 1), ERR_FORMAT);
    assert_int_equal(sign(1, 0, 0x0403, s), 0);
    assert_int_equal(sign(2, 0, 0x0503, s), ERR_NOT_FOUND);
    item_free(&good);
}

static void more_keys_than_can_be_open(void **state) {
    (void)state;
    enum { N = KEYRING_OPEN + 3 };
    struct store_item its[N];
    EVP_PKEY *many[N];
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    for (size_t i = 0; i < N; i++) {
        char name[32];
        snprintf(name, sizeof(name), "many-%zu", i);
        many[i] = make_key("EC:P-256");
        its[i] = (struct store_item){.file = strdup(make_path(directory, name)), .kind = CREDS_EC_P256, .key = many[i]};
        key_write(its[i].file, many[i], FORM_PKCS8, NULL);
    }
    assert_int_equal(take(9, its, N), 0);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t i = 0; i < N; i++) {
            assert_int_equal(sign(9, i, 0x0403, s), 0);
            assert_true(verifies(many[i], 0x0403, s, sig, sig_len));
        }
    for (size_t i = 0; i < N; i++) {
        EVP_PKEY_free(many[i]);
        item_free(&its[i]);
    }
}

/* ---- files ---- */

static void every_form_of_file(void **state) {
    (void)state;
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls12(tbs, 0x0017, 65));
    static const uint16_t schemes[] = {0x0401, 0x0403, 0x0503, 0x0807};
    for (size_t k = 0; k < TYPES; k++)
        for (enum key_form form = 0; form < FORMS; form++) {
            if (k == 3 && (form == FORM_TRADITIONAL || form == FORM_TRADITIONAL_ENCRYPTED))
                continue; /* Ed25519 has none */
            struct store_item it = item(k, form, "correct horse\nsecond line");
            make_must(true, it.file);
            if (it.pass_file) /* only its first line counts */
                key_write(it.file, keys[k], form, "correct horse");
            if (take(1, &it, 1) != 0)
                fail_msg("%s form %d: %s", types[k], (int)form, line);
            assert_int_equal(sign(1, 0, schemes[k], s), 0);
            assert_true(verifies(keys[k], schemes[k], s, sig, sig_len));
            item_free(&it);
        }
}

/* FILE, then MESSAGE. */
static void refused_for(const struct store_item *it, const char *file, const char *message) {
    why = text_of(line, sizeof(line));
    assert_int_equal(take(1, it, 1), ERR_FORMAT);
    assert_int_equal(strncmp(line, file, strlen(file)), 0);
    assert_string_equal(line + strlen(file), message);
}

static void refused(const struct store_item *it, const char *message) {
    refused_for(it, it->file, message);
}

static void passphrases(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8_ENCRYPTED, "secret");
    const char *pass = it.pass_file;
    char message[600];
    it.pass_file = NULL;
    refused(&it, ": the key is encrypted, expected passphrase = \"FILE\" beside it");
    it.pass_file = pass;
    make_file(pass, "wrong\n", 6);
    snprintf(message, sizeof(message), ": the key cannot be decrypted with the passphrase in %s", pass);
    refused(&it, message);
    make_file(pass, "\nsecret\n", 8);
    refused_for(&it, pass, ": found an empty first line, expected the passphrase");
    make_file(pass, "", 0);
    refused_for(&it, pass, ": the file is empty, expected a passphrase");
    char longer[KEY_PASS_MAX + 3];
    memset(longer, 'x', sizeof(longer));
    make_file(pass, longer, sizeof(longer));
    refused_for(&it, pass, ": the file is longer than 1026 bytes, expected a passphrase");
    make_file(pass, "secret\r\n", 8);
    assert_int_equal(take(1, &it, 1), 0);
    item_free(&it);
}

static void wrong_files(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    make_file(it.file, "", 0);
    refused(&it, ": the file is empty, expected a PEM file");
    make_file(it.file, "hello", 5);
    refused(&it, ": found no private key, expected \"-----BEGIN PRIVATE KEY-----\"");
    make_file(it.file, "-----BEGIN PRIVATE KEY-----\nMIGH!!\n-----END PRIVATE KEY-----\n", 60);
    why = text_of(line, sizeof(line));
    assert_int_equal(take(1, &it, 1), ERR_FORMAT);
    assert_non_null(strstr(line, ": the private key cannot be read: "));
    char *large = calloc(1, KEY_FILE_MAX + 1);
    make_file(it.file, large, KEY_FILE_MAX + 1);
    refused(&it, ": the file is longer than 1 MiB, expected a PEM file");
    free(large);
    struct store_item dir = it;
    dir.file = directory;
    refused(&dir, ": found a directory, expected a PEM file");
    item_free(&it);
}

static void keys_cut_anywhere(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    char pem[1024];
    FILE *f = fopen(it.file, "r");
    size_t len = fread(pem, 1, sizeof(pem), f);
    fclose(f);
    for (size_t cut = 1; cut + 5 < len; cut++) { /* the last bytes are dashes and a line's end */
        make_file(it.file, pem, len - cut - 4);
        why = text_of(line, sizeof(line));
        assert_int_equal(take(1, &it, 1), ERR_FORMAT);
        assert_true(why.len > 0);
    }
    item_free(&it);
}

static void weak_and_foreign_keys(void **state) {
    (void)state;
    static const struct {
        const char *type, *message;
    } rows[] = {
        {"RSA:1024", ": found an RSA key of 1024 bits, expected 2048 or more"},
        {"EC:P-521", ": found an EC key on the curve secp521r1, expected P-256 or P-384"},
        {"EC:secp256k1", ": found an EC key on the curve secp256k1, expected P-256 or P-384"},
        {"ED448", ": found a key of type ED448, expected RSA (2048 bits or more), EC (P-256, P-384) or Ed25519"},
        {"X25519", ": found a key of type X25519, expected RSA (2048 bits or more), EC (P-256, P-384) or Ed25519"},
    };
    struct store_item it = item(1, FORM_PKCS8, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        EVP_PKEY *key = make_key(rows[i].type);
        key_write(it.file, key, FORM_PKCS8, NULL);
        refused(&it, rows[i].message);
        EVP_PKEY_free(key);
    }
    item_free(&it);
}

static void keys_of_others(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    key_write(it.file, keys[0], FORM_PKCS8, NULL);
    refused(&it, ": the key does not match its certificate: found a key for RSA, expected one for P-256");
    EVP_PKEY *other = make_key("EC:P-256");
    key_write(it.file, other, FORM_PKCS8, NULL);
    refused(&it,
            ": the key does not match its certificate: found another key of the same kind, expected the certificate's own");
    EVP_PKEY_free(other);
    item_free(&it);
}

/* A bit of the secret number has turned; the public key beside it is still the certificate's. */
static void damaged_keys(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(keys[1]);
    uint8_t *der = NULL;
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    der[36 + 10] ^= 1; /* behind the frame, within the scalar */
    BIO *bio = BIO_new(BIO_s_mem());
    assert_true(PEM_write_bio(bio, "PRIVATE KEY", "", der, len) > 0);
    make_bio_file(it.file, bio);
    refused(&it, ": the key is damaged: its public and its private half do not belong together");
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    item_free(&it);
}

/* The RSA key with a wrong exponent of the Chinese remainder theorem: as if the machine had miscalculated. */
static EVP_PKEY *key_that_miscalculates(const EVP_PKEY *key) {
    static const char *const names[] = {OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
                                        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
                                        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
                                        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    BIGNUM *numbers[ARRAY_LEN(names)] = {NULL};
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(EVP_PKEY_get_bn_param(key, names[i], &numbers[i]), 1);
        if (strcmp(names[i], OSSL_PKEY_PARAM_RSA_EXPONENT1) == 0)
            assert_int_equal(BN_add_word(numbers[i], 2), 1);
        assert_int_equal(OSSL_PARAM_BLD_push_BN(build, names[i], numbers[i]), 1);
    }
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *made = NULL;
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_KEYPAIR, params), 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        BN_clear_free(numbers[i]);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return made;
}

/*
 * A signature that was miscalculated would give the key away (RFC 8446 C.3). We do not verify our own, since libcrypto does: it
 * raises the result to the public exponent, and where that is not what was signed it calculates again, the long way.
 */
static void a_miscalculated_rsa_signature_does_not_come_out(void **state) {
    (void)state;
    EVP_PKEY *key = key_that_miscalculates(keys[0]);
    static const uint8_t tbs[] = "what is signed";
    for (int i = 0; i < 3; i++) {
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        EVP_PKEY_CTX *ctx = NULL;
        size_t len = sizeof(sig);
        assert_int_equal(EVP_DigestSignInit_ex(md, &ctx, "SHA256", NULL, NULL, key, NULL), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST), 1);
        assert_int_equal(EVP_DigestSign(md, sig, &len, tbs, sizeof(tbs)), 1);
        assert_true(verifies(keys[0], 0x0804, span_of(tbs, sizeof(tbs)), sig, len));
        EVP_MD_CTX_free(md);
    }
    EVP_PKEY_free(key);
}

static void closed_descriptor(void **state) {
    (void)state;
    struct store_item it = item(1, FORM_PKCS8, NULL);
    struct creds store;
    int fd = store_make(&it, 1);
    assert_int_equal(creds_map(fd, &store), 0);
    close(fd);
    assert_int_equal(keyring_begin(ring, 1, &store), 0);
    int write_only = open(it.file, O_WRONLY | O_CLOEXEC);
    assert_int_equal(keyring_take(ring, 0, write_only, -1, &why), ERR_SYSTEM);
    assert_non_null(strstr(line, "cannot be read: Bad file descriptor"));
    assert_int_equal(keyring_take(ring, 1, write_only, -1, &why), ERR_NOT_FOUND);
    close(write_only);
    creds_unmap(&store);
    item_free(&it);
}

/* ---- where the numbers are ---- */

/* How far from FROM on memory can be read: pages may be guards although their map says otherwise. */
static uintptr_t readable(int mem, uintptr_t from, uintptr_t to) {
    uint8_t byte;
    while (from < to && pread(mem, &byte, 1, (off_t)from) == 1)
        from += 4096;
    return from;
}

/* How often the bytes are in memory that this process may read and write, beside NEEDLE itself. */
static unsigned found_in_memory(const uint8_t *needle, size_t len) {
    assert_int_equal(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0); /* else /proc/self is root's alone */
    FILE *maps = fopen("/proc/self/maps", "r");
    int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char row[512];
    unsigned found = 0;
    assert_true(maps && mem >= 0);
    while (fgets(row, sizeof(row), maps)) {
        unsigned long from = 0, to = 0;
        char mode[8] = "";
        if (sscanf(row, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[0] != 'r' || mode[1] != 'w')
            continue;
        for (uintptr_t at = from; at < to; at += 4096) {
            uintptr_t end = readable(mem, at, to);
            for (const uint8_t *p = (const uint8_t *)at; (uintptr_t)p + len <= end; p++) /* memmem() may copy the needle */
                found += *p == *needle && p != needle && memcmp(p, needle, len) == 0;
            at = end;
        }
    }
    fclose(maps);
    close(mem);
    return found;
}

static void wiped_when_dropped(void **state) {
    (void)state;
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
    skip(); /* it keeps what was freed, and its own pages cannot be read through */
#endif
#endif
    struct store_item it = item(1, FORM_PKCS8, NULL);
    BIGNUM *bn = NULL;
    static uint8_t secret[32], swapped[32];
    EVP_PKEY *key = make_key("EC:P-256");
    key_write(it.file, key, FORM_PKCS8, NULL);
    assert_int_equal(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &bn), 1);
    assert_int_equal(BN_bn2nativepad(bn, secret, 32), 32);
    BN_clear_free(bn);
    for (size_t i = 0; i < 32; i++)
        swapped[i] = secret[31 - i];
    it.key = key;
    secure_heap_wipe_stack(); /* what this test has left there */
    assert_int_equal(take(1, &it, 1), 0);
    EVP_PKEY_free(key);
    uint8_t tbs[SIGN_TBS_MAX];
    struct span s = span_of(tbs, sample_tls13(tbs, 32));
    assert_int_equal(sign(1, 0, 0x0403, s), 0);
    assert_true(found_in_memory(secret, 32) > 0);
    keyring_free(ring);
    ring = keyring_new();
    assert_int_equal(found_in_memory(secret, 32), 0);
    assert_int_equal(found_in_memory(swapped, 32), 0);
    item_free(&it);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, new_ring, free_ring)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(signs_by_every_scheme_that_fits_and_no_other),
        CASE(signs_nothing_else),
        CASE(keys_are_named_by_set_and_number),
        CASE(two_sets_are_good_at_a_time),
        CASE(the_set_in_use_outlives_attempts_that_failed),
        CASE(a_bad_set_leaves_the_good_one),
        CASE(more_keys_than_can_be_open),
        CASE(every_form_of_file),
        CASE(passphrases),
        CASE(wrong_files),
        CASE(keys_cut_anywhere),
        CASE(weak_and_foreign_keys),
        CASE(keys_of_others),
        CASE(damaged_keys),
        CASE(a_miscalculated_rsa_signature_does_not_come_out),
        CASE(closed_descriptor),
        CASE(wiped_when_dropped),
    };
    if (secure_heap_begin() < 0)
        return 1;
    return cmocka_run_group_tests(tests, make_all, free_all);
}
