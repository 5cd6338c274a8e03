/* What attempts in a fleet hold alone, and when they ask for it. */
#include "lease_model.h"

/* The answer to a question of that kind. */
static void issuer_answers(enum keymaking_op op, struct answer a) {
    answer_fn fn = question.fn;
    assert_non_null(fn);
    assert_int_equal(question.op, op);
    question.fn = NULL;
    a.problem = a.problem ? a.problem : "";
    a.location = a.location ? a.location : "";
    a.why = "as the test wants it";
    a.retry_after = -1;
    fn(question.ctx, &a);
}

/* The attempt has the names, has found nothing in the store, and has the account: NUMBER of fences are given. */
static void come_to_the_account(void) {
    struct sharing_request q;
    pass(100);
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_LEASE);
    assert_true(span_eq(q.lease, span_str("a.example")));
    assert_true(span_eq(q.data, span_str("b.example a.example c.example")));
    answer(q.number, SHARING_OK, 7, "");
    static const char *const objects[] = {"certificate/", "order/", "account/"};
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        assert_true(asked(&q));
        assert_int_equal(q.op, SHARING_GET);
        assert_true(span_has_prefix(q.name, objects[i]));
        answer(q.number, SHARING_NONE, 0, "");
    }
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_LEASE);
    assert_true(span_has_prefix(q.lease, "account/") && span_eq(q.lease, q.data));
    answer(q.number, SHARING_OK, 8, "");
    assert_true(asked(&q)); /* how the job stands */
    assert_int_equal(q.op, SHARING_PUT);
    assert_int_equal(q.fence, 7);
    assert_int_equal(directories, 1);
    assert_true(scheduler.orders[0].job == &job);
}

static void both_leases_are_renewed(void **state) {
    struct sharing_request q;
    (void)state;
    come_to_the_account();
    for (unsigned round = 0; round < 5; round++) { /* the account takes its time */
        unsigned names = 0, account = 0;
        pass(20100);
        while (asked(&q)) {
            assert_int_equal(q.op, SHARING_RENEW);
            bool is_account = span_has_prefix(q.lease, "account/");
            assert_int_equal(q.fence, is_account ? 8 : 7);
            assert_true(is_account || span_eq(q.data, span_str("b.example a.example c.example")));
            *(is_account ? &account : &names) += 1;
            answer(q.number, SHARING_OK, q.fence, "");
        }
        assert_true(names == 1 && account == 1);
    }
    assert_true(order_shared_holds(&scheduler.orders[0]));
}

/* The next request gives back what it says: a lease, all of its names, its fence. */
static void see_given(const struct sharing_request *q, const char *lease, const char *all, uint64_t fence) {
    assert_int_equal(q->op, SHARING_GIVE);
    assert_true(span_eq(q->lease, span_str(lease)));
    assert_true(span_eq(q->data, span_str(all)));
    assert_int_equal(q->fence, fence);
}

static const char *account_of(unsigned place) {
    static char name[CONF_SHARED_NAME_MAX + 8];
    char account[CONF_SHARED_NAME_MAX];
    struct text t = text_of(name, sizeof(name));
    issuer_shared_name(cas[place].issuer, account);
    text_addf(&t, "account/%s", account);
    return name;
}

/* Which of the two is another one's: the attempt ends, and gives back what it has. */
static void lose(const char *which) {
    struct sharing_request q;
    unsigned given = 0;
    come_to_the_account();
    pass(20100);
    while (asked(&q)) {
        if (q.op == SHARING_GIVE && given++ == 0)
            see_given(&q, account_of(0), account_of(0), 8);
        else if (q.op == SHARING_GIVE)
            see_given(&q, "a.example", "b.example a.example c.example", 7);
        if (q.op == SHARING_RENEW && span_has_prefix(q.lease, which))
            answer(q.number, SHARING_LOST, 0, "");
    }
    assert_int_equal(given, 2);
    assert_null(scheduler.orders[0].job);
}

static void a_lost_account_ends_the_attempt(void **state) {
    (void)state;
    lose("account/");
}

static void lost_names_end_the_attempt(void **state) {
    (void)state;
    lose("a.example");
}

/* The store is silent: before its minute is over the attempt must not take another step. */
static void what_is_not_renewed_is_not_held(void **state) {
    (void)state;
    come_to_the_account();
    pass(54000);
    assert_true(order_shared_holds(&scheduler.orders[0]));
    pass(2000);
    assert_false(order_shared_holds(&scheduler.orders[0]));
    assert_null(scheduler.orders[0].job);
}

/* A clock that is set back while another instance has the lease. */
static void what_is_held_is_looked_at_again_whatever_the_clock_says(void **state) {
    struct sharing_request q;
    (void)state;
    pass(100);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(asked(&q));
        assert_int_equal(q.op, SHARING_LEASE);
        answer(q.number, SHARING_HELD, 0, "b.example");
        wall_s -= DAY;
        pass(4000);
        assert_false(asked(&q));
        pass(1500);
    }
    assert_true(asked(&q));
}

/* And one that is set while the store is away: where there is no certificate it waits a minute, and not a day. */
static void alone_is_not_a_matter_of_the_wall_clock(void **state) {
    struct sharing_request q;
    (void)state;
    share.up = false;
    share.away_since_ms = mono_ms;
    pass(20000);
    assert_int_equal(directories, 0);
    wall_s -= DAY;
    pass(30000);
    wall_s += 300 * DAY;
    assert_int_equal(directories, 0);
    wall_s -= 299 * DAY;
    pass(31000);
    assert_int_equal(directories, 1);
    assert_false(asked(&q));
}

/* The next issuer has another account: the lease of the first one's goes back, by its own name. */
static void the_account_of_an_issuer_that_failed_is_given_back(void **state) {
    struct sharing_request q;
    (void)state;
    come_to_the_account();
    issuer_answers(KEYMAKING_COUNT, (struct answer){.fault = FAULT_ISSUER});
    assert_ptr_equal(scheduler.orders[0].ca, &cas[1]);
    assert_true(asked(&q));
    see_given(&q, account_of(0), account_of(0), 8);
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_GET);
    assert_true(span_eq(q.name, span_str(account_of(1))));
    answer(q.number, SHARING_NONE, 0, "");
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_LEASE);
    assert_true(span_eq(q.lease, span_str(account_of(1))));
    answer(q.number, SHARING_OK, 9, "");
    assert_int_equal(directories, 2);
    issuer_answers(KEYMAKING_COUNT, (struct answer){.fault = FAULT_ISSUER});
    assert_null(scheduler.orders[0].job);
    while (asked(&q) && q.op != SHARING_GIVE)
        continue;
    see_given(&q, account_of(1), account_of(1), 9);
    assert_true(asked(&q));
    see_given(&q, "a.example", "b.example a.example c.example", 7);
    assert_false(asked(&q));
}

/* Our names are asked for again. */
static void confirm_names(enum sharing_result result) {
    struct sharing_request q;
    assert_int_equal(scheduler.orders[0].state, ORDER_CONFIRM);
    do
        assert_true(asked(&q));
    while (q.op == SHARING_GIVE || q.op == SHARING_PUT);
    assert_int_equal(q.op, SHARING_RENEW);
    assert_int_equal(q.fence, 7);
    assert_true(span_eq(q.data, span_str("b.example a.example c.example")));
    answer(q.number, result, 7, "");
    if (result != SHARING_OK)
        return;
    assert_null(question.fn); /* not before the store has it */
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_PUT);
    assert_true(span_has_prefix(q.name, "order/"));
    assert_non_null(memmem(q.data.p, q.data.len, "\"unsure\": [\n  true", 18));
    answer(q.number, SHARING_OK, 7, "");
}

/* The account was made, and the first order is about to be. */
static void come_to_the_order(void) {
    struct sharing_request q;
    come_to_the_account();
    (void)snprintf(cas[0].urls[CA_RENEWAL_INFO], CA_URL_MAX, "https://p/info");
    (void)snprintf(job.ari, sizeof(job.ari), "a.b"); /* so that it names what it replaces */
    job_set_issued_by(&job, span_str(cas[0].issuer->name));
    job.from_issuer = true;
    issuer_answers(KEYMAKING_COUNT, (struct answer){.status = 200});
    issuer_answers(KEYMAKING_THUMBPRINT, (struct answer){.body = span_str("thumbprint")});
    issuer_answers(KEYMAKING_ACCOUNT, (struct answer){.status = 201, .location = "https://p/account/1"});
    issuer_answers(KEYMAKING_SEAL_ACCOUNT, (struct answer){.body = span_str("sealed")});
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_PUT);
    answer_version(q.number, SHARING_OK, 0, 1, "");
    confirm_names(SHARING_OK);
}

/* Time has passed since the lease was confirmed for the first order: before another one it is asked for again. */
static void each_new_order_needs_the_lease(void **state) {
    static const enum sharing_result results[] = {SHARING_OK, SHARING_LOST};
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        come_to_the_order();
        issuer_answers(KEYMAKING_ORDER, (struct answer){.status = 409, .fault = FAULT_ANSWER});
        confirm_names(results[i]);
        assert_int_equal(question.fn != NULL, results[i] == SHARING_OK);
        assert_int_equal(scheduler.orders[0].job != NULL, results[i] == SHARING_OK);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* Whoever has lost the lease meanwhile makes no order; a store that takes nothing stops nobody, and that is counted. */
static void an_order_is_announced_before_it_is_made(void **state) {
    static const enum sharing_result results[] = {SHARING_LOST, SHARING_AWAY, SHARING_OLD};
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        struct sharing_request q;
        come_to_the_order();
        issuer_answers(KEYMAKING_ORDER, (struct answer){.status = 400, .fault = FAULT_ISSUER, .problem = "badNonce"});
        assert_int_equal(scheduler.orders[0].state, ORDER_CONFIRM); /* its nonce was refused: asked for again */
        assert_true(asked(&q));
        assert_int_equal(q.op, SHARING_RENEW);
        answer(q.number, SHARING_OK, 7, "");
        assert_true(asked(&q));
        assert_int_equal(q.op, SHARING_PUT);
        share.pause = (struct log_pause){.next_ms = UINT64_MAX};
        answer(q.number, results[i], 7, "it takes no writes, since its memory is used up (maxmemory)");
        assert_int_equal(question.fn != NULL, results[i] != SHARING_LOST);
        assert_int_equal(scheduler.orders[0].job != NULL, results[i] != SHARING_LOST);
        assert_int_equal(share.pause.silent, results[i] != SHARING_LOST);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* Whatever the store does not take is counted, and so is how an attempt has ended, which nobody waits for. */
static void what_the_store_does_not_take_is_counted(void **state) {
    struct sharing_request q;
    (void)state;
    come_to_the_order();
    share.pause = (struct log_pause){.next_ms = UINT64_MAX};
    issuer_answers(KEYMAKING_ORDER, (struct answer){.status = 403, .fault = FAULT_NAMES});
    if (scheduler.orders[0].job) { /* once more, as it may have been for what it replaces */
        confirm_names(SHARING_OK);
        issuer_answers(KEYMAKING_ORDER, (struct answer){.status = 403, .fault = FAULT_NAMES});
    }
    assert_null(scheduler.orders[0].job);
    do
        assert_true(asked(&q));
    while (q.op != SHARING_PUT);
    assert_int_equal(share.pause.silent, 0);
    answer(q.number, SHARING_AWAY, 0, "it is a replica that takes no writes; expected the socket of the primary");
    assert_int_equal(share.pause.silent, 1);
}

/* An order of before is gone: as well. */
static void an_order_instead_of_another_needs_the_lease(void **state) {
    static const enum sharing_result results[] = {SHARING_OK, SHARING_LOST};
    struct sharing_request q;
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        (void)snprintf(job.orders[0], sizeof(job.orders[0]), "https://p/order/1");
        (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://p/account/1");
        pass(100);
        assert_true(asked(&q));
        answer(q.number, SHARING_OK, 7, "");
        while (!question.fn && asked(&q))
            answer(q.number, q.op == SHARING_LEASE ? SHARING_OK : SHARING_NONE, 8, "");
        issuer_answers(KEYMAKING_COUNT, (struct answer){.status = 200});
        issuer_answers(KEYMAKING_THUMBPRINT, (struct answer){.body = span_str("thumbprint")});
        issuer_answers(KEYMAKING_SEAL_ACCOUNT, (struct answer){.fault = FAULT_NONE, .body = span_str("sealed")});
        do
            assert_true(asked(&q));
        while (!span_has_prefix(q.name, "account/"));
        answer_version(q.number, SHARING_OK, 0, 1, "");
        assert_int_equal(scheduler.orders[0].state, ORDER_READ);
        issuer_answers(KEYMAKING_FETCH, (struct answer){.status = 404, .fault = FAULT_ANSWER});
        confirm_names(results[i]);
        assert_int_equal(question.fn != NULL, results[i] == SHARING_OK);
        assert_int_equal(scheduler.orders[0].job != NULL, results[i] == SHARING_OK);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
}

/* ---- accounts of the fleet ---- */

static unsigned rounds_done;

static void on_round(void *ctx, uint64_t round) {
    (void)ctx, (void)round;
    rounds_done++;
}

/* The store has version 3 of the first issuer's account; the keymaker is asked to open it. */
static void look_at_accounts(struct far_accounts *f) {
    struct sharing_request q;
    far_accounts_init(f, &scheduler);
    f->done = on_round;
    far_accounts_look(f);
    assert_true(asked(&q));
    assert_int_equal(q.op, SHARING_GET);
    assert_true(span_eq(q.name, span_str(account_of(0))));
    answer_version(q.number, SHARING_OK, 0, 3, "sealed");
}

/* What is taken up from the store is there after a restart: the key is on the disk, and its URL is. */
static void an_account_of_the_fleet_is_written_down(void **state) {
    static struct far_accounts f;
    struct ca after;
    (void)state;
    look_at_accounts(&f);
    issuer_answers(KEYMAKING_OPEN_ACCOUNT, (struct answer){.body = span_str("https://p/account/3")});
    issuer_answers(KEYMAKING_THUMBPRINT, (struct answer){.body = span_str("of the fleet")});
    assert_string_equal(cas[0].account, "https://p/account/3");
    assert_string_equal(cas[0].thumbprint, "of the fleet");
    assert_int_equal(cas[0].account_version, 3);
    after = (struct ca){.issuer = cas[0].issuer};
    store_get_account(&store, &after);
    assert_string_equal(after.account, "https://p/account/3");
    far_accounts_stop(&f);
}

/* An attempt that begins while the keymaker opens it goes on with the account that it has. */
static void an_account_is_not_taken_from_an_attempt(void **state) {
    static struct far_accounts f;
    (void)state;
    look_at_accounts(&f);
    (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://p/account/2");
    (void)snprintf(cas[0].thumbprint, sizeof(cas[0].thumbprint), "of the attempt");
    cas[0].account_version = 2;
    cas[0].attempts = 1;
    issuer_answers(KEYMAKING_OPEN_ACCOUNT, (struct answer){.body = span_str("https://p/account/3")});
    assert_string_equal(cas[0].account, "https://p/account/2");
    assert_string_equal(cas[0].thumbprint, "of the attempt");
    assert_int_equal(cas[0].account_version, 2);
    far_accounts_stop(&f);
}

/* Nor does an attempt take it from another one, when the store has what is in use. */
static void the_version_in_use_changes_nothing(void **state) {
    (void)state;
    (void)snprintf(cas[0].account, sizeof(cas[0].account), "https://p/account/2");
    (void)snprintf(cas[0].thumbprint, sizeof(cas[0].thumbprint), "of the attempt");
    cas[0].account_version = 2;
    order_shared_use_account(&scheduler.env, &cas[0], 2, span_str("https://p/account/2"));
    assert_string_equal(cas[0].account, "https://p/account/2");
    assert_string_equal(cas[0].thumbprint, "of the attempt");
    order_shared_use_account(&scheduler.env, &cas[0], 3, span_str("https://p/account/3"));
    assert_string_equal(cas[0].account, "https://p/account/3");
    assert_string_equal(cas[0].thumbprint, "");
}

static void an_object_has_its_version_before_it(void **state) {
    size_t len = 0;
    (void)state;
    uint8_t *p = sealed_with_version(UINT64_C(0x0102030405060708), span_str("data"), &len);
    assert_int_equal(len, 12);
    assert_memory_equal(p, "\1\2\3\4\5\6\7\10data", 12);
    assert_true(sealed_version(p) == UINT64_C(0x0102030405060708));
    free(p);
    p = sealed_with_version(1, span_of(NULL, 0), &len);
    assert_int_equal(len, 8);
    assert_int_equal(sealed_version(p), 1);
    free(p);
}

static int run_all(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(both_leases_are_renewed),
        TEST(a_lost_account_ends_the_attempt),
        TEST(lost_names_end_the_attempt),
        TEST(what_is_not_renewed_is_not_held),
        TEST(what_is_held_is_looked_at_again_whatever_the_clock_says),
        TEST(alone_is_not_a_matter_of_the_wall_clock),
        TEST(the_account_of_an_issuer_that_failed_is_given_back),
        TEST(each_new_order_needs_the_lease),
        TEST(an_order_is_announced_before_it_is_made),
        TEST(what_the_store_does_not_take_is_counted),
        TEST(an_order_instead_of_another_needs_the_lease),
        TEST(an_account_of_the_fleet_is_written_down),
        TEST(an_account_is_not_taken_from_an_attempt),
        TEST(the_version_in_use_changes_nothing),
        TEST(an_object_has_its_version_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return run_lease_tests(run_all);
}
