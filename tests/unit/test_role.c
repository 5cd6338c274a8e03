/*
 * The runner of roles with a role of its own here. All that the supervisor says is in the socket before the role begins, so a
 * test is one run of the whole life.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "process/role.h"
#include "shm/ring.h"
#include "shm/stats.h"
#include "shm/stats_layout.h"
#include "wire/event.h"

int __wrap_snapshot_read(int fd, struct conf **ret, struct text *why);
int __wrap_child_enter_sandbox(struct child *c, const struct sandbox *sandbox);

struct sample {
    struct child child;
    struct loop loop;
    struct conf *conf;
    struct wtimer timer;
    int kept; /* a descriptor that a handler took */
};

static struct sample sample;
static int supervisor, ring_fd;
static char trail[512];     /* what was called, in order */
static int snapshot_result; /* of reading the configuration */
static int result;          /* of every handler */
static enum step go_result;
static struct conf conf = {.log_level = LOG_LEVEL_INFO};
static uint8_t scratch[IPC_BODY_MAX + 2];

static void note(const char *what) {
    (void)strncat(trail, what, sizeof(trail) - strlen(trail) - 1);
    (void)strncat(trail, " ", sizeof(trail) - strlen(trail) - 1);
}

int __wrap_snapshot_read(int fd, struct conf **ret, struct text *why) {
    note("snapshot");
    *ret = &conf;
    return snapshot_result;
}

int __wrap_child_enter_sandbox(struct child *c, const struct sandbox *sandbox) {
    note("sandbox");
    return 0;
}

static int sample_prepare(void *self, struct sandbox *sandbox, struct text *why) {
    assert_ptr_equal(self, &sample);
    note("prepare");
    if (result < 0)
        text_add(why, "nothing to eat");
    return result;
}

static enum step sample_go(void *self, struct text *why) {
    note("go");
    if (go_result == STEP_FAILED)
        text_add(why, "no strength");
    return go_result;
}

static int take_log(void *self, struct ipc_msg *m, struct text *why) {
    note("log");
    return 0;
}

static int keep_log(void *self, struct ipc_msg *m, struct text *why) {
    sample.kept = ipc_take(m, 0);
    return 0;
}

static int refuse_log(void *self, struct ipc_msg *m, struct text *why) {
    note("refused");
    if (m->type == CONTROL_LOG)
        text_add(why, "the log is unwanted");
    return ERR_LIMIT;
}

static int take_relay(void *self, const struct control_peer *peer, int fd) {
    note("relay");
    close(fd);
    return result;
}

static void at_timer(void *self, struct wtimer *t) {
    assert_ptr_equal(t, &sample.timer);
    note("timer");
}

static bool at_turn_end(void *self) {
    if (!wtimer_armed(&sample.timer) && !strstr(trail, "timer"))
        wheel_arm(&sample.loop.wheel, &sample.timer, sample.loop.now_ms);
    return false;
}

static void sample_finish(void *self) {
    note("finish");
}

static const struct role_message takes[] = {{CONTROL_LOG, take_log}, {0, NULL}};
static const struct role_message keeps[] = {{CONTROL_LOG, keep_log}, {0, NULL}};
static const struct role_message refuses[] = {{CONTROL_LOG, refuse_log}, {CONTROL_DRAIN, refuse_log}, {0, NULL}};
static const struct role_link links[] = {{ROLE_RELAY, take_relay}, {0, NULL}};
static const struct loop_timer timers[] = {{3, at_timer, offsetof(struct sample, timer)}, {0, NULL, 0}};
static const struct role_table role = {
    .self = &sample,
    .child = &sample.child,
    .loop = &sample.loop,
    .conf = &sample.conf,
    .messages = takes,
    .links = links,
    .timers = timers,
    .prepare = sample_prepare,
    .go = sample_go,
    .finish = sample_finish,
};

static int set_up(void **state) {
    int ends[2], stats, fds[4];
    memset(&sample, 0, sizeof(sample));
    trail[0] = 0;
    snapshot_result = result = 0;
    go_result = STEP_DONE;
    assert_int_equal(ipc_pair(0, ends), 0);
    supervisor = ends[0];
    sample.kept = ends[1]; /* until run() */
    assert_int_equal(ring_create(64 * 1024, &ring_fd), 0);
    assert_int_equal(stats_create(&stats), 0);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(null >= 0);
    memcpy(fds, (const int[]){null, null, ring_fd, stats}, sizeof(fds));
    const struct control_setup setup = {.role = ROLE_RESOLVER, .workers = 1, .cpu = -1};
    assert_int_equal(control_send_setup(supervisor, &setup, fds), 0);
    close(null);
    close(stats);
    return 0;
}

static int tear_down(void **state) {
    if (supervisor >= 0)
        close(supervisor);
    close(ring_fd);
    close(sample.child.control);
    stats_close(&sample.child.stats);
    loop_fini(&sample.loop);
    return 0;
}

static void say(enum control_type type) {
    assert_int_equal(control_send(supervisor, type), 0);
}

/* A message with one end of a pipe; the other one is returned, and is at its end when the first is closed. */
static int say_with_pipe(enum control_type type, enum role peer) {
    int fds[2];
    const struct control_peer p = {peer, 0, 0};
    assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    if (type == CONTROL_LINK)
        assert_int_equal(control_send_peer(supervisor, type, &p, fds[1]), 0);
    else
        assert_int_equal(ipc_send(supervisor, (uint16_t)type, span_of(NULL, 0), &fds[1], 1), 0);
    close(fds[1]);
    return fds[0];
}

static bool other_end_is_closed(int fd) {
    char byte;
    return read(fd, &byte, 1) == 0;
}

static int run(const struct role_table *t) {
    int control = sample.kept;
    sample.kept = -1;
    return role_run(t, control);
}

static void expect(uint16_t type, const char *text) {
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(supervisor, scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
    assert_int_equal(m.type, type);
    if (text)
        assert_memory_equal(m.body.p, text, MAX(m.body.len, strlen(text)));
}

static void expect_silence(void) {
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(supervisor, scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_WANT_READ);
}

static void expect_logged_at(enum log_level level, const char *text) {
    uint8_t record[RING_RECORD_MAX];
    struct event e;
    int n = ring_get(&sample.child.log.ring, record);
    if (!text) {
        assert_int_equal(n, 0);
        return;
    }
    assert_true(n > 0);
    assert_int_equal(event_read(span_of(record, (size_t)n), &e), 0);
    assert_int_equal(e.level, level);
    assert_int_equal(e.text.len, strlen(text));
    assert_memory_equal(e.text.p, text, e.text.len);
}

static void expect_logged(const char *text) {
    expect_logged_at(LOG_LEVEL_ERROR, text);
}

static void a_life_in_order(void **state) {
    struct role_table t = role;
    t.turn_end = at_turn_end;
    close(say_with_pipe(CONTROL_LOG, 0));
    close(say_with_pipe(CONTROL_LINK, ROLE_RELAY));
    say(CONTROL_GO);
    close(say_with_pipe(CONTROL_LOG, 0));
    say(CONTROL_PING);
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_string_equal(trail, "snapshot prepare sandbox log relay go log timer finish ");
    expect(CONTROL_READY, NULL);
    expect(CONTROL_PONG, NULL);
    expect_silence();
}

static void a_descriptor_is_closed_unless_it_was_taken(void **state) {
    struct role_table t = role;
    int left = say_with_pipe(CONTROL_LOG, 0);
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_true(other_end_is_closed(left));
    close(left);
    tear_down(state);
    set_up(state);
    t.messages = keeps;
    int kept = say_with_pipe(CONTROL_LOG, 0);
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_false(other_end_is_closed(kept));
    assert_true(fcntl(sample.kept, F_GETFD) & FD_CLOEXEC);
    close(sample.kept);
    assert_true(other_end_is_closed(kept));
    close(kept);
}

static void what_is_for_others_is_not_looked_at(void **state) {
    int admin = say_with_pipe(CONTROL_PROCTAB, 0), link = say_with_pipe(CONTROL_LINK, ROLE_ACME);
    say(CONTROL_GO);
    say(CONTROL_SERVE);
    say(CONTROL_STOP);
    assert_int_equal(run(&role), 0);
    assert_true(other_end_is_closed(admin) && other_end_is_closed(link));
    expect(CONTROL_READY, NULL);
    expect_silence();
    expect_logged(NULL);
    close(admin);
    close(link);
}

/* The supervisor would take it for a role that has all it was given. */
static void what_is_not_obeyed_before_ready_is_a_refusal(void **state) {
    struct role_table t = role;
    t.messages = refuses;
    int log = say_with_pipe(CONTROL_LOG, 0);
    close(say_with_pipe(CONTROL_LOG, 0));
    say(CONTROL_GO);
    assert_int_equal(run(&t), 1);
    assert_string_equal(trail, "snapshot prepare sandbox refused finish ");
    expect(CONTROL_REFUSED, "the log is unwanted");
    assert_true(other_end_is_closed(log));
    close(log);
}

static void what_is_not_obeyed_later_is_logged(void **state) {
    struct role_table t = role;
    t.messages = refuses;
    say(CONTROL_GO);
    int log = say_with_pipe(CONTROL_LOG, 0);
    assert_int_equal(control_send_drain(supervisor, &(struct control_drain){DRAIN_QUICK, 5}), 0);
    result = 0;
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    expect(CONTROL_READY, NULL);
    expect_silence();
    expect_logged("the log is unwanted");
    char line[128];
    (void)snprintf(line, sizeof(line), "a message of the supervisor (DRAIN) is not obeyed: %s", err_text(ERR_LIMIT));
    expect_logged(line);
    expect_logged(NULL);
    assert_true(other_end_is_closed(log));
    close(log);
}

static int lose_relay(void *self, const struct control_peer *peer, int fd) {
    close(fd);
    errno = ENOSPC;
    return ERR_SYSTEM;
}

static void a_link_that_is_not_taken_up_is_named(void **state) {
    static const struct role_link lost[] = {{ROLE_RELAY, lose_relay}, {0, NULL}};
    struct role_table t = role;
    t.links = lost;
    say(CONTROL_GO);
    close(say_with_pipe(CONTROL_LINK, ROLE_RELAY));
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    char line[128];
    (void)snprintf(line, sizeof(line), "cannot take up a link to relay.0: %s", strerror(ENOSPC));
    expect_logged(line);
}

static void a_configuration_that_cannot_be_read_is_a_refusal(void **state) {
    char line[128];
    snapshot_result = ERR_FORMAT;
    (void)snprintf(line, sizeof(line), "resolver: cannot start: the configuration cannot be read: %s", err_text(ERR_FORMAT));
    assert_int_equal(run(&role), 1);
    assert_string_equal(trail, "snapshot ");
    expect(CONTROL_REFUSED, line);
}

static void what_cannot_be_prepared_is_a_refusal(void **state) {
    result = ERR_LIMIT;
    assert_int_equal(run(&role), 1);
    assert_string_equal(trail, "snapshot prepare "); /* and nothing is unmade that was not made */
    expect(CONTROL_REFUSED, "resolver: cannot start: nothing to eat");
}

static void a_role_that_cannot_go_refuses(void **state) {
    go_result = STEP_FAILED;
    say(CONTROL_GO);
    assert_int_equal(run(&role), 1);
    assert_string_equal(trail, "snapshot prepare sandbox go finish ");
    expect(CONTROL_REFUSED, "no strength");
}

static bool ready_in_turn(void *self) {
    role_ready(&sample.child);
    role_ready(&sample.child);
    role_stop(&role);
    return false;
}

static void a_role_may_be_ready_later(void **state) {
    struct role_table t = role;
    t.turn_end = ready_in_turn;
    go_result = STEP_WANT_READ;
    say(CONTROL_GO);
    say(CONTROL_PING); /* in the turn of which it becomes ready */
    assert_int_equal(run(&t), 0);
    expect(CONTROL_PONG, NULL);
    expect(CONTROL_READY, NULL);
    expect_silence();
}

static void a_sandbox_may_come_late_but_before_ready(void **state) {
    struct role_table t = role;
    t.late_sandbox = true;
    close(say_with_pipe(CONTROL_LOG, 0));
    say(CONTROL_GO);
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_string_equal(trail, "snapshot prepare log go sandbox finish ");
    expect(CONTROL_READY, NULL);
}

static void own_turns(void *self) {
    while (!sample.child.stop)
        note(role_receive(&role) ? "some" : "none");
}

static void a_role_may_turn_on_its_own(void **state) {
    struct role_table t = role;
    t.run = own_turns;
    say(CONTROL_GO);
    close(say_with_pipe(CONTROL_LOG, 0));
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_string_equal(trail, "snapshot prepare sandbox go log some some finish ");
}

static int keep_all_logs(void *self, struct ipc_msg *m, struct text *why) {
    note("log");
    sample.kept = ipc_take(m, 0); /* the ones before stay open: they are used up */
    return 0;
}

/* From here on no descriptor is to be had; the one that is kept for that goes to the first message. */
static void turn_without_descriptors(const struct role_table *t) {
    struct rlimit old, now;
    int lowest = dup(ring_fd);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    now = (struct rlimit){(rlim_t)lowest, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    while (!sample.child.stop)
        (void)role_receive(t);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

static void turns_of_the_thrifty(void *self) {
    turn_without_descriptors(&role);
}

static void a_message_with_a_descriptor_comes_through_without_any(void **state) {
    struct role_table t = role;
    t.run = turns_of_the_thrifty;
    say(CONTROL_GO);
    close(say_with_pipe(CONTROL_LINK, ROLE_RELAY)); /* is closed again by its handler */
    close(say_with_pipe(CONTROL_LINK, ROLE_RELAY));
    say(CONTROL_PING);
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_string_equal(trail, "snapshot prepare sandbox go relay relay finish ");
    expect(CONTROL_READY, NULL);
    expect(CONTROL_PONG, NULL);
    expect_logged(NULL);
}

static void turns_of_a_hoarder(void *self) {
    static const struct role_message hoards[] = {{CONTROL_LOG, keep_all_logs}, {0, NULL}};
    static struct role_table t;
    t = role;
    t.messages = hoards;
    turn_without_descriptors(&t);
}

static void what_is_lost_for_want_of_descriptors_is_logged_and_counted(void **state) {
    struct role_table t = role;
    t.run = turns_of_a_hoarder;
    say(CONTROL_GO);
    int kept = say_with_pipe(CONTROL_LOG, 0), lost = say_with_pipe(CONTROL_LOG, 0);
    say(CONTROL_PING); /* what needs none comes through */
    say(CONTROL_STOP);
    assert_int_equal(run(&t), 0);
    assert_string_equal(trail, "snapshot prepare sandbox go log finish ");
    assert_true(other_end_is_closed(lost)); /* its peer sees that */
    assert_false(other_end_is_closed(kept));
    expect(CONTROL_READY, NULL);
    expect(CONTROL_PONG, NULL);
    char line[128];
    (void)snprintf(line, sizeof(line), "a message of the supervisor (LOG) is lost: %s", err_text(ERR_OUT_OF_FDS));
    expect_logged(line);
    assert_int_equal(sample.child.stats.area->process[STATS_MESSAGES_LOST], 1);
    close(sample.kept);
    close(kept);
    close(lost);
}

static void it_ends_with_its_supervisor(void **state) {
    say(CONTROL_GO);
    close(supervisor);
    supervisor = -1;
    assert_int_equal(run(&role), 0);
    assert_string_equal(trail, "snapshot prepare sandbox go finish ");
}

static void a_torn_message_ends_it(void **state) {
    say(CONTROL_GO);
    assert_int_equal(ipc_send(supervisor, 999, span_str("?"), NULL, 0), 0);
    assert_int_equal(run(&role), 1);
    char line[128];
    (void)snprintf(line, sizeof(line), "what the supervisor sends cannot be read: %s", err_text(ERR_FORMAT));
    expect_logged(line);
}

static void secrets_that_are_not_locked_are_reported_once(void **state) {
    struct child *c = &sample.child;
    say(CONTROL_GO);
    say(CONTROL_STOP);
    assert_int_equal(run(&role), 0);
    child_warn_unlocked(c, &(const struct slab){.lock_failed = false});
    expect_logged(NULL);
    for (int i = 0; i < 2; i++) {
        child_warn_unlocked(c, &(const struct slab){.lock_failed = true});
        expect_logged_at(LOG_LEVEL_WARNING,
                         i ? NULL
                           : "keys of sessions are not all locked in memory and could be swapped: the limit of "
                             "locked memory is too low (LimitMEMLOCK, ulimit -l)");
    }
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_life_in_order),
        CASE(a_descriptor_is_closed_unless_it_was_taken),
        CASE(what_is_for_others_is_not_looked_at),
        CASE(what_is_not_obeyed_before_ready_is_a_refusal),
        CASE(what_is_not_obeyed_later_is_logged),
        CASE(a_link_that_is_not_taken_up_is_named),
        CASE(a_configuration_that_cannot_be_read_is_a_refusal),
        CASE(what_cannot_be_prepared_is_a_refusal),
        CASE(a_role_that_cannot_go_refuses),
        CASE(a_role_may_be_ready_later),
        CASE(a_sandbox_may_come_late_but_before_ready),
        CASE(a_role_may_turn_on_its_own),
        CASE(a_message_with_a_descriptor_comes_through_without_any),
        CASE(what_is_lost_for_want_of_descriptors_is_logged_and_counted),
        CASE(it_ends_with_its_supervisor),
        CASE(a_torn_message_ends_it),
        CASE(secrets_that_are_not_locked_are_reported_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
