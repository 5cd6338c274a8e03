#include "tls/selftest_talk.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/err.h"
#include "base/secret.h"
#include "tls/hello.h"
#include "tls/hello_find.h"

#define ROUNDS_MAX 8 /* flights, far more than a handshake has */
#define OUT_MAX    (256 * 1024)

static void on_client_secret(const SSL *ssl, const char *line) {
    static const char to_server[] = "CLIENT_TRAFFIC_SECRET_0 ", to_client[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct selftest_talk *t = SSL_get_app_data(ssl);
    bool ours = strncmp(line, to_client, sizeof(to_client) - 1) == 0;
    const char *hex = strrchr(line, ' ');
    size_t len = 0;
    if (hex && (ours || strncmp(line, to_server, sizeof(to_server) - 1) == 0)) /* what cannot be read stays zeros */
        (void)OPENSSL_hexstr2buf_ex(ours ? t->server_secret : t->client_secret, HASH_LEN_MAX, &len, hex + 1, '\0');
}

static int on_session(SSL *ssl, SSL_SESSION *session) {
    struct selftest_talk *t = SSL_get_app_data(ssl);
    SSL_SESSION_free(t->session);
    t->session = session;
    return 1; /* the reference is ours */
}

bool selftest_talk_open(struct selftest_talk *t) {
    memset(t, 0, sizeof(*t));
    buf_init(&t->out, OUT_MAX);
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx || SSL_CTX_set_min_proto_version(t->ctx, TLS1_3_VERSION) != 1)
        return false;
    SSL_CTX_set_keylog_callback(t->ctx, on_client_secret);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, on_session);
    return true;
}

static void end_handshake(struct selftest_talk *t) {
    handshake_free(t->server);
    t->server = NULL;
    buf_consume(&t->out, buf_len(&t->out));
    if (t->client) /* without this libssl would call its session broken and not let it be resumed */
        SSL_set_shutdown(t->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->client);
    t->client = NULL;
}

void selftest_talk_close(struct selftest_talk *t) {
    end_handshake(t);
    buf_fini(&t->out);
    SSL_SESSION_free(t->session);
    SSL_CTX_free(t->ctx);
    secret_wipe(t, sizeof(*t));
    ERR_clear_error();
}

static bool make_client(struct selftest_talk *t, const struct selftest_offer *offer) {
    t->client = SSL_new(t->ctx);
    t->to_server = BIO_new(BIO_s_mem());
    t->to_client = BIO_new(BIO_s_mem());
    if (!t->client || !t->to_server || !t->to_client) {
        BIO_free(t->to_server);
        BIO_free(t->to_client);
        return false;
    }
    SSL_set_bio(t->client, t->to_client, t->to_server); /* owned by the client now */
    SSL_set_connect_state(t->client);
    return SSL_set_app_data(t->client, t) == 1 && (!offer->suites || SSL_set_ciphersuites(t->client, offer->suites) == 1) &&
           (!offer->groups || SSL_set1_groups_list(t->client, (uintptr_t)offer->groups) == 1) &&
           (!offer->resumes || (t->session && SSL_set_session(t->client, t->session) == 1));
}

/* The client's bytes so far; borrowed from the BIO. */
static struct span said(const struct selftest_talk *t) {
    char *p = NULL;
    long n = BIO_get_mem_data(t->to_server, &p);
    return span_of(p, n > 0 ? (size_t)n : 0);
}

bool selftest_talk_begin(struct selftest_talk *t, const struct tls_server *s, const struct selftest_offer *offer) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span message;
    size_t wire_len = 0;
    int err = 0;
    struct hello hello;
    end_handshake(t);
    if (!make_client(t, offer))
        return false;
    (void)SSL_do_handshake(t->client); /* wants to read now; a failure shows as a missing hello */
    return hello_find(&(struct hello_scan){0}, said(t), scratch, &message, &wire_len, &err) == STEP_DONE &&
           hello_parse(message, &hello) == 0 && handshake_new(s, &hello, &t->out, NULL, &t->server) == 0;
}

/* What the server has to say goes to the client, whose state shows what came of it. */
static bool deliver(struct selftest_talk *t) {
    struct span out = buf_span(&t->out);
    if (out.len && BIO_write(t->to_client, out.p, (int)out.len) != (int)out.len)
        return false;
    buf_consume(&t->out, out.len);
    (void)SSL_do_handshake(t->client); /* a failure shows as a server that is not done */
    return true;
}

bool selftest_talk_on(struct selftest_talk *t) {
    for (int i = 0; i < ROUNDS_MAX; i++) {
        struct span in = said(t);
        enum step step = handshake_step(t->server, &in);
        (void)BIO_reset(t->to_server);
        if (step != STEP_WANT_READ)
            return step == STEP_DONE;
        if (!deliver(t))
            return false;
    }
    return false;
}

/* The ticket is read, as data would be; there is none. */
bool selftest_talk_take_ticket(struct selftest_talk *t) {
    char nothing;
    return deliver(t) && SSL_is_init_finished(t->client) && SSL_read(t->client, &nothing, 1) <= 0 &&
           SSL_get_error(t->client, -1) == SSL_ERROR_WANT_READ;
}

bool selftest_talk_resumed(const struct selftest_talk *t) {
    return SSL_session_reused(t->client);
}
