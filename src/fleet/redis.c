#include "fleet/redis.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/err.h"

#define REDIS_ANSWER_MS    5000
#define REDIS_PAUSE_MIN_MS 100
#define REDIS_PAUSE_MAX_MS 10000
#define DEPTH_MAX          7 /* of lists in lists: hiredis 0.14 has this bound of its own, later ones have none */
#define READ_MAX           16384
#define READS_MAX          16 /* a turn: others want theirs */

/* ---- the end of a connection ---- */

/* Everybody is answered, also those whom an answer makes send: they are refused, since the server is away. */
static void answer_all(struct redis *r) {
    while (r->npending) {
        struct redis_pending p = r->pending[r->first];
        r->first = (r->first + 1) % REDIS_PENDING;
        r->npending--;
        if (p.fn)
            p.fn(p.ctx, NULL);
    }
}

static void close_connection(struct redis *r) {
    if (r->fd >= 0) {
        loop_unwatch(r->loop, r->fd);
        close(r->fd);
    }
    if (r->reader)
        redis_lib.redisReaderFree(r->reader);
    r->fd = -1;
    r->reader = NULL;
    r->up = r->subscribed = false;
    r->unread = 0;
    buf_fini(&r->out);
}

static void lose_connection(struct redis *r, const char *why) {
    close_connection(r);
    r->pause_ms = backoff_next(r->pause_ms, REDIS_PAUSE_MIN_MS, REDIS_PAUSE_MAX_MS);
    alarm_clock_set(&r->clock, r->pause_ms);
    if (r->events->away)
        r->events->away(r->ctx, r, why);
    answer_all(r);
}

static void lose_by_errno(struct redis *r, const char *what) {
    char why[REDIS_WHY_MAX];
    struct text t = text_of(why, sizeof(why));
    text_addf(&t, "%s: %s", what, strerror(errno));
    lose_connection(r, why);
}

/* ---- out ---- */

static bool watch_server(struct redis *r, int (*how)(struct loop *, int, uint32_t, unsigned, uint32_t, uint32_t)) {
    uint32_t events = buf_len(&r->out) ? EPOLLIN | EPOLLOUT : EPOLLIN;
    return how(r->loop, r->fd, events, r->kind, (uint32_t)r->fd, 0) == 0;
}

static void flush_out(struct redis *r) {
    while (buf_len(&r->out)) {
        struct span s = buf_span(&r->out);
        ssize_t n = send(r->fd, s.p, s.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != ENOTCONN) {
            lose_by_errno(r, "cannot be written to");
            return;
        }
        if (n < 0)
            break;
        buf_consume(&r->out, (size_t)n);
    }
    if (!watch_server(r, loop_rewatch))
        lose_by_errno(r, "cannot be watched");
}

static int put_command(struct redis *r, const struct span *words, size_t n) {
    const char *argv[REDIS_WORDS_MAX];
    size_t lens[REDIS_WORDS_MAX];
    char *command = NULL;
    MUST(n > 0 && n <= REDIS_WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].p ? (const char *)words[i].p : "";
        lens[i] = words[i].len;
    }
    int len = redis_lib.redisFormatCommandArgv(&command, (int)n, argv, lens);
    if (len < 0)
        return ERR_NOMEM;
    int err = buf_append(&r->out, command, (size_t)len);
    redis_lib.redisFreeCommand(command);
    return err;
}

/* The first one's deadline is the clock's: behind it all others wait, too. */
static int send_command(struct redis *r, const struct span *words, size_t n, redis_fn fn, void *ctx) {
    if (r->npending == REDIS_PENDING)
        return ERR_LIMIT;
    int err = put_command(r, words, n);
    if (err < 0)
        return err;
    r->pending[(r->first + r->npending) % REDIS_PENDING] = (struct redis_pending){fn, ctx, r->loop->now_ms + REDIS_ANSWER_MS};
    if (r->npending++ == 0)
        alarm_clock_set(&r->clock, REDIS_ANSWER_MS);
    /* written at the next turn: a caller must not find the connection lost, and its function called, in this call */
    if (!watch_server(r, loop_rewatch))
        alarm_clock_set(&r->clock, 0);
    return 0;
}

int redis_send(struct redis *r, const struct span *words, size_t n, redis_fn fn, void *ctx) {
    return r->up && !r->subscribed ? send_command(r, words, n, fn, ctx) : ERR_CLOSED;
}

int redis_subscribe(struct redis *r, const char *channel) {
    const struct span words[] = {span_str("SUBSCRIBE"), span_str(channel)};
    int err = redis_send(r, words, ARRAY_LEN(words), NULL, NULL);
    if (err == 0)
        r->subscribed = true; /* its answer is a message, too, but comes in its turn */
    return err;
}

/* ---- in ---- */

const char *redis_error_of(const redisReply *reply) {
    static const struct {
        const char *begins, *means;
    } known[] = {
        {"NOAUTH", "it wants a password; expected a socket that its file rights guard, without one"},
        {"NOPERM", "its access lists do not let us do that"},
        {"ERR The user executing the script can't run", "its access lists do not let us do that"}, /* Redis 7, */
        {"ERR ACL failure in script", "its access lists do not let us do that"},                   /* and 8 */
        {"LOADING", "it is still reading its data"},
        {"READONLY", "it is a replica that takes no writes; expected the socket of the primary"},
        {"MISCONF", "it takes no writes, since it cannot save its data"},
        {"OOM", "it takes no writes, since its memory is used up (maxmemory)"},
        {"BUSY", "it is busy with a script of somebody else's"},
        {"MASTERDOWN", "it is a replica whose primary is away"},
    };
    if (reply->type != REDIS_REPLY_ERROR)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strncmp(reply->str, known[i].begins, strlen(known[i].begins)) == 0)
            return known[i].means;
    return reply->str;
}

static void on_ping(void *ctx, const redisReply *reply) {
    struct redis *r = ctx;
    if (!reply)
        return;
    const char *refused = redis_error_of(reply);
    if (refused || reply->type != REDIS_REPLY_STATUS || strcmp(reply->str, "PONG") != 0) {
        char why[REDIS_WHY_MAX];
        struct text t = text_of(why, sizeof(why));
        text_add(&t, refused ? refused : "found something else behind this socket, expected Redis");
        lose_connection(r, why);
        return;
    }
    r->up = true;
    r->pause_ms = 0;
    if (r->events->up)
        r->events->up(r->ctx, r);
}

static void take_reply(struct redis *r, const redisReply *reply) {
    if (r->npending == 0) {
        if (!r->subscribed)
            lose_connection(r, "an answer came to nothing that was asked");
        else if (r->events->push)
            r->events->push(r->ctx, r, reply);
        return;
    }
    struct redis_pending p = r->pending[r->first];
    r->first = (r->first + 1) % REDIS_PENDING;
    if (--r->npending == 0)
        alarm_clock_stop(&r->clock);
    else
        wheel_arm(&r->loop->wheel, &r->clock.timer, r->pending[r->first].until_ms);
    if (p.fn)
        p.fn(p.ctx, reply);
}

/* As many whole answers as there are. False: the connection is lost. */
static bool take_answers(struct redis *r) {
    const redisReader *reader = r->reader;
    void *reply = NULL;
    while (redis_lib.redisReaderGetReply(r->reader, &reply) == REDIS_OK && reply) {
        r->unread = 0;
        take_reply(r, reply);
        redis_lib.freeReplyObject(reply);
        reply = NULL;
        if (r->reader != reader)
            return false;
    }
    if (r->reader->err) {
        char why[REDIS_WHY_MAX];
        struct text t = text_of(why, sizeof(why));
        text_addf(&t, "its answer cannot be read: %s", r->reader->errstr);
        lose_connection(r, why);
        return false;
    }
    return true;
}

static void read_in(struct redis *r) {
    char bytes[READ_MAX];
    for (unsigned i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(r->fd, bytes, sizeof(bytes), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            if (n < 0)
                lose_by_errno(r, "cannot be read from");
            else
                lose_connection(r, "it closed the connection");
            return;
        }
        r->unread += (size_t)n;
        if (redis_lib.redisReaderFeed(r->reader, bytes, (size_t)n) != REDIS_OK) {
            lose_connection(r, "out of memory for its answer");
            return;
        }
        if (!take_answers(r))
            return;
        if (r->unread > REDIS_REPLY_MAX) {
            lose_connection(r, "its answer is larger than 4 MiB");
            return;
        }
    }
}

static void redis_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct redis *r = ctx;
    (void)gen;
    if (r->fd < 0 || (uint32_t)r->fd != key)
        return;
    if (events & EPOLLOUT)
        flush_out(r);
    if (r->fd >= 0 && (uint32_t)r->fd == key && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_in(r);
}

/* ---- connecting ---- */

static void *bounded_array(const redisReadTask *task,
#if HIREDIS_MAJOR > 0
                           size_t n
#else
                           int n
#endif
) {
    const struct redis *r = task->privdata;
    unsigned depth = 0;
    for (const redisReadTask *t = task; t; t = t->parent)
        depth++;
    return n <= REDIS_ITEMS_MAX && depth <= DEPTH_MAX ? r->objects.createArray(task, n) : NULL;
}

/* The library would take lists of any length at their word, and lists in lists: it frees them by recursion. */
static bool make_reader(struct redis *r) {
    static redisReplyObjectFunctions bounded;
    r->reader = redis_lib.redisReaderCreate();
    if (!r->reader)
        return false;
    r->objects = *r->reader->fn;
    bounded = r->objects;
    bounded.createArray = bounded_array;
    r->reader->fn = &bounded;
    r->reader->privdata = r;
    return true;
}

static void connect_now(struct redis *r) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    static const struct span ping[] = {{(const uint8_t *)"PING", 4}};
    MUST(strlen(r->path) < sizeof(a.sun_path));
    memcpy(a.sun_path, r->path, strlen(r->path) + 1);
    r->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || connect(r->fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
        lose_by_errno(r, "cannot be connected to"); /* EAGAIN: more are waiting for it than it has room for */
        return;
    }
    if (!make_reader(r) || !watch_server(r, loop_watch))
        lose_connection(r, "out of memory or descriptors for the connection");
    else if (send_command(r, ping, 1, on_ping, r) < 0)
        lose_connection(r, "out of memory for the connection");
}

static void on_redis_clock(void *ctx) {
    struct redis *r = ctx;
    if (r->fd < 0)
        connect_now(r);
    else
        lose_connection(r, "it does not answer within 5 seconds");
}

void redis_init(struct redis *r, struct loop *loop, unsigned kind, const char *path, const struct redis_events *events,
                void *ctx) {
    *r = (struct redis){.loop = loop, .kind = kind, .path = path, .events = events, .ctx = ctx, .fd = -1};
    r->clock = (struct alarm_clock){.loop = loop, .fn = on_redis_clock, .ctx = r};
    buf_init(&r->out, REDIS_OUT_MAX);
    loop_on(loop, kind, redis_event, r);
}

void redis_start(struct redis *r) {
    alarm_clock_set(&r->clock, 0);
}

void redis_stop(struct redis *r) {
    alarm_clock_stop(&r->clock);
    close_connection(r);
    answer_all(r);
}
