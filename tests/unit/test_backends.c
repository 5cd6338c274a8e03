#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/err.h"
#include "death.h"
#include "relay/backends.h"

#define N       5u
#define CLIENTS 2000
#define T0      1000000u

static struct conf_backend confs[CONF_BACKENDS_MAX];
static char texts[CONF_BACKENDS_MAX][32];

/* N Unix backends with a deterministic first turn. */
static struct conf_service service_of(enum balance balance, size_t n) {
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "unix:/run/app%zu.sock", i);
        confs[i] = (struct conf_backend){.kind = BACKEND_UNIX, .text = texts[i], .path = texts[i] + 5};
    }
    return (struct conf_service){.name = "web", .backends = confs, .nbackends = n, .balance = balance};
}

/* The same over TCP. */
static struct conf_service tcp_service_of(enum balance balance, size_t n) {
    struct conf_service s = service_of(balance, n);
    for (size_t i = 0; i < n; i++)
        confs[i].kind = BACKEND_TCP;
    return s;
}

static void begin(struct backends *b, const struct conf_service *s) {
    backends_init(b, s);
    b->turn = 0;
}

static const uint8_t *client(uint32_t i) {
    static uint8_t key[16];
    memset(key, 0, sizeof(key));
    memcpy(key, &i, sizeof(i));
    return key;
}

static uint16_t pick(struct backends *b, uint64_t tried, uint64_t now_ms) {
    return backends_pick(b, client(7), tried, now_ms);
}

/* Fails backend I until it is out; returns for how long. */
static uint32_t put_out(struct backends *b, uint16_t i, uint64_t now_ms) {
    uint32_t out_ms = 0;
    while (!backends_failed(b, i, now_ms, &out_ms))
        ;
    return out_ms;
}

static void round_robin_takes_turns(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 3);
    struct backends b;
    begin(&b, &s);
    for (uint16_t i = 0; i < 9; i++)
        assert_int_equal(pick(&b, 0, T0), i % 3);
    assert_int_equal(b.list[0].sessions + b.list[1].sessions + b.list[2].sessions, 9);
    backends_fini(&b);
}

static void round_robin_skips_the_tried_and_the_out(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 4);
    struct backends b;
    begin(&b, &s);
    (void)put_out(&b, 1, T0);
    assert_int_equal(pick(&b, 1, T0), 2);
    assert_int_equal(pick(&b, 0, T0), 3);
    assert_int_equal(pick(&b, 0, T0), 0);
    assert_int_equal(pick(&b, 0, T0), 2);
    backends_fini(&b);
}

static void least_sessions_evens_out(void **state) {
    struct conf_service s = service_of(BALANCE_LEAST_SESSIONS, 3);
    struct backends b;
    begin(&b, &s);
    for (int i = 0; i < 9; i++)
        (void)pick(&b, 0, T0);
    for (uint16_t i = 0; i < 3; i++)
        assert_int_equal(b.list[i].sessions, 3);
    backends_leave(&b, 1);
    backends_leave(&b, 1);
    assert_int_equal(pick(&b, 0, T0), 1);
    assert_int_equal(pick(&b, 0, T0), 1);
    backends_fini(&b);
}

static void equal_backends_share_one_after_the_other(void **state) {
    struct conf_service s = service_of(BALANCE_LEAST_SESSIONS, 3);
    struct backends b;
    unsigned got[3] = {0};
    begin(&b, &s);
    for (int i = 0; i < 9; i++) {
        uint16_t k = pick(&b, 0, T0);
        got[k]++;
        backends_leave(&b, k); /* all are idle again: it must not be the first one each time */
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(got[i], 3);
    backends_fini(&b);
}

static void a_client_stays_with_its_backend(void **state) {
    struct conf_service s = service_of(BALANCE_CLIENT_HASH, N);
    struct backends a, b;
    begin(&a, &s);
    begin(&b, &s);
    b.turn = 3; /* another relay, in the middle of its life */
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(backends_pick(&a, client(i), 0, T0), backends_pick(&b, client(i), 0, T0));
    for (uint16_t i = 0; i < N; i++) {
        assert_true(a.list[i].sessions > CLIENTS / N * 8 / 10);
        assert_true(a.list[i].sessions < CLIENTS / N * 12 / 10);
    }
    backends_fini(&a);
    backends_fini(&b);
}

static void a_backend_that_goes_moves_only_its_clients(void **state) {
    static uint16_t before[CLIENTS];
    const uint16_t gone = 2;
    struct conf_service s = service_of(BALANCE_CLIENT_HASH, N);
    struct backends b;
    begin(&b, &s);
    for (uint32_t i = 0; i < CLIENTS; i++)
        before[i] = backends_pick(&b, client(i), 0, T0);
    backends_fini(&b);

    /* The same service without the one in the middle: those behind it move up by one. */
    memmove(&confs[gone], &confs[gone + 1], (N - gone - 1) * sizeof(confs[0]));
    s.nbackends = N - 1;
    begin(&b, &s);
    unsigned moved = 0, to[N] = {0};
    for (uint32_t i = 0; i < CLIENTS; i++) {
        uint16_t now = backends_pick(&b, client(i), 0, T0);
        uint16_t old_number = (uint16_t)(now + (now >= gone));
        if (before[i] == gone) {
            moved++;
            to[now]++;
        } else {
            assert_int_equal(old_number, before[i]);
        }
    }
    assert_true(moved > 0);
    for (unsigned i = 0; i < N - 1; i++)
        assert_true(to[i] > moved / (N - 1) / 2); /* and they spread over all that are left */
    backends_fini(&b);
}

static void the_order_in_the_file_does_not_matter_to_clients(void **state) {
    struct conf_service s = service_of(BALANCE_CLIENT_HASH, N);
    struct backends b;
    static uint16_t before[200];
    begin(&b, &s);
    for (uint32_t i = 0; i < ARRAY_LEN(before); i++)
        before[i] = backends_pick(&b, client(i), 0, T0);
    backends_fini(&b);
    for (unsigned i = 0; i < N / 2; i++) {
        struct conf_backend x = confs[i];
        confs[i] = confs[N - 1 - i];
        confs[N - 1 - i] = x;
    }
    begin(&b, &s);
    for (uint32_t i = 0; i < ARRAY_LEN(before); i++)
        assert_int_equal(backends_pick(&b, client(i), 0, T0), N - 1 - before[i]);
    backends_fini(&b);
}

static void only_the_clients_of_a_backend_that_is_out_move(void **state) {
    static uint16_t before[CLIENTS];
    struct conf_service s = service_of(BALANCE_CLIENT_HASH, N);
    struct backends b;
    begin(&b, &s);
    for (uint32_t i = 0; i < CLIENTS; i++)
        before[i] = backends_pick(&b, client(i), 0, T0);
    (void)put_out(&b, 3, T0);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        uint16_t now = backends_pick(&b, client(i), 0, T0);
        assert_int_not_equal(now, 3);
        if (before[i] != 3)
            assert_int_equal(now, before[i]);
    }
    backends_connected(&b, 3);
    for (uint32_t i = 0; i < CLIENTS; i++)
        assert_int_equal(backends_pick(&b, client(i), 0, T0), before[i]);
    backends_fini(&b);
}

static void backends_written_alike_do_not_swap(void **state) {
    struct conf_service s = service_of(BALANCE_CLIENT_HASH, 2);
    struct backends b;
    confs[1] = confs[0];
    begin(&b, &s);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pick(&b, 0, T0), 0);
    backends_fini(&b);
}

static void none_is_left_when_all_are_tried(void **state) {
    static const enum balance rules[] = {BALANCE_LEAST_SESSIONS, BALANCE_ROUND_ROBIN, BALANCE_CLIENT_HASH};
    for (size_t r = 0; r < ARRAY_LEN(rules); r++) {
        struct conf_service s = service_of(rules[r], 3);
        struct backends b;
        begin(&b, &s);
        uint64_t tried = 0;
        for (int i = 0; i < 3; i++) {
            uint16_t k = pick(&b, tried, T0);
            assert_true(k < 3);
            assert_false(tried >> k & 1);
            tried |= 1ull << k;
        }
        assert_int_equal(pick(&b, tried, T0), BACKEND_NONE);
        assert_int_equal(b.list[0].sessions + b.list[1].sessions + b.list[2].sessions, 3);
        backends_fini(&b);
    }
}

static void the_last_of_sixty_four_can_be_picked(void **state) {
    struct conf_service s = service_of(BALANCE_LEAST_SESSIONS, CONF_BACKENDS_MAX);
    struct backends b;
    begin(&b, &s);
    assert_int_equal(pick(&b, ~(1ull << 63), T0), 63);
    assert_int_equal(pick(&b, ~0ull, T0), BACKEND_NONE);
    backends_fini(&b);
}

static void one_failure_puts_nobody_out(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint32_t out_ms = 12345;
    begin(&b, &s);
    for (int i = 1; i < BACKEND_FAILURES_OUT; i++)
        assert_false(backends_failed(&b, 0, T0, &out_ms));
    assert_int_equal(pick(&b, 0, T0), 0);
    backends_connected(&b, 0); /* and a success makes all of it forgotten */
    for (int i = 1; i < BACKEND_FAILURES_OUT; i++)
        assert_false(backends_failed(&b, 0, T0, &out_ms));
    assert_int_equal(out_ms, 12345);
    assert_true(backends_failed(&b, 0, T0, &out_ms));
    assert_int_equal(out_ms, 1000);
    backends_fini(&b);
}

static void the_time_out_grows_to_a_minute(void **state) {
    static const uint32_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct conf_service s = tcp_service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint64_t now = T0;
    begin(&b, &s);
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        uint32_t out_ms = put_out(&b, 0, now);
        assert_int_equal(out_ms, seconds[i] * 1000);
        for (int k = 0; k < 4; k++)
            assert_int_equal(pick(&b, 0, now + out_ms - 1), 1);
        now += out_ms;
        b.turn = 0;
        assert_int_equal(pick(&b, 0, now), 0); /* the trial, which fails at the start of the next turn */
    }
    b.list[0].failures = UINT32_MAX;
    b.list[0].out_until_ms = 0;
    assert_int_equal(put_out(&b, 0, now), 60000);
    backends_connected(&b, 0);
    assert_int_equal(put_out(&b, 0, now), 1000);
    backends_fini(&b);
}

static void failures_begun_before_it_went_out_do_not_count(void **state) {
    struct conf_service s = tcp_service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint32_t out_ms = 0;
    begin(&b, &s);
    (void)put_out(&b, 0, T0);
    for (int i = 0; i < 100; i++)
        assert_false(backends_failed(&b, 0, T0 + 500, &out_ms));
    assert_int_equal(put_out(&b, 0, T0 + 1000), 2000);
    backends_fini(&b);
}

static void after_the_time_one_session_tries(void **state) {
    struct conf_service s = service_of(BALANCE_LEAST_SESSIONS, 2);
    struct backends b;
    begin(&b, &s);
    (void)put_out(&b, 0, T0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pick(&b, 0, T0 + 1000), 1); /* though the other has no session */
    backends_connected(&b, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    backends_fini(&b);
}

static void a_trial_that_fails_puts_it_out_for_longer(void **state) {
    struct conf_service s = tcp_service_of(BALANCE_LEAST_SESSIONS, 2);
    struct backends b;
    uint32_t out_ms = 0;
    begin(&b, &s);
    (void)put_out(&b, 0, T0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    assert_true(backends_failed(&b, 0, T0 + 1000, &out_ms));
    backends_leave(&b, 0);
    assert_int_equal(out_ms, 2000);
    assert_int_equal(pick(&b, 0, T0 + 2999), 1);
    assert_int_equal(pick(&b, 0, T0 + 3000), 0);
    backends_fini(&b);
}

static void a_unix_socket_is_never_out_for_longer_than_a_second(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    begin(&b, &s);
    for (uint64_t now = T0; now < T0 + 20000; now += 1000)
        assert_int_equal(put_out(&b, 0, now), 1000);
    backends_fini(&b);
}

static void a_full_queue_is_a_fault_when_it_does_not_move(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint32_t out_ms = 0;
    s.connect_ms = 60000;
    begin(&b, &s);
    for (uint64_t t = 0; t < BACKEND_STALL_MS; t += 100)
        assert_false(backends_full(&b, 0, T0 + t, &out_ms));
    assert_false(backends_connected(&b, 0)); /* it drains: all begins again */
    assert_false(backends_full(&b, 0, T0 + 1000, &out_ms));
    assert_false(backends_full(&b, 0, T0 + 1999, &out_ms));
    assert_true(backends_full(&b, 0, T0 + 2000, &out_ms));
    assert_int_equal(out_ms, 1000);
    assert_false(backends_full(&b, 0, T0 + 2500, &out_ms)); /* is out already */
    assert_int_equal(pick(&b, 0, T0 + 2999), 1);
    assert_int_equal(pick(&b, 0, T0 + 3000), 0);           /* the trial */
    assert_true(backends_full(&b, 0, T0 + 3000, &out_ms)); /* and it is full still */
    backends_leave(&b, 0);
    b.turn = 0;
    assert_int_equal(pick(&b, 0, T0 + 3001), 1);
    assert_true(backends_connected(&b, 0)); /* one of those that asked all the same got in */
    b.turn = 0;
    assert_int_equal(pick(&b, 0, T0 + 3001), 0);
    backends_fini(&b);
}

static void a_short_time_to_connect_is_halved(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint32_t out_ms = 0;
    s.connect_ms = 400;
    begin(&b, &s);
    assert_false(backends_full(&b, 0, T0, &out_ms));
    assert_false(backends_full(&b, 0, T0 + 199, &out_ms));
    assert_true(backends_full(&b, 0, T0 + 200, &out_ms));
    backends_fini(&b);
}

static void a_refusal_ends_the_time_of_a_full_queue(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    uint32_t out_ms = 0;
    s.connect_ms = 60000;
    begin(&b, &s);
    assert_false(backends_full(&b, 0, T0, &out_ms));
    assert_false(backends_failed(&b, 0, T0 + 900, &out_ms)); /* it was restarted */
    assert_false(backends_full(&b, 0, T0 + 1500, &out_ms));
    assert_true(backends_full(&b, 0, T0 + 2500, &out_ms));
    backends_fini(&b);
}

static void a_trial_given_up_makes_room_for_the_next(void **state) {
    struct conf_service s = service_of(BALANCE_LEAST_SESSIONS, 2);
    struct backends b;
    begin(&b, &s);
    (void)put_out(&b, 0, T0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 1);
    backends_leave(&b, 0); /* its client went away before the connect had an outcome */
    assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    backends_fini(&b);
}

static void when_all_are_out_the_first_to_return_is_tried(void **state) {
    static const enum balance rules[] = {BALANCE_LEAST_SESSIONS, BALANCE_ROUND_ROBIN, BALANCE_CLIENT_HASH};
    for (size_t r = 0; r < ARRAY_LEN(rules); r++) {
        struct conf_service s = service_of(rules[r], 3);
        struct backends b;
        begin(&b, &s);
        (void)put_out(&b, 0, T0 + 20);
        (void)put_out(&b, 1, T0 + 10);
        (void)put_out(&b, 2, T0 + 30);
        assert_int_equal(pick(&b, 0, T0 + 40), 1);
        assert_int_equal(pick(&b, 2, T0 + 40), 0);
        assert_int_equal(pick(&b, 3, T0 + 40), 2);
        assert_int_equal(pick(&b, 7, T0 + 40), BACKEND_NONE);
        backends_connected(&b, 1); /* being tried while out, it can come back before its time */
        assert_int_equal(pick(&b, 0, T0 + 40), 1);
        backends_fini(&b);
    }
}

static void a_single_backend_is_always_tried(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    begin(&b, &s);
    (void)put_out(&b, 0, T0);
    assert_int_equal(pick(&b, 0, T0), 0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 0);
    assert_int_equal(pick(&b, 0, T0 + 1000), 0); /* also while another is half-open */
    backends_fini(&b);
}

static void a_unix_path_becomes_its_address(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    struct sockaddr_storage ss;
    struct sockaddr_un un;
    socklen_t len = 0;
    begin(&b, &s);
    assert_int_equal(backends_sockaddr(&b, 0, 0, &ss, &len), 0);
    memcpy(&un, &ss, sizeof(un));
    assert_int_equal(un.sun_family, AF_UNIX);
    assert_string_equal(un.sun_path, "/run/app0.sock");
    assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + strlen("/run/app0.sock") + 1);
    backends_fini(&b);
}

static void an_abstract_name_begins_with_zero_and_has_no_end(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    struct sockaddr_storage ss;
    struct sockaddr_un un;
    socklen_t len = 0;
    confs[0] = (struct conf_backend){.kind = BACKEND_UNIX_ABSTRACT, .text = "unix:@app", .path = "app"};
    begin(&b, &s);
    assert_int_equal(backends_sockaddr(&b, 0, 0, &ss, &len), 0);
    memcpy(&un, &ss, sizeof(un));
    assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 4);
    assert_memory_equal(un.sun_path, "\0app", 4);
    backends_fini(&b);
}

static void a_path_fits_to_the_byte_or_is_refused(void **state) {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    static const enum backend_kind kinds[] = {BACKEND_UNIX, BACKEND_UNIX_ABSTRACT};
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct sockaddr_storage ss;
    socklen_t len = 0;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct backends b;
        memset(path, 'x', sizeof(path));
        path[sizeof(path) - 2] = 0; /* 107 characters and an end, or a beginning */
        confs[0] = (struct conf_backend){.kind = kinds[k], .text = "unix:x", .path = path};
        begin(&b, &s);
        assert_int_equal(backends_sockaddr(&b, 0, 0, &ss, &len), 0);
        assert_int_equal(len, sizeof(struct sockaddr_un));
        path[sizeof(path) - 2] = 'x';
        path[sizeof(path) - 1] = 0;
        assert_int_equal(backends_sockaddr(&b, 0, 0, &ss, &len), ERR_LIMIT);
        backends_fini(&b);
    }
}

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse(text, &a), 0);
    return a;
}

static void expect_next(struct backends *b, const char *text) {
    struct sockaddr_storage ss;
    struct addr a;
    char to[ADDR_TEXT_MAX];
    socklen_t len = 0;
    assert_int_equal(backends_sockaddr(b, 0, backends_addr(b, 0, T0), &ss, &len), 0);
    addr_from_sockaddr(&ss, &a);
    assert_string_equal(addr_text(&a, to), text);
}

static void a_literal_address_is_there_at_once(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    confs[0] = (struct conf_backend){.kind = BACKEND_TCP, .text = "tcp:[::1]:8080", .path = "::1", .port = 8080};
    confs[0].addr = addr_of("[::1]:8080");
    begin(&b, &s);
    expect_next(&b, "[::1]:8080");
    struct addr other = addr_of("9.9.9.9:9");
    backends_resolved(&b, 0, &other, 1); /* nobody resolves a literal address */
    expect_next(&b, "[::1]:8080");
    backends_fini(&b);
}

static void a_name_waits_for_addresses_and_takes_turns(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    struct sockaddr_storage ss;
    socklen_t len = 0;
    confs[0] = (struct conf_backend){.kind = BACKEND_TCP, .text = "tcp:app:80", .path = "app", .port = 80, .is_name = true};
    begin(&b, &s);
    assert_int_equal(backends_sockaddr(&b, 0, 0, &ss, &len), ERR_NOT_FOUND);
    struct addr two[] = {addr_of("10.0.0.1:0"), addr_of("[fd00::1]:7")};
    backends_resolved(&b, 0, two, 2);
    expect_next(&b, "10.0.0.1:80");
    expect_next(&b, "[fd00::1]:80");
    expect_next(&b, "10.0.0.1:80");
    struct addr one = addr_of("10.0.0.9:0");
    backends_resolved(&b, 0, &one, 1);
    expect_next(&b, "10.0.0.9:80");
    backends_resolved(&b, 0, &one, 0); /* no news is no reason to forget */
    expect_next(&b, "10.0.0.9:80");
    backends_fini(&b);
}

static void addresses_that_failed_are_passed_over_for_a_while(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    const struct addr three[] = {addr_of("10.0.0.1:0"), addr_of("10.0.0.2:0"), addr_of("10.0.0.3:0")};
    confs[0] = (struct conf_backend){.kind = BACKEND_TCP, .text = "tcp:app:80", .path = "app", .port = 80, .is_name = true};
    begin(&b, &s);
    assert_int_equal(backends_addr(&b, 0, T0), 0);
    backends_addr_failed(&b, 0, 0, T0); /* there is none */
    backends_resolved(&b, 0, three, 3);
    assert_int_equal(backends_addr(&b, 0, T0), 0);
    backends_addr_failed(&b, 0, 0, T0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(backends_addr(&b, 0, T0 + BACKEND_ADDR_OUT_MS - 1), 1 + i % 2);
    backends_addr_failed(&b, 0, 1, T0 + 1);
    assert_int_equal(backends_addr(&b, 0, T0 + 1), 2);
    assert_int_equal(backends_addr(&b, 0, T0 + 1), 2);
    backends_addr_failed(&b, 0, 2, T0 + 1); /* all of them: each is as good as the others */
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(backends_addr(&b, 0, T0 + 1), i % 3);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(backends_addr(&b, 0, T0 + BACKEND_ADDR_OUT_MS), i % 3);
    backends_addr_failed(&b, 0, 0, T0);
    backends_resolved(&b, 0, three + 1, 2); /* others now */
    assert_int_equal(backends_addr(&b, 0, T0), 0);
    backends_fini(&b);
}

static void more_addresses_than_fit_are_cut(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    struct addr many[BACKEND_ADDRS_MAX + 4];
    confs[0] = (struct conf_backend){.kind = BACKEND_TCP, .text = "tcp:app:80", .path = "app", .port = 80, .is_name = true};
    begin(&b, &s);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = addr_of("10.0.0.0:0");
        many[i].ip[3] = (uint8_t)i;
    }
    backends_resolved(&b, 0, many, ARRAY_LEN(many));
    assert_int_equal(b.list[0].naddrs, BACKEND_ADDRS_MAX);
    for (int i = 0; i < BACKEND_ADDRS_MAX; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "10.0.0.%d:80", i);
        expect_next(&b, text);
    }
    expect_next(&b, "10.0.0.0:80");
    backends_fini(&b);
}

static void addresses_of_nobody_are_ignored(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 2);
    struct backends b;
    struct addr a = addr_of("10.0.0.1:0");
    begin(&b, &s);
    backends_resolved(&b, 0, &a, 1); /* a Unix backend */
    backends_resolved(&b, 2, &a, 1); /* none */
    backends_resolved(&b, BACKEND_NONE, &a, 1);
    assert_int_equal(b.list[0].naddrs, 0);
    backends_fini(&b);
}

static void leave_one_too_many(void *ctx) {
    backends_leave(ctx, 0);
}

static void leaving_more_often_than_picked_aborts(void **state) {
    struct conf_service s = service_of(BALANCE_ROUND_ROBIN, 1);
    struct backends b;
    begin(&b, &s);
    assert_true(aborts(leave_one_too_many, &b));
    backends_fini(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_robin_takes_turns),
        cmocka_unit_test(round_robin_skips_the_tried_and_the_out),
        cmocka_unit_test(least_sessions_evens_out),
        cmocka_unit_test(equal_backends_share_one_after_the_other),
        cmocka_unit_test(a_client_stays_with_its_backend),
        cmocka_unit_test(a_backend_that_goes_moves_only_its_clients),
        cmocka_unit_test(the_order_in_the_file_does_not_matter_to_clients),
        cmocka_unit_test(only_the_clients_of_a_backend_that_is_out_move),
        cmocka_unit_test(backends_written_alike_do_not_swap),
        cmocka_unit_test(none_is_left_when_all_are_tried),
        cmocka_unit_test(the_last_of_sixty_four_can_be_picked),
        cmocka_unit_test(one_failure_puts_nobody_out),
        cmocka_unit_test(the_time_out_grows_to_a_minute),
        cmocka_unit_test(failures_begun_before_it_went_out_do_not_count),
        cmocka_unit_test(after_the_time_one_session_tries),
        cmocka_unit_test(a_trial_that_fails_puts_it_out_for_longer),
        cmocka_unit_test(a_unix_socket_is_never_out_for_longer_than_a_second),
        cmocka_unit_test(a_full_queue_is_a_fault_when_it_does_not_move),
        cmocka_unit_test(a_short_time_to_connect_is_halved),
        cmocka_unit_test(a_refusal_ends_the_time_of_a_full_queue),
        cmocka_unit_test(a_trial_given_up_makes_room_for_the_next),
        cmocka_unit_test(when_all_are_out_the_first_to_return_is_tried),
        cmocka_unit_test(a_single_backend_is_always_tried),
        cmocka_unit_test(a_unix_path_becomes_its_address),
        cmocka_unit_test(an_abstract_name_begins_with_zero_and_has_no_end),
        cmocka_unit_test(a_path_fits_to_the_byte_or_is_refused),
        cmocka_unit_test(a_literal_address_is_there_at_once),
        cmocka_unit_test(a_name_waits_for_addresses_and_takes_turns),
        cmocka_unit_test(addresses_that_failed_are_passed_over_for_a_while),
        cmocka_unit_test(more_addresses_than_fit_are_cut),
        cmocka_unit_test(addresses_of_nobody_are_ignored),
        cmocka_unit_test(leaving_more_often_than_picked_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
