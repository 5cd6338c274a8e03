/*
 * The life of a connection before it is a session, state by state: what leads from one to the next, what happens in each when
 * the client ends, resets or says nothing, when signer and relay are late, gone and back, in a drain, over a limit. After every
 * turn conn_bench.h looks whether all is in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/tcp.h>

#include "conn_bench.h"
#include "hello_draft.h"
#include "tls/server_internal.h"

static int set_up(void **state) {
    bench_begin();
    return 0;
}

static int begin(void **state) {
    bench_begin_run();
    return 0;
}

static int end(void **state) {
    bench_end_run();
    return 0;
}

static struct conn *only(void) {
    uint32_t slot = 0;
    struct conn *c = slab_next(&hand->conns, &slot);
    assert_int_equal(hand->conns.used, c != NULL);
    return c;
}

static int state_now(void) {
    const struct conn *c = only();
    return c ? c->state : CONN_DEAD;
}

static uint64_t handed(void) {
    return bench_count(STATS_HANDED_OVER) - bench_run.handed;
}

static void steps(struct bench_client *c, unsigned n) {
    while (n--) {
        client_step(c, SIZE_MAX);
        bench_turns(2);
    }
}

static void time_out(void) {
    bench_later(15000); /* the longest handshake_ms */
    bench_turn();
}

static void signers_are(enum bench_signs how) {
    bench_signers[0].how = bench_signers[1].how = how;
}

static void relays_die(void) {
    bench_relay_dies(0);
    bench_relay_dies(1);
    bench_turns(2);
}

/* ---- each state, and a connection in it ---- */

static struct bench_client *in_header(void) {
    return client_connect(0, LISTEN_PROXY, 1);
}

static struct bench_client *in_pause(void) {
    return client_connect(0, LISTEN_MAIL, 1);
}

static struct bench_client *in_prelude(void) {
    struct bench_client *c = client_connect(0, LISTEN_MAIL, 1);
    client_says(c, "EHLO me\r\n", 9);
    return c;
}

static struct bench_client *in_go_ahead(void) {
    struct bench_client *c = client_connect(0, LISTEN_MAIL, 1);
    client_is_full(c);
    client_says(c, "STARTTLS\r\n", 10);
    return c;
}

static struct bench_client *in_hello(void) {
    struct bench_client *c = client_connect(0, LISTEN_WEB, 1);
    client_tls(c, TLS_1_3);
    client_step(c, 50);
    return c;
}

static struct bench_client *in_handshake(void) {
    struct bench_client *c = client_connect(0, LISTEN_WEB, 1);
    client_tls(c, TLS_1_3);
    client_step(c, SIZE_MAX);
    return c;
}

static struct bench_client *in_signer(void) {
    signers_are(SIGNS_LATE);
    return in_handshake();
}

static struct bench_client *in_deliver(void) {
    relays_die();
    struct bench_client *c = client_connect(0, LISTEN_PASS, 1);
    client_tls(c, TLS_1_3);
    client_step(c, SIZE_MAX);
    return c;
}

static struct bench_client *in_closing(void) {
    struct bench_client *c = client_connect(0, LISTEN_WEB, 1);
    client_says(c, "GET / HTTP/1.1\r\n", 16);
    return c;
}

static const struct {
    enum conn_state state;
    struct bench_client *(*reach)(void);
    bool ends_with_client; /* its end is seen at once; else at the deadline */
} reached[] = {
    {CONN_HEADER, in_header, true},     {CONN_PAUSE, in_pause, true},     {CONN_PRELUDE, in_prelude, true},
    {CONN_GO_AHEAD, in_go_ahead, true}, {CONN_HELLO, in_hello, true},     {CONN_HANDSHAKE, in_handshake, true},
    {CONN_SIGNER, in_signer, true},     {CONN_QUEUED, in_deliver, false}, {CONN_CLOSING, in_closing, true},
};

static struct bench_client *reach(size_t i) {
    begin(NULL);
    struct bench_client *c = reached[i].reach();
    bench_turns(2);
    assert_int_equal(state_now(), reached[i].state);
    return c;
}

/* Nobody says anything any more: each has its deadline, reports it once, and goes. */
static void each_state_has_a_deadline(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(reached); i++) {
        reach(i);
        time_out();
        assert_true(state_now() == CONN_CLOSING || state_now() == CONN_DEAD);
        bench_later(1100);
        assert_int_equal(state_now(), CONN_DEAD);
        assert_int_equal(bench_run.failures, 1);
        end(NULL);
    }
}

static void each_state_sees_the_client_end(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(reached); i++)
        for (int leaves = 0; leaves < 2; leaves++) {
            struct bench_client *c = reach(i);
            if (leaves)
                client_leave(c);
            else
                client_end(c);
            bench_turns(2);
            assert_int_equal(state_now() == CONN_DEAD, reached[i].ends_with_client);
            time_out();
            bench_later(1100);
            assert_int_equal(state_now(), CONN_DEAD);
            assert_int_equal(bench_run.failures, 1);
            end(NULL);
        }
}

/* The process did not run for a while: that is nobody's fault. */
static void each_state_is_spared_a_pause(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(reached); i++) {
        reach(i);
        hand->loop.paused_us = 60000000;
        bench_us += 60000000;
        bench_turn();
        assert_int_equal(state_now(), reached[i].state);
        end(NULL);
    }
}

static void drains(enum drain_how how, uint64_t ms) {
    bench_run.drained = how == DRAIN_QUICK; /* those without a hello end without an event */
    assert_int_equal(control_send_drain(bench_control, &(struct control_drain){how, ms}), 0);
    bench_obey();
}

/* In a stop those that have said nothing go at once, all others when it is over. */
static void each_state_in_a_drain(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(reached); i++)
        for (int quick = 0; quick < 2; quick++) {
            reach(i);
            drains(quick ? DRAIN_QUICK : DRAIN_PATIENT, 500);
            assert_int_equal(state_now(), quick && reached[i].state <= CONN_HELLO ? CONN_DEAD : reached[i].state);
            bench_later(510);
            assert_int_equal(state_now(), CONN_DEAD);
            assert_false(hand->draining);
            assert_int_equal(bench_run.failures, !quick || reached[i].state > CONN_HELLO);
            end(NULL);
        }
}

/* What has left in the turn in which the time is over has its end already. */
static void a_session_leaves_as_the_drain_ends(void **state) {
    struct bench_client *c = client_connect(0, LISTEN_PASS, 1);
    client_tls(c, TLS_1_3);
    bench_turn();
    drains(DRAIN_PATIENT, 500);
    bench_us += 510000;
    hand->handed_us = 0; /* a batch is due */
    client_step(c, SIZE_MAX);
    bench_turn();
    assert_int_equal(handed(), 1);
    assert_int_equal(bench_run.failures, 0);
}

static void each_state_gives_way(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(reached); i++) {
        reach(i);
        bench_inside = true;
        conn_cut(hand, only(), ERR_GAVE_WAY);
        bench_inside = false;
        bench_turn();
        assert_int_equal(state_now(), CONN_DEAD);
        assert_int_equal(bench_run.failures, 1);
        end(NULL);
    }
}

/* ---- the way to a session ---- */

static void whole_handshakes(void **state) {
    static const uint16_t versions[] = {TLS_1_2, TLS_1_3};
    for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
        struct bench_client *c = client_connect((unsigned)i, LISTEN_WEB, 1);
        client_tls(c, versions[i]);
        steps(c, 4);
        assert_true(SSL_is_init_finished(c->ssl));
        assert_int_equal(handed(), i + 1);
    }
    assert_int_equal(bench_relay_reads(0, 9) + bench_relay_reads(1, 9), 2);
}

#if OWN_TLS13
static unsigned quick_acks;

static void count_quick_acks(int level, int name) {
    quick_acks += level == IPPROTO_TCP && name == TCP_QUICKACK;
}

/* A client with Nagle's algorithm on waits for our acknowledgement of its Finished, which a ticket carries. */
static void a_finished_is_acknowledged_at_once(void **state) {
    static const struct {
        bool early;   /* the ticket comes before */
        bool request; /* comes with the Finished */
        unsigned acks;
    } rows[] = {{false, false, 0}, {true, false, 1}, {true, true, 0}};
    struct tls_server *server = hand->services[LISTEN_WEB].server;
    bench_sees_option = count_quick_acks;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench_client *c = client_connect(i, LISTEN_WEB, 1);
        server->ticket_with_finished = rows[i].early;
        client_tls(c, TLS_1_3);
        quick_acks = 0;
        client_step(c, SIZE_MAX);
        bench_turns(4);
        client_step(c, SIZE_MAX);
        assert_true(SSL_is_init_finished(c->ssl));
        if (rows[i].request) {
            assert_int_equal(SSL_write(c->ssl, "request", 7), 7);
            client_step(c, SIZE_MAX);
        }
        bench_turns(2);
        assert_int_equal(handed(), i + 1);
        assert_int_equal(quick_acks, rows[i].acks);
    }
    server->ticket_with_finished = false;
}
#endif

/* P13: the client has sent all it has to say and is gone, so the ticket cannot be sent; LATER: it waited for room before. */
static void leaves_before_its_ticket(bool says, bool later) {
    begin(NULL);
    struct bench_client *c = in_handshake();
    bench_turns(3);
    client_step(c, SIZE_MAX);
    assert_true(SSL_is_init_finished(c->ssl));
    if (says) {
        assert_int_equal(SSL_write(c->ssl, "request", 7), 7);
        client_step(c, SIZE_MAX);
    }
    if (later) {
        fill(only()->fd);
        bench_turns(2);
        assert_int_equal(state_now(), CONN_FLUSH);
    }
    client_leave(c);
    bench_turns(2);
    assert_int_equal(handed(), says);
    assert_int_equal(bench_run.failures, !says);
    end(NULL);
}

static void a_ticket_that_cannot_be_sent_costs_no_request(void **state) {
    for (int i = 0; i < 4; i++)
        leaves_before_its_ticket(i & 1, i & 2);
}

static void a_byte_at_a_time(void **state) {
    struct bench_client *c = client_connect(0, LISTEN_WEB, 1);
    client_tls(c, TLS_1_3);
    for (unsigned i = 0; i < 2000 && handed() == 0; i++) {
        client_step(c, 1);
        bench_turn();
    }
    assert_int_equal(handed(), 1);
}

static void behind_a_load_balancer(void **state) {
    static const char header[] = "PROXY TCP4 10.0.0.5 192.0.2.1 1000 443\r\n";
    struct bench_client *c = client_connect(0, LISTEN_PROXY, 1);
    client_says(c, header, 20);
    bench_turn();
    assert_int_equal(state_now(), CONN_HEADER);
    client_says(c, header + 20, sizeof(header) - 21);
    bench_turn();
    assert_int_equal(state_now(), CONN_HELLO);
    assert_int_equal(only()->client.ip[3], 5);
    client_tls(c, TLS_1_3);
    steps(c, 4);
    assert_int_equal(handed(), 1);
}

static void strangers_name_no_clients(void **state) {
    client_connect(0, LISTEN_PROXY, 8);
    bench_turn();
    assert_int_equal(state_now(), CONN_DEAD);
    client_says(client_connect(1, LISTEN_PROXY, 1), "\x16\x03\x01", 3);
    bench_turn();
    assert_int_equal(state_now(), CONN_CLOSING);
    assert_int_equal(only()->reason, ERR_PROXY_MISSING);
    assert_int_equal(bench_run.failures, 2);
}

static void limits_refuse(void **state) {
    for (unsigned i = 0; i < 3; i++)
        client_connect(i, LISTEN_LIMITED, 1); /* two a client */
    bench_turn();
    assert_int_equal(hand->conns.used, 2);
    assert_int_equal(bench_run.failures, 1);
    for (unsigned i = 3; i < 8; i++)
        client_leave(client_connect(i, LISTEN_LIMITED, 2)); /* never accepted: they cost nothing */
    bench_turn();
    assert_int_equal(bench_run.failures, 1);
}

/* The client of address 1 is refused, then another list has address 2; a client that is there already stays. */
/* bench_check() compares the counts: of two with one name, one is a session and the other not yet. */
static void who_is_under_way_counts_beside_a_session(void **state) {
    for (unsigned i = 0; i < 2; i++)
        client_tls(client_connect(i, LISTEN_LIMITED, (uint8_t)(i + 1)), TLS_1_3);
    client_step(&bench_clients[1], SIZE_MAX);
    steps(&bench_clients[0], 4);
    assert_int_equal(handed(), 1);
    assert_true(only()->name_counted);
}

static void access_lists_refuse(void **state) {
    bench_new_access("10.0.0.1\n");
    bench_obey();
    client_connect(0, LISTEN_LIMITED, 1);
    client_connect(1, LISTEN_LIMITED, 2);
    client_connect(2, LISTEN_WEB, 1); /* of another service */
    bench_turn();
    assert_int_equal(hand->conns.used, 2);
    assert_int_equal(bench_run.failures, 1);
    bench_new_access("10.0.0.2\n");
    bench_obey();
    client_connect(3, LISTEN_LIMITED, 1);
    client_connect(4, LISTEN_LIMITED, 2);
    bench_turn();
    assert_int_equal(hand->conns.used, 3);
    assert_int_equal(bench_run.failures, 2);
    bench_new_access(NULL);
    bench_obey();
}

static void new_credentials_in_the_middle(void **state) {
    struct bench_client *c = in_handshake();
    bench_turn();
    bench_new_creds(true);
    bench_new_creds(false);
    bench_obey();
    steps(c, 3);
    assert_int_equal(handed(), 1);
    c = client_connect(1, LISTEN_WEB, 1);
    client_tls(c, TLS_1_2);
    steps(c, 4);
    assert_int_equal(handed(), 2);
}

/* ---- signers ---- */

static void what_signers_may_do(void **state) {
    static const int reasons[SIGNS_COUNT] = {
        [SIGNS_REFUSES] = ERR_SIGNER_REFUSED, [SIGNS_WRONG] = 0 /* the client sees it */, [SIGNS_WELL] = 0};
    for (enum bench_signs how = SIGNS_WELL; how < SIGNS_COUNT; how++) {
        begin(NULL);
        signers_are(how);
        struct bench_client *c = in_handshake();
        bench_turns(2);
        bool waits = how == SIGNS_LATE || how == SIGNS_OTHER || how == SIGNS_JUNK || how == SIGNS_DIES || how == SIGNS_LACKS;
        assert_int_equal(state_now(), waits ? CONN_SIGNER : how == SIGNS_REFUSES ? CONN_CLOSING : CONN_HANDSHAKE);
        assert_int_equal(only()->reason, reasons[how]);
        assert_int_equal(bench_run.breaches > 0, how == SIGNS_OTHER || how == SIGNS_JUNK);
        bench_signer_comes(0);
        bench_obey();
        bench_turns(2);
        steps(c, 4);
        assert_int_equal(handed(), how != SIGNS_REFUSES && how != SIGNS_WRONG);
        end(NULL);
    }
}

static void the_next_signer_is_asked(void **state) {
    bench_signers[0].how = SIGNS_LATE;
    struct bench_client *c = in_handshake();
    bench_turns(2);
    bench_later(SIGNER_ANSWER_MS); /* libssl has waited already */
    assert_int_equal(hand->signing.links[0].state, SIGNER_STUCK);
    steps(c, 3);
    assert_int_equal(handed(), 1);
    bench_sign(&bench_signers[0], SIGNS_WELL); /* nobody waits for that any more */
    bench_turn();
    assert_int_equal(hand->signing.links[0].state, SIGNER_THERE);
}

/* Both links, for a while; meanwhile they are left alone. */
static void there_is_no_memory_to_ask_a_signer(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct bench_client *c = client_connect(i, LISTEN_WEB, 1);
        client_tls(c, i ? TLS_1_2 : TLS_1_3);
        client_step(c, SIZE_MAX);
        bench_no_memory = 4;
        bench_turns(20);
        assert_int_equal(bench_no_memory, 2);
        assert_int_equal(state_now(), CONN_SIGNER);
        for (unsigned waits = 0; waits < 3; waits++)
            bench_later(SIGNER_RETRY_MS + 5);
        assert_int_equal(bench_no_memory, 0);
        steps(c, 4);
        assert_int_equal(handed(), i + 1);
        assert_int_equal(hand->signing.links[0].state, SIGNER_THERE);
    }
    assert_int_equal(bench_run.breaches, 0);
}

/* It was started while a set was being taken, with the next one. */
static void a_signer_that_lacks_the_set_is_not_asked_for_it(void **state) {
    (void)state;
    bench_signers[0].how = SIGNS_LACKS;
    for (unsigned i = 0; i < 2; i++) {
        struct bench_client *c = client_connect(i, LISTEN_WEB, 1);
        client_tls(c, i ? TLS_1_2 : TLS_1_3);
        steps(c, 4);
        assert_int_equal(handed(), i + 1);
    }
    assert_int_equal(hand->signing.links[0].state, SIGNER_THERE);
    assert_int_equal(hand->signing.links[0].lacks, certs_set(hand->certs));
    bench_new_creds(true);
    bench_obey();
    bench_signers[0].how = SIGNS_WELL;
    bench_signers[1].how = SIGNS_REFUSES; /* it is not asked */
    struct bench_client *c = client_connect(2, LISTEN_WEB, 2);
    client_tls(c, TLS_1_2);
    steps(c, 4);
    assert_int_equal(handed(), 3);
    assert_int_equal(hand->signing.links[0].lacks, 0);
}

/*
 * Both lack the set, and get the next one: who waits for the older one has waited in vain. libssl begins again from the hello,
 * as does who has not begun.
 */
static void who_began_with_a_set_that_nobody_has_fails(void **state) {
    (void)state;
    signers_are(SIGNS_LACKS);
    struct bench_client *old = in_handshake(), *fresh = client_connect(1, LISTEN_WEB, 2);
    client_tls(fresh, TLS_1_2);
    client_step(fresh, SIZE_MAX);
    bench_turns(3);
    assert_false(signing_there(hand));
    signers_are(SIGNS_WELL);
    bench_turns(3);
    assert_int_equal(handed(), 0);
    assert_int_equal(bench_run.failures, 0);
    bench_new_creds(true);
    bench_obey();
    assert_true(signing_there(hand));
    bench_turns(2);
    steps(fresh, 4);
    steps(old, 4);
    assert_int_equal(handed(), OWN_TLS13 ? 1 : 2);
    assert_int_equal(bench_run.failures, OWN_TLS13 ? 1 : 0);
    assert_int_equal(bench_run.reason, OWN_TLS13 ? ERR_SIGNER_TIMEOUT : 0);
}

/* Its end is noticed after the link of the next one is there: what it has not answered is asked again there. */
static void a_signer_is_replaced_within_a_turn(void **state) {
    signers_are(SIGNS_LATE);
    struct bench_client *c = in_handshake();
    bench_turns(2);
    bench_new_access(NULL);
    bench_turn(); /* its socket is at the front of those that are ready */
    bench_signer_comes(0);
    bench_obey();
    bench_turns(2);
    assert_int_equal(hand->signing.links[0].state, SIGNER_THERE);
    assert_int_equal(bench_run.breaches, 0);
    steps(c, 3);
    assert_int_equal(handed(), 1);
    assert_true(bench_signers[0].asked > 0);
}

/* Nobody answers in time; then the signer does, and all that wait go on with what they have computed. */
static void late_answers_are_good(void **state) {
    reach(6);
    bench_later(SIGNER_ANSWER_MS);
    bench_later(SIGNER_ANSWER_MS); /* the next one's time is over, too */
    assert_int_equal(state_now(), CONN_SIGNER);
    assert_false(signing_there(hand));
    signers_are(SIGNS_WELL);
    bench_turns(2);
    steps(&bench_clients[0], 4);
    assert_int_equal(handed(), 1);
    end(NULL);
}

#if OWN_TLS13 /* it steps aside; libssl waits for each signature on its own */

/* A new set came into use while its request was on the way. */
static void each_signer_is_asked_once_for_a_set_that_it_lacks(void **state) {
    (void)state;
    signers_are(SIGNS_LATE);
    (void)in_handshake();
    bench_turns(2);
    bench_new_creds(true);
    bench_obey();
    bench_signers[0].asked = bench_signers[1].asked = 0;
    signers_are(SIGNS_LACKS);
    bench_turns(20);
    assert_int_equal(bench_signers[0].asked, 1);
    assert_int_equal(bench_signers[1].asked, 1);
    assert_int_equal(bench_run.failures, 1);
    assert_int_equal(bench_run.reason, ERR_SIGNER_TIMEOUT);
}

static void the_signatures_of_a_turn_share_a_message(void **state) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct sign_request q[SIGN_BATCH_MAX];
    struct ipc_msg m;
    unsigned n = 0;
    int err = 0;
    signers_are(SIGNS_LATE);
    for (unsigned i = 0; i < BENCH_CLIENTS; i++) {
        struct bench_client *c = client_connect(i, LISTEN_WEB, 1);
        client_tls(c, TLS_1_3);
        client_step(c, SIZE_MAX);
    }
    bench_turns(2);
    assert_int_equal(hand->signing.links[0].owed, BENCH_CLIENTS);
    assert_int_equal(ipc_recv(bench_signers[0].fd, scratch, sizeof(scratch), sign_to_signer, &m, &err), STEP_DONE);
    assert_int_equal(sign_read_requests(&m, q, &n), 0);
    assert_int_equal(n, BENCH_CLIENTS);
    for (unsigned i = 0; i < n; i++)
        bench_answer(&bench_signers[0], &q[n - 1 - i], SIGNS_WELL); /* in any order */
    bench_turns(2);
    for (unsigned i = 0; i < BENCH_CLIENTS; i++)
        steps(&bench_clients[i], 2);
    assert_int_equal(handed(), BENCH_CLIENTS);
}

/* Its client has left, and another connection has its place: the answer is for neither. */
static void answers_for_who_has_gone(void **state) {
    struct bench_client *c = in_signer();
    bench_turns(2);
    uint32_t slot = only()->item.slot;
    client_leave(c);
    bench_turns(2);
    assert_int_equal(state_now(), CONN_DEAD);
    c = client_connect(1, LISTEN_WEB, 1);
    client_tls(c, TLS_1_3);
    client_step(c, SIZE_MAX);
    bench_turns(2);
    assert_int_equal(only()->item.slot, slot);
    assert_int_equal(hand->signing.links[0].owed, 2);
    signers_are(SIGNS_WELL);
    bench_turns(2);
    assert_int_equal(hand->signing.links[0].owed, 0);
    steps(c, 3);
    assert_true(SSL_is_init_finished(c->ssl));
    assert_int_equal(handed(), 1);
}

/* Bytes that come while the signature is waited for are not looked at, and not lost. */
static void bytes_during_a_signature(void **state) {
    static const uint8_t ccs[] = {20, 3, 3, 0, 1, 1};
    struct bench_client *c = in_signer();
    bench_turns(2);
    client_says(c, ccs, sizeof(ccs));
    bench_turns(2);
    assert_int_equal(state_now(), CONN_SIGNER);
    assert_int_equal(buf_len(&only()->in), 0);
    signers_are(SIGNS_WELL);
    steps(c, 4);
    assert_int_equal(handed(), 1);
}

#endif

/* A refused connection that has not gone yet does not wait any more: the signer's return must not find it. */
static void a_signer_comes_back_after_the_deadline(void **state) {
    for (int comes = 0; comes < 2; comes++) {
        reach(6);
        bench_later(10100);
        assert_int_equal(state_now(), CONN_CLOSING);
        assert_true(list_empty(&hand->signing.helloed) && list_empty(&hand->signing.unasked));
        if (comes)
            bench_signer_comes(0);
        else
            bench_sign(&bench_signers[0], SIGNS_WELL);
        bench_obey();
        bench_turns(2);
        assert_int_equal(state_now(), CONN_CLOSING);
        end(NULL);
    }
}

/* ---- relays ---- */

static void a_relay_comes_back(void **state) {
    in_deliver();
    bench_turns(2);
    bench_relay_comes(1);
    bench_obey();
    bench_turn();
    assert_int_equal(handed(), 1);
    assert_int_equal(bench_relay_reads(1, 9), 1);
}

/* A full link wakes the handshaker when there is room, and nothing is lost that was not handed over. */
/* The end of the old link is noticed after the new one is there. */
static void a_relay_is_replaced_within_a_turn(void **state) {
    bench_relay_dies(1);
    bench_new_access(NULL);
    bench_turn(); /* its socket is at the front of those that are ready */
    bench_relay_comes(0);
    bench_obey();
    bench_turns(2);
    assert_true(hand->links[0].fd >= 0);
    steps(in_handshake(), 4);
    assert_int_equal(handed(), 1);
    assert_int_equal(bench_relay_reads(0, 9), 1);
}

static void relays_are_full(void **state) {
    unsigned got = 0;
    for (unsigned i = 0; i < 400 && state_now() != CONN_QUEUED; i++) {
        struct bench_client *c = client_connect(i % BENCH_CLIENTS, LISTEN_PASS, 1);
        client_tls(c, TLS_1_3);
        client_step(c, SIZE_MAX);
        bench_turns(2);
    }
    assert_int_equal(state_now(), CONN_QUEUED);
    for (unsigned i = 0; i < 50 && state_now() == CONN_QUEUED; i++) {
        got += bench_relay_reads(0, 1) + bench_relay_reads(1, 1);
        bench_later(20);
    }
    assert_int_equal(state_now(), CONN_DEAD);
    got += bench_relay_reads(0, 999) + bench_relay_reads(1, 999);
    assert_int_equal(got, handed());
    assert_int_equal(bench_run.failures, 0);
}

/* A ClientHello of that many bytes that the service passes on unopened, and all that a relay gets of it. */
static void say_long_hello(size_t padding) {
    static const uint8_t zeros[65535];
    struct bench_client *c = client_connect(0, LISTEN_PASS, 1);
    struct draft *d = fresh();
    extend(d, 21, span_of(zeros, padding)); /* RFC 7685 */
    struct span hello = finish(d);
    for (size_t at = 0; at < hello.len; at += 16000) {
        size_t n = MIN(hello.len - at, 16000);
        const uint8_t head[] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};
        client_says(c, head, sizeof(head));
        client_says(c, hello.p + at, n);
        bench_turn();
    }
}

static void more_than_a_relay_takes_is_refused(void **state) {
    say_long_hello(38000);
    assert_int_equal(handed(), 1);
    bench_later(2000);
    client_leave(&bench_clients[0]);
    say_long_hello(60000);
    assert_int_equal(handed(), 1);
    assert_int_equal(bench_run.failures, 1);
    assert_true(hand->links[0].fd >= 0 && hand->links[1].fd >= 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_a_deadline),
        cmocka_unit_test(each_state_sees_the_client_end),
        cmocka_unit_test(each_state_is_spared_a_pause),
        cmocka_unit_test(each_state_in_a_drain),
        cmocka_unit_test_setup_teardown(a_session_leaves_as_the_drain_ends, begin, end),
        cmocka_unit_test(each_state_gives_way),
        cmocka_unit_test_setup_teardown(whole_handshakes, begin, end),
        cmocka_unit_test(a_ticket_that_cannot_be_sent_costs_no_request),
        cmocka_unit_test_setup_teardown(a_byte_at_a_time, begin, end),
        cmocka_unit_test_setup_teardown(behind_a_load_balancer, begin, end),
        cmocka_unit_test_setup_teardown(strangers_name_no_clients, begin, end),
        cmocka_unit_test_setup_teardown(limits_refuse, begin, end),
        cmocka_unit_test_setup_teardown(who_is_under_way_counts_beside_a_session, begin, end),
        cmocka_unit_test_setup_teardown(access_lists_refuse, begin, end),
        cmocka_unit_test_setup_teardown(new_credentials_in_the_middle, begin, end),
        cmocka_unit_test(what_signers_may_do),
        cmocka_unit_test_setup_teardown(the_next_signer_is_asked, begin, end),
        cmocka_unit_test_setup_teardown(a_signer_that_lacks_the_set_is_not_asked_for_it, begin, end),
        cmocka_unit_test_setup_teardown(who_began_with_a_set_that_nobody_has_fails, begin, end),
        cmocka_unit_test_setup_teardown(a_signer_is_replaced_within_a_turn, begin, end),
        cmocka_unit_test(late_answers_are_good),
#if OWN_TLS13
        cmocka_unit_test_setup_teardown(the_signatures_of_a_turn_share_a_message, begin, end),
        cmocka_unit_test_setup_teardown(each_signer_is_asked_once_for_a_set_that_it_lacks, begin, end),
        cmocka_unit_test_setup_teardown(answers_for_who_has_gone, begin, end),
        cmocka_unit_test_setup_teardown(bytes_during_a_signature, begin, end),
        cmocka_unit_test_setup_teardown(a_finished_is_acknowledged_at_once, begin, end),
#endif
        cmocka_unit_test(a_signer_comes_back_after_the_deadline),
        cmocka_unit_test_setup_teardown(a_relay_comes_back, begin, end),
        cmocka_unit_test_setup_teardown(a_relay_is_replaced_within_a_turn, begin, end),
        cmocka_unit_test_setup_teardown(relays_are_full, begin, end),
        cmocka_unit_test_setup_teardown(more_than_a_relay_takes_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(there_is_no_memory_to_ask_a_signer, begin, end),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
