/*
 * Links between roles over real socket pairs and a real loop. close() is replaced to see that no descriptor is closed twice: a
 * later one would have that number. epoll_ctl() and recvmsg() fail on demand.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/channel.h"
#include "base/err.h"

enum { PLAIN = 1, WITH_FD, LARGE };

#define CHANNELS 2
#define KIND     3

static const struct ipc_rule rules[] = {{PLAIN, 0, 0, 4}, {WITH_FD, 1, 0, 0}, {LARGE, 0, 0, IPC_BODY_MAX}, {0, 0, 0, 0}};

static struct loop loop;
static struct channel list[CHANNELS];
static int peers[CHANNELS]; /* the other ends */
static unsigned wrong_closes, open_before;
static bool watch_fails, receive_fails;

/* What the owner has seen and what it does. */
static unsigned messages, closed, broken;
static uint16_t last_type;
static size_t last_len;
static const struct channel *last_from;
static bool makes_sense, takes_fds, closes_itself, replaces_other;
static int taken;

int __real_close(int fd);
int __wrap_close(int fd);
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);

int __wrap_close(int fd) {
    int result = __real_close(fd);
    if (result < 0 && errno == EBADF)
        wrong_closes++;
    return result;
}

int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event) {
    if (op == EPOLL_CTL_ADD && watch_fails) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(epfd, op, fd, event);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags) {
    if (receive_fails) {
        errno = ENOMEM;
        return -1;
    }
    return __real_recvmsg(fd, m, flags);
}

static unsigned open_fds(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static bool one_turn(void *ctx) {
    (void)ctx;
    loop.stop = true;
    return true;
}

static void turn(void) {
    loop.stop = false;
    assert_int_equal(loop_run(&loop), 0);
}

/* The link of channel I begins, in the place of one before. */
static void open_link(unsigned i) {
    int pair[2];
    if (peers[i] >= 0)
        close(peers[i]);
    assert_int_equal(ipc_pair(0, pair), 0);
    peers[i] = pair[0];
    assert_int_equal(channel_open(&list[i], pair[1]), 0);
}

static bool on_message(void *ctx, struct channel *c, struct ipc_msg *m) {
    assert_ptr_equal(ctx, &loop);
    messages++;
    last_from = c;
    last_type = m->type;
    last_len = m->body.len;
    if (takes_fds)
        taken = ipc_take(m, 0);
    if (closes_itself)
        channel_close(c);
    if (replaces_other)
        open_link(c == list ? 1 : 0);
    return makes_sense;
}

static void on_closed(void *ctx, bool was_broken) {
    assert_ptr_equal(ctx, &loop);
    closed++;
    broken += was_broken;
}

static const struct channel_ops ops = {.rules = rules, .message = on_message, .closed = on_closed};

static int set_up(void **state) {
    (void)state;
    messages = closed = broken = wrong_closes = 0;
    watch_fails = receive_fails = takes_fds = closes_itself = replaces_other = false;
    makes_sense = true;
    taken = -1;
    open_before = open_fds();
    if (loop_init(&loop) < 0)
        return -1;
    loop.hook = one_turn;
    channel_init(list, CHANNELS, &loop, KIND, &ops, &loop);
    for (unsigned i = 0; i < CHANNELS; i++)
        peers[i] = -1;
    return 0;
}

/* Whatever happened: every descriptor has been closed once. */
static int tear_down(void **state) {
    (void)state;
    for (unsigned i = 0; i < CHANNELS; i++) {
        channel_close(&list[i]);
        if (peers[i] >= 0)
            close(peers[i]);
    }
    if (taken >= 0)
        close(taken);
    loop_fini(&loop);
    return wrong_closes == 0 && open_fds() == open_before ? 0 : -1;
}

static void say(unsigned i, uint16_t type, size_t len) {
    static const uint8_t body[IPC_BODY_MAX];
    assert_int_equal(ipc_send(peers[i], type, span_of(body, len), NULL, 0), 0);
}

static void say_fds(unsigned i, uint16_t type, unsigned n) {
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_int_equal(ipc_send(peers[i], type, span_of(NULL, 0), pipe_fds, n), 0);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void assert_lost(unsigned i, bool was_broken) {
    assert_int_equal(list[i].fd, -1);
    assert_int_equal(closed, 1);
    assert_int_equal(broken, was_broken);
}

static void messages_come_one_an_event(void **state) {
    (void)state;
    open_link(0);
    say(0, PLAIN, 4);
    say(0, LARGE, IPC_BODY_MAX);
    turn();
    assert_int_equal(messages, 1);
    assert_int_equal(last_type, PLAIN);
    assert_int_equal(last_len, 4);
    turn();
    assert_int_equal(messages, 2);
    assert_int_equal(last_type, LARGE);
    assert_int_equal(last_len, IPC_BODY_MAX);
    assert_int_equal(closed, 0);
}

static void each_channel_of_a_list_hears_its_own_peer(void **state) {
    (void)state;
    open_link(0);
    open_link(1);
    for (unsigned i = CHANNELS; i-- > 0;) {
        say(i, PLAIN, i);
        turn();
        assert_int_equal(messages, CHANNELS - i);
        assert_ptr_equal(last_from, &list[i]);
        assert_int_equal(last_len, i);
    }
}

static void what_a_peer_said_before_it_went_is_heard(void **state) {
    (void)state;
    open_link(0);
    say(0, PLAIN, 1);
    close(peers[0]);
    peers[0] = -1;
    turn();
    assert_int_equal(messages, 1);
    assert_int_equal(closed, 0);
    turn();
    assert_lost(0, false);
}

static void a_rule_breaker_loses_the_link(void **state) {
    static const struct {
        uint16_t type;
        size_t len;
    } wrong[] = {{PLAIN, 5}, {9, 0}, {WITH_FD, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        closed = broken = 0;
        open_link(0);
        say(0, wrong[i].type, wrong[i].len);
        say(0, PLAIN, 1); /* is not heard any more */
        turn();
        turn();
        assert_lost(0, true);
        assert_int_equal(messages, 0);
        assert_int_equal(ipc_send(peers[0], PLAIN, span_of(NULL, 0), NULL, 0), ERR_CLOSED);
    }
}

/* Longer than any message can be: the kernel cuts it. */
static void a_message_that_is_too_long_is_not_taken_for_a_shorter_one(void **state) {
    static const uint8_t packet[2 + IPC_BODY_MAX + 1] = {0, LARGE};
    (void)state;
    open_link(0);
    assert_int_equal(send(peers[0], packet, sizeof(packet), MSG_NOSIGNAL), sizeof(packet));
    turn();
    assert_int_equal(messages, 0);
    assert_lost(0, true);
}

static void a_message_without_sense_ends_the_link(void **state) {
    (void)state;
    makes_sense = false;
    open_link(0);
    say(0, PLAIN, 1);
    turn();
    assert_int_equal(messages, 1);
    assert_lost(0, true);
}

static void descriptors_that_are_not_taken_are_closed(void **state) {
    (void)state;
    open_link(0);
    unsigned before = open_fds();
    for (unsigned i = 0; i < 2; i++) { /* of a message that makes sense, and of one that does not */
        makes_sense = i == 0;
        say_fds(0, WITH_FD, 1);
        turn();
        assert_int_equal(messages, i + 1);
        assert_int_equal(open_fds(), before - i);
    }
    assert_lost(0, true);
}

static void a_descriptor_that_is_taken_is_its_owners(void **state) {
    (void)state;
    takes_fds = true;
    open_link(0);
    say_fds(0, WITH_FD, 1);
    turn();
    assert_int_equal(messages, 1);
    assert_true(taken >= 0 && fcntl(taken, F_GETFD) == FD_CLOEXEC);
    assert_int_equal(closed, 0);
}

static void descriptors_that_no_rule_allows_are_closed(void **state) {
    (void)state;
    open_link(0);
    unsigned before = open_fds();
    say_fds(0, WITH_FD, 2);
    turn();
    assert_int_equal(messages, 0);
    assert_lost(0, true);
    assert_int_equal(open_fds(), before - 1);
}

static void a_link_that_cannot_be_read_ends(void **state) {
    (void)state;
    open_link(0);
    say(0, PLAIN, 1);
    receive_fails = true;
    turn();
    assert_lost(0, false);
}

static void an_owner_may_close_its_link_in_a_message(void **state) {
    (void)state;
    closes_itself = true;
    for (unsigned i = 0; i < 2; i++) {
        closed = broken = 0;
        makes_sense = i == 0;
        open_link(0);
        say(0, PLAIN, 1);
        say(0, PLAIN, 1);
        turn();
        turn();
        assert_int_equal(messages, i + 1);
        assert_lost(0, false);
    }
}

static void a_link_is_replaced(void **state) {
    (void)state;
    open_link(0);
    say(0, PLAIN, 1); /* is lost with the link */
    open_link(0);
    assert_int_equal(closed, 1);
    assert_int_equal(broken, 0);
    turn();
    assert_int_equal(messages, 0);
    say(0, PLAIN, 2);
    turn();
    assert_int_equal(messages, 1);
    assert_int_equal(last_len, 2);
}

/* Both have an event in the same turn; the one that comes first replaces the other, which then hears nothing of the old link.
 */
static void an_event_of_the_link_before_is_dropped(void **state) {
    (void)state;
    replaces_other = true;
    open_link(0);
    open_link(1);
    say(0, PLAIN, 1);
    say(1, PLAIN, 1);
    turn();
    assert_int_equal(messages, 1);
    assert_int_equal(closed, 1);
    assert_true(list[0].fd >= 0 && list[1].fd >= 0);
}

static void a_link_that_cannot_be_watched_is_closed(void **state) {
    int pair[2];
    (void)state;
    open_link(0);
    assert_int_equal(ipc_pair(0, pair), 0);
    watch_fails = true;
    errno = 0;
    assert_int_equal(channel_open(&list[0], pair[1]), ERR_SYSTEM);
    assert_int_equal(errno, ENOSPC);
    assert_lost(0, false); /* the one before is gone, too: its peer has been replaced */
    assert_int_equal(fcntl(pair[1], F_GETFD), -1);
    close(pair[0]);
}

/* Nothing is lost but what did not fit, and the link goes on when the peer has read. */
static void a_full_queue_is_the_senders_matter(void **state) {
    static uint8_t body[1024], scratch[IPC_BODY_MAX + 2];
    static const struct ipc_rule to_peer[] = {{LARGE, 0, 0, sizeof(body)}, {0, 0, 0, 0}};
    struct ipc_msg m;
    unsigned sent = 0, received = 0;
    int err;
    (void)state;
    open_link(0);
    while ((err = ipc_send(list[0].fd, LARGE, span_of(body, sizeof(body)), NULL, 0)) == 0)
        sent++;
    assert_int_equal(err, ERR_AGAIN);
    say(0, PLAIN, 1);
    turn();
    assert_int_equal(messages, 1);
    while (ipc_recv(peers[0], scratch, sizeof(scratch), to_peer, &m, &err) == STEP_DONE)
        received++;
    assert_true(sent > 0 && received == sent);
    assert_int_equal(ipc_send(list[0].fd, LARGE, span_of(body, sizeof(body)), NULL, 0), 0);
    assert_int_equal(closed, 0);
}

static void closing_twice_is_closing_once(void **state) {
    (void)state;
    channel_close(&list[0]); /* never opened */
    assert_int_equal(closed, 0);
    open_link(0);
    channel_close(&list[0]);
    channel_close(&list[0]);
    assert_lost(0, false);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(messages_come_one_an_event),
        CASE(each_channel_of_a_list_hears_its_own_peer),
        CASE(what_a_peer_said_before_it_went_is_heard),
        CASE(a_rule_breaker_loses_the_link),
        CASE(a_message_that_is_too_long_is_not_taken_for_a_shorter_one),
        CASE(a_message_without_sense_ends_the_link),
        CASE(descriptors_that_are_not_taken_are_closed),
        CASE(a_descriptor_that_is_taken_is_its_owners),
        CASE(descriptors_that_no_rule_allows_are_closed),
        CASE(a_link_that_cannot_be_read_ends),
        CASE(an_owner_may_close_its_link_in_a_message),
        CASE(a_link_is_replaced),
        CASE(an_event_of_the_link_before_is_dropped),
        CASE(a_link_that_cannot_be_watched_is_closed),
        CASE(a_full_queue_is_the_senders_matter),
        CASE(closing_twice_is_closing_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
