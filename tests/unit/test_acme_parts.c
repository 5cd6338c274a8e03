/* The small parts of the acme role: base64url, times of renewal, jobs on the disk, challenges, the responder's HTTP, messages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "acme/challenges.h"
#include "acme/http_responder.h"
#include "acme/job.h"
#include "acme/persist.h"
#include "acme/records.h"
#include "acme/renewal.h"
#include "base/base64url.h"
#include "base/err.h"
#include "wire/control.h"
#include "wire/keymaking.h"
#include "wire/managed.h"
#include "wire/sharing.h"

#define DAY INT64_C(86400)

static void test_base64url(void **state) {
    (void)state;
    static const struct {
        const char *plain, *coded;
    } rfc4648[] = {{"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
                   {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xff\xfe\xfd", "__79"},
                   {"\xfb\xff", "-_8"}};
    char text[64];
    uint8_t back[64];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(rfc4648); i++) {
        struct text t = text_of(text, sizeof(text));
        base64url_add(&t, span_str(rfc4648[i].plain));
        assert_string_equal(text, rfc4648[i].coded);
        assert_int_equal(t.len, BASE64URL_LEN(strlen(rfc4648[i].plain)));
        assert_int_equal(base64url_read(span_str(text), back, sizeof(back), &n), 0);
        assert_true(span_eq(span_of(back, n), span_str(rfc4648[i].plain)));
    }
    static const char *const bad[] = {"Z", "Zg=", "Zg==", "Zh", "Zm9", "Z+9v", "Z/9v", "Zm 9v", "Zm9vZ"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(base64url_read(span_str(bad[i]), back, sizeof(back), &n), ERR_FORMAT);
    assert_int_equal(base64url_read(span_str("Zm9v"), back, 2, &n), ERR_LIMIT);
    assert_int_equal(base64url_read(span_str("-_-_"), back, sizeof(back), &n), 0);
    assert_int_equal(base64_read(span_str("-_-_"), back + n, sizeof(back) - n, &n), ERR_FORMAT);
    assert_int_equal(base64_read(span_str("+/+/"), back + n, sizeof(back) - n, &n), 0);
    assert_memory_equal(back, back + n, n);
    assert_int_equal(base64url_read(span_of("Z\0aa", 4), back, sizeof(back), &n), ERR_FORMAT);
}

static void test_times_of_renewal(void **state) {
    (void)state;
    assert_int_equal(renewal_time(0, 90 * DAY), 60 * DAY);
    assert_int_equal(renewal_time(0, 45 * DAY), 30 * DAY);
    assert_int_equal(renewal_time(0, 6 * DAY), 3 * DAY);
    assert_int_equal(renewal_latest(0, 90 * DAY), 135 * DAY / 2);
    assert_int_equal(renewal_latest(0, 6 * DAY), 15 * DAY / 4);
    assert_int_equal(renewal_alarm(60 * DAY, 90 * DAY), 75 * DAY);
    assert_int_equal(renewal_alarm(99 * DAY, 90 * DAY), 90 * DAY);
    assert_int_equal(renewal_pause(1, 0, 0), 60);
    assert_int_equal(renewal_pause(2, 0, 0), 600);
    assert_int_equal(renewal_pause(3, 0, 0), 6000);
    assert_int_equal(renewal_pause(4, 0, 0), DAY);
    assert_int_equal(renewal_pause(1000, 0, 0), DAY);
    assert_int_equal(renewal_pause(9, 100, 100 + 8 * 3600), 3600); /* an eighth of what is left */
    assert_int_equal(renewal_pause(9, 100, 101), 60);
    assert_int_equal(renewal_pause(9, 100, 99), DAY); /* it has expired */
    assert_int_equal(renewal_retry_after(-1, 0, 0), 0);
    assert_int_equal(renewal_retry_after(7200, 0, 0), 7200);
    assert_int_equal(renewal_retry_after(INT64_MAX, 100, 0), 7 * DAY);
    assert_int_equal(renewal_retry_after(INT64_MAX, 100, 99), 7 * DAY); /* it has expired */
    assert_int_equal(renewal_retry_after(7 * DAY, 100, 100 + 2 * DAY), DAY / 4);
    assert_int_equal(renewal_retry_after(7 * DAY, 0, 90 * DAY), 7 * DAY);
    assert_int_equal(renewal_retry_after(3600, 0, 90 * DAY), 3600);
    assert_int_equal(renewal_choose(100, 200, 0), 100);
    assert_int_equal(renewal_choose(100, 200, 199), 199);
    assert_int_equal(renewal_choose(200, 200, 7), 0);
    assert_int_equal(renewal_choose(200, 100, 7), 0);
    assert_int_equal(renewal_ask_again(-1), 6 * 3600);
    assert_int_equal(renewal_ask_again(0), 60);
    assert_int_equal(renewal_ask_again(99 * DAY), DAY);
}

static const struct conf_managed cert = {.id = "web.ecdsa-p256", .nissuers = 2};

static void test_a_job_comes_back_from_the_disk(void **state) {
    (void)state;
    char json[8192];
    size_t n = 0;
    struct job j = {.cert = &cert,
                    .issuer = 1,
                    .orders = {"https://ca/order/1", "https://ca/order/2"},
                    .error = "why \"not\"\n",
                    .failures = 3,
                    .next_s = 1000,
                    .blocked_s = {0, 1500},
                    .issued = 7,
                    .failed = 9,
                    .ari = "aki.serial",
                    .window = {10, 20},
                    .chosen_s = 15,
                    .ask_s = 12,
                    .installed_s = 5};
    assert_true(job_write(&j, json, sizeof(json), &n));
    struct job back = {.cert = &cert};
    assert_true(job_read(&back, span_of(json, n), 2000));
    assert_memory_equal(&back, &j, offsetof(struct job, inspected));
    assert_false(back.wanted);
    j.wanted = true; /* what an operator asked for outlives the process, here and nowhere else */
    assert_true(job_write(&j, json, sizeof(json), &n));
    assert_true(job_read(&back, span_of(json, n), 2000) && back.wanted);
    struct job other = {.cert = &cert}, asked = {.cert = &cert, .wanted = true};
    assert_true(job_read_shared(&other, span_of(json, n), 2000) && !other.wanted);
    j.wanted = false;
    assert_true(job_write(&j, json, sizeof(json), &n));
    assert_true(job_read_shared(&asked, span_of(json, n), 2000) && asked.wanted);
    for (size_t i = 0; i < n; i++) { /* a file that was cut: nothing, or what was there */
        struct job cut = {.cert = &cert};
        (void)!job_read(&cut, span_of(json, i), 2000);
    }
    struct job old = {.cert = &cert}; /* of a version that knew one order */
    assert_true(
        job_read(&old, span_str("{\"certificate\": \"web.ecdsa-p256\", \"issuer\": 1, \"order\": \"https://ca/order/3\"}"), 5));
    assert_string_equal(old.orders[0], "");
    assert_string_equal(old.orders[1], "https://ca/order/3");
    struct job elsewhere = {.cert = &(struct conf_managed){.id = "other", .nissuers = 1}};
    assert_false(job_read(&elsewhere, span_of(json, n), 2000));
    const struct conf_managed fewer = {.id = "web.ecdsa-p256", .nissuers = 1};
    struct job shrunk = {.cert = &fewer};
    assert_true(job_read(&shrunk, span_of(json, n), 2000));
    assert_int_equal(shrunk.issuer, 0);
    assert_false(job_write(&j, json, 100, &n));
}

/* Written while the clock was a year ahead: waited for a day, not for a year. */
static void test_a_clock_that_was_ahead(void **state) {
    (void)state;
    char json[8192];
    size_t n = 0;
    struct job j = {.cert = &cert, .next_s = 365 * DAY, .blocked_s = {365 * DAY, 50}, .ask_s = 365 * DAY},
               back = {.cert = &cert};
    assert_true(job_write(&j, json, sizeof(json), &n));
    assert_true(job_read(&back, span_of(json, n), 100));
    assert_int_equal(back.next_s, 100 + DAY);
    assert_int_equal(back.ask_s, 100 + DAY);
    assert_int_equal(back.blocked_s[0], 100 + 7 * DAY);
    assert_int_equal(back.blocked_s[1], 50);
    job_move_clock(&back, -60); /* and set right while it runs */
    assert_int_equal(back.blocked_s[0], 40 + 7 * DAY);
    assert_int_equal(back.blocked_s[1], 0);
    assert_int_equal(job_open_issuer(&back, 0, 100), 1);
    assert_int_equal(job_open_issuer(&back, 1, 100), 1);
    assert_int_equal(job_open_at(&back), 0);
    back.blocked_s[1] = 200;
    assert_int_equal(job_open_issuer(&back, 0, 100), 2);
    assert_int_equal(job_open_issuer(&back, 0, 200), 1);
    assert_int_equal(job_open_at(&back), 200);
}

static void test_when_a_job_is_due(void **state) {
    (void)state;
    struct job j = {.cert = &cert};
    assert_int_equal(job_due(&j), 0); /* there is none: at once */
    assert_false(job_alarms(&j, 0));
    j.failures = 3;
    j.next_s = 500;
    assert_int_equal(job_due(&j), 500);
    assert_true(job_alarms(&j, 0));
    const struct keymaking_cert c = {.from_issuer = true, .names_right = true, .not_after = 90 * DAY, .ari = span_str("one")};
    j = (struct job){.cert = &cert, .chosen_s = 99};
    job_take_cert(&j, &c); /* what was known of another certificate is forgotten */
    assert_int_equal(job_due(&j), 60 * DAY);
    assert_false(job_alarms(&j, 74 * DAY));
    assert_true(job_alarms(&j, 76 * DAY));
    j.chosen_s = 40 * DAY;
    assert_int_equal(job_due(&j), 40 * DAY);
    job_take_cert(&j, &c);
    assert_int_equal(job_due(&j), 40 * DAY);
    j.installed_s = 50 * DAY; /* an issuer that wants the new one renewed at once */
    assert_int_equal(job_due(&j), 50 * DAY + 3600);
    j.installed_s = 0;
    static const int64_t late[] = {400 * DAY, 90 * DAY, 90 * DAY - 1, 68 * DAY}; /* windows that leave no time */
    for (size_t i = 0; i < ARRAY_LEN(late); i++) {
        j.chosen_s = late[i];
        assert_int_equal(job_due(&j), 135 * DAY / 2);
        assert_false(job_alarms(&j, job_due(&j)));
        assert_true(job_alarms(&j, 75 * DAY)); /* as without a window */
    }
    j.chosen_s = 67 * DAY;
    assert_int_equal(job_due(&j), 67 * DAY);
    assert_false(job_alarms(&j, 75 * DAY - 1));
    j.chosen_s = 40 * DAY; /* an early one has an early alarm */
    assert_true(job_alarms(&j, 65 * DAY) && !job_alarms(&j, 65 * DAY - 1));
    j.wanted = true;
    assert_int_equal(job_due(&j), 0);
    j.names_right = j.wanted = false;
    assert_int_equal(job_due(&j), 0);
}

/* An issuer whose certificates are nearly over when they come: no order follows at once, and each is renewed before its end. */
static void test_a_certificate_that_is_old_when_it_comes(void **state) {
    (void)state;
    struct keymaking_cert c = {.from_issuer = true, .names_right = true, .not_before = 0, .not_after = 90 * DAY};
    struct job j = {.cert = &cert};
    job_take_cert(&j, &c);
    j.installed_s = 89 * DAY;
    assert_int_equal(job_due(&j), 89 * DAY + 3600);
    j.installed_s = 90 * DAY - 800;
    assert_int_equal(job_due(&j), 90 * DAY - 700);
    j.installed_s = 91 * DAY; /* by a clock that is ahead */
    assert_int_equal(job_due(&j), 91 * DAY);
}

static void test_a_revoked_certificate_is_due(void **state) {
    (void)state;
    struct keymaking_cert c = {.from_issuer = true, .names_right = true, .not_before = DAY, .not_after = 91 * DAY};
    struct job j = {.cert = &cert, .installed_s = 2 * DAY};
    job_take_cert(&j, &c);
    assert_int_equal(job_due(&j), 61 * DAY);
    j.revoked_from = DAY;
    assert_int_equal(job_due(&j), 2 * DAY + 3600); /* not before it is an hour old */
    j.chosen_s = 80 * DAY;
    assert_int_equal(job_due(&j), 2 * DAY + 3600);
    j.next_s = 4 * DAY; /* the attempt has failed: its pause counts */
    assert_int_equal(job_due(&j), 4 * DAY);
    c.not_before = 5 * DAY; /* the next one is another certificate */
    job_take_cert(&j, &c);
    j.chosen_s = 0;
    assert_int_equal(job_due(&j), 91 * DAY - 86 * DAY / 3);
}

static struct challenges challenges;

/* An alarm is logged when it begins, again while it lasts, and when it is over. */
static void test_what_the_log_says_of_alarms(void **state) {
    (void)state;
    char line[2048];
    const struct keymaking_cert c = {.from_issuer = true, .names_right = true, .not_after = 90 * DAY, .ari = span_str("one")};
    const struct keymaking_cert next = {
        .from_issuer = true, .names_right = true, .not_before = 80 * DAY, .not_after = 170 * DAY, .ari = span_str("two")};
    static const struct {
        int64_t now;
        enum job_alarm_news news;
    } looks[] = {{59 * DAY, JOB_ALARM_OLD},
                 {75 * DAY - 1, JOB_ALARM_OLD}, /* half of the time from day 60 to day 90 */
                 {75 * DAY, JOB_ALARM_RINGS},
                 {75 * DAY + 60, JOB_ALARM_OLD},
                 {75 * DAY + 6 * 3600 - 1, JOB_ALARM_OLD},
                 {75 * DAY + 6 * 3600, JOB_ALARM_RINGS},
                 {75 * DAY + 10, JOB_ALARM_RINGS}, /* the clock was set back */
                 {91 * DAY, JOB_ALARM_RINGS}};
    struct job j = {.cert = &cert, .failures = 4, .error = "it is full"};
    job_take_cert(&j, &c);
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        struct text t = text_of(line, sizeof(line));
        assert_int_equal(job_alarm_news(&j, looks[i].now, &t), looks[i].news);
        if (looks[i].news == JOB_ALARM_RINGS) {
            assert_non_null(strstr(line, "failed attempts in a row: 4, the last: it is full; "));
            assert_non_null(strstr(line, "tls-off acme renew "));
            assert_non_null(
                strstr(line, looks[i].now < 90 * DAY ? "valid until 1970-04-01 00:00 UTC" : "is expired since 1970"));
        }
    }
    struct text t = text_of(line, sizeof(line));
    job_take_cert(&j, &next);
    assert_int_equal(job_alarm_news(&j, 92 * DAY, &t), JOB_ALARM_ENDS);
    assert_string_equal(line, "the alarm is over");
    t = text_of(line, sizeof(line));
    assert_int_equal(job_alarm_news(&j, 92 * DAY, &t), JOB_ALARM_OLD);
    j = (struct job){.cert = &cert, .failures = 3}; /* none was ever there */
    t = text_of(line, sizeof(line));
    assert_int_equal(job_alarm_news(&j, 5, &t), JOB_ALARM_RINGS);
    assert_non_null(strstr(line, "there is still none from an issuer; failed attempts in a row: 3; "));
}

static json_t *json_of(const char *text) {
    json_t *o = json_loads(text, 0, NULL);
    assert_non_null(o);
    return o;
}

/* draft-ietf-acme-dns-persist-02 3.1 and 3.2: each row a directory, a challenge, and what is found. */
static void test_challenges_of_persistent_records(void **state) {
    (void)state;
    static const struct {
        const char *meta, *challenge, *domain, *why;
    } rows[] = {
        {"'issuerDomainNames': ['a.example', 'b.example'], 'caaIdentities': ['a.example', 'b.example']",
         "'issuerDomainNames': ['b.example', 'a.example']", "a.example", NULL},
        {"'issuerDomainNames': ['a.example', 'b.example']", "'issuerDomainNames': ['a.example']", "a.example", "\"b.example\""},
        {"'issuerDomainNames': ['a.example']", "'issuerDomainNames': []", "a.example", "no 1 to 10"},
        {"'issuerDomainNames': ['a.example']", "'issuerDomainNames': ['a.example', 'A.example']", "a.example", "no 1 to 10"},
        {"'issuerDomainNames': ['a.example']", "'issuerDomainNames': ['a.example', 'b.example.']", "a.example", "no 1 to 10"},
        {"'issuerDomainNames': ['a.example']", "'issuerDomainNames': 'a.example'", "a.example", "no 1 to 10"},
        {"'issuerDomainNames': ['a.example']", "'issuerDomainNames': ['a','b','c','d','e','f','g','h','i','j','k']",
         "a.example", "no 1 to 10"},
        {"'issuerDomainNames': ['a.example'], 'caaIdentities': ['a.example']",
         "'issuerDomainNames': ['a.example', 'x.example']", "a.example", "none of the directory's caaIdentities"},
        {"'issuerDomainNames': ['bad name'], 'caaIdentities': ['c.example']", "'issuerDomainNames': ['c.example']", "c.example",
         NULL},
        {"'caaIdentities': ['c.example']", "'issuer-domain-names': ['c.example', 'd.example']", "c.example", NULL}, /* -01 */
        {"'caaIdentities': ['c.example']", "'issuer-domain-names': ['d.example']", "c.example", "\"c.example\""},
        {"'x': 1", "'issuer-domain-names': ['d.example']", "", NULL},
        {"'x': 1", "'token': 'x'", "", "no 1 to 10"},
    };
    static struct ca ca;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char directory[512], challenge[512], line[512];
        struct text why = text_of(line, sizeof(line));
        (void)snprintf(directory, sizeof(directory), "{'meta': {%s, 'accountHashPrefix': 'https://ca/h/'}}", rows[i].meta);
        (void)snprintf(challenge, sizeof(challenge), "{%s}", rows[i].challenge);
        for (char *s = directory; *s; s++)
            *s = *s == '\'' ? '"' : *s;
        for (char *s = challenge; *s; s++)
            *s = *s == '\'' ? '"' : *s;
        json_t *d = json_of(directory), *c = json_of(challenge);
        persist_take_directory(&ca, d); /* in place of the one before */
        assert_string_equal(persist_domain(&ca), rows[i].domain);
        assert_string_equal(ca.hash_prefix, "https://ca/h/");
        assert_int_equal(persist_answers(&ca, c, &why), rows[i].why == NULL);
        if (rows[i].why && !strstr(line, rows[i].why))
            fail_msg("row %zu: no \"%s\" in: %s", i, rows[i].why, line);
        json_decref(d);
        json_decref(c);
    }
    persist_take_directory(&ca, NULL);
    assert_true(!ca.domains && !ca.caa && !ca.hash_prefix[0]);
}

static void test_challenges(void **state) {
    (void)state;
    const int me = 1, other = 2;
    assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_TLS_ALPN_01, "a.example.org", "token", "thumb"), 0);
    assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a.example.org", "tok-en_2", "thumb"), 0);
    assert_int_equal(challenges_offer(&challenges, &other, CHALLENGE_TLS_ALPN_01, "192.0.2.7", "token3", "thumb"), 0);
    assert_int_equal(challenges_offer(&challenges, &other, CHALLENGE_TLS_ALPN_01, "2001:db8::7", "token4", "thumb"), 0);
    struct challenge *c = challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01, span_str("A.EXAMPLE.org"));
    assert_non_null(c);
    assert_string_equal(c->key_authorization, "token.thumb");
    assert_non_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01, span_str("7.2.0.192.in-addr.arpa")));
    assert_non_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01,
                                       span_str("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa")));
    assert_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01, span_str("a.example")));
    assert_null(challenges_by_token(&challenges, span_str("token"))); /* of another kind */
    assert_non_null(challenges_by_token(&challenges, span_str("tok-en_2")));
    assert_null(challenges_by_token(&challenges, span_str("")));
    challenges_withdraw(&challenges, &me);
    assert_null(challenges_by_token(&challenges, span_str("tok-en_2")));
    assert_non_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01, span_str("7.2.0.192.in-addr.arpa")));
    static const char *const bad[] = {"", "a/b", "../x", "a b", "a\nb", "a=b"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a.example.org", bad[i], "t"), ERR_FORMAT);
    char longest[CHALLENGE_TOKEN_MAX + 2];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a", longest, "t"), ERR_FORMAT);
    int err = 0;
    size_t n = 0;
    for (; err == 0 && n <= CHALLENGES_MAX; n++)
        err = challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a", "t", "t");
    assert_int_equal(err, ERR_LIMIT);
    challenges_withdraw(&challenges, &me);
    challenges_withdraw(&challenges, &other);
    assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a", "t", "t"), 0);
    challenges_withdraw(&challenges, &me);
}

static char fault_text[64];

static void on_placed(void *ctx, const char *why) {
    (void)ctx;
    (void)snprintf(fault_text, sizeof(fault_text), "<%s>", why);
}

static void expect_hook(int fd, enum hook_verb verb, uint16_t name, struct control_hook *ret) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(fd, scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
    assert_int_equal(control_read_hook(&m, ret), 0);
    assert_int_equal(ret->verb, verb);
    assert_int_equal(ret->name, name);
}

static void test_records_one_after_the_other(void **state) {
    (void)state;
    static struct challenges c;
    int pair[2], me, other;
    struct control_hook h;
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg none;
    int err = 0;
    const struct ipc_msg done = {.type = CONTROL_HOOKED}, failed = {.type = CONTROL_HOOKED, .body = span_str("no zone")};
    assert_int_equal(ipc_pair(0, pair), 0);
    c = (struct challenges){.supervisor = pair[0]};
    assert_int_equal(challenges_offer(&c, &me, CHALLENGE_DNS_01, "a.example.org", "token", "thumb"), 0);
    assert_int_equal(challenges_offer(&c, &other, CHALLENGE_DNS_01, "b.example.org", "token", "thumb"), 0);
    records_want(&c, challenges_of(&c, &me, CHALLENGE_DNS_01, "token"), 1, 2, 3, on_placed, NULL);
    records_want(&c, challenges_of(&c, &other, CHALLENGE_DNS_01, "token"), 1, 2, 4, on_placed, NULL);
    expect_hook(pair[1], HOOK_PRESENT, 3, &h);
    assert_string_equal(h.value, "lCdftpJCXapaZHkBGIZbcubeKW8RmA0jSG_aZN01zbU");
    assert_int_equal(ipc_recv(pair[1], scratch, sizeof(scratch), control_to_supervisor, &none, &err), STEP_WANT_READ);
    challenges_withdraw(&c, &me); /* while its program runs: it is undone, and nobody hears of it */
    records_hear(&c, &done);
    assert_string_equal(fault_text, "");
    expect_hook(pair[1], HOOK_CLEANUP, 3, &h);
    records_hear(&c, &done);
    expect_hook(pair[1], HOOK_PRESENT, 4, &h);
    records_hear(&c, &failed);
    assert_string_equal(fault_text, "<no zone>");
    challenges_withdraw(&c, &other); /* what was never there is not removed */
    assert_int_equal(ipc_recv(pair[1], scratch, sizeof(scratch), control_to_supervisor, &none, &err), STEP_WANT_READ);
    records_hear(&c, &done); /* one that nobody waits for */
    for (size_t i = 0; i < c.n; i++)
        assert_true(!c.list[i].owner && !c.list[i].record);
    close(pair[0]);
    close(pair[1]);
}

static void test_requests_for_programs(void **state) {
    (void)state;
    struct control_hook h = {.verb = HOOK_CLEANUP, .issuer = 1, .cert = 2, .name = 3}, back;
    memset(h.value, 'a', HOOK_VALUE_LEN);
    int pair[2];
    assert_int_equal(ipc_pair(0, pair), 0);
    assert_int_equal(control_send_hook(pair[0], &h), 0);
    expect_hook(pair[1], HOOK_CLEANUP, 3, &back);
    assert_memory_equal(&back, &h, sizeof(h));
    uint8_t body[CONTROL_HOOK_LEN] = {0};
    const struct ipc_msg m = {.type = CONTROL_HOOK, .body = span_of(body, sizeof(body))};
    static const char *const bad = " ;$(&'\"\n/=";
    memset(body + 7, 'a', HOOK_VALUE_LEN);
    assert_int_equal(control_read_hook(&m, &back), 0);
    for (const char *p = bad; *p; p++) {
        body[9] = (uint8_t)*p;
        assert_int_equal(control_read_hook(&m, &back), ERR_FORMAT);
    }
    body[9] = 'a';
    body[0] = HOOK_VERBS;
    assert_int_equal(control_read_hook(&m, &back), ERR_FORMAT);
    close(pair[0]);
    close(pair[1]);
}

static void test_the_http_of_validators(void **state) {
    (void)state;
    static const struct {
        bool redirects;
        const char *request, *begins, *has;
    } cases[] = {
        {false, "GET /.well-known/acme-challenge/tok HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", "\r\n\r\ntok.thumb"},
        {true, "GET /.well-known/acme-challenge/tok HTTP/1.0\r\n\r\n", "HTTP/1.1 200 ", "Content-Length: 9\r\n"},
        {true, "GET /.well-known/acme-challenge/other HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET /.well-known/acme-challenge/tok/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET /.well-known/acme-challenge/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", ""},
        {false, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET /x?y=1 HTTP/1.1\r\nX: y\r\nHost: www.example.org:80\r\n\r\n", "HTTP/1.1 308 ",
         "Location: https://www.example.org/x?y=1\r\n"},
        {true, "GET / HTTP/1.1\r\nHost: evil/\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET / HTTP/1.1\r\nHost: a\"b\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 ", ""},
        {true, "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ", ""},
        {true, "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ", ""},
        {true, "POST / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 ", ""},
        {true, "GET /\r\n\r\n", "HTTP/1.1 400 ", ""},
        {true, "\r\n\r\n", "HTTP/1.1 400 ", ""},
    };
    const int me = 1;
    assert_int_equal(challenges_offer(&challenges, &me, CHALLENGE_HTTP_01, "a", "tok", "thumb"), 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct http_responder h = {.challenges = &challenges, .redirects = cases[i].redirects};
        char out[16384];
        struct text t = text_of(out, sizeof(out));
        http_responder_answer(&h, span_str(cases[i].request), &t);
        if (strncmp(out, cases[i].begins, strlen(cases[i].begins)) != 0 || !strstr(out, cases[i].has))
            fail_msg("%s\n-- gave:\n%s", cases[i].request, out);
    }
    challenges_withdraw(&challenges, &me);
}

/* ---- messages ---- */

/* What was sent by FROM, as the other side gets it. */
static struct ipc_msg received(int fd, const struct ipc_rule *rules) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m = {.type = 0};
    int err = 0;
    assert_int_equal(ipc_recv(fd, scratch, sizeof(scratch), rules, &m, &err), STEP_DONE);
    return m;
}

static void test_requests_to_the_keymaker(void **state) {
    (void)state;
    static char chain[KEYMAKING_DATA_MAX + 1];
    int pair[2];
    struct keymaking_request back;
    struct keymaking_answer answer;
    assert_int_equal(ipc_pair(1 << 20, pair), 0);
    memset(chain, 'c', sizeof(chain));
    struct keymaking_request q = {.number = 7,
                                  .op = KEYMAKING_INSTALL,
                                  .issuer = 2,
                                  .cert = 3,
                                  .url = span_str("https://u"),
                                  .nonce = span_str("n"),
                                  .account = span_str("k"),
                                  .data = span_of(chain, KEYMAKING_DATA_MAX)};
    assert_int_equal(keymaking_send_request(pair[0], &q), 0);
    struct ipc_msg m = received(pair[1], keymaking_to_keymaker);
    assert_int_equal(keymaking_read_request(&m, &back), 0);
    assert_true(back.number == 7 && back.op == KEYMAKING_INSTALL && back.issuer == 2 && back.cert == 3);
    assert_true(span_eq(back.url, q.url) && span_eq(back.nonce, q.nonce) && span_eq(back.account, q.account));
    assert_true(span_eq(back.data, q.data));
    for (size_t i = 0; i < 64; i++) { /* cut */
        const struct ipc_msg cut = {.type = KEYMAKING_REQUEST, .body = span_of(m.body.p, i)};
        assert_int_equal(keymaking_read_request(&cut, &back), ERR_FORMAT);
    }
    q.data.len++;
    if (keymaking_send_request(pair[0], &q) == 0) {
        m = received(pair[1], keymaking_to_keymaker);
        assert_int_equal(keymaking_read_request(&m, &back), ERR_FORMAT);
    }
    for (enum keymaking_type outcome = KEYMAKING_DONE; outcome <= KEYMAKING_FAILED; outcome++) {
        const struct keymaking_answer a = {.number = 9, .outcome = outcome, .data = span_str("text")};
        assert_int_equal(keymaking_send_answer(pair[1], &a), 0);
        m = received(pair[0], keymaking_to_acme);
        assert_int_equal(keymaking_read_answer(&m, &answer), 0);
        assert_true(answer.number == 9 && answer.outcome == outcome && span_eq(answer.data, a.data));
    }
    close(pair[0]), close(pair[1]);
}

static void test_what_is_packed_comes_back(void **state) {
    (void)state;
    uint8_t bytes[512];
    size_t n = 0;
    const struct keymaking_cert c = {.from_issuer = true, .not_before = -5, .not_after = INT64_MAX, .ari = span_str("a.b")};
    struct keymaking_cert c2;
    assert_int_equal(keymaking_pack_cert(&c, bytes, sizeof(bytes), &n), 0);
    assert_int_equal(keymaking_unpack_cert(span_of(bytes, n), &c2), 0);
    assert_true(c2.from_issuer && !c2.names_right && c2.not_before == -5 && c2.not_after == INT64_MAX &&
                span_eq(c2.ari, c.ari));
    assert_int_equal(keymaking_unpack_cert(span_of(bytes, 17), &c2), ERR_FORMAT);
    bytes[0] = 2;
    assert_int_equal(keymaking_unpack_cert(span_of(bytes, n), &c2), ERR_FORMAT);
    const struct keymaking_order o = {.profile = span_str("p"), .replaces = span_str("r")};
    struct keymaking_order o2;
    assert_int_equal(keymaking_pack_order(&o, bytes, sizeof(bytes), &n), 0);
    assert_int_equal(keymaking_unpack_order(span_of(bytes, n), &o2), 0);
    assert_true(span_eq(o2.profile, o.profile) && span_eq(o2.replaces, o.replaces));
    for (size_t i = 0; i < n; i++)
        assert_int_equal(keymaking_unpack_order(span_of(bytes, i), &o2), ERR_FORMAT);
}

static void test_news_for_the_observer(void **state) {
    (void)state;
    char error[MANAGED_ERROR_MAX];
    int pair[2];
    memset(error, 'e', sizeof(error));
    assert_int_equal(ipc_pair(1 << 20, pair), 0);
    const struct managed_status s = {.cert = 1,
                                     .issuer = 2,
                                     .state = 3,
                                     .from_issuer = true,
                                     .alarm = true,
                                     .not_before = 4,
                                     .not_after = 5,
                                     .renew_at = 6,
                                     .next_at = 7,
                                     .installed_at = 8,
                                     .window = {9, 10},
                                     .failures = 11,
                                     .issued = 12,
                                     .failed = 13,
                                     .state_name = span_str("finalize"),
                                     .error = span_of(error, sizeof(error))};
    struct managed_status s2;
    assert_int_equal(managed_send_status(pair[0], &s), 0);
    struct ipc_msg m = received(pair[1], managed_to_observer);
    assert_int_equal(managed_read_status(&m, &s2), 0);
    assert_true(s2.cert == 1 && s2.issuer == 2 && s2.state == 3 && s2.from_issuer && !s2.names_right && s2.alarm);
    assert_true(s2.not_before == 4 && s2.not_after == 5 && s2.renew_at == 6 && s2.next_at == 7 && s2.installed_at == 8);
    assert_true(s2.window[0] == 9 && s2.window[1] == 10 && s2.failures == 11 && s2.issued == 12 && s2.failed == 13);
    assert_true(span_eq(s2.error, s.error) && span_eq(s2.state_name, s.state_name));
    for (size_t i = 0; i < m.body.len; i++) {
        const struct ipc_msg cut = {.type = MANAGED_STATUS, .body = span_of(m.body.p, i)};
        assert_int_equal(managed_read_status(&cut, &s2), ERR_FORMAT);
    }
    assert_int_equal(managed_send_status(pair[0], &(struct managed_status){.cert = 1}), 0); /* the shortest */
    m = received(pair[1], managed_to_observer);
    assert_int_equal(managed_read_status(&m, &s2), 0);
    struct managed_account a2;
    assert_int_equal(managed_send_account(pair[0], &(struct managed_account){3, span_str("https://ca/1"), span_str("t"),
                                                                             span_str(""), span_str("ca")}),
                     0);
    m = received(pair[1], managed_to_observer);
    assert_int_equal(managed_read_account(&m, &a2), 0);
    assert_true(a2.issuer == 3 && span_eq(a2.url, span_str("https://ca/1")) && span_eq(a2.thumbprint, span_str("t")));
    assert_true(a2.hash_prefix.len == 0 && span_eq(a2.domain, span_str("ca")));
    for (size_t i = 0; i < m.body.len; i++) {
        const struct ipc_msg cut = {.type = MANAGED_ACCOUNT, .body = span_of(m.body.p, i)};
        assert_int_equal(managed_read_account(&cut, &a2), ERR_FORMAT);
    }
    for (unsigned kind = 0; kind <= MANAGED_COMMANDS; kind++)
        for (uint8_t reason = 0; reason < 13; reason += 4) {
            struct managed_command c2;
            assert_int_equal(
                managed_send_command(pair[1], &(struct managed_command){(enum managed_command_kind)kind, 5, reason}), 0);
            m = received(pair[0], managed_to_acme);
            assert_int_equal(managed_read_command(&m, &c2), kind < MANAGED_COMMANDS && reason <= 10 ? 0 : ERR_FORMAT);
        }
    close(pair[0]), close(pair[1]);
}

static void test_news_of_ocsp_for_the_observer(void **state) {
    (void)state;
    char error[MANAGED_ERROR_MAX];
    int pair[2];
    memset(error, 'e', sizeof(error));
    assert_int_equal(ipc_pair(1 << 20, pair), 0);
    struct managed_ocsp o = {1, 2, MANAGED_OCSP_REVOKED, 3, 4, 5, 6, span_of(error, sizeof(error))}, o2;
    assert_int_equal(managed_send_ocsp(pair[0], &o), 0);
    struct ipc_msg m = received(pair[1], managed_to_observer);
    assert_int_equal(managed_read_ocsp(&m, &o2), 0);
    assert_true(o2.set == 1 && o2.entry == 2 && o2.state == MANAGED_OCSP_REVOKED && o2.from == 3 && o2.until == 4);
    assert_true(o2.next_at == 5 && o2.failures == 6 && span_eq(o2.error, o.error));
    for (size_t i = 0; i < m.body.len; i++) {
        const struct ipc_msg cut = {.type = MANAGED_OCSP, .body = span_of(m.body.p, i)};
        assert_int_equal(managed_read_ocsp(&cut, &o2), ERR_FORMAT);
    }
    o = (struct managed_ocsp){.state = MANAGED_OCSP_STATES};
    assert_int_equal(managed_send_ocsp(pair[0], &o), 0);
    m = received(pair[1], managed_to_observer);
    assert_int_equal(managed_read_ocsp(&m, &o2), ERR_FORMAT);
    close(pair[0]), close(pair[1]);
}

/* ---- a fleet ---- */

static void test_when_it_is_ordered_alone(void **state) {
    (void)state;
    struct job j = {.from_issuer = true, .names_right = true, .not_before = 0, .not_after = 90 * DAY};
    assert_int_equal(job_alone_in_s(&j, 5, 99), 75 * DAY - 5); /* the last sixth */
    for (j.alone = 0; j.alone < 1000000000; j.alone += 12345678)
        assert_true(job_alone_in_s(&j, 75 * DAY, 99) >= 0 && job_alone_in_s(&j, 75 * DAY, 99) < DAY * 15 / 2);
    j.not_after = 0; /* nonsense is as none */
    j.alone = UINT64_MAX;
    assert_in_range(job_alone_in_s(&j, DAY, 0), 60, 600);
    j = (struct job){.from_issuer = false};
    assert_int_equal(job_alone_in_s(&j, DAY, 0), 60);
    assert_int_equal(job_alone_in_s(&j, -DAY, 45), 15); /* whatever the clock on the wall says */
    j.alone = 12345;
    assert_in_range(job_alone_in_s(&j, DAY, 0), 60, 600);
}

static void test_who_is_left_behind(void **state) {
    (void)state;
    struct job j = {
        .cert = &cert, .inspected = true, .from_issuer = true, .names_right = true, .not_after = 90 * DAY, .failures = 1};
    assert_true(job_was_left(&j));
    assert_false(job_is_due(&j, DAY)); /* only an order under way continues on its own */
    j.orders[0][0] = 'x';
    assert_true(job_is_due(&j, DAY));
    j.error[0] = 'x';
    assert_false(job_was_left(&j) || job_is_due(&j, DAY));
    j.error[0] = 0;
    j.failures = 3;
    assert_false(job_was_left(&j));
    assert_true(job_is_due(&j, 60 * DAY));
}

static void test_names_in_the_store(void **state) {
    (void)state;
    static const char *one[] = {"b.example", "a.example"}, *turned[] = {"a.example", "b.example"},
                      *more[] = {"a.example", "c.example"};
    struct conf_issuer issuers[] = {{.directory = "https://x/"}, {.directory = "https://y/"}};
    uint16_t both[] = {0, 1}, reversed[] = {1, 0};
    const struct conf_acme a = {.issuers = issuers, .nissuers = 2};
    struct conf_managed c = {.names = one, .nnames = 2, .issuers = both, .nissuers = 2};
    char first[CONF_SHARED_NAME_MAX], second[CONF_SHARED_NAME_MAX];
    managed_shared_name(&a, &c, first);
    assert_memory_equal(first, "a.example-ecdsa-p256-", 21);
    c.names = turned;
    managed_shared_name(&a, &c, second);
    assert_string_equal(first, second);
    c.issuers = reversed;
    managed_shared_name(&a, &c, second);
    assert_string_not_equal(first, second);
    c.issuers = both;
    c.names = more;
    managed_shared_name(&a, &c, second);
    assert_string_not_equal(first, second);
    issuer_shared_name(&issuers[0], first);
    issuer_shared_name(&issuers[1], second);
    assert_string_not_equal(first, second);
}

static void test_challenges_in_the_store(void **state) {
    (void)state;
    static struct challenges all;
    struct challenge back;
    char name[CHALLENGE_SHARED_MAX], data[CHALLENGE_SHARED_MAX];
    all = (struct challenges){.supervisor = -1};
    assert_int_equal(challenges_offer(&all, &all, CHALLENGE_TLS_ALPN_01, "192.0.2.7", "tok", "print"), 0);
    assert_true(span_eq(challenge_shared_name(&all.list[0], name), span_str("tls-alpn-01/7.2.0.192.in-addr.arpa")));
    struct span packed = challenge_pack(&all.list[0], data);
    assert_true(span_eq(packed, span_str("192.0.2.7 tok.print")));
    assert_true(challenge_unpack(packed, &back));
    assert_string_equal(back.identifier, "192.0.2.7");
    assert_string_equal(back.key_authorization, "tok.print");
    static const char *const bad[] = {"", " ", "a", " a", "a ", "a b\r\nc", "a b\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(challenge_unpack(span_str(bad[i]), &back));
    static char longest[400];
    memset(longest, 'a', sizeof(longest) - 1);
    longest[10] = ' ';
    assert_false(challenge_unpack(span_str(longest), &back));
    challenges_withdraw(&all, &all);
}

static void test_messages_of_the_fleet(void **state) {
    (void)state;
    static uint8_t scratch[IPC_BODY_MAX + 2], large[SHARING_DATA_MAX + 1];
    int ends[2], err = 0;
    struct ipc_msg m;
    struct sharing_request q = {7, SHARING_PUT, 8, 9, span_str("lease"), span_str("a/b"), span_of(large, SHARING_DATA_MAX)}, q2;
    struct sharing_answer a = {7, SHARING_OLD, 1, 2, span_str("data")}, a2;
    struct server_state s = {true, 99, 98, span_str("")}, s2;
    struct span name;
    assert_int_equal(ipc_pair(1 << 20, ends), 0);
    assert_int_equal(sharing_send_request(ends[0], &q), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_fleet, &m, &err), STEP_DONE);
    assert_int_equal(sharing_read_request(&m, &q2), 0);
    assert_true(q2.number == 7 && q2.op == SHARING_PUT && q2.fence == 8 && q2.version == 9 && span_eq(q2.name, q.name) &&
                span_eq(q2.lease, q.lease) && q2.data.len == SHARING_DATA_MAX);
    for (size_t cut = 0; cut < 60; cut++) { /* also with a byte too few or too many */
        struct ipc_msg part = {.type = SHARING_REQUEST, .body = span_of(m.body.p, cut)};
        assert_int_equal(sharing_read_request(&part, &q2), ERR_FORMAT);
    }
    q.data.len++;
    assert_int_equal(sharing_send_request(ends[0], &q), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_fleet, &m, &err), STEP_DONE);
    assert_int_equal(sharing_read_request(&m, &q2), ERR_FORMAT);
    q.data.len = 0;
    assert_int_equal(sharing_send_request(ends[0], &q), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_fleet, &m, &err), STEP_DONE);
    assert_int_equal(sharing_read_request(&m, &q2), 0);
    *(uint8_t *)memchr(m.body.p, '/', m.body.len) = ' '; /* would be two words */
    assert_int_equal(sharing_read_request(&m, &q2), ERR_FORMAT);
    q.name = span_str("a b"); /* an issuer's word must not close the link */
    assert_int_equal(sharing_send_request(ends[0], &q), ERR_FORMAT);
    assert_int_equal(sharing_send_answer(ends[0], &a), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_acme, &m, &err), STEP_DONE);
    assert_int_equal(sharing_read_answer(&m, &a2), 0);
    assert_true(a2.number == 7 && a2.result == SHARING_OLD && a2.fence == 1 && a2.version == 2 && span_eq(a2.data, a.data));
    assert_int_equal(server_state_send(ends[0], SHARING_STATE, &s), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_acme, &m, &err), STEP_DONE);
    assert_int_equal(server_state_read(&m, &s2), 0);
    assert_true(s2.up && s2.since_s == 99 && s2.since_ms == 98 && s2.why.len == 0);
    assert_int_equal(sharing_send_news(ends[0], span_str("certificate/x")), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), sharing_to_acme, &m, &err), STEP_DONE);
    assert_int_equal(sharing_read_news(&m, &name), 0);
    assert_true(span_eq(name, span_str("certificate/x")));
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base64url),
        cmocka_unit_test(test_times_of_renewal),
        cmocka_unit_test(test_a_job_comes_back_from_the_disk),
        cmocka_unit_test(test_a_clock_that_was_ahead),
        cmocka_unit_test(test_when_a_job_is_due),
        cmocka_unit_test(test_a_certificate_that_is_old_when_it_comes),
        cmocka_unit_test(test_a_revoked_certificate_is_due),
        cmocka_unit_test(test_what_the_log_says_of_alarms),
        cmocka_unit_test(test_challenges_of_persistent_records),
        cmocka_unit_test(test_challenges),
        cmocka_unit_test(test_records_one_after_the_other),
        cmocka_unit_test(test_requests_for_programs),
        cmocka_unit_test(test_the_http_of_validators),
        cmocka_unit_test(test_requests_to_the_keymaker),
        cmocka_unit_test(test_what_is_packed_comes_back),
        cmocka_unit_test(test_news_for_the_observer),
        cmocka_unit_test(test_news_of_ocsp_for_the_observer),
        cmocka_unit_test(test_when_it_is_ordered_alone),
        cmocka_unit_test(test_who_is_left_behind),
        cmocka_unit_test(test_names_in_the_store),
        cmocka_unit_test(test_challenges_in_the_store),
        cmocka_unit_test(test_messages_of_the_fleet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
