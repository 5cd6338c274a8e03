#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "death.h"
#include "shm/scoreboard.h"

#define WORKERS  2
#define SERVICES 3
#define CAPACITY 131072u /* clients a row */
#define NOW      UINT64_C(5000500)

#define LOCAL(n) ((struct scoreboard_limit){(n), false})
#define FLEET(n) ((struct scoreboard_limit){(n), true})

static struct scoreboard scoreboard;
static int scoreboard_fd;

static int open_scoreboard(void **state) {
    if (scoreboard_create(WORKERS, SERVICES, &scoreboard_fd) < 0)
        return -1;
    if (scoreboard_map(scoreboard_fd, 0, &scoreboard) < 0)
        return -1;
    for (uint16_t i = 0; i < WORKERS; i++) /* this process is all of them */
        if (scoreboard_open_row(&scoreboard, scoreboard_fd, ROLE_RELAY, i) < 0 ||
            scoreboard_open_row(&scoreboard, scoreboard_fd, ROLE_HANDSHAKER, i) < 0)
            return -1;
    scoreboard.most = UINT32_MAX; /* more than this machine may let processes have */
    return 0;
}

static int close_scoreboard(void **state) {
    scoreboard_unmap(&scoreboard);
    close(scoreboard_fd);
    return 0;
}

/* The n-th client. */
static const struct addr *client(uint32_t n) {
    static struct addr clients[4];
    static unsigned turn;
    struct addr *a = &clients[turn++ % 4];
    *a = (struct addr){.family = AF_INET};
    memcpy(a->ip, &n, sizeof(n));
    return a;
}

static struct addr six(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_ip(text, &a), 0);
    return a;
}

static size_t pages_of_scoreboard(void) {
    struct stat st;
    assert_int_equal(fstat(scoreboard_fd, &st), 0);
    return (size_t)st.st_blocks / 8;
}

static void starts_at_nothing(void **state) {
    for (uint16_t i = 0; i < SERVICES + 1; i++)
        assert_int_equal(scoreboard_service_sessions(&scoreboard, i), 0);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(1)), 0);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 0), 0);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, WORKERS), 0);
}

static void sessions_are_summed_over_rows(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0),
                          other = scoreboard_row(&scoreboard, ROLE_RELAY, 1);
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    scoreboard_session(&relay, 1, client(7), 1);
    scoreboard_session(&relay, 1, client(7), 1);
    scoreboard_session(&other, 2, client(7), 1);
    scoreboard_session(&other, 1, client(8), 1);
    scoreboard_client(&hand, client(7), 1);
    scoreboard_service(&hand, 1, 1);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 1), 4);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 2), 1);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(7)), 4);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(8)), 1);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 0), 2);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 1), 2);
    scoreboard_session(&relay, 1, client(7), -1);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 1), 3);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(7)), 3);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 0), 1);
}

static void a_service_out_of_range_is_nobody(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0);
    scoreboard_service(&relay, SERVICES, 1);
    scoreboard_service(&relay, UINT16_MAX, 1);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, SERVICES), 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, UINT16_MAX), 0);
}

static void counts_never_go_below_nothing(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0);
    scoreboard_session(&relay, 0, client(1), -1);
    scoreboard_session(&relay, 0, client(1), 1);
    scoreboard_session(&relay, 0, client(1), -2);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 0);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(1)), 0);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 0), 0);
}

static void reset_takes_only_its_own_row(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0),
                          other = scoreboard_row(&scoreboard, ROLE_RELAY, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        scoreboard_session(&relay, 1, client(i), 1);
        scoreboard_session(&other, 1, client(i), 1);
    }
    scoreboard_row_reset(&relay);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 1), 1000);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 0), 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(scoreboard_client_sessions(&scoreboard, client(i)), 1);
}

/* A second's worth at once, then as they are paid for; handshakers share one bucket. */
static void a_bucket_is_shared_by_all_handshakers(void **state) {
    struct scoreboard_row a = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0),
                          b = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_true(scoreboard_handshake(i % 3 ? &a : &b, client(1), LOCAL(10), NOW));
    assert_false(scoreboard_handshake(&a, client(1), LOCAL(10), NOW + 99));
    assert_false(scoreboard_handshake(&b, client(1), LOCAL(10), NOW + 99));
    assert_true(scoreboard_handshake(&b, client(1), LOCAL(10), NOW + 100));
    assert_false(scoreboard_handshake(&a, client(1), LOCAL(10), NOW + 199));
    assert_true(scoreboard_handshake(&a, client(1), LOCAL(10), NOW + 200));
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(1)), 0);
    for (unsigned i = 0; i < 10; i++)
        assert_true(scoreboard_handshake(&b, client(1), LOCAL(10), NOW + 5000));
    assert_false(scoreboard_handshake(&b, client(1), LOCAL(10), NOW + 5000));
    assert_true(scoreboard_handshake(&b, client(2), LOCAL(10), NOW + 5000)); /* another client, another limit */
    assert_true(scoreboard_handshake(&b, client(1), LOCAL(11), NOW + 5000));
}

static void limits_of_any_size(void **state) {
    struct scoreboard_row a = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    assert_true(scoreboard_handshake(&a, client(1), LOCAL(1), NOW));
    assert_false(scoreboard_handshake(&a, client(1), LOCAL(1), NOW + 999));
    assert_true(scoreboard_handshake(&a, client(1), LOCAL(1), NOW + 1000));
    for (unsigned i = 0; i < 10000; i++)
        assert_true(scoreboard_handshake(&a, client(2), LOCAL(INT64_MAX), NOW));
}

static void live_clients_are_never_evicted(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        scoreboard_client(&relay, client(i), 1);
    for (uint32_t i = 0; i < 20 * CAPACITY; i++)
        (void)!scoreboard_handshake(&relay, client(1000000 + i), LOCAL(10), NOW + i);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        kept += scoreboard_client_sessions(&scoreboard, client(i)) == 1;
    assert_true(kept > CAPACITY / 4 - 100); /* all but those whose set of 8 was full at once */
}

/* Clients for whom their set has no place share one: no client has more than one client may, no matter who fills the table. */
static void a_full_table_shares_what_is_left(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        scoreboard_session(&relay, 0, client(i), 1);
    uint32_t alone = 0, none = 0;
    for (uint32_t i = 0; i < 2 * CAPACITY; i++) {
        uint64_t n = scoreboard_client_sessions(&scoreboard, client(i));
        alone += n == 1;
        none += n == 0;
    }
    assert_true(alone > CAPACITY * 9 / 10 && alone < CAPACITY * 11 / 10);
    assert_int_equal(none, 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 2 * CAPACITY);

    uint32_t late = 7 * CAPACITY; /* one without a place of its own */
    while (scoreboard_client_sessions(&scoreboard, client(late)) == 0)
        late++;
    for (unsigned i = 0; i < 1000; i++)
        scoreboard_session(&relay, 0, client(late), 1);
    assert_true(scoreboard_client_over(&scoreboard, client(late), LOCAL(1000), NOW));
    for (unsigned i = 0; i < 1000; i++)
        scoreboard_session(&relay, 0, client(late), -1);
    assert_false(scoreboard_client_over(&scoreboard, client(late), LOCAL(1000), NOW));

    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        scoreboard_session(&relay, 0, client(i), -1);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        assert_int_equal(scoreboard_client_sessions(&scoreboard, client(i)), 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 0);
    scoreboard_session(&relay, 0, client(5 * CAPACITY), 1); /* there is room again */
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(5 * CAPACITY)), 1);
}

/* What began in the shared place ends there, also when its client has a place of its own by then. */
static void the_shared_place_empties(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0);
    uint32_t late = 7 * CAPACITY;
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        scoreboard_client(&relay, client(i), 1);
    for (unsigned i = 0; i < 100; i++)
        scoreboard_client(&relay, client(late), 1);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        scoreboard_client(&relay, client(i), -1);
    for (unsigned i = 0; i < 50; i++)
        scoreboard_client(&relay, client(late), 1); /* a place of its own */
    assert_true(scoreboard_client_sessions(&scoreboard, client(late)) >= 50);
    for (unsigned i = 0; i < 150; i++)
        scoreboard_client(&relay, client(late), -1);
    for (uint32_t i = 0; i < 9 * CAPACITY; i++)
        assert_int_equal(scoreboard_client_sessions(&scoreboard, client(i)), 0);
}

/* The handshakes let in, of so many tries a second for some seconds, spread over the handshakers. */
static unsigned let_in(const struct addr *from, unsigned a_second, unsigned seconds, unsigned limit) {
    struct scoreboard_row rows[WORKERS] = {scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0),
                                           scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1)};
    unsigned n = 0;
    for (unsigned i = 0; i < a_second * seconds; i++)
        n += scoreboard_handshake(&rows[i * 7 / 3 % WORKERS], from, LOCAL(limit), NOW + (uint64_t)i * 1000 / a_second);
    return n;
}

/* Tries that are refused take nothing: ten a second come in whatever is tried, and ten more at the beginning. */
static void a_rate_is_no_ban(void **state) {
    static const unsigned within[] = {1, 8, 10}, over[] = {12, 20, 45, 200, 1000};
    for (uint32_t i = 0; i < ARRAY_LEN(within); i++)
        assert_int_equal(let_in(client(i), within[i], 30, 10), within[i] * 30);
    for (uint32_t i = 0; i < ARRAY_LEN(over); i++)
        assert_in_range(let_in(client(10 + i), over[i], 30, 10), 300, 310);
    assert_in_range(let_in(client(20), 45, 30, 1), 29, 31);
    assert_in_range(let_in(client(21), 3000, 30, 1000), 29000, 31000);
    struct addr a = six("2001:db8::1");
    assert_in_range(let_in(&a, 45, 30, 10), 300, 310);
}

/* A client within its rate comes in, also when what it does in a second comes at once. */
static void what_comes_at_once_comes_in(void **state) {
    struct scoreboard_row a = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    for (unsigned second = 0; second < 20; second++)
        for (unsigned i = 0; i < 8; i++)
            assert_true(scoreboard_handshake(&a, client(1), LOCAL(10), NOW + 1000 * second));
}

/* A client of IPv6 is a /64; a /56 and a /48 may have some times as much, and no more. */
static void networks_of_ipv6_have_shares(void **state) {
    static const struct {
        const char *format;
        uint32_t share;
    } nets[] = {{"2001:db8:1:%x00::1", ADDR_SHARE_48}, {"2001:db8:2:5%02x::1", ADDR_SHARE_56}};
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0),
                          hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    for (size_t k = 0; k < 2; k++) {
        char text[64];
        for (unsigned i = 0; i < nets[k].share * 10; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            (void)snprintf(text, sizeof(text), nets[k].format, i % 250);
#pragma GCC diagnostic pop
            struct addr a = six(text);
            scoreboard_session(i % 2 ? &relay : &hand, 0, &a, 1);
            assert_true(scoreboard_handshake(&hand, &a, LOCAL(10), NOW));
            assert_false(scoreboard_client_over(&scoreboard, &a, LOCAL(10), NOW));
        }
        struct addr next = six(k == 0 ? "2001:db8:1:ff00::1" : "2001:db8:2:5ff::1"), none = six("2001:db8:3::1");
        assert_int_equal(scoreboard_client_sessions(&scoreboard, &next), 0);
        assert_false(scoreboard_client_over(&scoreboard, &next, LOCAL(10), NOW));
        assert_false(scoreboard_handshake(&hand, &next, LOCAL(10), NOW));
        scoreboard_client(&hand, &next, 1);
        assert_true(scoreboard_client_over(&scoreboard, &next, LOCAL(10), NOW));
        assert_false(scoreboard_client_established_over(&scoreboard, &next, 10)); /* half of them */
        assert_true(scoreboard_client_established_over(&scoreboard, &next, 4));
        assert_false(scoreboard_client_over(&scoreboard, &none, LOCAL(0), NOW));
        scoreboard_client(&hand, &next, -1);
        assert_false(scoreboard_client_over(&scoreboard, &next, LOCAL(10), NOW));
        assert_false(scoreboard_client_over(&scoreboard, &next, LOCAL(UINT64_MAX / 2), NOW));
    }
}

/* Who has no address counts for nobody: a load balancer on its own account. */
static void the_unknown_are_nobody(void **state) {
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    const struct addr unknown = {.family = AF_UNSPEC};
    scoreboard_session(&hand, 0, &unknown, 1);
    for (unsigned i = 0; i < 10; i++)
        assert_true(scoreboard_handshake(&hand, &unknown, LOCAL(1), NOW));
    assert_int_equal(scoreboard_client_sessions(&scoreboard, &unknown), 0);
    assert_false(scoreboard_client_over(&scoreboard, &unknown, LOCAL(0), NOW));
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 1);
}

/* Of those that have no session the one that has paid first has the least to lose. */
static void who_has_paid_goes_first(void **state) {
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        assert_true(scoreboard_handshake(&hand, client(i), LOCAL(1), 2000000));
    for (uint32_t i = 0; i < 8 * CAPACITY; i++)
        assert_true(scoreboard_handshake(&hand, client(1000000 + i), LOCAL(1), 1000000));
    uint32_t kept = 0;
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        kept += !scoreboard_handshake(&hand, client(i), LOCAL(1), 2000000);
    assert_true(kept > CAPACITY / 4 - 100);
}

static void only_what_is_used_takes_memory(void **state) {
    assert_int_equal(pages_of_scoreboard(), 1);
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 1);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(1)), 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 0), 0);
    scoreboard_session(&relay, 0, client(1), 1);
    for (uint32_t i = 0; i < 10000; i++)
        (void)scoreboard_client_sessions(&scoreboard, client(i));
    /* two head pages a row of either generation (sums, what is used of the clients' table) and the pages of one group of sets
     */
    assert_true(pages_of_scoreboard() <= 1 + 2 * (2 * 2 * WORKERS) + 5);
}

/* The n-th server name that somebody made up. */
static struct span made_up(uint32_t n) {
    static char text[32];
    return span_of(text, (size_t)snprintf(text, sizeof(text), "n%u.example.org", n));
}

static void names_are_counted_by_service_and_row(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0),
                          hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    struct span a = span_str("a.example.org"), none = span_str("");
    scoreboard_name(&relay, 1, a, 1);
    scoreboard_name(&hand, 1, a, 1);
    scoreboard_name(&hand, 2, a, 1);
    scoreboard_name(&hand, 1, none, 1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 1, a), 2);
    assert_int_equal(scoreboard_name_established(&scoreboard, 1, a), 1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 2, a), 1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 1, none), 1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 1, span_str("b.example.org")), 0);
    scoreboard_row_reset(&hand);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 1, a), 1);
    scoreboard_name(&relay, 1, a, -1);
    scoreboard_name(&relay, 1, a, -1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 1, a), 0);
}

static void names_and_services_have_buckets(void **state) {
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0),
                          other = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    struct span a = span_str("a.example.org"), b = span_str("b.example.org");
    for (unsigned i = 0; i < 5; i++) {
        assert_true(scoreboard_name_handshake(i % 2 ? &hand : &other, 1, a, 5, NOW));
        assert_true(scoreboard_service_handshake(i % 2 ? &hand : &other, 2, 5, NOW));
    }
    assert_false(scoreboard_name_handshake(&hand, 1, a, 5, NOW));
    assert_false(scoreboard_name_handshake(&other, 1, a, 5, NOW + 199));
    assert_true(scoreboard_name_handshake(&other, 1, b, 5, NOW));
    assert_true(scoreboard_name_handshake(&other, 2, a, 5, NOW));
    assert_true(scoreboard_name_handshake(&other, 1, a, 5, NOW + 200));
    assert_false(scoreboard_service_handshake(&hand, 2, 5, NOW + 199));
    assert_true(scoreboard_service_handshake(&hand, 1, 5, NOW));
    assert_true(scoreboard_service_handshake(&hand, 2, 5, NOW + 200));
    assert_true(scoreboard_service_handshake(&hand, SERVICES, 1, NOW)); /* out of range: nobody's */
    scoreboard_row_reset(&hand);
    scoreboard_row_reset(&other);
    assert_true(scoreboard_service_handshake(&hand, 2, 5, NOW));
    assert_true(scoreboard_name_handshake(&other, 1, a, 5, NOW));
}

/*
 * Names are made up faster than a handshaker could serve them. A name that is counted stays so: live sessions, and a bucket
 * that is empty; and clients have a table of their own.
 */
static void made_up_names_push_nobody_out(void **state) {
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 0);
    struct span live = span_str("live.example.org"), busy = span_str("busy.example.org");
    for (unsigned i = 0; i < 7; i++)
        scoreboard_name(&hand, 0, live, 1);
    scoreboard_client(&hand, client(1), 1);
    unsigned through = 0;
    for (uint32_t i = 0; i < 2 * CAPACITY; i++) { /* twenty thousand a second, each with 10 a second of its own */
        uint64_t now = NOW + i / 20;
        assert_true(scoreboard_name_handshake(&hand, 0, made_up(i), 10, now));
        if (i % 20 == 0)
            through += scoreboard_name_handshake(&hand, 0, busy, 10, now);
    }
    assert_in_range(through, 10 + CAPACITY / 1000 - 2, 10 + 2 * CAPACITY / 2000 + 2); /* ten a second for 13 s */
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 0, live), 7);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(1)), 1);
}

/* Live sessions for as many names as a relay can hold: of the others nearly all have a count of their own. */
static void names_with_sessions_share_hardly_ever(void **state) {
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 0);
    for (uint32_t i = 0; i < CAPACITY / 8; i++)
        scoreboard_name(&relay, 0, made_up(i), 1);
    unsigned shared = 0;
    for (uint32_t i = 0; i < 10000; i++)
        shared += scoreboard_name_sessions(&scoreboard, 0, made_up(CAPACITY + i)) != 0;
    assert_true(shared < 10);
    struct span late = span_str("late.example.org");
    scoreboard_name(&relay, 0, late, 1);
    assert_int_equal(scoreboard_name_sessions(&scoreboard, 0, late), 1);
}

static void two_processes_see_the_same(void **state) {
    pid_t pid = fork();
    if (pid == 0) {
        struct scoreboard mine;
        if (scoreboard_map(scoreboard_fd, 0, &mine) < 0 || scoreboard_open_row(&mine, scoreboard_fd, ROLE_HANDSHAKER, 0) < 0)
            _exit(1);
        struct scoreboard_row row = scoreboard_row(&mine, ROLE_HANDSHAKER, 0);
        scoreboard_session(&row, 2, client(3), 1);
        scoreboard_unmap(&mine);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(scoreboard_service_sessions(&scoreboard, 2), 1);
    assert_int_equal(scoreboard_client_sessions(&scoreboard, client(3)), 1);
}

/* Limits are over both generations; each has rows and relays of its own, and what is left of one that has ended is forgotten.
 */
static void generations_share_limits_and_not_rows(void **state) {
    struct scoreboard next;
    assert_true(scoreboard_has_room_for_next(scoreboard_fd));
    assert_int_equal(scoreboard_map(scoreboard_fd, 1, &next), 0);
    assert_int_equal(scoreboard_open_row(&next, scoreboard_fd, ROLE_RELAY, 1), 0);
    assert_int_equal(scoreboard_open_row(&next, scoreboard_fd, ROLE_HANDSHAKER, 1), 0);
    struct scoreboard_row relay = scoreboard_row(&scoreboard, ROLE_RELAY, 1), its = scoreboard_row(&next, ROLE_RELAY, 1);
    struct scoreboard_row hand = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1),
                          its_hand = scoreboard_row(&next, ROLE_HANDSHAKER, 1);
    scoreboard_session(&relay, 2, client(3), 1);
    scoreboard_session(&relay, 2, client(3), 1);
    scoreboard_name(&relay, 2, span_str("a"), 1);
    scoreboard_session(&its, 2, client(3), 1);
    scoreboard_client(&its_hand, client(3), 1);
    assert_true(scoreboard_handshake(&hand, client(3), LOCAL(1), NOW));
    const struct scoreboard *both[] = {&scoreboard, &next};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        assert_int_equal(scoreboard_client_sessions(both[i], client(3)), 4);
        assert_int_equal(scoreboard_service_sessions(both[i], 2), 3);
        assert_int_equal(scoreboard_service_established(both[i], 2), 3);
        assert_int_equal(scoreboard_name_established(both[i], 2, span_str("a")), 1);
        assert_true(scoreboard_client_established_over(both[i], client(3), 2));
        assert_false(scoreboard_client_established_over(both[i], client(3), 3));
        assert_int_equal(scoreboard_relay_sessions(both[i], 1), 2 - i);
    }
    assert_false(scoreboard_handshake(&its_hand, client(3), LOCAL(1), NOW));

    scoreboard_forget(scoreboard_fd, 4); /* an even one, too */
    assert_int_equal(scoreboard_client_sessions(&next, client(3)), 2);
    assert_int_equal(scoreboard_service_sessions(&next, 2), 1);
    assert_int_equal(scoreboard_name_sessions(&next, 2, span_str("a")), 0);
    assert_int_equal(scoreboard_relay_sessions(&scoreboard, 1), 0);
    assert_int_equal(scoreboard_relay_sessions(&next, 1), 1);
    scoreboard_forget(-1, 1);
    scoreboard_unmap(&next);
}

/* What a build before had made for one generation is read as before; the next one gets another. */
static void a_scoreboard_of_one_generation_is_served(void **state) {
    struct scoreboard mine, whole;
    struct stat st;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    uint8_t head[4096];
    assert_int_equal(fstat(scoreboard_fd, &st), 0);
    assert_int_equal(pread(scoreboard_fd, head, sizeof(head), 0), sizeof(head));
    assert_int_equal(pwrite(fd, head, sizeof(head), 0), sizeof(head));
    assert_int_equal(ftruncate(fd, (st.st_size - 4096) / 2 + 4096), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_false(scoreboard_has_room_for_next(fd));
    for (uint32_t generation = 0; generation < 2; generation++) {
        assert_int_equal(scoreboard_map(fd, generation, &mine), 0);
        assert_int_equal(scoreboard_open_row(&mine, fd, ROLE_HANDSHAKER, WORKERS - 1), 0);
        struct scoreboard_row row = scoreboard_row(&mine, ROLE_HANDSHAKER, WORKERS - 1);
        scoreboard_client(&row, client(1), 1);
        assert_int_equal(scoreboard_map(fd, 0, &whole), 0);
        assert_int_equal(scoreboard_client_sessions(&whole, client(1)), generation + 1);
        scoreboard_unmap(&whole);
        scoreboard_unmap(&mine);
    }
    close(fd);
}

static void the_size_is_sealed(void **state) {
    assert_int_equal(ftruncate(scoreboard_fd, 0), -1);
    assert_int_equal(ftruncate(scoreboard_fd, 1 << 28), -1);
}

static void what_is_no_scoreboard_is_refused(void **state) {
    struct scoreboard b;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(scoreboard_map(fd, 0, &b), ERR_FORMAT); /* not sealed */
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(scoreboard_map(fd, 0, &b), ERR_FORMAT); /* no head */
    close(fd);
    assert_int_equal(scoreboard_map(-1, 0, &b), ERR_SYSTEM);
    fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(scoreboard_map(fd, 0, &b), ERR_FORMAT); /* empty */
    close(fd);
}

static void a_broken_head_is_refused(void **state) {
    struct scoreboard b;
    uint16_t many = 60000;
    assert_int_equal(pwrite(scoreboard_fd, &many, sizeof(many), 8), sizeof(many));
    assert_int_equal(scoreboard_map(scoreboard_fd, 0, &b), ERR_FORMAT);
    many = WORKERS + 1; /* in range, but of another size */
    assert_int_equal(pwrite(scoreboard_fd, &many, sizeof(many), 8), sizeof(many));
    assert_int_equal(scoreboard_map(scoreboard_fd, 0, &b), ERR_FORMAT);
}

static void take_row_past_the_end(void *ctx) {
    (void)scoreboard_row(&scoreboard, ROLE_RELAY, WORKERS);
}

static void take_row_of_another_role(void *ctx) {
    (void)scoreboard_row(&scoreboard, ROLE_OBSERVER, 0);
}

static void a_row_out_of_range_is_our_fault(void **state) {
    assert_true(aborts(take_row_past_the_end, NULL));
    assert_true(aborts(take_row_of_another_role, NULL));
}

#define WITH_SCOREBOARD(test) cmocka_unit_test_setup_teardown(test, open_scoreboard, close_scoreboard)

/* ---- least rights ---- */

/* Whether this process may write at P, tried in another one; also after asking for the right. */
static bool may_write(void *p, bool asks) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would go on with the test */
        uintptr_t page = (uintptr_t)p & ~(uintptr_t)4095;
        if (asks && mprotect((void *)page, 4096, PROT_READ | PROT_WRITE) < 0)
            _exit(1);
        *(volatile uint8_t *)p = 0;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void only_the_own_row_can_be_written(void **state) {
    for (unsigned own = 0; own < 2u * WORKERS; own++) {
        struct scoreboard mine;
        enum role role = own < WORKERS ? ROLE_RELAY : ROLE_HANDSHAKER;
        uint16_t index = (uint16_t)(own % WORKERS);
        assert_int_equal(scoreboard_map(scoreboard_fd, 0, &mine), 0);
        assert_false(may_write(mine.shared, true));
        assert_int_equal(scoreboard_open_row(&mine, scoreboard_fd, role, index), 0);
        assert_false(may_write(mine.shared, true));
        for (unsigned other = 0; other < 2u * WORKERS; other++) {
            struct scoreboard_row r =
                scoreboard_row(&mine, other < WORKERS ? ROLE_RELAY : ROLE_HANDSHAKER, (uint16_t)(other % WORKERS));
            assert_int_equal(may_write(r.shared, false), other == own);
            assert_int_equal(may_write(r.shared, true), other == own);
        }
        struct scoreboard_row r = scoreboard_row(&mine, role, index);
        scoreboard_row_reset(&r);
        scoreboard_unmap(&mine);
    }
}

/* What cannot be is not counted, no matter who has written it: no client is refused for it. */
static void nonsense_refuses_nobody(void **state) {
    static const uint32_t nonsense[] = {UINT32_MAX, 0x7fffffff, 1u << 24};
    const struct rlimit few = {1000, 4096};
    struct rlimit before;
    struct scoreboard mine;
    const struct addr *c = client(7);
    struct scoreboard_row row = scoreboard_row(&scoreboard, ROLE_RELAY, 0),
                          other = scoreboard_row(&scoreboard, ROLE_HANDSHAKER, 1);
    scoreboard_session(&other, 1, c, 1);
    scoreboard_session(&row, 1, c, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(scoreboard_map(scoreboard_fd, 0, &mine), 0);
    assert_int_equal(scoreboard_service_sessions(&mine, 1), 2);
    assert_int_equal(scoreboard_client_sessions(&mine, c), 2);
    scoreboard_service(&row, 1, 999);
    scoreboard_client(&row, c, 999);
    assert_int_equal(scoreboard_service_sessions(&mine, 1), 1001); /* as many as there can be */
    assert_int_equal(scoreboard_client_sessions(&mine, c), 1001);
    for (size_t i = 0; i < ARRAY_LEN(nonsense); i++) {
        scoreboard_service(&row, 1, (int)(nonsense[i] / 2));
        scoreboard_client(&row, c, (int)(nonsense[i] / 2));
        assert_int_equal(scoreboard_service_sessions(&mine, 1), 1);
        assert_int_equal(scoreboard_service_established(&mine, 1), 0);
        assert_int_equal(scoreboard_client_sessions(&mine, c), 1);
        assert_false(scoreboard_client_over(&mine, c, LOCAL(1), NOW));
        assert_false(scoreboard_client_established_over(&mine, c, 1));
    }
    scoreboard_unmap(&mine);
    (void)setrlimit(RLIMIT_NOFILE, &before); /* the next test's scoreboard has its own */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_SCOREBOARD(only_the_own_row_can_be_written),
        WITH_SCOREBOARD(nonsense_refuses_nobody),
        WITH_SCOREBOARD(starts_at_nothing),
        WITH_SCOREBOARD(sessions_are_summed_over_rows),
        WITH_SCOREBOARD(a_service_out_of_range_is_nobody),
        WITH_SCOREBOARD(counts_never_go_below_nothing),
        WITH_SCOREBOARD(reset_takes_only_its_own_row),
        WITH_SCOREBOARD(a_bucket_is_shared_by_all_handshakers),
        WITH_SCOREBOARD(limits_of_any_size),
        WITH_SCOREBOARD(names_are_counted_by_service_and_row),
        WITH_SCOREBOARD(names_and_services_have_buckets),
        WITH_SCOREBOARD(made_up_names_push_nobody_out),
        WITH_SCOREBOARD(names_with_sessions_share_hardly_ever),
        WITH_SCOREBOARD(what_comes_at_once_comes_in),
        WITH_SCOREBOARD(live_clients_are_never_evicted),
        WITH_SCOREBOARD(a_full_table_shares_what_is_left),
        WITH_SCOREBOARD(the_shared_place_empties),
        WITH_SCOREBOARD(a_rate_is_no_ban),
        WITH_SCOREBOARD(networks_of_ipv6_have_shares),
        WITH_SCOREBOARD(the_unknown_are_nobody),
        WITH_SCOREBOARD(who_has_paid_goes_first),
        WITH_SCOREBOARD(only_what_is_used_takes_memory),
        WITH_SCOREBOARD(two_processes_see_the_same),
        WITH_SCOREBOARD(generations_share_limits_and_not_rows),
        WITH_SCOREBOARD(a_scoreboard_of_one_generation_is_served),
        WITH_SCOREBOARD(the_size_is_sealed),
        cmocka_unit_test(what_is_no_scoreboard_is_refused),
        WITH_SCOREBOARD(a_broken_head_is_refused),
        WITH_SCOREBOARD(a_row_out_of_range_is_our_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
