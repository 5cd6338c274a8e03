/* Renewals in a fleet: when the issuer is asked about them, and what is due by its answer. */
#include "lease_model.h"

/* A certificate of 90 days, 10 days old, that the fleet has, and what its order left in the store. */
static void use_a_certificate(char left[static 8192]) {
    size_t len = 0;
    job.from_issuer = job.names_right = true;
    job.not_before = job.installed_s = wall_s - 10 * DAY;
    job.not_after = wall_s + 80 * DAY;
    job.version = 3;
    (void)snprintf(job.ari, sizeof(job.ari), "a.b");
    job_set_issued_by(&job, span_str("p"));
    struct job other = job;
    job_set_issued_by(&other, span_str("q"));
    (void)snprintf(other.ari, sizeof(other.ari), "c.d");
    other.installed_s = 1;
    assert_true(job_write(&other, left, 8191, &len));
    left[len] = 0;
    for (size_t i = 0; i < 2; i++) {
        cas[i].known = true;
        (void)snprintf(cas[i].urls[CA_RENEWAL_INFO], CA_URL_MAX, "https://p/info");
        (void)snprintf(cas[i].account, sizeof(cas[i].account), "https://p/account/1");
        cas[i].account_version = 1;
    }
}

static void answer_info(const char *start, const char *end) {
    answer_fn fn = info.fn;
    json_t *w = json_pack("{s:{s:s, s:s}}", "suggestedWindow", "start", start, "end", end);
    info.fn = NULL;
    assert_non_null(fn);
    fn(info.ctx, &(struct answer){.problem = "", .location = "", .why = "", .status = 200, .json = w, .retry_after = 21600});
    json_decref(w);
}

static struct { /* about renewals, in the store */
    bool held;  /* its lease, by another instance */
    char json[512];
    unsigned puts, given;
} renewal_info;

/* What is asked about renewals. False: it is about something else. */
static bool answer_renewal(const struct sharing_request *q) {
    if (!span_has_prefix(q->lease, "renewal/") || !span_eq(q->lease, q->name))
        return false;
    if (q->op == SHARING_LEASE)
        answer(q->number, renewal_info.held ? SHARING_HELD : SHARING_OK, renewal_info.held ? 0 : 99, "renewal/x");
    else if (q->op == SHARING_GET)
        answer_version(q->number, renewal_info.json[0] ? SHARING_OK : SHARING_NONE, 0, 4, renewal_info.json);
    if (q->op != SHARING_LEASE)
        assert_int_equal(q->fence, 99);
    if (q->op == SHARING_PUT) {
        assert_int_equal(q->version, 5);
        struct text t = text_of(renewal_info.json, sizeof(renewal_info.json));
        text_add_span(&t, q->data);
        answer(q->number, SHARING_OK, 99, "");
    }
    renewal_info.puts += q->op == SHARING_PUT;
    renewal_info.given += q->op == SHARING_GIVE;
    return true;
}

/* Time passes, and the store answers what an attempt asks it; LEFT: its object "order". How often names were leased. */
static unsigned pass_with_store(uint64_t ms, const char *left) {
    struct sharing_request q;
    unsigned leases = 0;
    for (uint64_t end = mono_ms + ms; mono_ms < end;) {
        pass(10);
        while (asked(&q)) {
            if (answer_renewal(&q))
                continue;
            leases += q.op == SHARING_LEASE;
            if (q.op == SHARING_LEASE)
                answer(q.number, SHARING_OK, 7 + leases, "");
            else if (q.op == SHARING_GET && span_has_prefix(q.name, "order/"))
                answer_version(q.number, SHARING_OK, 0, 5, left);
            else if (q.op == SHARING_GET)
                answer_version(q.number, SHARING_NONE, 0, span_has_prefix(q.name, "certificate/") ? 3 : 1, "");
        }
    }
    return leases;
}

/* What the issuer has said since the last order is known here, and not in the store. */
static void what_the_issuer_suggests_is_not_forgotten(void **state) {
    char left[8192];
    (void)state;
    use_a_certificate(left);
    assert_int_equal(pass_with_store(1000, left), 0);
    answer_info("1972-09-01T00:00:00Z", "1972-09-02T00:00:00Z"); /* over: now */
    assert_int_equal(pass_with_store(10000, left), 1);
    assert_int_equal(directories, 1);
    assert_int_equal(info.asked, 1);
    assert_string_equal(job.ari, "a.b"); /* what its newOrder replaces, and whose that is */
    assert_string_equal(job.issued_by, "p");
    assert_int_equal(job.installed_s, wall_s - 10 * DAY);
    assert_true(job.chosen_s && job.window[0]);
}

/* It is due as we know it, and not as the store does: a lease a minute, unless somebody asks for it. */
static void what_is_not_due_is_left_alone_for_a_while(void **state) {
    char left[8192];
    size_t len = 0;
    (void)state;
    use_a_certificate(left);
    job.ask_s = wall_s + DAY;
    struct job later = job;
    later.next_s = wall_s + DAY;
    assert_true(job_write(&later, left, sizeof(left) - 1, &len));
    left[len] = 0;
    job.chosen_s = wall_s - DAY;
    scheduler_look_soon(&scheduler);
    assert_int_equal(pass_with_store(1000, left), 1);
    job.next_s = 0;
    scheduler_look_soon(&scheduler);
    assert_int_equal(pass_with_store(50000, left), 0);
    assert_int_equal(pass_with_store(15000, left), 1);
    assert_int_equal(directories, 0);
    scheduler_renew(&scheduler, 0);
    assert_int_equal(pass_with_store(1000, left), 1);
    assert_int_equal(directories, 1);
}

/* What an issuer has answered another instance counts here, and the issuer that is not asked for it has not been tried. */
static void what_another_instance_was_told_is_obeyed(void **state) {
    char left[8192];
    size_t len = 0;
    (void)state;
    use_a_certificate(left);
    job.ask_s = wall_s + DAY;
    struct job limited = job;
    limited.blocked_s[0] = wall_s + DAY;
    assert_true(job_write(&limited, left, sizeof(left) - 1, &len));
    left[len] = 0;
    job.chosen_s = wall_s - DAY;
    scheduler_look_soon(&scheduler);
    assert_int_equal(pass_with_store(1000, left), 1);
    assert_int_equal(directories, 1);
    assert_ptr_equal(question.ca, &cas[1]);
    assert_int_equal(scheduler.orders[0].tried, 2);
    order_abandon(&scheduler.orders[0]);
    limited.blocked_s[1] = wall_s + DAY; /* by both: nobody is asked, unless an operator wants it */
    assert_true(job_write(&limited, left, sizeof(left) - 1, &len));
    left[len] = 0;
    memset(job.blocked_s, 0, sizeof(job.blocked_s));
    job.failures = 0;
    job.next_s = 0;
    scheduler_look_soon(&scheduler);
    assert_int_equal(pass_with_store(1000, left), 1);
    assert_null(scheduler.orders[0].job);
    assert_int_equal(directories, 1);
    scheduler_renew(&scheduler, 0);
    assert_int_equal(pass_with_store(1000, left), 1);
    assert_int_equal(directories, 2);
}

/* The earliest of a thousand random times would be the beginning of each window. */
static void all_choose_the_same_time(void **state) {
    char left[8192];
    int64_t first = 0;
    (void)state;
    for (unsigned instance = 0; instance < 2; instance++) {
        use_a_certificate(left);
        (void)pass_with_store(1000, left);
        answer_info("1990-01-01T00:00:00Z", "1990-01-11T00:00:00Z");
        first = first ? first : job.chosen_s;
        assert_int_equal(job.chosen_s, first);
        assert_true(job.chosen_s > job.window[0] && job.chosen_s < job.window[1]);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
    use_a_certificate(left); /* and another one for another certificate */
    (void)snprintf(job.ari, sizeof(job.ari), "e.f");
    (void)pass_with_store(1000, left);
    answer_info("1990-01-01T00:00:00Z", "1990-01-11T00:00:00Z");
    assert_int_not_equal(job.chosen_s, first);
}

/* One asks the issuer, the others read its answer: the window, and when somebody asks again. */
static void one_instance_asks_for_all(void **state) {
    char left[8192];
    int64_t chosen = 0;
    for (unsigned instance = 0; instance < 3; instance++) {
        use_a_certificate(left);
        (void)pass_with_store(1000, left);
        assert_int_equal(info.asked, instance == 0);
        if (instance == 0) {
            answer_info("1990-01-01T00:00:00Z", "1990-01-11T00:00:00Z");
            (void)pass_with_store(1000, left);
            chosen = job.chosen_s;
        }
        assert_int_equal(renewal_info.puts, 1);
        assert_int_equal(renewal_info.given, instance + 1);
        assert_true(chosen && job.chosen_s == chosen);
        assert_in_range(job.ask_s, wall_s + 21590, wall_s + 21600);
        (void)pass_with_store(70000, left);
        assert_int_equal(info.asked, instance == 0);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
    }
    use_a_certificate(left); /* an issuer that answers nothing, or nonsense: what is there stays, and the lease goes back */
    (void)snprintf(job.ari, sizeof(job.ari), "e.f");
    (void)pass_with_store(1000, left);
    answer_info("1990-01-11T00:00:00Z", "1990-01-01T00:00:00Z");
    (void)pass_with_store(1000, left);
    assert_int_equal(renewal_info.puts, 1);
    assert_int_equal(renewal_info.given, 4);
    assert_int_equal(tear_down(state), 0);
    assert_int_equal(set_up(state), 0);
    use_a_certificate(left); /* what is too old to count */
    wall_s += DAY;
    (void)pass_with_store(1000, left);
    assert_int_equal(info.asked, 1);
}

static void nobody_asks_while_another_one_does(void **state) {
    char left[8192];
    (void)state;
    use_a_certificate(left);
    renewal_info.held = true;
    (void)pass_with_store(130000, left);
    assert_int_equal(info.asked, 0);
    renewal_info.held = false;
    (void)pass_with_store(65000, left);
    assert_int_equal(info.asked, 1);
}

/* About another certificate, never to be asked again, nonsense: as if it were not there. And without the store each asks. */
static void what_the_store_says_of_renewals_is_checked(void **state) {
    static const struct {
        const char *before, *behind; /* the time to ask at */
    } texts[] = {
        {"{\"ari\": \"c.d\", \"window\": [1, 2], \"ask\": ", "}"},
        {"{\"ari\": \"a.b\", \"window\": [1, 2], \"ask\": 9", "}"},
        {"{\"ari\": \"a.b\", \"window\": [1, 2]}", ""},
        {"[", "]"},
        {"{\"ari\"", ""},
        {"", ""},
    };
    char left[8192];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        use_a_certificate(left);
        (void)snprintf(renewal_info.json, sizeof(renewal_info.json), "%s%lld%s", texts[i].before, (long long)wall_s + 3600,
                       texts[i].behind);
        share.up = i + 1 < ARRAY_LEN(texts);
        (void)pass_with_store(1000, left);
        assert_int_equal(info.asked, 1);
        assert_int_equal(job.window[0], 0);
        answer_info("1990-01-01T00:00:00Z", "1990-01-11T00:00:00Z");
        (void)pass_with_store(1000, left);
        assert_int_equal(renewal_info.puts, share.up);
        assert_int_equal(tear_down(state), 0);
        assert_int_equal(set_up(state), 0);
        renewal_info.puts = 0;
    }
    use_a_certificate(left); /* a window that is none is none, and that it was asked for counts */
    (void)snprintf(renewal_info.json, sizeof(renewal_info.json), "{\"ari\": \"a.b\", \"window\": [7, 7], \"ask\": %lld}",
                   (long long)wall_s + 3600);
    (void)pass_with_store(1000, left);
    assert_int_equal(info.asked, 0);
    assert_int_equal(job.chosen_s, 0);
}

static int set_up_all(void **state) {
    memset(&renewal_info, 0, sizeof(renewal_info));
    return set_up(state);
}

static int run_all(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up_all, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_the_issuer_suggests_is_not_forgotten),
        TEST(what_is_not_due_is_left_alone_for_a_while),
        TEST(what_another_instance_was_told_is_obeyed),
        TEST(all_choose_the_same_time),
        TEST(one_instance_asks_for_all),
        TEST(nobody_asks_while_another_one_does),
        TEST(what_the_store_says_of_renewals_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) {
    return run_lease_tests(run_all);
}
