/* Lists of networks as files have them: every good form, every bad one with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "access/netlist.h"
#include "base/err.h"

struct report {
    size_t n, line;
    char why[256];
};

static void note(void *ctx, size_t line, const char *why) {
    struct report *r = ctx;
    r->n++;
    r->line = line;
    snprintf(r->why, sizeof(r->why), "%s", why);
}

/* The networks in TEXT, one behind the other. */
static const char *read_all(struct span text, struct report *r) {
    static char all[1024];
    struct text t = text_of(all, sizeof(all));
    struct netlist l;
    *r = (struct report){0};
    netlist_init(&l);
    assert_int_equal(netlist_read(&l, text, note, r), 0);
    assert_int_equal(l.bad, r->n);
    for (size_t i = 0; i < l.nets.n; i++) {
        const struct cidr *c = grow_at(&l.nets, i);
        char ip[ADDR_TEXT_MAX];
        text_addf(&t, "%s%s/%u", i ? " " : "", addr_ip_text(&c->net, ip), c->bits);
    }
    netlist_fini(&l);
    return all;
}

static void good(const char *text, const char *expected) {
    struct report r;
    assert_string_equal(read_all(span_str(text), &r), expected);
    assert_int_equal(r.n, 0);
}

static void bad(const char *line, const char *part_of_why) {
    char text[512];
    struct report r;
    snprintf(text, sizeof(text), "192.0.2.1\n%s\n192.0.2.2\n", line);
    assert_string_equal(read_all(span_str(text), &r), "192.0.2.1/32 192.0.2.2/32"); /* the rest is in force */
    assert_int_equal(r.n, 1);
    assert_int_equal(r.line, 2);
    if (!strstr(r.why, part_of_why))
        fail_msg("%s: %s", line, r.why);
}

static void every_good_form_is_read(void **state) {
    (void)state;
    good("", "");
    good("\n\n \t\n", "");
    good("10.0.0.0/8", "10.0.0.0/8");
    good("10.0.0.0/8\n2001:db8::/32\n::1\n", "10.0.0.0/8 2001:db8::/32 ::1/128");
    good("10.0.0.0/8\r\n10.1.0.0/16\r\n", "10.0.0.0/8 10.1.0.0/16");
    good("# whole line\n  10.0.0.0/8\t# behind\n; another\n192.0.2.0/24 ; SBL123\n", "10.0.0.0/8 192.0.2.0/24");
    good("192.0.2.7#no blank\n", "192.0.2.7/32");
    good("0.0.0.0/0\n::/0\n", "0.0.0.0/0 ::/0");
    good("\xef\xbb\xbf"
         "192.0.2.7\n",
         "192.0.2.7/32");
    good("2001:DB8::A\n", "2001:db8::a/128");
}

static void mapped_networks_are_ipv4(void **state) {
    (void)state;
    good("::ffff:192.0.2.7\n::ffff:10.0.0.0/104\n::ffff:0:0/96\n", "192.0.2.7/32 10.0.0.0/8 0.0.0.0/0");
    good("::fffe:0:0/95\n", "::fffe:0:0/95"); /* wider than all mapped ones: a network of IPv6 */
}

static void bad_lines_are_named_and_the_rest_is_in_force(void **state) {
    (void)state;
    bad("192.0.2.9/24", "zero bits behind the prefix");
    bad("2001:db8::1/32", "/128");
    bad("192.0.2.0/33", "/32");
    bad("192.0.2.0/", "prefix length");
    bad("192.0.2.0/255.255.255.0", "prefix length");
    bad("192.0.2.0/24/8", "prefix length");
    bad("192.0.2.0/-1", "prefix length");
    bad("fe80::1%eth0", "without a scope");
    bad("fe80::%eth0/64", "without a scope");
    bad("192.0.2.256", "found \"192.0.2.256\"");
    bad("192.0.2", "expected an address");
    bad("010.0.0.1", "expected an address");
    bad("192.0.2.1-192.0.2.9", "expected an address");
    bad("192.0.2.1 192.0.2.2", "expected an address");
    bad("192.0.2.1:443", "expected an address");
    bad("[2001:db8::1]", "expected an address");
    bad("bad.example.org", "found \"bad.example.org\"");
    bad("/24", "expected an address");
    bad("%eth0", "expected an address");
}

static void messages_hold_nothing_of_a_line_that_a_terminal_would_obey(void **state) {
    (void)state;
    struct report r;
    char longest[4096];
    (void)read_all(span_str("\x1b[31m\"\xc3\xa4\n"), &r);
    assert_string_equal(r.why, "found \"?[31m???\", expected an address or a network, as 192.0.2.0/24 or 2001:db8::1");
    memset(longest, 'a', sizeof(longest));
    (void)read_all(span_of(longest, sizeof(longest)), &r);
    assert_int_equal(r.n, 1);
    assert_true(strlen(r.why) < 200);
    (void)read_all(span_of("192.0.2.1\0/24\n192.0.2.2\n", 24), &r);
    assert_int_equal(r.n, 1);
}

static void lines_are_counted_to_the_last(void **state) {
    (void)state;
    char text[3000] = "";
    struct report r;
    for (int i = 0; i < 999; i++)
        strncat(text, i % 2 ? "#\n" : "\n", sizeof(text) - strlen(text) - 1);
    strncat(text, "x", sizeof(text) - strlen(text) - 1);
    (void)read_all(span_str(text), &r);
    assert_int_equal(r.line, 1000);
}

static void a_list_has_a_bound(void **state) {
    (void)state;
    struct netlist l;
    struct report r = {0};
    netlist_init(&l);
    l.nets.n = NETLIST_MAX; /* as if they were there */
    assert_int_equal(netlist_read(&l, span_str("192.0.2.1\n"), note, &r), ERR_LIMIT);
    l.nets.n = 0;
    netlist_fini(&l);
}

static void networks_and_names_of_files_are_distinguished(void **state) {
    (void)state;
    static const char *const networks[] = {"192.0.2.1", "192.0.2.1/24", "192.0.2.300/24", "1.2.3",
                                           "::/0",      "fe80::1%eth0", "::1/x"};
    static const char *const files[] = {"bad.txt", "lists/bad.txt", "/etc/bad", "dead/beef", "192.0.2.txt", "bad:1"};
    for (size_t i = 0; i < ARRAY_LEN(networks); i++)
        if (!netlist_is_network(networks[i]))
            fail_msg("%s", networks[i]);
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (netlist_is_network(files[i]))
            fail_msg("%s", files[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_good_form_is_read),
        cmocka_unit_test(mapped_networks_are_ipv4),
        cmocka_unit_test(bad_lines_are_named_and_the_rest_is_in_force),
        cmocka_unit_test(messages_hold_nothing_of_a_line_that_a_terminal_would_obey),
        cmocka_unit_test(lines_are_counted_to_the_last),
        cmocka_unit_test(a_list_has_a_bound),
        cmocka_unit_test(networks_and_names_of_files_are_distinguished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
