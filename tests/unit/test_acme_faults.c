/* The parts of the acme role that deal with an issuer's faults: whose fault it is, its words, when it is asked again, what is
 * reported of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "acme/answer.h"
#include "acme/ca_backoff.h"
#include "acme/reports.h"
#include "http_out/http_out.h"

#define DAY INT64_C(86400)

static json_t *json_of(const char *text) {
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    return o;
}

static void test_whose_fault_it_is(void **state) {
    (void)state;
    static const struct {
        const char *json;
        unsigned status;
        enum fault fault;
        const char *words;
    } rows[] = {
        {"{'type': 'urn:ietf:params:acme:error:caa', 'detail': 'no'}", 403, FAULT_NAMES, ", caa: no"},
        {"{'type': 'urn:ietf:params:acme:error:unauthorized'}", 0, FAULT_NAMES, ", unauthorized"},    /* of an authorization */
        {"{'type': 'urn:ietf:params:acme:error:unauthorized'}", 401, FAULT_COMMON, ", unauthorized"}, /* RFC 8555 7.3.6 */
        {"{'type': 'urn:ietf:params:acme:error:unauthorized'}", 403, FAULT_COMMON, ", unauthorized"}, /* a binding, 7.3.4 */
        {"{'type': 'urn:ietf:params:acme:error:unauthorized'}", 503, FAULT_ISSUER, ", unauthorized"},
        {"{'type': 'urn:ietf:params:acme:error:compound', 'subproblems': [{'type': 'urn:ietf:params:acme:error:unauthorized'}]}",
         403, FAULT_NAMES, ", compound (a name, unauthorized)"},
        {"{'type': 'urn:ietf:params:acme:error:unauthorized', 'identifier': {'type': 'dns', 'value': 'a.b'}}", 403,
         FAULT_ANSWER, ", unauthorized"},
        {"{'type': 'urn:ietf:params:acme:error:unauthorized', 'subproblems': [{'type': 'urn:ietf:params:acme:error:malformed'}]}",
         403, FAULT_ANSWER, ", unauthorized (a name, malformed)"},
        {"{'type': 'urn:ietf:params:acme:error:accountDoesNotExist'}", 400, FAULT_COMMON, ", accountDoesNotExist"},
        {"{'type': 'urn:ietf:params:acme:error:externalAccountRequired'}", 403, FAULT_COMMON, ", externalAccountRequired"},
        {"{'type': 'urn:ietf:params:acme:error:externalAccountRequired'}", 0, FAULT_ANSWER, ", externalAccountRequired"},
        {"{'type': 'urn:ietf:params:acme:error:userActionRequired'}", 403, FAULT_COMMON, ", userActionRequired"},
        {"{'type': 'urn:ietf:params:acme:error:malformed', 'detail': 'not public'}", 400, FAULT_ANSWER,
         ", malformed: not public"},
        {"{}", 401, FAULT_COMMON, ""},
        {"{}", 403, FAULT_ANSWER, ""},
        {"{'type': 'urn:ietf:params:acme:error:rateLimited'}", 403, FAULT_ISSUER, ", rateLimited"},
        {"{'type': 'urn:ietf:params:acme:error:serverInternal'}", 0, FAULT_ISSUER, ", serverInternal"},
        {"{'type': 'urn:ietf:params:acme:error:badCSR'}", 0, FAULT_ANSWER, ", badCSR"},
        {"{'type': 'about:blank', 'title': 'Forbidden'}", 403, FAULT_ANSWER, ": Forbidden"}, /* RFC 7807 4.2 */
        {"{'detail': 'a\\u001bb\\u007fc'}", 400, FAULT_ANSWER, ": a b c"},
        {"{'type': 7, 'detail': ['x'], 'subproblems': {}}", 404, FAULT_ANSWER, ""},
        {"[]", 429, FAULT_ISSUER, ""},
        {"{}", 408, FAULT_ISSUER, ""},
        {"{}", 500, FAULT_ISSUER, ""},
        {"{}", 302, FAULT_ISSUER, ""},
        {NULL, 503, FAULT_ISSUER, ""},
        /* RFC 8555 6.7.1 */
        {"{'type': 'urn:ietf:params:acme:error:malformed', 'detail': 'Some', 'subproblems': [{'type': "
         "'urn:ietf:params:acme:error:rejectedIdentifier', 'detail': 'no', 'identifier': {'type': 'dns', 'value': 'a.b'}},"
         "{'type': 'urn:ietf:params:acme:error:caa'}]}",
         403, FAULT_NAMES, ", malformed: Some (a.b, rejectedIdentifier: no; a name, caa)"},
        {"{'type': 'urn:ietf:params:acme:error:compound', 'subproblems': [{'type': 'urn:ietf:params:acme:error:caa'},"
         "{'type': 'urn:ietf:params:acme:error:badCSR'}, {}, 1, null]}",
         400, FAULT_ANSWER, ", compound (a name, caa; a name, badCSR; a name; and 2 more)"},
        {"{'type': 'urn:ietf:params:acme:error:malformed', 'subproblems': []}", 400, FAULT_ANSWER, ", malformed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[1024] = "", words[1024];
        struct text w = text_of(words, sizeof(words));
        (void)snprintf(text, sizeof(text), "%s", rows[i].json ? rows[i].json : "");
        for (char *s = text; *s; s++)
            *s = *s == '\'' ? '"' : *s;
        json_t *o = rows[i].json ? json_of(text) : NULL;
        assert_int_equal(answer_fault(o, rows[i].status), rows[i].fault);
        answer_add_problem(&w, o);
        assert_string_equal(words, rows[i].words);
        json_decref(o);
    }
    json_t *o = json_of("{\"type\": \"urn:ietf:params:acme:error:caa\"}");
    assert_string_equal(answer_problem(o), "caa");
    json_decref(o);
    assert_string_equal(answer_problem(NULL), "");
}

/* An issuer's words may be of any length, and of any letters: what is kept of them is cut at whole ones. */
static void test_words_of_an_issuer_are_cut(void **state) {
    (void)state;
    char long_text[2000] = "", kept[4096];
    for (size_t i = 0; i + 3 < sizeof(long_text); i += 2)
        memcpy(long_text + i, "\xc3\xa9", 3);
    for (size_t lead = 0; lead < 2; lead++) {
        struct text t = text_of(kept, sizeof(kept));
        text_add(&t, &"x"[1 - lead]);
        answer_add_words(&t, long_text);
        json_t *o = json_string(kept); /* NULL when it is no UTF-8 */
        assert_non_null(o);
        json_decref(o);
        assert_in_range(t.len, 390, 405);
    }
}

/* ---- the backoff of an issuer ---- */

static void test_an_issuer_is_left_alone_for_longer_each_time(void **state) {
    (void)state;
    struct ca_backoff h = {.pause_s = 0};
    uint64_t now_ms = 5000;
    static const unsigned minutes[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    assert_true(!ca_backoff_is_on(&h, now_ms) && !ca_backoff_tries_one(&h));
    for (size_t i = 0; i < ARRAY_LEN(minutes); i++) {
        ca_backoff_begin(&h, now_ms, -1);
        ca_backoff_begin(&h, now_ms + 1, 0); /* of another attempt that was under way */
        assert_true(ca_backoff_is_on(&h, now_ms + minutes[i] * 60000u - 1) && ca_backoff_tries_one(&h));
        now_ms += minutes[i] * 60000u;
        assert_true(!ca_backoff_is_on(&h, now_ms) && ca_backoff_tries_one(&h));
    }
    ca_backoff_end(&h);
    assert_true(!ca_backoff_is_on(&h, now_ms) && !ca_backoff_tries_one(&h));
    ca_backoff_begin(&h, now_ms, 600);
    assert_true(ca_backoff_is_on(&h, now_ms + 599999) && !ca_backoff_is_on(&h, now_ms + 600000));
    ca_backoff_begin(&h, now_ms + 1000, 7 * DAY); /* may be of a single name */
    assert_true(ca_backoff_is_on(&h, now_ms + 3600000) && !ca_backoff_is_on(&h, now_ms + 3601000));
}

/* ---- reports ---- */

static size_t room, nsent;
static uint8_t sent[2000];

static bool send_item(void *ctx, size_t item) {
    (void)ctx;
    if (room == 0)
        return false;
    room--;
    nsent++;
    sent[item]++;
    return true;
}

static void test_a_thousand_reports_through_a_small_queue(void **state) {
    (void)state;
    static struct loop loop;
    static struct reports r;
    wheel_init(&loop.wheel, 0);
    reports_init(&r, &loop, 1000, send_item, NULL);
    room = 3;
    reports_mark(&r, 7);
    assert_int_equal(sent[7], 1);
    reports_mark_all(&r);
    assert_int_equal(nsent, 3);
    room = 300;
    reports_mark(&r, 5); /* in its turn: nothing is sent past the others */
    assert_int_equal(room, 300);
    for (unsigned rounds = 0; wtimer_armed(&r.again.timer); rounds++) {
        assert_true(rounds < 5);
        alarm_clock_stop(&r.again);
        r.again.fn(r.again.ctx);
        room = 300;
    }
    for (size_t i = 0; i < 1000; i++)
        assert_in_range(sent[i], 1, 2);
    assert_int_equal(nsent, 1001);
    free(r.marked);
}

/* RFC 9110 10.2.3 and 5.6.7: seconds, or a date in one of three forms. */
static void test_retry_after(void **state) {
    (void)state;
    static const int64_t now_s = 784111777; /* Sun, 06 Nov 1994 08:49:37 GMT */
    static const struct {
        const char *value;
        int64_t seconds;
    } rows[] = {
        {"0", 0},
        {"7200", 7200},
        {"2147483647", INT32_MAX},
        {"2147483648", INT32_MAX},
        {"99999999999999999999999999", INT32_MAX},
        {"Sun, 06 Nov 1994 08:49:37 GMT", 0},
        {"Sun, 06 Nov 1994 09:49:37 GMT", 3600},
        {"Sunday, 06-Nov-94 09:49:37 GMT", 3600},
        {"Sun Nov  6 09:49:37 1994", 3600},
        {"Sat, 05 Nov 1994 08:49:37 GMT", 0}, /* past */
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799) - 784111777},
        {"", -1},
        {" ", -1},
        {"-5", -1},
        {"+5", -1},
        {"1.5", -1},
        {"1e3", -1},
        {"0x10", -1},
        {"soon", -1},
        {"120, 240", -1},
        {"Sun, 06 Nov 1994 09:49:37 CET", -1},
        {"Sun, 06 Nov 1994 09:49:37 GMT, or later", -1},
        {"Sun, 40 Nov 1994 09:49:37 GMT", -1},
        {"1994-11-06T09:49:37Z", -1},
        {"Sun, 06 Nov 1994 09:49:37 GMT                                     ", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (http_out_retry_after(span_str(rows[i].value), now_s) != rows[i].seconds)
            fail_msg("\"%s\" gave %lld", rows[i].value, (long long)http_out_retry_after(span_str(rows[i].value), now_s));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whose_fault_it_is),
        cmocka_unit_test(test_words_of_an_issuer_are_cut),
        cmocka_unit_test(test_an_issuer_is_left_alone_for_longer_each_time),
        cmocka_unit_test(test_a_thousand_reports_through_a_small_queue),
        cmocka_unit_test(test_retry_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
