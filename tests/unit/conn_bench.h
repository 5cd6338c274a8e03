/*
 * A handshaker in this process, as role_run() makes it, with everything around it played here: the supervisor, two relays, two
 * signers, and clients at socket pairs that speak through libssl or say any bytes. The clock stands until it is moved.
 *
 * Link with --wrap: conn_bench_wraps (tests/meson.build). The handshaker is set up by loop_run, then turned by hand; a listener
 * is a socket pair, a byte a client.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "access_samples.h"
#include "base/err.h"
#include "base/sealed.h"
#include "bench_faults.h"
#include "cert_shop.h"
#include "creds/sign_rule.h"
#include "handshaker/accept.h"
#include "handshaker/cert_set.h"
#include "handshaker/conn.h"
#include "handshaker/handoff_queue.h"
#include "handshaker/handshaker.h"
#include "handshaker/signing.h"
#include "hs_service.h"
#include "shm/stats_layout.h"
#include "tls/record_layer_pack.h"
#include "wire/control_creds.h"
#include "wire/export_link.h"
#include "wire/sign.h"

#define BENCH_WORKERS 2
#define BENCH_CLIENTS 8
#define BENCH_MEMORY  (2u * 1024 * 1024)

enum bench_listener { LISTEN_WEB, LISTEN_PASS, LISTEN_PROXY, LISTEN_LIMITED, LISTEN_MAIL, LISTENERS };

static struct handshaker *hand;
static uint64_t bench_us = 1000000000;

/* ---- calls that can fail ---- */

uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_us(void);
uint64_t __wrap_clock_mono_ms(void) {
    return bench_us / 1000;
}
uint64_t __wrap_clock_mono_us(void) {
    return bench_us;
}

BENCH_CALL(int, -1, ioctl, (int fd, unsigned long request, void *p), (fd, request, p), EINVAL)

/* ---- signers ---- */

enum bench_signs {
    SIGNS_WELL,
    SIGNS_LATE, /* only when asked: bench_sign_late() */
    SIGNS_REFUSES,
    SIGNS_OTHER, /* an answer to another request */
    SIGNS_WRONG, /* a signature of the right size */
    SIGNS_JUNK,  /* a message that no signer sends */
    SIGNS_DIES,
    SIGNS_LACKS, /* it does not have the set */
    SIGNS_COUNT,
};

static struct bench_signer {
    int fd;
    enum bench_signs how;
    unsigned asked; /* requests that it has answered */
} bench_signers[BENCH_WORKERS];
static struct shop *bench_shop;
static int bench_store;
static uint32_t bench_set;

static inline size_t bench_signature(const struct sign_request *q, uint8_t sig[static SIGN_SIGNATURE_MAX]) {
    EVP_PKEY *key = shop_get_key(bench_shop->keys, certs_store(hand->certs), q->key);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *md = q->scheme >> 8 == 4 ? EVP_sha256() : q->scheme >> 8 == 5 ? EVP_sha384() : EVP_sha512();
    size_t len = SIGN_SIGNATURE_MAX;
    MUST(key && ctx && EVP_DigestSignInit(ctx, NULL, md, NULL, key) == 1);
    MUST(EVP_DigestSign(ctx, sig, &len, q->tbs.p, q->tbs.len) == 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    return len;
}

static inline void bench_answer(const struct bench_signer *s, const struct sign_request *q, enum bench_signs how) {
    uint8_t body[SIGN_ANSWER_LEN], sig[SIGN_SIGNATURE_MAX];
    struct wr w = wr_of(body, sizeof(body));
    struct sign_answer a = {.number = q->number + (how == SIGNS_OTHER)};
    if (how == SIGNS_REFUSES)
        a.err = ERR_UNSUPPORTED;
    else if (how == SIGNS_LACKS)
        a.err = ERR_NOT_FOUND;
    else
        a.signature = span_of(sig, bench_signature(q, sig));
    if (how == SIGNS_WRONG)
        sig[a.signature.len - 1] ^= 1;
    sign_put_answer(&w, &a);
    MUST(wr_end(&w));
    uint16_t type = how == SIGNS_JUNK ? 999 : SIGN_ANSWERS;
    (void)!ipc_send(s->fd, type, wr_written(&w), NULL, 0); /* a handshaker that has closed it needs no answer */
}

/* All requests that wait, answered as it does. */
static inline void bench_sign(struct bench_signer *s, enum bench_signs how) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    struct sign_request q[SIGN_BATCH_MAX];
    unsigned n = 0;
    int err = 0;
    bool was_inside = bench_inside;
    bench_inside = false;
    while (s->fd >= 0 && how != SIGNS_LATE &&
           ipc_recv(s->fd, scratch, sizeof(scratch), sign_to_signer, &m, &err) == STEP_DONE) {
        MUST(sign_read_requests(&m, q, &n) == 0);
        for (unsigned i = 0; i < n && how != SIGNS_DIES; i++, s->asked++) {
            MUST(sign_shape(q[i].tbs) != SIGN_SHAPE_NONE);
            bench_answer(s, &q[i], how);
        }
        if (how != SIGNS_DIES)
            continue;
        close(s->fd);
        s->fd = -1;
    }
    bench_inside = was_inside;
}

static unsigned bench_no_memory; /* so many requests to signers find none in the kernel */

ssize_t __real_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags) {
    BENCH_FAIL(-1, ENOBUFS, EPIPE, ECONNRESET);
    for (size_t i = 0; hand && bench_inside && i < SIGNERS; i++)
        if (bench_no_memory && hand->signing.links[i].fd == fd) {
            bench_no_memory--;
            errno = ENOBUFS;
            return -1;
        }
    return __real_send(fd, p, n, flags);
}

/* The handshaker waits for its signer: that one is at work now, and who says nothing costs no time. */
ssize_t __real_recv(int fd, void *p, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *p, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *p, size_t n, int flags) {
    BENCH_FAIL(-1, EIO, ECONNRESET, ETIMEDOUT);
    for (size_t i = 0; hand && bench_inside && i < SIGNERS; i++)
        if (hand->signing.links[i].fd == fd && !(flags & MSG_DONTWAIT))
            bench_sign(&bench_signers[i], bench_signers[i].how);
    return __real_recv(fd, p, n, flags | MSG_DONTWAIT);
}

/* ---- clients ---- */

struct bench_client {
    int fd;     /* its end; -1 = none */
    int theirs; /* that the handshaker has not accepted; -1 = none */
    uint8_t ip; /* 10.0.0.ip */
    SSL *ssl;   /* NULL until it speaks TLS */
    BIO *from, *to;
    unsigned alerts;
    bool heard_end;
};

static struct bench_client bench_clients[BENCH_CLIENTS];
static int bench_listeners[LISTENERS];
static SSL_CTX *bench_client_ctx;

static inline struct addr bench_addr(uint8_t ip) {
    return (struct addr){.family = AF_INET, .port = 1000, .ip = {10, 0, 0, ip}};
}

#define BENCH_ACCEPT_ERRORS 10

int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *from, socklen_t *len, int flags) {
    uint8_t n;
    (void)flags;
    /* accept(2) hands on errors of the network, too */
    BENCH_FAIL(-1, EMFILE, ECONNABORTED, ENOBUFS, ENFILE, EPROTO, EINTR, ENOMEM, EPERM, ENETDOWN, EHOSTUNREACH);
    if (__real_recv(fd, &n, 1, MSG_DONTWAIT) != 1) {
        errno = EAGAIN;
        return -1;
    }
    struct bench_client *c = &bench_clients[n];
    if (c->theirs < 0) {
        errno = ECONNABORTED;
        return -1;
    }
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(1000), .sin_addr.s_addr = htonl(0x0a000000u + c->ip)};
    memcpy(from, &sin, sizeof(sin));
    *len = sizeof(sin);
    int given = c->theirs;
    c->theirs = -1;
    return given;
}

static inline void client_leave(struct bench_client *c) {
    SSL_free(c->ssl);
    c->ssl = NULL;
    ERR_clear_error();
    if (c->fd >= 0)
        close(c->fd);
    if (c->theirs >= 0)
        close(c->theirs);
    c->fd = c->theirs = -1;
    c->alerts = 0;
    c->heard_end = false;
}

static inline struct bench_client *client_connect(unsigned n, enum bench_listener listener, uint8_t ip) {
    struct bench_client *c = &bench_clients[n];
    int fds[2];
    uint8_t number = (uint8_t)n;
    client_leave(c);
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    c->fd = fds[0];
    c->theirs = fds[1];
    c->ip = ip;
    (void)!__real_send(bench_listeners[listener], &number, 1,
                       MSG_DONTWAIT | MSG_NOSIGNAL); /* its queue may be full or closed */
    return c;
}

static inline void client_says(const struct bench_client *c, const void *p, size_t n) {
    if (c->fd >= 0)
        (void)!__real_send(c->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL); /* the handshaker may be gone */
}

/* What it has received since last asked, as text: ended by a zero, cut at the end. */
static inline const char *client_heard(struct bench_client *c) {
    static char text[8192];
    ssize_t got = c->fd < 0 ? 0 : __real_recv(c->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
    c->heard_end = c->heard_end || got == 0;
    text[MAX(got, 0)] = 0;
    return text;
}

/* Nothing more fits into the socket to a client, who reads nothing. */
static inline void fill(int fd) {
    static const char spaces[4096];
    int small = 1;
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)) == 0);
    for (size_t n = sizeof(spaces); n; n /= 2)
        while (__real_send(fd, spaces, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            ;
}

/* Before it is accepted. */
static inline void client_is_full(const struct bench_client *c) {
    fill(c->theirs);
}

static inline void client_tls(struct bench_client *c, uint16_t version) {
    c->ssl = SSL_new(bench_client_ctx);
    c->to = BIO_new(BIO_s_mem());
    c->from = BIO_new(BIO_s_mem());
    MUST(c->ssl && c->to && c->from);
    BIO_set_mem_eof_return(c->to, -1);
    SSL_set_bio(c->ssl, c->to, c->from);
    SSL_set_connect_state(c->ssl);
    MUST(SSL_set_min_proto_version(c->ssl, version) == 1 && SSL_set_max_proto_version(c->ssl, version) == 1);
    static char name[] = SERVICE_NAME;
    MUST(SSL_set_tlsext_host_name(c->ssl, name) == 1);
}

/* Takes what has come, and says at most N bytes of what libssl has to say; without libssl it only listens. */
static inline void client_step(struct bench_client *c, size_t n) {
    static uint8_t bytes[32 * 1024];
    if (c->fd < 0)
        return;
    ssize_t got = __real_recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    c->heard_end = c->heard_end || got == 0 || (got < 0 && errno == ECONNRESET);
    c->alerts += got > 0 && bytes[0] == 21;
    if (!c->ssl)
        return;
    if (got > 0)
        MUST(BIO_write(c->to, bytes, (int)got) == (int)got);
    (void)SSL_do_handshake(c->ssl); /* progress shows in the bytes */
    ERR_clear_error();
    int len = BIO_read(c->from, bytes, (int)MIN(n, sizeof(bytes)));
    if (len > 0)
        client_says(c, bytes, (size_t)len);
}

static inline void client_end(const struct bench_client *c) {
    if (c->fd >= 0)
        (void)shutdown(c->fd, SHUT_WR); /* the handshaker may be gone */
}

/* ---- the supervisor ---- */

static int bench_control;

int __wrap_child_enter_sandbox(struct child *c, const struct sandbox *sandbox);
int __wrap_child_enter_sandbox(struct child *c, const struct sandbox *sandbox) {
    (void)c;
    (void)sandbox;
    return 0;
}

void __wrap_tickets_free(struct tickets *t);
void __wrap_tickets_free(struct tickets *t) {
    (void)t; /* the handshaker goes on after role_run() */
}

static struct cidr bench_trust = {.net = {.family = AF_INET, .ip = {10, 0, 0, 0}}, .bits = 29};
static struct conf_listener bench_addresses[LISTENERS];
static uint16_t bench_places[LISTENERS] = {0, 1, 2, 3, 4};
static struct conf_service bench_services[LISTENERS] = {
    [LISTEN_WEB] = {.name = "web"},
    [LISTEN_PASS] = {.name = "pass", .mode = MODE_PASSTHROUGH},
    [LISTEN_PROXY] = {.name = "proxy", .proxy_accept = true, .proxy_trust = &bench_trust, .nproxy_trust = 1},
    [LISTEN_LIMITED] = {.name = "limited",
                        .max_sessions = 3,
                        .max_sessions_per_client = 2,
                        .max_sessions_per_name = 3,
                        .max_handshakes_per_client = 4},
    [LISTEN_MAIL] = {.name = "mail", .starttls = STARTTLS_SMTP},
};
static struct conf bench_conf = {
    .workers = BENCH_WORKERS,
    .log_level = LOG_LEVEL_WARNING,
    .handshake_memory = BENCH_MEMORY,
    .listeners = bench_addresses,
    .nlisteners = LISTENERS,
    .services = bench_services,
    .nservices = LISTENERS,
};

int __wrap_snapshot_read(int fd, struct conf **ret, struct text *why);
int __wrap_snapshot_read(int fd, struct conf **ret, struct text *why) {
    (void)fd;
    *ret = &bench_conf;
    return 0;
}

static inline void bench_configure(void) {
    struct tls_policy p = service_policy("");
    for (size_t i = 0; i < LISTENERS; i++) {
        struct conf_service *s = &bench_services[i];
        s->listeners = &bench_places[i];
        s->nlisteners = 1;
        s->handshake_ms = 10000 + 1000 * i;
        s->min_version = p.min_version;
        s->suites = (uint16_t *)(uintptr_t)p.suites;
        s->nsuites = p.nsuites;
        s->groups = (uint16_t *)(uintptr_t)p.groups;
        s->ngroups = p.ngroups;
    }
    bench_conf.handshake = OWN_TLS13 ? HANDSHAKE_AUTO : HANDSHAKE_LIBSSL;
    MUST(conf_link_listeners(&bench_conf) == 0);
}

static int bench_relays[BENCH_WORKERS]; /* their ends; -1 = gone */

/* A pair of sockets, one for the handshaker to be its link to that role; ours is returned. */
static inline int bench_link(enum role role, uint16_t index) {
    int ends[2];
    const struct control_peer peer = {.role = role, .index = index};
    MUST(ipc_pair(32768, ends) == 0);
    MUST(control_send_peer(bench_control, CONTROL_LINK, &peer, ends[0]) == 0);
    __real_close(ends[0]);
    return ends[1];
}

static inline void bench_relay_comes(uint16_t i) {
    if (bench_relays[i] >= 0)
        close(bench_relays[i]);
    bench_relays[i] = bench_link(ROLE_RELAY, i);
}

static inline void bench_relay_dies(uint16_t i) {
    if (bench_relays[i] >= 0)
        close(bench_relays[i]);
    bench_relays[i] = -1;
}

static inline void bench_signer_comes(uint16_t i) {
    struct bench_signer *s = &bench_signers[i];
    if (s->fd >= 0)
        close(s->fd);
    *s = (struct bench_signer){.fd = bench_link(ROLE_SIGNER, i)};
}

static inline void bench_signer_dies(uint16_t i) {
    if (bench_signers[i].fd >= 0)
        close(bench_signers[i].fd);
    bench_signers[i].fd = -1;
}

static uint8_t bench_greeting; /* of the last session that a relay read */

/* A relay reads at most N messages, and ends their sessions. Returns how many those were. */
static inline unsigned bench_relay_reads(uint16_t i, unsigned n) {
    static uint8_t scratch[IPC_BODY_MAX];
    static struct export_session x;
    static struct export_msg m;
    int err = 0;
    unsigned count = 0;
    for (; bench_relays[i] >= 0 && n > 0 && export_recv(bench_relays[i], scratch, &m, &err) == STEP_DONE; n--) {
        struct rd rd = rd_of(m.body);
        struct export_batch b;
        struct record_layer layer;
        unsigned nfds = 0;
        export_batch_unpack(&rd, &b);
        MUST(m.type == EXPORT_SESSIONS && m.nfds == b.n && !m.fds_lost);
        for (unsigned s = 0; s < b.n; s++) {
            MUST(export_unpack(export_next(&rd, &nfds), b.major, b.minor, &x) == 0 && nfds == 1 && x.flags & EXPORT_HANDOFF);
            bench_greeting = x.greeting;
            MUST(!(x.flags & EXPORT_TLS) || record_layer_unpack(x.record_layer, x.minor, x.newer, &layer) == 0);
        }
        MUST(rd_end(&rd));
        export_msg_close(&m);
        count += b.n;
    }
    return count;
}

static inline void bench_new_creds(bool good) {
    const struct control_creds c = {.set = ++bench_set, .nkeys = 1};
    int fd = good ? bench_store : open("/dev/null", O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0 && control_send_creds(bench_control, &c, fd) == 0);
    if (!good)
        __real_close(fd);
}

/* DENIED, or nobody, may not come to the service of LISTEN_LIMITED. */
static inline void bench_new_access(const char *denied) {
    struct access_writer *w = access_writer_new();
    int fd;
    MUST(w);
    for (size_t i = 0; i < LISTENERS; i++) {
        MUST(access_add_service(w) == 0);
        if (denied && i == LISTEN_LIMITED)
            MUST(access_use_list(w, sample_list(w, "bench list", denied), true) == 0);
    }
    MUST(access_seal(w, &fd) == 0);
    access_writer_free(w);
    MUST(ipc_send(bench_control, CONTROL_ACCESS, span_of(NULL, 0), &fd, 1) == 0);
    __real_close(fd);
}

static inline void bench_seal_store(void) {
    char *dir = make_dir(), sentence[512];
    const char *path = make_path(dir, "pair.pem");
    EVP_PKEY *key = make_key("EC:P-256");
    X509 *cert = make_cert(key, &(struct make_spec){.cn = SERVICE_NAME, .san = "DNS:" SERVICE_NAME});
    bench_shop = calloc(1, sizeof(*bench_shop));
    MUST(bench_shop && (bench_shop->keys = calloc(1, sizeof(*bench_shop->keys))));
    bench_shop->warnings = text_of(bench_shop->warned, sizeof(bench_shop->warned));
    bench_shop->load = cert_load_new(CERT_LOAD_KEYS);
    MUST(bench_shop->load);
    make_pem(path, cert, NULL, NULL, key);
    for (size_t i = 0; i < LISTENERS; i++) {
        struct text why = text_of(sentence, sizeof(sentence));
        MUST(cert_load_service(bench_shop->load, bench_services[i].name, NULL) == 0);
        if (bench_services[i].mode == MODE_TERMINATE)
            make_must(shop_add_files(bench_shop, path, path, &why) == 0, sentence);
    }
    MUST(cert_load_seal(bench_shop->load, &bench_store) == 0);
    make_dir_remove(dir);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static inline int bench_listener_comes(enum bench_listener i) {
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    bench_listeners[i] = ends[1];
    return ends[0];
}

/* What a supervisor says to a handshaker that starts. */
static inline void bench_introduce(void) {
    int board, ring, null = open("/dev/null", O_RDWR | O_CLOEXEC), secret;
    uint8_t *bytes;
    MUST(sealed_begin("secret", 50, &secret, &bytes) == 0);
    memcpy(bytes,
           "\0\x30"
           "0123456789abcdef0123456789abcdef0123456789abcdef",
           50);
    MUST(sealed_end(secret, bytes, 50) == 0);
    MUST(scoreboard_create(BENCH_WORKERS, LISTENERS, &board) == 0 && ring_create(256 * 1024, &ring) == 0);
    const struct control_setup setup = {.role = ROLE_HANDSHAKER, .index = 0, .workers = BENCH_WORKERS, .cpu = -1};
    MUST(control_send_setup(bench_control, &setup, (const int[]){null, board, ring, null}) == 0);
    MUST(ipc_send(bench_control, CONTROL_SECRETS, span_of(NULL, 0), &secret, 1) == 0);
    bench_new_creds(true);
    bench_new_access(NULL);
    for (uint16_t i = 0; i < LISTENERS; i++) {
        int fd = bench_listener_comes(i);
        MUST(control_send_listener(bench_control, i, fd) == 0);
        close(fd);
    }
    for (uint16_t i = 0; i < BENCH_WORKERS; i++) {
        bench_relay_comes(i);
        bench_signer_comes(i);
    }
    MUST(control_send(bench_control, CONTROL_GO) == 0 && control_send(bench_control, CONTROL_SERVE) == 0);
    close(null);
    close(board);
    close(ring);
    close(secret);
}

/* ---- turns ---- */

static bool (*bench_turn_end)(void *ctx);

static inline bool bench_one_turn(void *ctx) {
    bool more = bench_turn_end(ctx);
    hand->loop.stop = true;
    return more;
}

int __real_loop_run(struct loop *l);
int __wrap_loop_run(struct loop *l);
int __wrap_loop_run(struct loop *l) {
    hand = CONTAINER_OF(l, struct handshaker, loop);
    bench_turn_end = l->hook;
    l->hook = bench_one_turn;
    return 0;
}

static struct {
    uint64_t accepted, handed, failed, gave_way; /* figures at the last bench_begin_run() */
    uint64_t failures, breaches;                 /* events heard since; lines about breaches of signers */
    int reason;                                  /* of the last one */
    bool drained;                                /* connections may have ended without an event */
    unsigned fds;                                /* open at the begin of each run */
} bench_run;

static inline uint64_t bench_count(enum stats_process v) {
    return hand->child.stats.area->process[v];
}

static inline void bench_hear(void) {
    static uint8_t record[RING_RECORD_MAX], scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    struct event e;
    int err = 0;
    for (int n; (n = ring_get(&hand->child.log.ring, record)) > 0;) {
        MUST(event_read(span_of(record, (size_t)n), &e) == 0);
        MUST(e.kind != EVENT_FAILURE || (e.reason < 0 && err_known(e.reason)));
        bench_run.failures += e.kind == EVENT_FAILURE;
        bench_run.breaches += e.kind == EVENT_LINE && memmem(e.text.p, e.text.len, " no signer sends", 16) != NULL;
        bench_run.reason = e.kind == EVENT_FAILURE ? e.reason : bench_run.reason;
    }
    while (ipc_recv(bench_control, scratch, sizeof(scratch), control_to_supervisor, &m, &err) == STEP_DONE)
        ipc_msg_close(&m);
}

static inline void bench_check(void);

/* One turn of the event loop, which never sleeps; then all must be in order. */
static inline void bench_turn(void) {
    for (size_t i = 0; i < BENCH_WORKERS; i++) /* what they were asked in the turn before */
        bench_sign(&bench_signers[i], bench_signers[i].how);
    hand->loop.stop = false;
    bench_inside = true;
    MUST(__real_loop_run(&hand->loop) == 0);
    bench_inside = false;
    bench_hear();
    bench_check();
}

static inline void bench_turns(unsigned n) {
    while (n--)
        bench_turn();
}

static inline void bench_later(uint64_t ms) {
    bench_us += ms * 1000;
    bench_turn();
}

/* ---- what must be in order after every turn ---- */

static inline unsigned bench_times_in(const struct list *l, const struct list *node) {
    unsigned n = 0;
    for (const struct list *at = l->next; at != l; at = at->next)
        n += at == node;
    return n;
}

/* In the list where its state wants it, and in no other. */
static inline void bench_check_lists(const struct conn *c) {
    for (uint16_t i = 0; i < BENCH_WORKERS; i++)
        MUST(bench_times_in(&hand->links[i].queue, &c->link) == (c->state == CONN_QUEUED && c->relay == i));
    const struct signing *s = &hand->signing;
    unsigned waits = bench_times_in(&s->unasked, &c->link);
    for (size_t i = 0; i < SIGNERS; i++) {
        unsigned asked = bench_times_in(&s->asked[i], &c->link);
        MUST(asked == 0 || (s->links[i].state == SIGNER_THERE && s->links[i].owed > 0));
        waits += asked;
    }
    MUST(waits == (c->state == CONN_SIGNER && c->handshake));
    MUST(bench_times_in(&s->helloed, &c->link) == (c->state == CONN_SIGNER && !c->handshake));
    MUST((c->state == CONN_QUEUED || c->state == CONN_SIGNER) == !list_empty(&c->link));
}

static inline void bench_check_conn(const struct conn *c) {
    MUST(c->state < CONN_DEAD); /* the dead are gone at the end of the turn */
    MUST(wtimer_armed(&c->timer));
    MUST(fcntl(c->fd, F_GETFD) >= 0);
    MUST((c->reason != 0) == (c->state == CONN_CLOSING));
    MUST(c->state == CONN_SIGNER ||
         (c->handshake != NULL) == (c->state == CONN_HANDSHAKE || ((c->state == CONN_FLUSH || c->state == CONN_QUEUED) &&
                                                                   hand->services[c->service].server)));
    MUST(c->state != CONN_QUEUED || buf_len(&c->out) == 0);
    MUST(c->state == CONN_CLOSING || c->holder);
    bench_check_lists(c);
}

/* No listener stays deaf: it is watched, or a timer will see to it. */
static inline void bench_check_accepting(void) {
    bool closed = hand->sockets[0].fd < 0;
    MUST(closed || hand->accepting || wtimer_armed(&hand->resume));
    MUST(closed || !hand->waits_for_room || wtimer_armed(&hand->resume));
}

static inline void bench_check_counts(const unsigned services[static LISTENERS], const unsigned clients[static 256],
                                      unsigned named) {
    MUST(scoreboard_name_sessions(&hand->child.scoreboard, LISTEN_LIMITED, span_str(SERVICE_NAME)) == named);
    for (uint16_t i = 0; i < LISTENERS; i++)
        MUST(scoreboard_service_sessions(&hand->child.scoreboard, i) == services[i]);
    for (unsigned i = 1; i <= BENCH_CLIENTS; i++) {
        const struct addr a = bench_addr((uint8_t)i);
        MUST(scoreboard_client_sessions(&hand->child.scoreboard, &a) == clients[i]);
    }
}

static inline void bench_check(void) {
    unsigned services[LISTENERS] = {0}, clients[256] = {0}, named = 0, timers = 0, live = 0;
    uint64_t charged = 0, held = 0;
    uint32_t slot = 0;
    for (const struct conn *c; (c = slab_next(&hand->conns, &slot));) {
        bench_check_conn(c);
        services[c->service] += c->service_counted;
        clients[c->client.ip[3]] += c->client_counted;
        named += c->name_counted;
        charged += c->charged;
        live += c->reason == 0;
        timers++;
    }
    MUST(!hand->child.failed); /* it does not end for want of something */
    bench_check_counts(services, clients, named);
    bench_check_accepting();
    for (size_t i = 0; i < hand->budget.nheap; i++)
        held += !!hand->budget.heap[i];
    MUST(charged == hand->budget.used && held == hand->budget.nheap && (held == 0) == (charged == 0));
    MUST(hand->budget.used <= hand->budget.max);
    const struct wtimer *own[] = {&hand->resume,      &hand->retry,      &hand->drain_timer,
                                  &hand->stats_timer, &hand->trim_timer, &hand->signing.timer};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        timers += wtimer_armed(own[i]);
    MUST(hand->loop.wheel.armed == timers && list_empty(&hand->dead));
    uint64_t accepted = bench_count(STATS_ACCEPTED) - bench_run.accepted;
    uint64_t reported = bench_count(STATS_HANDED_OVER) - bench_run.handed + bench_run.failures + live;
    MUST(bench_run.drained ? reported <= accepted : reported == accepted); /* each connection has one end, reported once */
}

/* ---- a run ---- */

static inline void bench_begin(void) {
    int ends[2];
    for (size_t i = 0; i < BENCH_CLIENTS; i++)
        bench_clients[i].fd = bench_clients[i].theirs = -1;
    for (size_t i = 0; i < BENCH_WORKERS; i++)
        bench_relays[i] = bench_signers[i].fd = -1;
    bench_client_ctx = SSL_CTX_new(TLS_client_method());
    bench_configure();
    bench_seal_store();
    MUST(ipc_pair(0, ends) == 0);
    bench_control = ends[1];
    bench_introduce();
    MUST(role_run(&handshaker_role, ends[0]) == 0 && hand);
    bench_turns(3);
    MUST(hand->accepting);
}

/* All that the supervisor has said is heard: a message a turn. */
static inline void bench_obey(void) {
    for (int unread = 1; unread > 0; bench_turn())
        MUST(__real_ioctl(bench_control, SIOCOUTQ, &unread) == 0);
}

/* As after the start, whatever was before: links, listeners, memory. */
static inline void bench_begin_run(void) {
    hand->draining = false;
    wheel_cancel(&hand->loop.wheel, &hand->drain_timer);
    hand->budget.max = BENCH_MEMORY;
    for (size_t i = 0; i < hand->nsockets; i++)
        if (hand->sockets[i].fd < 0) {
            close(bench_listeners[i]);
            hand->sockets[i].fd = bench_listener_comes((enum bench_listener)i);
            hand->accepting = false; /* a SERVE after a drain has nothing to watch */
        }
    for (uint16_t i = 0; i < BENCH_WORKERS; i++) {
        bench_relay_comes(i);
        bench_signer_comes(i);
    }
    bench_run.drained = true; /* nothing is compared yet */
    accept_start(hand);
    bench_obey();
    bench_later(2000); /* buckets are full again */
    MUST(hand->accepting && hand->conns.used == 0);
    bench_run.accepted = bench_count(STATS_ACCEPTED);
    bench_run.handed = bench_count(STATS_HANDED_OVER);
    bench_run.failures = bench_run.breaches = 0;
    bench_run.reason = 0;
    bench_run.drained = false;
    MUST(bench_run.fds == 0 || bench_open_fds() == bench_run.fds); /* nothing was lost in the run before */
    bench_run.fds = bench_open_fds();
    bench_calls = bench_fail_at = 0;
}

/* Whatever happened: with all clients gone and all time over, nothing is left. */
static inline void bench_end_run(void) {
    bench_fail_at = 0;
    for (size_t i = 0; i < BENCH_CLIENTS; i++)
        client_leave(&bench_clients[i]);
    bench_obey();
    bench_turns(3);
    for (unsigned i = 0; i < 300 && (i < 2 || hand->conns.used); i++) /* deadlines move when the process stood still */
        bench_later(15000);
    for (uint16_t i = 0; i < BENCH_WORKERS; i++)
        (void)bench_relay_reads(i, UINT32_MAX);
    MUST(hand->conns.used == 0 && hand->budget.used == 0 && hand->budget.nheap == 0);
    bench_run.drained = true;
    for (uint16_t i = 0; i < BENCH_WORKERS; i++) {
        bench_relay_dies(i);
        bench_signer_dies(i);
    }
    bench_turns(2);
}
