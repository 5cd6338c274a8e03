#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "observer/rates.h"

static struct rates *rates;
static struct stats_client rows[20000];
static struct stats_clients clients = {.rows = rows};

static int open_rates(void **state) {
    memset(rows, 0, sizeof(rows));
    clients.n = 0;
    rates = rates_new();
    return rates ? 0 : -1;
}

static int close_rates(void **state) {
    rates_free(rates);
    return 0;
}

static struct stats_client *client(size_t i, const char *name) {
    snprintf(rows[i].name, sizeof(rows[i].name), "%s", name);
    clients.n = MAX(clients.n, i + 1);
    return &rows[i];
}

static void move(struct stats_client *c, uint64_t in, uint64_t out) {
    c->values[SKETCH_BYTES_IN] += in;
    c->values[SKETCH_BYTES_OUT] += out;
}

static void take(uint64_t now_ms) {
    assert_int_equal(rates_take(rates, &clients, now_ms), 0);
}

static void near(double is, double expected) {
    if (fabs(is - expected) > 0.001 * expected + 0.001)
        fail_msg("%f, expected %f", is, expected);
}

static void a_steady_client_has_its_rate_over_all_spans(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    for (uint64_t s = 0; s <= 200; s++) {
        take(5000 + 1000 * s);
        move(c, 100, 7);
    }
    struct rate r = rates_of(rates, c);
    for (unsigned s = 0; s < RATE_SPANS; s++) {
        near(r.in[s], 100);
        near(r.out[s], 7);
    }
}

static void each_span_speaks_of_its_own_past(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    take(0);
    for (uint64_t s = 1; s <= 120; s++) {
        move(c, s <= 119 ? 0 : 6000, 0); /* all in the last second */
        take(1000 * s);
    }
    struct rate r = rates_of(rates, c);
    near(r.in[RATE_1S], 6000);
    near(r.in[RATE_10S], 600);
    near(r.in[RATE_60S], 100);
}

static void late_readings_do_not_make_rates_larger(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    take(0);
    for (uint64_t ms = 1700; ms < 150000; ms += 1700) {
        move(c, 1700, 0);
        take(ms);
    }
    struct rate r = rates_of(rates, c);
    for (unsigned s = 0; s < RATE_SPANS; s++)
        near(r.in[s], 1000);
}

/* The observer may have been restarted: what was counted before it looked says nothing of now. */
static void the_first_reading_is_no_rate(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    move(c, 1000000, 1000000);
    take(1000);
    near(rates_of(rates, c).in[RATE_1S], 0);
    move(c, 500, 0);
    take(2000);
    struct rate r = rates_of(rates, c);
    near(r.in[RATE_1S], 500);
    near(r.in[RATE_60S], 500);
    near(r.out[RATE_60S], 0);
}

static void one_that_comes_later_counts_from_nothing(void **state) {
    take(1000);
    struct stats_client *c = client(0, "192.0.2.1");
    move(c, 300, 0);
    take(2000);
    near(rates_of(rates, c).in[RATE_1S], 300);
}

static void one_that_lost_its_place_begins_again(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    take(1000);
    move(c, 5000, 0);
    take(2000);
    c->values[SKETCH_BYTES_IN] = 40; /* tracked anew */
    take(3000);
    struct rate r = rates_of(rates, c);
    near(r.in[RATE_1S], 40);
    assert_true(r.in[RATE_10S] >= 0 && r.in[RATE_10S] < 5000);
}

static void names_and_addresses_are_two(void **state) {
    struct stats_client *a = client(0, "robot"), *b = client(1, "robot");
    b->verified = true;
    take(1000);
    move(a, 10, 0);
    move(b, 20, 0);
    take(2000);
    near(rates_of(rates, a).in[RATE_1S], 10);
    near(rates_of(rates, b).in[RATE_1S], 20);
}

static void readings_too_close_are_passed_over(void **state) {
    struct stats_client *c = client(0, "192.0.2.1");
    take(1000);
    move(c, 10, 0);
    take(1001);
    move(c, 10, 0);
    take(2000);
    near(rates_of(rates, c).in[RATE_1S], 20);
}

static void those_that_are_tracked_no_more_are_forgotten(void **state) {
    char name[32];
    for (uint64_t turn = 0; turn < 4; turn++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            snprintf(name, sizeof(name), "host %zu", i + turn * 15000);
            memset(&rows[i], 0, sizeof(rows[i]));
            move(client(i, name), 100, 1);
        }
        take(1000 * turn);
        if (turn)
            near(rates_of(rates, &rows[ARRAY_LEN(rows) - 1]).in[RATE_1S], 100);
    }
    struct stats_client gone = {.name = "host 3"};
    near(rates_of(rates, &gone).in[RATE_1S], 0);
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_rates, close_rates)
    const struct CMUnitTest tests[] = {
        CASE(a_steady_client_has_its_rate_over_all_spans),
        CASE(each_span_speaks_of_its_own_past),
        CASE(late_readings_do_not_make_rates_larger),
        CASE(the_first_reading_is_no_rate),
        CASE(one_that_comes_later_counts_from_nothing),
        CASE(one_that_lost_its_place_begins_again),
        CASE(names_and_addresses_are_two),
        CASE(readings_too_close_are_passed_over),
        CASE(those_that_are_tracked_no_more_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
