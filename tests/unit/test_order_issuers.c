/* Attempts with more than one issuer: who is asked, who is left alone and for how long, and what becomes of orders. */
#include "order_scheduler.h"

static void test_retry_after_is_obeyed(void **state) {
    (void)state;
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .retry_after = 7200});
    assert_null(order.job);
    assert_int_equal(job.next_s, now_s + 7200);
}

/* A certificate of six days, of which two are left. */
static void use_a_short_lived_one(void) {
    job.inspected = job.from_issuer = job.names_right = true;
    job.not_before = START - 4 * DAY;
    job.not_after = START + 2 * DAY;
}

/* A week, while two days are left: an eighth of them. */
static void test_no_retry_after_is_longer_than_what_is_left(void **state) {
    (void)state;
    use_a_short_lived_one();
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 429, .problem = "rateLimited", .retry_after = 7 * DAY});
    assert_null(order.job);
    assert_int_equal(job.next_s, now_s + DAY / 4);
}

/* An issuer that is left alone is not the one that others fall back to. */
static void test_a_fallback_that_is_left_alone(void **state) {
    static const struct {
        uint64_t later_ms;
        unsigned attempts; /* of other certificates, at the second one */
        bool wanted, asked;
    } rows[] = {
        {0, 0, false, false},     {0, 1, false, false}, {61000, 0, false, true},
        {61000, 1, false, false}, {0, 0, true, true},   {61000, 1, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(state);
        cert.nissuers = 2;
        job.wanted = rows[i].wanted;
        ca_backoff_begin(&cas[1].backoff, loop.now_ms, -1);
        cas[1].attempts = rows[i].attempts;
        loop.now_ms += rows[i].later_ms;
        order_begin(&order, &env, &job);
        (void)step(&(struct answer){.fault = FAULT_ISSUER, .status = 599, .retry_after = -1});
        run_to_end();
        assert_int_equal(ended_well, rows[i].asked);
        assert_int_equal(models[1].orders, rows[i].asked);
        assert_int_equal(cas[0].attempts, 0);
        assert_int_equal(cas[1].attempts, rows[i].attempts);
    }
}

/* The attempt that the scheduler has begun fails at each issuer that it asks; which ones these are. */
static unsigned fail_all(const struct answer *first, const struct answer *second) {
    const struct order *o = &scheduler.orders[0];
    unsigned asked = 0;
    scheduler.clock.fn(scheduler.clock.ctx);
    while (o->job && pending.call) {
        asked |= 1u << pending.ca->index;
        give_answer(pending.ca->index ? second : first);
    }
    return asked;
}

/* The first issuer is away for a moment; what the second one then says is about that one alone. */
static void test_a_retry_after_is_of_one_issuer(void **state) {
    static const struct answer away = {.fault = FAULT_ISSUER, .status = 599, .retry_after = -1},
                               limited = {.fault = FAULT_ISSUER, .status = 429, .retry_after = 7 * DAY};
    (void)state;
    cert.nissuers = 2;
    use_a_short_lived_one();
    begin_scheduler();
    assert_int_equal(fail_all(&away, &limited), 3);
    assert_int_equal(job.next_s, now_s + 60);
    pass(61);
    assert_int_equal(fail_all(&away, &limited), 1);
    assert_int_equal(job.next_s, now_s + 600);
    crash_scheduler(); /* and it is not forgotten */
    use_a_short_lived_one();
    begin_scheduler();
    pass(601);
    assert_int_equal(fail_all(&away, &limited), 1);
    pass(DAY / 4 + 60); /* an eighth of what was left */
    assert_int_equal(fail_all(&away, &limited), 3);
    scheduler_stop(&scheduler);
}

/* Both are limited: the first one that may be asked again is, and an operator does not wait. */
static void test_two_that_limit(void **state) {
    static const struct answer an_hour = {.fault = FAULT_ISSUER, .status = 429, .retry_after = 3600},
                               two_hours = {.fault = FAULT_ISSUER, .status = 429, .retry_after = 7200};
    (void)state;
    cert.nissuers = 2;
    job.inspected = true;
    begin_scheduler();
    assert_int_equal(fail_all(&two_hours, &an_hour), 3);
    assert_int_equal(job.next_s, now_s + 3600);
    assert_int_equal(scheduler_due(&scheduler, &job), now_s + 3600);
    pass(3500);
    assert_int_equal(fail_all(&two_hours, &an_hour), 0);
    pass(110);
    assert_int_equal(fail_all(&two_hours, &an_hour), 2);
    scheduler_renew(&scheduler, 0);
    assert_int_equal(fail_all(&two_hours, &an_hour), 3);
    scheduler_stop(&scheduler);
}

/* The first issuer is away at each step in turn, and so is the second one, or it is left alone: the next attempt goes on with
 * the order that there is. */
static void test_an_order_is_not_given_up_for_another_issuer(void **state) {
    static const struct answer away = {.fault = FAULT_ISSUER, .status = 599, .retry_after = -1};
    unsigned n = 1, kept = 0;
    for (unsigned alone = 0; alone < 2; alone++) {
        for (bool all = false; !all; n++) {
            begin(state);
            cert.nissuers = 2;
            if (alone)
                ca_backoff_begin(&cas[1].backoff, loop.now_ms, -1);
            order_begin(&order, &env, &job);
            for (unsigned i = 1; i < n && order.job; i++)
                (void)step(NULL);
            all = !order.job;
            if (all || !pending.call || pending.op == KEYMAKING_INSTALL || order.state == ORDER_ALTERNATE) {
                order_abandon(&order);
                continue;
            }
            bool known = job.orders[0][0];
            kept += known;
            while (order.job)
                (void)step(&away);
            assert_int_equal(job.orders[0][0] != 0, known);
            assert_int_equal(models[1].orders, 0);
            pass(61);
            order_begin(&order, &env, &job);
            run_to_end();
            assert_int_equal(ended_well, 1);
            assert_int_equal(models[0].orders, 1);
            assert_int_equal(models[0].finalized, 1);
            assert_false(job_has_order(&job));
        }
        n = 1;
    }
    assert_true(kept > 10);
}

/* Each of two has an order that it has not finished: each is gone on with, and the first certificate ends both. */
static void test_an_order_at_each_issuer(void **state) {
    static const struct answer away = {.fault = FAULT_ISSUER, .status = 599, .retry_after = -1};
    for (unsigned restarts = 0; restarts < 2; restarts++) {
        begin(state);
        cert.nissuers = 2;
        order_begin(&order, &env, &job);
        for (size_t i = 0; i < 2; i++) {
            while (order.state != ORDER_POLL)
                (void)step(NULL);
            (void)step(NULL); /* it is read */
            (void)step(&away);
        }
        assert_null(order.job);
        assert_true(job.orders[0][0] && job.orders[1][0]);
        if (restarts) {
            job = (struct job){.cert = &cert};
            store_get_job(&store, &job, now_s);
        }
        pass(61);
        order_begin(&order, &env, &job);
        (void)step(&away); /* the first one still is */
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, 1);
        assert_int_equal(models[1].orders, 1);
        assert_int_equal(models[1].finalized, 1);
        assert_string_equal(job.issued_by, "second");
        assert_false(job_has_order(&job));
    }
}

/* What would not have room on the disk, or is no URL. */
static void test_places_that_are_no_urls(void **state) {
    static const char *const places[] = {"https://ca/\"", "https://ca/\\", "https://ca/a b", "https://ca/\n",
                                         "https://ca/\xc3\xa9"};
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        begin(state);
        order_place = places[i];
        order_begin(&order, &env, &job);
        run_to_end();
        order_place = "https://ca/order";
        assert_int_equal(ended_well, 0);
        assert_false(job_has_order(&job));
    }
    static char json[JOB_JSON_MAX]; /* and the longest ones have */
    size_t len = 0;
    cert.nissuers = CONF_ISSUERS_MAX;
    for (size_t i = 0; i < CONF_ISSUERS_MAX; i++)
        memset(job.orders[i], 'x', JOB_URL_MAX - 1);
    memset(job.error, 1, sizeof(job.error) - 1);
    assert_true(job_write(&job, json, sizeof(json), &len));
}

/* What an operator asks for, or a revocation does, is not forgotten before its attempt begins. */
static void test_a_renewal_that_is_asked_for_is_written_down(void **state) {
    (void)state;
    use_a_short_lived_one();
    job.not_after = START + 80 * DAY;
    job.next_s = now_s + DAY;
    job.blocked_s[0] = now_s + DAY;
    begin_scheduler();
    scheduler_renew(&scheduler, 0);
    crash_scheduler();
    assert_true(job.wanted);
    assert_int_equal(job.next_s, 0);
    assert_int_equal(job.blocked_s[0], 0);
    use_a_short_lived_one();
    job.not_after = START + 80 * DAY;
    begin_scheduler();
    scheduler.clock.fn(scheduler.clock.ctx);
    assert_non_null(scheduler.orders[0].job);
    scheduler_stop(&scheduler);
    begin(state); /* and where it cannot be, it is made all the same */
    use_a_short_lived_one();
    job.not_after = START + 80 * DAY;
    begin_scheduler();
    full_from = 0;
    scheduler_renew(&scheduler, 0);
    full_from = UINT32_MAX;
    scheduler.clock.fn(scheduler.clock.ctx);
    assert_non_null(scheduler.orders[0].job);
    scheduler_stop(&scheduler);
}

/* The process dies while the issuer revokes the certificate in use: another one is ordered. Not so when it has refused to. */
static void test_a_revocation_whose_answer_is_lost(void **state) {
    static const struct answer refused = {.fault = FAULT_ANSWER, .status = 403, .problem = "unauthorized", .retry_after = -1};
    for (unsigned refuses = 0; refuses < 2; refuses++) {
        begin(state);
        use_a_short_lived_one();
        job.not_after = START + 80 * DAY;
        (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://ca/account/1");
        begin_scheduler();
        assert_true(scheduler_revoke(&scheduler, 0, 1));
        assert_int_equal(pending.op, KEYMAKING_REVOKE);
        assert_false(job.wanted);
        assert_int_equal(store_put_job(&store, &job), 0); /* something else is to be remembered meanwhile */
        if (refuses)
            give_answer(&refused);
        crash_scheduler();
        assert_int_equal(job.wanted, !refuses);
        cas[0].account[0] = 0;
    }
}

/* What is on the disk is all that the next process knows. */
static void die(void) {
    order_abandon(&order);
    pending = (struct pending){.call = NULL};
    job = (struct job){.cert = &cert};
    store_get_job(&store, &job, now_s);
}

/* The order is made, and nobody has heard of it: the process died, or the answer did. */
static void lose_the_order(bool crashes) {
    order_begin(&order, &env, &job);
    while (order.state != ORDER_NEW)
        (void)step(NULL);
    if (crashes) {
        lost = true;
        (void)step(NULL);
        lost = false;
        die();
    } else {
        (void)step(&(struct answer){.fault = FAULT_ISSUER, .retry_after = -1});
        assert_null(order.job);
        pass(60);
    }
    assert_true(job.unsure[0]);
    assert_int_equal(models[0].orders, 1);
}

static void test_an_order_that_nobody_knows_is_found(void **state) {
    static const struct {
        struct orders_list list;
        bool crashes, found;
    } rows[] = {
        {{.offered = true}, true, true},
        {{.offered = true}, false, true},
        {{.offered = true, .pages = 40, .before = 2}, true, true},
        {{.offered = true, .expires = "2099-01-01T00:00:00Z"}, true, true},
        {{.offered = true, .expires = "2001-01-01T00:00:00Z"}, true, false}, /* over */
        {{.offered = false}, true, false},
        {{.offered = false}, false, false},
        {{.offered = true, .pages = 100}, true, false}, /* a list without end is not read to it */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        begin(state);
        orders_list = rows[i].list;
        lose_the_order(rows[i].crashes);
        order_begin(&order, &env, &job);
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, rows[i].found ? 1 : 2);
        assert_false(job.unsure[0]);
    }
}

/* What is for other names, has gone on without us, or is under way for another certificate is not taken. */
static void test_an_order_of_somebody_else_is_not_taken(void **state) {
    static struct job others[2];
    for (unsigned i = 0; i < 3; i++) {
        begin(state);
        struct order_env with_others = env;
        with_others.jobs = others;
        with_others.njobs = i == 2 ? 2 : 0;
        (void)snprintf(others[1].orders[0], JOB_URL_MAX, "https://ca/order");
        lose_the_order(true);
        other_identifier = i == 0 ? "x.example.org" : NULL;
        models[0].status = i == 1 ? "invalid" : "pending";
        order_begin(&order, &with_others, &job);
        while (order.state != ORDER_NEW)
            (void)step(NULL);
        other_identifier = NULL;
        run_to_end();
        assert_int_equal(ended_well, 1);
        assert_int_equal(models[0].orders, 2);
    }
    begin(state);
    lose_the_order(true);
    other_identifier = "A.Example.ORG";
    order_begin(&order, &env, &job);
    run_to_end();
    assert_int_equal(models[0].orders, 1);
}

/* While it is looked for the issuer is away: it is looked for again. It has no such page, or says nothing: one is made. */
static void test_faults_while_an_order_is_looked_for(void **state) {
    static const struct {
        struct answer answer;
        bool goes_on;
    } rows[] = {{{.fault = FAULT_ISSUER, .retry_after = -1}, false},
                {{.fault = FAULT_OURS, .retry_after = -1}, false},
                {{.fault = FAULT_ANSWER, .status = 404, .retry_after = -1}, true},
                {{.fault = FAULT_COMMON, .status = 403, .problem = "unauthorized", .retry_after = -1}, true},
                {{.status = 200, .retry_after = -1}, true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned n = 0; n < 3; n++) { /* the account, its list, the order */
            begin(state);
            lose_the_order(true);
            order_begin(&order, &env, &job);
            while (order.state != ORDER_LIST)
                (void)step(NULL);
            for (unsigned k = 0; k < n; k++)
                (void)step(NULL);
            assert_int_equal(order.state, n == 2 ? ORDER_FIND : ORDER_LIST);
            (void)step(&rows[i].answer);
            assert_int_equal(order.job != NULL, rows[i].goes_on);
            assert_int_equal(job.unsure[0], !rows[i].goes_on || order.state == ORDER_NEW);
            run_to_end();
            if (!rows[i].goes_on) {
                pass(60);
                order_begin(&order, &env, &job);
                run_to_end();
            }
            assert_int_equal(ended_well, 1);
            assert_int_equal(models[0].orders, rows[i].goes_on ? 2 : 1);
        }
}

/* Whoever refuses all nonces is not asked for ever. */
static void test_a_new_order_whose_nonces_are_refused(void **state) {
    (void)state;
    unsigned sent = 0;
    order_begin(&order, &env, &job);
    while (order.job && sent < 100) {
        bool refuse = order.state == ORDER_NEW;
        sent += refuse;
        (void)step(refuse ? &(struct answer){.fault = FAULT_ISSUER, .status = 400, .problem = "badNonce", .retry_after = -1}
                          : NULL);
    }
    assert_int_equal(sent, CA_TRIES_MAX);
    assert_false(job.unsure[0]);
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup(test_##name, begin)
    const struct CMUnitTest tests[] = {
        CASE(retry_after_is_obeyed),
        CASE(no_retry_after_is_longer_than_what_is_left),
        CASE(a_fallback_that_is_left_alone),
        CASE(a_retry_after_is_of_one_issuer),
        CASE(two_that_limit),
        CASE(an_order_is_not_given_up_for_another_issuer),
        CASE(an_order_at_each_issuer),
        CASE(places_that_are_no_urls),
        CASE(a_renewal_that_is_asked_for_is_written_down),
        CASE(a_revocation_whose_answer_is_lost),
        CASE(an_order_that_nobody_knows_is_found),
        CASE(an_order_of_somebody_else_is_not_taken),
        CASE(faults_while_an_order_is_looked_for),
        CASE(a_new_order_whose_nonces_are_refused),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
