#include "load_conn.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The latest ticket is kept for connections that resume; they may all offer the same one. */
static int keep_session(SSL *ssl, SSL_SESSION *session) {
    struct target *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (t->resume)
        return 0;
    SSL_SESSION_free(t->session);
    t->session = session;
    return 1;
}

/* What a client does to trust a certificate is no work of the server. */
static int accept_any(X509_STORE_CTX *x, void *unused) {
    return 1;
}

static bool set_version(SSL_CTX *ctx, bool v12, const char *cipher) {
    char groups[] = "X25519:P-256"; /* the macro takes no constant */
    int version = v12 ? TLS1_2_VERSION : TLS1_3_VERSION;
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1 || SSL_CTX_set_max_proto_version(ctx, version) != 1)
        return false;
    if (SSL_CTX_set1_groups_list(ctx, groups) != 1)
        return false;
    if (!cipher)
        return true;
    return v12 ? SSL_CTX_set_cipher_list(ctx, cipher) == 1 : SSL_CTX_set_ciphersuites(ctx, cipher) == 1;
}

static bool set_identity(SSL_CTX *ctx, const char *file) {
    return !file || (SSL_CTX_use_certificate_chain_file(ctx, file) == 1 &&
                     SSL_CTX_use_PrivateKey_file(ctx, file, SSL_FILETYPE_PEM) == 1);
}

bool target_init(struct target *t, uint16_t port, enum tls tls, const char *cipher, const char *identity) {
    *t = (struct target){.to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}}};
    if (tls == TLS_LEAN)
        return t->lean = lean_init(cipher);
    if (tls == TLS_NONE)
        return true;
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (!t->ctx || !set_version(t->ctx, tls == TLS_LIBSSL_1_2, cipher) || !set_identity(t->ctx, identity)) {
        ERR_print_errors_fp(stderr);
        return false;
    }
    SSL_CTX_set_app_data(t->ctx, t);
    SSL_CTX_set_cert_verify_callback(t->ctx, accept_any, NULL);
    SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(t->ctx, keep_session);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Many records a system call: the client has to be cheaper than what it measures. */
    SSL_CTX_set_read_ahead(t->ctx, 1);
    return true;
}

void target_fini(struct target *t) {
    SSL_SESSION_free(t->session);
    SSL_CTX_free(t->ctx);
    *t = (struct target){0};
}

/* A copy for each connection: libssl marks a session that was offered and answered by a new ticket as used up. */
static bool offer_session(SSL *ssl, const struct target *t) {
    SSL_SESSION *copy = SSL_SESSION_dup(t->session);
    bool set = copy && SSL_set_session(ssl, copy) == 1;
    SSL_SESSION_free(copy);
    return set;
}

static bool start_tls(struct conn *c, const struct target *t) {
    if (t->lean)
        return (c->lean = lean_new(c->fd, t->resume)) != NULL;
    if (!t->ctx)
        return true;
    c->ssl = SSL_new(t->ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
        return false;
    SSL_set_connect_state(c->ssl);
    return !t->resume || !t->session || offer_session(c->ssl, t);
}

bool conn_open(struct conn *c, const struct target *t, int epoll_fd, void *cookie) {
    static const int on = 1;
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    if (c->fd < 0)
        return false;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = cookie};
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* loopback TCP knows it */
    bool begun = connect(c->fd, (const struct sockaddr *)&t->to, sizeof t->to) == 0 || errno == EINPROGRESS;
    if (begun && epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) == 0 && start_tls(c, t))
        return true;
    conn_close(c);
    return false;
}

static ssize_t tls_result(struct conn *c, int ret) {
    if (ret > 0)
        return ret;
    int why = SSL_get_error(c->ssl, ret);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static ssize_t plain_result(ssize_t n) {
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR || errno == EINPROGRESS || errno == ENOTCONN) ? 0 : -1;
}

ssize_t conn_send(struct conn *c, const uint8_t *p, size_t n) {
    if (c->lean)
        return lean_send(c->lean, p, n);
    if (!c->ssl)
        return plain_result(send(c->fd, p, n, MSG_NOSIGNAL));
    ERR_clear_error();
    return tls_result(c, SSL_write(c->ssl, p, (int)n));
}

ssize_t conn_recv(struct conn *c, uint8_t *p, size_t n) {
    if (c->lean)
        return lean_recv(c->lean, p, n);
    if (!c->ssl)
        return plain_result(recv(c->fd, p, n, 0));
    ERR_clear_error();
    return tls_result(c, SSL_read(c->ssl, p, (int)n));
}

bool conn_is_established(const struct conn *c) {
    return c->lean ? lean_is_established(c->lean) : c->ssl && SSL_is_init_finished(c->ssl);
}

bool conn_is_resumed(const struct conn *c) {
    return c->lean ? lean_is_resumed(c->lean) : c->ssl && SSL_session_reused(c->ssl);
}

const char *conn_version(const struct conn *c) {
    return c->lean ? "TLSv1.3" : c->ssl ? SSL_get_version(c->ssl) : NULL;
}

const char *conn_cipher(const struct conn *c) {
    return c->lean ? lean_suite() : c->ssl ? SSL_get_cipher_name(c->ssl) : NULL;
}

void conn_close(struct conn *c) {
    if (c->lean)
        lean_shutdown(c->lean);
    lean_free(c->lean);
    if (c->ssl) {
        ERR_clear_error();
        if (SSL_is_init_finished(c->ssl))
            (void)SSL_shutdown(c->ssl); /* best effort, the descriptor goes next */
        SSL_free(c->ssl);
    }
    if (c->fd >= 0)
        close(c->fd);
    *c = (struct conn){.fd = -1};
}
