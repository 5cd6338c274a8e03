/*
 * To which relay sessions go, and when: a handshaker without clients, its links to two relays, and relays that read or do not.
 * epoll_wait() is replaced to look at the queues each time the loop would sleep.
 */
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

#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/handoff_queue.h"
#include "handshaker/handshaker.h"
#include "handshaker/pace.h"
#include "wire/export_link.h"

#define RELAYS    3
#define STANDS_MS 150  /* more than a relay may go without a read */
#define MANY      2000 /* more than a link takes */

static struct handshaker h;
static int relays[RELAYS];   /* their ends of the links */
static unsigned got[RELAYS]; /* sessions they have read */
static struct conf_service conf = {.name = "web", .mode = MODE_PASSTHROUGH};
static struct handshaker_service service = {.conf = &conf};
static int spare;
static unsigned sleeps; /* of the loop */
static bool watching;

int __real_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout);

static unsigned length(const struct list *l) {
    unsigned n = 0;
    for (const struct list *node = l->next; node != l; node = node->next)
        n++;
    return n;
}

int __wrap_epoll_wait(int epfd, struct epoll_event *events, int max, int timeout) {
    if (watching && timeout != 0) {
        sleeps++;
        for (size_t i = 0; i < RELAYS; i++)
            assert_true(h.links[i].blocked || length(&h.links[i].queue) == 0);
    }
    return __real_epoll_wait(epfd, events, max, timeout);
}

static bool turn_end(void *ctx) {
    struct handshaker *hs = ctx;
    bool more = pace_turn(hs);
    for (struct list *n; (n = list_shift(&hs->dead));)
        slab_free(&hs->conns, CONTAINER_OF(n, struct conn, link));
    return more;
}

static void on_pause(void *ctx, uint64_t ms) {
    (void)ctx;
    (void)ms;
}

static struct wtimer soon;

static void on_timer(void *ctx, struct wtimer *t) {
    if (t == &h.retry)
        handoff_queue_retry(ctx, t);
    else
        h.loop.stop = true;
}

static int setup(void **state) {
    int scoreboard_fd, ring_fd, pair[2];
    memset(&h, 0, sizeof(h));
    memset(got, 0, sizeof(got));
    h.child.setup = (struct control_setup){.role = ROLE_HANDSHAKER, .index = 0, .workers = RELAYS};
    h.services = &service;
    h.relay_room = 100000;
    list_init(&h.dead);
    sleeps = 0;
    watching = false;
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (ring_create(64 * 1024, &ring_fd) < 0 || ring_map(ring_fd, &h.child.log.ring) < 0)
        return 1;
    close(ring_fd);
    if (scoreboard_create(RELAYS, 1, &scoreboard_fd) < 0 || scoreboard_map(scoreboard_fd, 0, &h.child.scoreboard) < 0 ||
        loop_init(&h.loop) < 0 || slab_init(&h.conns, sizeof(struct conn), 10 * MANY, true) < 0 ||
        stats_open_private(&h.child.stats) < 0)
        return 1;
    for (uint16_t i = 0; i < RELAYS; i++)
        if (scoreboard_open_row(&h.child.scoreboard, scoreboard_fd, ROLE_RELAY, i) < 0)
            return 1;
    if (scoreboard_open_row(&h.child.scoreboard, scoreboard_fd, ROLE_HANDSHAKER, 0) < 0)
        return 1;
    close(scoreboard_fd);
    h.row = scoreboard_row(&h.child.scoreboard, ROLE_HANDSHAKER, 0);
    h.loop.hook = turn_end;
    h.loop.pause_fn = on_pause;
    loop_on_timer(&h.loop, 0, on_timer, &h);
    h.loop.hook_ctx = &h;
    loop_on(&h.loop, HANDSHAKER_LINK, handoff_queue_event, &h);
    for (uint16_t i = 0; i < RELAYS; i++) {
        h.links[i].fd = -1;
        list_init(&h.links[i].queue);
    }
    for (uint16_t i = 0; i < RELAYS; i++) {
        if (ipc_pair(0, pair) < 0)
            return 1;
        handoff_queue_link(&h, i, pair[0]);
        relays[i] = pair[1];
    }
    return 0;
}

static int teardown(void **state) {
    uint32_t slot = 0;
    for (struct conn *c; (c = slab_next(&h.conns, &slot));)
        if (c->state != CONN_DEAD)
            conn_end(&h, c);
    for (size_t i = 0; i < RELAYS; i++) {
        close(relays[i]);
        close(h.links[i].fd);
    }
    slab_fini(&h.conns);
    stats_close(&h.child.stats);
    ring_unmap(&h.child.log.ring);
    scoreboard_unmap(&h.child.scoreboard);
    loop_fini(&h.loop);
    close(spare);
    return 0;
}

/* A handshake is finished. */
static struct conn *finished(void) {
    struct conn *c = slab_alloc(&h.conns);
    assert_non_null(c);
    list_init(&c->link);
    buf_init(&c->in, HANDSHAKER_IN_MAX);
    buf_init(&c->out, HANDSHAKER_OUT_MAX);
    c->fd = dup(spare);
    c->state = CONN_HELLO;
    conn_goto(&h, c, CONN_QUEUED);
    return c;
}

static void finish_many(unsigned n) {
    while (n--)
        finished();
}

/* A relay reads at most N messages, and has their sessions: how many. */
static unsigned read_link(size_t relay, unsigned n) {
    static uint8_t scratch[IPC_BODY_MAX];
    static struct export_msg m;
    int err;
    unsigned count = 0;
    for (; n > 0 && export_recv(relays[relay], scratch, &m, &err) == STEP_DONE; n--) {
        struct scoreboard_row row = scoreboard_row(&h.child.scoreboard, ROLE_RELAY, (uint16_t)relay);
        assert_in_range(m.nfds, 1, EXPORT_ARRIVE_MAX);
        scoreboard_session(&row, 0, &(struct addr){0}, (int)m.nfds);
        count += m.nfds;
        export_msg_close(&m);
    }
    got[relay] += count;
    return count;
}

static void later(uint64_t ms) {
    h.loop.now_ms += ms;
}

/* ---- when ---- */

static int work[2];
static unsigned turns;

static void on_work(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    char byte;
    assert_int_equal(read(work[0], &byte, 1), 1);
    finish_many(5);
    pace(&h);
    if (++turns == 30)
        h.loop.stop = true;
}

/* In nearly every turn something stays queued, as no relay reads; yet all is sent before the loop sleeps. */
static void no_session_stays_behind_while_the_loop_sleeps(void **state) {
    char bytes[30] = "";
    assert_int_equal(pipe2(work, O_CLOEXEC | O_NONBLOCK), 0);
    loop_on(&h.loop, HANDSHAKER_CONN, on_work, &h);
    assert_int_equal(loop_watch(&h.loop, work[0], EPOLLIN, HANDSHAKER_CONN, 0, 0), 0);
    watching = true;
    turns = 0;
    assert_int_equal(write(work[1], bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(loop_run(&h.loop), 0);
    unsigned left = length(&h.links[0].queue) + length(&h.links[1].queue) + length(&h.links[2].queue);
    assert_true(left > 0); /* the last turn had an event: what is left waits for one more poll */

    wheel_arm(&h.loop.wheel, &soon, h.loop.now_ms + 30);
    h.loop.stop = false;
    assert_int_equal(loop_run(&h.loop), 0);
    assert_true(sleeps > 0);
    assert_int_equal(read_link(0, MANY) + read_link(1, MANY) + read_link(2, MANY), 150);
    close(work[0]);
    close(work[1]);
}

/* While there is more to do, a relay gets two, and no more before it has read those. */
static void batches_wait_for_the_relay(void **state) {
    finish_many(6);
    assert_true(handoff_queue_send_few(&h));
    assert_false(handoff_queue_send_few(&h));
    assert_int_equal(read_link(0, 1), 2);
    assert_true(handoff_queue_send_few(&h));
    assert_int_equal(read_link(0, MANY), 2);
    assert_true(handoff_queue_waits(&h));
}

/* All that are ready go in one message, as far as it holds them. */
static void ready_sessions_share_a_message(void **state) {
    finish_many(2 * EXPORT_ARRIVE_MAX + 3);
    handoff_queue_flush(&h);
    assert_int_equal(read_link(0, 1), EXPORT_ARRIVE_MAX);
    assert_int_equal(read_link(0, 1), EXPORT_ARRIVE_MAX);
    assert_int_equal(read_link(0, MANY), 3);
}

static void a_message_has_what_fits(void **state) {
    static const uint8_t much[20 * 1024];
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(buf_append(&finished()->in, much, sizeof(much)), 0);
    handoff_queue_flush(&h);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(read_link(0, 1), 3); /* 64 KiB hold three such */
    assert_int_equal(read_link(0, MANY), 1);
}

/* A host that grants links little room gets one session at a time. */
static void a_small_link_takes_one_at_a_time(void **state) {
    static const uint8_t much[6 * 1024];
    int size = 4096; /* the kernel doubles it */
    assert_int_equal(setsockopt(h.links[0].fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(buf_append(&finished()->in, much, sizeof(much)), 0);
    for (unsigned i = 0; i < 3; i++) {
        h.links[0].blocked = false;
        handoff_queue_flush(&h);
        assert_int_equal(read_link(0, MANY), 1);
    }
    assert_true(h.links[0].fd >= 0);
}

/* One that no message holds ends alone, and nothing else stops for it. */
static void one_with_too_much_ends_alone(void **state) {
    static const uint8_t much[EXPORT_READ_AHEAD_MAX + 1];
    finish_many(3);
    struct conn *c = finished();
    assert_int_equal(buf_append(&c->in, much, sizeof(much)), 0);
    finish_many(2);
    handoff_queue_flush(&h);
    assert_int_equal(c->state, CONN_DEAD);
    assert_int_equal(c->reason, ERR_LIMIT);
    assert_int_equal(read_link(0, MANY), 5);
    assert_true(h.links[0].fd >= 0);
}

/* The relay's end is gone while a message is sent: all of it goes to another, and counts once. */
static void sessions_of_a_lost_link_go_to_another(void **state) {
    struct scoreboard_row row = scoreboard_row(&h.child.scoreboard, ROLE_HANDSHAKER, 0);
    const struct addr client = {.family = AF_INET, .ip = {192, 0, 2, 1}};
    for (unsigned i = 0; i < 5; i++) {
        struct conn *c = finished();
        c->client = client;
        c->client_counted = true;
        scoreboard_client(&row, &client, 1);
    }
    assert_int_equal(shutdown(relays[0], SHUT_RDWR), 0);
    handoff_queue_flush(&h);
    assert_int_equal(h.links[0].fd, -1);
    handoff_queue_flush(&h);
    assert_int_equal(read_link(1, MANY) + read_link(2, MANY), 5);
    assert_int_equal(scoreboard_client_sessions(&h.child.scoreboard, &client), 0);
}

/* ---- to whom ---- */

static void hangs(uint16_t relay) {
    h.child.setup.index = relay; /* our own, which is preferred */
    finish_many(1);
    handoff_queue_flush(&h);
    assert_int_equal(h.links[relay].unread > 0, 1);
    later(STANDS_MS);
}

static void own_relay_is_preferred(void **state) {
    for (unsigned i = 0; i < 8; i++) {
        finish_many(1);
        handoff_queue_flush(&h);
        read_link(0, MANY);
    }
    assert_int_equal(got[0], 8);
}

/* Its scoreboard row does not change; what was sent to it counts nevertheless, before it is known to hang. */
static void unread_sessions_are_load(void **state) {
    for (unsigned i = 0; i < 90; i++) {
        finish_many(1);
        handoff_queue_flush(&h);
        later(1);
    }
    for (size_t i = 0; i < RELAYS; i++)
        read_link(i, MANY);
    assert_in_range(got[0], 20, 60);
    assert_in_range(got[1], 10, 40);
    assert_in_range(got[2], 10, 40);
}

static void a_relay_that_reads_nothing_is_passed_over(void **state) {
    hangs(0);
    for (unsigned i = 0; i < 200; i++) {
        finish_many(1);
        handoff_queue_flush(&h);
        read_link(1, MANY);
        read_link(2, MANY);
        later(1);
    }
    assert_int_equal(got[1] + got[2], 200);
    assert_true(got[1] > 50 && got[2] > 50);
    assert_int_equal(read_link(0, MANY), 1); /* it continues */
    finish_many(1);
    handoff_queue_flush(&h);
    assert_int_equal(read_link(0, MANY), 1);
}

static void all_but_one_hang(void **state) {
    hangs(0);
    hangs(1);
    for (unsigned i = 0; i < 300; i++) {
        finish_many(1);
        handoff_queue_flush(&h);
        read_link(2, MANY);
        later(1);
    }
    assert_int_equal(got[2], 300);
}

/* Sessions wait in links rather than being refused; the relay that continues first has its own. */
static void all_hang(void **state) {
    for (uint16_t i = 0; i < RELAYS; i++)
        hangs(i);
    for (unsigned i = 0; i < 30; i++) {
        finish_many(1);
        handoff_queue_flush(&h);
        later(1);
    }
    assert_int_equal(length(&h.links[0].queue) + length(&h.links[1].queue) + length(&h.links[2].queue), 0);
    for (size_t i = 0; i < RELAYS; i++)
        read_link(i, MANY);
    assert_int_equal(got[0] + got[1] + got[2], 33);
    for (size_t i = 0; i < RELAYS; i++)
        assert_in_range(got[i], 5, 25);
}

static void fill_all(void) {
    do {
        finish_many(16);
        handoff_queue_flush(&h);
    } while (!h.links[0].blocked || !h.links[1].blocked || !h.links[2].blocked);
}

/* Its link is full and sessions wait for it in our queue: they go to others, but only when those take some. */
static void a_queue_whose_link_is_full_moves(void **state) {
    fill_all();
    unsigned waiting = length(&h.links[0].queue) + length(&h.links[1].queue) + length(&h.links[2].queue);
    assert_true(waiting > 0);
    later(STANDS_MS);
    handoff_queue_retry(&h, &h.retry);
    handoff_queue_flush(&h);
    assert_int_equal(length(&h.links[0].queue) + length(&h.links[1].queue) + length(&h.links[2].queue), waiting);
    unsigned in_links = 0;
    for (unsigned i = 0; i < 2000 && (length(&h.links[0].queue) || length(&h.links[2].queue) || length(&h.links[1].queue));
         i++) {
        in_links += read_link(1, 16);
        later(20);
        handoff_queue_event(&h, 1, LOOP_GEN(h.links[1].gen), EPOLLOUT);
        handoff_queue_retry(&h, &h.retry);
        handoff_queue_flush(&h);
    }
    assert_int_equal(length(&h.links[0].queue) + length(&h.links[1].queue) + length(&h.links[2].queue), 0);
    assert_true(in_links > 16);
}

/* A connection whose relay hangs does not end at its deadline while another relay takes it. */
static void the_last_try_goes_to_another(void **state) {
    hangs(0);
    struct conn *c = finished();
    list_remove(&c->link); /* it was queued when all was well */
    c->relay = 0;
    list_push(&h.links[0].queue, &c->link);
    conn_timeout(&h, &c->timer);
    assert_int_equal(c->state, CONN_DEAD);
    assert_int_equal(c->reason, 0);
    assert_int_equal(read_link(0, MANY), 1);
    assert_int_equal(read_link(1, MANY) + read_link(2, MANY), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_session_stays_behind_while_the_loop_sleeps, setup, teardown),
        cmocka_unit_test_setup_teardown(batches_wait_for_the_relay, setup, teardown),
        cmocka_unit_test_setup_teardown(ready_sessions_share_a_message, setup, teardown),
        cmocka_unit_test_setup_teardown(a_message_has_what_fits, setup, teardown),
        cmocka_unit_test_setup_teardown(a_small_link_takes_one_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(one_with_too_much_ends_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_of_a_lost_link_go_to_another, setup, teardown),
        cmocka_unit_test_setup_teardown(own_relay_is_preferred, setup, teardown),
        cmocka_unit_test_setup_teardown(unread_sessions_are_load, setup, teardown),
        cmocka_unit_test_setup_teardown(a_relay_that_reads_nothing_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(all_but_one_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(all_hang, setup, teardown),
        cmocka_unit_test_setup_teardown(a_queue_whose_link_is_full_moves, setup, teardown),
        cmocka_unit_test_setup_teardown(the_last_try_goes_to_another, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
