/* Summaries made from clients' counters, taken by others, and what comes of them: tables, sums, and what is forgotten. */
#include "observer/instances.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "observer/digest.h"
#include "observer/fleet_clients.h"
#include "observer/stats_view.h"
#include "observer/summary_seal.h"
#include "shm/stats_clients.h"

#define FLEET 3

static struct stats_view views[FLEET];
static struct instances fleet[FLEET];
static struct scoreboard board;
static uint64_t now_ms, ahead_us; /* the clock on the wall is so much ahead */
static uint8_t storage_key[32] = "the key of the fleet", another_key[32] = "that of another one";
static struct summary_seal seal, stranger;

uint64_t __real_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void) {
    return __real_clock_wall_us() + ahead_us;
}

static int set_up(void **state) {
    int fd;
    now_ms = 1000000;
    ahead_us = 0;
    seal = (struct summary_seal){.seal.key = storage_key, .name = "clients/c"};
    stranger = (struct summary_seal){.seal.key = another_key, .name = "clients/c"};
    buf_init(&seal.out, SUMMARY_SEALED_MAX);
    buf_init(&stranger.out, SUMMARY_SEALED_MAX);
    for (unsigned i = 0; i < FLEET; i++) {
        if (!stats_view_init(&views[i], -1)) /* without counters of processes clients stay as they are put here */
            return -1;
        instances_init(&fleet[i], 100 + i, &seal);
    }
    if (scoreboard_create(1, 1, &fd) < 0 || scoreboard_map(fd, 0, &board) < 0 || scoreboard_open_peers(&board, fd) < 0)
        return -1;
    close(fd);
    return 0;
}

static int tear_down(void **state) {
    for (unsigned i = 0; i < FLEET; i++) {
        stats_view_fini(&views[i]);
        instances_fini(&fleet[i]);
    }
    scoreboard_unmap(&board);
    buf_fini(&seal.out);
    buf_fini(&stranger.out);
    return 0;
}

/* A client of an instance, with nothing yet. */
static struct stats_client *client(unsigned at, const char *name) {
    struct stats_clients *c = &views[at].clients;
    if (c->n == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 64;
        c->rows = realloc(c->rows, c->cap * sizeof(*c->rows));
        assert_non_null(c->rows);
    }
    struct stats_client *row = &c->rows[c->n++];
    *row = (struct stats_client){0};
    row->verified = addr_client_parse(name, row->key) < 0;
    (void)snprintf(row->name, sizeof(row->name), "%s", name);
    return row;
}

static void second(void) {
    now_ms += 1000;
    for (unsigned i = 0; i < FLEET; i++)
        stats_view_second(&views[i], now_ms);
}

static struct buf answer;

static void begin_answer(uint32_t instances) {
    uint8_t n[4];
    struct wr w = wr_of(n, sizeof(n));
    wr_u32(&w, instances);
    buf_init(&answer, 32 << 20);
    assert_int_equal(buf_append(&answer, n, sizeof(n)), 0);
}

/* As it is, whatever it is. */
static void answer_raw(struct span bytes) {
    uint8_t len[4];
    struct wr w = wr_of(len, sizeof(len));
    wr_u32(&w, (uint32_t)bytes.len);
    assert_int_equal(buf_append(&answer, len, sizeof(len)), 0);
    assert_int_equal(bytes.len ? buf_append(&answer, bytes.p, bytes.len) : 0, 0);
}

static void answer_sealed(struct summary_seal *with, struct span summary) {
    struct span sealed = summary_seal_close(with, 7, summary);
    assert_true(sealed.len == summary.len + SUMMARY_SEALED_AT + SEAL_MORE);
    answer_raw(sealed);
}

static void answer_with(struct span summary) {
    answer_sealed(&seal, summary);
}

/* What the store has of all instances but those that are down, to the first one. */
static void exchange(unsigned down) {
    begin_answer(FLEET);
    for (unsigned i = 0; i < FLEET; i++) {
        if (down >> i & 1)
            continue;
        const struct buf *own = instances_write_own(&fleet[i], &views[i], now_ms);
        assert_non_null(own);
        answer_with(buf_span(own));
    }
    instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
    buf_fini(&answer);
}

static struct peers_counts others(const char *address) {
    struct addr_net nets[ADDR_NETS];
    struct peers_counts c = {0};
    struct addr a;
    assert_int_equal(addr_parse_ip(address, &a), 0);
    assert_true(addr_nets(&a, nets) > 0);
    return peers_find(scoreboard_peers(&board), scoreboard_net_tag(&board, &nets[0]), now_ms, &c) ? c
                                                                                                  : (struct peers_counts){0};
}

static void others_count_beside_our_own(void **state) {
    client(0, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 5;
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    views[1].clients.rows[0].handshaking = 2;
    client(2, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 10;
    client(2, "192.0.2.9")->values[SKETCH_SESSIONS_NOW] = 1;
    exchange(0);
    assert_int_equal(fleet[0].n, 2);
    assert_int_equal(others("192.0.2.1").sessions, 15);
    assert_int_equal(others("192.0.2.9").sessions, 1);
    assert_int_equal(others("192.0.2.2").sessions, 0);
    assert_int_equal(fleet[0].networks, 2);
}

static void rates_are_of_the_last_second(void **state) {
    struct stats_client *here = client(0, "192.0.2.1"), *there = client(1, "192.0.2.1");
    second();
    here->let_in = 7;
    there->let_in = 40;
    there->values[SKETCH_LIMITED] = 5000;
    second();
    exchange(0);
    assert_int_equal(others("192.0.2.1").handshakes, 40);
    assert_int_equal(others("192.0.2.1").bytes, 5000);
    assert_int_equal(others("192.0.2.1").own_handshakes, 7);
    assert_int_equal(others("192.0.2.1").at_handshakes, 1);
    second();
    exchange(0); /* nothing moves any more */
    assert_int_equal(others("192.0.2.1").handshakes, 0);
}

static void who_is_silent_is_forgotten(void **state) {
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    client(2, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 10;
    exchange(0);
    now_ms += PEERS_VALID_MS - 1000;
    exchange(4);
    assert_int_equal(others("192.0.2.1").sessions, 13);
    now_ms += 1000;
    exchange(4);
    assert_int_equal(others("192.0.2.1").sessions, 3);
    assert_int_equal(fleet[0].beyond, 1); /* of two in the answer, with our own, and three that the store says it has */
    now_ms += PEERS_VALID_MS;             /* the store is silent */
    assert_int_equal(others("192.0.2.1").sessions, 0);
}

/* Somebody who can write to the store puts what he has kept there again. */
static void an_old_summary_is_as_silence(void **state) {
    struct buf kept;
    buf_init(&kept, SUMMARY_MAX);
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    const struct buf *own = instances_write_own(&fleet[1], &views[1], now_ms);
    assert_int_equal(buf_append(&kept, buf_span(own).p, buf_len(own)), 0);
    now_ms += 1000;
    views[1].clients.rows[0].values[SKETCH_SESSIONS_NOW] = 1;
    exchange(0);
    for (unsigned i = 0; i < 20; i++) {
        begin_answer(2);
        answer_with(buf_span(&kept));
        assert_int_equal(others("192.0.2.1").sessions, i < 5 ? 1 : 0); /* and never again */
        now_ms += 1000;
        instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
        buf_fini(&answer);
    }
    assert_int_equal(others("192.0.2.1").sessions, 0);
    buf_fini(&kept);
}

static void garbage_denies_nobody(void **state) {
    static uint8_t noise[300000];
    memset(noise, 0xa5, sizeof(noise));
    const struct span forms[] = {span_of(noise, 0), span_of(noise, 1), span_of(noise, 17), span_of(noise, SUMMARY_MAX),
                                 span_of(noise, 77)};
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    exchange(0);
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        begin_answer(2);
        answer_with(forms[i]);
        answer_with(buf_span(instances_write_own(&fleet[1], &views[1], now_ms += 10)));
        instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
        buf_fini(&answer);
        assert_int_equal(fleet[0].refused, i + 1);
        assert_int_equal(others("192.0.2.1").sessions, 3); /* what is right beside it counts */
    }
    instances_answer(&fleet[0], span_of(noise, sizeof(noise)), &views[0], &board, now_ms); /* no list of summaries at all */
    assert_int_equal(fleet[0].refused, ARRAY_LEN(forms));
    assert_int_equal(fleet[0].foreign.n, 1);
}

static void what_others_have_sealed_is_not_believed(void **state) {
    static struct summary_seal elsewhere = {.seal.key = storage_key, .name = "clients/d"};
    static uint8_t changed[SUMMARY_SEALED_MAX];
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    const struct buf *own = instances_write_own(&fleet[1], &views[1], now_ms);
    struct span sealed = summary_seal_close(&seal, 101, buf_span(own));
    memcpy(changed, sealed.p, sealed.len);
    begin_answer(2);
    answer_raw(buf_span(own));
    answer_sealed(&stranger, buf_span(own));
    buf_init(&elsewhere.out, SUMMARY_SEALED_MAX);
    answer_sealed(&elsewhere, buf_span(own));
    buf_fini(&elsewhere.out);
    unsigned n = 3;
    for (size_t i = 0; i < sealed.len; i += 1 + i / 8, n++) { /* the instance in front included */
        changed[i] ^= 1;
        answer_raw(span_of(changed, sealed.len));
        changed[i] ^= 1;
    }
    for (size_t len = 0; len < SUMMARY_SEALED_AT + SEAL_MORE; len++, n++)
        answer_raw(span_of(changed, len));
    instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
    assert_int_equal(fleet[0].foreign.n, n);
    assert_int_equal(others("192.0.2.1").sessions, 0);
    buf_fini(&answer);
    begin_answer(2);
    answer_raw(span_of(changed, sealed.len));
    instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
    assert_int_equal(others("192.0.2.1").sessions, 3); /* as it was */
    buf_fini(&answer);
}

/* Recorded long ago and played to one who does not know the instance; or by a machine whose clock is wrong. */
static void what_is_of_another_time_is_not_believed(void **state) {
    static const int apart_s[] = {-100000, -61, -59, 59, 61, 100000};
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    uint64_t old = 0;
    for (size_t i = 0; i < ARRAY_LEN(apart_s); i++) {
        bool believed = apart_s[i] > -60 && apart_s[i] < 60;
        ahead_us = (uint64_t)apart_s[i] * 1000000;
        begin_answer(2);
        answer_with(buf_span(instances_write_own(&fleet[1], &views[1], now_ms += 10)));
        ahead_us = 0;
        instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
        buf_fini(&answer);
        old += !believed;
        assert_int_equal(fleet[0].old.n, old);
        assert_int_equal(others("192.0.2.1").sessions, believed || i > 2 ? 3 : 0);
    }
}

/* In a large fleet each reports less, the busiest still. */
static void summaries_shrink_as_the_fleet_grows(void **state) {
    static const struct {
        unsigned instances;
        size_t clients;
    } sizes[] = {{1, 1000}, {90, 1000}, {200, 237}, {400, 59}, {100000, 50}};
    char name[64];
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof(name), "10.1.%u.%u", i >> 8, i & 255);
        client(0, name)->values[SKETCH_SESSIONS_NOW] = i;
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct summary_head head;
        size_t entries, skipped;
        begin_answer(sizes[i].instances);
        instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
        buf_fini(&answer);
        const struct buf *own = instances_write_own(&fleet[0], &views[0], now_ms);
        assert_int_equal(summary_check(buf_span(own), &head, &entries, &skipped), 0);
        assert_int_equal(entries, sizes[i].clients);
        assert_true(head.floor[SUMMARY_SESSIONS] < 3000 - entries / 4);
    }
}

static void impossible_counts_are_skipped(void **state) {
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = (uint64_t)-1;
    client(1, "192.0.2.2")->values[SKETCH_SESSIONS_NOW] = PEERS_COUNT_MAX + 1;
    client(1, "192.0.2.3")->values[SKETCH_SESSIONS_NOW] = 4;
    exchange(0);
    assert_int_equal(others("192.0.2.1").sessions, 0);
    assert_int_equal(others("192.0.2.2").sessions, 0);
    assert_int_equal(others("192.0.2.3").sessions, 4);
    assert_int_equal(fleet[0].skipped, 2);
}

static void there_is_a_most_of_instances(void **state) {
    struct instances *many = calloc(1, sizeof(*many));
    assert_non_null(many);
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 1;
    begin_answer(INSTANCES_MOST + 4);
    for (unsigned i = 0; i < INSTANCES_MOST + 3; i++) {
        instances_init(many, 1000 + i, &seal);
        answer_with(buf_span(instances_write_own(many, &views[1], now_ms)));
        instances_fini(many);
    }
    for (unsigned i = 0; i < 3; i++) { /* and no more with each answer */
        instances_answer(&fleet[0], buf_span(&answer), &views[0], &board, now_ms);
        assert_int_equal(fleet[0].n, INSTANCES_MOST);
        assert_int_equal(fleet[0].beyond, 3);
        assert_int_equal(others("192.0.2.1").sessions, INSTANCES_MOST);
    }
    buf_fini(&answer);
    free(many);
}

/* ---- who is in a summary ---- */

static size_t entries_of(const struct buf *summary, struct summary_entry *to, struct summary_head *head) {
    struct summary_reader s;
    const struct summary_entry *e;
    size_t n = 0;
    assert_int_equal(summary_begin(&s, buf_span(summary), head), 0);
    while (summary_next(&s, &e) == 1)
        to[n++] = *e;
    return n;
}

static void the_busiest_of_each_kind_are_reported(void **state) {
    static struct summary_entry e[SUMMARY_ENTRIES];
    struct summary_head head;
    char name[64];
    uint64_t sessions = 0, bytes = 0;
    for (unsigned i = 0; i < 4000; i++) {
        (void)snprintf(name, sizeof(name), "10.1.%u.%u", i >> 8, i & 255);
        struct stats_client *c = client(0, name);
        c->values[SKETCH_SESSIONS_NOW] = i < 200 ? 1000 - i : 1;
        c->values[SKETCH_BYTES_IN] = i >= 3800 ? 1000000 + i : i % 1000;
    }
    size_t n = entries_of(instances_write_own(&fleet[0], &views[0], now_ms), e, &head);
    assert_int_equal(n, SUMMARY_CLIENTS);
    for (size_t i = 0; i < n; i++) {
        sessions += e[i].values[SUMMARY_SESSIONS] > 1;
        bytes += e[i].values[SUMMARY_BYTES_IN] >= 1000000;
    }
    assert_int_equal(sessions, 200);
    assert_int_equal(bytes, 200);
    assert_int_equal(head.floor[SUMMARY_SESSIONS], 1); /* the most that one has who is not reported */
    assert_int_equal(head.floor[SUMMARY_LET_IN], 0);
}

/* A /48 in which each network has little: reported as networks, and nothing twice. */
static void small_networks_are_reported_together(void **state) {
    static struct summary_entry e[SUMMARY_ENTRIES];
    struct summary_head head;
    char name[64];
    uint64_t sum = 0;
    for (unsigned i = 0; i < 1200; i++) {
        (void)snprintf(name, sizeof(name), "10.1.%u.%u", i >> 8, i & 255);
        client(0, name)->values[SKETCH_SESSIONS_NOW] = 9;
    }
    for (unsigned i = 0; i < 2000; i++) {
        (void)snprintf(name, sizeof(name), "2001:db8:7:%x::/64", i);
        client(0, name)->values[SKETCH_SESSIONS_NOW] = 2;
    }
    size_t n = entries_of(instances_write_own(&fleet[0], &views[0], now_ms), e, &head);
    for (size_t i = 0; i < n; i++)
        sum += e[i].kind == SUMMARY_IPV4 ? 0 : e[i].values[SUMMARY_SESSIONS];
    assert_int_equal(sum, 4000);
    (void)!instances_write_own(&fleet[0], &views[0], now_ms);
    struct summary_head h;
    size_t entries, skipped;
    assert_int_equal(summary_check(buf_span(&fleet[0].own.bytes), &h, &entries, &skipped), 0);
    assert_int_equal(entries, fleet[0].own.entries);

    /* and another instance adds them to the networks around */
    begin_answer(2);
    answer_with(buf_span(&fleet[0].own.bytes));
    instances_answer(&fleet[1], buf_span(&answer), &views[1], &board, now_ms);
    buf_fini(&answer);
    struct addr_net nets[ADDR_NETS];
    struct peers_counts c;
    struct addr a;
    assert_int_equal(addr_parse_ip("2001:db8:7:42::1", &a), 0);
    assert_int_equal(addr_nets(&a, nets), 3);
    assert_true(peers_find(scoreboard_peers(&board), scoreboard_net_tag(&board, &nets[2]), now_ms, &c));
    assert_int_equal(c.sessions, 4000);
    assert_true(peers_find(scoreboard_peers(&board), scoreboard_net_tag(&board, &nets[1]), now_ms, &c));
    assert_int_equal(c.sessions, 512);
}

static void users_of_a_machine_are_not_reported(void **state) {
    struct summary_entry e[4];
    struct summary_head head;
    client(0, "uid:1000")->values[SKETCH_SESSIONS_NOW] = 4;
    client(0, "cn:robot")->values[SKETCH_BYTES_IN] = 4;
    client(0, "2001:db8::/64")->values[SKETCH_BYTES_IN] = 4;
    assert_int_equal(entries_of(instances_write_own(&fleet[0], &views[0], now_ms), e, &head), 2);
    assert_int_equal(e[0].kind, SUMMARY_IPV6_64);
    assert_int_equal(e[1].kind, SUMMARY_VERIFIED);
}

/* ---- the sums that people look at ---- */

static void sums_are_exact_and_say_where_most_is(void **state) {
    client(0, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 5;
    views[0].clients.rows[0].values[SKETCH_BYTES_IN] = 100;
    client(1, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 3;
    views[1].clients.rows[0].values[SKETCH_BYTES_IN] = 20;
    client(1, "cn:robot")->values[SKETCH_BYTES_OUT] = 9;
    client(2, "192.0.2.1")->values[SKETCH_SESSIONS_NOW] = 10;
    client(2, "cn:robot")->values[SKETCH_BYTES_OUT] = 10;
    exchange(0);
    fleet[0].local = false;
    size_t n;
    struct fleet_client *list = fleet_clients_merge(&fleet[0], &n);
    assert_non_null(list);
    assert_int_equal(n, 2);
    assert_int_equal(list[0].sum.values[SUMMARY_ESTABLISHED], 18);
    assert_int_equal(list[0].sum.values[SUMMARY_BYTES_IN], 120);
    assert_int_equal(list[0].instances, 3);
    assert_int_equal(list[0].most_sessions, 10);
    assert_string_equal(fleet[0].others[list[0].most - 1].name, fleet[2].own.name);
    assert_int_equal(list[1].sum.kind, SUMMARY_VERIFIED);
    assert_int_equal(list[1].sum.values[SUMMARY_BYTES_OUT], 19);
    assert_int_equal(list[1].instances, 2);
    assert_int_equal(list[1].most_bytes, 10);
    free(list);
    fleet[0].local = true; /* without the store only what is here */
    list = fleet_clients_merge(&fleet[0], &n);
    assert_int_equal(n, 1);
    assert_int_equal(list[0].sum.values[SUMMARY_ESTABLISHED], 5);
    free(list);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(others_count_beside_our_own),
        TEST(rates_are_of_the_last_second),
        TEST(who_is_silent_is_forgotten),
        TEST(an_old_summary_is_as_silence),
        TEST(garbage_denies_nobody),
        TEST(what_others_have_sealed_is_not_believed),
        TEST(what_is_of_another_time_is_not_believed),
        TEST(summaries_shrink_as_the_fleet_grows),
        TEST(impossible_counts_are_skipped),
        TEST(there_is_a_most_of_instances),
        TEST(the_busiest_of_each_kind_are_reported),
        TEST(small_networks_are_reported_together),
        TEST(users_of_a_machine_are_not_reported),
        TEST(sums_are_exact_and_say_where_most_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
