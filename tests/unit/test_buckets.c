#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/buckets.h"

#define NOW   UINT64_C(1000000000000)
#define MS    UINT64_C(1000000)
#define BURST (100 * MS)
#define RATE  1000000u

static struct buckets buckets;

static int open_table(void **state) {
    void *p = mmap(NULL, BUCKETS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    buckets = buckets_of(p, &(struct hash_key){1, 2});
    return p == MAP_FAILED ? -1 : 0;
}

static int close_table(void **state) {
    return munmap(buckets.places, BUCKETS_SIZE);
}

static struct bucket bucket(const char *service, uint32_t client) {
    uint8_t key[16] = {0};
    memcpy(key, &client, sizeof(client));
    return bucket_of(&buckets, span_str(service), 0, span_of(key, sizeof(key)));
}

static uint64_t reserve(struct bucket *b, uint64_t bytes, uint64_t now) {
    return bucket_reserve(&buckets, b, bytes, RATE, BURST, now);
}

static void bookings_are_served_one_after_the_other(void **state) {
    struct bucket b = bucket("web", 1);
    assert_int_equal(reserve(&b, 100000, NOW), NOW - BURST); /* a tenth of a second's worth at once */
    assert_int_equal(reserve(&b, 50000, NOW), NOW);
    assert_int_equal(reserve(&b, 1000, NOW), NOW + 50 * MS);
    assert_int_equal(reserve(&b, 1000, NOW + 10 * MS), NOW + 51 * MS);
}

/* Clients, names and services have buckets of their own, whatever their bytes. */
static void what_is_limited_is_distinguished(void **state) {
    struct bucket a = bucket_of(&buckets, span_str("web"), 0, span_str("0123456789abcdef")),
                  b = bucket_of(&buckets, span_str("web"), 1, span_str("0123456789abcdef")),
                  none = bucket_of(&buckets, span_str("web"), 1, span_str("")),
                  all = bucket_of(&buckets, span_str("web"), 2, span_str(""));
    reserve(&a, 200000, NOW);
    assert_int_equal(reserve(&b, 200000, NOW), NOW - BURST);
    assert_int_equal(reserve(&none, 200000, NOW), NOW - BURST);
    assert_int_equal(reserve(&all, 200000, NOW), NOW - BURST);
    assert_int_equal(reserve(&all, 1, NOW), NOW + 100 * MS);
}

static void a_pause_gives_a_burst_and_no_more(void **state) {
    struct bucket b = bucket("web", 1);
    reserve(&b, 1, NOW);
    assert_int_equal(reserve(&b, 1, NOW + 3600 * 1000 * MS), NOW + 3600 * 1000 * MS - BURST);
}

static void all_who_know_the_client_share_its_bucket(void **state) {
    struct bucket a = bucket("web", 1), b = bucket("web", 1), other = bucket("web", 2), service = bucket("api", 1);
    reserve(&a, 200000, NOW);
    assert_int_equal(reserve(&b, 1, NOW), NOW + 100 * MS);
    assert_int_equal(reserve(&other, 1, NOW), NOW - BURST);
    assert_int_equal(reserve(&service, 1, NOW), NOW - BURST);
}

static void a_place_goes_on_when_it_is_paid_for(void **state) {
    for (uint32_t round = 0; round < 3; round++)
        for (uint32_t c = 0; c < 100000; c++) {
            struct bucket b = bucket("web", c + round * 100000);
            reserve(&b, 100000, NOW + round * 10000 * MS);
        }
    struct bucket b = bucket("web", 1000000);
    uint64_t now = NOW + 40000 * MS;
    reserve(&b, 100000, now);
    assert_non_null(b.place);
    struct bucket again = bucket("web", 1000000);
    assert_int_equal(reserve(&again, 1, now), now);
}

/* Not one that is limited goes without a limit, even then. */
static void without_a_place_a_process_keeps_its_own(void **state) {
    unsigned own = 0;
    for (uint32_t c = 0; c < 200000; c++) {
        struct bucket b = bucket("web", c);
        reserve(&b, 1000000, NOW);
        assert_int_equal(reserve(&b, 1, NOW), NOW + 900 * MS);
        own += b.place == NULL;
    }
    assert_true(own > 100000);
}

static void one_whose_place_was_taken_finds_another(void **state) {
    struct bucket b = bucket("web", 1);
    reserve(&b, 1000, NOW);
    memset(buckets.places, 0, BUCKETS_SIZE);
    uint64_t now = NOW + 1000 * MS;
    assert_int_equal(reserve(&b, 100000, now), now - BURST);
    assert_int_equal(reserve(&b, 1, now), now);
}

/* Processes that reserve at the same moment: every byte counts once. */
static void nothing_is_lost_between_processes(void **state) {
    enum { PROCESSES = 4, RESERVATIONS = 20000 };
    for (unsigned i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            struct bucket b = bucket("web", 1);
            for (unsigned n = 0; n < RESERVATIONS; n++)
                reserve(&b, 10, NOW);
            _exit(0);
        }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(wait(&status) > 0 && status == 0);
    }
    struct bucket b = bucket("web", 1);
    assert_int_equal(reserve(&b, 1, NOW), NOW - BURST + (uint64_t)PROCESSES * RESERVATIONS * 10 * 1000);
}

/* A time that nobody can have reserved: the bucket is full, and goes on from now. */
static void a_time_far_ahead_is_nonsense(void **state) {
    static const uint64_t ahead[] = {UINT64_MAX, UINT64_MAX / 2, NOW + 3600 * UINT64_C(1000000000)};
    for (size_t i = 0; i < ARRAY_LEN(ahead); i++) {
        struct bucket a = bucket("web", 1), b = bucket("web", 1);
        (void)reserve(&a, 1000, NOW);
        *(uint64_t *)((uint8_t *)a.place + 8) = ahead[i]; /* behind its tag */
        assert_int_equal(reserve(&a, 1000, NOW), NOW - BURST);
        assert_int_equal(reserve(&b, 1000, NOW), NOW - BURST + 1000 * UINT64_C(1000000000) / RATE);
        assert_int_equal(munmap(buckets.places, BUCKETS_SIZE), 0);
        assert_int_equal(open_table(state), 0);
    }
}

/* 64 relays that each wait for a reservation at the smallest rate: far ahead, and right. */
static void a_long_row_of_reservations_is_none(void **state) {
    struct bucket b = bucket("web", 2);
    uint64_t last = 0;
    for (unsigned i = 0; i < 64; i++) {
        uint64_t from = bucket_reserve(&buckets, &b, 32 * 1024, 1024, BURST, NOW);
        assert_true(from > last);
        last = from;
    }
    assert_true(last > NOW + 30 * 60 * UINT64_C(1000000000));
}

static void without_a_table_each_process_has_its_own(void **state) {
    struct buckets none = buckets_of(NULL, &(struct hash_key){1, 2});
    uint8_t key[16] = {1};
    struct bucket a = bucket_of(&none, span_str("web"), 0, span_of(key, sizeof(key)));
    assert_int_equal(bucket_reserve(&none, &a, RATE, RATE, BURST, NOW), NOW - BURST);
    assert_int_equal(bucket_reserve(&none, &a, RATE, RATE, BURST, NOW), NOW - BURST + UINT64_C(1000000000));
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_table, close_table)
    const struct CMUnitTest tests[] = {
        CASE(a_time_far_ahead_is_nonsense),
        CASE(a_long_row_of_reservations_is_none),
        CASE(without_a_table_each_process_has_its_own),
        CASE(bookings_are_served_one_after_the_other),
        CASE(what_is_limited_is_distinguished),
        CASE(a_pause_gives_a_burst_and_no_more),
        CASE(all_who_know_the_client_share_its_bucket),
        CASE(a_place_goes_on_when_it_is_paid_for),
        CASE(without_a_place_a_process_keeps_its_own),
        CASE(one_whose_place_was_taken_finds_another),
        CASE(nothing_is_lost_between_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
