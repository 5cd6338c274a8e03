/*
 * Our side of the handshake against libssl's client, and what follows it: the record layer that handshake_finish() gives must
 * go on exactly where libssl stopped.
 */
#include "tls/handshake.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rd.h"
#include "handshake_talk.h"
#include "tls/sig_scheme.h"

/* ---- what is agreed on ---- */

static void every_suite_leads_to_a_session_that_goes_on(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        client_new(client_ctx);
        client_offers(suite_at(i));
        establish(server);
        assert_int_equal(result.version, suite_at(i)->version);
        assert_int_equal(result.suite, suite_at(i)->id);
        assert_int_equal(result.group, 0x001d);
        assert_false(result.resumed);
        assert_int_equal(result.alpn.len, 0);
        assert_int_equal(record_layer.out_max, RECORD_PLAIN_MAX);
        if (suite_at(i)->version == TLS_1_3)
            assert_int_equal(record_layer.out.seq, 1); /* one ticket went out under the application key */
        assert_int_equal(record_layer.in.seq, suite_at(i)->version == TLS_1_3 ? 0 : 1);
        talk_and_close();
        leave();
    }
}

/* Our own provider instead of the key log. */
static void after_the_selftest_sessions_go_on_as_well(void **state) {
    struct tls_policy p = service_policy("web");
    struct tls_server *s = service_new(&p, certs, tickets);
    (void)tls_server_selftest(s); /* either way the secrets must be right */
    for (size_t i = 0; suite_at(i); i++) {
        client_new(client_ctx);
        client_offers(suite_at(i));
        establish(s);
        talk_and_close();
        leave();
    }
    tls_server_free(s);
}

static void the_certificate_follows_the_clients_signature_algorithms(void **state) {
    static const struct {
        const char *sigalgs;
        int key;
        const char *scheme, *key_name, *sig_name;
    } rows[] = {{"ECDSA+SHA256", EVP_PKEY_EC, "ecdsa_secp256r1_sha256", "EC256", "ecdsa-with-SHA256"},
                {"RSA-PSS+SHA256", EVP_PKEY_RSA, "rsa_pss_rsae_sha256", "RSA2048", "RSA-SHA256"}};
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < 2; i++) {
            char key[CERT_ALG_KEY_MAX];
            client_speaks(both_versions[v]);
            client_sigalgs(rows[i].sigalgs);
            establish(server);
            assert_string_equal(sig_scheme_name(result.sig_scheme), rows[i].scheme);
            assert_string_equal(cert_alg_key_name(&result.our_cert, key), rows[i].key_name);
            assert_string_equal(cert_alg_sig_name(result.our_cert.sig), rows[i].sig_name);
            X509 *peer = SSL_get1_peer_certificate(client);
            assert_int_equal(EVP_PKEY_get_base_id(X509_get0_pubkey(peer)), rows[i].key);
            X509_free(peer);
            talk_and_close();
            leave();
        }
}

/* Not from the set of its beginning, which may be gone. */
static void the_certificate_comes_from_the_set_of_its_moment(void **state) {
    static const char *const other_type[] = {"EC:P-384"};
    char key[CERT_ALG_KEY_MAX];
    struct tls_policy p = service_policy("web");
    for (size_t v = 0; v < LIBSSLS_VERSIONS; v++) {
        struct certs *before = service_certs_both(), *after = service_certs(other_type, 1);
        struct tls_server *s = service_new(&p, before, tickets);
        client_speaks(both_versions[v]);
        meet(s);
        tls_server_use_certs(s, after);
        certs_free(before);
        assert_int_equal(shake(), STEP_DONE);
        leave_libssl();
        assert_string_equal(cert_alg_key_name(&result.our_cert, key), "EC384");
        talk_and_close();
        leave();
        tls_server_free(s);
        certs_free(after);
    }
}

/* Many that wait for their clients: what each of them holds is about what the budget of handshakes says. Pages of
 * libssl's buffers that are never written to count here, and nowhere else. */
static void a_waiting_handshake_holds_about_what_is_said(void **state) {
    struct handshake *many[64];
    for (size_t v = 0; v < 2; v++) {
        struct hello hello;
        client_speaks(both_versions[v]);
        receive_client();
        read_hello(&hello);
        size_t before = mallinfo2().uordblks;
        for (size_t i = 0; i < ARRAY_LEN(many); i++) {
            struct buf flight;
            struct span in = buf_span(&pending);
            buf_init(&flight, 64 * 1024);
            assert_int_equal(handshake_new(server, &hello, &flight, NULL, &many[i]), 0);
            assert_int_equal(handshake_step(many[i], &in), STEP_WANT_READ);
            assert_true(buf_len(&flight) > 0);
            buf_fini(&flight);
        }
        size_t each = (mallinfo2().uordblks - before) / ARRAY_LEN(many), said = handshake_bytes(many[0]);
        bool own = said != HANDSHAKE_BYTES; /* half of it is no heap */
        for (size_t i = 0; i < ARRAY_LEN(many); i++)
            handshake_free(many[i]);
        disconnect();
        buf_fini(&pending);
        if (before == 0)
            skip(); /* a sanitizer's allocator does not report it */
        if ((!own && each < said / 2) || each > said * 2)
            fail_msg("%zu bytes each", each);
    }
}

/* Records of a type in our answer. */
static unsigned answered_with(uint8_t type) {
    unsigned n = 0;
    for (struct rd r = rd_of(buf_span(&answer)); rd_left(&r);) {
        n += rd_u8(&r) == type;
        (void)rd_u16(&r);
        (void)rd_vec16(&r);
    }
    return n;
}

/* H6: one, behind our first message, for clients that send a session ID, and none for the others. */
static void a_session_id_brings_one_change_cipher_spec(void **state) {
    for (unsigned i = 0; i < 4; i++) {
        bool has_id = i & 1, retried = i & 2;
        client_speaks(TLS_1_3);
        if (!has_id)
            (void)SSL_clear_options(client, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
        if (retried)
            client_groups("P-521:P-256");
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        assert_int_equal(answered_with(CONTENT_CHANGE_CIPHER_SPEC), has_id);
        if (retried) {
            assert_int_equal(answered_with(CONTENT_APPLICATION_DATA), 0);
            answer_client();
            receive_client();
            assert_int_equal(step_all(), STEP_WANT_READ);
            assert_int_equal(answered_with(CONTENT_CHANGE_CIPHER_SPEC), 0);
        }
        assert_int_equal(shake(), STEP_DONE);
        leave_libssl();
        talk_and_close();
        leave();
    }
}

static void our_order_of_suites_decides(void **state) {
    static const uint16_t order[] = {0x1303, 0x1301, 0xcca9, 0xc02b};
    struct tls_policy p = service_policy("web");
    p.suites = order;
    p.nsuites = ARRAY_LEN(order);
    struct tls_server *s = service_new(&p, certs, tickets);
    client_speaks(TLS_1_3);
    establish(s);
    assert_int_equal(result.suite, 0x1303);
    leave();
    client_speaks(TLS_1_2);
    establish(s);
    assert_int_equal(result.suite, 0xcca9);
    leave();
    tls_server_free(s);
}

static void the_clients_only_group_is_taken_when_it_is_ours(void **state) {
    static const struct {
        const char *name;
        uint16_t id;
    } groups[] = {{"X25519", 0x001d}, {"P-256", 0x0017}, {"P-384", 0x0018}};
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < ARRAY_LEN(groups); i++) {
            client_speaks(both_versions[v]);
            client_groups(groups[i].name);
            establish(server);
            assert_int_equal(result.group, groups[i].id);
            talk_and_close();
            leave();
        }
}

/* libssl's client sends a key share of its first group only. */
static void a_share_of_a_group_we_do_not_rank_first_leads_to_a_session(void **state) {
    client_speaks(TLS_1_3);
    client_groups("P-384:X25519");
    establish(server);
    assert_true(result.group == 0x0018 || result.group == 0x001d); /* with or without a retry: libssl's choice */
    assert_int_equal(result.group == 0x0018 ? NID_secp384r1 : NID_X25519, SSL_get_negotiated_group(client));
    talk_and_close();
    leave();
}

#define HYBRID 0x11ec

/* What becomes of a client that offers GROUPS (which libssl has; '*' marks key shares) to a server of that order. */
static uint16_t group_of(const uint16_t *order, size_t n, const char *groups) {
    struct tls_policy p = service_policy("web");
    p.groups = order;
    p.ngroups = n;
    struct tls_server *s = service_new(&p, certs, tickets);
    client_speaks(TLS_1_3);
    client_groups(groups);
    establish(s);
    uint16_t group = result.group;
    talk_and_close();
    leave();
    tls_server_free(s);
    return group;
}

static void a_hybrid_group_is_asked_for_when_it_is_first(void **state) {
    static const uint16_t first[] = {HYBRID, 0x001d, 0x0017}, second[] = {0x001d, HYBRID, 0x0017};
    client_speaks(TLS_1_3);
    if (SSL_set1_groups_list(client, (uintptr_t) "X25519:X25519MLKEM768") != 1) {
        ERR_clear_error();
        skip(); /* libssl does not have it; tools/test-openssl35 comes here with one that does */
    }
    leave();
    assert_int_equal(group_of(first, 3, "*X25519:*X25519MLKEM768"), HYBRID);
    assert_int_equal(group_of(first, 3, "*X25519:X25519MLKEM768"), HYBRID);
    assert_int_equal(group_of(first, 3, "*P-256:X25519"), 0x0017);
    assert_int_equal(group_of(second, 3, "*X25519MLKEM768:*X25519"), 0x001d);
    assert_int_equal(group_of(second, 3, "*X25519MLKEM768:X25519"), HYBRID); /* no retry to be weaker */
}

static void a_hello_retry_is_followed(void **state) {
    for (size_t i = 0; i < 3; i++) {
        client_new(client_ctx);
        client_offers(suite_at(i));
        client_groups("P-521:P-384");
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        assert_string_equal(handshake_waiting_for(hs), "second ClientHello");
        answer_client();
        receive_client();
        assert_int_equal(step_all(), STEP_WANT_READ);
        assert_string_equal(handshake_waiting_for(hs), "client Finished");
        assert_int_equal(shake(), STEP_DONE);
        leave_libssl();
        assert_int_equal(result.group, 0x0018);
        talk_and_close();
        leave();
    }
}

/* ---- ALPN ---- */

static const char *const our_alpn[] = {"h2", "http/1.1"};

static struct tls_server *alpn_server(void) {
    struct tls_policy p = service_policy("web");
    p.alpn = our_alpn;
    p.nalpn = ARRAY_LEN(our_alpn);
    return service_new(&p, certs, tickets);
}

static void client_offers_alpn(const char *vectors) {
    assert_int_equal(SSL_set_alpn_protos(client, (const uint8_t *)vectors, (unsigned)strlen(vectors)), 0);
}

static void our_order_of_protocols_decides(void **state) {
    struct tls_server *s = alpn_server();
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        client_offers_alpn("\x08http/1.1\x02h2");
        establish(s);
        assert_true(span_eq(result.alpn, span_str("h2")));
        leave();
        client_speaks(both_versions[v]);
        client_offers_alpn("\x03xyz\x08http/1.1");
        establish(s);
        assert_true(span_eq(result.alpn, span_str("http/1.1")));
        talk_and_close();
        leave();
    }
    tls_server_free(s);
}

static void alpn_is_used_only_when_both_speak_it(void **state) {
    struct tls_server *s = alpn_server();
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        establish(s);
        assert_int_equal(result.alpn.len, 0);
        leave();
        client_speaks(both_versions[v]);
        client_offers_alpn("\x02h2");
        establish(server);
        assert_int_equal(result.alpn.len, 0);
        leave();
    }
    tls_server_free(s);
}

/* ---- limits the client asks for ---- */

static void max_fragment_length_is_kept(void **state) {
    for (size_t v = 0; v < 2; v++)
        for (uint8_t code = 1; code <= 4; code++) {
            client_speaks(both_versions[v]);
            assert_int_equal(SSL_set_tlsext_max_fragment_length(client, code), 1);
            establish(server);
            assert_int_equal(record_layer.out_max, 256 << code);
            talk_and_close();
            leave();
        }
}

static void max_fragment_length_is_kept_when_resumed(void **state) {
    for (size_t v = 0; v < 2; v++) {
        client_speaks(both_versions[v]);
        assert_int_equal(SSL_set_tlsext_max_fragment_length(client, 1), 1);
        establish(server);
        both_ways(10);
        SSL_SESSION *session = SSL_get1_session(client);
        SSL_set_shutdown(client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        leave();
        client_speaks(both_versions[v]);
        assert_int_equal(SSL_set_session(client, session), 1);
        assert_int_equal(SSL_set_tlsext_max_fragment_length(client, 1), 1);
        establish(server);
        assert_true(result.resumed);
        assert_int_equal(record_layer.out_max, 512);
        talk_and_close();
        leave();
        SSL_SESSION_free(session);
    }
}

static uint16_t limit_to_send;

static int add_limit(SSL *ssl, unsigned ext, unsigned context, const unsigned char **ret, size_t *ret_len, X509 *x,
                     size_t chain, int *alert, void *arg) {
    static uint8_t bytes[2];
    bytes[0] = (uint8_t)(limit_to_send >> 8);
    bytes[1] = (uint8_t)limit_to_send;
    *ret = bytes;
    *ret_len = 2;
    return 1;
}

static int take_limit(SSL *ssl, unsigned ext, unsigned context, const unsigned char *in, size_t len, X509 *x, size_t chain,
                      int *alert, void *arg) {
    return 1;
}

static void record_size_limit_is_kept(void **state) {
    static const uint16_t limits[] = {64, 512, 1400, 16384, 16385};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    unsigned where = SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS | SSL_EXT_TLS1_2_SERVER_HELLO;
    assert_int_equal(SSL_CTX_add_custom_ext(ctx, 28, where, add_limit, NULL, NULL, take_limit, NULL), 1);
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
            if (both_versions[v] == TLS_1_2 && limits[i] > RECORD_PLAIN_MAX)
                continue;
            limit_to_send = limits[i];
            client_new(ctx);
            assert_int_equal(SSL_set_min_proto_version(client, both_versions[v]), 1);
            assert_int_equal(SSL_set_max_proto_version(client, both_versions[v]), 1);
            establish(server);
            assert_int_equal(record_layer.out_max, limits[i] - (both_versions[v] == TLS_1_3)); /* 1.3: with the content type */
            both_ways(3000);
            leave();
        }
    SSL_CTX_free(ctx);
}

/* ---- the downgrade mark (RFC 8446 4.1.3) ---- */

/* The end of our random, as the client has it. */
static bool is_marked(const struct tls_server *with, uint16_t version) {
    uint8_t random[32];
    client_speaks(version);
    establish(with);
    assert_int_equal(result.version, version);
    assert_int_equal(SSL_get_server_random(client, random, sizeof(random)), sizeof(random));
    leave();
    return memcmp(random + 24, "DOWNGRD", 7) == 0;
}

/* libssl gets a second hello when all its records are here; until then nothing is taken, whatever of it is offered. */
static void a_second_hello_is_taken_whole(void **state) {
    uint8_t second[4096];
    if (OWN_TLS13)
        skip();
    client_speaks(TLS_1_3);
    client_groups("P-521:P-256");
    meet(server);
    assert_int_equal(step_all(), STEP_WANT_READ);
    answer_client();
    receive_client();
    assert_int_equal(step_with(RECORD_HEADER_LEN + 1), STEP_WANT_READ); /* its ChangeCipherSpec */
    struct span s = buf_span(&pending);
    size_t len = s.len;
    assert_true(s.p[0] == CONTENT_HANDSHAKE && len <= sizeof(second));
    memcpy(second, s.p, len);
    buf_consume(&pending, len);
    for (size_t at = RECORD_HEADER_LEN, n; at < len; at += n) {
        n = MIN(50, len - at);
        const uint8_t header[] = {CONTENT_HANDSHAKE, 3, 3, 0, (uint8_t)n};
        assert_int_equal(buf_append(&pending, header, sizeof(header)), 0);
        assert_int_equal(buf_append(&pending, second + at, n), 0);
    }
    len = buf_len(&pending);
    for (size_t n = len; n-- > 0;) {
        assert_int_equal(step_with(n), STEP_WANT_READ);
        assert_int_equal(buf_len(&pending), len);
    }
    assert_string_equal(handshake_waiting_for(hs), "second ClientHello");
    assert_int_equal(shake(), STEP_DONE);
    leave_libssl();
}

/* An attacker who strips a hello of its 1.3 is found out; clients that are spoken to in 1.3 must not see the mark. */
static void a_downgrade_is_marked_where_there_is_1_3(void **state) {
    (void)state;
    static const uint16_t old[] = {0xc02b, 0xc02f};
    struct tls_policy p = service_policy("web");
    p.suites = old;
    p.nsuites = ARRAY_LEN(old);
    struct tls_server *only_1_2 = service_new(&p, certs, tickets);
    assert_true(is_marked(server, TLS_1_2));
    assert_false(is_marked(server, TLS_1_3));
    assert_false(is_marked(only_1_2, TLS_1_2));
    tls_server_free(only_1_2);
}

/* ---- bytes come as they come ---- */

/* The hello in PENDING, cut into records of at most N bytes. */
static void cut_hello(size_t n) {
    struct buf cut;
    buf_init(&cut, 128 * 1024);
    struct span in = buf_span(&pending);
    assert_int_equal(in.len, RECORD_HEADER_LEN + (size_t)(in.p[3] << 8 | in.p[4]));
    for (size_t off = RECORD_HEADER_LEN; off < in.len; off += n) {
        size_t part = MIN(n, in.len - off);
        uint8_t header[] = {in.p[0], in.p[1], in.p[2], (uint8_t)(part >> 8), (uint8_t)part};
        assert_int_equal(buf_append(&cut, header, sizeof(header)), 0);
        assert_int_equal(buf_append(&cut, in.p + off, part), 0);
    }
    buf_fini(&pending);
    pending = cut;
}

static void a_hello_in_tiny_records_is_understood(void **state) {
    static const size_t sizes[] = {1, 2, 3, 5, 64, 100};
    for (size_t v = 0; v < 2; v++)
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            struct hello hello;
            client_speaks(both_versions[v]);
            receive_client();
            cut_hello(sizes[i]);
            read_hello(&hello);
            assert_int_equal(handshake_new(server, &hello, &answer, NULL, &hs), 0);
            assert_int_equal(step_with(RECORD_HEADER_LEN + sizes[i]), STEP_WANT_READ);
            assert_string_equal(handshake_waiting_for(hs), "ClientHello");
            assert_int_equal(shake(), STEP_DONE);
            leave_libssl();
            talk_and_close();
            leave();
        }
}

static void input_may_come_byte_by_byte(void **state) {
    for (size_t i = 0; suite_at(i); i++) {
        client_new(client_ctx);
        client_offers(suite_at(i));
        meet(server);
        enum step step = STEP_WANT_READ;
        for (int round = 0; round < 4 && step == STEP_WANT_READ; round++) {
            for (size_t n = 1; step == STEP_WANT_READ && n <= buf_len(&pending); n++) {
                size_t before = buf_len(&pending);
                step = step_with(n);
                if (buf_len(&pending) != before)
                    n = 0; /* a record was taken: the next begins */
            }
            answer_client();
            if (step == STEP_WANT_READ)
                receive_client();
        }
        assert_int_equal(step, STEP_DONE);
        assert_int_equal(buf_len(&pending), 0);
        leave_libssl();
        talk_and_close();
        leave();
    }
}

/* The client may send data in the same segment as Finished; in 1.2 only when it resumes, as Finished is its last word then. */
static void expect_data_behind_finished(size_t len) {
    size_t taken = 0;
    struct record_layer_opened opened;
    assert_int_equal(SSL_write(client, data, (int)len), (int)len);
    receive_client();
    assert_int_equal(step_all(), STEP_DONE);
    assert_true(buf_len(&pending) > len);
    leave_libssl();
    assert_int_equal(buf_len(&pending) < sizeof wire, true);
    size_t n = buf_len(&pending), off = 0;
    memcpy(wire, buf_span(&pending).p, n);
    while (off < n) {
        enum step step = record_layer_open(&record_layer, &contexts, wire + off, n - off, &opened);
        assert_true(step == STEP_DONE || step == STEP_WANT_READ);
        assert_true(opened.consumed > 0);
        for (unsigned i = 0; i < opened.niov; i++) {
            memcpy(got + taken, opened.iov[i].iov_base, opened.iov[i].iov_len);
            taken += opened.iov[i].iov_len;
        }
        off += opened.consumed;
    }
    assert_int_equal(taken, len);
    assert_memory_equal(got, data, len);
    talk_and_close();
    leave();
}

static void data_behind_finished_stays_ours(void **state) {
    static const size_t sizes[] = {1, 100, 16384, 40000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        client_speaks(TLS_1_3);
        meet(server);
        assert_int_equal(step_all(), STEP_WANT_READ);
        answer_client();
        assert_int_equal(SSL_do_handshake(client), 1);
        expect_data_behind_finished(sizes[i]);
        for (size_t v = 0; v < 2; v++) {
            SSL_SESSION *session = session_with(server, both_versions[v]);
            client_speaks(both_versions[v]);
            assert_int_equal(SSL_set_session(client, session), 1);
            meet(server);
            assert_int_equal(step_all(), STEP_WANT_READ);
            answer_client();
            assert_int_equal(SSL_do_handshake(client), 1);
            expect_data_behind_finished(sizes[i]);
            SSL_SESSION_free(session);
        }
    }
}

/* ---- what is waited for ---- */

static void what_is_waited_for_is_named_in_1_3(void **state) {
    client_speaks(TLS_1_3);
    meet(server);
    assert_string_equal(handshake_waiting_for(hs), "ClientHello");
    assert_int_equal(step_with(20), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "ClientHello");
    assert_int_equal(step_all(), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "client Finished");
    answer_client();
    receive_client();
    assert_int_equal(step_with(6), STEP_WANT_READ); /* the ChangeCipherSpec of middlebox compatibility */
    assert_string_equal(handshake_waiting_for(hs), "client Finished");
    assert_int_equal(step_all(), STEP_DONE);
    leave();
}

static void what_is_waited_for_is_named_in_1_2(void **state) {
    client_speaks(TLS_1_2);
    meet(server);
    assert_string_equal(handshake_waiting_for(hs), "ClientHello");
    assert_int_equal(step_all(), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "ClientKeyExchange");
    answer_client();
    receive_client();
    struct span s = buf_span(&pending);
    size_t key_exchange = RECORD_HEADER_LEN + (size_t)(s.p[3] << 8 | s.p[4]);
    assert_int_equal(step_with(key_exchange), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "ChangeCipherSpec");
    assert_int_equal(step_with(6), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "client Finished");
    assert_int_equal(step_all(), STEP_DONE);
    leave();
}

static void what_is_waited_for_is_named_when_resuming_1_2(void **state) {
    SSL_SESSION *session = session_with(server, TLS_1_2);
    client_speaks(TLS_1_2);
    assert_int_equal(SSL_set_session(client, session), 1);
    meet(server);
    assert_int_equal(step_all(), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "ChangeCipherSpec");
    answer_client();
    receive_client();
    assert_int_equal(step_with(6), STEP_WANT_READ);
    assert_string_equal(handshake_waiting_for(hs), "client Finished");
    assert_int_equal(step_all(), STEP_DONE);
    leave();
    SSL_SESSION_free(session);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_suite_leads_to_a_session_that_goes_on, clean_up),
        cmocka_unit_test_teardown(after_the_selftest_sessions_go_on_as_well, clean_up),
        cmocka_unit_test_teardown(the_certificate_follows_the_clients_signature_algorithms, clean_up),
        cmocka_unit_test_teardown(the_certificate_comes_from_the_set_of_its_moment, clean_up),
        cmocka_unit_test_teardown(a_waiting_handshake_holds_about_what_is_said, clean_up),
        cmocka_unit_test_teardown(a_session_id_brings_one_change_cipher_spec, clean_up),
        cmocka_unit_test_teardown(our_order_of_suites_decides, clean_up),
        cmocka_unit_test_teardown(the_clients_only_group_is_taken_when_it_is_ours, clean_up),
        cmocka_unit_test_teardown(a_share_of_a_group_we_do_not_rank_first_leads_to_a_session, clean_up),
        cmocka_unit_test_teardown(a_hybrid_group_is_asked_for_when_it_is_first, clean_up),
        cmocka_unit_test_teardown(a_hello_retry_is_followed, clean_up),
        cmocka_unit_test_teardown(our_order_of_protocols_decides, clean_up),
        cmocka_unit_test_teardown(alpn_is_used_only_when_both_speak_it, clean_up),
        cmocka_unit_test_teardown(max_fragment_length_is_kept, clean_up),
        cmocka_unit_test_teardown(max_fragment_length_is_kept_when_resumed, clean_up),
        cmocka_unit_test_teardown(record_size_limit_is_kept, clean_up),
        cmocka_unit_test_teardown(a_second_hello_is_taken_whole, clean_up),
        cmocka_unit_test_teardown(a_downgrade_is_marked_where_there_is_1_3, clean_up),
        cmocka_unit_test_teardown(a_hello_in_tiny_records_is_understood, clean_up),
        cmocka_unit_test_teardown(input_may_come_byte_by_byte, clean_up),
        cmocka_unit_test_teardown(data_behind_finished_stays_ours, clean_up),
        cmocka_unit_test_teardown(what_is_waited_for_is_named_in_1_3, clean_up),
        cmocka_unit_test_teardown(what_is_waited_for_is_named_in_1_2, clean_up),
        cmocka_unit_test_teardown(what_is_waited_for_is_named_when_resuming_1_2, clean_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
