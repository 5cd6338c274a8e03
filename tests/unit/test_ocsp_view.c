/* What the observer keeps of OCSP responses that are fetched: news of another set, of too many entries, of a liar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "observer/ocsp_view.h"

static struct ocsp_view v;
static int ends[2];

static bool take(struct managed_ocsp o) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(managed_send_ocsp(ends[0], &o), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), managed_to_observer, &m, &err), STEP_DONE);
    return ocsp_view_take(&v, &m);
}

/* NULL: nothing is said of the entry. */
static const char *state_of(uint32_t entry, json_t **ret) {
    json_t *o = json_object();
    ocsp_view_put(&v, entry, o);
    *ret = o;
    return json_string_value(json_object_get(json_object_get(o, "ocsp_fetch"), "state"));
}

static void expect(uint32_t entry, const char *state) {
    json_t *o;
    const char *found = state_of(entry, &o);
    if (state)
        assert_string_equal(found, state);
    else
        assert_null(found);
    json_decref(o);
}

static int begin(void **state) {
    (void)state;
    v = (struct ocsp_view){.shown = 7};
    return ipc_pair(1 << 16, ends);
}

static int end(void **state) {
    (void)state;
    ocsp_view_fini(&v);
    close(ends[0]), close(ends[1]);
    return 0;
}

static void test_news_are_kept_by_entry(void **state) {
    (void)state;
    expect(0, NULL);
    assert_true(take((struct managed_ocsp){.set = 7, .entry = 5, .state = MANAGED_OCSP_GOOD, .from = 1, .until = 2}));
    assert_true(take((struct managed_ocsp){.set = 7, .entry = 0, .state = MANAGED_OCSP_WAITING, .error = span_str("why")}));
    expect(5, "good");
    expect(0, "waiting");
    expect(1, NULL);
    expect(6, NULL);
    expect(UINT32_MAX, NULL);
    json_t *o;
    (void)state_of(0, &o);
    assert_string_equal(json_string_value(json_object_get(json_object_get(o, "ocsp_fetch"), "error")), "why");
    json_decref(o);
    assert_true(take((struct managed_ocsp){.set = 7, .entry = 0, .state = MANAGED_OCSP_REVOKED}));
    (void)state_of(0, &o);
    assert_true(json_is_null(json_object_get(json_object_get(o, "ocsp_fetch"), "error")));
    json_decref(o);
}

/* Entries of one set are others in the next: the two are never mixed, no matter who has the new set first. */
static void test_sets_are_not_mixed(void **state) {
    (void)state;
    assert_true(take((struct managed_ocsp){.set = 7, .entry = 3, .state = MANAGED_OCSP_GOOD}));
    assert_true(take((struct managed_ocsp){.set = 8, .entry = 1, .state = MANAGED_OCSP_REVOKED}));
    expect(3, NULL);
    expect(1, NULL);
    v.shown = 8;
    expect(1, "revoked");
    expect(3, NULL);
    v.shown = 9;
    expect(1, NULL);
}

static void test_a_liar_gets_no_memory(void **state) {
    (void)state;
    assert_false(take((struct managed_ocsp){.set = 7, .entry = OCSP_VIEW_MAX, .state = MANAGED_OCSP_GOOD}));
    assert_false(take((struct managed_ocsp){.set = 7, .entry = UINT32_MAX, .state = MANAGED_OCSP_GOOD}));
    assert_int_equal(v.n, 0);
    assert_true(take((struct managed_ocsp){.set = 7, .entry = OCSP_VIEW_MAX - 1, .state = MANAGED_OCSP_GOOD}));
    expect(OCSP_VIEW_MAX - 1, "good");
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, begin, end)
    const struct CMUnitTest tests[] = {CASE(news_are_kept_by_entry), CASE(sets_are_not_mixed), CASE(a_liar_gets_no_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
