/* Our certificate compressed (C9, RFC 8879): by what the client lists, once, the transcript as sent, and never where it saves
 * nothing. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/rand.h>

#include "cert_decompress.h"
#include "hs13_cases.h"
#include "tls/cert_compress.h"

static unsigned compressed;

size_t __real_cert_compress(int way, struct span in, uint8_t *to, size_t cap);
size_t __wrap_cert_compress(int way, struct span in, uint8_t *to, size_t cap);
size_t __wrap_cert_compress(int way, struct span in, uint8_t *to, size_t cap) {
    compressed++;
    return __real_cert_compress(way, in, to, cap);
}

/* The message of TYPE in the flight; its body. */
static bool sent(uint8_t type, struct span *ret) {
    for (struct rd r = rd_of(span_of(rc.flight, rc.flight_len)); rd_left(&r);) {
        uint8_t t = rd_u8(&r);
        *ret = rd_vec24(&r);
        if (t == type)
            return true;
    }
    return false;
}

static struct span plain_body(uint8_t room[static 16384]) {
    struct span body;
    begin_case(server);
    shake_hands();
    assert_true(sent(MSG_CERTIFICATE, &body));
    memcpy(room, body.p, body.len);
    return span_of(room, body.len);
}

static void each_way_leads_to_the_same_certificate(void **state) {
    (void)state;
    static uint8_t room[16384];
    struct span plain = plain_body(room), body;
    for (uint16_t id = 1; id <= 3; id++) {
        const uint8_t list[] = {4, 0x7f, 0x7f, 0, (uint8_t)id};
        unsigned before = compressed;
        for (int i = 0; i < 3; i++) {
            uint16_t got;
            begin_case(server);
            raw_set(&hello, EXT_COMPRESS, span_of(list, sizeof(list)));
            shake_hands(); /* both Finished are over the message as it was sent */
            assert_false(sent(MSG_CERTIFICATE, &body));
            assert_true(sent(MSG_COMPRESSED_CERTIFICATE, &body));
            assert_true(body.len < plain.len);
            struct span whole = cert_decompress(body, &got);
            assert_int_equal(got, id);
            assert_true(span_eq(whole, plain));
            free((void *)(uintptr_t)whole.p);
        }
        assert_int_equal(compressed, before + 1); /* once a certificate */
    }
}

static void brotli_comes_first_then_zstd(void **state) {
    (void)state;
    static const struct {
        const char *list;
        uint16_t id;
    } cases[] = {{"\6\0\1\0\2\0\3", 2}, {"\4\0\1\0\3", 3}, {"\4\0\3\0\1", 3}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span body;
        begin_case(server);
        raw_set(&hello, EXT_COMPRESS, span_of(cases[i].list, (size_t)cases[i].list[0] + 1));
        shake_hands();
        assert_true(sent(MSG_COMPRESSED_CERTIFICATE, &body));
        assert_int_equal(body.p[1], cases[i].id);
    }
}

static void what_nobody_knows_is_not_used(void **state) {
    (void)state;
    struct span body;
    begin_case(server);
    raw_set(&hello, EXT_COMPRESS, RAW_LIT("\4\0\0\0\4"));
    shake_hands();
    assert_true(sent(MSG_CERTIFICATE, &body));
}

/* With our request for the client's: type 25 of a client's is refused (test_hs13_states), since it was not offered. */
static void it_is_not_offered_to_the_client(void **state) {
    (void)state;
    struct span body;
    begin_case(lax);
    raw_set(&hello, EXT_COMPRESS, RAW_LIT("\2\0\2"));
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_true(sent(MSG_COMPRESSED_CERTIFICATE, &body) && sent(MSG_CERTIFICATE_REQUEST, &body));
    struct rd r = rd_of(body);
    (void)rd_vec8(&r);
    for (struct rd exts = rd_of(rd_vec16(&r)); rd_left(&exts);) {
        assert_int_not_equal(rd_u16(&exts), EXT_COMPRESS);
        (void)rd_vec16(&exts);
    }
}

static void only_what_saves_bytes_is_a_result(void **state) {
    (void)state;
    uint8_t noise[600], to[600];
    assert_int_equal(RAND_bytes(noise, sizeof(noise)), 1);
    for (int way = 0; way < CERT_COMPRESS_WAYS; way++) {
        assert_int_equal(cert_compress(way, span_of(noise, sizeof(noise)), to, sizeof(to)), 0);
        assert_int_equal(cert_compress(way, span_of(noise, 0), to, sizeof(to)), 0);
        memset(noise, 'x', sizeof(noise));
        assert_true(cert_compress(way, span_of(noise, sizeof(noise)), to, sizeof(to)) > 0);
        assert_int_equal(cert_compress(way, span_of(noise, sizeof(noise)), to, 1), 0);
        assert_int_equal(RAND_bytes(noise, sizeof(noise)), 1);
    }
}

static int setup(void **state) {
    cert_compress_load();
    return cases_setup(state);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(each_way_leads_to_the_same_certificate), CASE(brotli_comes_first_then_zstd),
        CASE(what_nobody_knows_is_not_used),          CASE(it_is_not_offered_to_the_client),
        CASE(only_what_saves_bytes_is_a_result),
    };
    return cmocka_run_group_tests(tests, setup, cases_teardown);
}
