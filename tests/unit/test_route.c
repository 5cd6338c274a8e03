/* Which of an address' services a client reaches: every pair of match and protocol, in both orders. */
#include "conf/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NAME          "a.example.org"
#define ALPN(s)       span_of(s, sizeof(s) - 1)
#define MOST_SERVICES 4

static const char *h2[] = {"h2"}, *http[] = {"http/1.1"}, *both[] = {"h2", "http/1.1"};
static uint16_t here[] = {1}, elsewhere[] = {0}, everywhere[] = {0, 1};

/* How each service's certificates match NAME. */
static enum route_match named[MOST_SERVICES];
static struct conf_service services[MOST_SERVICES];
static struct conf conf = {.services = services};
static struct conf *const c = &conf;

static enum route_match match(void *ctx, uint16_t service, const char *name) {
    assert_ptr_equal(ctx, named);
    assert_int_equal(services[service].mode, MODE_TERMINATE);
    assert_true(name[0] != 0);
    return strcmp(name, NAME) == 0 ? named[service] : ROUTE_NO_MATCH;
}

static struct route_answer ask(const char *name, struct span alpn) {
    const struct route_ask a = {.listener = 1, .name = name, .alpn = alpn};
    return route(c, &a, match, named);
}

static struct conf_service *add(enum route_match wanted, const char **alpn, size_t nalpn) {
    struct conf_service *s = &services[c->nservices];
    *s = (struct conf_service){.listeners = here, .nlisteners = 1, .alpn = alpn, .nalpn = nalpn};
    s->mode = wanted == ROUTE_REST ? MODE_PASSTHROUGH : MODE_TERMINATE;
    s->strict_sni = wanted == ROUTE_NO_MATCH;
    named[c->nservices] = wanted >= ROUTE_WILDCARD ? wanted : ROUTE_NO_MATCH;
    c->nservices++;
    return s;
}

static int none(void **state) {
    c->nservices = 0;
    return 0;
}

/* The client offers h2. */
static void add_of(enum route_match wanted, enum route_alpn fit) {
    add(wanted, fit == ROUTE_ALPN_SHARED ? h2 : http, fit == ROUTE_ALPN_OPEN ? 0 : 1);
}

static void every_pair_in_both_orders(void **state) {
    for (int m1 = ROUTE_NO_MATCH; m1 <= ROUTE_EXACT; m1++)
        for (int a1 = ROUTE_ALPN_REFUSED; a1 <= ROUTE_ALPN_SHARED; a1++)
            for (int m2 = ROUTE_NO_MATCH; m2 <= ROUTE_EXACT; m2++)
                for (int a2 = ROUTE_ALPN_REFUSED; a2 <= ROUTE_ALPN_SHARED; a2++) {
                    c->nservices = 0;
                    add_of((enum route_match)m1, (enum route_alpn)a1);
                    add_of((enum route_match)m2, (enum route_alpn)a2);
                    int fit1 = m1 == ROUTE_REST ? ROUTE_ALPN_OPEN : a1, fit2 = m2 == ROUTE_REST ? ROUTE_ALPN_OPEN : a2;
                    uint16_t wanted = m1 != m2 ? m2 > m1 : fit2 > fit1;
                    struct route_answer got = ask(NAME, ALPN("\2h2"));
                    if (got.service != wanted)
                        print_error("match %d alpn %d, then match %d alpn %d\n", m1, a1, m2, a2);
                    assert_int_equal(got.service, wanted);
                    assert_int_equal(got.match, wanted ? m2 : m1);
                    assert_int_equal(got.alpn, wanted ? fit2 : fit1);
                }
}

/* The report: the wildcard service speaks the client's protocol, the service that owns the name wants a certificate. */
static void a_protocol_does_not_lead_around_a_name(void **state) {
    add(ROUTE_WILDCARD, http, 1);
    add(ROUTE_EXACT, h2, 1)->client_auth = CLIENT_AUTH_REQUIRED;
    struct route_answer got = ask(NAME, ALPN("\10http/1.1"));
    assert_int_equal(got.service, 1);
    assert_int_equal(got.alpn, ROUTE_ALPN_REFUSED);
    assert_int_equal(ask("b.example.org", ALPN("\10http/1.1")).service, 0); /* a name of neither */
}

static void a_hello_without_a_name_goes_to_a_default(void **state) {
    add(ROUTE_REST, NULL, 0);
    add(ROUTE_NO_MATCH, NULL, 0);
    assert_int_equal(ask("", ALPN("")).service, 0);
    assert_int_equal(ask("", ALPN("")).match, ROUTE_REST);
    add(ROUTE_EXACT, h2, 1);
    add(ROUTE_DEFAULT, http, 1);
    assert_int_equal(ask("", ALPN("")).service, 2);
    assert_int_equal(ask("", ALPN("\10http/1.1")).service, 3);
    assert_int_equal(ask("", ALPN("\4smtp")).service, 2);
    assert_int_equal(ask("", ALPN("\4smtp")).alpn, ROUTE_ALPN_REFUSED);
    assert_int_equal(ask("other.org", ALPN("\2h2")).match, ROUTE_DEFAULT);
}

static void where_all_are_strict_nobody_matches(void **state) {
    add(ROUTE_EXACT, h2, 1)->strict_sni = true;
    add(ROUTE_WILDCARD, http, 1)->strict_sni = true;
    assert_int_equal(ask("other.org", ALPN("\10http/1.1")).match, ROUTE_NO_MATCH);
    assert_int_equal(ask("", ALPN("")).match, ROUTE_NO_MATCH);
    assert_int_equal(ask(NAME, ALPN("\10http/1.1")).service, 0);
}

/* Certificates that services share: the protocol distinguishes them, and the first in the file has what both speak. */
static void equals_are_distinguished_by_protocol(void **state) {
    add(ROUTE_EXACT, both, 2);
    add(ROUTE_EXACT, h2, 1);
    add(ROUTE_EXACT, NULL, 0);
    assert_int_equal(ask(NAME, ALPN("\2h2")).service, 0);
    assert_int_equal(ask(NAME, ALPN("\2h2\10http/1.1")).service, 0);
    assert_int_equal(ask(NAME, ALPN("\4smtp\10http/1.1")).service, 0);
    assert_int_equal(ask(NAME, ALPN("\4smtp")).service, 2);
    assert_int_equal(ask(NAME, ALPN("")).service, 0);
}

static void other_addresses_do_not_matter(void **state) {
    add(ROUTE_EXACT, h2, 1)->listeners = elsewhere;
    struct conf_service *s = add(ROUTE_DEFAULT, http, 1);
    s->listeners = everywhere;
    s->nlisteners = 2;
    assert_int_equal(ask(NAME, ALPN("\2h2")).service, 1);
    assert_true(route_is_at(s, 0) && route_is_at(s, 1) && !route_is_at(&services[0], 1));
}

/* The reader of ClientHellos refuses such lists; nothing is read past their ends all the same. */
static void a_torn_list_of_protocols_shares_nothing(void **state) {
    add(ROUTE_EXACT, h2, 1);
    assert_int_equal(ask(NAME, ALPN("\3h2")).alpn, ROUTE_ALPN_REFUSED);
    assert_int_equal(ask(NAME, ALPN("\0\2h2")).alpn, ROUTE_ALPN_SHARED);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup(f, none)
    const struct CMUnitTest tests[] = {
        CASE(every_pair_in_both_orders),
        CASE(a_protocol_does_not_lead_around_a_name),
        CASE(a_hello_without_a_name_goes_to_a_default),
        CASE(where_all_are_strict_nobody_matches),
        CASE(equals_are_distinguished_by_protocol),
        CASE(other_addresses_do_not_matter),
        CASE(a_torn_list_of_protocols_shares_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
