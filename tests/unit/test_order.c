/* The attempt against a model of an issuer: every state, every fault at every step, a crash at every step, months of renewals.
 */
#include "order_scheduler.h"

/* ---- cases ---- */

static void test_a_certificate_is_got(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    run_to_end();
    assert_int_equal(ended_well, 1);
    assert_int_equal(models[0].orders, 1);
    assert_int_equal(models[0].responses, NAMES);
    assert_int_equal(models[0].finalized, 1);
    assert_int_equal(keymaker_installs, 1);
    assert_int_equal(job.failures, 0);
    assert_int_equal(job.issued, 1);
    assert_string_equal(job.orders[0], "");
    assert_string_equal(job.ari, "new.1");
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
        bool known = job.orders[0][0];
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
        assert_int_equal(models[0].orders, 1); /* of newOrder nobody knows whether it was heard: it is looked for */
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
    assert_string_equal(job.orders[0], "");
}

static void test_pauses_between_failures(void **state) {
    (void)state;
    static const int64_t pauses[] = {60, 600, 6000, 86400, 86400};
    models[0].invalid_problem = "urn:ietf:params:acme:error:dns";
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(job.next_s - now_s, pauses[i]);
        pass(pauses[i]);
    }
}

static void test_an_order_that_is_gone_is_made_again_once(void **state) {
    (void)state;
    (void)snprintf(job.orders[0], sizeof(job.orders[0]), "https://ca/order");
    models[0].status = "pending";
    order_begin(&order, &env, &job);
    while (order.state != ORDER_READ)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ANSWER, .status = 404, .problem = "malformed", .retry_after = -1});
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
    run_to_end();
    assert_int_equal(ended_well, 1);
}

/* A renewal that is about to get the answer to newOrder. */
static void renew_to_new_order(uint16_t nissuers, const char *issued_by) {
    begin(NULL);
    cert.nissuers = nissuers;
    job.from_issuer = job.names_right = job.inspected = true;
    job.not_before = START - 60 * DAY;
    job.not_after = START + 30 * DAY;
    (void)snprintf(job.ari, sizeof(job.ari), "old.one");
    job_set_issued_by(&job, span_str(issued_by));
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
}

/* Whatever an issuer calls it when it does not know what is replaced, the order is asked for once more, without. */
static void test_a_renewal_that_is_refused_is_asked_for_as_an_order(void **state) {
    (void)state;
    static const struct {
        struct answer answer;
        bool again;
    } rows[] = {
        {{.fault = FAULT_ANSWER, .status = 409, .problem = "alreadyReplaced", .retry_after = -1}, true},
        {{.fault = FAULT_ANSWER, .status = 400, .problem = "malformed", .retry_after = -1}, true},
        {{.fault = FAULT_ANSWER, .status = 404, .problem = "malformed", .retry_after = -1}, true},
        {{.fault = FAULT_ANSWER, .status = 404, .retry_after = -1}, true},
        {{.fault = FAULT_COMMON, .status = 403, .problem = "unauthorized", .retry_after = -1}, true},
        {{.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .retry_after = -1}, false},
        {{.fault = FAULT_ISSUER, .status = 500, .retry_after = -1}, false},
        {{.fault = FAULT_OURS, .retry_after = -1}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        renew_to_new_order(1, i % 2 ? "first" : "");
        assert_string_equal(models[0].replaces, "old.one");
        (void)step(&rows[i].answer);
        assert_int_equal(order.job != NULL, rows[i].again);
        assert_false(ca_backoff_is_on(&cas[0].backoff, loop.now_ms) && rows[i].again);
        if (!rows[i].again)
            continue;
        assert_string_equal(models[0].replaces, "");
        assert_int_equal(order.state, ORDER_NEW);
        (void)step(i % 3 ? &rows[i].answer : NULL); /* once */
        run_to_end();
        assert_int_equal(ended_well, i % 3 == 0);
    }
}

/* With one issuer it is of that one; with more of them it is of nobody knows which. */
static void test_what_is_of_nobody_knows_whom_is_not_replaced(void **state) {
    (void)state;
    static const struct {
        uint16_t nissuers;
        const char *issued_by, *replaces;
    } rows[] = {{1, "", "old.one"}, {2, "", ""},       {1, "first", "old.one"}, {2, "first", "old.one"},
                {1, "second", ""},  {2, "second", ""}, {2, "gone", ""}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        renew_to_new_order(rows[i].nissuers, rows[i].issued_by);
        assert_string_equal(models[0].replaces, rows[i].replaces);
        order_abandon(&order);
    }
}

/* RFC 9773 5: what another issuer has issued is nothing that this one knows. */
static void test_a_fallback_is_not_asked_to_replace_what_it_has_not_issued(void **state) {
    (void)state;
    cert.nissuers = 2;
    job.from_issuer = job.names_right = job.inspected = true;
    job.not_before = START - 60 * DAY;
    job.not_after = START + 30 * DAY;
    (void)snprintf(job.ari, sizeof(job.ari), "old.one");
    job_set_issued_by(&job, span_str("first"));
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    assert_string_equal(models[0].replaces, "old.one");
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 500, .retry_after = -1});
    run_to_end();
    assert_int_equal(ended_well, 1);
    assert_int_equal(models[1].orders, 1);
    assert_string_equal(models[1].replaces, "");
    assert_string_equal(job.issued_by, "second");
    crash();
    assert_string_equal(job.issued_by, "second");
    job.from_issuer = job.names_right = job.inspected = true;
    job.issuer = 0; /* as after an attempt that failed */
    order_begin(&order, &env, &job);
    run_to_end();
    assert_int_equal(models[0].orders, 2);
    assert_string_equal(models[0].replaces, "");
    assert_string_equal(job.issued_by, "first");
    order_begin(&order, &env, &job);
    run_to_end();
    assert_string_equal(models[0].replaces, "new.2");
}

/* A certificate that is not of an attempt of ours is of an issuer that is not known. */
static void test_another_certificate_has_another_issuer(void **state) {
    (void)state;
    struct keymaking_cert c = {.from_issuer = true, .ari = span_str("a.b")};
    char json[4096];
    size_t len = 0;
    job_take_shared(&job, &c, now_s);
    job_set_issued_by(&job, span_str("second"));
    job_take_cert(&job, &c);
    assert_string_equal(job.issued_by, "second");
    job_take_shared(&job, &c, now_s); /* the store's is older, this one stays */
    assert_string_equal(job.issued_by, "second");
    assert_true(job_write(&job, json, sizeof(json), &len));
    c.ari = span_str("c.d");
    job_take_cert(&job, &c);
    assert_string_equal(job.issued_by, "");
    assert_true(job_read(&job, span_of(json, len), now_s));
    assert_string_equal(job.issued_by, "second");
    assert_string_equal(job.ari, "a.b");
    assert_true(job_read(&job, span_str("{\"certificate\": \"web.ecdsa-p256\", \"ari\": \"e.f\"}"), now_s)); /* an old file */
    assert_string_equal(job.issued_by, "");
    job_set_issued_by(&job, span_str("a name that is longer than any issuer's, than sixty-four letters that is"));
    assert_string_equal(job.issued_by, "");
    c.ari = span_of(NULL, 0); /* nor has every certificate an identifier */
    for (size_t i = 0; i < 2; i++) {
        uint8_t packed[128];
        struct keymaking_cert said;
        c.issuer = span_str(i ? "first" : "second");
        assert_int_equal(keymaking_pack_cert(&c, packed, sizeof(packed), &len), 0);
        assert_int_equal(keymaking_unpack_cert(span_of(packed, len), &said), 0);
        job_take_shared(&job, &said, now_s);
        assert_string_equal(job.issued_by, i ? "first" : "second");
    }
}

/* What all certificates would meet makes them wait; what newOrder is refused for may be of one certificate alone. */
static void test_after_an_answer_to_a_new_order(void **state) {
    static const struct {
        enum fault fault;
        enum order_state at;
        bool waits;
    } rows[] = {
        {FAULT_ANSWER, ORDER_ACCOUNT, true}, {FAULT_COMMON, ORDER_ACCOUNT, true}, {FAULT_COMMON, ORDER_NEW, true},
        {FAULT_ISSUER, ORDER_NEW, true},     {FAULT_ANSWER, ORDER_NEW, false},    {FAULT_NAMES, ORDER_NEW, false},
        {FAULT_COMMON, ORDER_AUTHZ, false},  {FAULT_ANSWER, ORDER_AUTHZ, false},  {FAULT_OURS, ORDER_NEW, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(state);
        order_begin(&order, &env, &job);
        while (order.state != rows[i].at)
            (void)step(NULL);
        (void)step(&(struct answer){.fault = rows[i].fault, .status = 403, .retry_after = -1});
        assert_null(order.job);
        assert_int_equal(ca_backoff_is_on(&cas[0].backoff, loop.now_ms), rows[i].waits);
    }
}

/* An order that is made, or that is still there, shows that the issuer works; nobody waits until it is installed. */
static void test_an_order_ends_what_others_wait_for(void **state) {
    for (unsigned resumed = 0; resumed < 2; resumed++) {
        begin(state);
        ca_backoff_begin(&cas[0].backoff, loop.now_ms, -1);
        if (resumed) {
            (void)snprintf(job.orders[0], sizeof(job.orders[0]), "https://ca/order");
            models[0].status = "pending";
        }
        order_begin(&order, &env, &job);
        while (order.state != (resumed ? ORDER_READ : ORDER_NEW)) {
            assert_true(ca_backoff_tries_one(&cas[0].backoff));
            (void)step(NULL);
        }
        assert_true(ca_backoff_tries_one(&cas[0].backoff));
        (void)step(NULL);
        assert_non_null(order.job);
        assert_false(ca_backoff_tries_one(&cas[0].backoff) || ca_backoff_is_on(&cas[0].backoff, loop.now_ms));
        ca_backoff_begin(&cas[0].backoff, loop.now_ms, -1); /* of another certificate: what this one had before says nothing */
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_true(ca_backoff_is_on(&cas[0].backoff, loop.now_ms));
    }
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
        assert_int_equal(ca_backoff_is_on(&cas[0].backoff, loop.now_ms), !cases[i].ok); /* no certificate gets it */
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

/* The disk fills at every write in turn; when there is room again, the next attempt ends well. */
static void test_a_disk_that_is_full_in_each_state(void **state) {
    for (unsigned n = 1;; n++) {
        begin(state);
        full_from = n;
        order_begin(&order, &env, &job);
        run_to_end();
        bool reached = syncs >= full_from;
        assert_int_equal(ended, 1);
        assert_true(ended_well || job.next_s >= now_s + 60);
        if (n == 1)
            assert_int_equal(models[0].orders, 0); /* the attempt cannot be counted: it is not made */
        full_from = UINT32_MAX;
        crash();
        order_begin(&order, &env, &job);
        run_to_end();
        assert_true(ended_well >= 1);
        assert_true(models[0].orders <= 2);
        if (!reached)
            break;
        assert_true(n < 100);
    }
}

/* A day each way at every step: the attempt ends well all the same, and the next one is never later than a day away. */
static void test_a_clock_that_jumps_at_each_step(void **state) {
    for (int64_t jump = -DAY; jump <= DAY; jump += 2 * DAY)
        for (unsigned n = 1;; n++) {
            begin(state);
            order_begin(&order, &env, &job);
            for (unsigned i = 1; i < n && order.job; i++)
                (void)step(NULL);
            if (!order.job)
                break;
            now_s += jump;
            run_to_end();
            assert_int_equal(ended_well, 1); /* its deadlines are of another clock */
            assert_int_equal(models[0].orders, 1);
            crash();
            assert_true(job.next_s <= now_s + DAY);
            order_begin(&order, &env, &job);
            run_to_end();
            assert_true(ended_well >= 1);
            assert_true(models[0].orders <= 2);
        }
}

/* ---- with the scheduler ---- */

/* A look of the scheduler, and all that follows from it at once; ends with the answer to LOSE, which is lost. */
static void look_once(enum keymaking_op lose) {
    static const struct answer down = {.fault = FAULT_ISSUER, .status = 599, .retry_after = -1};
    const struct order *o = &scheduler.orders[0];
    for (bool more = true; more;) {
        scheduler.clock.fn(scheduler.clock.ctx);
        more = pending.call || o->job;
        while (pending.call || o->job) {
            bool of_keymaker =
                pending.op == KEYMAKING_INSPECT || pending.op == KEYMAKING_THUMBPRINT || pending.op == KEYMAKING_INSTALL;
            lost = pending.call && pending.op == lose;
            if (pending.call)
                give_answer(issuer_down && !of_keymaker ? &down : NULL);
            else
                o->clock.fn(o->clock.ctx);
            if (lost)
                return;
        }
    }
}

/* The process dies at the same request each time, is started again, and dies again. */
static void test_a_crash_loop_burns_no_limits(void **state) {
    static const enum keymaking_op deaths[] = {KEYMAKING_ACCOUNT,   KEYMAKING_ORDER,    KEYMAKING_FETCH,
                                               KEYMAKING_CHALLENGE, KEYMAKING_FINALIZE, KEYMAKING_INSTALL};
    for (size_t i = 0; i < ARRAY_LEN(deaths); i++)
        for (int64_t pace = 0; pace <= 60; pace += 60) {
            begin(state);
            for (unsigned restarts = 0; restarts < 20; restarts++) {
                begin_scheduler();
                look_once(deaths[i]);
                crash_scheduler();
                pass(pace);
            }
            assert_in_range(models[0].orders, deaths[i] != KEYMAKING_ACCOUNT,
                            pace ? 3 : 1); /* at once, after 1 and after 10 minutes */
        }
}

/* What happens in a month: an issuer that is away for a day now and then, clocks that jump by one, and restarts. */
static void live_through_a_month(void (*each_minute)(void)) {
    lifetime_s = 6 * DAY;
    begin_scheduler();
    look_once(NO_DEATH);
    assert_int_equal(models[0].orders, 1);
    int64_t days = 0;
    for (unsigned minute = 1; minute <= 31 * 1440; minute++) {
        pass(60);
        if (minute % 1440 == 0) {
            days++;
            issuer_down = days == 3 || days == 6 || days == 9;
            now_s += days == 14 ? -DAY : days == 21 ? DAY : 0;
        }
        look_once(NO_DEATH);
        assert_true(now_s < in_use.not_after); /* what is served holds at any time */
        assert_false(job_alarms(&job, now_s) && !issuer_down && days > 10);
        if (each_minute)
            each_minute();
        if (minute % 4000 == 0) { /* and restarts change nothing */
            crash_scheduler();
            begin_scheduler();
        }
    }
    assert_int_equal(keymaker_installs, models[0].orders);
    scheduler_stop(&scheduler);
}

/* Certificates of 6 days: renewed at half of that. */
static void test_a_month_of_short_lived_certificates(void **state) {
    begin(state);
    live_through_a_month(NULL);
    assert_in_range(models[0].orders, 9, 13);
    assert_int_equal(renewals.asked, 0);
}

static unsigned windows_kept;

/* A renewal is in the window that was suggested for the certificate before, or as soon as the issuer was there again. */
static void see_window(void) {
    static unsigned seen;
    static int64_t before_s; /* the beginning of the one before */
    if (keymaker_installs == seen || keymaker_installs <= 1) {
        before_s = keymaker_installs == 1 ? in_use.not_before : before_s;
        seen = keymaker_installs;
        return;
    }
    char replaced[32];
    (void)snprintf(replaced, sizeof(replaced), "new.%u", seen);
    assert_string_equal(models[0].replaces, replaced);
    assert_true(in_use.not_before >= before_s + renewals.start_s - DAY); /* the clock was set back once */
    windows_kept += in_use.not_before >= before_s + renewals.start_s && in_use.not_before <= before_s + renewals.end_s + 60;
    before_s = in_use.not_before;
    seen = keymaker_installs;
}

/* The issuer suggests to renew earlier than we would: after two days of six. */
static void test_a_month_of_suggested_windows(void **state) {
    begin(state);
    windows_kept = 0;
    renewals = (struct renewals){.start_s = 2 * DAY, .end_s = 2 * DAY + 6 * 3600};
    offers_info = true;
    live_through_a_month(see_window);
    offers_info = false;
    assert_in_range(models[0].orders, 12, 16); /* without windows: 11 */
    assert_in_range(windows_kept, models[0].orders - 4, models[0].orders);
    assert_in_range(renewals.asked, 4 * 20, 4 * 31 + 2 * models[0].orders + 12); /* as often as it says, not more */
}

/* It suggests the last day, or a time when it is over: renewed before, and nobody is alarmed. */
static void test_a_month_of_late_windows(void **state) {
    for (unsigned over = 0; over < 2; over++) {
        begin(state);
        renewals = (struct renewals){.start_s = (5 + over) * DAY, .end_s = (6 + over) * DAY};
        offers_info = true;
        live_through_a_month(NULL);
        offers_info = false;
        assert_in_range(models[0].orders, 7, 12);
    }
}

/* ---- attempts that cannot be gone on with, and those that can ---- */

/* The keymaker does not take the chain: another order is made, for what the first one led to stays what it is. */
static void test_a_wrong_chain_is_not_asked_for_again(void **state) {
    for (uint16_t n = 1; n <= 2; n++) {
        begin(state);
        cert.nissuers = n;
        order_begin(&order, &env, &job);
        while (pending.op != KEYMAKING_INSTALL || !pending.call)
            (void)step(NULL);
        (void)step(&(struct answer){.fault = FAULT_ANSWER, .retry_after = -1, .status = 599});
        run_to_end();
        assert_int_equal(ended_well, n == 2); /* by the other issuer */
        if (n == 1) {
            assert_string_equal(job.orders[0], "");
            crash();
            order_begin(&order, &env, &job);
            run_to_end();
        }
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders + models[1].orders, 2);
    }
}

/* The disk is full, or the keymaker is gone: no other issuer is asked, and the order is gone on with where it is. */
static void test_a_fault_of_ours_makes_no_second_order(void **state) {
    for (unsigned n = 1;; n++) {
        begin(state);
        cert.nissuers = 2;
        order_begin(&order, &env, &job);
        for (unsigned i = 1; i < n && order.job; i++)
            (void)step(NULL);
        if (!order.job)
            return;
        if (!pending.call)
            continue;
        (void)step(&(struct answer){.fault = FAULT_OURS, .retry_after = -1, .status = 599});
        assert_null(order.job);
        crash();
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, 1);
        assert_int_equal(models[1].orders, 0);
    }
}

/* Where the order is must be a place that may be asked later. */
static void test_orders_in_odd_places(void **state) {
    static const char *const places[] = {"", "http://ca/order", "/order", "file:///etc/passwd", "HTTPS", "https:/ca"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        begin(state);
        order_place = places[i];
        order_begin(&order, &env, &job);
        run_to_end();
        order_place = "https://ca/order";
        assert_int_equal(ended_well, 0);
        assert_string_equal(job.orders[0], "");
        assert_non_null(strstr(job.error, "names no order by an https URL"));
        pass(60);
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, 1);
    }
}

static void test_an_issuer_that_is_never_ready(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    for (unsigned i = 0; i < STEPS_MAX && order.state != ORDER_PAUSE; i++)
        (void)step(NULL);
    memset(models[0].has_response, 0, sizeof(models[0].has_response)); /* it has forgotten */
    unsigned n = 0;
    for (; order.job && n < 10000; n++) {
        pass(order.pause_ms / 1000 + 1);
        (void)step(NULL);
    }
    assert_null(order.job);
    assert_int_equal(ended_well, 0);
    assert_true(now_s - START <= 3700);
    assert_true(n < 1000); /* it is not asked all the time */
}

/* The answer to finalize is of a machine that has not heard of it, or of the validations before it. */
static void test_finalize_is_not_repeated_at_once(void **state) {
    static const struct answer not_ready = {
        .fault = FAULT_ANSWER, .status = 403, .problem = "orderNotReady", .retry_after = -1};
    for (unsigned refused = 0; refused < 2; refused++) {
        begin(state);
        order_begin(&order, &env, &job);
        while (order.state != ORDER_FINALIZE)
            (void)step(NULL);
        json_t *stale = order_json(&models[0]);
        assert_string_equal(json_string_value(json_object_get(stale, "status")), "ready");
        (void)step(refused ? &not_ready : &(struct answer){.status = 200, .json = stale, .retry_after = -1});
        json_decref(stale);
        assert_int_equal(order.state, ORDER_POLL);
        assert_true(order.pause_ms >= 500);
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, 1);
        assert_int_equal(models[0].finalized, 1);
    }
}

/* And one that says so for ever is asked now and then, for an hour. */
static void test_an_order_that_stays_ready(void **state) {
    (void)state;
    unsigned finalized = 0;
    order_begin(&order, &env, &job);
    for (unsigned n = 0; order.job && n < 5000; n++) {
        if (order.state == ORDER_POLL && !pending.call)
            pass(order.pause_ms / 1000 + 1);
        (void)step(NULL);
        if (order.state == ORDER_POLL)
            models[0].status = "ready";
        finalized = models[0].finalized;
    }
    assert_null(order.job);
    assert_int_equal(ended_well, 0);
    assert_in_range(finalized, 2, 400);
    assert_true(now_s - START <= 3700);
}

static void test_no_answer_in_time(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    order.clock.fn(order.clock.ctx);
    assert_null(order.job);
    assert_null(pending.call);
    assert_non_null(strstr(job.error, "in time"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(test_##name, begin)
    const struct CMUnitTest tests[] = {
        CASE(a_certificate_is_got),
        CASE(a_crash_at_every_step_makes_no_second_order),
        CASE(a_crash_with_the_answer_under_way),
        CASE(every_fault_at_every_step),
        CASE(a_name_that_cannot_be_validated),
        CASE(pauses_between_failures),
        CASE(an_order_that_is_gone_is_made_again_once),
        CASE(a_renewal_names_what_it_replaces),
        CASE(a_renewal_that_is_refused_is_asked_for_as_an_order),
        CASE(what_is_of_nobody_knows_whom_is_not_replaced),
        CASE(a_fallback_is_not_asked_to_replace_what_it_has_not_issued),
        CASE(another_certificate_has_another_issuer),
        CASE(after_an_answer_to_a_new_order),
        CASE(an_order_ends_what_others_wait_for),
        CASE(profiles),
        CASE(an_account_that_is_gone_is_made_again),
        CASE(nothing_is_ordered_that_cannot_be_written_down),
        CASE(a_disk_that_is_full_later),
        CASE(a_disk_that_is_full_in_each_state),
        CASE(a_clock_that_jumps_at_each_step),
        CASE(a_crash_loop_burns_no_limits),
        CASE(a_month_of_short_lived_certificates),
        CASE(a_month_of_suggested_windows),
        CASE(a_month_of_late_windows),
        CASE(a_wrong_chain_is_not_asked_for_again),
        CASE(a_fault_of_ours_makes_no_second_order),
        CASE(orders_in_odd_places),
        CASE(an_issuer_that_is_never_ready),
        CASE(finalize_is_not_repeated_at_once),
        CASE(an_order_that_stays_ready),
        CASE(no_answer_in_time),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
