/* The connection to the store of a fleet against servers that do not behave: each a process of its own with a script. */
#include "fleet/redis.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"

#define KIND_REDIS 1
#define ENDLESS    (8 * 1024 * 1024) /* bytes: twice what is read */

static uint64_t ahead_ms; /* the clock is so much ahead */
uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void) {
    return __real_clock_mono_ms() + ahead_ms;
}

/* One connection that a server serves: what it says to each thing that it is sent; NULL ends the list, and the connection. */
struct script {
    const char *says[4];
    bool endless; /* then bytes without an end */
    bool silent;  /* then nothing, for ever */
};

struct fixture {
    char path[64];
    int listener;
    pid_t server;
    struct loop loop;
    struct redis redis;
    unsigned ups, aways, answers, lost, pushes;
    char why[256], last[256];
    bool want_up, want_away, want_answer, want_push;
};

static void say_all(int fd, const char *p, size_t n) {
    while (n > 0) {
        ssize_t done = send(fd, p, n, MSG_NOSIGNAL);
        if (done <= 0)
            return;
        p += done;
        n -= (size_t)done;
    }
}

static void serve(int listener, const struct script *scripts, size_t n) {
    char heard[65536];
    for (size_t i = 0; i < n; i++) {
        int fd = accept(listener, NULL, NULL);
        const struct script *s = &scripts[i];
        for (size_t k = 0; k < ARRAY_LEN(s->says) && s->says[k]; k++)
            if (read(fd, heard, sizeof(heard)) > 0)
                say_all(fd, s->says[k], strlen(s->says[k]));
        static const char more[4096];
        for (size_t sent = 0; s->endless && sent < ENDLESS; sent += sizeof(more))
            say_all(fd, more, sizeof(more));
        if (s->silent)
            (void)pause();
        close(fd);
    }
    _exit(0);
}

static void seen(struct fixture *f, bool wanted) {
    if (wanted)
        f->loop.stop = true;
}

static void on_up(void *ctx, struct redis *r) {
    struct fixture *f = ctx;
    (void)r;
    f->ups++;
    seen(f, f->want_up);
}

static void on_away(void *ctx, struct redis *r, const char *why) {
    struct fixture *f = ctx;
    (void)r;
    f->aways++;
    (void)snprintf(f->why, sizeof(f->why), "%s", why);
    seen(f, f->want_away);
}

static void on_push(void *ctx, struct redis *r, const redisReply *m) {
    struct fixture *f = ctx;
    (void)r;
    assert_int_equal(m->type, REDIS_REPLY_ARRAY);
    (void)snprintf(f->last, sizeof(f->last), "%s", m->element[2]->str);
    f->pushes++;
    seen(f, f->want_push);
}

static void on_answer(void *ctx, const redisReply *reply) {
    struct fixture *f = ctx;
    f->answers++;
    f->lost += !reply;
    if (reply && reply->str)
        (void)snprintf(f->last, sizeof(f->last), "%s", redis_error_of(reply) ? redis_error_of(reply) : reply->str);
    seen(f, f->want_answer);
}

static const struct redis_events events = {on_up, on_away, on_push};

static void begin(struct fixture *f, const struct script *scripts, size_t n) {
    static unsigned number;
    char line[256];
    struct text why = text_of(line, sizeof(line));
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    *f = (struct fixture){.listener = socket(AF_UNIX, SOCK_STREAM, 0)};
    ahead_ms = 0;
    (void)snprintf(f->path, sizeof(f->path), "/tmp/test_redis.%d.%u", (int)getpid(), number++);
    memcpy(a.sun_path, f->path, strlen(f->path) + 1);
    if (n) {
        assert_int_equal(bind(f->listener, (const struct sockaddr *)&a, sizeof(a)), 0);
        assert_int_equal(listen(f->listener, 8), 0);
        f->server = fork();
        if (f->server == 0)
            serve(f->listener, scripts, n);
    }
    assert_int_equal(redis_lib_load(&why), 0);
    assert_int_equal(loop_init(&f->loop), 0);
    loop_on_timer(&f->loop, 0, alarm_clock_ring, NULL);
    redis_init(&f->redis, &f->loop, KIND_REDIS, f->path, &events, f);
    redis_start(&f->redis);
}

static void end(struct fixture *f) {
    redis_stop(&f->redis);
    loop_fini(&f->loop);
    if (f->server) {
        kill(f->server, SIGKILL);
        waitpid(f->server, NULL, 0);
    }
    close(f->listener);
    (void)unlink(f->path);
}

#define WAIT(f, what)                                                                                                          \
    do {                                                                                                                       \
        (f)->want_up = (f)->want_away = (f)->want_answer = (f)->want_push = false;                                             \
        (f)->want_##what = true;                                                                                               \
        (f)->loop.stop = false;                                                                                                \
        assert_int_equal(loop_run(&(f)->loop), 0);                                                                             \
    } while (0)

static void ask(struct fixture *f, const char *what) {
    const struct span words[] = {span_str("GET"), span_str(what)};
    assert_int_equal(redis_send(&f->redis, words, 2, on_answer, f), 0);
}

static void test_answers_come_in_their_order(void **state) {
    (void)state;
    struct fixture f;
    const struct script s[] = {{{"+PONG\r\n", "$3\r\nabc\r\n$-1\r\n", "-READONLY You can't\r\n"}, .silent = true}};
    begin(&f, s, 1);
    const struct span early[] = {span_str("GET"), span_str("x")};
    assert_int_equal(redis_send(&f.redis, early, 2, on_answer, &f), ERR_CLOSED); /* it is not known yet whether it answers */
    WAIT(&f, up);
    ask(&f, "a");
    ask(&f, "b");
    WAIT(&f, answer);
    assert_string_equal(f.last, "abc");
    if (f.answers == 1)
        WAIT(&f, answer);
    assert_int_equal(f.answers, 2);
    ask(&f, "c");
    WAIT(&f, answer);
    assert_non_null(strstr(f.last, "replica"));
    assert_int_equal(f.aways, 0);
    end(&f);
}

/* What makes a server useless, and what is said about it. */
static void test_servers_that_are_of_no_use(void **state) {
    (void)state;
    static const struct {
        struct script script;
        const char *why;
    } rows[] = {
        {{{"-NOAUTH Authentication required.\r\n"}, .silent = true}, "password"},
        {{{"-LOADING Redis is loading\r\n"}, .silent = true}, "still reading"},
        {{{"-ERR something new\r\n"}, .silent = true}, "something new"},
        {{{"+OK\r\n"}, .silent = true}, "expected Redis"},
        {{{":1\r\n"}, .silent = true}, "expected Redis"},
        {{{"HTTP/1.1 400 Bad Request\r\n\r\n"}, .silent = true}, "cannot be read"},
        {{{"+PONG\r\n+PONG\r\n"}, .silent = true}, "nothing that was asked"},
        {{{"*65537\r\n"}, .silent = true}, "cannot be read"},
        {{{"*2147483647\r\n"}, .silent = true}, "cannot be read"},
        {{{"$900000000\r\n"}, .endless = true}, "larger than 4 MiB"},
        {{{"+"}, .endless = true}, "larger than 4 MiB"},
        {{{NULL}, .silent = false}, "closed the connection"},
        {{{"$9\r\nabc"}, .silent = false}, "closed the connection"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct fixture f;
        begin(&f, &rows[i].script, 1);
        WAIT(&f, away);
        bool early = !rows[i].script.says[0]; /* it may close before we write, while we do, or later */
        if (!strstr(f.why, rows[i].why) && !(early && (strstr(f.why, "reset") || strstr(f.why, "Broken pipe"))))
            fail_msg("row %zu: %s", i, f.why);
        assert_false(f.redis.up);
        assert_int_equal(f.redis.fd, -1);
        end(&f);
    }
}

static void test_one_that_hangs(void **state) {
    (void)state;
    struct fixture f;
    const struct script s[] = {{{"+PONG\r\n"}, .silent = true}, {{"+PONG\r\n"}, .silent = true}};
    begin(&f, s, 2);
    WAIT(&f, up);
    ask(&f, "a");
    ask(&f, "b");
    ahead_ms += 4000;
    ask(&f, "c");
    ahead_ms += 1500;
    WAIT(&f, away); /* by the first one's deadline */
    assert_non_null(strstr(f.why, "5 seconds"));
    assert_int_equal(f.answers, 3);
    assert_int_equal(f.lost, 3);
    end(&f);
}

static void test_pauses_grow_and_end(void **state) {
    (void)state;
    struct fixture f;
    begin(&f, NULL, 0); /* no such socket */
    uint64_t last = 0;
    for (unsigned i = 0; i < 12; i++) {
        WAIT(&f, away);
        assert_true(f.redis.pause_ms >= last && f.redis.pause_ms <= 10000);
        last = f.redis.pause_ms;
        ahead_ms += last;
    }
    assert_int_equal(last, 10000);
    assert_int_equal(f.ups, 0);
    end(&f);
}

static void test_it_comes_back(void **state) {
    (void)state;
    struct fixture f;
    const struct script s[] = {{{"+PONG\r\n", "$9\r\nabc"}, .silent = false}, {{"+PONG\r\n", "+OK\r\n"}, .silent = true}};
    begin(&f, s, 2);
    WAIT(&f, up);
    ask(&f, "a");
    WAIT(&f, away);
    assert_int_equal(f.lost, 1);
    WAIT(&f, up);
    assert_int_equal(f.redis.pause_ms, 0);
    ask(&f, "a");
    WAIT(&f, answer);
    assert_string_equal(f.last, "OK");
    end(&f);
}

static void test_there_is_room_for_so_many(void **state) {
    (void)state;
    struct fixture f;
    const struct script s[] = {{{"+PONG\r\n"}, .silent = true}};
    static char large[REDIS_OUT_MAX];
    begin(&f, s, 1);
    WAIT(&f, up);
    const struct span huge[] = {span_str("SET"), span_str("k"), span_of(large, sizeof(large))};
    assert_int_equal(redis_send(&f.redis, huge, 3, on_answer, &f), ERR_LIMIT);
    for (unsigned i = 0; i < REDIS_PENDING; i++)
        ask(&f, "a");
    const struct span words[] = {span_str("GET"), span_str("x")};
    assert_int_equal(redis_send(&f.redis, words, 2, on_answer, &f), ERR_LIMIT);
    redis_stop(&f.redis);
    assert_int_equal(f.answers, REDIS_PENDING);
    assert_int_equal(f.lost, REDIS_PENDING);
    end(&f);
}

static void test_messages(void **state) {
    (void)state;
    struct fixture f;
    const struct script s[] = {
        {{"+PONG\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$4\r\nnews\r\n"},
         .silent = true}};
    begin(&f, s, 1);
    WAIT(&f, up);
    assert_int_equal(redis_subscribe(&f.redis, "c"), 0);
    const struct span words[] = {span_str("GET"), span_str("x")};
    assert_int_equal(redis_send(&f.redis, words, 2, on_answer, &f), ERR_CLOSED); /* it listens from now on */
    WAIT(&f, push);
    assert_string_equal(f.last, "news");
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_in_their_order),
        cmocka_unit_test(test_servers_that_are_of_no_use),
        cmocka_unit_test(test_one_that_hangs),
        cmocka_unit_test(test_pauses_grow_and_end),
        cmocka_unit_test(test_it_comes_back),
        cmocka_unit_test(test_there_is_room_for_so_many),
        cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
