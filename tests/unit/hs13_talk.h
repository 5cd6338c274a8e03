/* Our own handshake and libssl's client, in memory, up to the record layer that goes on. After cmocka.h. */
#pragma once

#include "hs13_service.h"
#include "libssl_talk.h"

static SSL_CTX *client_ctx;
static struct hs13_shop shop;
static struct tickets *tickets;
static struct hs13_env env;
static struct tls_server *server; /* the usual one: everything we have */

/* The connection at hand. PENDING holds the client's bytes that our side has not taken. */
static struct hs13_conn conn;
static struct handshake_result result;
static struct buf pending;

static const uint16_t all_groups[] = {0x001d, 0x0017, 0x0018, 0x0019};

static inline struct tls_policy policy_of(const char *name) {
    struct tls_policy p = service_policy(name);
    p.groups = all_groups;
    p.ngroups = ARRAY_LEN(all_groups);
    return p;
}

static inline int setup(void **state) {
    (void)state;
    static const char *const types[] = {"EC:P-256", "RSA:2048"};
    talk_setup();
    assert_int_equal(hs13_env_init(&env, &contexts, 64), 0);
    client_ctx = SSL_CTX_new(TLS_client_method());
    shop = hs13_shop_new(types, ARRAY_LEN(types));
    tickets = service_tickets(1);
    struct tls_policy p = policy_of("web");
    server = service_new(&p, shop.certs, tickets);
    buf_init(&pending, 512 * 1024);
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    tls_server_free(server);
    tickets_free(tickets);
    certs_free(shop.certs);
    SSL_CTX_free(client_ctx);
    hs13_env_fini(&env);
    talk_teardown();
    return 0;
}

static inline void leave(void) {
    hs13_conn_close(&conn);
    record_layer_wipe(&record_layer);
    buf_fini(&pending);
    if (client)
        SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    disconnect();
}

static inline int clean_up(void **state) {
    (void)state;
    leave();
    assert_int_equal(env.states.used, 0); /* nothing is left behind, whatever happened */
    return 0;
}

static inline void client_speaks(void) {
    client_new(client_ctx);
    assert_int_equal(SSL_set_min_proto_version(client, TLS_1_3), 1);
}

static inline void client_groups(const char *names) {
    assert_int_equal(SSL_set1_groups_list(client, (uintptr_t)names), 1);
}

/* libssl's macros cast const away. */
static inline int client_asks_for(const char *name) {
    return !name || SSL_set_tlsext_host_name(client, (char *)(uintptr_t)name) == 1;
}

/* What the client has to say goes to the end of PENDING. */
static inline void receive_client(void) {
    (void)SSL_do_handshake(client); /* progress shows in the bytes */
    for (int n; (n = BIO_read(from_client, wire, sizeof wire)) > 0;)
        assert_int_equal(buf_append(&pending, wire, (size_t)n), 0);
}

static inline void answer_client(void) {
    struct span s = buf_span(&conn.out);
    if (s.len)
        assert_int_equal(BIO_write(to_client, s.p, (int)s.len), (int)s.len);
    buf_consume(&conn.out, s.len);
}

static inline void meet(const struct tls_server *with) {
    hs13_conn_open(&conn, &env, with, &shop);
    receive_client();
}

/* Both sides talk until ours is done or has failed. */
static inline enum hs13_step shake(void) {
    enum hs13_step step = hs13_conn_step(&conn, &pending);
    for (int i = 0; i < 5 && step == HS13_WANT_READ; i++) {
        answer_client();
        receive_client();
        step = hs13_conn_step(&conn, &pending);
    }
    return step;
}

static inline void finish(void) {
    assert_int_equal(hs13_finish(conn.h, &result), 0);
    assert_true(record_layer_valid(&result.record_layer));
    record_layer = result.record_layer;
    answer_client();
    (void)SSL_do_handshake(client);
    assert_true(SSL_is_init_finished(client));
    assert_int_equal(result.suite, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client)));
    assert_int_equal(result.resumed, SSL_session_reused(client));
}

static inline void establish(const struct tls_server *with) {
    meet(with);
    assert_int_equal(shake(), HS13_DONE);
    assert_int_equal(buf_len(&pending), 0);
    finish();
}

/* Numbers and keys are right when records pass both ways, and so does the end. */
static inline void talk_and_close(void) {
    size_t n;
    int err;
    for (size_t len = 1; len < 20; len++)
        both_ways(len);
    both_ways(16384);
    both_ways(100000);
    assert_int_equal(SSL_shutdown(client), 0);
    assert_int_equal(record_layer_take(&n, &err), STEP_EOF);
    assert_int_equal(record_layer_alert(&record_layer, &contexts, ALERT_CLOSE_NOTIFY, out, &n), 0);
    assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
    assert_int_equal(SSL_shutdown(client), 1);
}

/* A session that the client can resume, from a connection with WITH. */
static inline SSL_SESSION *session_with(const struct tls_server *with) {
    client_speaks();
    establish(with);
    both_ways(10);
    SSL_SESSION *session = SSL_get1_session(client);
    assert_true(SSL_SESSION_is_resumable(session));
    leave();
    return session;
}
