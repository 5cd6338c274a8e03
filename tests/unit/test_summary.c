#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"
#include "shm/peers.h"
#include "wire/summary.h"

static uint8_t bytes[SUMMARY_MAX + 64];
static struct wr out;

static const struct summary_head head = {
    .instance = 0x1234, .seq = 77, .time_s = 1790000000, .name = {(const uint8_t *)"web1/1234", 9}, .floor = {1, 2, 300}};

static struct summary_entry entry(enum summary_kind kind, const char *key, uint64_t value) {
    struct summary_entry e = {.kind = kind};
    if (kind == SUMMARY_VERIFIED) {
        e.key_len = (uint8_t)strlen(key);
        memcpy(e.key, key, e.key_len);
    } else {
        struct addr a;
        struct addr_net nets[ADDR_NETS];
        assert_int_equal(addr_parse_ip(key, &a), 0);
        size_t n = addr_nets(&a, nets), at = kind == SUMMARY_IPV4 ? 0 : (size_t)kind - SUMMARY_IPV6_64;
        assert_true(at < n);
        memcpy(e.key, nets[at].key, 16);
        e.key_len = 16;
    }
    bool net = kind == SUMMARY_IPV6_56 || kind == SUMMARY_IPV6_48;
    for (unsigned v = 0; v < (net ? SUMMARY_OF_NETS : SUMMARY_VALUES); v++)
        e.values[v] = value + v;
    return e;
}

static void begin(void) {
    out = wr_of(bytes, SUMMARY_MAX);
    assert_true(summary_write_head(&out, &head));
}

static void put(struct summary_entry e) {
    assert_true(summary_write_entry(&out, &e));
}

static int check(size_t *n, size_t *skipped) {
    struct summary_head h;
    return summary_check(wr_written(&out), &h, n, skipped);
}

static void what_is_written_is_read(void **state) {
    static const uint64_t numbers[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, PEERS_COUNT_MAX - SUMMARY_VALUES};
    const struct summary_entry all[] = {
        entry(SUMMARY_IPV4, "192.0.2.1", 1),     entry(SUMMARY_IPV4, "192.0.2.2", 128),
        entry(SUMMARY_IPV6_64, "2001:db8::", 3), entry(SUMMARY_IPV6_56, "2001:db8::", 4),
        entry(SUMMARY_IPV6_48, "2001:db8::", 5), entry(SUMMARY_VERIFIED, "cn:robot", 6),
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct summary_reader s;
        struct summary_head h;
        const struct summary_entry *e;
        begin();
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            struct summary_entry with = all[k];
            with.values[SUMMARY_SESSIONS] = numbers[i];
            put(with);
        }
        assert_int_equal(summary_begin(&s, wr_written(&out), &h), 0);
        assert_true(h.instance == head.instance && h.seq == head.seq && span_eq(h.name, head.name));
        assert_memory_equal(h.floor, head.floor, sizeof(h.floor));
        for (size_t k = 0; k < ARRAY_LEN(all); k++) {
            assert_int_equal(summary_next(&s, &e), 1);
            assert_int_equal(summary_order(e, &all[k]), 0);
            assert_true(e->values[SUMMARY_SESSIONS] == numbers[i]);
            assert_true(e->values[SUMMARY_LIMITED] == all[k].values[SUMMARY_LIMITED]);
            assert_true(e->values[SUMMARY_FAILED] == all[k].values[SUMMARY_FAILED]);
        }
        assert_int_equal(summary_next(&s, &e), 0);
    }
}

/* Cut anywhere it is no summary, or one with fewer entries. */
static void cut_it_is_refused_or_shorter(void **state) {
    struct summary_head h;
    size_t n, skipped, whole;
    begin();
    size_t head_len = wr_written(&out).len;
    put(entry(SUMMARY_IPV4, "192.0.2.1", 100000));
    size_t one = wr_written(&out).len;
    put(entry(SUMMARY_VERIFIED, "x", 1));
    whole = wr_written(&out).len;
    for (size_t len = 0; len < whole; len++) {
        int err = summary_check(span_of(bytes, len), &h, &n, &skipped);
        assert_true((len == head_len || len == one) == (err == 0));
    }
    bytes[whole] = 0;
    assert_int_not_equal(summary_check(span_of(bytes, whole + 1), &h, &n, &skipped), 0);
}

static void order_and_kinds_are_checked(void **state) {
    size_t n, skipped;
    begin();
    put(entry(SUMMARY_IPV4, "192.0.2.2", 1));
    put(entry(SUMMARY_IPV4, "192.0.2.1", 1));
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    put(entry(SUMMARY_IPV4, "192.0.2.1", 1)); /* twice is twice as many sessions */
    put(entry(SUMMARY_IPV4, "192.0.2.1", 1));
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    put(entry(SUMMARY_VERIFIED, "a", 1));
    put(entry(SUMMARY_IPV4, "192.0.2.1", 1));
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    wr_u8(&out, SUMMARY_KINDS);
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    put(entry(SUMMARY_VERIFIED, "", 1)); /* a name without letters */
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    struct summary_entry nul = entry(SUMMARY_VERIFIED, "abc", 1);
    nul.key[1] = 0;
    put(nul);
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
}

static void impossible_numbers_deny_nobody(void **state) {
    static const uint64_t bad[] = {PEERS_COUNT_MAX + 1, (uint64_t)-1, (uint64_t)INT64_MAX + 1};
    size_t n, skipped;
    begin();
    put(entry(SUMMARY_IPV4, "192.0.2.1", 1));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct summary_entry e = entry(SUMMARY_IPV4, "192.0.2.9", 1);
        e.key[15] = (uint8_t)(10 + i);
        e.values[i % SUMMARY_OF_NETS] = bad[i];
        put(e);
    }
    put(entry(SUMMARY_IPV4, "192.0.2.99", 1));
    assert_int_equal(check(&n, &skipped), 0);
    assert_int_equal(n, 5);
    assert_int_equal(skipped, 3);
}

/* More than 64 bits, and what is longer than it has to be. */
static void numbers_have_one_form(void **state) {
    static const uint8_t too_large[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01};
    static const uint8_t padded[] = {0x81, 0x00};
    const struct span forms[] = {span_of(too_large, sizeof(too_large)), span_of(endless, sizeof(endless)),
                                 span_of(padded, sizeof(padded))};
    size_t n, skipped;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        begin();
        wr_u8(&out, SUMMARY_IPV6_48);
        wr_bytes(&out, "abcdef", 6);
        wr_span(&out, forms[i]);
        wr_bytes(&out, "\0\0", 2);
        assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    }
}

static void heads_are_checked(void **state) {
    static const char *const names[] = {"", "two words", "line\n", "\x7f", "caf\xc3\xa9"};
    struct summary_head h = head;
    size_t n, skipped;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        h.name = span_str(names[i]);
        out = wr_of(bytes, SUMMARY_MAX);
        assert_true(summary_write_head(&out, &h));
        assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    }
    char longest[SUMMARY_NAME_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    h.name = span_of(longest, SUMMARY_NAME_MAX + 1);
    out = wr_of(bytes, SUMMARY_MAX);
    assert_true(summary_write_head(&out, &h));
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    begin();
    bytes[0]++; /* of a later version */
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
}

static void giants_are_refused(void **state) {
    struct summary_entry e = entry(SUMMARY_IPV4, "10.0.0.0", 1);
    size_t n, skipped;
    begin();
    for (unsigned i = 0; i < SUMMARY_ENTRIES; i++) {
        e.key[14] = (uint8_t)(i >> 8);
        e.key[15] = (uint8_t)i;
        put(e);
    }
    assert_int_equal(check(&n, &skipped), 0);
    assert_int_equal(n, SUMMARY_ENTRIES);
    put(entry(SUMMARY_VERIFIED, "one more", 1));
    assert_int_equal(check(&n, &skipped), ERR_FORMAT);
    struct summary_head h;
    memset(bytes, 1, sizeof(bytes));
    assert_int_equal(summary_check(span_of(bytes, SUMMARY_MAX + 1), &h, &n, &skipped), ERR_FORMAT);
}

static void what_does_not_fit_is_not_there(void **state) {
    out = wr_of(bytes, 60);
    assert_true(summary_write_head(&out, &head));
    size_t n = 0, read, skipped;
    struct summary_entry e = entry(SUMMARY_IPV4, "10.0.0.1", 1);
    while (summary_write_entry(&out, &e))
        n++, e.key[15]++;
    assert_int_equal(n, 1);
    assert_int_equal(check(&read, &skipped), 0);
    assert_int_equal(read, n);
}

/* An entry counts in the networks that its clients count in here. */
static void networks_are_those_of_the_limits(void **state) {
    static const enum summary_kind kinds[] = {SUMMARY_IPV6_64, SUMMARY_IPV6_56, SUMMARY_IPV6_48};
    struct addr_net nets[ADDR_NETS], want[ADDR_NETS];
    struct addr a;
    assert_int_equal(addr_parse_ip("2001:db8:1:2ff:3::4", &a), 0);
    assert_int_equal(addr_nets(&a, want), 3);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct summary_entry e = entry(kinds[i], "2001:db8:1:2ff:3::4", 1);
        assert_int_equal(summary_nets(&e, nets), 3 - i);
        assert_memory_equal(nets, want + i, (3 - i) * sizeof(nets[0]));
    }
    struct summary_entry four = entry(SUMMARY_IPV4, "192.0.2.1", 1), name = entry(SUMMARY_VERIFIED, "n", 1);
    assert_int_equal(addr_parse_ip("192.0.2.1", &a), 0);
    assert_int_equal(addr_nets(&a, want), 1);
    assert_int_equal(summary_nets(&four, nets), 1);
    assert_memory_equal(nets, want, sizeof(nets[0]));
    assert_int_equal(summary_nets(&name, nets), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(cut_it_is_refused_or_shorter),
        cmocka_unit_test(order_and_kinds_are_checked),
        cmocka_unit_test(impossible_numbers_deny_nobody),
        cmocka_unit_test(numbers_have_one_form),
        cmocka_unit_test(heads_are_checked),
        cmocka_unit_test(giants_are_refused),
        cmocka_unit_test(what_does_not_fit_is_not_there),
        cmocka_unit_test(networks_are_those_of_the_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
