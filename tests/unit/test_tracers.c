#include "shm/tracers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "shm/stats.h"

static struct tracers *page, *reader;

static int setup(void **state) {
    int fd = -1;
    assert_int_equal(stats_create(&fd), 0);
    page = tracers_map(fd, true);
    reader = tracers_map(fd, false);
    assert_non_null(page);
    assert_non_null(reader);
    close(fd);
    return 0;
}

static struct tracer_slot of_network(const char *net) {
    struct tracer_slot s = {.sessions_left = TRACERS_FOREVER};
    assert_int_equal(cidr_parse(net, &s.filter.net), 0);
    return s;
}

static struct tracer_slot of_name(const char *name) {
    struct tracer_slot s = {.sessions_left = 1};
    s.filter.name_len = (uint16_t)strlen(name);
    memcpy(s.filter.name, name, strlen(name));
    return s;
}

static bool wanted(const char *address, const char *name) {
    struct addr a;
    assert_int_equal(addr_parse_ip(address, &a), 0);
    return tracers_want(reader, &a, span_str(name));
}

static void what_one_writes_the_other_reads(void **state) {
    struct tracer_slot net = of_network("192.0.2.0/28"), six = of_network("2001:db8::/32"), name = of_name("robot");
    assert_false(tracers_any(NULL) || tracers_any(reader) || wanted("192.0.2.1", "robot"));
    int first = tracers_add(page, &net);
    assert_true(first >= 0 && tracers_any(reader));
    assert_true(wanted("192.0.2.1", "") && wanted("192.0.2.15", "x"));
    assert_false(wanted("192.0.2.16", "") || wanted("2001:db8::1", "") || wanted("192.0.3.1", "robot"));
    int second = tracers_add(page, &six), third = tracers_add(page, &name);
    assert_true(wanted("2001:db8:ffff::1", "") && wanted("10.0.0.1", "robot"));
    assert_false(wanted("10.0.0.1", "robo") || wanted("10.0.0.1", "robots") || wanted("10.0.0.1", ""));
    assert_true(tracers_serial(reader, (unsigned)first) != tracers_serial(reader, (unsigned)second));
    tracers_drop(page, (unsigned)first);
    tracers_drop(page, (unsigned)first);
    assert_true(tracers_any(reader));
    assert_false(wanted("192.0.2.1", ""));
    tracers_drop(page, (unsigned)second);
    tracers_drop(page, (unsigned)third);
    assert_false(tracers_any(reader));
}

static void there_are_so_many(void **state) {
    struct tracer_slot net = of_network("192.0.2.1");
    uint32_t serials[TRACERS_MAX];
    for (unsigned i = 0; i < TRACERS_MAX; i++) {
        assert_int_equal(tracers_add(page, &net), (int)i);
        serials[i] = tracers_serial(page, i);
        for (unsigned k = 0; k < i; k++)
            assert_true(serials[i] != serials[k]);
    }
    assert_int_equal(tracers_add(page, &net), -1);
    tracers_drop(page, 3);
    assert_int_equal(tracers_add(page, &net), 3);
    assert_true(tracers_serial(page, 3) != serials[3]);
    for (unsigned i = 0; i < TRACERS_MAX; i++)
        tracers_drop(page, i);
}

/* An observer that was taken over may have written anything. */
static void nonsense_in_the_page_wants_nobody(void **state) {
    struct tracer_slot net = of_network("192.0.2.0/24"), name = of_name("robot");
    int a = tracers_add(page, &net), b = tracers_add(page, &name);
    assert_true(a >= 0 && b >= 0);
    page->slots[a].filter.net.bits = 255;
    page->slots[b].filter.name_len = UINT16_MAX;
    assert_false(wanted("192.0.2.1", "robot"));
    page->slots[a].filter.net.net.family = AF_INET6;
    page->slots[a].filter.net.bits = 129;
    assert_false(wanted("2001:db8::1", "robot"));
    tracers_drop(page, (unsigned)a);
    tracers_drop(page, (unsigned)b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_writes_the_other_reads),
        cmocka_unit_test(there_are_so_many),
        cmocka_unit_test(nonsense_in_the_page_wants_nobody),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
