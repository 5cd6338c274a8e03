/* Tickets between libssl on both sides: a server with the secret resumes, nobody else does, and nothing forged passes. */
#include "tls/tickets.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "make_cert.h"
#include "tls/hs_libssl_server.h"
#include "tls/suite.h"

static EVP_PKEY *key;
static X509 *cert;
static SSL_CTX *client_ctx;
static uint8_t secret[64], other_secret[64];

/* The clock that the keys follow; libssl has one of its own. */
static uint64_t hours = 500000;

uint64_t __wrap_clock_wall_us(void);
uint64_t __wrap_clock_wall_us(void) {
    return hours * 3600 * 1000 * 1000 + 1;
}

static struct tickets *tickets_of(const uint8_t from[static 64]) {
    struct tickets *t = tickets_new(&(struct span){from, 64}, 1);
    assert_non_null(t);
    return t;
}

static int setup(void **state) {
    key = make_key("EC:P-256");
    cert = make_cert(key, &(struct make_spec){.cn = "test"});
    client_ctx = SSL_CTX_new(TLS_client_method());
    for (size_t i = 0; i < sizeof(secret); i++) {
        secret[i] = (uint8_t)(i * 11);
        other_secret[i] = secret[i];
    }
    other_secret[sizeof(secret) - 1] ^= 1;
    return 0;
}

static int teardown(void **state) {
    SSL_CTX_free(client_ctx);
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

static SSL_CTX *server_with(struct tickets *t) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert_non_null(ctx);
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    assert_int_equal(SSL_CTX_set_session_id_context(ctx, (const uint8_t *)"web", 3), 1);
    assert_int_equal(hs_libssl_use_tickets(ctx, t), 0);
    return ctx;
}

/* Shakes hands, offering RESUME when there is one; the session the client could resume next, and whether this one was. */
static SSL_SESSION *shake(SSL_CTX *server_ctx, uint16_t version, SSL_SESSION *resume, bool *ret_resumed) {
    SSL *server = SSL_new(server_ctx), *client = SSL_new(client_ctx);
    BIO *a = NULL, *b = NULL;
    assert_int_equal(BIO_new_bio_pair(&a, 64 * 1024, &b, 64 * 1024), 1);
    SSL_set_bio(server, a, a);
    SSL_set_bio(client, b, b);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    assert_int_equal(SSL_set_min_proto_version(client, version), 1);
    assert_int_equal(SSL_set_max_proto_version(client, version), 1);
    if (resume)
        assert_int_equal(SSL_set_session(client, resume), 1);
    for (int i = 0; i < 4; i++) {
        (void)SSL_do_handshake(client); /* progress shows below */
        (void)SSL_do_handshake(server);
    }
    assert_true(SSL_is_init_finished(client) && SSL_is_init_finished(server));
    char byte;
    assert_int_equal(SSL_read(client, &byte, 1), -1); /* tickets of 1.3 are taken in */
    *ret_resumed = SSL_session_reused(server);
    SSL_SESSION *session = SSL_get1_session(client);
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(client);
    SSL_free(server);
    ERR_clear_error();
    return session;
}

/* Whether a session from a server with secret A is resumed by one with secret B. */
static bool passes(const uint8_t *a, const uint8_t *b, uint16_t version) {
    bool resumed = true;
    struct tickets *ta = tickets_of(a), *tb = tickets_of(b);
    SSL_CTX *ca = server_with(ta), *cb = server_with(tb);
    SSL_SESSION *first = shake(ca, version, NULL, &resumed);
    assert_false(resumed);
    assert_true(SSL_SESSION_is_resumable(first));
    SSL_SESSION *second = shake(cb, version, first, &resumed);
    SSL_SESSION_free(first);
    SSL_SESSION_free(second);
    SSL_CTX_free(ca);
    SSL_CTX_free(cb);
    tickets_free(ta);
    tickets_free(tb);
    return resumed;
}

static void the_same_secret_opens_the_tickets_of_another_process(void **state) {
    assert_true(passes(secret, secret, TLS_1_2));
    assert_true(passes(secret, secret, TLS_1_3));
}

static void another_secret_does_not(void **state) {
    assert_false(passes(secret, other_secret, TLS_1_2));
    assert_false(passes(secret, other_secret, TLS_1_3));
}

static void a_ticket_serves_again_and_brings_a_new_one(void **state) {
    static const uint16_t versions[] = {TLS_1_2, TLS_1_3};
    for (size_t v = 0; v < 2; v++) {
        bool resumed;
        struct tickets *t = tickets_of(secret);
        SSL_CTX *ctx = server_with(t);
        SSL_SESSION *s = shake(ctx, versions[v], NULL, &resumed);
        for (int i = 0; i < 3; i++) {
            SSL_SESSION *next = shake(ctx, versions[v], s, &resumed);
            assert_true(resumed);
            assert_true(SSL_SESSION_is_resumable(next));
            SSL_SESSION_free(s);
            s = next;
        }
        SSL_SESSION_free(s);
        SSL_CTX_free(ctx);
        tickets_free(t);
    }
}

/* A copy of a session whose ticket has one bit changed: the ticket is a value of its own in the DER form. */
static SSL_SESSION *forge(SSL_SESSION *s, size_t at) {
    const unsigned char *ticket = NULL;
    size_t len = 0;
    uint8_t der[4096];
    uint8_t *to = der;
    const uint8_t *from = der;
    SSL_SESSION_get0_ticket(s, &ticket, &len);
    assert_true(at < len);
    int n = i2d_SSL_SESSION(s, NULL);
    assert_true(n > 0 && (size_t)n <= sizeof(der));
    assert_int_equal(i2d_SSL_SESSION(s, &to), n);
    uint8_t *found = memmem(der, (size_t)n, ticket, len);
    assert_non_null(found);
    found[at] ^= 0x10;
    SSL_SESSION *forged = d2i_SSL_SESSION(NULL, &from, n);
    assert_non_null(forged);
    return forged;
}

static void a_changed_bit_anywhere_means_a_full_handshake(void **state) {
    static const uint16_t versions[] = {TLS_1_2, TLS_1_3};
    struct tickets *t = tickets_of(secret);
    SSL_CTX *ctx = server_with(t);
    for (size_t v = 0; v < 2; v++) {
        bool resumed;
        const unsigned char *ticket;
        size_t len = 0;
        SSL_SESSION *s = shake(ctx, versions[v], NULL, &resumed);
        SSL_SESSION_get0_ticket(s, &ticket, &len);
        assert_true(len > 16 + 16 + 32); /* name, IV, HMAC */
        for (size_t at = 0; at < len; at += 5) {
            SSL_SESSION *forged = forge(s, at);
            SSL_SESSION_free(shake(ctx, versions[v], forged, &resumed));
            assert_false(resumed);
            SSL_SESSION_free(forged);
        }
        SSL_SESSION_free(s);
    }
    SSL_CTX_free(ctx);
    tickets_free(t);
}

static SSL_SESSION *session_of(const uint8_t *from, uint8_t ret_name[static 16]) {
    bool resumed;
    const unsigned char *ticket;
    size_t len = 0;
    struct tickets *t = tickets_of(from);
    SSL_CTX *ctx = server_with(t);
    SSL_SESSION *s = shake(ctx, TLS_1_2, NULL, &resumed);
    SSL_SESSION_get0_ticket(s, &ticket, &len);
    assert_true(len > 32);
    memcpy(ret_name, ticket, 16);
    SSL_CTX_free(ctx);
    tickets_free(t);
    return s;
}

static void the_name_of_the_key_follows_from_the_secret(void **state) {
    uint8_t a[16], b[16], other[16];
    SSL_SESSION_free(session_of(secret, a));
    SSL_SESSION_free(session_of(secret, b));
    SSL_SESSION_free(session_of(other_secret, other));
    assert_memory_equal(a, b, 16);
    assert_memory_not_equal(a, other, 16);
    assert_null(memmem(a, 16, secret, 8));
}

static void tickets_say_how_long_they_last(void **state) {
    uint8_t name[16];
    SSL_SESSION *s = session_of(secret, name);
    assert_int_equal(SSL_SESSION_get_ticket_lifetime_hint(s), TICKETS_LIFETIME_S);
    SSL_SESSION_free(s);
}

/* Whether a ticket of hour FROM is opened in hour TO, by the same process or by one that started only then. */
static bool lasts(uint64_t from, uint64_t to, uint16_t version, bool restarted) {
    bool resumed;
    hours = from;
    struct tickets *t = tickets_of(secret);
    SSL_CTX *ctx = server_with(t);
    SSL_SESSION *first = shake(ctx, version, NULL, &resumed);
    hours = to;
    struct tickets *later = restarted ? tickets_of(secret) : NULL;
    SSL_CTX *later_ctx = restarted ? server_with(later) : NULL;
    SSL_SESSION_free(shake(restarted ? later_ctx : ctx, version, first, &resumed));
    SSL_SESSION_free(first);
    SSL_CTX_free(later_ctx);
    SSL_CTX_free(ctx);
    tickets_free(later);
    tickets_free(t);
    return resumed;
}

static void the_hours_beside_the_present_one_are_opened_and_no_others(void **state) {
    static const uint16_t versions[] = {TLS_1_2, TLS_1_3};
    for (size_t v = 0; v < 2; v++)
        for (int restarted = 0; restarted < 2; restarted++) {
            assert_false(lasts(500000, 499998, versions[v], restarted));
            assert_true(lasts(500000, 499999, versions[v], restarted)); /* made by a machine whose clock is ahead */
            assert_true(lasts(500000, 500000, versions[v], restarted));
            assert_true(lasts(500000, 500001, versions[v], restarted));
            assert_false(lasts(500000, 500002, versions[v], restarted));
            assert_false(lasts(500000, 600000, versions[v], restarted));
        }
}

/* A machine without a clock of its own starts in 1970: its keys are keys like any others. */
static void the_first_hour_of_all_has_keys_too(void **state) {
    uint8_t name[16], zero[16] = {0};
    assert_true(lasts(0, 0, TLS_1_3, false));
    assert_true(lasts(0, 1, TLS_1_3, false));
    hours = 0;
    SSL_SESSION_free(session_of(secret, name));
    assert_memory_not_equal(name, zero, 16);
    hours = 500000;
}

static void every_hour_has_a_name_of_its_own(void **state) {
    uint8_t names[5][16];
    for (size_t i = 0; i < 5; i++) {
        hours = 500000 + i;
        SSL_SESSION_free(session_of(secret, names[i]));
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(names[i], names[j], 16);
    }
    hours = 500000;
}

/* A ticket taken up in the next hour is answered with one of that hour: a client that comes back in time goes on for ever. */
static void a_session_is_resumed_from_hour_to_hour(void **state) {
    static const uint16_t versions[] = {TLS_1_2, TLS_1_3};
    bool resumed;
    struct tickets *t = tickets_of(secret);
    SSL_CTX *ctx = server_with(t);
    for (size_t v = 0; v < 2; v++) {
        SSL_SESSION *s = shake(ctx, versions[v], NULL, &resumed);
        for (int i = 0; i < 4; i++) {
            hours++;
            SSL_SESSION *next = shake(ctx, versions[v], s, &resumed);
            assert_true(resumed);
            SSL_SESSION_free(s);
            s = next;
        }
        SSL_SESSION_free(s);
    }
    hours = 500000;
    SSL_CTX_free(ctx);
    tickets_free(t);
}

static bool same_ticket(const SSL_SESSION *a, const SSL_SESSION *b) {
    const unsigned char *x, *y;
    size_t nx, ny;
    SSL_SESSION_get0_ticket(a, &x, &nx);
    SSL_SESSION_get0_ticket(b, &y, &ny);
    return nx == ny && memcmp(x, y, nx) == 0;
}

/* Clients that use a ticket of 1.3 only once would make a full handshake every other time otherwise. */
static void tickets_of_1_3_are_answered_with_new_ones(void **state) {
    bool resumed;
    struct tickets *t = tickets_of(secret);
    SSL_CTX *ctx = server_with(t);
    SSL_SESSION *s = shake(ctx, TLS_1_3, NULL, &resumed), *next = shake(ctx, TLS_1_3, s, &resumed);
    assert_true(resumed);
    assert_false(same_ticket(s, next));
    SSL_SESSION_free(s);
    SSL_SESSION_free(next);
    s = shake(ctx, TLS_1_2, NULL, &resumed);
    next = shake(ctx, TLS_1_2, s, &resumed);
    assert_true(resumed);
    assert_true(same_ticket(s, next));
    SSL_SESSION_free(s);
    SSL_SESSION_free(next);
    SSL_CTX_free(ctx);
    tickets_free(t);
}

static void secrets_of_a_wrong_length_are_refused(void **state) {
    static uint8_t many[TICKETS_SECRET_MAX + 1];
    assert_null(tickets_new(&(struct span){many, 0}, 1));
    assert_null(tickets_new(&(struct span){many, TICKETS_SECRET_MIN - 1}, 1));
    assert_null(tickets_new(&(struct span){many, TICKETS_SECRET_MAX + 1}, 1));
    struct tickets *t = tickets_new(&(struct span){many, TICKETS_SECRET_MAX}, 1);
    assert_non_null(t);
    tickets_free(t);
}

/* Of two secrets the first one seals, both open; and they are exchanged under those who use them. */
static void several_secrets_open_and_the_first_seals(void **state) {
    const struct span old[] = {{secret, 64}}, added[] = {{secret, 64}, {other_secret, 64}},
                      promoted[] = {{other_secret, 64}, {secret, 64}};
    struct tickets *t = tickets_of(secret), *next = tickets_new(promoted, 2);
    uint8_t ticket[TICKETS_SEALED_MORE + 5], newer[sizeof(ticket)], got[5];
    size_t len;
    assert_non_null(next);
    memcpy(ticket + TICKETS_SEALED_MORE - 16, "hello", 5);
    memcpy(newer + TICKETS_SEALED_MORE - 16, "newer", 5);
    assert_int_equal(tickets_seal(t, ticket, 5), 0);
    assert_int_equal(tickets_seal(next, newer, 5), 0);
    assert_int_equal(tickets_open(next, span_of(ticket, sizeof(ticket)), got, sizeof(got), &len), 0);
    assert_memory_equal(got, "hello", 5);
    assert_int_equal(tickets_open(t, span_of(newer, sizeof(newer)), got, sizeof(got), &len), ERR_NOT_FOUND);
    assert_true(tickets_use(t, added, 2));
    assert_int_equal(tickets_open(t, span_of(newer, sizeof(newer)), got, sizeof(got), &len), 0);
    assert_int_equal(tickets_open(t, span_of(ticket, sizeof(ticket)), got, sizeof(got), &len), 0);
    assert_false(tickets_use(t, added, 0));
    assert_false(tickets_use(t, added, TICKETS_SECRETS + 1));
    assert_true(tickets_use(t, old, 1));
    assert_int_equal(tickets_open(t, span_of(newer, sizeof(newer)), got, sizeof(got), &len), ERR_NOT_FOUND);
    tickets_free(t);
    tickets_free(next);
}

/* In libssl's container, with 1.2, where a ticket of the older secret is replaced. */
static void a_ticket_of_the_older_secret_is_renewed(void **state) {
    const struct span promoted[] = {{other_secret, 64}, {secret, 64}};
    struct tickets *t = tickets_of(secret);
    SSL_CTX *ctx = server_with(t);
    bool resumed;
    SSL_SESSION *s = shake(ctx, TLS_1_2, NULL, &resumed), *next;
    assert_true(tickets_use(t, promoted, 2));
    next = shake(ctx, TLS_1_2, s, &resumed);
    assert_true(resumed);
    assert_false(same_ticket(s, next));
    assert_true(tickets_use(t, promoted, 1));
    SSL_SESSION_free(shake(ctx, TLS_1_2, next, &resumed));
    assert_true(resumed);
    SSL_SESSION_free(shake(ctx, TLS_1_2, s, &resumed));
    assert_false(resumed);
    SSL_SESSION_free(s);
    SSL_SESSION_free(next);
    SSL_CTX_free(ctx);
    tickets_free(t);
}

static void none_are_freed(void **state) {
    tickets_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_secret_opens_the_tickets_of_another_process),
        cmocka_unit_test(another_secret_does_not),
        cmocka_unit_test(a_ticket_serves_again_and_brings_a_new_one),
        cmocka_unit_test(a_changed_bit_anywhere_means_a_full_handshake),
        cmocka_unit_test(the_name_of_the_key_follows_from_the_secret),
        cmocka_unit_test(tickets_say_how_long_they_last),
        cmocka_unit_test(the_hours_beside_the_present_one_are_opened_and_no_others),
        cmocka_unit_test(the_first_hour_of_all_has_keys_too),
        cmocka_unit_test(every_hour_has_a_name_of_its_own),
        cmocka_unit_test(a_session_is_resumed_from_hour_to_hour),
        cmocka_unit_test(tickets_of_1_3_are_answered_with_new_ones),
        cmocka_unit_test(secrets_of_a_wrong_length_are_refused),
        cmocka_unit_test(several_secrets_open_and_the_first_seals),
        cmocka_unit_test(a_ticket_of_the_older_secret_is_renewed),
        cmocka_unit_test(none_are_freed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
