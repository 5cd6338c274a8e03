/* What is on disk about orders is of the configuration that was in force when it was written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "acme/job.h"

static void put_order(struct job *j, size_t place, const char *url) {
    memcpy(j->orders[place], url, strlen(url) + 1);
}

static void test_a_job_of_another_configuration(void **state) {
    (void)state;
    static const char *names[] = {"a.example.org", "b.example.org"}, *swapped[] = {"b.example.org", "a.example.org"},
                      *others[] = {"a.example.org", "c.example.org"};
    static uint16_t both[] = {0, 1}, other_way[] = {1, 0}, with_new[] = {2, 1};
    static struct conf_issuer issuers[] = {{.name = "one", .directory = "https://one/"},
                                           {.name = "two", .directory = "https://two/"},
                                           {.name = "one", .directory = "https://three/"}};
    static struct conf_managed certs[] = {{.id = "web", .names = names, .nnames = 2, .issuers = both, .nissuers = 2},
                                          {.id = "web", .names = others, .nnames = 2, .issuers = both, .nissuers = 2},
                                          {.id = "web", .names = swapped, .nnames = 2, .issuers = other_way, .nissuers = 2},
                                          {.id = "web", .names = names, .nnames = 2, .issuers = with_new, .nissuers = 2}};
    static const struct conf_acme a = {.issuers = issuers, .nissuers = 3, .certs = certs, .ncerts = 4};
    char json[8192];
    size_t n = 0;
    struct job j, back;
    job_init(&j, &a, 0);
    put_order(&j, 0, "https://one/order");
    put_order(&j, 1, "https://two/order");
    j.unsure[1] = j.wanted = true;
    j.issuer = 1;
    j.failures = 3;
    j.next_s = 1000;
    j.blocked_s[0] = 1500;
    j.issued = 7;
    assert_true(job_write(&j, json, sizeof(json), &n));
    job_init(&back, &a, 0);
    assert_true(job_read(&back, span_of(json, n), 500));
    assert_memory_equal(&back, &j, sizeof(j));
    job_init(&back, &a, 1); /* other names: nothing of the orders for those before */
    assert_true(job_read(&back, span_of(json, n), 500));
    assert_false(job_has_order(&back) || back.unsure[1]);
    assert_true(back.failures == 0 && back.next_s == 0 && back.blocked_s[0] == 0 && back.issued == 7 && back.wanted);
    job_init(&back, &a, 2); /* each order is at its issuer */
    assert_true(job_read(&back, span_of(json, n), 500));
    assert_string_equal(back.orders[0], "https://two/order");
    assert_string_equal(back.orders[1], "https://one/order");
    assert_true(back.issuer == 0 && back.unsure[0] && !back.unsure[1] && back.blocked_s[0] == 0 && back.blocked_s[1] == 1500);
    assert_true(back.failures == 3 && back.next_s == 1000);
    job_init(&back, &a, 3); /* the name of another directory now, which is asked at once */
    assert_true(job_read(&back, span_of(json, n), 500));
    assert_string_equal(back.orders[0], "");
    assert_string_equal(back.orders[1], "https://two/order");
    assert_true(back.issuer == 1 && back.blocked_s[0] == 0 && back.failures == 3 && back.next_s == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_of_another_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
