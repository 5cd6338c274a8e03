#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "death.h"
#include "wire/board.h"

#define WORKERS  2
#define SERVICES 3
#define CAPACITY 32768u /* clients a row */
#define NOW      UINT64_C(5000500)

static struct board board;
static int board_fd;

static int open_board(void **state) {
    if (board_create(WORKERS, SERVICES, &board_fd) < 0)
        return -1;
    return board_map(board_fd, &board);
}

static int close_board(void **state) {
    board_unmap(&board);
    close(board_fd);
    return 0;
}

/* The n-th client. */
static const uint8_t *client(uint32_t n) {
    static uint8_t key[4][16];
    static unsigned turn;
    uint8_t *k = key[turn++ % 4];
    memset(k, 0, 16);
    memcpy(k, &n, sizeof(n));
    return k;
}

static size_t pages_of_board(void) {
    struct stat st;
    assert_int_equal(fstat(board_fd, &st), 0);
    return (size_t)st.st_blocks / 8;
}

static void starts_at_nothing(void **state) {
    for (uint16_t i = 0; i < SERVICES + 1; i++)
        assert_int_equal(board_service_sessions(&board, i), 0);
    assert_int_equal(board_client_sessions(&board, client(1)), 0);
    assert_int_equal(board_client_handshakes(&board, client(1), NOW), 0);
    assert_int_equal(board_relay_sessions(&board, 0), 0);
    assert_int_equal(board_relay_sessions(&board, WORKERS), 0);
}

static void sessions_are_summed_over_rows(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0), other = board_row(&board, ROLE_RELAY, 1);
    struct board_row hand = board_row(&board, ROLE_HANDSHAKER, 1);
    board_session(&relay, 1, client(7), 1);
    board_session(&relay, 1, client(7), 1);
    board_session(&other, 2, client(7), 1);
    board_session(&other, 1, client(8), 1);
    board_client(&hand, client(7), 1);
    board_service(&hand, 1, 1);
    assert_int_equal(board_service_sessions(&board, 0), 0);
    assert_int_equal(board_service_sessions(&board, 1), 4);
    assert_int_equal(board_service_sessions(&board, 2), 1);
    assert_int_equal(board_client_sessions(&board, client(7)), 4);
    assert_int_equal(board_client_sessions(&board, client(8)), 1);
    assert_int_equal(board_relay_sessions(&board, 0), 2);
    assert_int_equal(board_relay_sessions(&board, 1), 2);
    board_session(&relay, 1, client(7), -1);
    assert_int_equal(board_service_sessions(&board, 1), 3);
    assert_int_equal(board_client_sessions(&board, client(7)), 3);
    assert_int_equal(board_relay_sessions(&board, 0), 1);
}

static void a_service_out_of_range_is_nobody(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0);
    board_service(&relay, SERVICES, 1);
    board_service(&relay, UINT16_MAX, 1);
    assert_int_equal(board_service_sessions(&board, SERVICES), 0);
    assert_int_equal(board_service_sessions(&board, UINT16_MAX), 0);
}

static void counts_never_go_below_nothing(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0);
    board_session(&relay, 0, client(1), -1);
    board_session(&relay, 0, client(1), 1);
    board_session(&relay, 0, client(1), -2);
    assert_int_equal(board_service_sessions(&board, 0), 0);
    assert_int_equal(board_client_sessions(&board, client(1)), 0);
    assert_int_equal(board_relay_sessions(&board, 0), 0);
}

static void reset_takes_only_its_own_row(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0), other = board_row(&board, ROLE_RELAY, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        board_session(&relay, 1, client(i), 1);
        board_session(&other, 1, client(i), 1);
    }
    board_row_reset(&relay);
    assert_int_equal(board_service_sessions(&board, 1), 1000);
    assert_int_equal(board_relay_sessions(&board, 0), 0);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(board_client_sessions(&board, client(i)), 1);
}

static void handshakes_of_the_last_second(void **state) {
    struct board_row a = board_row(&board, ROLE_HANDSHAKER, 0), b = board_row(&board, ROLE_HANDSHAKER, 1);
    for (unsigned i = 0; i < 10; i++) {
        board_handshake(&a, client(1), 10000);
        board_handshake(&b, client(1), 10999);
    }
    board_handshake(&a, client(2), 10000);
    assert_int_equal(board_client_handshakes(&board, client(1), 10999), 20);
    assert_int_equal(board_client_handshakes(&board, client(1), 11000), 20);
    assert_int_equal(board_client_handshakes(&board, client(1), 11500), 10);
    assert_int_equal(board_client_handshakes(&board, client(1), 11999), 0);
    assert_int_equal(board_client_handshakes(&board, client(1), 12000), 0);
    assert_int_equal(board_client_handshakes(&board, client(2), 10001), 1);
    assert_int_equal(board_client_sessions(&board, client(1)), 0);
}

static void both_seconds_count(void **state) {
    struct board_row a = board_row(&board, ROLE_HANDSHAKER, 0);
    for (unsigned i = 0; i < 8; i++)
        board_handshake(&a, client(1), 10900);
    for (unsigned i = 0; i < 3; i++)
        board_handshake(&a, client(1), 11100);
    assert_int_equal(board_client_handshakes(&board, client(1), 11250), 3 + 6);
    assert_int_equal(board_client_handshakes(&board, client(1), 12500), 1);
    board_handshake(&a, client(1), 13100); /* a second went by without any */
    assert_int_equal(board_client_handshakes(&board, client(1), 13100), 1);
}

static void a_relay_row_has_no_handshakes(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0);
    board_handshake(&relay, client(1), NOW);
    assert_int_equal(board_client_handshakes(&board, client(1), NOW), 0);
}

static void live_clients_are_never_evicted(void **state) {
    struct board_row relay = board_row(&board, ROLE_HANDSHAKER, 0);
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        board_client(&relay, client(i), 1);
    for (uint32_t i = 0; i < 20 * CAPACITY; i++)
        board_handshake(&relay, client(1000000 + i), NOW + i);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        kept += board_client_sessions(&board, client(i)) == 1;
    assert_true(kept > CAPACITY / 4 - 100); /* all but those whose set of 8 was full at once */
}

static void a_full_table_stops_tracking_and_stays_bounded(void **state) {
    struct board_row relay = board_row(&board, ROLE_RELAY, 0);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        board_session(&relay, 0, client(i), 1);
    uint32_t tracked = 0;
    for (uint32_t i = 0; i < 2 * CAPACITY; i++) {
        uint64_t n = board_client_sessions(&board, client(i));
        assert_true(n <= 1);
        tracked += (uint32_t)n;
    }
    assert_true(tracked > CAPACITY * 9 / 10 && tracked <= CAPACITY);
    assert_int_equal(board_service_sessions(&board, 0), 2 * CAPACITY);

    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        board_session(&relay, 0, client(i), -1);
    for (uint32_t i = 0; i < 2 * CAPACITY; i++)
        assert_int_equal(board_client_sessions(&board, client(i)), 0);
    assert_int_equal(board_service_sessions(&board, 0), 0);
    board_session(&relay, 0, client(5 * CAPACITY), 1); /* there is room again */
    assert_int_equal(board_client_sessions(&board, client(5 * CAPACITY)), 1);
}

static void the_oldest_window_goes_first(void **state) {
    struct board_row hand = board_row(&board, ROLE_HANDSHAKER, 0);
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        board_handshake(&hand, client(i), 1000000 + 1000);
    for (uint32_t i = 0; i < 8 * CAPACITY; i++)
        board_handshake(&hand, client(1000000 + i), 1000000); /* older than all of the above */
    uint32_t kept = 0;
    for (uint32_t i = 0; i < CAPACITY / 4; i++)
        kept += board_client_handshakes(&board, client(i), 1000000 + 1000) == 1;
    assert_true(kept > CAPACITY / 4 - 100);
}

static void only_what_is_used_takes_memory(void **state) {
    assert_int_equal(pages_of_board(), 1);
    struct board_row relay = board_row(&board, ROLE_RELAY, 1);
    assert_int_equal(board_client_sessions(&board, client(1)), 0);
    assert_int_equal(board_service_sessions(&board, 0), 0);
    board_session(&relay, 0, client(1), 1);
    for (uint32_t i = 0; i < 10000; i++)
        (void)board_client_sessions(&board, client(i));
    /* a head page a row and the pages of one group of sets */
    assert_true(pages_of_board() <= 1 + 2 * WORKERS + 5);
}

static void two_processes_see_the_same(void **state) {
    pid_t pid = fork();
    if (pid == 0) {
        struct board mine;
        if (board_map(board_fd, &mine) < 0)
            _exit(1);
        struct board_row row = board_row(&mine, ROLE_HANDSHAKER, 0);
        board_session(&row, 2, client(3), 1);
        board_unmap(&mine);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(board_service_sessions(&board, 2), 1);
    assert_int_equal(board_client_sessions(&board, client(3)), 1);
}

static void the_size_is_sealed(void **state) {
    assert_int_equal(ftruncate(board_fd, 0), -1);
    assert_int_equal(ftruncate(board_fd, 1 << 28), -1);
}

static void what_is_no_board_is_refused(void **state) {
    struct board b;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(board_map(fd, &b), ERR_FORMAT); /* not sealed */
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(board_map(fd, &b), ERR_FORMAT); /* no head */
    close(fd);
    assert_int_equal(board_map(-1, &b), ERR_SYSTEM);
    fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(board_map(fd, &b), ERR_FORMAT); /* empty */
    close(fd);
}

static void a_broken_head_is_refused(void **state) {
    struct board b;
    uint16_t many = 60000;
    assert_int_equal(pwrite(board_fd, &many, sizeof(many), 8), sizeof(many));
    assert_int_equal(board_map(board_fd, &b), ERR_FORMAT);
    many = WORKERS + 1; /* in range, but of another size */
    assert_int_equal(pwrite(board_fd, &many, sizeof(many), 8), sizeof(many));
    assert_int_equal(board_map(board_fd, &b), ERR_FORMAT);
}

static void take_row_past_the_end(void *ctx) {
    (void)board_row(&board, ROLE_RELAY, WORKERS);
}

static void take_row_of_another_role(void *ctx) {
    (void)board_row(&board, ROLE_OBSERVER, 0);
}

static void a_row_out_of_range_is_our_fault(void **state) {
    assert_true(aborts(take_row_past_the_end, NULL));
    assert_true(aborts(take_row_of_another_role, NULL));
}

#define WITH_BOARD(test) cmocka_unit_test_setup_teardown(test, open_board, close_board)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_BOARD(starts_at_nothing),
        WITH_BOARD(sessions_are_summed_over_rows),
        WITH_BOARD(a_service_out_of_range_is_nobody),
        WITH_BOARD(counts_never_go_below_nothing),
        WITH_BOARD(reset_takes_only_its_own_row),
        WITH_BOARD(handshakes_of_the_last_second),
        WITH_BOARD(both_seconds_count),
        WITH_BOARD(a_relay_row_has_no_handshakes),
        WITH_BOARD(live_clients_are_never_evicted),
        WITH_BOARD(a_full_table_stops_tracking_and_stays_bounded),
        WITH_BOARD(the_oldest_window_goes_first),
        WITH_BOARD(only_what_is_used_takes_memory),
        WITH_BOARD(two_processes_see_the_same),
        WITH_BOARD(the_size_is_sealed),
        cmocka_unit_test(what_is_no_board_is_refused),
        WITH_BOARD(a_broken_head_is_refused),
        WITH_BOARD(a_row_out_of_range_is_our_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
