#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shm/sketch.h"

#define CAPACITY 64u

static const struct hash_key hash = {1, 2};
static struct sketch sketch;
static struct sketch_shared *shared;

static int open_sketch(void **state) {
    shared = calloc(1, sketch_size(CAPACITY));
    return shared ? sketch_open(&sketch, shared, CAPACITY, &hash) : -1;
}

static int close_sketch(void **state) {
    sketch_close(&sketch);
    free(shared);
    return 0;
}

static struct sketch_ref find(uint32_t client) {
    return sketch_find(&sketch, span_of(&client, sizeof(client)));
}

/* BYTES of a client that has nothing alive (any more). */
static void count(uint32_t client, uint64_t bytes) {
    sketch_add(&sketch, find(client), SKETCH_BYTES_IN, bytes);
}

/* Without looking it up, which would track it. */
static const struct sketch_entry *entry_of(uint32_t client) {
    for (uint32_t i = 0; i < shared->used; i++)
        if (shared->entries[i].key_len == sizeof(client) && memcmp(shared->entries[i].key, &client, sizeof(client)) == 0)
            return &shared->entries[i];
    return NULL;
}

static uint64_t counted(const struct sketch_entry *e) {
    return e->values[SKETCH_BYTES_IN] + e->values[SKETCH_BYTES_OUT];
}

static void is_exact_while_there_is_room(void **state) {
    for (uint32_t round = 1; round <= 10; round++)
        for (uint32_t c = 0; c < CAPACITY; c++)
            count(c, c * round);
    for (uint32_t c = 0; c < CAPACITY; c++) {
        const struct sketch_entry *e = entry_of(c);
        assert_non_null(e);
        assert_int_equal(counted(e), 55 * c);
        assert_int_equal(e->error, 0);
    }
    assert_int_equal(shared->floor, 0);
    assert_int_equal(shared->evictions, 0);
}

static void the_smallest_gives_way_and_the_newcomer_says_what_it_may_lack(void **state) {
    for (uint32_t c = 0; c < CAPACITY; c++)
        count(c, 100 + c);
    count(1000, 7);
    assert_null(entry_of(0));
    assert_int_equal(counted(entry_of(1000)), 7);
    assert_int_equal(entry_of(1000)->error, 100);
    assert_int_equal(shared->floor, 100);
    assert_int_equal(shared->evictions, 1);
}

static void who_has_something_alive_is_spared(void **state) {
    for (uint32_t c = 0; c < CAPACITY; c++)
        count(c, 100 + c);
    struct sketch_ref alive = find(0);
    sketch_live(&sketch, alive, 1);
    count(1000, 7);
    assert_non_null(entry_of(0));
    assert_null(entry_of(1));
    assert_true(sketch_holds(&sketch, alive));

    sketch_live(&sketch, alive, 1);
    sketch_live(&sketch, alive, -1);
    count(1001, 7);
    assert_non_null(entry_of(0));
    sketch_live(&sketch, alive, -1); /* the last one: the smallest again */
    count(1002, 7);
    assert_null(entry_of(0));
    assert_false(sketch_holds(&sketch, alive));
}

static void what_grows_while_alive_is_weighed_again(void **state) {
    struct sketch_ref refs[CAPACITY];
    for (uint32_t c = 0; c < CAPACITY; c++) {
        refs[c] = find(c);
        sketch_live(&sketch, refs[c], 1);
    }
    for (uint32_t c = 0; c < CAPACITY; c++)
        sketch_add(&sketch, refs[c], SKETCH_BYTES_OUT, c == 40 ? 1 : 1000);
    count(1000, 1); /* all are alive: the smallest of all gives way */
    assert_null(entry_of(40));
    assert_int_equal(entry_of(1000)->error, 1);
    /* a place that is somebody else's takes nothing more */
    assert_false(sketch_holds(&sketch, refs[40]));
    sketch_live(&sketch, refs[40], -1);
    assert_int_equal(entry_of(1000)->values[SKETCH_SESSIONS_NOW], 0);
}

static void a_successor_goes_on(void **state) {
    for (uint32_t c = 0; c < CAPACITY; c++)
        count(c, 100 + c);
    count(1000, 7);
    sketch_live(&sketch, find(5), 1);
    shared->entries[3].seq |= 1; /* its writer died while it changed hands */
    shared->entries[4].key_len = 4000;
    sketch_close(&sketch);
    assert_int_equal(sketch_open(&sketch, shared, CAPACITY, &hash), 0);

    assert_int_equal(counted(entry_of(7)), 107);
    assert_int_equal(entry_of(5)->values[SKETCH_SESSIONS_NOW], 0);
    assert_int_equal(shared->floor, 100);
    count(2000, 1); /* the two that make no sense go first */
    count(2001, 1);
    assert_int_equal(shared->evictions, 3);
    assert_int_equal(counted(entry_of(2)), 102);
    assert_int_equal(shared->floor, 100);
    count(7, 1);
    assert_int_equal(counted(entry_of(7)), 108);
}

static void a_long_name_is_cut(void **state) {
    char name[300];
    memset(name, 'x', sizeof(name));
    struct sketch_ref a = sketch_find(&sketch, span_of(name, sizeof(name)));
    struct sketch_ref b = sketch_find(&sketch, span_of(name, SKETCH_KEY_MAX));
    assert_int_equal(a.entry, b.entry);
    assert_int_equal(shared->entries[a.entry].key_len, SKETCH_KEY_MAX);
}

static void readers_see_whole_entries_only(void **state) {
    struct sketch_entry e;
    count(1, 10);
    assert_true(sketch_read(shared, CAPACITY, 0, &e));
    assert_int_equal(counted(&e), 10);
    assert_false(sketch_read(shared, CAPACITY, 1, &e));
    assert_false(sketch_read(shared, CAPACITY, CAPACITY, &e));
    shared->entries[0].seq++;
    assert_false(sketch_read(shared, CAPACITY, 0, &e));
    shared->entries[0].seq++;
    shared->entries[0].key_len = SKETCH_KEY_MAX + 1;
    assert_false(sketch_read(shared, CAPACITY, 0, &e));
}

/* ---- the bound, against the truth ---- */

#define CLIENTS 20000u
static uint64_t truth[CLIENTS], total;
static struct sketch_ref held[CLIENTS];
static uint32_t alive[CLIENTS];

static uint64_t state64;
static uint64_t random64(void) { /* xorshift: the same stream each time */
    state64 ^= state64 << 13;
    state64 ^= state64 >> 7;
    state64 ^= state64 << 17;
    return state64;
}

static void begin_truth(uint64_t seed) {
    memset(truth, 0, sizeof(truth));
    memset(held, 0, sizeof(held));
    memset(alive, 0, sizeof(alive));
    total = 0;
    state64 = seed;
}

/* As a relay does it: a session remembers the place, and asks again when it has changed hands. */
static void session_bytes(uint32_t c, uint64_t bytes) {
    if (!sketch_holds(&sketch, held[c])) {
        held[c] = find(c);
        if (alive[c])
            sketch_live(&sketch, held[c], 1);
    }
    sketch_add(&sketch, held[c], SKETCH_BYTES_IN, bytes);
    truth[c] += bytes;
    total += bytes;
}

static void session_change(uint32_t c, int change) {
    if (change > 0 && !alive[c]) {
        held[c] = find(c);
        sketch_live(&sketch, held[c], 1);
        alive[c] = 1;
    } else if (change < 0 && alive[c]) {
        sketch_live(&sketch, held[c], -1);
        alive[c] = 0;
    }
}

static void check_bound(void) {
    assert_true(shared->floor <= 2 * total / CAPACITY);
    for (uint32_t c = 0; c < CLIENTS; c++) {
        const struct sketch_entry *e = entry_of(c);
        if (!e) {
            assert_true(truth[c] <= shared->floor);
            continue;
        }
        assert_true(e->error <= shared->floor);
        assert_true(counted(e) <= truth[c]);
        assert_true(truth[c] <= counted(e) + e->error);
    }
}

static void the_bound_holds_for_skewed_streams(void **state) {
    begin_truth(88172645463325252ull);
    for (uint32_t i = 0; i < 200000; i++) { /* Zipf-like: rank = u^-1 */
        double u = (double)(random64() >> 11) / 9007199254740992.0;
        uint32_t c = (uint32_t)MIN(1 / (u + 1.0 / CLIENTS), CLIENTS - 1.0);
        session_bytes(c, 1 + random64() % 1500);
    }
    check_bound();
    assert_true(shared->evictions > 1000);
    /* the heaviest are there, nearly whole */
    for (uint32_t c = 1; c <= 5; c++)
        assert_true(entry_of(c) && counted(entry_of(c)) > truth[c] * 9 / 10);
}

/* Every client says little, in turn: the worst there is for a sketch that evicts the smallest. */
static void the_bound_holds_when_all_are_equal(void **state) {
    begin_truth(1);
    for (uint32_t i = 0; i < 10 * CLIENTS; i++)
        session_bytes(i % CLIENTS, 10);
    check_bound();
}

/* Half of the places are held by clients that are connected and silent, the others are fought over. */
static void the_bound_holds_against_silent_holders(void **state) {
    begin_truth(2);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t c = 0; c < CAPACITY / 2; c++)
            session_change(c, 1);
        for (uint32_t i = 0; i < 2000; i++)
            session_bytes(100 + (uint32_t)(random64() % 500), 1 + random64() % 100);
        check_bound();
        for (uint32_t c = 0; c < CAPACITY / 2; c++) /* light ones leave, and newcomers inherit the whole error */
            session_change(c, -1);
        for (uint32_t i = 0; i < 200; i++)
            session_bytes(1000 + round * 200 + i, 1);
        check_bound();
    }
}

/* Sessions come, move bytes and go at random, more of them alive than there are places. */
static void the_bound_holds_for_any_order(void **state) {
    begin_truth(3);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t c = (uint32_t)(random64() % 300);
        uint64_t what = random64() % 4;
        if (what < 2)
            session_bytes(c, random64() % 65536);
        else
            session_change(c, what == 2 ? 1 : -1);
        if (i % 10000 == 0)
            check_bound();
    }
    check_bound();
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_sketch, close_sketch)
    const struct CMUnitTest tests[] = {
        CASE(is_exact_while_there_is_room),
        CASE(the_smallest_gives_way_and_the_newcomer_says_what_it_may_lack),
        CASE(who_has_something_alive_is_spared),
        CASE(what_grows_while_alive_is_weighed_again),
        CASE(a_successor_goes_on),
        CASE(a_long_name_is_cut),
        CASE(readers_see_whole_entries_only),
        CASE(the_bound_holds_for_skewed_streams),
        CASE(the_bound_holds_when_all_are_equal),
        CASE(the_bound_holds_against_silent_holders),
        CASE(the_bound_holds_for_any_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
