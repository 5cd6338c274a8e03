/*
 * Connections before they are sessions, with a fault at the n-th call for every n. After every turn conn_bench.h looks whether
 * all is in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "conn_bench.h"

static int set_up(void **state) {
    bench_begin();
    return 0;
}

static void client_of_tls(unsigned n, enum bench_listener listener, uint16_t version) {
    struct bench_client *c = client_connect(n, listener, (uint8_t)(1 + n));
    if (listener == LISTEN_PROXY)
        client_says(c, "PROXY TCP4 10.0.0.5 192.0.2.1 1000 443\r\n", 40);
    client_tls(c, version);
}

static void a_day(void) {
    client_of_tls(0, LISTEN_WEB, TLS_1_3);
    client_of_tls(1, LISTEN_PROXY, TLS_1_2);
    client_of_tls(2, LISTEN_PASS, TLS_1_3);
    client_of_tls(3, LISTEN_LIMITED, TLS_1_3);
    client_says(client_connect(4, LISTEN_WEB, 5), "GET / HTTP/1.1\r\n", 16);
    for (unsigned i = 0; i < 5; i++) {
        for (unsigned n = 0; n < 4; n++)
            client_step(&bench_clients[n], i == 1 ? 40 : SIZE_MAX);
        if (i == 2)
            bench_relay_comes(0);
        if (i == 3)
            bench_new_creds(true);
        bench_later(30);
    }
    bench_obey();
    bench_signer_comes(0);
    bench_obey();
}

static void each_fault_of_a_day(void) {
    unsigned calls = 0;
    for (unsigned n = 0; n <= calls; n++) {
        bench_begin_run();
        bench_fail_at = n;
        a_day();
        if (n == 0)
            calls = bench_calls;
        bench_fail_at = 0;
        bench_later(200);
        uint64_t accepted = bench_count(STATS_ACCEPTED) - bench_run.accepted;
        bench_end_run();
        assert_true(accepted >= 4 || n > 0);
    }
    assert_true(calls > 60);
}

/* Each call of a day that can fail does so, alone or with some behind it, with each of its errors; whatever that ends, all the
 * rest goes on and the next day is a good one. */
static void a_fault_at_every_call(void **state) {
    for (bench_fail_kind = 0; bench_fail_kind < BENCH_ACCEPT_ERRORS; bench_fail_kind++) {
        bench_fail_more = bench_fail_kind / 4 * 3;
        each_fault_of_a_day();
    }
    bench_fail_kind = bench_fail_more = 0;
    bench_begin_run();
    a_day();
    assert_int_equal(bench_count(STATS_HANDED_OVER) - bench_run.handed, 4);
    bench_end_run();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_fault_at_every_call)};
    return cmocka_run_group_tests(tests, set_up, NULL);
}
