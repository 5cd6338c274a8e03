/*
 * Links to other roles in a relay whose loop cannot watch any more: every descriptor has one owner, whatever fails. close() is
 * replaced to see that none is closed twice: a later client's socket would have that number.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "relay_bench.h"
#include "wire/control.h"

static bool bench_watch_fails;
static unsigned wrong_closes;

int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __real_close(int fd);
int __wrap_close(int fd);

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    if (op == EPOLL_CTL_ADD && bench_watch_fails) {
        errno = ENOSPC; /* fs.epoll.max_user_watches */
        return -1;
    }
    return __real_epoll_ctl(epfd, op, fd, event);
}

int __wrap_close(int fd) {
    int result = __real_close(fd);
    if (result < 0 && errno == EBADF)
        wrong_closes++;
    return result;
}

static int supervisor; /* our end of the relay's control socket */

static struct role_table relay_here; /* of the relay of this test */

static int set_up(void **state) {
    int pair[2];
    (void)state;
    bench_begin(1 << 20);
    MUST(ipc_pair(0, pair) == 0);
    supervisor = pair[0];
    relay.child.control = pair[1];
    relay.child.ready = true;
    relay_here = relay_role;
    relay_here.self = &relay;
    relay_here.child = &relay.child;
    relay_here.loop = &relay.loop;
    relay_here.conf = &relay.conf;
    return 0;
}

static void receive(void) {
    assert_true(role_receive(&relay_here));
    assert_false(role_receive(&relay_here));
    bench_turn();
}

/* The relay gets one end of a link; ours is returned. */
static int give_link(enum role role) {
    int pair[2];
    const struct control_peer peer = {role, 0, 0};
    MUST(ipc_pair(0, pair) == 0);
    MUST(control_send_peer(supervisor, CONTROL_LINK, &peer, pair[1]) == 0);
    close(pair[1]);
    receive();
    return pair[0];
}

/* The relay's end is closed. */
static bool is_let_go(int ours) {
    char c;
    return recv(ours, &c, 1, MSG_DONTWAIT) == 0;
}

static void takes_and_loses(enum role role, bool is_kept) {
    int first = give_link(role);
    assert_false(is_let_go(first));
    bench_watch_fails = true;
    int second = give_link(role);
    assert_true(is_let_go(first));
    assert_int_equal(is_let_go(second), !is_kept);
    bench_watch_fails = false;
    int third = give_link(role);
    assert_true(is_let_go(second));
    assert_false(is_let_go(third));
    assert_int_equal(wrong_closes, 0);
    close(first);
    close(second);
    close(third);
}

static void resolver_link_that_cannot_be_watched_is_closed_once(void **state) {
    (void)state;
    takes_and_loses(ROLE_RESOLVER, false);
}

static void observer_link_that_cannot_be_watched_is_closed_once(void **state) {
    (void)state;
    takes_and_loses(ROLE_OBSERVER, false);
}

/* The supervisor gives no second one: it is watched again later. */
static void handshaker_link_that_cannot_be_watched_is_kept_and_tried_again(void **state) {
    (void)state;
    takes_and_loses(ROLE_HANDSHAKER, true);
    assert_true(relay.arrivals.paused);
    bench_ms += 1000;
    bench_turn();
    assert_false(relay.arrivals.paused);
}

static void link_for_a_place_that_is_none_is_closed_once(void **state) {
    (void)state;
    int pair[2];
    const struct control_peer peer = {ROLE_HANDSHAKER, 7, 0};
    assert_int_equal(ipc_pair(0, pair), 0);
    assert_int_equal(control_send_peer(supervisor, CONTROL_LINK, &peer, pair[1]), 0);
    close(pair[1]);
    receive();
    assert_true(is_let_go(pair[0]));
    assert_int_equal(wrong_closes, 0);
    close(pair[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolver_link_that_cannot_be_watched_is_closed_once),
        cmocka_unit_test(observer_link_that_cannot_be_watched_is_closed_once),
        cmocka_unit_test(handshaker_link_that_cannot_be_watched_is_kept_and_tried_again),
        cmocka_unit_test(link_for_a_place_that_is_none_is_closed_once),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
