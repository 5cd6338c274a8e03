/*
 * What a hello costs us, counted in what is dear: key exchanges, signatures, tickets opened. One that is refused costs none but
 * what its refusal rests on (S13); many shares and many tickets cost what one costs (K1, P5).
 */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_cases.h"
#include "tls/hs13_ticket.h"

static struct { unsigned exchanges, signatures, opened; } cost;

static int counted_exchange(uint16_t group, struct span peer, struct hs13_share *ret) {
    cost.exchanges++;
    return hs13_exchange(group, peer, ret);
}

int __real_hs13_ticket_open(struct tickets *keys, struct span ticket, uint8_t room[static HS13_TICKET_MAX],
                            struct hs13_ticket *ret);
int __wrap_hs13_ticket_open(struct tickets *keys, struct span ticket, uint8_t room[static HS13_TICKET_MAX],
                            struct hs13_ticket *ret);
int __wrap_hs13_ticket_open(struct tickets *keys, struct span ticket, uint8_t room[static HS13_TICKET_MAX],
                            struct hs13_ticket *ret) {
    cost.opened++;
    return __real_hs13_ticket_open(keys, ticket, room, ret);
}

/* Up to our flight, or a refusal. */
static void say_and_count(void) {
    memset(&cost, 0, sizeof(cost));
    conn.shop = NULL;
    raw_hello(&rc, &hello);
    last = hs13_conn_step(&conn, &rc.sent);
    if (last == HS13_WANT_SIGN) {
        struct handshake_sign q;
        uint8_t sig[1024];
        cost.signatures++;
        hs13_sign_request(conn.h, &q);
        last = hs13_signed(conn.h, 0, span_of(sig, hs13_shop_sign(&shop, &q, sig)));
    }
    raw_hear(&rc, &conn.out);
}

static void expect_cost(unsigned exchanges, unsigned signatures, unsigned opened) {
    assert_int_equal(cost.exchanges, exchanges);
    assert_int_equal(cost.signatures, signatures);
    assert_int_equal(cost.opened, opened);
}

/* ---- the ticket at hand ---- */

static struct {
    uint8_t bytes[HS13_TICKET_MAX], psk[HASH_LEN_MAX];
    size_t len;
} ticket;

static void get_ticket(void) {
    begin_case(server);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_finish(&rc);
    exchange_flights();
    assert_int_equal(rc.tickets, 1);
    memcpy(ticket.bytes, rc.ticket, ticket.len = rc.ticket_len);
    memcpy(ticket.psk, rc.ticket_psk, sizeof(ticket.psk));
}

static void offer_ticket(void) {
    raw_offer_ticket(&rc, &hello, span_of(ticket.bytes, ticket.len), ticket.psk, HASH_SHA256);
}

/* ---- refusals ---- */

static void drop_groups(void) {
    raw_drop(&hello, EXT_GROUPS);
}

static void drop_shares(void) {
    raw_drop(&hello, EXT_SHARE);
}

static void other_suites(void) {
    hello.suites = RAW_LIT("\x13\x04\x13\x05\xc0\x2b");
}

static void other_groups(void) {
    raw_set(&hello, EXT_GROUPS, RAW_LIT("\0\2\0\x1e"));
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\5\0\x1e\0\1x"));
}

static void other_schemes(void) {
    raw_set(&hello, EXT_SIGALGS, RAW_LIT("\0\4\x04\x01\x02\x01"));
}

static void other_versions(void) {
    raw_set(&hello, EXT_VERSIONS, RAW_LIT("\2\3\2"));
}

static void two_shares_of_a_group(void) {
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\x0a\0\x1d\0\1x\0\x1d\0\1y"));
}

static void a_tail(void) {
    raw_set(&hello, EXT_MODES, RAW_LIT("\1\1\0"));
}

static void compression(void) {
    hello.compression = RAW_LIT("\0\1");
}

static void limit(void) {
    raw_set(&hello, EXT_RSL, RAW_LIT("\0\x3f"));
}

static void (*const faults[])(void) = {drop_groups,    drop_shares,           other_suites, other_groups, other_schemes,
                                       other_versions, two_shares_of_a_group, a_tail,       compression,  limit};

/* Whether a ticket is offered beside the fault, or not. */
static void a_refusal_that_needs_no_key_costs_none(void **state) {
    (void)state;
    get_ticket();
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        for (int with_ticket = 0; with_ticket < 2; with_ticket++) {
            begin_case(server);
            faults[i]();
            if (with_ticket)
                offer_ticket();
            say_and_count();
            assert_int_equal(last, HS13_FAILED);
            expect_cost(0, 0, 0);
        }
}

static void a_wrong_binder_costs_its_ticket(void **state) {
    (void)state;
    get_ticket();
    ticket.psk[0] ^= 1;
    begin_case(server);
    offer_ticket();
    say_and_count();
    expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
    expect_cost(0, 0, 1);
}

static void a_bad_share_costs_no_signature(void **state) {
    (void)state;
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\5\0\x1d\0\1x"));
    say_and_count();
    expect_refusal(ERR_KEY_SHARE, ALERT_ILLEGAL_PARAMETER, RAW_PLAIN);
    expect_cost(1, 0, 0);
}

static void a_retry_costs_nothing(void **state) {
    (void)state;
    get_ticket();
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    offer_ticket();
    say_and_count();
    assert_true(rc.retry);
    expect_cost(0, 0, 0);
    raw_share(&rc, &hello, rc.retry_group);
    offer_ticket(); /* the last of the extensions again */
    say_and_count();
    assert_true(rc.resumed);
    expect_cost(1, 0, 1);
}

static void a_full_and_a_resumed_handshake(void **state) {
    (void)state;
    get_ticket();
    begin_case(server);
    say_and_count();
    assert_true(rc.flight_done);
    expect_cost(1, 1, 0);
    begin_case(server);
    offer_ticket();
    say_and_count();
    assert_true(rc.flight_done && rc.resumed);
    expect_cost(1, 0, 1);
}

/* N identities of LEN bytes that nobody knows. */
static void offer_strangers(size_t n, size_t len) {
    static uint8_t data[70000], nothing[66000];
    struct wr w = wr_of(data, sizeof(data));
    wr_u16(&w, (uint16_t)(n * (2 + len + 4)));
    for (size_t i = 0; i < n; i++) {
        wr_vec16(&w, span_of(nothing, len));
        wr_u32(&w, 0);
    }
    wr_u16(&w, (uint16_t)(33 * n));
    for (size_t i = 0; i < n; i++)
        wr_vec8(&w, span_of(nothing, 32));
    assert_true(wr_end(&w));
    raw_add(&hello, EXT_PSK, wr_written(&w));
}

/* P5, P7: a full handshake, and few of them are looked at. */
static void many_tickets_cost_what_a_few_cost(void **state) {
    (void)state;
    static const struct {
        size_t n, len;
        unsigned opened;
    } rows[] = {{1, 1, 1}, {1, 64000, 1}, {3, 200, 3}, {4, 200, 4}, {5, 200, 4}, {100, 100, 4}, {1000, 1, 4}, {280, 180, 4}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin_case(server);
        offer_strangers(rows[i].n, rows[i].len);
        say_and_count();
        assert_int_equal(last, HS13_WANT_READ);
        assert_false(rc.resumed);
        expect_cost(1, 1, rows[i].opened);
    }
}

/* K1: the groups that are ours first, last, or in the middle of 16. */
static void many_shares_cost_what_one_costs(void **state) {
    (void)state;
    for (unsigned at = 0; at < 16; at++) {
        uint8_t groups[64], shares[1024];
        struct wr g = wr_of(groups, sizeof(groups)), w = wr_of(shares, sizeof(shares));
        begin_case(server);
        struct span own = raw_find(&hello, EXT_SHARE)->data;
        wr_u16(&g, 2 * 16);
        wr_u16(&w, (uint16_t)(15 * (4 + 32) + own.len - 2));
        for (unsigned i = 0; i < 16; i++) {
            wr_u16(&g, i == at ? 0x001d : (uint16_t)(0x2000 + i));
            if (i == at) {
                wr_bytes(&w, own.p + 2, own.len - 2);
                continue;
            }
            wr_u16(&w, (uint16_t)(0x2000 + i));
            wr_vec16(&w, RAW_LIT("................................"));
        }
        raw_set(&hello, EXT_GROUPS, wr_written(&g));
        raw_set(&hello, EXT_SHARE, wr_written(&w));
        say_and_count();
        assert_true(rc.flight_done);
        expect_cost(1, 1, 0);
    }
}

static int costs_setup(void **state) {
    int err = cases_setup(state);
    env.exchange = counted_exchange;
    return err;
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(a_refusal_that_needs_no_key_costs_none), CASE(a_wrong_binder_costs_its_ticket),
        CASE(a_bad_share_costs_no_signature),         CASE(a_retry_costs_nothing),
        CASE(a_full_and_a_resumed_handshake),         CASE(many_tickets_cost_what_a_few_cost),
        CASE(many_shares_cost_what_one_costs),
    };
    return cmocka_run_group_tests(tests, costs_setup, cases_teardown);
}
