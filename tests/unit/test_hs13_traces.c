/*
 * RFC 8448 sections 5 to 7, byte by byte: a retry, client authentication, compatibility mode. Of our own flight what is before
 * EncryptedExtensions, in which we have less than the traces; of the traces all: every record opens under our key schedule,
 * every signature and every Finished in it is right over our transcript.
 */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/rsa.h>

#include "hs13_cases.h"

#define SECTIONS     3
#define ROW_MAX      4096
#define LEN          32 /* SHA-256 */
#define COOKIE_EXT   44
#define RANDOM_AT    (5 + 4 + 2)
#define RECORD_BYTES (2 * 1024)

/* The records of a section of the RFC, as tests/vectors/rfc8448.txt has them. */
static struct trace {
    int section;
    struct span server_private, client_hello, retry, second_hello, server_hello, server_flight, client_flight;
    uint8_t bytes[6 * RECORD_BYTES];
    size_t len;
} traces[SECTIONS] = {{.section = 5}, {.section = 6}, {.section = 7}};

static struct span *field_of(struct trace *t, const char *name) {
    const struct {
        const char *name;
        struct span *at;
    } fields[] = {
        {"server_private", &t->server_private}, {"client_hello", &t->client_hello}, {"retry", &t->retry},
        {"second_hello", &t->second_hello},     {"server_hello", &t->server_hello}, {"server_flight", &t->server_flight},
        {"client_flight", &t->client_flight}};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (strcmp(fields[i].name, name) == 0)
            return fields[i].at;
    make_must(false, name);
    return NULL;
}

static void read_row(struct trace *t, const char *name, const char *hex) {
    uint8_t *to = t->bytes + t->len;
    size_t n = 0;
    make_must(strlen(hex) / 2 <= sizeof(t->bytes) - t->len, name);
    for (unsigned byte; hex[2 * n] && sscanf(hex + 2 * n, "%2x", &byte) == 1; n++)
        to[n] = (uint8_t)byte;
    t->len += n;
    *field_of(t, name) = span_of(to, n);
}

static void read_traces(void) {
    char path[512], line[ROW_MAX], name[32], hex[ROW_MAX];
    int section;
    snprintf(path, sizeof(path), "%s/rfc8448.txt", getenv("TEST_VECTORS"));
    FILE *f = fopen(path, "r");
    make_must(f != NULL, path);
    while (fgets(line, sizeof(line), f))
        if (sscanf(line, "%d %31s %4095s", &section, name, hex) == 3)
            read_row(&traces[section - 5], name, hex);
    fclose(f);
}

static struct span body_of(struct span record) {
    return span_of(record.p + RECORD_HEADER_LEN, record.len - RECORD_HEADER_LEN);
}

/* ---- the exchange, with the RFC's private half ---- */

static const struct trace *at_hand;

/* The server's share in its ServerHello. */
static struct span server_share(const struct trace *t) {
    struct rd r = rd_of(body_of(t->server_hello));
    (void)rd_bytes(&r, 4 + 2 + 32);
    (void)rd_vec8(&r);
    (void)rd_bytes(&r, 3);
    struct rd exts = rd_of(rd_vec16(&r));
    while (rd_left(&exts)) {
        uint16_t type = rd_u16(&exts);
        struct rd e = rd_of(rd_vec16(&exts));
        (void)rd_u16(&e);
        if (type == EXT_SHARE)
            return rd_vec16(&e);
    }
    return span_of(NULL, 0);
}

static EVP_PKEY *server_key(const struct trace *t) {
    EVP_PKEY *key = NULL;
    if (t->section != 5)
        return EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, t->server_private.p, t->server_private.len);
    uint8_t number[LEN]; /* as OSSL_PARAM wants it: in this machine's order */
    for (size_t i = 0; i < LEN; i++)
        number[i] = t->server_private.p[LEN - 1 - i];
    struct span share = server_share(t);
    char curve[] = "P-256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, curve, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)(uintptr_t)share.p, share.len),
        OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, number, sizeof(number)),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params), 1);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static int rfc_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    EVP_PKEY *own = server_key(at_hand), *theirs = EVP_PKEY_new();
    struct span share = server_share(at_hand);
    size_t len = sizeof(ret->secret);
    assert_non_null(own);
    assert_int_equal(group, at_hand->section == 5 ? 0x0017 : 0x001d);
    assert_int_equal(EVP_PKEY_copy_parameters(theirs, own), 1);
    assert_int_equal(EVP_PKEY_set1_encoded_public_key(theirs, peer.p, peer.len), 1);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(own, NULL);
    assert_int_equal(EVP_PKEY_derive_init(ctx), 1);
    assert_int_equal(EVP_PKEY_derive_set_peer(ctx, theirs), 1);
    assert_int_equal(EVP_PKEY_derive(ctx, ret->secret, &len), 1);
    memcpy(ret->public, share.p, share.len);
    ret->len = (uint16_t)share.len;
    ret->secret_len = (uint16_t)len;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(own);
    EVP_PKEY_free(theirs);
    return 0;
}

static void rfc_random(void *to, size_t n) {
    assert_int_equal(n, LEN);
    memcpy(to, at_hand->server_hello.p + RANDOM_AT, n);
}

/* ---- our side ---- */

/* The RFC's HelloRetryRequest without its cookie, which we have no use for. */
static size_t retry_without_cookie(struct span record, uint8_t to[static RECORD_BYTES]) {
    struct wr w = wr_of(to, RECORD_BYTES);
    struct rd r = rd_of(record);
    wr_span(&w, rd_bytes(&r, RANDOM_AT + 32 + 1 + 3));
    size_t at = w.len;
    wr_u16(&w, 0);
    struct rd exts = rd_of(rd_vec16(&r));
    while (rd_left(&exts)) {
        uint16_t type = rd_u16(&exts);
        struct span data = rd_vec16(&exts);
        if (type == COOKIE_EXT)
            continue;
        wr_u16(&w, type);
        wr_vec16(&w, data);
    }
    assert_true(rd_end(&r) && wr_end(&w));
    to[4] = (uint8_t)(w.len - 5); /* record, message, extensions: all short */
    to[3] = 0;
    to[8] = (uint8_t)(w.len - 9);
    to[at + 1] = (uint8_t)(w.len - at - 2);
    return w.len;
}

static void says(struct span record) {
    assert_int_equal(buf_append(&rc.sent, record.p, record.len), 0);
    last = hs13_conn_step(&conn, &rc.sent);
    assert_int_equal(buf_len(&rc.sent), 0);
}

/* Takes WANT off what we have said. */
static void expect_said(struct span want) {
    struct span s = buf_span(&conn.out);
    assert_true(s.len >= want.len);
    assert_memory_equal(s.p, want.p, want.len);
    buf_consume(&conn.out, want.len);
}

static void our_hellos_are_those_of_the_traces(void **state) {
    (void)state;
    static const uint16_t p256[] = {0x0017};
    uint8_t retry[RECORD_BYTES];
    struct tls_policy p = case_policy("web");
    p.groups = p256;
    p.ngroups = 1;
    struct tls_server *prefers_p256 = service_new(&p, shop.certs, tickets);
    env.random = rfc_random;
    env.exchange = rfc_exchange;
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct trace *t = at_hand = &traces[i];
        begin_case(t->section == 5 ? prefers_p256 : t->section == 6 ? strict : server);
        conn.shop = NULL;
        says(t->client_hello);
        if (t->section == 5) {
            assert_int_equal(last, HS13_WANT_READ);
            expect_said(span_of(retry, retry_without_cookie(t->retry, retry)));
            assert_int_equal(buf_len(&conn.out), 0); /* no session ID: no ChangeCipherSpec */
            says(t->second_hello);
        }
        assert_int_equal(last, HS13_WANT_SIGN);
        expect_said(t->server_hello);
        if (t->section == 7) /* a session ID */
            expect_said(span_of(t->server_flight.p, 6));
        assert_int_equal(buf_span(&conn.out).p[0], CONTENT_APPLICATION_DATA);
    }
    end_case(NULL);
    tls_server_free(prefers_p256);
}

/* ---- the key schedule over the traces ---- */

/* What a flight's record holds, opened under HALF. */
static struct span open_flight(struct span flight, struct traffic_keys *keys, uint8_t to[static RECORD_BYTES]) {
    enum content_type type;
    struct span content;
    struct record_run run;
    if (flight.p[0] == CONTENT_CHANGE_CIPHER_SPEC)
        flight = span_of(flight.p + 6, flight.len - 6);
    memcpy(to, flight.p, flight.len);
    assert_int_equal(record_run_begin(&run, &contexts, suite_by_id(0x1301), keys, false), 0);
    assert_int_equal(record_open(&run, to, flight.len, &type, &content), 0);
    assert_int_equal(type, CONTENT_HANDSHAKE);
    return content;
}

static X509 *leaf_of(struct span body) {
    struct rd r = rd_of(body);
    (void)rd_vec8(&r);
    struct rd list = rd_of(rd_vec24(&r));
    struct span der = rd_vec24(&list);
    const uint8_t *p = der.p;
    return d2i_X509(NULL, &p, (long)der.len);
}

static void check_proof(const struct hs13_keys *k, bool by_server, X509 *leaf, struct span body) {
    uint8_t digest[HASH_LEN_MAX], content[HANDSHAKE_TBS_MAX];
    struct rd r = rd_of(body);
    uint16_t scheme = rd_u16(&r);
    struct span signature = rd_vec16(&r);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    hs13_keys_digest(k, digest);
    size_t len = hs13_signed_content(by_server, span_of(digest, LEN), content);
    assert_int_equal(EVP_DigestVerifyInit_ex(md, &ctx, "SHA256", NULL, NULL, X509_get0_pubkey(leaf), NULL), 1);
    if (scheme == 0x0804) {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST), 1);
    }
    assert_int_equal(EVP_DigestVerify(md, signature.p, signature.len, content, len), 1);
    EVP_MD_CTX_free(md);
}

/* Checks and adds all messages of a flight; their types, for the caller to compare. */
static void check_flight(struct hs13_keys *k, struct span messages, bool by_server, const uint8_t *base, char types[static 8]) {
    X509 *leaf = NULL;
    uint8_t digest[HASH_LEN_MAX], mac[HASH_LEN_MAX];
    size_t n = 0;
    for (struct rd r = rd_of(messages); rd_left(&r); n++) {
        const uint8_t *at = messages.p + messages.len - rd_left(&r);
        uint8_t type = rd_u8(&r);
        struct span body = rd_vec24(&r);
        assert_false(r.bad);
        if (type == MSG_CERTIFICATE)
            leaf = leaf_of(body);
        if (type == MSG_CERTIFICATE_VERIFY)
            check_proof(k, by_server, leaf, body);
        if (type == MSG_FINISHED) {
            hs13_keys_digest(k, digest);
            hs13_keys_mac(HASH_SHA256, base, digest, mac);
            assert_int_equal(body.len, LEN);
            assert_memory_equal(mac, body.p, LEN);
        }
        types[n] = (char)type;
        hs13_keys_add(k, span_of(at, 4 + body.len));
    }
    types[n] = 0;
    X509_free(leaf);
}

static void each_record_opens_and_each_proof_holds(void **state) {
    (void)state;
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct trace *t = at_hand = &traces[i];
        const struct span last_hello = t->second_hello.len ? t->second_hello : t->client_hello;
        struct traffic_keys in = {.seq = 0}, out = {.seq = 0};
        struct hs13_keys k = {0};
        struct hs13_share share;
        struct hello h;
        uint8_t room[RECORD_BYTES];
        char types[16];
        hs13_keys_begin(&k, HASH_SHA256);
        hs13_keys_early(&k, span_of(NULL, 0));
        hs13_keys_add(&k, body_of(t->client_hello));
        if (t->retry.len) {
            hs13_keys_retry(&k);
            hs13_keys_add(&k, body_of(t->retry));
            hs13_keys_add(&k, body_of(t->second_hello));
        }
        hs13_keys_add(&k, body_of(t->server_hello));
        assert_int_equal(hello_parse(body_of(last_hello), &h), 0);
        struct rd r = rd_of(h.key_shares);
        uint16_t group = rd_u16(&r);
        rfc_exchange(group, rd_vec16(&r), &share);
        hs13_keys_next(&k, span_of(share.secret, share.secret_len));
        hs13_keys_derive(&k, "c hs traffic", in.secret);
        hs13_keys_derive(&k, "s hs traffic", out.secret);
        hs13_keys_traffic(suite_by_id(0x1301), &in);
        hs13_keys_traffic(suite_by_id(0x1301), &out);
        check_flight(&k, open_flight(t->server_flight, &out, room), true, out.secret, types);
        assert_string_equal(types, t->section == 6 ? "\x08\x0d\x0b\x0f\x14" : "\x08\x0b\x0f\x14");
        check_flight(&k, open_flight(t->client_flight, &in, room), false, in.secret, types);
        assert_string_equal(types, t->section == 6 ? "\x0b\x0f\x14" : "\x14");
    }
}

static int traces_setup(void **state) {
    read_traces();
    return cases_setup(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(our_hellos_are_those_of_the_traces, end_case),
        cmocka_unit_test(each_record_opens_and_each_proof_holds),
    };
    return cmocka_run_group_tests(tests, traces_setup, cases_teardown);
}
