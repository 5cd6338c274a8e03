/* Batches of spans: what is gathered, when it is sent and tried again, and what is dropped. Requests are answered by the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/escape.h"
#include "exporter/delivery.h"
#include "wire/server_state.h"

static struct loop loop;
static struct http_out http;
static struct delivery d;

/* The request under way. */
static struct {
    char *body;
    size_t len;
    http_out_fn fn;
    void *ctx;
    unsigned sent;
    bool fails; /* the next one finds no memory */
} asked;

int __wrap_http_out_send(struct http_out *h, struct http_out_request *r, const struct http_out_question *q, http_out_fn fn,
                         void *ctx);
int __wrap_http_out_send(struct http_out *h, struct http_out_request *r, const struct http_out_question *q, http_out_fn fn,
                         void *ctx) {
    assert_null(asked.fn); /* one at a time */
    if (asked.fails)
        return ERR_NOMEM;
    asked.len = q->body.len;
    asked.body = strndup((const char *)q->body.p, q->body.len);
    asked.fn = fn;
    asked.ctx = ctx;
    asked.sent++;
    return 0;
}

void __wrap_http_out_cancel(struct http_out_request *r);
void __wrap_http_out_cancel(struct http_out_request *r) {
    asked.fn = NULL;
}

uint64_t __wrap_rand_u64(void);
uint64_t __wrap_rand_u64(void) {
    return 0; /* the shortest pauses */
}

static struct {
    uint32_t taken, refused, dropped, calls;
    enum otlp_verdict last;
    int cause;
    char why[SERVER_WHY_MAX + 1];
} results;

static void on_result(void *ctx, const struct delivery_result *r) {
    results.taken += r->taken;
    results.refused += r->refused;
    results.dropped += r->dropped;
    results.calls++;
    results.last = r->verdict;
    results.cause = r->cause;
    struct text why = text_of(results.why, sizeof(results.why));
    text_add(&why, r->why);
}

static int begin(void **state) {
    static const struct http_out_question q = {.method = HTTP_OUT_POST, .url = "http://x/", .scheme = "http"};
    memset(&asked, 0, sizeof(asked));
    memset(&results, 0, sizeof(results));
    if (loop_init(&loop) < 0)
        return -1;
    loop.now_ms = 1000;
    wheel_init(&loop.wheel, loop.now_ms);
    loop_on_timer(&loop, 0, alarm_clock_ring, NULL);
    delivery_init(&d, &loop, &http, &q, span_str("HEAD["), on_result, NULL);
    return 0;
}

static int end(void **state) {
    (void)delivery_stop(&d);
    free(asked.body);
    loop_fini(&loop);
    return 0;
}

static void fire(void *ctx, struct wtimer *t) {
    alarm_clock_ring(ctx, t);
}

static void later(uint64_t ms) {
    for (uint64_t to = loop.now_ms + ms; loop.now_ms < to;) {
        loop.now_ms += MIN(to - loop.now_ms, (uint64_t)WHEEL_TICK_MS);
        wheel_turn(&loop.wheel, loop.now_ms, fire, NULL);
    }
}

static void end_request(struct http_out_answer a) {
    http_out_fn fn = asked.fn;
    assert_non_null(fn);
    free(asked.body);
    asked.body = NULL;
    asked.fn = NULL;
    fn(asked.ctx, &a);
}

static void answer(unsigned status, const char *body, int64_t retry_after) {
    end_request((struct http_out_answer){.status = status, .body = span_str(body), .retry_after = retry_after});
}

static void add(unsigned n) {
    for (unsigned i = 0; i < n; i++)
        assert_true(delivery_add(&d, span_str("{}")));
}

static void spans_gather_for_a_second(void **state) {
    add(3);
    later(DELIVERY_GATHER_MS - 2 * WHEEL_TICK_MS);
    assert_null(asked.fn);
    later(4 * WHEEL_TICK_MS);
    assert_string_equal(asked.body, "HEAD[{},{},{}"
                                    "]}]}]}");
    add(1); /* not into the one that is under way */
    answer(200, "{}", -1);
    assert_int_equal(results.taken, 3);
    assert_null(asked.fn);
    later(DELIVERY_GATHER_MS + 2 * WHEEL_TICK_MS);
    assert_string_equal(asked.body, "HEAD[{}"
                                    "]}]}]}");
    answer(200, "{\"partialSuccess\":{\"rejectedSpans\":\"1\"}}", -1);
    assert_true(results.taken == 3 && results.refused == 1 && delivery_done(&d));
}

static void a_full_batch_does_not_wait(void **state) {
    add(DELIVERY_SPANS_MAX);
    assert_non_null(asked.fn);
    add(DELIVERY_SPANS_MAX + 1);
    answer(200, "", -1);
    assert_int_equal(asked.sent, 2);
    answer(200, "", -1);
    assert_null(asked.fn); /* the last one waits for others */
    later(DELIVERY_GATHER_MS + 2 * WHEEL_TICK_MS);
    answer(200, "", -1);
    assert_int_equal(results.taken, 2 * DELIVERY_SPANS_MAX + 1);
}

static void bytes_bound_a_batch_and_the_queue(void **state) {
    static char large[DELIVERY_BATCH_MAX / 3];
    memset(large, 'x', sizeof(large));
    unsigned n = 0;
    while (delivery_add(&d, span_of(large, sizeof(large))))
        n++;
    assert_int_equal(n, 3 * DELIVERY_BATCHES); /* with their commas, three fill a batch to its last byte */
    assert_int_equal(asked.sent, 1);
    for (unsigned i = 0; i < DELIVERY_BATCHES; i++) {
        assert_true(asked.len <= DELIVERY_BATCH_MAX + 100);
        later(DELIVERY_GATHER_MS);
        answer(200, "{}", -1);
    }
    assert_true(results.taken == n && delivery_done(&d));
    assert_true(delivery_add(&d, span_of(large, sizeof(large))));
}

static void pauses_grow_and_are_bounded(void **state) {
    uint64_t least = DELIVERY_PAUSE_MIN_MS / 2;
    add(DELIVERY_SPANS_MAX);
    for (unsigned i = 0; i < 8; i++) {
        answer(503, "", -1);
        unsigned sent = asked.sent;
        later(least - 2 * WHEEL_TICK_MS);
        assert_int_equal(asked.sent, sent);
        later(4 * WHEEL_TICK_MS);
        assert_int_equal(asked.sent, sent + 1);
        least = MIN(2 * least, (uint64_t)DELIVERY_PAUSE_MAX_MS / 2);
    }
    answer(200, "{}", -1);
    assert_true(results.taken == DELIVERY_SPANS_MAX && !results.dropped && !results.refused);
    add(DELIVERY_SPANS_MAX);
    answer(503, "", -1);
    later(DELIVERY_PAUSE_MIN_MS / 2 + 2 * WHEEL_TICK_MS); /* the first pause again */
    assert_non_null(asked.fn);
}

static void a_collector_says_when(void **state) {
    add(DELIVERY_SPANS_MAX);
    answer(429, "", 20);
    add(DELIVERY_SPANS_MAX); /* others do not hasten it */
    later(19900);
    assert_int_equal(asked.sent, 1);
    later(200);
    assert_int_equal(asked.sent, 2);
    answer(429, "", INT64_MAX);
    later(DELIVERY_RETRY_MAX_MS - 1000);
    assert_int_equal(asked.sent, 2);
    later(2000);
    assert_int_equal(asked.sent, 3);
    answer(429, "", 0); /* after five minutes the first one is given up */
    assert_int_equal(results.dropped, DELIVERY_SPANS_MAX);
    later(DELIVERY_PAUSE_MAX_MS);
    assert_int_equal(asked.sent, 4);
    answer(200, "", -1);
    assert_int_equal(results.taken, DELIVERY_SPANS_MAX);
}

static void what_is_refused_is_not_sent_again(void **state) {
    add(2 * DELIVERY_SPANS_MAX);
    answer(400, "", 100);
    assert_int_equal(results.refused, DELIVERY_SPANS_MAX);
    assert_int_equal(asked.sent, 2);
    answer(200, "{}", -1);
    assert_true(results.taken == DELIVERY_SPANS_MAX && delivery_done(&d));
}

/* Words of others do not matter to it, and end with a whole character. */
static void a_result_has_its_cause(void **state) {
    char body[1024], clean[sizeof(results.why)];
    add(DELIVERY_SPANS_MAX);
    answer(503, "{\"message\":\"busy\"}", -1);
    assert_true(results.last == OTLP_LATER && results.cause == 503 && strstr(results.why, "busy"));
    for (size_t lead = 0; lead < 3; lead++) {
        struct text b = text_of(body, sizeof(body)), c = text_of(clean, sizeof(clean));
        text_addf(&b, "{\"message\":\"%.*s", (int)lead, "xx");
        for (unsigned i = 0; i < 60; i++)
            text_add(&b, "\\u0085"); /* two bytes, and three of what is shown for them */
        text_add(&b, "\"}");
        later(DELIVERY_PAUSE_MAX_MS);
        answer(503, body, -1);
        escape_clean(&c, span_str(results.why));
        assert_string_equal(results.why, clean);
    }
    later(DELIVERY_PAUSE_MAX_MS);
    end_request((struct http_out_answer){.failed = "timed out after 10 ms", .curl_code = 28, .status = 200, .retry_after = -1});
    assert_true(results.last == OTLP_LATER && results.cause == -28);
}

static void without_memory_it_is_tried_again(void **state) {
    asked.fails = true;
    add(DELIVERY_SPANS_MAX);
    assert_int_equal(asked.sent, 0);
    asked.fails = false;
    later(DELIVERY_PAUSE_MIN_MS);
    assert_int_equal(asked.sent, 1);
    answer(200, "{}", -1);
    assert_int_equal(results.taken, DELIVERY_SPANS_MAX);
}

static void at_the_end_each_is_tried_once(void **state) {
    add(DELIVERY_SPANS_MAX);
    answer(503, "", 60);
    add(DELIVERY_SPANS_MAX + 5);
    delivery_hurry(&d);
    assert_int_equal(asked.sent, 2);
    answer(503, "", 60);
    answer(200, "{}", -1);
    answer(200, "{}", -1);
    assert_true(delivery_done(&d) && results.dropped == DELIVERY_SPANS_MAX && results.taken == DELIVERY_SPANS_MAX + 5);
    add(1); /* of the observer's last sweep */
    answer(200, "{}", -1);
    assert_true(delivery_done(&d));
    add(2);
    assert_int_equal(delivery_stop(&d), 2);
    assert_true(delivery_done(&d) && !asked.fn);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(spans_gather_for_a_second),
        CASE(a_full_batch_does_not_wait),
        CASE(bytes_bound_a_batch_and_the_queue),
        CASE(pauses_grow_and_are_bounded),
        CASE(a_collector_says_when),
        CASE(what_is_refused_is_not_sent_again),
        CASE(a_result_has_its_cause),
        CASE(without_memory_it_is_tried_again),
        CASE(at_the_end_each_is_tried_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
