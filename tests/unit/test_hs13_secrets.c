/* What stays after a handshake, and what is told of it: nothing, and the key log. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"

/* S8: bad and good hellos in turn. */
static void nothing_of_a_handshake_stays_for_the_next(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        begin_case(server);
        shake_hands();
        begin_case(server);
        if (i % 3 == 0)
            raw_set(&hello, EXT_SHARE,
                    RAW_LIT("\0\x24\0\x1d\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        else if (i % 3 == 1)
            raw_drop(&hello, EXT_GROUPS);
        else
            hello.nexts = 0;
        say_hello();
        assert_true(last == HS13_FAILED || (i % 3 == 2 && last == HS13_FAILED));
    }
}

/* Whether the bytes are in the memory that handshakes have had. */
static bool remembered(const uint8_t *secret, size_t len) {
    return memmem(env.states.base, env.states.committed, secret, len) ||
           memmem(env.scratch, sizeof(struct hs13_share) + sizeof(struct hs13_ticket), secret, len);
}

static void no_secret_stays_after_a_handshake(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        uint8_t secrets[4][32];
        greet_us(server, false);
        memcpy(secrets[0], rc.out.secret, 32);
        memcpy(secrets[1], rc.client_app, 32);
        memcpy(secrets[2], rc.in.secret, 32);
        memcpy(secrets[3], rc.keys.secret, 32);
        assert_true(remembered(secrets[0], 32) && remembered(secrets[1], 32) && remembered(secrets[2], 32));
        if (good)
            raw_finish(&rc);
        else
            raw_send(&rc, CONTENT_HANDSHAKE, RAW_LIT("x"));
        exchange_flights();
        if (good)
            expect_done(); /* the plane has them now */
        else
            assert_int_equal(last, HS13_FAILED);
        for (size_t i = 0; i < 4; i++)
            assert_false(remembered(secrets[i], 32));
    }
}

static unsigned log_lines;
static char log_labels[8][40];

static void take_log(const char *label, struct span client_random, struct span secret) {
    assert_int_equal(client_random.len, 32);
    assert_memory_equal(client_random.p, hello.random, 32);
    assert_true(secret.len == 32);
    snprintf(log_labels[log_lines++ % 8], sizeof(log_labels[0]), "%s", label);
}

/* X3 */
static void the_key_log_has_five_lines_and_only_when_it_is_on(void **state) {
    (void)state;
    static const char *const labels[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                                         "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"};
    assert_null(env.key_log);
    env.key_log = take_log;
    log_lines = 0;
    begin_case(server);
    shake_hands();
    env.key_log = NULL;
    assert_int_equal(log_lines, 5);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(log_labels[i], labels[i]);
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(nothing_of_a_handshake_stays_for_the_next),
        CASE(no_secret_stays_after_a_handshake),
        CASE(the_key_log_has_five_lines_and_only_when_it_is_on),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
