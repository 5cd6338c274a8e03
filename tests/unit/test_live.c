/* The dashboard's streams over a library of our own making: what is sent in which order, and who lets go of what. */
#include "observer/live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "observer/mhd.h"

#define CONNECTIONS (LIVE_STREAMS + 2)

/* ---- the library ---- */

struct connection {
    MHD_ContentReaderCallback read;
    MHD_ContentReaderFreeCallback end;
    void *stream;
    union MHD_ConnectionInfo fd;
    unsigned status;
    bool suspended, open;
};

static struct connection connections[CONNECTIONS];
static struct connection *made; /* the response that is being made */
static bool no_memory;
static unsigned kicks;

static struct MHD_Connection *handle(struct connection *c) {
    return (struct MHD_Connection *)c;
}

static const union MHD_ConnectionInfo *get_info(struct MHD_Connection *c, enum MHD_ConnectionInfoType type, ...) {
    assert_int_equal(type, MHD_CONNECTION_INFO_CONNECTION_FD);
    return &((struct connection *)c)->fd;
}

static struct MHD_Response *create(uint64_t size, size_t block, MHD_ContentReaderCallback read, void *stream,
                                   MHD_ContentReaderFreeCallback end) {
    assert_true(size == MHD_SIZE_UNKNOWN && block > 0);
    if (no_memory)
        return NULL;
    made->read = read;
    made->end = end;
    made->stream = stream;
    return (struct MHD_Response *)made;
}

static enum MHD_Result add(struct MHD_Response *r, const char *name, const char *value) {
    assert_true(r && name && value);
    return MHD_YES;
}

static enum MHD_Result queue(struct MHD_Connection *c, unsigned status, struct MHD_Response *r) {
    assert_ptr_equal(c, r);
    ((struct connection *)c)->status = status;
    ((struct connection *)c)->open = true;
    return MHD_YES;
}

static void destroy(struct MHD_Response *r) {
    struct connection *c = (struct connection *)r;
    if (!c->open)
        c->end(c->stream);
}

static void suspend(struct MHD_Connection *c) {
    assert_false(((struct connection *)c)->suspended);
    ((struct connection *)c)->suspended = true;
}

static void resume(struct MHD_Connection *c) {
    assert_true(((struct connection *)c)->suspended);
    ((struct connection *)c)->suspended = false;
}

void __wrap_http_stream_begin(const struct http_request *q);
void __wrap_http_stream_begin(const struct http_request *q) {
    assert_true(((struct connection *)q->connection)->open);
}

void __wrap_http_kick(struct http *h);
void __wrap_http_kick(struct http *h) {
    (void)h;
    kicks++;
}

/* ---- an observer ---- */

static struct conf conf = {.workers = 1};
static struct log_counts counts;
static struct loop loop;
static struct admin admin;

static int set_up(void **state) {
    (void)state;
    memset(connections, 0, sizeof(connections));
    no_memory = false;
    kicks = 0;
    mhd = (struct mhd){.get_connection_info = get_info,
                       .create_response_from_callback = create,
                       .add_response_header = add,
                       .queue_response = queue,
                       .destroy_response = destroy,
                       .suspend_connection = suspend,
                       .resume_connection = resume};
    loop = (struct loop){.now_ms = 1000000};
    admin = (struct admin){.conf = &conf, .log = &counts, .loop = &loop, .managed = {.conf = &conf}};
    assert_true(stats_view_init(&admin.stats_view, -1));
    admin.live = live_new(&admin);
    return admin.live ? 0 : -1;
}

static void end(struct connection *c) {
    if (!c->open)
        return;
    c->open = false;
    c->end(c->stream);
}

static int tear_down(void **state) {
    (void)state;
    live_free(admin.live);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        assert_false(connections[i].suspended);
        end(&connections[i]);
    }
    stats_view_fini(&admin.stats_view);
    return 0;
}

/* The status of the answer; a stream is open afterwards when it is 200. */
static unsigned ask(struct connection *c) {
    struct http_reply r = {.status = 200};
    const struct http_request q = {.connection = handle(c), .path = "/live", .method = HTTP_GET};
    buf_init(&r.body, HTTP_BODY_MAX);
    made = c;
    live_answer(&admin, &q, &r);
    buf_fini(&r.body);
    return r.queued ? c->status : r.status;
}

static void second(void) {
    loop.now_ms += 1000;
    stats_view_second(&admin.stats_view, loop.now_ms);
    live_second(admin.live);
}

/* Reads until the stream has nothing more, in pieces of at most MAX bytes. */
static size_t take(struct connection *c, size_t max, char *to, size_t cap) {
    size_t n = 0;
    while (!c->suspended) {
        assert_true(n + max < cap);
        ssize_t got = c->read(c->stream, n, to + n, max);
        assert_true(got >= 0);
        n += (size_t)got;
    }
    to[n] = 0;
    return n;
}

static unsigned occurrences(const char *in, const char *of) {
    unsigned n = 0;
    for (const char *p = in; (p = strstr(p, of)); p += strlen(of))
        n++;
    return n;
}

static char text[1 << 18];

/* ---- cases ---- */

static void test_history_first_then_each_second(void **state) {
    (void)state;
    struct connection *c = &connections[0];
    second();
    assert_int_equal(ask(c), 200);
    take(c, 100, text, sizeof(text));
    assert_memory_equal(text, "id: ", 4);
    assert_int_equal(occurrences(text, "event: history\ndata: {"), 1);
    assert_int_equal(occurrences(text, "event: snapshot\ndata: {"), 1);
    assert_true(strstr(text, "event: history") < strstr(text, "event: snapshot"));
    assert_int_equal(occurrences(text, "}\n\n"), 2);
    assert_non_null(strstr(text, "\"edges\":[1.6e-5,"));
    for (unsigned i = 0; i < 3; i++) {
        second();
        assert_false(c->suspended);
        take(c, 1, text, sizeof(text));
        assert_int_equal(occurrences(text, "event: "), 1);
        assert_string_equal(text + strlen(text) - 3, "}\n\n");
    }
    assert_int_equal(kicks, 3); /* nobody listened in the first one */
}

static void test_a_slow_reader_skips(void **state) {
    (void)state;
    struct connection *c = &connections[0];
    assert_int_equal(ask(c), 200);
    take(c, 4096, text, sizeof(text));
    second();
    assert_int_equal(c->read(c->stream, 0, text, 10), 10); /* amid a snapshot */
    for (unsigned i = 0; i < 10; i++)
        second();
    take(c, 4096, text + 10, sizeof(text) - 10);
    assert_int_equal(occurrences(text, "event: snapshot"), 2); /* the rest of it, and the newest */
    assert_int_equal(occurrences(text, "}\n\n"), 2);
}

static void test_streams_are_counted(void **state) {
    (void)state;
    for (size_t i = 0; i < LIVE_STREAMS; i++)
        assert_int_equal(ask(&connections[i]), 200);
    assert_int_equal(ask(&connections[LIVE_STREAMS]), 503);
    end(&connections[3]);
    assert_int_equal(ask(&connections[LIVE_STREAMS]), 200);
    assert_int_equal(ask(&connections[LIVE_STREAMS + 1]), 503);
    second();
    for (size_t i = 0; i <= LIVE_STREAMS; i++)
        if (connections[i].open)
            assert_true(take(&connections[i], 4096, text, sizeof(text)) > 0);
}

static void test_a_stream_that_is_stuck_is_cut(void **state) {
    (void)state;
    int pair[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    struct connection *stuck = &connections[0], *idle = &connections[1];
    stuck->fd.connect_fd = pair[0];
    idle->fd.connect_fd = -1;
    assert_int_equal(ask(stuck), 200);
    assert_int_equal(ask(idle), 200);
    for (unsigned ms = 0; ms <= LIVE_STUCK_MS; ms += 1000) {
        assert_true(read(pair[1], &byte, 1) < 0);
        take(idle, 4096, text, sizeof(text)); /* one that takes all is never stuck */
        second();
    }
    assert_int_equal(read(pair[1], &byte, 1), 0);
    end(stuck);
    close(pair[0]);
    close(pair[1]);
}

static void test_an_end_while_suspended(void **state) {
    (void)state;
    struct connection *c = &connections[0];
    assert_int_equal(ask(c), 200);
    take(c, 4096, text, sizeof(text));
    live_free(admin.live);
    admin.live = NULL;
    assert_false(c->suspended);
    assert_true(c->read(c->stream, 0, text, 100) == MHD_CONTENT_READER_END_OF_STREAM);
}

static void test_without_memory(void **state) {
    (void)state;
    no_memory = true;
    for (unsigned i = 0; i < 2 * LIVE_STREAMS; i++)
        assert_int_equal(ask(&connections[0]), 500);
    no_memory = false;
    assert_int_equal(ask(&connections[0]), 200);
}

static void test_no_more_than_the_last_seconds_are_kept(void **state) {
    (void)state;
    for (unsigned i = 0; i < HISTORY_SECONDS + 50; i++)
        second();
    assert_int_equal(ask(&connections[0]), 200);
    take(&connections[0], 4096, text, sizeof(text));
    const char *full = strstr(text, "\"full\":[");
    assert_non_null(full);
    unsigned commas = 0;
    for (const char *p = full; *p != ']'; p++)
        commas += *p == ',';
    assert_int_equal(commas, HISTORY_SECONDS - 1);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_history_first_then_each_second),         CASE(test_a_slow_reader_skips),    CASE(test_streams_are_counted),
        CASE(test_a_stream_that_is_stuck_is_cut),          CASE(test_an_end_while_suspended), CASE(test_without_memory),
        CASE(test_no_more_than_the_last_seconds_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
