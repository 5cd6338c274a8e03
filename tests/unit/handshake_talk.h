/* Our side of a handshake and libssl's client, in memory, up to the record layer that goes on. After cmocka.h. */
#pragma once

#include "hs_service.h"
#include "libssl_talk.h"
#include "tls/hello_find.h"

static SSL_CTX *client_ctx;
static struct certs *certs;
static struct tickets *tickets;
static struct tls_server *server; /* the usual one: everything we have */

/* The connection at hand. PENDING holds the client's bytes that our side has not taken. */
static struct handshake *hs;
static struct handshake_result result;
static struct buf answer, pending;
static const struct key_log *talk_log; /* of the next handshake; NULL = none */

static inline int setup(void **state) {
    talk_setup();
    client_ctx = SSL_CTX_new(TLS_client_method());
    certs = service_certs_both();
    tickets = service_tickets(1);
    struct tls_policy p = service_policy("web");
    server = service_new(&p, certs, tickets);
    buf_init(&answer, 128 * 1024);
    buf_init(&pending, 128 * 1024);
    return 0;
}

static inline int teardown(void **state) {
    tls_server_free(server);
    tickets_free(tickets);
    certs_free(certs);
    SSL_CTX_free(client_ctx);
    talk_teardown();
    return 0;
}

static inline void leave(void) {
    handshake_free(hs);
    hs = NULL;
    record_layer_wipe(&record_layer);
    buf_fini(&answer);
    buf_fini(&pending);
    disconnect();
}

/* After a test that stopped half-way, too. */
static inline int clean_up(void **state) {
    leave();
    shop_gives(UINT_MAX, NULL);
    buf_init(&answer, 128 * 1024);
    return 0;
}

/* What the client has to say goes to the end of PENDING. */
static inline void receive_client(void) {
    (void)SSL_do_handshake(client); /* progress shows in the bytes */
    int n = BIO_read(from_client, wire, sizeof wire);
    if (n > 0)
        assert_int_equal(buf_append(&pending, wire, (size_t)n), 0);
}

/* Our answer reaches the client. */
static inline void answer_client(void) {
    struct span s = buf_span(&answer);
    if (s.len)
        assert_int_equal(BIO_write(to_client, s.p, (int)s.len), (int)s.len);
    buf_consume(&answer, s.len);
}

static inline void read_hello(struct hello *ret) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span message;
    size_t wire_len;
    int err = 0;
    assert_int_equal(hello_find(&(struct hello_scan){0}, buf_span(&pending), scratch, &message, &wire_len, &err), STEP_DONE);
    assert_int_equal(hello_parse(message, ret), 0);
}

/* The client of CLIENT speaks first, and a handshake of SERVER's is made from its hello. */
static inline void meet(const struct tls_server *with) {
    struct hello hello;
    receive_client();
    read_hello(&hello);
    assert_int_equal(tls_server_check(with, &hello), 0);
    assert_int_equal(handshake_new(with, &hello, &answer, talk_log, &hs), 0);
}

/* One step with at most N of the pending bytes. */
static inline enum step step_with(size_t n) {
    struct span in = buf_span(&pending);
    in.len = MIN(in.len, n);
    size_t before = in.len;
    enum step step = handshake_step(hs, &in);
    buf_consume(&pending, before - in.len);
    return step;
}

static inline enum step step_all(void) {
    return step_with(SIZE_MAX);
}

/* Both sides talk until ours is done or has failed. */
static inline enum step shake(void) {
    enum step step = step_all();
    for (int i = 0; i < 5 && step == STEP_WANT_READ; i++) {
        answer_client();
        receive_client();
        step = step_all();
    }
    return step;
}

/* Takes the session out of libssl; the client gets the last flight. */
static inline void leave_libssl(void) {
    assert_int_equal(handshake_finish(hs, &result), 0);
    assert_true(record_layer_valid(&result.record_layer));
    record_layer = result.record_layer;
    answer_client();
    (void)SSL_do_handshake(client);
    assert_true(SSL_is_init_finished(client));
    assert_int_equal(result.version, SSL_version(client));
    assert_int_equal(result.suite, SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(client)));
    assert_int_equal(result.resumed, SSL_session_reused(client));
}

static inline void establish(const struct tls_server *with) {
    meet(with);
    assert_int_equal(shake(), STEP_DONE);
    assert_int_equal(buf_len(&pending), 0);
    leave_libssl();
}

/* Numbers and keys are right when records pass both ways, and so does the end. */
static inline void talk_and_close(void) {
    size_t n;
    int err;
    for (size_t len = 1; len < 40; len++)
        both_ways(len);
    both_ways(16384);
    both_ways(100000);
    assert_int_equal(SSL_shutdown(client), 0);
    assert_int_equal(record_layer_take(&n, &err), STEP_EOF);
    record_layer_sends(1000);
    client_takes(1000);
    assert_int_equal(record_layer_alert(&record_layer, &contexts, ALERT_CLOSE_NOTIFY, out, &n), 0);
    assert_int_equal(BIO_write(to_client, out, (int)n), (int)n);
    assert_int_equal(SSL_shutdown(client), 1);
}

static inline void client_speaks(uint16_t version) {
    client_new(client_ctx);
    assert_int_equal(SSL_set_min_proto_version(client, version), 1);
    assert_int_equal(SSL_set_max_proto_version(client, version), 1);
}

/* libssl's macros cast const away. */
static inline int client_asks_for(const char *name) {
    return !name || SSL_set_tlsext_host_name(client, (char *)(uintptr_t)name) == 1;
}

static inline void client_groups(const char *names) {
    assert_int_equal(SSL_set1_groups_list(client, (uintptr_t)names), 1);
}

static inline void client_sigalgs(const char *names) {
    assert_int_equal(SSL_set1_sigalgs_list(client, (uintptr_t)names), 1);
}

static const uint16_t both_versions[] = {TLS_1_2, TLS_1_3};

/* What is said of libssl's handshake alone: where 1.3 is our own, test_hs13*.c says what it does. */
#define LIBSSLS_VERSIONS (OWN_TLS13 ? 1u : 2u)

/* A session that the client can resume, from a connection with WITH. */
static inline SSL_SESSION *session_with(const struct tls_server *with, uint16_t version) {
    client_speaks(version);
    establish(with);
    both_ways(10); /* the ticket of 1.3 comes with the first data */
    SSL_SESSION *session = SSL_get1_session(client);
    assert_true(SSL_SESSION_is_resumable(session));
    SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* a session that ended badly is not resumable */
    leave();
    return session;
}
