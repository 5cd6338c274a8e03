/* The two text formats, letter by letter, and label values that try to break out of them. */
#include "observer/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct buf out;

static void assert_text(const char *wanted) {
    assert_int_equal(buf_append(&out, "", 1), 0);
    assert_string_equal((const char *)buf_span(&out).p, wanted);
    buf_fini(&out);
}

static void fill(struct exposition *x) {
    const struct exposition_label web[] = {{"service", "web"}, {"kind", "full"}, {NULL, NULL}};
    exposition_family(x, EXPOSE_COUNTER, "received_bytes", "Bytes.");
    exposition_number(x, web, 17);
    exposition_family(x, EXPOSE_GAUGE, "active", "Now.");
    exposition_number(x, NULL, 0);
    exposition_family(x, EXPOSE_INFO, "build", "What.");
    exposition_number(x, web + 2, 1);
    exposition_family(x, EXPOSE_HISTOGRAM, "wait_seconds", "Waits.");
    exposition_part(x, "_bucket", web + 2, "0.5", 3);
    exposition_part(x, "_bucket", web, "+Inf", 4);
    exposition_part(x, "_count", web, NULL, 4);
    exposition_sum(x, web, 0.75);
    exposition_end(x);
    assert_false(x->bad);
}

static void test_open_metrics(void **state) {
    struct exposition x = {.to = &out, .open_metrics = true};
    (void)state;
    buf_init(&out, 4096);
    fill(&x);
    assert_text(
        "# TYPE tls_off_received_bytes counter\n# UNIT tls_off_received_bytes bytes\n# HELP tls_off_received_bytes Bytes.\n"
        "tls_off_received_bytes_total{service=\"web\",kind=\"full\"} 17\n"
        "# TYPE tls_off_active gauge\n# HELP tls_off_active Now.\ntls_off_active 0\n"
        "# TYPE tls_off_build info\n# HELP tls_off_build What.\ntls_off_build_info 1\n"
        "# TYPE tls_off_wait_seconds histogram\n# UNIT tls_off_wait_seconds seconds\n# HELP tls_off_wait_seconds Waits.\n"
        "tls_off_wait_seconds_bucket{le=\"0.5\"} 3\n"
        "tls_off_wait_seconds_bucket{service=\"web\",kind=\"full\",le=\"+Inf\"} 4\n"
        "tls_off_wait_seconds_count{service=\"web\",kind=\"full\"} 4\n"
        "tls_off_wait_seconds_sum{service=\"web\",kind=\"full\"} 0.75\n# EOF\n");
}

static void test_the_older_format(void **state) {
    struct exposition x = {.to = &out};
    (void)state;
    buf_init(&out, 4096);
    fill(&x);
    assert_text("# TYPE tls_off_received_bytes_total counter\n# HELP tls_off_received_bytes_total Bytes.\n"
                "tls_off_received_bytes_total{service=\"web\",kind=\"full\"} 17\n"
                "# TYPE tls_off_active gauge\n# HELP tls_off_active Now.\ntls_off_active 0\n"
                "# TYPE tls_off_build_info gauge\n# HELP tls_off_build_info What.\ntls_off_build_info 1\n"
                "# TYPE tls_off_wait_seconds histogram\n# HELP tls_off_wait_seconds Waits.\n"
                "tls_off_wait_seconds_bucket{le=\"0.5\"} 3\n"
                "tls_off_wait_seconds_bucket{service=\"web\",kind=\"full\",le=\"+Inf\"} 4\n"
                "tls_off_wait_seconds_count{service=\"web\",kind=\"full\"} 4\n"
                "tls_off_wait_seconds_sum{service=\"web\",kind=\"full\"} 0.75\n");
}

static void test_values_stay_within_their_quotes(void **state) {
    const struct exposition_label evil[] = {{"a", "x\"} 1\ny{b=\"\\"}, {"c", "\xff\x01"}, {NULL, NULL}};
    struct exposition x = {.to = &out};
    (void)state;
    buf_init(&out, 4096);
    x.name = "m";
    x.type = EXPOSE_GAUGE;
    exposition_number(&x, evil, 1);
    assert_text("tls_off_m{a=\"x\\\"} 1\xef\xbf\xbdy{b=\\\"\\\\\",c=\"\xef\xbf\xbd\xef\xbf\xbd\"} 1\n");
}

static void test_no_room_is_noticed(void **state) {
    struct exposition x = {.to = &out};
    (void)state;
    buf_init(&out, 100);
    exposition_family(&x, EXPOSE_GAUGE, "active", "Now.");
    for (unsigned i = 0; i < 10; i++)
        exposition_number(&x, NULL, i);
    assert_true(x.bad);
    buf_fini(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_metrics),
        cmocka_unit_test(test_the_older_format),
        cmocka_unit_test(test_values_stay_within_their_quotes),
        cmocka_unit_test(test_no_room_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
