/* Our own handshake against libssl's client: what is agreed on, and that the session goes on where the handshake ended. */
#include "tls/hs13.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "hs13_talk.h"

static void every_suite_leads_to_a_session_that_goes_on(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        if (suite_at(i)->version != TLS_1_3)
            continue;
        client_new(client_ctx);
        client_offers(suite_at(i));
        establish(server);
        assert_int_equal(result.suite, suite_at(i)->id);
        assert_int_equal(result.group, 0x001d);
        assert_false(result.resumed);
        assert_int_equal(record_layer.out.seq, 1); /* one ticket went out under the application key */
        assert_int_equal(record_layer.in.seq, 0);
        talk_and_close();
        leave();
    }
}

static void every_group_with_and_without_a_retry(void **state) {
    static const char *const names[] = {"X25519", "P-256", "P-384", "P-521"};
    static const char *const others[] = {"X448:X25519", "X448:P-256", "X448:P-384", "X448:P-521"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (unsigned retry = 0; retry < 2; retry++) {
            client_speaks();
            client_groups(retry ? others[i] : names[i]);
            establish(server);
            assert_int_equal(result.group, all_groups[i]);
            talk_and_close();
            leave();
        }
}

static void every_suite_is_resumed_with_and_without_a_retry(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        if (suite_at(i)->version != TLS_1_3)
            continue;
        for (unsigned retry = 0; retry < 2; retry++) {
            client_new(client_ctx);
            client_offers(suite_at(i));
            establish(server);
            both_ways(10);
            SSL_SESSION *session = SSL_get1_session(client);
            leave();
            for (int again = 0; again < 3; again++) {
                client_speaks();
                client_offers(suite_at(i));
                if (retry)
                    client_groups("X448:P-256");
                assert_int_equal(SSL_set_session(client, session), 1);
                establish(server);
                assert_true(result.resumed);
                assert_int_equal(result.sig_scheme, 0);
                SSL_SESSION_free(session);
                talk_and_close();
                session = SSL_get1_session(client);
                leave();
            }
            SSL_SESSION_free(session);
        }
    }
}

/* RFC 8446 4.6.1: the ticket rests on the Finished that the client will send, and is as good as one that is given after it. */
static void tickets_with_our_finished(void **state) {
    struct tls_policy p = policy_of("web");
    p.ticket_with_finished = true;
    struct tls_server *early = service_new(&p, shop.certs, tickets);
    for (size_t i = 0; suite_at(i); i++) {
        if (suite_at(i)->version != TLS_1_3)
            continue;
        SSL_SESSION *session = NULL;
        for (int again = 0; again < 3; again++) { /* the second and third by the ticket before, and one by the other way */
            client_new(client_ctx);
            client_offers(suite_at(i));
            assert_true(!session || SSL_set_session(client, session) == 1);
            meet(again == 2 ? server : early);
            assert_int_equal(shake(), HS13_DONE);
            assert_int_equal(buf_len(&conn.out) > 0, again == 2); /* the client's Finished is answered by nothing */
            finish();
            assert_int_equal(result.resumed, again > 0);
            assert_int_equal(record_layer.out.seq, 1);
            talk_and_close();
            SSL_SESSION_free(session);
            session = SSL_get1_session(client);
            assert_true(SSL_SESSION_is_resumable(session));
            leave();
        }
        SSL_SESSION_free(session);
    }
    tls_server_free(early);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_suite_leads_to_a_session_that_goes_on, clean_up),
        cmocka_unit_test_teardown(every_group_with_and_without_a_retry, clean_up),
        cmocka_unit_test_teardown(every_suite_is_resumed_with_and_without_a_retry, clean_up),
        cmocka_unit_test_teardown(tickets_with_our_finished, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
