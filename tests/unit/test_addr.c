#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/err.h"
#include "death.h"

static struct addr ip(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_ip(text, &a), 0);
    return a;
}

static void addresses_with_ports_survive_the_round_trip(void **state) {
    static const char *const texts[] = {"1.2.3.4:80", "0.0.0.0:0", "255.255.255.255:65535",
                                        "[::1]:443",  "[::]:0",    "[2001:db8::1]:8443"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct addr a;
        char to[ADDR_TEXT_MAX];
        assert_int_equal(addr_parse(texts[i], &a), 0);
        assert_string_equal(addr_text(&a, to), texts[i]);
    }
}

static void malformed_addresses_are_refused(void **state) {
    static const char *const bad[] = {"",
                                      ":",
                                      ":80",
                                      "1.2.3.4",
                                      "1.2.3.4:",
                                      "1.2.3:80",
                                      "1.2.3.4:65536",
                                      "1.2.3.4:x",
                                      "::1:80",
                                      "[::1]",
                                      "[::1]80",
                                      "[::1:80",
                                      "[]:80",
                                      "[1.2.3.4]:80",
                                      "[::1]:",
                                      "[::g]:80",
                                      "1.2.3.4:-1",
                                      "1.2.3.4:+1",
                                      "1.2.3.4: 1",
                                      "a.b:80",
                                      " 1.2.3.4:80",
                                      "1.2.3.4:080000",
                                      "[fe80::1%lo]:80",
                                      "256.1.1.1:80",
                                      "[::1]]:80",
                                      "[1:2:3:4:5:6:7:8:9]:80",
                                      "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct addr a = {.port = 7};
        assert_int_equal(addr_parse(bad[i], &a), ERR_FORMAT);
        assert_int_equal(a.port, 7);
    }
}

static void bare_addresses(void **state) {
    struct addr a = ip("10.1.2.3");
    assert_int_equal(a.family, AF_INET);
    assert_int_equal(a.port, 0);
    assert_memory_equal(a.ip, ((uint8_t[16]){10, 1, 2, 3}), 16);
    assert_int_equal(ip("::1").family, AF_INET6);
    assert_int_equal(addr_parse_ip("", &a), ERR_FORMAT);
    assert_int_equal(addr_parse_ip("1.2.3.4:80", &a), ERR_FORMAT);
    assert_int_equal(addr_parse_ip("[::1]", &a), ERR_FORMAT);
    assert_int_equal(addr_parse_ip("1.2.3.4 ", &a), ERR_FORMAT);
}

static void mapped_addresses_are_ipv4(void **state) {
    struct addr a = ip("::ffff:1.2.3.4");
    struct addr b = ip("1.2.3.4");
    assert_memory_equal(&a, &b, sizeof(a));
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(99)};
    struct sockaddr_storage ss = {0};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:1.2.3.4", &in6.sin6_addr), 1);
    memcpy(&ss, &in6, sizeof(in6));
    addr_from_sockaddr(&ss, &a);
    b.port = 99;
    assert_memory_equal(&a, &b, sizeof(a));
}

static void socket_addresses_survive_the_round_trip(void **state) {
    static const char *const texts[] = {"1.2.3.4:80", "[2001:db8::1]:443"};
    static const socklen_t lens[] = {sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6)};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct addr a, b;
        struct sockaddr_storage ss;
        assert_int_equal(addr_parse(texts[i], &a), 0);
        assert_int_equal(addr_to_sockaddr(&a, &ss), lens[i]);
        addr_from_sockaddr(&ss, &b);
        assert_memory_equal(&a, &b, sizeof(a));
    }
}

static void other_families_are_unknown(void **state) {
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    struct addr a = {.family = AF_INET};
    char to[ADDR_TEXT_MAX];
    addr_from_sockaddr(&ss, &a);
    assert_int_equal(a.family, AF_UNSPEC);
    assert_string_equal(addr_text(&a, to), "-");
    assert_string_equal(addr_ip_text(&a, to), "-");
    assert_false(addr_is_loopback(&a));
}

static void to_sockaddr_of_unknown(void *ctx) {
    struct addr a = {.family = AF_UNSPEC};
    struct sockaddr_storage ss;
    (void)addr_to_sockaddr(&a, &ss);
}

static void an_unknown_address_cannot_be_bound(void **state) {
    assert_true(aborts(to_sockaddr_of_unknown, NULL));
}

static void texts_without_ports(void **state) {
    char to[ADDR_TEXT_MAX];
    struct addr a = ip("2001:db8::5");
    a.port = 80;
    assert_string_equal(addr_ip_text(&a, to), "2001:db8::5");
    a = ip("9.8.7.6");
    assert_string_equal(addr_ip_text(&a, to), "9.8.7.6");
}

static void the_longest_text_fits(void **state) {
    struct addr a = ip("fe80:1111:2222:3333:4444:5555:6666:7777");
    char to[ADDR_TEXT_MAX];
    a.port = 65535;
    assert_string_equal(addr_text(&a, to), "[fe80:1111:2222:3333:4444:5555:6666:7777]:65535");
}

static void loopback(void **state) {
    static const struct {
        const char *text;
        bool yes;
    } rows[] = {{"127.0.0.1", true}, {"127.255.0.9", true},      {"128.0.0.1", false}, {"126.0.0.1", false}, {"::1", true},
                {"::2", false},      {"::ffff:127.0.0.1", true}, {"::", false},        {"0.0.0.0", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct addr a = ip(rows[i].text);
        assert_int_equal(addr_is_loopback(&a), rows[i].yes);
    }
}

static void networks_hold_what_they_should(void **state) {
    static const struct {
        const char *net, *ip;
        bool in;
    } rows[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"10.0.0.0/9", "10.127.0.1", true},
        {"10.0.0.0/9", "10.128.0.1", false},
        {"0.0.0.0/0", "255.1.2.3", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"::/0", "1.2.3.4", false},
        {"1.2.3.4", "1.2.3.4", true},
        {"1.2.3.4", "1.2.3.5", false},
        {"1.2.3.4/32", "1.2.3.4", true},
        {"192.168.4.0/22", "192.168.7.255", true},
        {"192.168.4.0/22", "192.168.8.0", false},
        {"2001:db8::/32", "2001:db8:ffff::1", true},
        {"2001:db8::/32", "2001:db9::1", false},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::1", "::1", true},
        {"::1/128", "::2", false},
        {"::ffff:10.0.0.0/104", "10.1.2.3", true},
        {"::ffff:0:0/96", "1.2.3.4", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cidr c;
        struct addr a = ip(rows[i].ip);
        assert_int_equal(cidr_parse(rows[i].net, &c), 0);
        assert_int_equal(cidr_has(&c, &a), rows[i].in);
    }
}

static void malformed_networks_are_refused(void **state) {
    static const char *const bad[] = {"",
                                      "/",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "10.0.0.1/8",
                                      "10.0.0.0/-1",
                                      "10.0.0.0/x",
                                      "10.0.0/8",
                                      "::/129",
                                      "2001:db8::1/32",
                                      "10.0.0.0/0008",
                                      "10.0.0.0/8/8",
                                      "::ffff:0.0.0.0/95",
                                      "10.0.0.0/99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cidr c;
        assert_int_equal(cidr_parse(bad[i], &c), ERR_FORMAT);
    }
}

static void an_unknown_address_is_in_no_network(void **state) {
    struct cidr all, none = {.bits = 0};
    struct addr unknown = {.family = AF_UNSPEC};
    assert_int_equal(cidr_parse("0.0.0.0/0", &all), 0);
    assert_false(cidr_has(&all, &unknown));
    assert_false(cidr_has(&none, &unknown));
}

static void client_keys(void **state) {
    uint8_t a[16], b[16];
    struct addr x = ip("1.2.3.4"), y = ip("::ffff:1.2.3.4");
    x.port = 1;
    addr_client_key(&x, a);
    addr_client_key(&y, b);
    assert_memory_equal(a, b, 16);
    assert_memory_equal(a, ((uint8_t[16]){0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}), 16);
    x = ip("2001:db8:1:2:3:4:5:6");
    y = ip("2001:db8:1:2:ffff::1");
    addr_client_key(&x, a);
    addr_client_key(&y, b);
    assert_memory_equal(a, b, 16);
    y = ip("2001:db8:1:3::1");
    addr_client_key(&y, b);
    assert_memory_not_equal(a, b, 16);
}

/* Equal for all of a network, and never for networks of different lengths, also where the longer one ends in zeros. */
static void networks_of_a_client(void **state) {
    struct addr_net a[ADDR_NETS], b[ADDR_NETS];
    struct addr x = ip("1.2.3.4"), none = {.family = AF_UNSPEC};
    assert_int_equal(addr_nets(&none, a), 0);
    assert_int_equal(addr_nets(&x, a), 1);
    assert_int_equal(a[0].share, 1);
    x = ip("2001:db8:0:1200::1");
    assert_int_equal(addr_nets(&x, a), ADDR_NETS);
    for (size_t i = 0; i < ADDR_NETS; i++)
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(a[i].key, a[k].key, 16);
    x = ip("2001:db8::");
    (void)addr_nets(&x, a);
    assert_memory_not_equal(a[0].key, a[1].key, 16);
    assert_memory_not_equal(a[1].key, a[2].key, 16);
    x = ip("2001:db8:0:12::1");
    (void)addr_nets(&x, b);
    assert_memory_not_equal(a[0].key, b[0].key, 16);
    assert_memory_equal(a[1].key, b[1].key, 16);
    x = ip("2001:db8:0:1200::1");
    (void)addr_nets(&x, b);
    assert_memory_not_equal(a[1].key, b[1].key, 16);
    assert_memory_equal(a[2].key, b[2].key, 16);
    x = ip("2001:db8:1::1");
    (void)addr_nets(&x, b);
    assert_memory_not_equal(a[2].key, b[2].key, 16);
}

static void a_process_is_its_user(void **state) {
    const struct addr a = addr_of_process(1000, 100, 4711), same_user = addr_of_process(1000, 5, 6),
                      most = addr_of_process(UINT32_MAX, UINT32_MAX, UINT32_MAX), root = addr_of_process(0, 0, 0);
    char to[ADDR_TEXT_MAX];
    uint8_t key[16], same[16], other[16];
    struct addr_net nets[ADDR_NETS];
    assert_string_equal(addr_text(&a, to), "uid:1000,gid:100,pid:4711");
    assert_string_equal(addr_ip_text(&a, to), "uid:1000");
    assert_string_equal(addr_text(&most, to), "uid:4294967295,gid:4294967295,pid:4294967295");
    addr_client_key(&a, key);
    addr_client_key(&same_user, same);
    addr_client_key(&root, other);
    assert_memory_equal(key, same, sizeof(key));
    assert_memory_not_equal(key, other, sizeof(key));
    assert_int_equal(addr_nets(&a, nets), 1);
    assert_memory_equal(nets[0].key, key, sizeof(key));
    assert_int_equal(nets[0].share, 1);
    assert_false(addr_is_ip(&a) || addr_is_any(&root) || addr_is_loopback(&root) || addr_is_link_local(&a));
}

/* Anyone in "0.0.0.0/0" or "::/0" has an address. */
static void a_process_is_in_no_network(void **state) {
    const struct addr root = addr_of_process(0, 0, 0), v4 = ip("0.0.0.0");
    struct cidr net;
    assert_int_equal(cidr_parse("0.0.0.0/0", &net), 0);
    assert_false(cidr_has(&net, &root));
    assert_int_equal(cidr_parse("::/0", &net), 0);
    assert_false(cidr_has(&net, &root));
    const struct cidr processes = {.net = {.family = AF_UNIX}};
    assert_true(cidr_has(&processes, &root));
    assert_false(cidr_has(&processes, &v4));
}

static void keys_of_clients_read_back_and_differ(void **state) {
    static const char *const texts[] = {"0.0.0.0",      "192.0.2.7", "255.255.255.255", "::/64",         "2001:db8::/64",
                                        "117:105::/64", "uid:0",     "uid:1000",        "uid:4294967295"};
    uint8_t keys[ARRAY_LEN(texts)][16], key[16];
    char to[ADDR_TEXT_MAX];
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(addr_client_parse(texts[i], keys[i]), 0);
        assert_string_equal(addr_client_text(keys[i], to), texts[i]);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(keys[i], keys[j], sizeof(keys[i]));
    }
    assert_int_equal(addr_client_parse("2001:db8::1234", key), 0); /* any address of the network */
    assert_memory_equal(key, keys[4], sizeof(key));
    static const char *const bad[] = {"",    "uid:", "uid:-1", "uid:4294967296", "uid:1 ", "uid:1,gid:1", "192.0.2.0/24",
                                      "/64", "x/64"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(addr_client_parse(bad[i], key), ERR_FORMAT);
}

static void a_scope_goes_to_the_socket_and_back(void **state) {
    struct sockaddr_storage ss;
    struct addr a = ip("fe80::1"), back, other;
    a.scope = 7;
    a.port = 443;
    (void)addr_to_sockaddr(&a, &ss);
    addr_from_sockaddr(&ss, &back);
    assert_true(addr_equal(&a, &back));
    other = a;
    other.scope = 8;
    assert_false(addr_equal(&a, &other)); /* the same address of another interface */
    assert_true(addr_is_link_local(&a));
    static const char *const not [] = {"fec0::1", "fe7f::1", "2001:db8::1", "169.254.1.1", "::1"};
    for (size_t i = 0; i < ARRAY_LEN(not ); i++) {
        a = ip(not [i]);
        assert_false(addr_is_link_local(&a));
    }
    a = ip("febf:ffff::1");
    assert_true(addr_is_link_local(&a));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_with_ports_survive_the_round_trip),
        cmocka_unit_test(malformed_addresses_are_refused),
        cmocka_unit_test(bare_addresses),
        cmocka_unit_test(mapped_addresses_are_ipv4),
        cmocka_unit_test(socket_addresses_survive_the_round_trip),
        cmocka_unit_test(other_families_are_unknown),
        cmocka_unit_test(an_unknown_address_cannot_be_bound),
        cmocka_unit_test(texts_without_ports),
        cmocka_unit_test(the_longest_text_fits),
        cmocka_unit_test(loopback),
        cmocka_unit_test(networks_hold_what_they_should),
        cmocka_unit_test(malformed_networks_are_refused),
        cmocka_unit_test(an_unknown_address_is_in_no_network),
        cmocka_unit_test(client_keys),
        cmocka_unit_test(networks_of_a_client),
        cmocka_unit_test(a_process_is_its_user),
        cmocka_unit_test(a_process_is_in_no_network),
        cmocka_unit_test(keys_of_clients_read_back_and_differ),
        cmocka_unit_test(a_scope_goes_to_the_socket_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
