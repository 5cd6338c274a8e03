/*
 * One session of the relay's own code in this process: a client that speaks records at one end, a backend at the other, and
 * a clock that stops until it is advanced. Bytes are a pattern by their place in the stream, so that whatever arrives can be
 * checked at once: in order, nothing twice, nothing lost.
 *
 * Link with --wrap=clock_mono_ms, setsockopt (small socket buffers are what makes a side block) and getsockopt (the client's
 * end is a Unix socket here and passes for one of TCP).
 *
 * With bench_migrations set, the session migrates to another relay and back after each so-many turns, by the relay's own export
 * and import.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "record_peer.h"
#include "relay/migrate_in.h"
#include "relay/migrate_out.h"
#include "relay/proxy_header.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "tls/record_layer_pack.h"
#include "wire/control_export.h"

static uint64_t bench_ms = 1000000;
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void) {
    return bench_ms;
}

static int bench_sndbuf; /* 0 = as asked for */
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len) {
    if (level == SOL_SOCKET && name == SO_SNDBUF && bench_sndbuf)
        value = &bench_sndbuf;
    return __real_setsockopt(fd, level, name, value, len);
}

/* True while the relay's code runs: for wrapped calls that must not disturb the two ends. */
static bool bench_in_relay;

static struct relay relay;
static struct relay bench_other;  /* where sessions migrate to and come back from */
static unsigned bench_migrations; /* 0 = sessions stay */
static uint64_t bench_migrated;   /* so many times, this way */
static struct conf bench_conf;
static struct conf_service bench_service;
static struct conf_backend bench_backend;
static char bench_path[32], bench_text[40];

/* What a session shall be like. */
struct bench_way {
    const struct suite *suite; /* NULL = bytes pass as they are */
    uint16_t out_max;
    size_t read_ahead;      /* plain bytes that came with the hand-off */
    bool read_ahead_torn;   /* the last record of them is not whole */
    enum greeting greeting; /* the backend greets, with this text first, and the relay swallows it */
    const char *greets;
    size_t greeting_heard; /* so much of it is for the client: a refusal */
    bool no_accept;        /* the backend takes the connection later: bench_accept() */
    int client_sndbuf;     /* the relay's buffers towards the client and the backend; 0 = large */
    int backend_sndbuf;
};

/* The session at hand and what its two ends have said and heard. */
static struct {
    struct record_peer peer;
    struct bench_way way;
    unsigned born; /* the relay took it */
    int client, backend, listener, spare_fd;
    struct buf to_relay;                           /* sealed, not yet written to the socket */
    struct buf from_relay;                         /* read, no whole record yet */
    uint64_t up_sent, up_got, down_sent, down_got; /* plain bytes */
    size_t header_left;                            /* of the PROXY header, still to come */
    uint8_t header[PROXY_HEADER_MAX];
    size_t header_len;
    size_t greeted, greeting_got; /* bytes of the greeting: said by the backend, heard by the client */
    bool client_said_end, client_fin, client_gone;
    bool backend_fin, backend_gone;
    bool client_heard_close, client_heard_fin, client_heard_reset;
    bool backend_heard_fin, backend_heard_reset;
    int alert;            /* heard by the client; -1 = none */
    unsigned key_updates; /* heard by the client */
} bench;

static inline uint8_t bench_byte(uint64_t at, uint8_t seed) {
    return (uint8_t)(at * 131 + (at >> 8) * 7 + (at >> 16) + seed);
}

static inline void bench_fill(uint8_t *to, size_t n, uint64_t at, uint8_t seed) {
    for (size_t i = 0; i < n; i++)
        to[i] = bench_byte(at + i, seed);
}

static inline void bench_check(const uint8_t *p, size_t n, uint64_t at, uint8_t seed) {
    for (size_t i = 0; i < n; i++)
        MUST(p[i] == bench_byte(at + i, seed));
}

#define UP_SEED   1
#define DOWN_SEED 2

/* ---- the relay ---- */

static bool (*bench_turn_end)(void *ctx);

static inline bool bench_one_turn(void *ctx) {
    struct relay *r = ctx;
    bool more = bench_turn_end(ctx);
    r->loop.stop = true;
    return more;
}

static inline void bench_turn_of(struct relay *r) {
    r->loop.stop = false;
    MUST(loop_run(&r->loop) == 0);
}

/* All sessions that can leave FROM do; both do nothing else but what a turn does. */
static inline void bench_hop(struct relay *from, struct relay *to) {
    int ends[2];
    uint32_t had = from->sessions.used;
    MUST(ipc_pair(0, ends) == 0);
    migrate_in_begin(to, ends[1]);
    migrate_out_begin(from, &(struct control_export){EXPORT_ALL, EXPORT_ANY}, ends[0]);
    for (int i = 0; i < 200 && from->sessions.used; i++) {
        bench_turn_of(from);
        bench_turn_of(to);
    }
    migrate_out_stop(from);
    for (int i = 0; i < 10 && !list_empty(&to->importing); i++)
        bench_turn_of(to);
    MUST(list_empty(&to->importing) && from->sessions.used == 0);
    bench_migrated += had;
}

static inline void bench_migrate(void) {
    static bool migrating;
    if (migrating || relay.sessions.used == 0)
        return;
    migrating = true;
    bench_hop(&relay, &bench_other);
    bench_hop(&bench_other, &relay);
    MUST(bench_other.sessions.used == 0 && bench_other.pool.used == 0 && bench_other.backlog_waiters == 0);
    migrating = false;
}

/* One turn of the event loop, which never sleeps. */
static inline void bench_turn(void) {
    relay.loop.stop = false;
    bench_in_relay = true;
    MUST(loop_run(&relay.loop) == 0);
    bench_in_relay = false;
    static unsigned turns;
    if (bench_migrations && ++turns % bench_migrations == 0)
        bench_migrate();
}

static inline void bench_turns(unsigned n) {
    while (n--)
        bench_turn();
}

static inline void bench_later(uint64_t ms) {
    bench_ms += ms;
    bench_turn();
}

static inline struct session *bench_session(void) {
    uint32_t slot = 0;
    return slab_next(&relay.sessions, &slot);
}

static inline void bench_listen(int backlog) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int n = snprintf(bench_path, sizeof(bench_path), "tls-off-test-%d", (int)getpid());
    snprintf(bench_text, sizeof(bench_text), "unix:@%s", bench_path);
    memcpy(to.sun_path + 1, bench_path, (size_t)n);
    bench.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    MUST(bench.listener >= 0 && bind(bench.listener, (struct sockaddr *)&to, len) == 0);
    MUST(listen(bench.listener, backlog) == 0);
}

/* Everything a relay has, with one service and one backend. */
static inline void bench_begin(uint64_t memory) {
    int fd = -1;
    bench.client = bench.backend = -1;
    buf_init(&bench.to_relay, 64 * 1024 * 1024);
    buf_init(&bench.from_relay, 1024 * 1024);
    bench_listen(16);
    bench_backend = (struct conf_backend){.kind = BACKEND_UNIX_ABSTRACT, .text = bench_text, .path = bench_path};
    bench_service = (struct conf_service){
        .name = "web",
        .backends = &bench_backend,
        .nbackends = 1,
        .connect_ms = 3000,
        .idle_ms = 60000,
        .linger_ms = 5000,
        .half_closed_ms = 30000,
        .partial_record_ms = 20000,
    };
    bench_conf = (struct conf){
        .workers = 1,
        .engine = "libcrypto",
        .buffer_memory = memory,
        .services = &bench_service,
        .nservices = 1,
    };
    relay.conf = &bench_conf;
    relay.child.setup = (struct control_setup){.role = ROLE_RELAY, .workers = 1};
    relay.child.control = -1;
    relay.child.log = (struct log){.role = ROLE_RELAY, .level = LOG_LEVEL_ERROR};
    MUST(scoreboard_create(1, 1, &fd) == 0 && scoreboard_map(fd, 0, &relay.child.scoreboard) == 0 &&
         scoreboard_open_row(&relay.child.scoreboard, fd, ROLE_RELAY, 0) == 0);
    close(fd);
    MUST(ring_create(64 * 1024, &fd) == 0 && ring_map(fd, &relay.child.log.ring) == 0);
    close(fd);
    MUST(stats_open_private(&relay.child.stats) == 0);
    relay.row = scoreboard_row(&relay.child.scoreboard, ROLE_RELAY, 0);
    bench_other.conf = relay.conf;
    bench_other.child = relay.child;
    bench_other.row = scoreboard_row(&relay.child.scoreboard, ROLE_RELAY, 0);
    MUST(role_loop_init(&relay_role, &relay.loop, &relay) == 0 && relay_make(&relay));
    MUST(role_loop_init(&relay_role, &bench_other.loop, &bench_other) == 0 && relay_make(&bench_other));
    bench_turn_end = relay.loop.hook;
    relay.loop.hook = bench_other.loop.hook = bench_one_turn;
}

/* Whatever events there are, nobody asks. */
static inline void bench_drop_events(void) {
    static uint8_t record[RING_RECORD_MAX];
    while (ring_get(&relay.child.log.ring, record) > 0)
        ;
}

/* The event that reported the session's end: exactly one, if it ever began. */
static inline struct event bench_event(void) {
    static uint8_t record[RING_RECORD_MAX];
    struct event e = {0}, last = {0};
    unsigned sessions = 0;
    for (int n; (n = ring_get(&relay.child.log.ring, record)) > 0;) {
        MUST(event_read(span_of(record, (size_t)n), &e) == 0);
        if (e.kind == EVENT_SESSION) {
            last = e;
            sessions++;
        }
    }
    last.conn_info.sni = last.conn_info.alpn = last.conn_info.ja4 = span_of(NULL, 0);
    MUST(sessions == bench.born);
    return last;
}

/* ---- the client ---- */

static inline void client_queue(enum content_type type, const void *p, size_t n) {
    uint8_t *to = buf_reserve(&bench.to_relay, n + RECORD_OVERHEAD_MAX);
    MUST(to);
    buf_commit(&bench.to_relay, peer_seal(&bench.peer, type, p, n, to));
}

/* The client says N more bytes in one record (or as they are); they wait to be written. */
static inline void client_say(size_t n) {
    static uint8_t plain[RECORD_PLAIN_MAX];
    n = MIN(n, sizeof(plain));
    bench_fill(plain, n, bench.up_sent, UP_SEED);
    if (bench.way.suite)
        client_queue(CONTENT_APPLICATION_DATA, plain, n);
    else
        MUST(buf_append(&bench.to_relay, plain, n) == 0);
    bench.up_sent += n;
}

static inline void client_update_key(bool ask) {
    const uint8_t message[] = {24, 0, 0, 1, ask};
    client_queue(CONTENT_HANDSHAKE, message, sizeof(message));
    peer_next_key(&bench.peer, &bench.peer.out);
}

static inline void client_say_close(void) {
    static const uint8_t close_notify[] = {1, 0};
    client_queue(CONTENT_ALERT, close_notify, 2);
    bench.client_said_end = true;
}

/* Writes at most N of the waiting bytes. */
static inline void client_write(size_t n) {
    struct span s = buf_span(&bench.to_relay);
    if (bench.client < 0 || bench.client_fin || s.len == 0)
        return;
    ssize_t sent = send(bench.client, s.p, MIN(n, s.len), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        buf_consume(&bench.to_relay, (size_t)sent);
}

/* Plain bytes of the backend: what of its greeting is for the client, then the pattern. */
static inline void client_take_plain(const uint8_t *p, size_t n) {
    size_t head = MIN(n, bench.way.greeting_heard - bench.greeting_got);
    if (head)
        MUST(memcmp(p, bench.way.greets + bench.greeting_got, head) == 0);
    bench.greeting_got += head;
    bench_check(p + head, n - head, bench.down_got, DOWN_SEED);
    bench.down_got += n - head;
}

static inline void client_take_record(uint8_t *rec, size_t len) {
    enum content_type type;
    struct span plain;
    MUST(!bench.client_heard_close && bench.alert < 0);
    MUST(peer_open(&bench.peer, rec, len, &type, &plain) == 0);
    switch (type) {
    case CONTENT_APPLICATION_DATA:
        MUST(plain.len <= bench.way.out_max);
        client_take_plain(plain.p, plain.len);
        break;
    case CONTENT_HANDSHAKE:
        MUST(plain.len == 5 && plain.p[0] == 24 && plain.p[4] == 0);
        peer_next_key(&bench.peer, &bench.peer.in);
        bench.key_updates++;
        break;
    default:
        MUST(type == CONTENT_ALERT && plain.len == 2);
        if (plain.p[1] == ALERT_CLOSE_NOTIFY)
            bench.client_heard_close = true;
        else
            bench.alert = plain.p[1];
    }
}

static inline void client_take(const uint8_t *p, size_t n) {
    static uint8_t rec[RECORD_WIRE_MAX];
    if (!bench.way.suite) {
        client_take_plain(p, n);
        return;
    }
    MUST(buf_append(&bench.from_relay, p, n) == 0);
    for (;;) {
        struct span s = buf_span(&bench.from_relay);
        int len = record_frame(bench.way.suite, s.p, s.len);
        MUST(len >= 0);
        if (len == 0 || (size_t)len > s.len)
            return;
        memcpy(rec, s.p, (size_t)len);
        buf_consume(&bench.from_relay, (size_t)len);
        client_take_record(rec, (size_t)len);
    }
}

/* Reads at most N bytes (64 KiB at the most). */
static inline void client_read(size_t n) {
    static uint8_t in[64 * 1024];
    if (bench.client < 0)
        return;
    ssize_t got = recv(bench.client, in, MIN(n, sizeof(in)), MSG_DONTWAIT);
    if (got > 0)
        client_take(in, (size_t)got);
    else if (got == 0 && n)
        bench.client_heard_fin = true;
    else if (got < 0 && errno != EAGAIN)
        bench.client_heard_reset = true;
}

static inline void client_end(void) {
    if (bench.client >= 0 && !bench.client_fin)
        (void)shutdown(bench.client, SHUT_WR); /* the relay may be gone */
    bench.client_fin = true;
}

/* A Unix socket closed with unread bytes, or any bytes on the way, reports a reset to the other side. */
static inline void client_leave(void) {
    if (bench.client >= 0)
        close(bench.client);
    bench.client = -1;
    bench.client_gone = true;
}

/* ---- the backend ---- */

static inline void bench_accept(void) {
    if (bench.backend >= 0 || bench.backend_gone)
        return;
    bench.backend = accept4(bench.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (bench.backend >= 0 && bench.way.client_sndbuf)
        (void)__real_setsockopt(bench.backend, SOL_SOCKET, SO_SNDBUF, &bench.way.client_sndbuf, sizeof(int));
}

/* At most N bytes more of its greeting. */
static inline void backend_greet(size_t n) {
    size_t left = bench.way.greets ? strlen(bench.way.greets) - bench.greeted : 0;
    if (bench.backend < 0 || bench.backend_fin || left == 0)
        return;
    ssize_t sent = send(bench.backend, bench.way.greets + bench.greeted, MIN(n, left), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        bench.greeted += (size_t)sent;
}

/* Its greeting, or behind it bytes of the pattern. */
static inline void backend_write(size_t n) {
    static uint8_t from[64 * 1024];
    n = MIN(n, sizeof(from));
    if (bench.backend < 0 || bench.backend_fin)
        return;
    if (bench.way.greets && bench.greeted < strlen(bench.way.greets)) {
        backend_greet(n);
        return;
    }
    bench_fill(from, n, bench.down_sent, DOWN_SEED);
    ssize_t sent = send(bench.backend, from, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0)
        bench.down_sent += (uint64_t)sent;
}

static inline void backend_take(const uint8_t *p, size_t n) {
    size_t head = MIN(n, bench.header_left);
    MUST(memcmp(p, bench.header + bench.header_len - bench.header_left, head) == 0);
    bench.header_left -= head;
    bench_check(p + head, n - head, bench.up_got, UP_SEED);
    bench.up_got += n - head;
    MUST(bench.up_got <= bench.up_sent);
}

static inline void backend_read(size_t n) {
    static uint8_t in[64 * 1024];
    if (bench.backend < 0)
        return;
    ssize_t got = recv(bench.backend, in, MIN(n, sizeof(in)), MSG_DONTWAIT);
    if (got > 0)
        backend_take(in, (size_t)got);
    else if (got == 0 && n)
        bench.backend_heard_fin = true;
    else if (got < 0 && errno != EAGAIN)
        bench.backend_heard_reset = true;
}

static inline void backend_end(void) {
    if (bench.backend < 0 || bench.backend_fin)
        return;
    (void)shutdown(bench.backend, SHUT_WR); /* the relay may be gone */
    bench.backend_fin = true;
}

static inline void backend_leave(void) {
    if (bench.backend < 0)
        return;
    close(bench.backend);
    bench.backend = -1;
    bench.backend_gone = true;
}

/* ---- a session ---- */

/* A hand-off as a handshaker packs it and a relay reads it. KEYS: NULL = bytes pass through. FD is the relay's then. */
static inline void bench_start(const struct conn_info *info, const struct record_layer *keys, struct span read_ahead, int fd) {
    static uint8_t body[EXPORT_HANDOFF_MAX], packed[CONN_INFO_PACKED_MAX], layer[RECORD_LAYER_PACKED_MAX];
    static struct export_session x, read;
    struct wr w = wr_of(body, sizeof(body)), info_w = wr_of(packed, sizeof(packed));
    conn_info_pack(&info_w, info);
    x.flags = EXPORT_HANDOFF | (keys ? EXPORT_TLS : 0u) | (read_ahead.len ? EXPORT_READ_AHEAD : 0u);
    x.greeting = (uint8_t)bench.way.greeting;
    x.partial.here = read_ahead;
    x.packed_info = wr_written(&info_w);
    x.record_layer = keys ? record_layer_pack(keys, layer) : span_of(NULL, 0);
    export_pack(&w, &x);
    MUST(wr_end(&w) && wr_end(&info_w) && export_unpack(wr_written(&w), EXPORT_MAJOR, EXPORT_MINOR, &read) == 0);
    session_start(&relay, &read, fd);
}

/* The read-ahead is taken from what the client has said. */
static inline void bench_hand_off(int fd) {
    struct record_layer keys = bench.peer.record_layer;
    struct conn_info info = {.client = {.family = AF_INET, .port = 1234, .ip = {192, 0, 2, 1}},
                             .local = {.family = AF_INET, .port = 443, .ip = {192, 0, 2, 2}}};
    if (bench.way.suite) {
        info.tls_version = bench.way.suite->version;
        info.suite = bench.way.suite->id;
        keys.out_max = bench.way.out_max;
        keys.out.explicit_nonce = UINT64_MAX - 2; /* libssl begins anywhere; it may wrap */
    }
    struct wr head = wr_of(bench.header, sizeof(bench.header));
    proxy_header_write(&head, &bench_service, &info);
    MUST(wr_end(&head));
    bench.header_len = bench.header_left = head.len;

    struct span read_ahead = buf_span(&bench.to_relay);
    if (read_ahead.len && bench.way.read_ahead_torn)
        read_ahead.len = read_ahead.len - MIN(read_ahead.len, 7);
    bench_in_relay = true;
    bench_start(&info, bench.way.suite ? &keys : NULL, read_ahead, fd);
    bench_in_relay = false;
    bench.born = relay.sessions.used;
    buf_consume(&bench.to_relay, read_ahead.len);
}

/* A new session; the relay must have none. */
static inline void bench_open(const struct bench_way *way) {
    int fds[2], spare = dup(0);
    MUST(relay.sessions.used == 0 && relay.pool.used == 0);
    struct record_peer *p = &bench.peer;
    int listener = bench.listener;
    struct engine_contexts contexts = p->contexts;
    memset(&bench, 0, sizeof(bench));
    buf_init(&bench.to_relay, 64 * 1024 * 1024);
    buf_init(&bench.from_relay, 1024 * 1024);
    bench.way = *way;
    bench.listener = listener;
    bench.backend = -1;
    bench.alert = -1;
    bench.spare_fd = spare;
    close(spare);
    peer_init(p, way->suite ? way->suite : suite_at(0), &engine_libcrypto);
    if (contexts.engine)
        p->contexts = contexts; /* made once: keys are loaded again for every batch */
    while (bench.up_sent < way->read_ahead)
        client_say(MIN(way->read_ahead - (size_t)bench.up_sent, (size_t)RECORD_PLAIN_MAX));

    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    if (way->client_sndbuf)
        MUST(__real_setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &way->client_sndbuf, sizeof(int)) == 0);
    bench_sndbuf = way->backend_sndbuf;
    bench.client = fds[0];
    bench_hand_off(fds[1]);
    if (!way->no_accept)
        bench_accept();
}

/* Lets both ends read and the relay work until nothing moves any more. */
static inline void bench_settle(void) {
    for (int quiet = 0; quiet < 3;) {
        uint64_t before = bench.up_got + bench.down_got + buf_len(&bench.to_relay) + bench.header_left;
        uint32_t sessions = relay.sessions.used;
        bench_accept();
        backend_greet(SIZE_MAX);
        client_write(SIZE_MAX);
        bench_turn();
        client_read(SIZE_MAX);
        backend_read(SIZE_MAX);
        uint64_t after = bench.up_got + bench.down_got + buf_len(&bench.to_relay) + bench.header_left;
        quiet = before == after && sessions == relay.sessions.used ? quiet + 1 : 0;
    }
}

/* Nothing of the session is left: memory, descriptors, timers, counts. */
static inline void bench_expect_gone(void) {
    const struct addr from = {.family = AF_INET, .ip = {192, 0, 2, 1}};
    uint8_t key[16];
    addr_client_key(&from, key);
    MUST(relay.sessions.used == 0 && relay.pool.used == 0);
    MUST(relay.services[0].backends.list[0].sessions == 0 && relay.backlog_waiters == 0);
    MUST(list_empty(&relay.ready) && list_empty(&relay.dead));
    MUST(relay.holders.holds.used == 0 && relay.holders.clients.used == 0);
    MUST(scoreboard_relay_sessions(&relay.child.scoreboard, 0) == 0 &&
         scoreboard_service_sessions(&relay.child.scoreboard, 0) == 0);
    MUST(scoreboard_client_sessions(&relay.child.scoreboard, &from) == 0);
    const struct stats_block *service = stats_block(&relay.child.stats, STATS_SERVICE, span_str("web"), span_of("", 0));
    MUST(service->values[STATS_SESSIONS] > 0 && service->values[STATS_SESSIONS_NOW] == 0);
    struct sketch_ref client = sketch_find(&relay.child.stats.clients, span_of(key, sizeof(key)));
    const struct sketch_entry *e = &relay.child.stats.clients.shared->entries[client.entry];
    MUST(e->values[SKETCH_SESSIONS_NOW] == 0 && e->values[SKETCH_BYTES_IN] == service->values[STATS_BYTES_IN]);
    MUST(relay.loop.wheel.armed == (unsigned)wtimer_armed(&relay.backlog_timer) + (unsigned)wtimer_armed(&relay.stats_timer));
}

/* Ends what is still there of the two ends, and looks whether a descriptor was lost. */
static inline void bench_close(void) {
    client_leave();
    backend_leave();
    for (int fd; (fd = accept4(bench.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    buf_fini(&bench.to_relay);
    buf_fini(&bench.from_relay);
    int spare = dup(0);
    MUST(spare == bench.spare_fd);
    close(spare);
}
