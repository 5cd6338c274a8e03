/* The handshaker's end of the link to its signer: answers good, late, wrong and missing. The test is the signer. */
#include "handshaker/signer_link.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ipc.h"
#include "sign_samples.h"
#include "wire/sign.h"

static struct signer_link l;
static int peer;          /* the signer's end */
static uint64_t given[8]; /* numbers of the answers that were passed on, */
static int given_err[8];  /* and what they say */
static unsigned ngiven;
static uint8_t tbs[SIGN_TBS_MAX], sig[256];
static struct span what;
static size_t sig_len;

static void take(void *ctx, struct signer_link *on, const struct sign_answer *a) {
    assert_ptr_equal(on, &l);
    assert_ptr_equal(ctx, &l);
    given[ngiven % ARRAY_LEN(given)] = a->number;
    given_err[ngiven++ % ARRAY_LEN(given)] = a->err;
}

static int set_up(void **state) {
    int fds[2];
    (void)state;
    ngiven = 0;
    signer_link_init(&l, take, &l);
    what = span_of(tbs, sample_tls13(tbs, 32));
    if (ipc_pair(0, fds) < 0 || signer_link_open(&l, fds[0]) < 0)
        return -1;
    peer = fds[1];
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    signer_link_close(&l);
    if (peer >= 0)
        close(peer);
    return 0;
}

static int ask(void) {
    sig_len = 0;
    return signer_link_ask(&l, (struct key_name){3, 4}, 0x0403, what, sig, sizeof(sig), &sig_len);
}

/* The number of the I-th request of signer_link_ask(). */
static uint64_t asked(uint64_t i) {
    return UINT64_C(1) << 63 | i;
}

/* Queued before the question: the link does not mind, as long as it asks. */
static void say(uint64_t number, int err, size_t len) {
    uint8_t body[SIGN_ANSWER_LEN], bytes[SIGN_SIGNATURE_MAX];
    struct wr w = wr_of(body, sizeof(body));
    memset(bytes, 0x77, sizeof(bytes));
    sign_put_answer(&w, &(struct sign_answer){number, err, span_of(bytes, len)});
    assert_true(wr_end(&w));
    assert_int_equal(ipc_send(peer, SIGN_ANSWERS, wr_written(&w), NULL, 0), 0);
}

/* The next message; the first of its requests. */
static struct sign_request heard(unsigned n) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    static struct sign_request q[SIGN_BATCH_MAX];
    struct ipc_msg m;
    unsigned got = 0;
    int err = 0;
    assert_int_equal(ipc_recv(peer, scratch, sizeof(scratch), sign_to_signer, &m, &err), STEP_DONE);
    assert_int_equal(sign_read_requests(&m, q, &got), 0);
    assert_int_equal(got, n);
    return q[0];
}

/* N requests in one message, numbered from FIRST. */
static bool send_some(uint64_t first, unsigned n) {
    struct sign_request q[SIGN_BATCH_MAX];
    for (unsigned i = 0; i < n; i++)
        q[i] = (struct sign_request){first + i, 3, 4, 0x0403, what};
    return signer_link_send(&l, q, n);
}

static void asks_and_takes_the_answer(void **state) {
    (void)state;
    for (uint32_t i = 1; i <= 3; i++) {
        say(asked(i), 0, 70 + i);
        assert_int_equal(ask(), 0);
        assert_int_equal(sig_len, 70 + i);
        assert_int_equal(sig[69], 0x77);
        struct sign_request q = heard(1);
        assert_int_equal(q.number, asked(i));
        assert_int_equal(q.set, 3);
        assert_int_equal(q.key, 4);
        assert_int_equal(q.scheme, 0x0403);
        assert_true(span_eq(q.tbs, what));
    }
    assert_int_equal(l.state, SIGNER_THERE);
}

static void a_refusal_is_no_end(void **state) {
    (void)state;
    say(asked(1), ERR_UNSUPPORTED, 0);
    assert_int_equal(ask(), ERR_SIGNER_REFUSED);
    assert_int_equal(l.refusals, 1);
    assert_int_equal(l.refused_for, ERR_UNSUPPORTED);
    say(asked(2), 0, 71);
    assert_int_equal(ask(), 0);
}

static void a_signature_that_does_not_fit_is_not_taken(void **state) {
    (void)state;
    memset(sig, 0, sizeof(sig));
    say(asked(1), 0, sizeof(sig) + 1);
    assert_int_equal(ask(), ERR_SIGNER_REFUSED);
    for (size_t i = 0; i < sizeof(sig); i++)
        assert_int_equal(sig[i], 0);
}

static void silence_is_waited_for_once(void **state) {
    (void)state;
    uint64_t began = clock_mono_ms();
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    uint64_t took = clock_mono_ms() - began;
    assert_true(took >= SIGNER_ANSWER_MS - 10 && took < SIGNER_ANSWER_MS + 5000);
    assert_int_equal(l.state, SIGNER_STUCK);
    began = clock_mono_ms();
    for (int i = 0; i < 100; i++)
        assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_true(clock_mono_ms() - began < SIGNER_ANSWER_MS);
    (void)heard(1);
    int err = 0;
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    assert_int_equal(ipc_recv(peer, scratch, sizeof(scratch), sign_to_signer, &m, &err), STEP_WANT_READ);
}

static void a_late_answer_ends_the_silence(void **state) {
    (void)state;
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_STUCK);
    say(asked(1), 0, 70);
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_THERE);
    say(asked(2), 0, 71);
    assert_int_equal(ask(), 0);
    assert_int_equal(sig_len, 71);
}

static void answers_to_given_up_questions_are_passed_over(void **state) {
    (void)state;
    assert_true(send_some(20, 2));
    say(asked(77), 0, 64); /* instead of two that it owes */
    say(asked(78), ERR_FORMAT, 0);
    say(asked(1), 0, 70);
    assert_int_equal(ask(), 0);
    assert_int_equal(sig_len, 70);
    assert_int_equal(ngiven, 0);
}

/* Nobody is woken by more than was asked for. */
static void an_answer_that_is_not_owed_ends_the_link(void **state) {
    (void)state;
    say(7, 0, 64);
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_GONE);
    assert_int_equal(l.breaches, 1);
    assert_int_equal(ngiven, 0);
}

/* All that it owes has come, but not what is waited for. */
static void an_answer_to_something_else_ends_the_link(void **state) {
    (void)state;
    say(asked(9), 0, 64);
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.state, SIGNER_GONE);
    assert_int_equal(l.breaches, 1);
}

static void a_set_that_it_lacks_is_not_asked_for(void **state) {
    (void)state;
    say(asked(1), ERR_NOT_FOUND, 0);
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.refusals, 0);
    assert_int_equal(l.state, SIGNER_THERE);
    assert_false(signer_link_serves(&l, 3));
    assert_false(signer_link_serves(&l, 2));
    assert_true(signer_link_serves(&l, 4));
    uint64_t before = l.asked;
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.asked, before);
    signer_link_lacks(&l, 1);
    assert_false(signer_link_serves(&l, 3));
    signer_link_close(&l);
    assert_false(signer_link_serves(&l, 4));
}

static void many_share_a_message(void **state) {
    (void)state;
    assert_int_equal(signer_link_room(&l), SIGNER_OWED_MAX);
    assert_true(send_some(100, 16));
    assert_true(send_some(200, 3));
    assert_int_equal(signer_link_room(&l), SIGNER_OWED_MAX - 19);
    assert_int_equal(heard(16).number, 100);
    assert_int_equal(heard(3).number, 200);
    say(201, 0, 70);
    say(200, ERR_UNSUPPORTED, 0);
    signer_link_look(&l);
    assert_int_equal(ngiven, 2);
    assert_int_equal(given[0], 201);
    assert_int_equal(given[1], 200);
    assert_int_equal(given_err[1], ERR_UNSUPPORTED);
    assert_int_equal(l.refusals, 1);
    assert_int_equal(l.owed, 17);
}

/* libssl asks in the middle of others' answers: those are passed on. */
static void a_question_in_between(void **state) {
    (void)state;
    assert_true(send_some(100, 2));
    say(100, 0, 70);
    say(101, 0, 71);
    say(asked(1), 0, 72);
    assert_int_equal(ask(), 0);
    assert_int_equal(sig_len, 72);
    assert_int_equal(ngiven, 2);
    assert_int_equal(l.owed, 0);
}

static void no_more_is_owed_than_the_limit(void **state) {
    (void)state;
    for (unsigned i = 0; i < SIGNER_OWED_MAX; i += SIGN_BATCH_MAX) {
        assert_true(signer_link_room(&l) >= SIGN_BATCH_MAX);
        assert_true(send_some(i, SIGN_BATCH_MAX));
    }
    assert_int_equal(signer_link_room(&l), 0);
    say(0, 0, 70);
    signer_link_look(&l);
    assert_int_equal(signer_link_room(&l), 1);
}

/* Without waiting: the time is looked at when somebody looks. */
static void a_signer_that_owes_too_long_is_stuck(void **state) {
    (void)state;
    assert_true(send_some(1, 2));
    say(1, 0, 70);
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_THERE);
    l.answer_ms -= SIGNER_ANSWER_MS;
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_STUCK);
    assert_int_equal(signer_link_room(&l), 0);
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    say(2, 0, 70);
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_THERE);
    assert_int_equal(ngiven, 2);
    l.answer_ms -= SIGNER_ANSWER_MS; /* who owes nothing may be silent */
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_THERE);
}

static int send_error; /* of the next send(); 0 = none */

ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags) {
    errno = send_error;
    send_error = 0;
    return errno ? -1 : __real_send(fd, p, n, flags);
}

/* Whether it owes answers or not; nobody says when there is memory again. */
static void without_memory_it_is_asked_again_soon(void **state) {
    (void)state;
    for (unsigned owed = 0; owed < 2; owed++) {
        assert_true(owed == 0 || send_some(1, owed));
        for (unsigned i = 0; i < 2; i++) {
            send_error = i ? ENOMEM : ENOBUFS;
            assert_false(send_some(8, 1));
            assert_int_equal(l.state, SIGNER_STUCK);
            assert_int_equal(l.owed, owed);
            signer_link_look(&l);
            assert_int_equal(l.state, SIGNER_STUCK);
            if (owed) {
                say(1, 0, 70);
            } else {
                assert_true(signer_link_due_ms(&l) <= clock_mono_ms() + SIGNER_RETRY_MS);
                l.answer_ms -= SIGNER_RETRY_MS;
            }
            signer_link_look(&l);
            assert_int_equal(l.state, SIGNER_THERE);
            assert_true(owed == 0 || send_some(1, owed));
        }
    }
    say(1, 0, 70);
    signer_link_look(&l);
    assert_int_equal(signer_link_due_ms(&l), UINT64_MAX);
}

static void other_faults_of_sending_end_the_link(void **state) {
    (void)state;
    send_error = EPERM;
    assert_false(send_some(1, 1));
    assert_int_equal(l.state, SIGNER_GONE);
    assert_int_equal(signer_link_due_ms(&l), UINT64_MAX);
}

static void its_end_is_noticed(void **state) {
    (void)state;
    close(peer);
    peer = -1;
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.state, SIGNER_GONE);
    assert_int_equal(l.fd, -1);
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    signer_link_look(&l); /* harmless */
}

/* It dies with the request unread: the kernel reports a reset. */
static void its_death_is_noticed_while_waiting(void **state) {
    (void)state;
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    close(peer);
    peer = -1;
    signer_link_look(&l);
    assert_int_equal(l.state, SIGNER_GONE);
}

static void nonsense_ends_the_link(void **state) {
    (void)state;
    static const uint8_t broken[][16] = {{0},
                                         {0, SIGN_ANSWERS},
                                         {0, SIGN_ANSWERS, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0},
                                         {0, SIGN_ANSWERS, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 1},
                                         {0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1},
                                         {0, SIGN_REQUESTS, 1}};
    static const size_t lens[] = {1, 2, 14, 15, 15, 3};
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        if (i)
            assert_int_equal(set_up(NULL), 0);
        assert_int_equal(send(peer, broken[i], lens[i], 0), lens[i]);
        assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
        assert_int_equal(l.state, SIGNER_GONE);
        assert_int_equal(l.breaches, 1);
        tear_down(NULL);
    }
    peer = -1;
}

static void a_message_that_is_too_long_is_nonsense(void **state) {
    (void)state;
    static uint8_t longer[2 + SIGN_ANSWERS_MAX + 100] = {0, SIGN_ANSWERS, 0, 0, 0, 1};
    assert_int_equal(send(peer, longer, sizeof(longer), 0), sizeof(longer));
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.state, SIGNER_GONE);
}

static void a_full_queue_is_silence(void **state) {
    (void)state;
    static uint8_t filler[1024];
    assert_true(send_some(1, 1));
    while (send(l.fd, filler, sizeof(filler), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        continue;
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(l.state, SIGNER_STUCK);
}

static void nothing_that_tls_does_not_sign_is_asked_for(void **state) {
    (void)state;
    what.len = 0;
    assert_int_equal(ask(), ERR_SIGNER_REFUSED);
    static uint8_t longer[SIGN_TBS_MAX + 1];
    what = span_of(longer, sizeof(longer));
    assert_int_equal(ask(), ERR_SIGNER_REFUSED);
    assert_int_equal(l.state, SIGNER_THERE);
}

static void a_new_link_replaces_the_old(void **state) {
    (void)state;
    int fds[2];
    assert_int_equal(ask(), ERR_SIGNER_TIMEOUT);
    assert_int_equal(ipc_pair(0, fds), 0);
    assert_int_equal(signer_link_open(&l, fds[0]), 0);
    uint8_t byte;
    assert_int_equal(recv(peer, sig, sizeof(sig), 0) > 0, 1); /* the old question */
    assert_int_equal(l.owed, 0);
    assert_int_equal(recv(peer, &byte, 1, 0), 0); /* and the end */
    close(peer);
    peer = fds[1];
    say(asked(2), 0, 70);
    assert_int_equal(ask(), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(asks_and_takes_the_answer),
        CASE(a_refusal_is_no_end),
        CASE(a_signature_that_does_not_fit_is_not_taken),
        CASE(silence_is_waited_for_once),
        CASE(a_late_answer_ends_the_silence),
        CASE(answers_to_given_up_questions_are_passed_over),
        CASE(an_answer_that_is_not_owed_ends_the_link),
        CASE(an_answer_to_something_else_ends_the_link),
        CASE(a_set_that_it_lacks_is_not_asked_for),
        CASE(many_share_a_message),
        CASE(a_question_in_between),
        CASE(no_more_is_owed_than_the_limit),
        CASE(a_signer_that_owes_too_long_is_stuck),
        CASE(without_memory_it_is_asked_again_soon),
        CASE(other_faults_of_sending_end_the_link),
        CASE(its_end_is_noticed),
        CASE(its_death_is_noticed_while_waiting),
        CASE(nonsense_ends_the_link),
        CASE(a_message_that_is_too_long_is_nonsense),
        CASE(a_full_queue_is_silence),
        CASE(nothing_that_tls_does_not_sign_is_asked_for),
        CASE(a_new_link_replaces_the_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
