/* Messages over real socket pairs; sendmsg() and recvmsg() are replaced to fail on demand. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/ipc.h"
#include "death.h"

static int fail_with;       /* errno */
static unsigned fail_calls; /* so many calls fail first */
static unsigned calls;

static bool fails(void) {
    calls++;
    if (fail_calls == 0)
        return false;
    fail_calls--;
    errno = fail_with;
    return true;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *m, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);

ssize_t __wrap_sendmsg(int fd, const struct msghdr *m, int flags) {
    return fails() ? -1 : __real_sendmsg(fd, m, flags);
}
ssize_t __wrap_recvmsg(int fd, struct msghdr *m, int flags) {
    return fails() ? -1 : __real_recvmsg(fd, m, flags);
}
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    return fails() ? -1 : __real_setsockopt(fd, level, name, value, len);
}

enum { PLAIN = 1, ONE_FD = 2, FOUR_FDS = 3, SIZED = 0x1234 };

static const struct ipc_rule rules[] = {
    {PLAIN, 0, 0, IPC_BODY_MAX}, {ONE_FD, 1, 0, 100}, {FOUR_FDS, 4, 0, 0}, {SIZED, 0, 3, 5}, {0, 0, 0, 0},
};

static uint8_t scratch[IPC_BODY_MAX + 2];
static uint8_t large[IPC_BODY_MAX + 100];
static int ends[2];
static unsigned open_before;

static unsigned open_fds(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (d && readdir(d))
        n++;
    closedir(d);
    return n;
}

static int setup(void **state) {
    fail_calls = calls = 0;
    open_before = open_fds();
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (uint8_t)(i * 13 >> 3);
    return ipc_pair(0, ends);
}

static void close_end(int i) {
    if (ends[i] >= 0)
        close(ends[i]);
    ends[i] = -1;
}

/* Whatever happened, no descriptor is left. */
static int teardown(void **state) {
    close_end(0);
    close_end(1);
    return open_fds() == open_before ? 0 : -1;
}

static enum step receive(struct ipc_msg *m, int *err) {
    *err = 0;
    return ipc_recv(ends[1], scratch, sizeof(scratch), rules, m, err);
}

static void assert_refused(int wanted) {
    struct ipc_msg m;
    int err;
    assert_int_equal(receive(&m, &err), STEP_FAILED);
    assert_int_equal(err, wanted);
}

static void send_plain(const char *text) {
    assert_int_equal(ipc_send(ends[0], PLAIN, span_str(text), NULL, 0), 0);
}

static void assert_receives(const char *text) {
    struct ipc_msg m;
    int err;
    assert_int_equal(receive(&m, &err), STEP_DONE);
    assert_int_equal(m.type, PLAIN);
    assert_int_equal(m.nfds, 0);
    assert_true(span_eq(m.body, span_str(text)));
}

/* A packet as no well-behaved peer sends it. */
static void send_raw(const void *p, size_t n, unsigned nfds) {
    int fds[20];
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(fds))];
    } control = {.bytes = {0}};
    union {
        const void *in;
        void *out;
    } bytes = {p};
    struct iovec iov = {bytes.out, n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    for (unsigned i = 0; i < nfds; i++)
        fds[i] = ends[0];
    if (nfds) {
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * nfds)};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    assert_int_equal(__real_sendmsg(ends[0], &m, MSG_NOSIGNAL), n);
}

static void a_pair_is_private_and_does_not_block(void **state) {
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(ends[i], F_GETFD) & FD_CLOEXEC);
        assert_true(fcntl(ends[i], F_GETFL) & O_NONBLOCK);
    }
}

static void a_pair_may_have_larger_buffers(void **state) {
    int fds[2], size;
    socklen_t len = sizeof(size);
    assert_int_equal(ipc_pair(150000, fds), 0);
    assert_int_equal(getsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &size, &len), 0);
    assert_true(size >= 150000);
    close(fds[0]);
    close(fds[1]);
    fail_with = ENOMEM;
    fail_calls = 1;
    assert_int_equal(ipc_pair(150000, fds), ERR_SYSTEM);
    assert_int_equal(errno, ENOMEM);
}

static void a_pair_needs_descriptors(void **state) {
    struct rlimit old, now;
    int fds[2] = {-7, -7};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    now = (struct rlimit){0, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    int err = ipc_pair(0, fds);
    int saved = errno;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(err, ERR_SYSTEM);
    assert_int_equal(saved, EMFILE);
    assert_int_equal(fds[0], -7);
}

static void messages_keep_their_borders_and_order(void **state) {
    struct ipc_msg m;
    int err;
    send_plain("one");
    send_plain("");
    send_plain("three");
    assert_receives("one");
    assert_receives("");
    assert_receives("three");
    assert_int_equal(receive(&m, &err), STEP_WANT_READ);
}

static void the_largest_message_arrives_whole(void **state) {
    struct ipc_msg m;
    int err;
    assert_int_equal(ipc_send(ends[0], PLAIN, span_of(large, IPC_BODY_MAX), NULL, 0), 0);
    assert_int_equal(receive(&m, &err), STEP_DONE);
    assert_true(span_eq(m.body, span_of(large, IPC_BODY_MAX)));
    assert_int_equal(ipc_send(ends[0], PLAIN, span_of(large, IPC_BODY_MAX + 1), NULL, 0), ERR_LIMIT);
    assert_int_equal(receive(&m, &err), STEP_WANT_READ);
}

static void a_message_larger_than_the_socket_takes_is_a_limit(void **state) {
    int small[2];
    assert_int_equal(ipc_pair(5000, small), 0);
    assert_int_equal(ipc_send(small[0], PLAIN, span_of(large, IPC_BODY_MAX), NULL, 0), ERR_LIMIT);
    close(small[0]);
    close(small[1]);
}

static void descriptors_travel_as_copies(void **state) {
    struct ipc_msg m;
    struct stat a, b;
    int err, fds[4];
    for (unsigned i = 0; i < 4; i++) {
        fds[i] = open("/proc/self", O_RDONLY | O_DIRECTORY);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(ipc_send(ends[0], FOUR_FDS, span_of(NULL, 0), fds, 4), 0);
    assert_int_equal(ipc_send(ends[0], ONE_FD, span_str("x"), fds, 1), 0);
    assert_int_equal(fstat(fds[0], &a), 0);
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
    assert_int_equal(receive(&m, &err), STEP_DONE);
    assert_int_equal(m.nfds, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(fstat(m.fds[i], &b), 0);
        assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
        assert_true(fcntl(m.fds[i], F_GETFD) & FD_CLOEXEC);
    }
    ipc_msg_close(&m);
    ipc_msg_close(&m); /* harmless */
    assert_int_equal(receive(&m, &err), STEP_DONE);
    assert_int_equal(m.nfds, 1);
    assert_true(span_eq(m.body, span_str("x")));
    ipc_msg_close(&m);
}

static void types_outside_the_table_are_refused(void **state) {
    assert_int_equal(ipc_send(ends[0], 99, span_str("x"), NULL, 0), 0);
    assert_int_equal(ipc_send(ends[0], 99, span_str("x"), ends, 2), 0);
    assert_int_equal(ipc_send(ends[0], 0, span_str("x"), NULL, 0), 0);
    send_plain("next");
    assert_refused(ERR_FORMAT);
    assert_refused(ERR_FORMAT);
    assert_refused(ERR_FORMAT);
    assert_receives("next");
}

static void sizes_outside_the_rule_are_refused(void **state) {
    struct ipc_msg m;
    int err;
    for (size_t n = 0; n < 8; n++) {
        assert_int_equal(ipc_send(ends[0], SIZED, span_of(large, n), NULL, 0), 0);
        enum step s = receive(&m, &err);
        assert_int_equal(s, n >= 3 && n <= 5 ? STEP_DONE : STEP_FAILED);
        if (s == STEP_DONE)
            assert_int_equal(m.type, SIZED);
        else
            assert_int_equal(err, ERR_FORMAT);
    }
}

static void a_wrong_number_of_descriptors_is_refused(void **state) {
    assert_int_equal(ipc_send(ends[0], ONE_FD, span_str("x"), NULL, 0), 0);
    assert_int_equal(ipc_send(ends[0], ONE_FD, span_str("x"), ends, 2), 0);
    assert_int_equal(ipc_send(ends[0], PLAIN, span_str("x"), ends, 1), 0);
    for (int i = 0; i < 3; i++)
        assert_refused(ERR_FORMAT);
}

static void more_descriptors_than_any_message_has_are_refused(void **state) {
    static const uint8_t four[2] = {0, FOUR_FDS};
    send_raw(four, 2, 5);
    send_raw(four, 2, 20);
    send_plain("next");
    assert_refused(ERR_FORMAT);
    assert_refused(ERR_FORMAT);
    assert_receives("next");
}

static void runts_and_giants_are_refused(void **state) {
    static const uint8_t plain[2] = {0, PLAIN};
    send_raw(plain + 1, 1, 0);
    send_raw(plain + 1, 1, 1);
    send_raw("", 0, 1);
    memcpy(large, plain, 2);
    send_raw(large, IPC_BODY_MAX + 3, 0);
    send_raw(large, IPC_BODY_MAX + 3, 1);
    for (int i = 0; i < 5; i++)
        assert_refused(ERR_FORMAT);
    send_plain("next");
    assert_receives("next");
}

static void a_closed_peer_is_the_end(void **state) {
    struct ipc_msg m;
    int err;
    send_plain("last");
    close_end(0);
    assert_receives("last");
    assert_int_equal(receive(&m, &err), STEP_EOF);
    assert_int_equal(receive(&m, &err), STEP_EOF);
}

static void last_words_of_a_peer_that_did_not_listen_are_heard(void **state) {
    struct ipc_msg m;
    int err;
    send_plain("last");
    assert_int_equal(ipc_send(ends[1], PLAIN, span_str("never read"), NULL, 0), 0);
    close_end(0);
    assert_receives("last");
    assert_int_equal(receive(&m, &err), STEP_EOF);
}

static void sending_to_a_closed_peer_is_reported_without_a_signal(void **state) {
    close_end(1);
    assert_int_equal(ipc_send(ends[0], PLAIN, span_str("x"), NULL, 0), ERR_CLOSED);
}

static void a_full_queue_says_again_and_recovers(void **state) {
    unsigned sent = 0, got = 0;
    int err, e;
    struct ipc_msg m;
    while ((err = ipc_send(ends[0], PLAIN, span_of(large, 1000), NULL, 0)) == 0)
        sent++;
    assert_int_equal(err, ERR_AGAIN);
    assert_true(sent > 1);
    while (receive(&m, &e) == STEP_DONE) {
        assert_true(span_eq(m.body, span_of(large, 1000)));
        got++;
    }
    assert_int_equal(got, sent);
    send_plain("again");
    assert_receives("again");
}

/* The limit on descriptors of this process is not the peer's fault. */
static void a_message_waits_for_descriptors_or_is_skipped(void **state) {
    struct rlimit old, now;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    for (unsigned room = 0; room < 4; room++) {
        int fds[4] = {ends[0], ends[0], ends[0], ends[0]};
        assert_int_equal(ipc_send(ends[0], FOUR_FDS, span_of(NULL, 0), fds, 4), 0);
        int lowest = dup(ends[0]);
        close(lowest);
        now = (struct rlimit){(rlim_t)lowest + room, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        struct ipc_msg m;
        int err = 0;
        enum step s = receive(&m, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(s, STEP_FAILED);
        assert_int_equal(err, ERR_OUT_OF_FDS);
        assert_int_equal(m.type, FOUR_FDS);
        if (room % 2) {
            ipc_skip(ends[1]);
        } else { /* it is still there, whole */
            assert_int_equal(receive(&m, &err), STEP_DONE);
            assert_int_equal(m.nfds, 4);
            ipc_msg_close(&m);
        }
        send_plain("next");
        assert_receives("next");
    }
}

/* The same where nothing may be lost: the message stays until all of it can be had. */
static void a_whole_message_waits_for_descriptors(void **state) {
    struct rlimit old, now;
    int fds[4] = {ends[0], ends[0], ends[0], ends[0]}, got[4];
    struct ipc_raw raw;
    int err = 0;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(ipc_send(ends[0], FOUR_FDS, span_str("whole"), fds, 4), 0);
    int lowest = dup(ends[0]);
    close(lowest);
    for (unsigned room = 0; room < 4; room++) {
        now = (struct rlimit){(rlim_t)lowest + room, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
        enum step s = ipc_recv_whole(ends[1], scratch, got, 4, &raw, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(s, STEP_FAILED);
        assert_int_equal(err, ERR_OUT_OF_FDS);
        assert_int_equal(dup(ends[0]), lowest); /* those that came are closed again */
        close(lowest);
    }
    assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 4, &raw, &err), STEP_DONE);
    assert_true(span_eq(raw.body, span_str("whole")));
    assert_int_equal(raw.nfds, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(close(got[i]), 0);
    assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 4, &raw, &err), STEP_WANT_READ); /* it came once */
}

/* The queue's copy holds no descriptor open: a peer sees the end as soon as the receiver has closed its own. */
static void a_whole_message_leaves_nothing_in_the_queue(void **state) {
    int pipes[2], got[4];
    struct ipc_raw raw;
    int err = 0;
    char byte;
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(ipc_send(ends[0], ONE_FD, span_str("x"), &pipes[1], 1), 0);
    close(pipes[1]);
    send_plain("next");
    assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 4, &raw, &err), STEP_DONE);
    close(got[0]);
    assert_int_equal(read(pipes[0], &byte, 1), 0);
    close(pipes[0]);
    assert_receives("next");
}

/* More than there is room for is no want of descriptors: it goes, and the next one comes. */
static void a_whole_message_with_too_much_is_dropped(void **state) {
    int fds[4] = {ends[0], ends[0], ends[0], ends[0]}, got[2];
    struct ipc_raw raw;
    int err = 0, lowest = dup(ends[0]);
    close(lowest);
    assert_int_equal(ipc_send(ends[0], FOUR_FDS, span_of(NULL, 0), fds, 4), 0);
    send_raw(large, IPC_BODY_MAX + 3, 1);
    send_plain("next");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 2, &raw, &err), STEP_FAILED);
        assert_int_equal(err, ERR_FORMAT);
    }
    assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 2, &raw, &err), STEP_DONE);
    assert_true(span_eq(raw.body, span_str("next")));
    assert_int_equal(dup(ends[0]), lowest);
    close(lowest);
    close_end(0);
    assert_int_equal(ipc_recv_whole(ends[1], scratch, got, 2, &raw, &err), STEP_EOF);
}

static void failures_of_sending(void **state) {
    static const struct {
        int error, wanted;
    } rows[] = {{EAGAIN, ERR_AGAIN},      {ENOBUFS, ERR_AGAIN},       {ETOOMANYREFS, ERR_AGAIN}, {EPIPE, ERR_CLOSED},
                {ECONNRESET, ERR_CLOSED}, {ECONNREFUSED, ERR_CLOSED}, {ENOTCONN, ERR_CLOSED},    {EMSGSIZE, ERR_LIMIT},
                {ENOMEM, ERR_AGAIN},      {EBADF, ERR_SYSTEM}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        fail_with = rows[i].error;
        fail_calls = 1;
        assert_int_equal(ipc_send(ends[0], PLAIN, span_str("x"), NULL, 0), rows[i].wanted);
        assert_int_equal(errno, rows[i].error);
    }
}

static void interruptions_are_continued(void **state) {
    fail_with = EINTR;
    fail_calls = 3;
    send_plain("one");
    assert_int_equal(calls, 4);
    fail_calls = 3;
    assert_receives("one");
}

static void failures_of_receiving(void **state) {
    struct ipc_msg m;
    int err;
    send_plain("kept");
    fail_with = EAGAIN;
    fail_calls = 1;
    assert_int_equal(receive(&m, &err), STEP_WANT_READ);
    fail_with = ENOMEM;
    fail_calls = 1;
    assert_refused(ERR_SYSTEM);
    fail_with = ECONNRESET;
    fail_calls = 2;
    assert_int_equal(receive(&m, &err), STEP_EOF);
    fail_calls = 1;
    assert_receives("kept");
    close_end(1);
    ends[1] = -1;
    assert_refused(ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
}

static void receive_into_too_little(void *ctx) {
    struct ipc_msg m;
    int err;
    assert_int_equal(ipc_recv(ends[1], scratch, IPC_BODY_MAX, rules, &m, &err), STEP_DONE);
}

static void too_little_scratch_aborts(void **state) {
    send_plain("x");
    assert_true(aborts(receive_into_too_little, NULL));
    assert_receives("x");
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(a_pair_is_private_and_does_not_block),
        ROW(a_pair_may_have_larger_buffers),
        ROW(a_pair_needs_descriptors),
        ROW(messages_keep_their_borders_and_order),
        ROW(the_largest_message_arrives_whole),
        ROW(a_message_larger_than_the_socket_takes_is_a_limit),
        ROW(descriptors_travel_as_copies),
        ROW(types_outside_the_table_are_refused),
        ROW(sizes_outside_the_rule_are_refused),
        ROW(a_wrong_number_of_descriptors_is_refused),
        ROW(more_descriptors_than_any_message_has_are_refused),
        ROW(runts_and_giants_are_refused),
        ROW(a_closed_peer_is_the_end),
        ROW(last_words_of_a_peer_that_did_not_listen_are_heard),
        ROW(sending_to_a_closed_peer_is_reported_without_a_signal),
        ROW(a_full_queue_says_again_and_recovers),
        ROW(a_message_waits_for_descriptors_or_is_skipped),
        ROW(a_whole_message_waits_for_descriptors),
        ROW(a_whole_message_leaves_nothing_in_the_queue),
        ROW(a_whole_message_with_too_much_is_dropped),
        ROW(failures_of_sending),
        ROW(interruptions_are_continued),
        ROW(failures_of_receiving),
        ROW(too_little_scratch_aborts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
