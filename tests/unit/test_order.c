/*
 * The attempt against an issuer that is a model in this file: every state, every fault at every step, a crash at every step.
 * The functions of ca.h are the model's; the disk is real.
 */
#include "acme/order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "acme/renewal.h"
#include "acme/scheduler.h"
#include "base/err.h"

#define NAMES     3
#define STEPS_MAX 200
#define START     INT64_C(1790000000)
#define DAY       INT64_C(86400)

static char dir[] = "/tmp/tls-off-order-XXXXXX";
static const char *names[NAMES] = {"a.example.org", "b.example.org", "192.0.2.7"};
static uint8_t preferences[] = {CHALLENGE_TLS_ALPN_01, CHALLENGE_HTTP_01};
static uint8_t key_kinds[] = {MANAGED_ECDSA_P256};
static uint16_t both_issuers[] = {0, 1};
static struct conf_issuer issuers[2];
static struct conf_managed cert;

/* ---- the model of an issuer ---- */

static struct model {
    bool account;
    unsigned orders, finalized, told;
    bool is_told[NAMES], valid[NAMES];
    const char *status; /* of the order; NULL = there is none */
    unsigned checks;    /* an authorization becomes valid with the second look */
    const char *invalid_problem;
    char profile[64], replaces[64];
} models[2];

static struct pending {
    struct ca_call *call;
    struct ca *ca;
    enum keymaking_op op;
    enum ca_url place;
    char url[JOB_URL_MAX];
    answer_fn fn;
    void *ctx;
} pending;
static unsigned steps, keymaker_installs;
static int64_t now_s;
static bool lost; /* the last answer */

static struct loop loop;
static struct ca cas[2];
static struct store store;
static struct challenges challenges;
static struct log quiet = {.level = LOG_LEVEL_ERROR};
static unsigned ended, ended_well;
static struct order order;
static struct job job;

/* Thousands of attempts: what is under test is the order of writes, not the disk. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    (void)fd;
    return 0;
}

static int64_t now(void) {
    return now_s;
}

static void on_end(void *ctx, struct job *j, bool ok) {
    (void)ctx;
    (void)j;
    ended++;
    ended_well += ok;
}

static const struct order_env env = {
    .loop = &loop, .cas = cas, .store = &store, .challenges = &challenges, .log = &quiet, .now = now, .ended = on_end};

static void ask(struct ca *c, struct ca_call *call, enum keymaking_op op, enum ca_url place, const char *url, answer_fn fn,
                void *ctx) {
    assert_null(call->ca); /* one at a time */
    call->ca = c;
    pending = (struct pending){.call = call, .ca = c, .op = op, .place = place, .fn = fn, .ctx = ctx};
    (void)snprintf(pending.url, sizeof(pending.url), "%s", url);
}

void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    ask(c, call, KEYMAKING_COUNT, CA_URLS, "directory", fn, ctx);
}

void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place_of_cert, enum ca_url place,
             const char *url, struct span data, answer_fn fn, void *ctx) {
    struct keymaking_order o;
    assert_int_equal(place_of_cert, 0);
    if (op == KEYMAKING_ORDER) {
        assert_int_equal(keymaking_unpack_order(data, &o), 0);
        struct model *m = &models[c->index];
        (void)snprintf(m->profile, sizeof(m->profile), "%.*s", (int)o.profile.len, (const char *)o.profile.p);
        (void)snprintf(m->replaces, sizeof(m->replaces), "%.*s", (int)o.replaces.len, (const char *)o.replaces.p);
    }
    ask(c, call, op, place, url, fn, ctx);
}

void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx) {
    ask(c, call, KEYMAKING_COUNT, place, suffix, fn, ctx);
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place, struct span data, answer_fn fn,
                 void *ctx) {
    (void)place;
    if (op == KEYMAKING_INSTALL)
        assert_true(span_eq(data, span_str("the chain")));
    ask(c, call, op, CA_URLS, "", fn, ctx);
}

void ca_cancel(struct ca_call *call) {
    if (call->ca && pending.call == call)
        pending = (struct pending){.call = NULL};
    call->ca = NULL;
}

bool ca_has_profile(const struct ca *c, const char *profile) {
    (void)c;
    return strcmp(profile, "shortlived") == 0;
}

/* ---- its answers ---- */

static json_t *order_json(const struct model *m) {
    json_t *list = json_array();
    char url[64];
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(url, sizeof(url), "https://ca/authz/%u", i);
        json_array_append_new(list, json_string(url));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "status", m->status, "finalize", "https://ca/finalize", "certificate",
                     "https://ca/cert", "authorizations", list);
}

static json_t *authz_json(const struct model *m, unsigned i) {
    char alpn[64], http[64];
    (void)snprintf(alpn, sizeof(alpn), "https://ca/challenge/%u", i);
    (void)snprintf(http, sizeof(http), "https://ca/http/%u", i);
    const char *status = m->valid[i] ? "valid" : m->invalid_problem && m->is_told[i] ? "invalid" : "pending";
    json_t *first = json_pack("{s:s, s:s, s:s}", "type", "http-01", "url", http, "token", "token-http");
    json_t *second = json_pack("{s:s, s:s, s:s}", "type", "tls-alpn-01", "url", alpn, "token", "token-alpn");
    if (m->invalid_problem && m->is_told[i])
        json_object_set_new(second, "error", json_pack("{s:s, s:s}", "type", m->invalid_problem, "detail", "nobody there"));
    return json_pack("{s:s, s:{s:s, s:s}, s:[o, o]}", "status", status, "identifier", "type", "dns", "value", names[i],
                     "challenges", first, second);
}

static void look_at(struct model *m, unsigned i) {
    if (m->is_told[i] && !m->invalid_problem && ++m->checks % 2 == 0)
        m->valid[i] = true;
    bool all = true;
    for (unsigned k = 0; k < NAMES; k++)
        all = all && m->valid[k];
    if (all && strcmp(m->status, "pending") == 0)
        m->status = "ready";
}

static void answer_fetch(struct model *m, const char *url, struct answer *a) {
    unsigned i;
    if (sscanf(url, "https://ca/authz/%u", &i) == 1) {
        look_at(m, i);
        a->json = authz_json(m, i);
    } else if (strcmp(url, "https://ca/cert") == 0) {
        assert_string_equal(m->status, "valid");
        a->body = span_str("the chain");
    } else {
        assert_string_equal(url, "https://ca/order");
        a->json = order_json(m);
        if (strcmp(m->status, "processing") == 0)
            m->status = "valid"; /* for the next look */
    }
}

static void answer_challenge(struct model *m, const char *url) {
    unsigned i;
    assert_int_equal(sscanf(url, "https://ca/challenge/%u", &i), 1); /* the preferred one */
    assert_non_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01,
                                       span_str(i == 2 ? "7.2.0.192.in-addr.arpa" : names[i]))); /* it can be answered by now */
    m->is_told[i] = true;
    m->told++;
}

/* What the issuer, or the keymaker, does with P. */
static void act(const struct pending *p, struct answer *a) {
    static uint8_t packed[64];
    struct model *m = &models[p->ca->index];
    size_t len = 0;
    const struct keymaking_cert installed = {.from_issuer = true,
                                             .names_right = true,
                                             .not_before = now_s,
                                             .not_after = now_s + 90 * DAY,
                                             .ari = span_str("new.one")};
    switch (p->op) {
    case KEYMAKING_THUMBPRINT:
        a->body = span_str("thumbprint");
        break;
    case KEYMAKING_ACCOUNT:
        m->account = true;
        a->location = "https://ca/account/1";
        break;
    case KEYMAKING_ORDER:
        m->orders++;
        memset(m->is_told, 0, sizeof(m->is_told));
        memset(m->valid, 0, sizeof(m->valid));
        m->status = "pending";
        a->location = "https://ca/order";
        a->json = order_json(m);
        break;
    case KEYMAKING_FETCH:
        answer_fetch(m, p->url, a);
        break;
    case KEYMAKING_CHALLENGE:
        answer_challenge(m, p->url);
        break;
    case KEYMAKING_FINALIZE:
        m->finalized++;
        m->status = "processing";
        a->json = order_json(m);
        break;
    case KEYMAKING_INSTALL:
        keymaker_installs++;
        assert_int_equal(keymaking_pack_cert(&installed, packed, sizeof(packed), &len), 0);
        a->body = span_of(packed, len);
        break;
    default:
        break;
    }
}

/* One step: the answer to what is pending, or the clock. False: nothing is under way. */
static bool step(const struct answer *instead) {
    if (!order.job)
        return false;
    steps++;
    if (!pending.call) {
        alarm_clock_stop(&order.clock);
        order.clock.fn(order.clock.ctx);
        return true;
    }
    const struct pending p = pending;
    struct answer a = {.problem = "", .location = "", .retry_after = -1, .status = 200, .why = ""};
    pending = (struct pending){.call = NULL};
    if (!instead || instead->status != 599) /* else the request has not even come there */
        act(&p, &a);
    json_t *json = (json_t *)(uintptr_t)a.json;
    if (instead) {
        a = *instead;
        a.problem = a.problem ? a.problem : "";
        a.location = "";
        a.why = a.why ? a.why : "as the test wants it";
    }
    if (lost) {
        json_decref(json);
        return true;
    }
    p.call->ca = NULL;
    p.fn(p.ctx, &a);
    json_decref(json);
    return true;
}

static void run_to_end(void) {
    for (unsigned i = 0; i < STEPS_MAX && step(NULL); i++)
        continue;
    assert_null(order.job);
}

/* ---- cases ---- */

static int begin(void **state) {
    (void)state;
    memset(models, 0, sizeof(models));
    memset(&challenges, 0, sizeof(challenges));
    memset(cas, 0, sizeof(cas));
    memset(&order, 0, sizeof(order));
    pending = (struct pending){.call = NULL};
    steps = ended = ended_well = keymaker_installs = 0;
    lost = false;
    now_s = START;
    for (uint16_t i = 0; i < 2; i++) {
        issuers[i] = (struct conf_issuer){.name = i ? "second" : "first",
                                          .directory = "https://ca/dir",
                                          .challenges = preferences,
                                          .nchallenges = 2,
                                          .keys = key_kinds,
                                          .nkeys = 1,
                                          .profile = "",
                                          .preferred_chain = ""};
        cas[i].issuer = &issuers[i];
        cas[i].index = i;
        (void)snprintf(cas[i].urls[CA_RENEWAL_INFO], CA_URL_MAX, "https://ca/renewal");
    }
    cert = (struct conf_managed){
        .id = "web.ecdsa-p256", .dir = dir, .names = names, .nnames = NAMES, .issuers = both_issuers, .nissuers = 1};
    job = (struct job){.cert = &cert};
    wheel_init(&loop.wheel, 0);
    assert_int_equal(store_init(&store, dir), 0);
    char file[128];
    (void)snprintf(file, sizeof(file), "%s/order.web.ecdsa-p256.json", dir);
    (void)unlink(file);
    return 0;
}

static void test_a_certificate_is_got(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    run_to_end();
    assert_int_equal(ended_well, 1);
    assert_int_equal(models[0].orders, 1);
    assert_int_equal(models[0].told, NAMES);
    assert_int_equal(models[0].finalized, 1);
    assert_int_equal(keymaker_installs, 1);
    assert_int_equal(job.failures, 0);
    assert_int_equal(job.issued, 1);
    assert_string_equal(job.order, "");
    assert_string_equal(job.ari, "new.one");
    assert_int_equal(job_due(&job), START + 60 * DAY);
    for (size_t i = 0; i < challenges.n; i++)
        assert_null(challenges.list[i].owner);
}

/* What is on the disk is all that a new process knows. */
static void crash(void) {
    order_abandon(&order);
    pending = (struct pending){.call = NULL};
    memset(&order, 0, sizeof(order));
    memset(&challenges, 0, sizeof(challenges));
    cas[0].thumbprint[0] = 0;
    store_get_account(&store, &cas[0]);
    job = (struct job){.cert = &cert};
    store_get_job(&store, &job, now_s);
}

static void test_a_crash_at_every_step_makes_no_second_order(void **state) {
    unsigned n = 1;
    for (bool all = false; !all; n++) {
        begin(state);
        order_begin(&order, &env, &job);
        for (unsigned i = 0; i + 1 < n && order.job; i++)
            (void)step(NULL);
        all = !order.job;
        if (all)
            break;
        bool known = job.order[0];
        unsigned before = models[0].orders;
        crash();
        assert_int_equal(job.failures, 1); /* so that a crash loop waits longer and longer */
        assert_true(job.next_s > now_s);
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, known ? before : before + 1);
        assert_int_equal(models[0].orders, 1);
    }
    assert_true(n > 20);
}

/* The answer to a request is lost with the process: what was asked may have been done. */
static void test_a_crash_with_the_answer_under_way(void **state) {
    for (unsigned n = 1;; n++) {
        begin(state);
        order_begin(&order, &env, &job);
        for (unsigned i = 0; i + 1 < n && order.job; i++)
            (void)step(NULL);
        if (!order.job)
            return;
        if (!pending.call)
            continue;
        lost = true;
        (void)step(NULL);
        lost = false;
        crash();
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_true(models[0].orders <= 2); /* of newOrder alone nobody knows whether it was heard */
    }
}

static void fail_at_every_step(const struct answer *fault, bool second_works) {
    for (unsigned n = 1;; n++) {
        begin(NULL);
        cert.nissuers = second_works ? 2 : 1;
        order_begin(&order, &env, &job);
        for (unsigned i = 0; i + 1 < n && order.job; i++)
            (void)step(NULL);
        if (!order.job)
            return;
        if (!pending.call || (second_works && order.state == ORDER_ALTERNATE))
            continue;
        enum order_state at = order.state;
        enum keymaking_op op = pending.op;
        (void)step(fault);
        bool from_keymaker = op == KEYMAKING_THUMBPRINT || op == KEYMAKING_INSTALL;
        if (!order.job) {
            assert_int_equal(ended, 1);
            assert_int_equal(ended_well, 0);
            assert_true(job.error[0]);
            assert_true(job.next_s >= now_s + 60);
            assert_int_equal(job.failures, 1);
        }
        if (second_works && !from_keymaker && fault->fault == FAULT_ISSUER)
            assert_non_null(order.job);
        (void)at;
        run_to_end();
        if (second_works && !from_keymaker && fault->fault == FAULT_ISSUER)
            assert_int_equal(ended_well, 1);
    }
}

static void test_every_fault_at_every_step(void **state) {
    (void)state;
    const struct answer faults[] = {
        {.fault = FAULT_ISSUER, .status = 599, .retry_after = -1},
        {.fault = FAULT_ISSUER, .status = 500, .retry_after = -1},
        {.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .retry_after = 7200},
        {.fault = FAULT_NAMES, .status = 403, .problem = "caa", .retry_after = -1},
        {.fault = FAULT_OURS, .retry_after = -1},
        {.status = 200, .retry_after = -1}, /* an answer that says nothing */
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        fail_at_every_step(&faults[i], false);
        fail_at_every_step(&faults[i], true);
    }
}

static void test_retry_after_is_obeyed(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .retry_after = 7200});
    assert_null(order.job);
    assert_int_equal(job.next_s, now_s + 7200);
}

static void test_a_name_that_cannot_be_validated(void **state) {
    (void)state;
    cert.nissuers = 2; /* another issuer would find the same: it is not asked */
    models[0].invalid_problem = "urn:ietf:params:acme:error:connection";
    order_begin(&order, &env, &job);
    run_to_end();
    assert_int_equal(ended_well, 0);
    assert_int_equal(models[1].orders, 0);
    assert_non_null(strstr(job.error, "a.example.org"));
    assert_non_null(strstr(job.error, "nobody there"));
    assert_string_equal(job.order, "");
}

static void test_pauses_between_failures(void **state) {
    (void)state;
    static const int64_t pauses[] = {60, 600, 6000, 86400, 86400};
    models[0].invalid_problem = "urn:ietf:params:acme:error:dns";
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(job.next_s - now_s, pauses[i]);
        now_s = job.next_s;
    }
}

static void test_an_order_that_is_gone_is_made_again_once(void **state) {
    (void)state;
    (void)snprintf(job.order, sizeof(job.order), "https://ca/order");
    models[0].status = "pending";
    order_begin(&order, &env, &job);
    while (order.state != ORDER_READ)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 404, .problem = "malformed", .retry_after = -1});
    run_to_end();
    assert_int_equal(ended_well, 1);
    assert_int_equal(models[0].orders, 1);
}

static void test_a_renewal_names_what_it_replaces(void **state) {
    (void)state;
    job.from_issuer = job.names_right = job.inspected = true;
    job.not_before = START - 60 * DAY;
    job.not_after = START + 30 * DAY;
    (void)snprintf(job.ari, sizeof(job.ari), "old.one");
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    assert_string_equal(models[0].replaces, "old.one");
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 409, .problem = "alreadyReplaced", .retry_after = -1});
    assert_int_equal(order.state, ORDER_NEW);
    assert_string_equal(models[0].replaces, "");
    run_to_end();
    assert_int_equal(ended_well, 1);
}

static void test_profiles(void **state) {
    static const struct {
        const char *wanted;
        bool required, ok;
        const char *sent;
    } cases[] = {{"shortlived", false, true, "shortlived"},
                 {"shortlived", true, true, "shortlived"},
                 {"other", false, true, ""},
                 {"other", true, false, ""}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(state);
        issuers[0].profile = cases[i].wanted;
        issuers[0].profile_required = cases[i].required;
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, cases[i].ok);
        assert_string_equal(models[0].profile, cases[i].sent);
    }
}

static void test_an_account_that_is_gone_is_made_again(void **state) {
    (void)state;
    (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://ca/account/0");
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 400, .problem = "accountDoesNotExist", .retry_after = -1});
    run_to_end();
    assert_int_equal(ended_well, 1);
    assert_string_equal(cas[0].account, "https://ca/account/1");
}

static void test_nothing_is_ordered_that_cannot_be_written_down(void **state) {
    (void)state;
    assert_int_equal(store_init(&store, "/nonexistent"), 0);
    order_begin(&order, &env, &job);
    assert_null(order.job);
    assert_int_equal(models[0].orders, 0);
    assert_int_equal(ended, 1);
    assert_true(job.next_s > now_s);
}

/* A disk that fills while an order is under way: it is finished all the same. */
static void test_a_disk_that_is_full_later(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    assert_int_equal(store_init(&store, "/nonexistent"), 0);
    run_to_end();
    assert_int_equal(ended_well, 1);
}

static void test_an_issuer_that_is_never_ready(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    for (unsigned i = 0; i < STEPS_MAX && order.state != ORDER_PAUSE; i++)
        (void)step(NULL);
    memset(models[0].is_told, 0, sizeof(models[0].is_told)); /* it has forgotten */
    unsigned n = 0;
    for (; order.job && n < 10000; n++) {
        now_s += order.pause_ms / 1000 + 1;
        (void)step(NULL);
    }
    assert_null(order.job);
    assert_int_equal(ended_well, 0);
    assert_true(now_s - START <= 3700);
    assert_true(n < 1000); /* it is not asked all the time */
}

static void test_no_answer_in_time(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    order.clock.fn(order.clock.ctx);
    assert_null(order.job);
    assert_null(pending.call);
    assert_non_null(strstr(job.error, "in time"));
}

static int make_directory(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_directory(void **state) {
    begin(state);
    char file[128];
    (void)snprintf(file, sizeof(file), "%s/account.first.json", dir);
    (void)unlink(file);
    (void)snprintf(file, sizeof(file), "%s/account.second.json", dir);
    (void)unlink(file);
    return rmdir(dir);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(test_##name, begin)
    const struct CMUnitTest tests[] = {
        CASE(a_certificate_is_got),
        CASE(a_crash_at_every_step_makes_no_second_order),
        CASE(a_crash_with_the_answer_under_way),
        CASE(every_fault_at_every_step),
        CASE(retry_after_is_obeyed),
        CASE(a_name_that_cannot_be_validated),
        CASE(pauses_between_failures),
        CASE(an_order_that_is_gone_is_made_again_once),
        CASE(a_renewal_names_what_it_replaces),
        CASE(profiles),
        CASE(an_account_that_is_gone_is_made_again),
        CASE(nothing_is_ordered_that_cannot_be_written_down),
        CASE(a_disk_that_is_full_later),
        CASE(an_issuer_that_is_never_ready),
        CASE(no_answer_in_time),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
