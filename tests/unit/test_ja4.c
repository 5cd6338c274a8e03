#include "hello_draft.h"

#include "tls/ja4.h"

/* Lists and result as published: FoxIO-LLC/ja4, technical_details/JA4.md. GREASE is mixed in, which must change nothing. */
static void ja4_published_example(void **state) {
    static const uint16_t suites[] = {0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030,
                                      0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035};
    static const uint16_t extensions[] = {0x2a2a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d,
                                          0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0xdada};
    uint8_t suite_bytes[sizeof(suites)];
    struct wr w = wr_of(suite_bytes, sizeof(suite_bytes));
    for (size_t i = 0; i < ARRAY_LEN(suites); i++)
        wr_u16(&w, suites[i]);
    struct draft *d = fresh();
    d->suites = wr_written(&w);
    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        struct span data = LITERAL("");
        switch (extensions[i]) {
        case 0x0000:
            data = LITERAL("\x00\x0e\x00\x00\x0b"
                           "example.org");
            break;
        case 0x0033:
            data = LITERAL("\x00\x05\x5a\x5a\x00\x01\x00");
            break;
        case 0x0010:
            data = LITERAL("\x00\x0c\x02h2\x08http/1.1");
            break;
        case 0x000d:
            data = LITERAL("\x00\x12\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01\x4a\x4a");
            break;
        case 0x002b:
            data = LITERAL("\x06\xfa\xfa\x03\x04\x03\x03");
            break;
        case 0x000a:
            data = LITERAL("\x00\x04\x5a\x5a\x00\x1d");
            break;
        case 0x0005:
            data = LITERAL("\x01\x00\x00\x00\x00");
            break;
        case 0x001b:
            data = LITERAL("\x02\x00\x02");
            break;
        case 0x002d:
            data = LITERAL("\x01\x01");
            break;
        default:
            break;
        }
        extend(d, extensions[i], data);
    }
    struct hello h;
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_string_equal(h.ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    assert_int_equal(strlen(h.ja4), JA4_LEN);
}

static void ja4_alpn_characters(void **state) {
    static const struct {
        struct span extension;
        const char *want;
    } cases[] = {
        {{(const uint8_t *)"\x00\x09\x08http/1.1", 11}, "h1"},
        {{(const uint8_t *)"\x00\x02\x01x", 4}, "xx"},
        {{(const uint8_t *)"\x00\x02\x01\xab", 4}, "ab"},
        {{(const uint8_t *)"\x00\x03\x02\xab\xcd", 5}, "ad"},
        {{(const uint8_t *)"\x00\x03\x02\x30\xab", 5}, "3b"},
        {{(const uint8_t *)"\x00\x05\x04\x30\x31\xab\xcd", 7}, "3d"},
        {{(const uint8_t *)"\x00\x05\x04\x30\xab\xcd\x31", 7}, "01"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct hello h;
        assert_int_equal(parse_with(16, cases[i].extension, &h), 0);
        assert_memory_equal(h.ja4 + 8, cases[i].want, 2);
    }
}

static void ja4_versions(void **state) {
    static const struct {
        uint16_t legacy;
        const char *want;
    } cases[] = {{0x0303, "12"}, {0x0302, "11"}, {0x0301, "10"}, {0x0300, "s3"}, {0x0002, "s2"}, {0x1234, "00"}};
    struct hello h;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct draft *d = fresh();
        d->version = cases[i].legacy;
        assert_int_equal(hello_parse(finish(d), &h), 0);
        assert_memory_equal(h.ja4 + 1, cases[i].want, 2);
    }
    assert_int_equal(parse_with(43, LITERAL("\x04\x03\x03\x03\x04"), &h), 0);
    assert_memory_equal(h.ja4 + 1, "13", 2);
    assert_int_equal(parse_with(43, LITERAL("\x02\x0a\x0a"), &h), 0);
    assert_memory_equal(h.ja4 + 1, "00", 2);
}

static void ja4_of_the_largest_hello(void **state) {
    /* as many suites as a hello can hold, in falling order: the counts are capped, and it takes no time to speak of */
    static uint8_t suites[16000];
    for (size_t i = 0; i < sizeof(suites) / 2; i++) {
        suites[2 * i] = (uint8_t)((20000 - i) >> 8);
        suites[2 * i + 1] = (uint8_t)(20000 - i);
    }
    struct draft *d = fresh();
    struct hello h;
    d->suites = SAMPLE(suites);
    struct span m = finish(d);
    assert_true(m.len <= HELLO_MESSAGE_MAX);
    assert_int_equal(hello_parse(m, &h), 0);
    /* printf of 12001..20000 without GREASE as hex, joined by commas, through sha256sum */
    assert_string_equal(h.ja4, "t12i990000_d64db54b0941_000000000000");
}

/* Short and long lists are sorted in different ways, and both keep what comes twice: the same suites in any order. */
static void ja4_does_not_depend_on_the_order(void **state) {
    static uint8_t suites[2][2 * 300];
    for (size_t n = 1; n <= 300; n++) {
        struct hello h[2];
        for (size_t i = 0; i < n; i++) {
            uint16_t v = (uint16_t)(i * 40503 % 4096 * (i % 7 ? 1 : 16));
            suites[0][2 * i] = suites[1][2 * (n - 1 - i)] = (uint8_t)(v >> 8);
            suites[0][2 * i + 1] = suites[1][2 * (n - 1 - i) + 1] = (uint8_t)v;
        }
        for (int o = 0; o < 2; o++) {
            struct draft *d = fresh();
            d->suites = span_of(suites[o], 2 * n);
            assert_int_equal(hello_parse(finish(d), &h[o]), 0);
        }
        assert_string_equal(h[0].ja4, h[1].ja4);
    }
}

static void ja4_only_grease(void **state) {
    struct draft *d = fresh();
    struct hello h;
    d->suites = LITERAL("\x0a\x0a\xfa\xfa");
    extend(d, 0x1a1a, LITERAL(""));
    assert_int_equal(hello_parse(finish(d), &h), 0);
    assert_string_equal(h.ja4, "t12i000000_000000000000_000000000000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ja4_published_example),
        cmocka_unit_test(ja4_alpn_characters),
        cmocka_unit_test(ja4_versions),
        cmocka_unit_test(ja4_of_the_largest_hello),
        cmocka_unit_test(ja4_does_not_depend_on_the_order),
        cmocka_unit_test(ja4_only_grease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
