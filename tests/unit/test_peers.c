#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "shm/peers.h"
#include "shm/scoreboard.h"

#define NOW UINT64_C(5000500)

static struct peers_table *table;

static int make_table(void **state) {
    table = calloc(1, sizeof(*table));
    return table ? 0 : -1;
}

static int free_table(void **state) {
    free(table);
    return 0;
}

static struct peers_counts counts(uint64_t sessions, uint64_t handshakes, uint64_t bytes) {
    return (struct peers_counts){.sessions = sessions, .handshakes = handshakes, .bytes = bytes};
}

static void add(uint64_t tag, uint16_t instance, struct peers_counts c) {
    assert_true(peers_add(table, tag, instance, &c));
}

static void sums_are_over_instances(void **state) {
    struct peers_counts c;
    peers_begin(table);
    add(7, 1, counts(3, 0, 100));
    add(7, 2, counts(4, 9, 0));
    add(7, 2, counts(1, 1, 0)); /* another part of the same network */
    add(8, 2, counts(1, 0, 0));
    peers_add_own(table, 7, 5, 50);
    peers_add_own(table, 9, 5, 50); /* nobody else has it */
    assert_false(peers_find(table, 7, NOW, &c));
    peers_commit(table, NOW);
    assert_true(peers_find(table, 7, NOW, &c));
    assert_int_equal(c.sessions, 8);
    assert_int_equal(c.handshakes, 10);
    assert_int_equal(c.bytes, 100);
    assert_int_equal(c.at_handshakes, 1);
    assert_int_equal(c.at_bytes, 1);
    assert_int_equal(c.own_handshakes, 5);
    assert_int_equal(c.own_bytes, 50);
    assert_false(peers_find(table, 9, NOW, &c));
    assert_int_equal(peers_used(table, NOW), 2);
}

static void a_table_replaces_the_one_before(void **state) {
    struct peers_counts c;
    for (uint64_t i = 1; i < 6; i++) {
        peers_begin(table);
        add(i, 1, counts(i, 0, 0));
        assert_false(peers_find(table, i, NOW + i, &c)); /* not before it is whole */
        peers_commit(table, NOW + i);
        assert_true(peers_find(table, i, NOW + i, &c));
        assert_int_equal(c.sessions, i);
        assert_false(peers_find(table, i - 1, NOW + i, &c));
    }
}

static void an_old_table_counts_for_nobody(void **state) {
    struct peers_counts c;
    assert_false(peers_find(table, 1, NOW, &c)); /* nor does none */
    peers_begin(table);
    add(1, 1, counts(1, 1, 1));
    peers_commit(table, NOW);
    assert_true(peers_find(table, 1, NOW + PEERS_VALID_MS - 1, &c));
    assert_false(peers_find(table, 1, NOW + PEERS_VALID_MS, &c));
    assert_int_equal(peers_used(table, NOW + PEERS_VALID_MS), 0);
    table->until_ms = UINT64_MAX; /* nor does one that claims to be valid for ever */
    assert_false(peers_find(table, 1, NOW, &c));
}

static void sums_saturate(void **state) {
    struct peers_counts c;
    peers_begin(table);
    for (uint16_t i = 1; i <= 3; i++)
        add(1, i, counts(UINT64_MAX - 1, UINT64_MAX, 1));
    peers_add_own(table, 1, UINT64_MAX, UINT64_MAX);
    peers_add_own(table, 1, UINT64_MAX, UINT64_MAX);
    peers_commit(table, NOW);
    assert_true(peers_find(table, 1, NOW, &c));
    assert_true(c.sessions == UINT64_MAX && c.handshakes == UINT64_MAX && c.bytes == 3 && c.own_bytes == UINT64_MAX);
    assert_int_equal(peers_share(10, c.own_handshakes, c.handshakes, c.at_handshakes), 2); /* an equal part all the same */
}

static void what_finds_no_room_is_omitted(void **state) {
    struct peers_counts one = counts(1, 0, 0), c;
    peers_begin(table);
    for (uint64_t i = 0; i < PEERS_PROBES; i++)
        assert_true(peers_add(table, 5 + i * PEERS_SLOTS, 1, &one));
    assert_false(peers_add(table, 5 + PEERS_PROBES * PEERS_SLOTS, 1, &one));
    assert_true(peers_add(table, 5, 2, &one)); /* who is there goes on */
    peers_commit(table, NOW);
    assert_false(peers_find(table, 5 + PEERS_PROBES * PEERS_SLOTS, NOW, &c));
    assert_true(peers_find(table, 5 + (PEERS_PROBES - 1) * PEERS_SLOTS, NOW, &c));
}

/* Whatever the writer may have left there, a look comes to its end. */
static void nonsense_is_read_within_bounds(void **state) {
    struct peers_counts c;
    memset(table, 0xa5, sizeof(*table));
    table->until_ms = NOW + 1;
    assert_false(peers_find(table, 1, NOW, &c));
    for (uint64_t tag = 0; tag < PEERS_SLOTS * 2; tag += 997)
        (void)peers_find(table, tag, NOW, &c);
    assert_true(peers_find(table, UINT64_C(0xa5a5a5a5a5a5a5a5), NOW, &c));
    assert_true(peers_share(1000, c.own_bytes, c.bytes, c.at_bytes) >= 1);
}

/* ---- shares ---- */

static void alone_it_has_all(void **state) {
    assert_int_equal(peers_share(100, 0, 0, 0), 100);
    assert_int_equal(peers_share(100, 500, 0, 0), 100);
    assert_int_equal(peers_share(1, 0, 0, 0), 1);
}

static void nobody_gets_less_than_an_equal_part(void **state) {
    static const uint64_t lies[] = {0, 1, 99, 100, 101, 1u << 20, PEERS_COUNT_MAX, UINT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(lies); i++)
        for (size_t k = 0; k < ARRAY_LEN(lies); k++)
            for (uint16_t at = 0; at < 200; at++) {
                uint64_t share = peers_share(100, lies[i], lies[k], at);
                assert_true(share >= MAX(100u / (at + 1u), 1u) && share <= 100);
            }
    assert_int_equal(peers_share(UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT16_MAX), UINT64_MAX / 65536);
}

/* Instances that want WANT each, second by second, each with what the others had in the second before. */
static void settle(uint64_t limit, const uint64_t *want, size_t n, uint64_t *used, unsigned seconds) {
    for (unsigned second = 0; second < seconds; second++) {
        uint64_t sum = 0, next[8];
        uint16_t active = 0;
        for (size_t i = 0; i < n; i++) {
            sum += used[i];
            active = (uint16_t)(active + (used[i] > 0));
        }
        for (size_t i = 0; i < n; i++)
            next[i] = MIN(want[i], peers_share(limit, used[i], sum - used[i], (uint16_t)(active - (used[i] > 0))));
        memcpy(used, next, n * sizeof(*used));
    }
}

/* All together come to the limit, or to what is wanted if that is less, from any beginning. */
static void shares_come_to_the_limit(void **state) {
    static const struct {
        uint64_t want[4];
        size_t n;
    } cases[] = {
        {{5000, 5000}, 2},    {{5000, 100}, 2},     {{5000, 5000, 100}, 3}, {{5000, 5000, 5000, 5000}, 4},
        {{300, 300, 300}, 3}, {{5000, 0, 0, 1}, 4}, {{5000, 334, 5000}, 3}, {{400, 400, 400, 10}, 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (unsigned begin = 0; begin < 3; begin++) {
            uint64_t used[8] = {0}, sum = 0, wanted = 0;
            for (size_t k = 0; k < cases[i].n; k++) {
                used[k] = begin == 0   ? 0
                          : begin == 1 ? MIN(cases[i].want[k], 1000u)
                          : k == 0     ? MIN(cases[i].want[0], 1000u)
                                       : 0;
                wanted += cases[i].want[k];
            }
            settle(1000, cases[i].want, cases[i].n, used, 30);
            for (size_t k = 0; k < cases[i].n; k++)
                sum += used[k];
            uint64_t expected = MIN(wanted, 1000u);
            assert_in_range(sum, expected - expected / 50, expected + expected / 50);
        }
}

/* ---- at the scoreboard ---- */

static struct scoreboard scoreboard;

static int open_board(void **state) {
    int fd;
    if (scoreboard_create(1, 1, &fd) < 0 || scoreboard_map(fd, 0, &scoreboard) < 0 ||
        scoreboard_open_row(&scoreboard, fd, ROLE_HANDSHAKER, 0) < 0 || scoreboard_open_peers(&scoreboard, fd) < 0)
        return -1;
    close(fd);
    return 0;
}

static int close_board(void **state) {
    scoreboard_unmap(&scoreboard);
    return 0;
}

static struct addr ip(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_ip(text, &a), 0);
    return a;
}

static void others_have(const char *client, struct peers_counts c) {
    struct addr_net nets[ADDR_NETS];
    struct addr a = ip(client);
    peers_begin(scoreboard_peers(&scoreboard));
    for (size_t i = 0, n = addr_nets(&a, nets); i < n; i++)
        assert_true(peers_add(scoreboard_peers(&scoreboard), scoreboard_net_tag(&scoreboard, &nets[i]), 1, &c));
    peers_commit(scoreboard_peers(&scoreboard), NOW);
}

static bool is_over(const char *client, uint64_t most, bool fleet, uint64_t now_ms) {
    struct addr a = ip(client);
    return scoreboard_client_over(&scoreboard, &a, (struct scoreboard_limit){most, fleet}, now_ms);
}

static void sessions_elsewhere_count_where_they_should(void **state) {
    struct scoreboard_row row = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    struct addr a = ip("192.0.2.1");
    others_have("192.0.2.1", counts(9, 0, 0));
    scoreboard_client(&row, &a, 1);
    assert_false(is_over("192.0.2.1", 10, true, NOW));
    scoreboard_client(&row, &a, 1);
    assert_true(is_over("192.0.2.1", 10, true, NOW));
    assert_false(is_over("192.0.2.1", 10, false, NOW));
    assert_false(is_over("192.0.2.1", 10, true, NOW + PEERS_VALID_MS));
    assert_false(is_over("192.0.2.2", 1, true, NOW));
    others_have("192.0.2.1", counts(UINT64_MAX, 0, 0));
    assert_true(is_over("192.0.2.1", 10, true, NOW));
}

static void networks_elsewhere_count_too(void **state) {
    struct scoreboard_row row = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    struct addr next = ip("2001:db8:0:1::1"), far = ip("2001:db8:1:1::1");
    others_have("2001:db8::1", counts(40, 0, 0));
    scoreboard_client(&row, &next, 1);
    scoreboard_client(&row, &far, 1);
    assert_true(is_over("2001:db8:0:1::1", 10, true, NOW)); /* 41 in the /56, which may have 40 */
    assert_false(is_over("2001:db8:0:1::1", 11, true, NOW));
    assert_false(is_over("2001:db8:1:1::1", 1, true, NOW));
}

static unsigned let_in(const char *client, uint64_t limit, bool fleet) {
    struct scoreboard_row row = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    struct addr a = ip(client);
    unsigned n = 0;
    while (n < 1000 && scoreboard_handshake(&row, &a, (struct scoreboard_limit){limit, fleet}, NOW))
        n++;
    return n;
}

static void handshakes_are_shared(void **state) {
    others_have("192.0.2.1", counts(0, 60, 0));
    assert_int_equal(let_in("192.0.2.2", 100, true), 100);
    assert_int_equal(let_in("192.0.2.1", 100, true), 50); /* an equal part at least */
    assert_int_equal(let_in("192.0.2.1", 99, false), 99);
}

static void byte_rates_are_shared(void **state) {
    struct addr_net nets[ADDR_NETS];
    struct addr a = ip("192.0.2.1");
    assert_int_equal(addr_nets(&a, nets), 1);
    uint64_t tag = scoreboard_net_tag(&scoreboard, &nets[0]);
    assert_int_equal(scoreboard_client_rate(&scoreboard, tag, 1000, NOW), 1000);
    others_have("192.0.2.1", counts(0, 0, 2000));
    assert_int_equal(scoreboard_client_rate(&scoreboard, tag, 1000, NOW), 500);
    others_have("192.0.2.1", counts(0, 0, 100));
    assert_int_equal(scoreboard_client_rate(&scoreboard, tag, 1000, NOW),
                     500); /* of the 900 left its part, and at least that */
    assert_int_equal(scoreboard_client_rate(&scoreboard, tag, 1000, NOW + PEERS_VALID_MS), 1000);
}

int main(void) {
#define TABLE(f) cmocka_unit_test_setup_teardown(f, make_table, free_table)
#define BOARD(f) cmocka_unit_test_setup_teardown(f, open_board, close_board)
    const struct CMUnitTest tests[] = {
        TABLE(sums_are_over_instances),
        TABLE(a_table_replaces_the_one_before),
        TABLE(an_old_table_counts_for_nobody),
        TABLE(sums_saturate),
        TABLE(what_finds_no_room_is_omitted),
        TABLE(nonsense_is_read_within_bounds),
        cmocka_unit_test(alone_it_has_all),
        cmocka_unit_test(nobody_gets_less_than_an_equal_part),
        cmocka_unit_test(shares_come_to_the_limit),
        BOARD(sessions_elsewhere_count_where_they_should),
        BOARD(networks_elsewhere_count_too),
        BOARD(handshakes_are_shared),
        BOARD(byte_rates_are_shared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
