/* What stays after a handshake, and what is known of it: nothing, and the key log. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "hs13_cases.h"

/* S8: bad and good hellos in turn. */
static void nothing_of_a_handshake_stays_for_the_next(void **state) {
    (void)state;
    for (int i = 0; i < 300; i++) {
        begin_case(server);
        shake_hands();
        begin_case(server);
        if (i % 3 == 0)
            raw_set(&hello, EXT_SHARE,
                    RAW_LIT("\0\x24\0\x1d\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"));
        else if (i % 3 == 1)
            raw_drop(&hello, EXT_GROUPS);
        else
            hello.nexts = 0;
        say_hello();
        assert_true(last == HS13_FAILED || (i % 3 == 2 && last == HS13_FAILED));
    }
}

/* Whether the bytes are in the memory that handshakes have had. */
static bool remembered(const uint8_t *secret, size_t len) {
    return memmem(env.states.base, env.states.committed, secret, len) ||
           memmem(env.scratch, sizeof(struct hs13_share) + sizeof(struct hs13_ticket), secret, len);
}

static void no_secret_stays_after_a_handshake(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        uint8_t secrets[4][32];
        greet_us(server, false);
        memcpy(secrets[0], rc.out.secret, 32);
        memcpy(secrets[1], rc.client_app, 32);
        memcpy(secrets[2], rc.in.secret, 32);
        memcpy(secrets[3], rc.keys.secret, 32);
        assert_true(remembered(secrets[0], 32) && remembered(secrets[1], 32) && remembered(secrets[2], 32));
        if (good)
            raw_finish(&rc);
        else
            raw_send(&rc, CONTENT_HANDSHAKE, RAW_LIT("x"));
        exchange_flights();
        if (good)
            expect_done(); /* the record layer has them now */
        else
            assert_int_equal(last, HS13_FAILED);
        for (size_t i = 0; i < 4; i++)
            assert_false(remembered(secrets[i], 32));
    }
}

static unsigned log_lines;
static char log_text[8][256];

static void take_log(void *ctx, struct span line) {
    assert_null(ctx);
    assert_true(line.len < sizeof(log_text[0]));
    snprintf(log_text[log_lines++ % 8], sizeof(log_text[0]), "%.*s", (int)line.len, (const char *)line.p);
}

/* X3 */
static void the_key_log_has_five_lines_and_only_when_it_is_on(void **state) {
    (void)state;
    static const struct key_log log = {take_log, NULL};
    static const char *const labels[] = {"CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_HANDSHAKE_TRAFFIC_SECRET",
                                         "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"};
    log_lines = 0;
    begin_case(server);
    shake_hands();
    assert_int_equal(log_lines, 0);
    begin_case(server);
    conn.log = &log;
    shake_hands();
    assert_int_equal(log_lines, 5);
    for (size_t i = 0; i < 5; i++) {
        char head[128];
        struct text t = text_of(head, sizeof(head));
        text_addf(&t, "%s ", labels[i]);
        text_add_hex(&t, span_of(hello.random, 32));
        text_add(&t, " ");
        assert_memory_equal(log_text[i], head, t.len);
        assert_int_equal(strlen(log_text[i]), t.len + 64 + 1);
        assert_int_equal(log_text[i][t.len + 64], '\n');
    }
}

/* What is random in a handshake of ours, as the client sees it. */
struct seen {
    uint8_t random[32], share[32], ticket[64];
};

static struct seen shake_and_look(void) {
    struct seen r;
    begin_case(server);
    raw_hello(&rc, &hello);
    last = hs13_conn_step(&conn, &rc.sent);
    struct span s = buf_span(&conn.out);
    memcpy(r.random, s.p + 5 + 4 + 2, 32);
    const uint8_t *share = memmem(s.p, 200, "\0\x33\0\x24\0\x1d\0\x20", 8);
    assert_non_null(share);
    memcpy(r.share, share + 8, 32);
    raw_hear(&rc, &conn.out);
    raw_finish(&rc);
    exchange_flights();
    memcpy(r.ticket, rc.ticket + 16, sizeof(r.ticket)); /* behind the name of the key */
    return r;
}

static void make_environment(void) {
    struct tls_policy p = case_policy("web");
    engine_contexts_init(&contexts, engine_find("auto"));
    MUST(hs13_env_init(&env, &contexts, 1) == 0);
    tickets = service_tickets(1);
    server = service_new(&p, shop.certs, tickets);
}

/* X1: whatever was made before the fork, and in either process. */
static void no_two_processes_say_the_same(void **state) {
    (void)state;
    enum { CHILDREN = 16 };
    struct seen all[CHILDREN];
    struct hs13_share share;
    int ends[2];
    begin_case(server); /* what libcrypto has in stock of numbers and keys is there before the fork */
    assert_int_equal(hs13_exchange(0x001d, span_of("a point like any other, 32 bytes", 32), &share), 0);
    end_case(NULL);
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            make_environment(); /* locked memory of the parent's is not in a child at all */
            struct seen mine = shake_and_look();
            _exit(write(ends[1], &mine, sizeof(mine)) == sizeof(mine) ? 0 : 1);
        }
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status = 1;
        assert_true(wait(&status) > 0 && status == 0);
        assert_int_equal(read(ends[0], &all[i], sizeof(all[i])), sizeof(all[i]));
    }
    close(ends[0]);
    close(ends[1]);
    for (int i = 0; i < CHILDREN; i++)
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(all[i].random, all[j].random, 8);
            assert_memory_not_equal(all[i].share, all[j].share, 8);
            assert_memory_not_equal(all[i].ticket, all[j].ticket, 8);
        }
}

int main(void) {
#define CASE(name) cmocka_unit_test_teardown(name, end_case)
    const struct CMUnitTest tests[] = {
        CASE(no_two_processes_say_the_same), /* before there is anything in locked memory */
        CASE(nothing_of_a_handshake_stays_for_the_next),
        CASE(no_secret_stays_after_a_handshake),
        CASE(the_key_log_has_five_lines_and_only_when_it_is_on),
    };
    return cmocka_run_group_tests(tests, cases_setup, cases_teardown);
}
