#include "tls/selftest_talk.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/err.h"
#include "tls/hello.h"

#define ROUNDS_MAX 8 /* flights, far more than a handshake has */
#define OUT_MAX    (256 * 1024)

bool selftest_talk_open(struct selftest_talk *t) {
    memset(t, 0, sizeof(*t));
    buf_init(&t->out, OUT_MAX);
    t->ctx = SSL_CTX_new(TLS_client_method());
    t->client = t->ctx ? SSL_new(t->ctx) : NULL;
    t->to_server = BIO_new(BIO_s_mem());
    t->to_client = BIO_new(BIO_s_mem());
    if (!t->client || !t->to_server || !t->to_client || SSL_set_min_proto_version(t->client, TLS1_3_VERSION) != 1) {
        BIO_free(t->to_server);
        BIO_free(t->to_client);
        return false;
    }
    SSL_set_bio(t->client, t->to_client, t->to_server); /* owned by the client now */
    SSL_set_connect_state(t->client);
    return true;
}

void selftest_talk_close(struct selftest_talk *t) {
    handshake_free(t->server);
    buf_fini(&t->out);
    if (t->client) /* without this libssl would call its session broken and not let it be resumed */
        SSL_set_shutdown(t->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->client);
    SSL_CTX_free(t->ctx);
    memset(t, 0, sizeof(*t));
    ERR_clear_error();
}

/* The client's bytes so far; borrowed from the BIO. */
static struct span said(const struct selftest_talk *t) {
    char *p = NULL;
    long n = BIO_get_mem_data(t->to_server, &p);
    return span_of(p, n > 0 ? (size_t)n : 0);
}

bool selftest_talk_begin(struct selftest_talk *t, const struct tls_server *s) {
    static uint8_t scratch[HELLO_MESSAGE_MAX];
    struct span message;
    size_t wire_len = 0;
    int err = 0;
    struct hello hello;
    (void)SSL_do_handshake(t->client); /* wants to read now; a failure shows as a missing hello */
    return hello_find(&(struct hello_scan){0}, said(t), scratch, &message, &wire_len, &err) == STEP_DONE &&
           hello_parse(message, &hello) == 0 && handshake_new(s, &hello, &t->out, &t->server) == 0;
}

bool selftest_talk_deliver(struct selftest_talk *t) {
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
        if (!selftest_talk_deliver(t))
            return false;
    }
    return false;
}
