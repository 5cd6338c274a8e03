/* The access table: against a reference that looks at every network, and with bytes that another process got wrong. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "access/access_layout.h"
#include "access_samples.h"
#include "base/err.h"
#include "base/sealed.h"

static uint64_t seed = 88172645463325252u;

static uint32_t any(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_ip(text, &a), 0);
    return a;
}

static struct access sealed_sample(void) {
    struct access_writer *w = sample_access_writer();
    struct access a;
    int fd;
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    assert_int_equal(access_map(fd, &a), 0);
    close(fd);
    return a;
}

static void judge(const struct access *a, uint32_t service, const char *client, bool admitted, const char *file) {
    struct addr c = addr_of(client);
    struct access_verdict v = access_judge(a, service, &c);
    if (v.admitted != admitted)
        fail_msg("service %u, %s: admitted %d", service, client, v.admitted);
    if (file)
        assert_string_equal(access_list(a, v.list).file, file);
    else
        assert_int_equal(v.list, ACCESS_NONE);
}

/* ---- the rule ---- */

static void the_most_specific_network_decides(void **state) {
    (void)state;
    struct access a = sealed_sample();
    judge(&a, 1, "10.2.0.1", true, "service.a.access.allow");
    judge(&a, 1, "10.1.0.1", false, "/lists/bad.txt");
    judge(&a, 1, "10.1.2.3", true, "service.a.access.allow");
    judge(&a, 1, "2001:db8:1::1", false, "/lists/bad.txt");
    judge(&a, 1, "2001:db8:2::1", true, "service.a.access.allow");
    access_unmap(&a);
}

static void of_equals_deny_wins(void **state) {
    (void)state;
    struct access a = sealed_sample();
    judge(&a, 1, "192.0.2.9", false, "/lists/bad.txt");
    /* in the other order of the lists, too */
    struct access_writer *w = access_writer_new();
    struct access b;
    int fd;
    assert_int_equal(access_add_service(w), 0);
    uint32_t deny = sample_list(w, "deny", "192.0.2.0/24\n"), allow = sample_list(w, "allow", "192.0.2.0/24\n");
    assert_int_equal(access_use_list(w, deny, true), 0);
    assert_int_equal(access_use_list(w, allow, false), 0);
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    assert_int_equal(access_map(fd, &b), 0);
    close(fd);
    judge(&b, 0, "192.0.2.9", false, "deny");
    access_unmap(&a);
    access_unmap(&b);
}

static void who_is_in_no_list_comes_in_unless_some_are_allowed(void **state) {
    (void)state;
    struct access a = sealed_sample();
    struct addr unknown = {.family = AF_UNSPEC};
    judge(&a, 0, "198.51.100.7", true, NULL);
    judge(&a, 1, "203.0.113.1", false, NULL);
    judge(&a, 2, "203.0.113.1", true, NULL);
    judge(&a, 2, "198.51.100.7", false, "/lists/bad.txt");
    judge(&a, 2, "198.51.100.8", true, NULL);
    assert_false(access_judge(&a, 1, &unknown).admitted);
    assert_true(access_judge(&a, 2, &unknown).admitted);
    access_unmap(&a);
}

static void an_empty_allow_list_admits_nobody(void **state) {
    (void)state;
    struct access_writer *w = access_writer_new();
    struct access a;
    int fd;
    assert_int_equal(access_add_service(w), 0);
    assert_int_equal(access_use_list(w, sample_list(w, "empty", ""), false), 0);
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    assert_int_equal(access_map(fd, &a), 0);
    close(fd);
    judge(&a, 0, "192.0.2.1", false, NULL);
    judge(&a, 0, "::", false, NULL);
    access_unmap(&a);
}

static void services_share_lists(void **state) {
    (void)state;
    struct access a = sealed_sample();
    assert_int_equal(access_services(&a), 4);
    assert_int_equal(access_lists(&a), 2);
    assert_true(access_same_rules(&a, 1, 3));
    assert_false(access_same_rules(&a, 1, 2));
    assert_false(access_same_rules(&a, 0, 1));
    access_unmap(&a);
}

/* ---- against a reference ---- */

#define NETS 200

/* Networks that lie within each other and side by side, at both ends of the address space, too. */
static struct cidr random_net(void) {
    struct cidr c = {.net = {.family = any(2) ? AF_INET : AF_INET6}};
    unsigned size = c.net.family == AF_INET ? 32 : 128, bits = any(4) ? size - any(size / 4) : any(size + 1);
    for (unsigned i = 0; i < size / 8; i++)
        c.net.ip[i] = (uint8_t)(any(3) == 0 ? 255 : any(3) == 0 ? any(4) : 0);
    for (unsigned i = bits; i < size; i++)
        c.net.ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    c.bits = (uint8_t)bits;
    return c;
}

/* Near the ends of the networks is where it could go wrong. */
static struct addr random_client(const struct cidr *nets, size_t n) {
    const struct cidr *c = n ? &nets[any((uint32_t)n)] : &(struct cidr){.net = {.family = AF_INET6}};
    struct addr a = c->net;
    unsigned size = a.family == AF_INET ? 32 : 128;
    uint32_t how = any(4);
    if (how != 0)
        for (unsigned i = c->bits; i < size; i++)
            if (how == 1 || any(2))
                a.ip[i / 8] |= (uint8_t)(0x80u >> i % 8);
    for (unsigned i = size / 8; how == 3 && i-- > 0 && ++a.ip[i] == 0;)
        continue;
    return a;
}

static uint8_t longest_of(const struct cidr *nets, size_t n, const struct addr *a) {
    uint8_t best = RANGES_NONE;
    for (size_t i = 0; i < n; i++)
        if (cidr_has(&nets[i], a) && (best == RANGES_NONE || nets[i].bits > best))
            best = nets[i].bits;
    return best;
}

static bool reference(const struct cidr *allow, size_t nallow, const struct cidr *deny, size_t ndeny, const struct addr *a) {
    uint8_t in = longest_of(allow, nallow, a), out = longest_of(deny, ndeny, a);
    if (in == RANGES_NONE && out == RANGES_NONE)
        return false; /* there is an allow list */
    return out == RANGES_NONE || (in != RANGES_NONE && in > out);
}

static uint32_t add_nets(struct access_writer *w, const char *file, const struct cidr *nets, size_t n) {
    struct netlist l;
    uint32_t list;
    netlist_init(&l);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(netlist_add(&l, &nets[i]), 0);
    assert_int_equal(access_add_list(w, &(struct access_list){.file = file}, &l, &list), 0);
    netlist_fini(&l);
    return list;
}

static void random_lists_judge_as_the_reference_does(void **state) {
    (void)state;
    static struct cidr nets[2][NETS];
    for (int round = 0; round < 300; round++) {
        size_t n[2] = {any(NETS), any(round % 2 ? NETS : 3)};
        struct access_writer *w = access_writer_new();
        struct access a;
        int fd;
        assert_int_equal(access_add_service(w), 0);
        for (unsigned k = 0; k < 2; k++) {
            for (size_t i = 0; i < n[k]; i++)
                nets[k][i] = random_net();
            assert_int_equal(access_use_list(w, add_nets(w, k ? "deny" : "allow", nets[k], n[k]), k == 1), 0);
        }
        assert_int_equal(access_seal(w, &fd), 0);
        access_writer_free(w);
        assert_int_equal(access_map(fd, &a), 0);
        close(fd);
        for (int i = 0; i < 400; i++) {
            unsigned k = any(2);
            struct addr c = random_client(nets[k], n[k]);
            char text[ADDR_TEXT_MAX];
            if (access_judge(&a, 0, &c).admitted != reference(nets[0], n[0], nets[1], n[1], &c))
                fail_msg("round %d: %s", round, addr_ip_text(&c, text));
        }
        access_unmap(&a);
    }
}

/* One key more than nodes hold, at every level. */
static void every_number_of_ranges_is_searched_right(void **state) {
    (void)state;
    static struct cidr nets[2500];
    for (uint32_t n = 1; n < ARRAY_LEN(nets); n += n < 40 ? 1 : 61) {
        for (unsigned family = 0; family < RANGES_FAMILIES; family++) {
            struct ranges_draft *d;
            struct ranges r;
            uint8_t *at = NULL;
            for (uint32_t i = 0; i < n; i++) { /* 1, 3, 5, ... within the last two bytes */
                unsigned end = family == RANGES_IPV4 ? 4 : 16;
                nets[i] =
                    (struct cidr){.net = {.family = family == RANGES_IPV4 ? AF_INET : AF_INET6}, .bits = (uint8_t)(end * 8)};
                nets[i].net.ip[end - 2] = (uint8_t)((2 * i + 1) >> 8);
                nets[i].net.ip[end - 1] = (uint8_t)(2 * i + 1);
            }
            assert_int_equal(ranges_draft(nets, n, &d), 0);
            uint32_t count = ranges_draft_count(d);
            assert_int_equal(count, 2 * n + 1);
            assert_int_equal(posix_memalign((void **)&at, 64, ranges_len((enum ranges_family)family, count)), 0);
            memset(at, 0, ranges_len((enum ranges_family)family, count));
            ranges_write(d, (enum ranges_family)family, at);
            ranges_open((enum ranges_family)family, at, count, &r);
            for (uint32_t i = 0; i <= 2 * n + 1; i++) {
                uint8_t ip[16] = {0};
                unsigned end = family == RANGES_IPV4 ? 4 : 16;
                ip[end - 2] = (uint8_t)(i >> 8);
                ip[end - 1] = (uint8_t)i;
                assert_int_equal(ranges_find(&r, (enum ranges_family)family, ip), i % 2 && i < 2 * n ? end * 8 : RANGES_NONE);
            }
            ranges_draft_free(d);
            free(at);
        }
    }
}

static void networks_side_by_side_are_one_range(void **state) {
    (void)state;
    struct access_writer *w = access_writer_new();
    assert_int_equal(access_add_service(w), 0);
    sample_list(w, "halves", "10.0.0.0/9\n10.128.0.0/9\n10.0.0.0/9\n");
    struct access a;
    uint32_t n;
    int fd;
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    assert_int_equal(access_map(fd, &a), 0);
    (void)access_ranges(&a, 0, RANGES_IPV4, &n);
    assert_int_equal(n, 3); /* before, within, behind */
    close(fd);
    access_unmap(&a);
}

/* ---- keeping ---- */

static void a_kept_list_judges_as_before(void **state) {
    (void)state;
    struct access old = sealed_sample(), a;
    struct access_writer *w = access_writer_new();
    uint32_t list;
    int fd;
    struct access_list l = access_list(&old, 1);
    l.failing_s = 1234;
    assert_int_equal(access_add_service(w), 0);
    assert_int_equal(access_keep_list(w, &l, &old, 1, &list), 0);
    assert_int_equal(access_use_list(w, list, true), 0);
    assert_int_equal(access_find_list(w, "/lists/bad.txt"), list);
    assert_int_equal(access_find_list(w, "/lists/bad"), ACCESS_NONE);
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    access_unmap(&old);
    assert_int_equal(access_map(fd, &a), 0);
    close(fd);
    judge(&a, 0, "198.51.100.7", false, "/lists/bad.txt");
    judge(&a, 0, "2001:db8:1::", false, "/lists/bad.txt");
    judge(&a, 0, "198.51.100.6", true, NULL);
    assert_int_equal(access_list(&a, 0).failing_s, 1234);
    assert_int_equal(access_list(&a, 0).networks, 4);
    access_unmap(&a);
}

static void equal_tables_are_equal(void **state) {
    (void)state;
    struct access a = sealed_sample(), b = sealed_sample();
    assert_true(access_equal(&a, &b));
    access_unmap(&b);
    struct access_writer *w = access_writer_new();
    int fd;
    assert_int_equal(access_add_service(w), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(access_add_service(w), 0);
    sample_list(w, "service.a.access.allow", "10.0.0.0/8\n10.1.2.4\n2001:db8::/32\n192.0.2.0/24\n"); /* one bit */
    assert_int_equal(access_seal(w, &fd), 0);
    access_writer_free(w);
    assert_int_equal(access_map(fd, &b), 0);
    close(fd);
    assert_false(access_equal(&a, &b));
    access_unmap(&a);
    access_unmap(&b);
}

static void too_many_lists_of_a_service_are_refused(void **state) {
    (void)state;
    struct access_writer *w = access_writer_new();
    assert_int_equal(access_add_service(w), 0);
    uint32_t list = sample_list(w, "one", "10.0.0.0/8\n");
    for (unsigned i = 0; i < ACCESS_LISTS_MAX; i++)
        assert_int_equal(access_use_list(w, list, true), 0);
    assert_int_equal(access_use_list(w, list, true), ERR_LIMIT);
    access_writer_free(w);
}

/* ---- bytes of another process ---- */

static uint8_t *copy_of(const struct access *a, size_t extra) {
    uint8_t *copy = NULL;
    assert_int_equal(posix_memalign((void **)&copy, ACCESS_ALIGN, a->len + extra), 0);
    memset(copy + a->len, 0, extra);
    memcpy(copy, a->head, a->len);
    return copy;
}

static void cut_or_longer_tables_are_refused(void **state) {
    (void)state;
    struct access a = sealed_sample(), got;
    uint8_t *copy = copy_of(&a, 64);
    for (size_t len = 0; len < a.len + 64; len++)
        if (len != a.len)
            assert_int_equal(access_of(span_of(copy, len), &got), ERR_FORMAT);
    assert_int_equal(access_of(span_of(copy, a.len), &got), 0);
    access_unmap(&got);
    free(copy);
    access_unmap(&a);
}

/* Sanitizers see a step outside; a wrong answer is not judged. */
static void no_byte_leads_outside(void **state) {
    (void)state;
    struct access a = sealed_sample(), got;
    uint8_t *copy = copy_of(&a, 0);
    static const uint8_t other[] = {0, 1, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < a.len; i++)
        for (size_t k = 0; k < sizeof(other); k++) {
            uint8_t before = copy[i];
            copy[i] = other[k];
            if (access_of(span_of(copy, a.len), &got) == 0) {
                (void)sample_access_read(&got);
                access_unmap(&got);
            }
            copy[i] = before;
        }
    free(copy);
    access_unmap(&a);
}

static void what_is_not_sealed_is_refused(void **state) {
    (void)state;
    struct access a = sealed_sample(), got;
    uint8_t *p;
    int fd, open_fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(open_fd, a.head, a.len), a.len);
    assert_int_equal(access_map(open_fd, &got), ERR_FORMAT);
    assert_int_equal(sealed_begin("test", a.len, &fd, &p), 0);
    memcpy(p, a.head, a.len);
    assert_int_equal(sealed_end(fd, p, a.len), 0);
    assert_int_equal(access_map(fd, &got), 0);
    access_unmap(&got);
    close(fd);
    close(open_fd);
    access_unmap(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_most_specific_network_decides),
        cmocka_unit_test(of_equals_deny_wins),
        cmocka_unit_test(who_is_in_no_list_comes_in_unless_some_are_allowed),
        cmocka_unit_test(an_empty_allow_list_admits_nobody),
        cmocka_unit_test(services_share_lists),
        cmocka_unit_test(random_lists_judge_as_the_reference_does),
        cmocka_unit_test(every_number_of_ranges_is_searched_right),
        cmocka_unit_test(networks_side_by_side_are_one_range),
        cmocka_unit_test(a_kept_list_judges_as_before),
        cmocka_unit_test(equal_tables_are_equal),
        cmocka_unit_test(too_many_lists_of_a_service_are_refused),
        cmocka_unit_test(cut_or_longer_tables_are_refused),
        cmocka_unit_test(no_byte_leads_outside),
        cmocka_unit_test(what_is_not_sealed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
