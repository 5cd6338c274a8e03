/* What the key log of a handshake has, against what libssl's client logs of the same one. */
#include "tls/key_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "handshake_talk.h"

static char ours[4096], theirs[4096];
static struct text our_log, their_log;

static void take_ours(void *ctx, struct span line) {
    text_add_span(ctx, line);
}

static void take_theirs(const SSL *ssl, const char *line) {
    (void)ssl;
    text_add(&their_log, line);
    text_add(&their_log, "\n");
}

static const struct key_log to_ours = {take_ours, &our_log};

static void logs_are_empty(void) {
    our_log = text_of(ours, sizeof(ours));
    their_log = text_of(theirs, sizeof(theirs));
}

/* Every line of theirs is one of ours, and there are as many. */
static void logs_agree(void) {
    size_t n = 0;
    assert_false(our_log.cut || their_log.cut);
    for (char *line = theirs; *line; n++) {
        char *end = strchr(line, '\n');
        *end = 0;
        assert_non_null(strstr(ours, line));
        line = end + 1;
    }
    for (const char *line = ours; (line = strchr(line, '\n')); line++)
        n--;
    assert_int_equal(n, 0);
}

static void shake_hands_logged(const struct tls_server *with, const struct key_log *to) {
    logs_are_empty();
    SSL_CTX_set_keylog_callback(client_ctx, take_theirs);
    talk_log = to;
    establish(with);
    talk_log = NULL;
    talk_and_close();
    leave();
    SSL_CTX_set_keylog_callback(client_ctx, NULL);
}

static void every_suite_logs_what_its_client_logs(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        client_new(client_ctx);
        client_offers(suite_at(i));
        shake_hands_logged(server, &to_ours);
        assert_true(our_log.len > 0);
        logs_agree();
    }
}

static void a_resumed_session_logs_too(void **state) {
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *session = session_with(server, both_versions[v]);
        client_speaks(both_versions[v]);
        assert_int_equal(SSL_set_session(client, session), 1);
        shake_hands_logged(server, &to_ours);
        assert_true(result.resumed);
        assert_true(our_log.len > 0);
        logs_agree();
        SSL_SESSION_free(session);
    }
}

/* A service whose secrets come from our provider has libssl's key log off but for handshakes that want it. */
static void one_handshake_is_logged_and_its_neighbors_are_not(void **state) {
    struct tls_policy p = service_policy("web");
    struct tls_server *s = service_new(&p, certs, tickets);
    assert_true(tls_server_selftest(s));
    for (size_t v = 0; v < 2; v++)
        for (size_t logged = 0; logged < 3; logged++) {
            client_speaks(both_versions[v]);
            shake_hands_logged(s, logged == 1 ? &to_ours : NULL);
            if (logged == 1)
                logs_agree();
            assert_int_equal(our_log.len > 0, logged == 1);
        }
    tls_server_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_suite_logs_what_its_client_logs, clean_up),
        cmocka_unit_test_teardown(a_resumed_session_logs_too, clean_up),
        cmocka_unit_test_teardown(one_handshake_is_logged_and_its_neighbors_are_not, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
