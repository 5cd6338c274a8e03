/*
 * A thousand certificates at issuers that are a model in this file: how many requests an issuer gets, well or not. The
 * functions of ca.h are the model's, which has validated all names before; so are those of store.h, which keep nothing.
 */
#include "acme/scheduler.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

#define JOBS  1000
#define START INT64_C(1790000000)
#define DAY   INT64_C(86400)
#define YEAR  (365 * DAY)

static char ids[JOBS][32], hosts[JOBS][64];
static const char *names[JOBS];
static uint16_t both[] = {0, 1};
static uint8_t preferences[] = {CHALLENGE_TLS_ALPN_01};
static struct conf_issuer issuers[2];
static struct conf_managed certs[JOBS];
static const struct conf_acme acme = {.issuers = issuers, .nissuers = 2, .certs = certs, .ncerts = JOBS};

/* ---- the model ---- */

static struct model {
    unsigned requests, accounts, orders, installs;
    bool down;            /* does not answer */
    int64_t limited_s;    /* takes no order before then */
    unsigned limited_job; /* nor one for this certificate, for a week; JOBS = none */
    bool refuses_account;
    unsigned refused_job; /* what newOrder is malformed for; JOBS = none */
} models[2];

static struct pending {
    struct ca *ca;
    struct ca_call *call;
    enum keymaking_op op;
    uint16_t cert;
    answer_fn fn;
    void *ctx;
} pending[SCHEDULER_ORDERS + 3];

static struct loop loop;
static struct ca cas[2];
static struct store store;
static struct challenges challenges;
static struct log quiet = {.level = LOG_LEVEL_ERROR + 1};
static struct job jobs[JOBS];
static struct scheduler scheduler;
static struct keymaking_cert in_use[JOBS];
static int64_t now_s;
static size_t in_flight_max;

int store_put_job(const struct store *s, const struct job *j) {
    (void)s;
    (void)j;
    return 0;
}

int store_put_account(const struct store *s, const struct ca *c) {
    (void)s;
    (void)c;
    return 0;
}

static int64_t now(void) {
    return now_s;
}

static const struct order_env env = {
    .loop = &loop, .acme = &acme, .cas = cas, .store = &store, .challenges = &challenges, .log = &quiet, .now = now};

static void ask(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place, answer_fn fn, void *ctx) {
    size_t i = 0;
    while (pending[i].call)
        i++;
    assert_true(i < ARRAY_LEN(pending));
    assert_null(call->ca);
    call->ca = c;
    pending[i] = (struct pending){.ca = c, .call = call, .op = op, .cert = place, .fn = fn, .ctx = ctx};
}

void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    ask(c, call, KEYMAKING_COUNT, 0, fn, ctx);
}

void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, enum ca_url place, const char *url,
             struct span data, answer_fn fn, void *ctx) {
    (void)place;
    (void)url;
    (void)data;
    ask(c, call, op, cert, fn, ctx);
}

void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx) {
    (void)place;
    (void)suffix;
    ask(c, call, KEYMAKING_COUNT, 0, fn, ctx);
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, struct span data, answer_fn fn,
                 void *ctx) {
    (void)data;
    ask(c, call, op, cert, fn, ctx);
}

void ca_cancel(struct ca_call *call) {
    for (size_t i = 0; i < ARRAY_LEN(pending) && call->ca; i++)
        if (pending[i].call == call)
            pending[i].call = NULL;
    call->ca = NULL;
}

bool ca_has_profile(const struct ca *c, const char *profile) {
    (void)c;
    (void)profile;
    return false;
}

static bool is_of_keymaker(enum keymaking_op op) {
    return op == KEYMAKING_INSPECT || op == KEYMAKING_THUMBPRINT || op == KEYMAKING_INSTALL;
}

static void answer_order(struct model *m, const struct pending *p, struct answer *a) {
    bool limited = now_s < m->limited_s;
    if (limited || (p->cert == m->limited_job && now_s < START + 7 * DAY)) {
        *a = (struct answer){.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .location = "", .why = "too many"};
        a->retry_after = limited ? m->limited_s - now_s : 7 * DAY;
        return;
    }
    if (p->cert == m->refused_job) {
        *a = (struct answer){.fault = FAULT_ANSWER, .status = 400, .problem = "malformed", .location = "", .why = "not public"};
        a->retry_after = -1;
        return;
    }
    m->orders++;
    a->location = "https://ca/order";
    a->json =
        json_pack("{s:s, s:s, s:s}", "status", "valid", "finalize", "https://ca/finalize", "certificate", "https://ca/cert");
}

static void act(const struct pending *p, struct answer *a) {
    static uint8_t packed[64];
    struct model *m = &models[p->ca->index];
    size_t len = 0;
    m->requests += !is_of_keymaker(p->op);
    if (m->down && !is_of_keymaker(p->op)) {
        a->fault = FAULT_ISSUER;
        a->status = 0;
        a->why = "it is away";
        return;
    }
    switch (p->op) {
    case KEYMAKING_ACCOUNT:
        a->location = "https://ca/account";
        m->accounts++;
        if (m->refuses_account)
            *a = (struct answer){
                .fault = FAULT_ANSWER, .status = 403, .retry_after = -1, .problem = "", .location = "", .why = "no"};
        break;
    case KEYMAKING_ORDER:
        answer_order(m, p, a);
        break;
    case KEYMAKING_FETCH:
        a->body = span_str("the chain");
        break;
    case KEYMAKING_INSTALL:
        m->installs++;
        in_use[p->cert] = (struct keymaking_cert){.from_issuer = true,
                                                  .names_right = true,
                                                  .not_before = now_s,
                                                  .not_after = now_s + 90 * DAY,
                                                  .ari = span_str("x.y")};
        /* fallthrough */
    case KEYMAKING_INSPECT:
        assert_int_equal(keymaking_pack_cert(&in_use[p->cert], packed, sizeof(packed), &len), 0);
        a->body = span_of(packed, len);
        break;
    case KEYMAKING_THUMBPRINT:
        a->body = span_str("thumb");
        break;
    default:
        break;
    }
}

/* All that is under way is answered, and what follows from that. */
static void answer_all(void) {
    for (bool more = true; more;) {
        size_t flight = 0;
        more = false;
        for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
            flight += scheduler.orders[i].job != NULL;
        in_flight_max = MAX(in_flight_max, flight);
        for (size_t i = 0; i < ARRAY_LEN(pending); i++) {
            const struct pending p = pending[i];
            struct answer a = {.problem = "", .location = "", .retry_after = -1, .status = 200, .why = ""};
            if (!p.call)
                continue;
            pending[i].call = NULL;
            act(&p, &a);
            p.call->ca = NULL;
            p.fn(p.ctx, &a);
            json_decref((json_t *)(uintptr_t)a.json);
            more = true;
        }
    }
}

static void look_until_nothing_is_due(void) {
    do {
        scheduler.clock.fn(scheduler.clock.ctx);
        answer_all();
    } while (scheduler.soon);
}

static void pass_minutes(unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        now_s += 60;
        loop.now_ms += 60000;
        look_until_nothing_is_due();
    }
}

static unsigned changes;

static void on_change(void *ctx, const struct job *j) {
    (void)ctx;
    changes += j != NULL;
}

static uint64_t no_chance(void) {
    return 0;
}

static size_t count_issued(void) {
    size_t n = 0;
    for (size_t i = 0; i < JOBS; i++)
        n += in_use[i].from_issuer;
    return n;
}

static int begin(void **state) {
    (void)state;
    memset(models, 0, sizeof(models));
    memset(pending, 0, sizeof(pending));
    memset(cas, 0, sizeof(cas));
    memset(in_use, 0, sizeof(in_use));
    memset(&challenges, 0, sizeof(challenges));
    memset(&scheduler, 0, sizeof(scheduler));
    models[0].limited_job = models[1].limited_job = models[0].refused_job = models[1].refused_job = JOBS;
    now_s = START;
    loop.now_ms = 1000;
    in_flight_max = 0;
    changes = 0;
    wheel_init(&loop.wheel, 0);
    for (uint16_t i = 0; i < 2; i++) {
        issuers[i] = (struct conf_issuer){.name = i ? "second" : "first",
                                          .directory = "https://ca/dir",
                                          .challenges = preferences,
                                          .nchallenges = 1,
                                          .profile = "",
                                          .preferred_chain = ""};
        cas[i] = (struct ca){.issuer = &issuers[i], .index = i, .known = true};
    }
    for (uint16_t i = 0; i < JOBS; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "s%u.ecdsa-p256", i);
        (void)snprintf(hosts[i], sizeof(hosts[i]), "h%u.example.org", i);
        names[i] = hosts[i];
        certs[i] = (struct conf_managed){.id = ids[i], .names = &names[i], .nnames = 1, .issuers = both, .nissuers = 1};
        jobs[i] = (struct job){.cert = &certs[i], .index = i};
    }
    scheduler_init(&scheduler, &env, jobs, JOBS);
    scheduler.random = no_chance;
    scheduler.changed = on_change;
    scheduler_run(&scheduler);
    return 0;
}

static int end(void **state) {
    (void)state;
    scheduler_stop(&scheduler);
    return 0;
}

/* ---- cases ---- */

static void test_a_thousand_certificates(void **state) {
    (void)state;
    look_until_nothing_is_due();
    assert_int_equal(count_issued(), JOBS);
    assert_int_equal(models[0].orders, JOBS);
    assert_int_equal(models[0].accounts, 1);
    assert_int_equal(in_flight_max, SCHEDULER_ORDERS);
    assert_in_range(changes, JOBS, 30 * JOBS); /* what is reported does not grow with the square */
    unsigned before = models[0].requests;
    pass_minutes(24 * 60);
    assert_int_equal(models[0].orders, JOBS);
    assert_int_equal(models[0].requests, before);
}

/* Away for half a day: it is asked now and then, not a thousand times an hour; then all get theirs. */
static void test_an_issuer_that_is_away(void **state) {
    (void)state;
    models[0].down = true;
    look_until_nothing_is_due();
    assert_in_range(models[0].requests, 1, SCHEDULER_ORDERS);
    pass_minutes(12 * 60);
    assert_in_range(models[0].requests, 8, 60);
    assert_int_equal(count_issued(), 0);
    assert_string_equal(scheduler_state_of(&scheduler, &jobs[JOBS - 1]), "waiting for the issuer");
    int64_t due = scheduler_due(&scheduler, &jobs[JOBS - 1]);
    assert_in_range(due - now_s, 1, CA_BACKOFF_MAX_S);
    models[0].down = false;
    pass_minutes(25 * 60); /* those that have failed wait for a day at most */
    assert_int_equal(count_issued(), JOBS);
    assert_int_equal(models[0].orders, JOBS);
}

static void test_an_account_that_is_refused(void **state) {
    (void)state;
    models[0].refuses_account = true;
    pass_minutes(60);
    assert_in_range(models[0].accounts, 1, 12);
    models[0].refuses_account = false;
    pass_minutes(25 * 60);
    assert_int_equal(count_issued(), JOBS);
}

/* A name that is not public, among a thousand that are: the fault is of one certificate, and no other waits for it. */
static void test_a_name_that_is_refused_holds_no_other(void **state) {
    static const unsigned places[] = {0, 3, JOBS - 1};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        end(state);
        begin(state);
        models[0].refused_job = places[i];
        look_until_nothing_is_due();
        assert_int_equal(count_issued(), JOBS - 1);
        assert_int_equal(jobs[places[i]].failed, 1);
        assert_false(ca_backoff_is_on(&cas[0].backoff, loop.now_ms) || ca_backoff_tries_one(&cas[0].backoff));
        assert_int_equal(now_s, START);
    }
}

/* "Too many orders, come again in three hours", after the first 300. */
static void test_a_limit_of_the_account(void **state) {
    (void)state;
    for (unsigned i = 0; i < 10000 && models[0].orders < 300; i++) {
        scheduler.clock.fn(scheduler.clock.ctx);
        answer_all();
    }
    models[0].limited_s = now_s + 3 * 3600;
    unsigned before = models[0].requests, ordered = models[0].orders;
    pass_minutes(179);
    assert_in_range(models[0].requests - before, 1, 8 * SCHEDULER_ORDERS);
    assert_int_equal(models[0].orders, ordered);
    pass_minutes(121);
    assert_in_range(count_issued(), JOBS - 4 * SCHEDULER_ORDERS, JOBS); /* those that were refused have pauses of their own */
    pass_minutes(25 * 60);
    assert_int_equal(count_issued(), JOBS);
}

/* The limit of one name keeps the others waiting for an hour at most, and that name for as long as the issuer says. */
static void test_a_limit_of_one_name(void **state) {
    (void)state;
    models[0].limited_job = 3;
    pass_minutes(61);
    assert_int_equal(count_issued(), JOBS - 1);
    pass_minutes(6 * 24 * 60);
    assert_in_range(jobs[3].failed, 1, 3);
    pass_minutes(2 * 24 * 60);
    assert_int_equal(count_issued(), JOBS);
}

/* Where there is another issuer, nobody waits for the first one, and few ask it. */
static void test_the_other_issuer(void **state) {
    (void)state;
    for (size_t i = 0; i < JOBS; i++)
        certs[i].nissuers = 2;
    models[0].down = true;
    look_until_nothing_is_due();
    assert_int_equal(count_issued(), JOBS);
    assert_int_equal(models[1].orders, JOBS);
    assert_in_range(models[0].requests, 1, SCHEDULER_ORDERS);
}

/* An operator who asks for one, and a certificate that is about to end, are not kept waiting by others. */
static void test_what_is_urgent_is_asked_for(void **state) {
    (void)state;
    models[0].down = true;
    pass_minutes(30);
    assert_true(ca_backoff_is_on(&cas[0].backoff, loop.now_ms));
    unsigned before = models[0].requests;
    scheduler_renew(&scheduler, 700);
    look_until_nothing_is_due();
    assert_int_equal(models[0].requests, before + 1);
    assert_int_equal(jobs[700].failed, 1);
    in_use[800] = (struct keymaking_cert){
        .from_issuer = true, .names_right = true, .not_before = now_s - 89 * DAY, .not_after = now_s + DAY};
    job_take_cert(&jobs[800], &in_use[800]);
    look_until_nothing_is_due();
    assert_int_equal(jobs[800].failed, 1);
}

/* Nor by those that try whether the issuer works again. */
static void test_what_is_urgent_is_not_one_at_a_time(void **state) {
    (void)state;
    for (unsigned urgent = 0; urgent < 2; urgent++) {
        end(state);
        begin(state);
        models[0].down = true;
        (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://ca/account");
        pass_minutes(2);
        assert_true(ca_backoff_tries_one(&cas[0].backoff));
        now_s += DAY;
        loop.now_ms += (uint64_t)DAY * 1000;
        for (uint16_t i = 700; i < 703 && urgent; i++)
            scheduler_renew(&scheduler, i);
        scheduler.clock.fn(scheduler.clock.ctx);
        assert_int_equal(cas[0].attempts, urgent ? 4 : 1); /* the one that tries, and those */
        answer_all();
        assert_int_equal(cas[0].attempts, 0);
    }
}

/* What an issuer is asked about its certificate goes to the one that has issued it. */
static void test_the_issuer_of_a_certificate_is_asked_about_it(void **state) {
    static const struct {
        const char *issued_by;
        const struct ca *asked;
    } rows[] = {{"", &cas[0]}, {"first", &cas[0]}, {"second", &cas[1]}, {"gone", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        end(state);
        begin(state);
        for (size_t k = 0; k < JOBS; k++) {
            jobs[k].inspected = jobs[k].from_issuer = jobs[k].names_right = true;
            jobs[k].not_before = START;
            jobs[k].not_after = START + 90 * DAY;
        }
        for (size_t k = 0; k < 2; k++) {
            (void)snprintf(cas[k].account, sizeof(cas[k].account), "https://ca/account");
            (void)snprintf(cas[k].urls[CA_RENEWAL_INFO], sizeof(cas[k].urls[0]), "https://ca/info");
        }
        (void)snprintf(jobs[5].ari, sizeof(jobs[5].ari), "a.b");
        job_set_issued_by(&jobs[5], span_str(rows[i].issued_by));
        scheduler.clock.fn(scheduler.clock.ctx);
        assert_ptr_equal(pending[0].call ? pending[0].ca : NULL, rows[i].asked);
        assert_int_equal(scheduler_revoke(&scheduler, 5, 0), rows[i].asked != NULL);
        for (size_t k = 0; k < ARRAY_LEN(pending); k++)
            if (pending[k].call && pending[k].op == KEYMAKING_REVOKE)
                assert_ptr_equal(pending[k].ca, rows[i].asked);
        ca_cancel(&scheduler.asking);
        ca_cancel(&scheduler.command);
    }
}

/* Also while the store of a fleet is away: nobody waits for the last sixth of its lifetime. */
static void test_a_revoked_certificate_is_replaced_soon(void **state) {
    (void)state;
    struct job *j = &jobs[5];
    for (size_t k = 0; k < JOBS; k++) {
        jobs[k].inspected = jobs[k].from_issuer = jobs[k].names_right = true;
        jobs[k].not_before = START;
        jobs[k].not_after = START + 90 * DAY;
    }
    (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://ca/account");
    assert_true(job_alone_in_s(j, now_s, 100) > 60 * DAY);
    assert_true(scheduler_revoke(&scheduler, 5, 1));
    const struct answer done = {.status = 200};
    for (size_t k = 0; k < ARRAY_LEN(pending); k++) {
        struct pending p = pending[k];
        if (p.call && p.op == KEYMAKING_REVOKE) {
            ca_cancel(p.call);
            p.fn(p.ctx, &done);
        }
    }
    assert_true(j->wanted && job_renew_at(j) <= now_s);
    assert_true(job_alone_in_s(j, now_s, 0) <= 600);
}

/* Pauses that began while the clock was ahead or behind are as long as they were meant to be. */
static void test_a_clock_that_is_set(void **state) {
    static const int64_t by_s[] = {-YEAR, -DAY, DAY, YEAR};
    for (size_t i = 0; i < ARRAY_LEN(by_s); i++) {
        begin(state);
        models[0].down = true;
        pass_minutes(1);
        now_s += by_s[i];
        pass_minutes(1);
        for (size_t k = 0; k < JOBS; k++)
            assert_true(jobs[k].next_s <= now_s + 6000 && jobs[k].installed_s <= now_s);
        models[0].down = false;
        pass_minutes(3 * 60);
        assert_int_equal(count_issued(), JOBS);
        assert_int_equal(models[0].orders, JOBS);
        end(state);
    }
    begin(state);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {
        CASE(a_thousand_certificates),
        CASE(an_issuer_that_is_away),
        CASE(an_account_that_is_refused),
        CASE(a_name_that_is_refused_holds_no_other),
        CASE(a_limit_of_the_account),
        CASE(a_limit_of_one_name),
        CASE(the_other_issuer),
        CASE(what_is_urgent_is_asked_for),
        CASE(a_clock_that_is_set),
        CASE(what_is_urgent_is_not_one_at_a_time),
        CASE(the_issuer_of_a_certificate_is_asked_about_it),
        CASE(a_revoked_certificate_is_replaced_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
