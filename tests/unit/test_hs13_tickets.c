/* Tickets: who may resume what, how long, and what everything else leads to: a full handshake. P and C are of the pitfalls. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "hs13_cases.h"
#include "tls/server_internal.h"

#define HOUR 3600L

/* Our clock; libcrypto's own stays. */
static time_t ahead_s;
time_t __real_time(time_t *t);
time_t __wrap_time(time_t *t);
time_t __wrap_time(time_t *t) {
    return __real_time(t) + ahead_s;
}
uint64_t __real_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void) {
    return __real_clock_wall_us() + (uint64_t)ahead_s * 1000000;
}

static int after_case(void **state) {
    ahead_s = 0;
    return end_case(state);
}

/* A ticket as a client keeps it. */
struct kept {
    uint8_t ticket[HS13_TICKET_MAX];
    size_t len;
    uint8_t psk[HASH_LEN_MAX];
    unsigned hash;
    uint32_t age_add;
};

static void keep(struct kept *k) {
    assert_int_equal(rc.tickets, 1);
    memcpy(k->ticket, rc.ticket, rc.ticket_len);
    k->len = rc.ticket_len;
    memcpy(k->psk, rc.ticket_psk, sizeof(k->psk));
    k->hash = rc.suite->hash;
    k->age_add = rc.ticket_age_add;
}

static void end_well(void) {
    raw_finish(&rc);
    exchange_flights();
    expect_done();
}

static void get_ticket(const struct tls_server *from, struct span suites, struct kept *k) {
    begin_case(from);
    if (suites.len)
        hello.suites = suites;
    assert_int_equal(say_hello(), HS13_WANT_READ);
    end_well();
    keep(k);
}

static void offer(const struct kept *k) {
    raw_offer_ticket(&rc, &hello, span_of(k->ticket, k->len), k->psk, k->hash);
}

static bool resumes(const struct tls_server *with, const struct kept *k) {
    begin_case(with);
    offer(k);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    bool resumed = rc.resumed;
    end_well();
    return resumed;
}

/* RFC 8446 C.4: each ticket once; every session brings the next. */
static void every_session_brings_the_next_ticket(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    for (int i = 0; i < 5; i++) {
        begin_case(server);
        offer(&k);
        if (i % 2) { /* with a retry between */
            struct raw_ext psk = hello.exts[hello.nexts - 1];
            hello.nexts--;
            raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
            hello.exts[hello.nexts++] = psk;
            assert_int_equal(say_hello(), HS13_WANT_READ);
            assert_true(rc.retry);
            raw_share(&rc, &hello, rc.retry_group);
        }
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_true(rc.resumed);
        end_well();
        assert_memory_not_equal(k.ticket, rc.ticket, MIN(k.len, rc.ticket_len));
        keep(&k);
    }
}

/* P11: connection info, not certificates. */
static void a_ticket_is_small(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    assert_in_range(k.len, 100, 256);
}

/* P1: all pairs of services; other rules mean a full handshake and no alert. */
static void a_ticket_is_good_for_its_service_alone(void **state) {
    (void)state;
    struct tls_policy p = case_policy("other");
    struct tls_server *other = service_new(&p, shop.certs, tickets);
    const struct tls_server *all[] = {server, lax, other};
    for (size_t from = 0; from < 3; from++) {
        struct kept k;
        begin_case(all[from]);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        if (all[from] == lax)
            show_certificate(NULL);
        end_well();
        keep(&k);
        for (size_t to = 0; to < 3; to++) {
            begin_case(all[to]);
            offer(&k);
            assert_int_equal(say_hello(), HS13_WANT_READ);
            assert_int_equal(rc.resumed, from == to);
            assert_int_equal(rc.cert_requested, all[to] == lax && from != to); /* C8: never with a PSK */
            if (rc.cert_requested)
                show_certificate(NULL);
            end_well();
        }
        begin_case(strict); /* P2: nobody without a certificate gets into it by somebody else's ticket */
        offer(&k);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_false(rc.resumed);
        assert_true(rc.cert_requested);
    }
    end_case(NULL);
    tls_server_free(other);
}

/* P14: another name, or none. */
static void a_ticket_is_good_for_its_name_alone(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    for (int what = 0; what < 3; what++) {
        begin_case(server);
        if (what == 1)
            raw_drop(&hello, EXT_NAME);
        if (what == 2)
            raw_set(&hello, EXT_NAME, RAW_LIT("\0\x14\0\0\x11x.www.example.org"));
        offer(&k);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_int_equal(rc.resumed, what == 0);
        end_well();
    }
}

/* Rules that changed since. */
static void a_ticket_is_good_under_its_rules_alone(void **state) {
    (void)state;
    struct kept k;
    struct tls_policy p = case_policy("lax");
    p.clients = case_rules(false);
    struct tls_server *s = service_new(&p, shop.certs, tickets);
    begin_case(s);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    show_certificate(NULL);
    end_well();
    keep(&k);
    assert_true(resumes(s, &k));
    assert_int_equal(tls_server_use_clients(s, case_rules(true)), 0);
    begin_case(s);
    offer(&k);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_false(rc.resumed);
    end_case(NULL);
    tls_server_free(s);
}

/* P3: the suite is chosen first, by our order; a ticket of another hash is passed over. */
static void a_ticket_is_good_for_its_hash(void **state) {
    (void)state;
    static const struct span suites[] = {
        {(const uint8_t *)"\x13\x01", 2}, {(const uint8_t *)"\x13\x02", 2}, {(const uint8_t *)"\x13\x03", 2}};
    for (size_t from = 0; from < 3; from++) {
        struct kept k;
        get_ticket(server, suites[from], &k);
        for (size_t to = 0; to < 3; to++) {
            begin_case(server);
            hello.suites = suites[to];
            offer(&k);
            assert_int_equal(say_hello(), HS13_WANT_READ);
            assert_int_equal(rc.resumed, (from == 1) == (to == 1));
            end_well();
        }
    }
}

/* P5: of the ticket that is taken up; no falling back. */
static void a_wrong_binder_is_a_decrypt_error(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    for (size_t bit = 0; bit < 256; bit += 17) {
        begin_case(server);
        offer(&k);
        raw_hello(&rc, &hello);
        struct span s = buf_span(&rc.sent);
        ((uint8_t *)(uintptr_t)s.p)[s.len - 32 + bit / 8] ^= (uint8_t)(1u << bit % 8);
        exchange_flights();
        expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
    }
    k.hash = HASH_SHA384; /* longer than the suite's */
    begin_case(server);
    offer(&k);
    say_hello();
    expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
    k.hash = HASH_SHA256;
    k.psk[0] ^= 1; /* another key */
    begin_case(server);
    offer(&k);
    say_hello();
    expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
}

/* The binder of a second hello is over the first, too (H4). */
static void the_binder_of_a_second_hello_is_made_again(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    begin_case(server);
    raw_set(&hello, EXT_SHARE, RAW_LIT("\0\0"));
    offer(&k);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    raw_share(&rc, &hello, rc.retry_group);
    bool retry = rc.retry;
    struct hs13_keys keys = rc.keys;
    rc.retry = false; /* as if it were the first */
    raw_hello(&rc, &hello);
    rc.retry = retry;
    rc.keys = keys;
    exchange_flights();
    expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
}

/* N identities, ours at place AT (none when AT >= N), all with our binder's length. */
static void offer_many(const struct kept *k, size_t n, size_t at, size_t foreign_len) {
    static uint8_t data[70000], foreign[66000];
    struct wr w = wr_of(data, sizeof(data));
    size_t ids = 0;
    for (size_t i = 0; i < n; i++)
        ids += 2 + (i == at ? k->len : foreign_len) + 4;
    wr_u16(&w, (uint16_t)ids);
    for (size_t i = 0; i < n; i++) {
        wr_vec16(&w, i == at ? span_of(k->ticket, k->len) : span_of(foreign, foreign_len));
        wr_u32(&w, 0);
    }
    wr_u16(&w, (uint16_t)(33 * n));
    for (size_t i = 0; i < n; i++) {
        wr_u8(&w, 32);
        wr_bytes(&w, foreign, 32);
    }
    assert_true(wr_end(&w));
    raw_drop(&hello, EXT_PSK);
    raw_add(&hello, EXT_PSK, wr_written(&w));
}

/* P5, P7: whatever is not ours leads to a full handshake; few of many are looked at. */
static void foreign_tickets_lead_to_a_full_handshake(void **state) {
    (void)state;
    static const size_t lens[] = {1, 16, 63, 64, 65, 500, 8000, 16000};
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        begin_case(server);
        offer_many(&k, 1, 9, MIN(lens[i], (size_t)HELLO_MESSAGE_MAX - 400));
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_false(rc.resumed);
        end_well();
    }
    begin_case(server);
    offer_many(&k, 100, 50, 32);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_false(rc.resumed);
    end_well();
    begin_case(server); /* ours is found behind others, and its binder is looked at */
    offer_many(&k, 3, 2, 32);
    say_hello();
    expect_refusal(ERR_BINDER, ALERT_DECRYPT_ERROR, RAW_PLAIN);
    for (size_t at = 0; at < k.len; at += 3) { /* changed in one bit, anywhere */
        struct kept other = k;
        other.ticket[at] ^= 1;
        assert_false(resumes(server, &other));
    }
    struct tickets *elsewhere = service_tickets(2); /* another fleet's */
    struct tls_policy p = case_policy("web");
    struct tls_server *s = service_new(&p, shop.certs, elsewhere);
    assert_false(resumes(s, &k));
    end_case(NULL);
    tls_server_free(s);
    tickets_free(elsewhere);
}

/* Tickets are of the secret, not of the process. */
static void another_process_with_the_secret_resumes(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    struct tickets *same = service_tickets(1);
    struct tls_policy p = case_policy("web");
    struct tls_server *s = service_new(&p, shop.certs, same);
    assert_true(resumes(s, &k));
    end_case(NULL);
    tls_server_free(s);
    tickets_free(same);
}

/* P8 */
static void without_psk_dhe_ke_there_is_neither_ticket_nor_resumption(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    for (int what = 0; what < 2; what++) {
        begin_case(server);
        if (what)
            raw_set(&hello, EXT_MODES, RAW_LIT("\1\0"));
        else
            raw_drop(&hello, EXT_MODES);
        if (what)
            offer(&k);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_false(rc.resumed);
        end_well();
        assert_int_equal(rc.tickets, 0);
    }
}

/* P9 */
static void a_ticket_ends_with_its_life(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    ahead_s = TICKETS_LIFETIME_S - 10;
    assert_true(resumes(server, &k));
    ahead_s = TICKETS_LIFETIME_S + 10;
    assert_false(resumes(server, &k));
    ahead_s = 3 * HOUR;
    assert_false(resumes(server, &k));
    ahead_s = -HOUR / 2; /* made by a machine whose clock is ahead */
    assert_true(resumes(server, &k));
    ahead_s = -3 * HOUR;
    assert_false(resumes(server, &k));
}

/* P9: however often it was renewed. */
static void renewals_end_after_a_week(void **state) {
    (void)state;
    struct kept k;
    long hours = 0;
    get_ticket(server, span_of(NULL, 0), &k);
    for (; hours < 24 * 8; hours++) {
        ahead_s = hours * HOUR;
        begin_case(server);
        offer(&k);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        if (!rc.resumed)
            break;
        end_well();
        keep(&k);
        ahead_s = 0;
        ahead_s = (hours + 1) * HOUR - 60;
        begin_case(server);
        offer(&k);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        if (!rc.resumed)
            break;
        end_well();
        keep(&k);
    }
    assert_in_range(hours, 24 * 7 - 1, 24 * 7);
}

/* P9 (CVE-2022-30629), P10: nothing of two tickets is the same but the name of the hour. */
static void no_two_tickets_are_alike(void **state) {
    (void)state;
    enum { N = 200 };
    static struct kept all[N];
    uint32_t bits = 0;
    for (size_t i = 0; i < N; i++) {
        get_ticket(server, span_of(NULL, 0), &all[i]);
        bits |= rc.ticket_age_add ^ (i ? all[0].age_add : rc.ticket_age_add);
    }
    assert_int_equal(bits, UINT32_MAX); /* each of ticket_age_add changes */
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(all[i].ticket + 16, all[j].ticket + 16, 16);
            assert_memory_not_equal(all[i].ticket + 48, all[j].ticket + 48, 16);
            assert_memory_not_equal(all[i].psk, all[j].psk, 32);
        }
}

/* P15 */
static void a_service_without_tickets_gives_none(void **state) {
    (void)state;
    struct kept k;
    get_ticket(server, span_of(NULL, 0), &k);
    struct tls_server *s = server;
    struct tickets *mine = s->tickets;
    s->tickets = NULL;
    begin_case(s);
    offer(&k);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_false(rc.resumed);
    end_well();
    assert_int_equal(rc.tickets, 0);
    s->tickets = mine;
}

/* ---- clients with certificates ---- */

static struct kept certified(const struct tls_server *s, X509 *cert, EVP_PKEY *key, struct handshake_result *ret) {
    struct kept k;
    begin_case(s);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    show_certificate(cert);
    prove(key);
    raw_finish(&rc);
    exchange_flights();
    assert_int_equal(last, HS13_DONE);
    assert_int_equal(hs13_finish(conn.h, ret), 0);
    assert_true(ret->client && ret->client->verified);
    keep(&k);
    return k;
}

/* P2: its name comes back, the certificate is shown again after a day, or when it has ended. */
static void a_resumed_client_is_who_it_was(void **state) {
    (void)state;
    EVP_PKEY *key = make_key("EC:P-256");
    X509 *cert = make_cert(key, &(struct make_spec){.cn = "robot",
                                                    .san = "DNS:robot.example.org",
                                                    .begins_s = -HOUR,
                                                    .ends_s = 12 * HOUR,
                                                    .issuer = ca,
                                                    .issuer_key = ca_key});
    struct tls_server *both[] = {strict, lax};
    for (size_t i = 0; i < 2; i++) {
        struct handshake_result r;
        struct kept k = certified(both[i], cert, key, &r);
        assert_int_equal(r.client_cert.len > 0, both[i] == strict); /* it is sent to strict's backends */
        long halves = 0;
        for (; halves < 60; halves++) { /* within a ticket's life */
            ahead_s = halves * HOUR / 2;
            begin_case(both[i]);
            offer(&k);
            assert_int_equal(say_hello(), HS13_WANT_READ);
            if (!rc.resumed)
                break;
            assert_false(rc.cert_requested);
            raw_finish(&rc);
            exchange_flights();
            assert_int_equal(last, HS13_DONE);
            assert_int_equal(hs13_finish(conn.h, &r), 0);
            assert_true(r.resumed && r.client && r.client->verified);
            assert_int_equal(r.client->name_len, strlen("robot.example.org"));
            assert_memory_equal(r.client->name, "robot.example.org", r.client->name_len);
            assert_int_equal(r.client_cert.len > 0, both[i] == strict);
            keep(&k);
        }
        assert_int_equal(halves, 24); /* not after its certificate's end */
        ahead_s = 0;
    }
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* P12: with our Finished where nothing can come between, and else not before the client's; number 0 of the key, and 1 is next.
 */
static void a_ticket_with_our_finished(void **state) {
    (void)state;
    struct tls_policy p = case_policy("web");
    p.ticket_with_finished = true;
    struct tls_server *early = service_new(&p, shop.certs, tickets);
    begin_case(early);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    assert_int_equal(rc.tickets, 1);
    end_well();
    assert_int_equal(rc.tickets, 1);
    assert_int_equal(rc.in.seq, 1);

    uint8_t message[4 + HASH_LEN_MAX]; /* S6: the alert to a wrong Finished is read behind it */
    begin_case(early);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    size_t len = raw_finished(&rc, message);
    message[len - 1] ^= 1;
    raw_send(&rc, CONTENT_HANDSHAKE, span_of(message, len));
    exchange_flights();
    expect_refusal(ERR_FINISHED, ALERT_DECRYPT_ERROR, RAW_SESSION);
    assert_int_equal(rc.in.seq, 2);

    begin_case(early); /* P8 */
    raw_drop(&hello, EXT_MODES);
    assert_int_equal(say_hello(), HS13_WANT_READ);
    end_well();
    assert_int_equal(rc.tickets, 0);
    end_case(NULL);
    tls_server_free(early);
}

static void no_ticket_comes_before_a_certificate_that_was_asked_for(void **state) {
    (void)state;
    for (int required = 0; required < 2; required++) {
        struct tls_policy p = case_policy("lax");
        p.clients = case_rules(required);
        p.ticket_with_finished = true;
        struct tls_server *s = service_new(&p, shop.certs, tickets);
        begin_case(s);
        assert_int_equal(say_hello(), HS13_WANT_READ);
        assert_int_equal(rc.tickets, 0);
        if (!required) {
            show_certificate(NULL);
            end_well();
            assert_int_equal(rc.tickets, 1);
            struct kept k;
            keep(&k);
            begin_case(s); /* nor where one is known from before */
            offer(&k);
            assert_int_equal(say_hello(), HS13_WANT_READ);
            assert_true(rc.resumed);
            assert_int_equal(rc.tickets, 0);
        }
        end_case(NULL);
        tls_server_free(s);
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, after_case)
    const struct CMUnitTest tests[] = {
        CASE(every_session_brings_the_next_ticket),
        CASE(a_ticket_with_our_finished),
        CASE(no_ticket_comes_before_a_certificate_that_was_asked_for),
        CASE(a_ticket_is_small),
        CASE(a_ticket_is_good_for_its_service_alone),
        CASE(a_ticket_is_good_for_its_name_alone),
        CASE(a_ticket_is_good_under_its_rules_alone),
        CASE(a_ticket_is_good_for_its_hash),
        CASE(a_wrong_binder_is_a_decrypt_error),
        CASE(the_binder_of_a_second_hello_is_made_again),
        CASE(foreign_tickets_lead_to_a_full_handshake),
        CASE(another_process_with_the_secret_resumes),
        CASE(without_psk_dhe_ke_there_is_neither_ticket_nor_resumption),
        CASE(a_ticket_ends_with_its_life),
        CASE(renewals_end_after_a_week),
        CASE(no_two_tickets_are_alike),
        CASE(a_service_without_tickets_gives_none),
        CASE(a_resumed_client_is_who_it_was),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
