/* Which of an address' services a client reaches: each rule of the order, then random tables against a slow second opinion. */
#include "route/route.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NAME    "a.example.org"
#define ALPN(s) span_of(s, sizeof(s) - 1)
#define NONE    ALPN("")
#define H2      "\2h2"
#define HTTP    "\10http/1.1"
#define HERE    1

static const char *const h2[] = {"h2"}, *const http[] = {"http/1.1"}, *const both[] = {"http/1.1", "h2"};
static struct route_table *t;
static uint16_t nservices;

static int begin(void **state) {
    t = route_table_new(3, 64);
    nservices = 0;
    return t ? 0 : -1;
}

static int end(void **state) {
    route_table_free(t);
    return 0;
}

static uint16_t add_at(uint16_t listener, const char *pattern, enum route_weight weight, struct route_protocols speaks) {
    route_table_speak(t, nservices, speaks);
    assert_int_equal(route_table_claim(t, listener, nservices, pattern, weight), 0);
    return nservices++;
}

static uint16_t add(const char *pattern, struct route_protocols speaks) {
    return add_at(HERE, pattern, ROUTE_GIVEN, speaks);
}

static const struct route_protocols any = {.n = 0}, prefers_h2 = {h2, 1, false}, prefers_http = {http, 1, false},
                                    demands_h2 = {h2, 1, true}, demands_http = {http, 1, true}, prefers_both = {both, 2, false};

static struct route_answer ask(const char *name, struct span alpn) {
    const struct route_ask a = {HERE, name, alpn};
    return route_find(t, &a);
}

static void assert_goes(const char *name, struct span alpn, uint16_t service, enum route_fit fit) {
    struct route_answer a = ask(name, alpn);
    if (a.service != service || a.fit != fit)
        fail_msg("\"%s\" reached %u with fit %d instead of %u with fit %d", name, a.service, a.fit, service, fit);
}

static void patterns_are_read(void **state) {
    static const struct {
        const char *text;
        enum route_kind kind;
        const char *name;
    } cases[] = {{"", ROUTE_NAMELESS, ""},
                 {"*", ROUTE_ALL, ""},
                 {"*.a.b", ROUTE_LABEL, "a.b"},
                 {"**.a", ROUTE_DEEP, "a"},
                 {"a", ROUTE_EXACT, "a"},
                 {"_x.a", ROUTE_EXACT, "_x.a"},
                 {"xn--bcher-kva.example", ROUTE_EXACT, "xn--bcher-kva.example"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_pattern p = route_pattern_of(cases[i].text);
        assert_int_equal(p.kind, cases[i].kind);
        assert_true(span_eq(p.name, span_str(cases[i].name)));
    }
}

static void the_most_specific_pattern_counts_alone(void **state) {
    static const char *const patterns[] = {"*", "**.org", "**.example.org", "*.example.org", NAME};
    for (uint16_t i = 0; i < ARRAY_LEN(patterns); i++) {
        add(patterns[i], any);
        assert_goes(NAME, NONE, i, ROUTE_OPEN);
    }
    assert_goes("b.example.org", NONE, 3, ROUTE_OPEN);
    assert_goes("c.b.example.org", NONE, 2, ROUTE_OPEN);
    assert_goes("example.org", NONE, 1, ROUTE_OPEN);
    assert_goes("org", NONE, 0, ROUTE_OPEN);
    assert_goes("xexample.org", NONE, 1, ROUTE_OPEN);
    assert_goes("example.com", NONE, 0, ROUTE_OPEN);
    assert_goes("", NONE, 0, ROUTE_OPEN);
}

static void one_label_is_one_label(void **state) {
    add("*.example.org", any);
    assert_goes("a.example.org", NONE, 0, ROUTE_OPEN);
    assert_goes("b.a.example.org", NONE, ROUTE_NOBODY, ROUTE_UNFIT);
    assert_goes("example.org", NONE, ROUTE_NOBODY, ROUTE_UNFIT);
    assert_goes("*.example.org", NONE, 0, ROUTE_OPEN); /* no client may ask for it; nothing else happens if one did */
}

static void no_name_is_a_name_of_its_own(void **state) {
    add("*", any);
    add("", any);
    assert_goes("", NONE, 1, ROUTE_OPEN);
    assert_goes("x", NONE, 0, ROUTE_OPEN);
}

static void who_has_the_name_is_never_passed_over(void **state) {
    add("*", any);
    add("*.example.org", prefers_http);
    add(NAME, demands_h2);
    assert_goes(NAME, ALPN(H2), 2, ROUTE_SHARED);
    assert_goes(NAME, ALPN(HTTP), 2, ROUTE_UNFIT);
    assert_goes(NAME, NONE, 2, ROUTE_UNFIT);
    assert_goes("b.example.org", ALPN(H2), 1, ROUTE_UNFIT);
    assert_goes("b.example.org", NONE, 1, ROUTE_OPEN);
    assert_goes("c.b.example.org", ALPN(H2), 0, ROUTE_OPEN);
}

static void what_is_given_outweighs_what_follows(void **state) {
    add_at(HERE, "*", ROUTE_REST, any);
    add_at(HERE, "*", ROUTE_IMPLIED, prefers_h2);
    assert_goes("x", ALPN(HTTP), 1, ROUTE_UNFIT);
    add_at(HERE, "*", ROUTE_REST, any);
    add_at(HERE, "*", ROUTE_IMPLIED, prefers_http);
    assert_goes("x", ALPN(HTTP), 3, ROUTE_SHARED);
    assert_goes("x", NONE, 1, ROUTE_OPEN);
    add_at(HERE, "*", ROUTE_GIVEN, demands_h2);
    assert_goes("x", ALPN(H2), 4, ROUTE_SHARED);
    assert_goes("x", ALPN(HTTP), 4, ROUTE_UNFIT);
    add_at(HERE, "*", ROUTE_IMPLIED, any);
    assert_goes("x", NONE, 4, ROUTE_UNFIT);
}

static void equals_are_distinguished_by_protocol(void **state) {
    add(NAME, demands_http);
    add(NAME, any);
    add(NAME, demands_h2);
    assert_goes(NAME, ALPN(H2), 2, ROUTE_SHARED);
    assert_goes(NAME, ALPN(H2 HTTP), 2, ROUTE_SHARED); /* the client's order */
    assert_goes(NAME, ALPN(HTTP H2), 0, ROUTE_SHARED);
    assert_goes(NAME, ALPN("\4smtp" HTTP), 0, ROUTE_SHARED);
    assert_goes(NAME, ALPN("\4smtp"), 1, ROUTE_OPEN);
    assert_goes(NAME, NONE, 1, ROUTE_OPEN);
}

static void the_rest_goes_to_the_first(void **state) {
    add(NAME, prefers_both);
    add(NAME, prefers_h2);
    add(NAME, any);
    add(NAME, any);
    assert_goes(NAME, ALPN(H2), 0, ROUTE_SHARED);
    assert_goes(NAME, NONE, 0, ROUTE_OPEN);
    assert_goes(NAME, ALPN("\4smtp"), 2, ROUTE_OPEN);
}

static void other_addresses_do_not_matter(void **state) {
    add_at(0, NAME, ROUTE_GIVEN, any);
    add_at(2, "*", ROUTE_GIVEN, any);
    assert_goes(NAME, NONE, ROUTE_NOBODY, ROUTE_UNFIT);
    add_at(HERE, "**.org", ROUTE_GIVEN, any);
    assert_goes(NAME, NONE, 2, ROUTE_OPEN);
    const struct route_ask there = {0, "b.org", NONE};
    assert_int_equal(route_find(t, &there).service, ROUTE_NOBODY);
}

/* The reader of ClientHellos refuses such lists; nothing is read past their ends all the same. */
static void a_torn_list_of_protocols_shares_nothing(void **state) {
    add(NAME, prefers_h2);
    assert_goes(NAME, ALPN("\3h2"), 0, ROUTE_UNFIT);
    assert_goes(NAME, ALPN("\0\2h2"), 0, ROUTE_SHARED);
}

static void the_longest_names(void **state) {
    char name[256], suffix[256];
    for (size_t i = 0; i < 255; i++)
        name[i] = i % 2 ? '.' : 'a';
    name[255] = 0;
    (void)snprintf(suffix, sizeof(suffix), "**.%s", name + 4);
    add("**.a", any);
    add(suffix, any);
    assert_goes(name, NONE, 1, ROUTE_OPEN);
    add(name, any);
    assert_goes(name, NONE, 2, ROUTE_OPEN);
    assert_goes(name + 2, NONE, 1, ROUTE_OPEN);
    assert_goes(name + 4, NONE, 0, ROUTE_OPEN);
}

/* ---- a slow second opinion ---- */

#define RANDOM_ROUNDS   4000
#define RANDOM_SERVICES 6
#define RANDOM_CLAIMS   4

static const char *const pool_patterns[] = {"",        "*",        "**.org",  "*.org",     "a.org",
                                            "*.a.org", "**.a.org", "b.a.org", "**.b.a.org"};
static const char *const pool_names[] = {"", "org", "a.org", "b.org", "b.a.org", "c.a.org", "d.c.a.org", "x.b.a.org", "net"};
static const char *const pool_protocols[] = {"p", "q", "r"};

struct drawn {
    const char *patterns[RANDOM_CLAIMS];
    enum route_weight weight;
    const char *protocols[2];
    struct route_protocols speaks;
};

static unsigned drawn_number(unsigned below) {
    static uint64_t x = 88172645463325252u;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return (unsigned)(x >> 33) % below;
}

static struct drawn draw(void) {
    struct drawn d = {.weight = (enum route_weight)drawn_number(3)};
    for (size_t i = 0; i < RANDOM_CLAIMS; i++)
        d.patterns[i] = pool_patterns[drawn_number(ARRAY_LEN(pool_patterns))];
    for (size_t i = 0; i < 2; i++)
        d.protocols[i] = pool_protocols[drawn_number(ARRAY_LEN(pool_protocols))];
    d.speaks.n = drawn_number(3);
    d.speaks.demanded = d.speaks.n && drawn_number(2);
    return d;
}

/* How specific PATTERN is for NAME; -1: it does not take it. */
static int specific(const char *pattern, const char *name) {
    size_t p = strlen(pattern), n = strlen(name);
    if (pattern[0] != '*')
        return strcmp(pattern, name) == 0 ? 1000 : -1;
    if (strcmp(pattern, "*") == 0)
        return 0;
    const char *suffix = strchr(pattern, '.');
    size_t len = strlen(suffix);
    if (n <= len || strcmp(name + n - len, suffix) != 0)
        return -1;
    bool deep = p - len == 2, one = !memchr(name, '.', n - len);
    return deep || one ? (int)(2 * len) + !deep : -1;
}

static int fit_by_hand(const struct drawn *d, const char *const offered[], size_t n, size_t *ret_at) {
    for (*ret_at = 0; *ret_at < n; ++*ret_at)
        for (size_t k = 0; k < d->speaks.n; k++)
            if (strcmp(offered[*ret_at], d->protocols[k]) == 0)
                return ROUTE_SHARED;
    return d->speaks.n == 0 || (n == 0 && !d->speaks.demanded) ? ROUTE_OPEN : ROUTE_UNFIT;
}

static uint16_t route_by_hand(const struct drawn *all, const char *name, const char *const offered[], size_t n, int *ret_fit) {
    int best[3] = {-1, -1, -1};
    size_t best_at = 0;
    uint16_t winner = ROUTE_NOBODY;
    for (uint16_t s = 0; s < RANDOM_SERVICES; s++) {
        size_t at;
        int rank = -1, fit = fit_by_hand(&all[s], offered, n, &at);
        for (size_t i = 0; i < RANDOM_CLAIMS; i++)
            rank = MAX(rank, specific(all[s].patterns[i], name));
        const int mine[3] = {rank, (int)all[s].weight, fit};
        int order = 0;
        for (size_t i = 0; i < 3 && !order; i++)
            order = mine[i] - best[i];
        if (rank < 0 || order < 0 || (order == 0 && at >= best_at))
            continue;
        memcpy(best, mine, sizeof(best));
        best_at = at;
        winner = s;
    }
    *ret_fit = best[2] < 0 ? 0 : best[2];
    return winner;
}

static void hellos_against(const struct drawn *all) {
    for (size_t i = 0; i < ARRAY_LEN(pool_names); i++)
        for (unsigned k = 0; k < 4; k++) {
            const char *offered[2] = {pool_protocols[drawn_number(3)], pool_protocols[drawn_number(3)]};
            const uint8_t wire[] = {1, (uint8_t)offered[0][0], 1, (uint8_t)offered[1][0]};
            size_t n = drawn_number(3);
            int fit;
            uint16_t wanted = route_by_hand(all, pool_names[i], offered, n, &fit);
            assert_goes(pool_names[i], span_of(wire, 2 * n), wanted, (enum route_fit)fit);
        }
}

static void random_tables_against_a_second_opinion(void **state) {
    for (unsigned round = 0; round < RANDOM_ROUNDS; round++) {
        struct drawn all[RANDOM_SERVICES];
        (void)end(NULL);
        assert_int_equal(begin(NULL), 0);
        for (uint16_t s = 0; s < RANDOM_SERVICES; s++) {
            all[s] = draw();
            all[s].speaks.list = all[s].protocols;
            route_table_speak(t, s, all[s].speaks);
            for (size_t i = 0; i < RANDOM_CLAIMS; i++)
                assert_int_equal(route_table_claim(t, HERE, s, all[s].patterns[i], all[s].weight), 0);
        }
        hellos_against(all);
    }
}

/* ---- what `explain` and the check look at ---- */

struct seen {
    struct route_answer all[16];
    size_t n;
};

static void see(void *ctx, const struct route_answer *a) {
    struct seen *s = ctx;
    assert_true(s->n < ARRAY_LEN(s->all));
    s->all[s->n++] = *a;
}

static void the_claims_of_one_pattern(void **state) {
    add("*", any);
    add(NAME, demands_h2);
    add(NAME, demands_h2);
    add_at(0, NAME, ROUTE_GIVEN, any);
    struct seen s = {.n = 0};
    route_each_rival(t, HERE, NAME, see, &s);
    assert_int_equal(s.n, 2);
    assert_int_equal(s.all[0].service + s.all[1].service, 3);
    assert_int_equal(route_find_pattern(t, HERE, "*", NONE).service, 0);
    assert_int_equal(route_find_pattern(t, HERE, "*.example.org", NONE).service, ROUTE_NOBODY);
}

/* Names that are many, at several addresses, each service with a certificate that has a name twice. */
static void a_large_table(void **state) {
    enum { MANY = 4096, NAMES = 20 };
    static char text[MANY][NAMES][24];
    struct route_table *large = route_table_new(2, MANY);
    assert_non_null(large);
    for (uint16_t s = 0; s < MANY; s++)
        for (unsigned n = 0; n < 2 * NAMES; n++) {
            (void)snprintf(text[s][n % NAMES], sizeof(text[s][0]), "%sn%u.s%u.test", n % NAMES ? "" : "*.", n % NAMES, s);
            assert_int_equal(route_table_claim(large, s % 2, s, text[s][n % NAMES], ROUTE_IMPLIED), 0);
        }
    for (uint16_t s = 0; s < MANY; s++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%u.s%u.test", s % (NAMES - 1) + 1, s);
        const struct route_ask here = {s % 2, name, NONE}, there = {!(s % 2), name, NONE};
        assert_int_equal(route_find(large, &here).service, s);
        assert_int_equal(route_find(large, &there).service, ROUTE_NOBODY);
    }
    struct seen s = {.n = 0};
    route_each_rival(large, 1, text[1][3], see, &s);
    assert_int_equal(s.n, 1);
    route_table_free(large);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(patterns_are_read),
        CASE(the_most_specific_pattern_counts_alone),
        CASE(one_label_is_one_label),
        CASE(no_name_is_a_name_of_its_own),
        CASE(who_has_the_name_is_never_passed_over),
        CASE(what_is_given_outweighs_what_follows),
        CASE(equals_are_distinguished_by_protocol),
        CASE(the_rest_goes_to_the_first),
        CASE(other_addresses_do_not_matter),
        CASE(a_torn_list_of_protocols_shares_nothing),
        CASE(the_longest_names),
        CASE(random_tables_against_a_second_opinion),
        CASE(the_claims_of_one_pattern),
        CASE(a_large_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
