/*
 * Which connection is evicted when the budget of handshakes is used up: always the oldest of the client that holds most, and
 * without allocating.
 */
#include "handshaker/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"

#define CONNS 4000
#define KIB   1024u

static struct handshaker h;
static struct conn conns[CONNS];
static unsigned gone[CONNS], ngone; /* by number, in the order of eviction */
static bool no_memory, trimmed;

void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
int __wrap_malloc_trim(size_t pad);
void __wrap_conn_cut(struct handshaker *hs, struct conn *c, int reason);

void *__wrap_calloc(size_t n, size_t size) {
    return no_memory ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size) {
    return no_memory ? NULL : __real_reallocarray(p, n, size);
}

int __wrap_malloc_trim(size_t pad) {
    trimmed = true;
    return 1;
}

void __wrap_conn_cut(struct handshaker *hs, struct conn *c, int reason) {
    gone[ngone++] = (unsigned)(c - conns);
    budget_leave(hs, c);
}

static int fresh(void **state) {
    memset(&h, 0, sizeof(h));
    memset(conns, 0, sizeof(conns));
    ngone = 0;
    no_memory = trimmed = false;
    wheel_init(&h.loop.wheel, 0);
    h.loop.now_ms = 1000000;
    h.budget_log.next_ms = h.loop.now_ms + 1; /* no log */
    if (stats_open_private(&h.child.stats) < 0)
        return -1;
    budget_init(&h.budget, 64 * KIB, 1000000);
    return 0;
}

static int emptied(void **state) {
    for (unsigned i = 0; i < CONNS; i++)
        budget_leave(&h, &conns[i]);
    wheel_cancel(&h.loop.wheel, &h.trim_timer);
    wheel_cancel(&h.loop.wheel, &h.resume);
    bool ok = h.budget.used == 0 && h.budget.nheap == 0;
    for (size_t i = 0; i < BUDGET_CHAINS; i++)
        ok = ok && !h.budget.chains[i];
    free(h.budget.heap);
    stats_close(&h.child.stats);
    return ok ? 0 : -1;
}

static struct addr client_of(unsigned n) {
    return (struct addr){.family = AF_INET, .ip = {192, 0, (uint8_t)(n >> 8), (uint8_t)n}};
}

/* Connection N of CLIENT with so many bytes beside its struct; the budget may be over then. */
static void grow(unsigned n, size_t bytes) {
    conns[n].in.cap = bytes;
    budget_charge(&h, &conns[n]);
}

static void enter(unsigned n, const struct addr *client, size_t bytes) {
    struct conn *c = &conns[n];
    c->client = *client;
    c->state = CONN_HELLO;
    c->accepted_us = h.loop.now_ms * 1000;
    if (!c->holder)
        list_init(&c->held);
    assert_int_equal(budget_enter(&h, c), 0);
    grow(n, bytes);
}

static void come(unsigned n, unsigned client, size_t bytes) {
    struct addr a = client_of(client);
    enter(n, &a, bytes);
}

static void the_oldest_of_the_client_that_holds_most(void **state) {
    for (unsigned i = 0; i < 20; i++)
        come(i, 1, KIB);
    for (unsigned i = 20; i < 30; i++)
        come(i, 2, KIB);
    assert_int_equal(ngone, 0);
    come(30, 3, 40 * KIB); /* more than the others have: it goes itself */
    assert_int_equal(ngone, 1);
    assert_int_equal(gone[0], 30);
    come(31, 3, 24 * KIB);
    for (unsigned i = 1; i < ngone; i++)
        assert_int_equal(gone[i], i - 1); /* of the first client, in the order in which they came */
    assert_true(ngone > 1);
    assert_true(h.budget.used <= h.budget.max);
}

static void a_bystander_is_left_alone(void **state) {
    come(0, 1, 8 * KIB);
    for (unsigned i = 1; i < 1000; i++)
        come(i, 2, 2 * KIB);
    assert_true(ngone > 900);
    for (unsigned i = 0; i < ngone; i++)
        assert_int_equal(gone[i], i + 1);
    assert_non_null(conns[0].holder);
}

/* What each client holds by the charges of its connections; the most. */
static uint64_t most_held(uint64_t of[static 256]) {
    uint64_t most = 0;
    memset(of, 0, 256 * sizeof(*of));
    for (unsigned i = 0; i < 200; i++)
        if (conns[i].holder)
            of[conns[i].client.ip[3]] += conns[i].charged;
    for (unsigned i = 0; i < 256; i++)
        most = MAX(most, of[i]);
    return most;
}

/* For any order of connections that begin, grow, change their client and end: the sums hold, and the one evicted holds most. */
static void any_order(void **state) {
    uint64_t of[256];
    srand(1);
    for (unsigned step = 0; step < 100000; step++) {
        unsigned n = (unsigned)rand() % 200;
        ngone = 0;
        switch (rand() % 4) {
        case 0:
            budget_leave(&h, &conns[n]);
            break;
        case 1:
            grow(n, (size_t)rand() % (4 * KIB));
            break;
        default:
            come(n, (unsigned)rand() % 50, (size_t)rand() % (2 * KIB));
        }
        assert_true(h.budget.used <= h.budget.max);
        uint64_t most = most_held(of), sum = 0, max = h.budget.max;
        for (unsigned i = 0; i < 256; i++)
            sum += of[i];
        assert_int_equal(sum, h.budget.used);
        if (step % 10 || !sum)
            continue;
        h.loop.now_ms += 2000;
        h.budget.max = ngone = 0;
        assert_true(budget_admits(&h));
        h.budget.max = max;
        assert_int_equal(ngone, 1);
        assert_int_equal(of[conns[gone[0]].client.ip[3]], most);
    }
}

static void giving_way_takes_no_memory(void **state) {
    for (unsigned i = 0; i < 60; i++)
        come(i, i, KIB / 2);
    no_memory = true;
    for (unsigned i = 0; i < 60; i++)
        grow(i, 4 * KIB);
    assert_true(ngone > 40);
    struct addr a = client_of(999);
    conns[100].client = a;
    list_init(&conns[100].held);
    assert_int_equal(budget_enter(&h, &conns[100]), ERR_NOMEM); /* a new client does */
    assert_null(conns[100].holder);
}

static void descriptors_are_shared_like_memory(void **state) {
    budget_init(&h.budget, 64 * 1024 * KIB, 100);
    for (unsigned i = 0; i < 90; i++)
        come(i, 1, 0);
    for (unsigned i = 90; i < 99; i++)
        come(i, 2, 0);
    assert_true(budget_admits(&h));
    come(99, 2, 0);
    assert_int_equal(ngone, 0);
    assert_false(budget_admits(&h)); /* those that hold most are too new */
    h.loop.now_ms += 1000;
    for (unsigned i = 0; i < 50; i++) {
        assert_true(budget_admits(&h));
        come(100 + i, 3 + i, 0);
        assert_int_equal(ngone, i + 1);
        assert_int_equal(gone[i], i);
    }
}

/* Those who may send PROXY headers hold a quarter before they do; afterwards the connection is its client's. */
static void before_the_header_there_is_a_quarter(void **state) {
    struct addr balancer = client_of(1), client = client_of(2);
    budget_init(&h.budget, 64 * 1024 * KIB, 100);
    unsigned n = 0;
    for (; n < 100 && budget_admits(&h); n++) {
        enter(n, &balancer, 0);
        conns[n].state = CONN_HEADER;
        budget_charge(&h, &conns[n]);
    }
    assert_int_equal(n, 25);
    assert_int_equal(ngone, 0);
    conns[7].state = CONN_HELLO;
    conns[7].client = client;
    assert_int_equal(budget_enter(&h, &conns[7]), 0);
    budget_charge(&h, &conns[7]);
    assert_true(budget_admits(&h));
    h.loop.now_ms += 100;
    for (unsigned i = 25; i < 60; i++) {
        assert_true(budget_admits(&h));
        come(i, 2, 0);
    }
    for (unsigned i = 0; i < ngone; i++)
        assert_int_equal(gone[i], i < 7 ? i : i + 1); /* the balancer's */
    assert_true(ngone > 5);
}

static void networks_are_one_holder(void **state) {
    struct addr a;
    char text[64];
    for (unsigned i = 0; i < 50; i++) {
        (void)snprintf(text, sizeof(text), "2001:db8:1:%x::1", i * 37);
        assert_int_equal(addr_parse_ip(text, &a), 0);
        enter(i, &a, KIB / 2);
    }
    assert_int_equal(h.budget.nheap, 1);
    assert_int_equal(addr_parse_ip("2001:db8:2::1", &a), 0);
    enter(50, &a, 20 * KIB);
    a = (struct addr){.family = AF_UNSPEC};
    enter(51, &a, KIB);
    assert_int_equal(h.budget.nheap, 3);
    enter(52, &a, 12 * KIB);
    assert_true(ngone > 0);
    for (unsigned i = 0; i < ngone; i++)
        assert_int_equal(gone[i], i);
}

static void those_who_wait_are_notified_of_room(void **state) {
    budget_init(&h.budget, 64 * 1024 * KIB, 100);
    for (unsigned i = 0; i < 100; i++)
        come(i, 1, 0);
    assert_false(budget_admits(&h));
    h.waits_for_room = true;
    budget_leave(&h, &conns[0]);
    assert_true(h.waits_for_room); /* not for one place each time */
    for (unsigned i = 1; i < 20; i++)
        budget_leave(&h, &conns[i]);
    assert_false(h.waits_for_room);
    assert_true(wtimer_armed(&h.resume));
}

static void memory_is_given_back_after_a_burst(void **state) {
    budget_init(&h.budget, 64 * 1024 * KIB, 1000000);
    for (unsigned i = 0; i < 1000; i++)
        come(i, i, 40 * KIB);
    for (unsigned i = 0; i < 700; i++)
        budget_leave(&h, &conns[i]);
    assert_false(wtimer_armed(&h.trim_timer));
    for (unsigned i = 700; i < 1000; i++)
        budget_leave(&h, &conns[i]);
    assert_true(wtimer_armed(&h.trim_timer));
    budget_trim(&h, &h.trim_timer);
    assert_true(trimmed);
    trimmed = false;
    budget_trim(&h, &h.trim_timer);
    assert_false(trimmed); /* nothing came since */
    wheel_cancel(&h.loop.wheel, &h.trim_timer);
    come(0, 1, 40 * KIB);
    budget_leave(&h, &conns[0]);
    assert_false(wtimer_armed(&h.trim_timer));
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, fresh, emptied)
    const struct CMUnitTest tests[] = {
        CASE(the_oldest_of_the_client_that_holds_most),
        CASE(a_bystander_is_left_alone),
        CASE(any_order),
        CASE(giving_way_takes_no_memory),
        CASE(descriptors_are_shared_like_memory),
        CASE(before_the_header_there_is_a_quarter),
        CASE(networks_are_one_holder),
        CASE(those_who_wait_are_notified_of_room),
        CASE(memory_is_given_back_after_a_burst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
