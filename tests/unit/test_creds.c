#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "creds/creds_layout.h"
#include "creds_samples.h"

static int setup(void **state) {
    struct creds *c = calloc(1, sizeof(*c));
    int fd = sample_store();
    *state = c;
    int err = c ? creds_map(fd, c) : ERR_NOMEM;
    close(fd);
    return err;
}

static int teardown(void **state) {
    creds_unmap(*state);
    free(*state);
    return 0;
}

static void assert_span(struct span s, const char *text) {
    assert_int_equal(s.len, strlen(text));
    assert_memory_equal(s.p, text, s.len);
}

static void services_keep_their_order(void **state) {
    const struct creds *c = *state;
    assert_int_equal(creds_services(c), 3);
    assert_string_equal(creds_service(c, 0).name, "web");
    assert_int_equal(creds_service(c, 0).nentries, 3);
    assert_string_equal(creds_service(c, 1).name, "passed");
    assert_int_equal(creds_service(c, 1).nentries, 0);
    assert_string_equal(creds_service(c, 2).name, "api");
    assert_int_equal(creds_service(c, 2).first_entry, 3);
}

static void entries_say_what_was_added(void **state) {
    const struct creds *c = *state;
    assert_int_equal(creds_entries(c), 4);
    struct creds_entry e = creds_entry(c, 1);
    assert_int_equal(e.kind, CREDS_RSA);
    assert_int_equal(e.service, 0);
    assert_int_equal(e.nchain, 2);
    assert_string_equal(e.cert_file, "/b.pem");
    assert_string_equal(e.issuer, "CN = Test CA");
    assert_string_equal(e.serial, "01");
    assert_int_equal(e.ocsp.len, 0);
    assert_span(creds_cert(c, 1, 0).der, "leaf of /b.pem");
    assert_int_equal(creds_cert(c, 1, 0).not_after, 2000);
    assert_span(creds_cert(c, 1, 1).der, "the intermediate");
    assert_int_equal(creds_entry(c, 2).nnames, 2);
    assert_string_equal(creds_name(c, 2, 1), "mail.example.net");
}

static void equal_bytes_are_kept_once(void **state) {
    const struct creds *c = *state;
    assert_ptr_equal(creds_cert(c, 0, 1).der.p, creds_cert(c, 3, 1).der.p);
    assert_int_equal(creds_keys(c), 3);
    assert_int_equal(creds_entry(c, 1).key, creds_entry(c, 2).key);
    struct creds_key k = creds_key(c, creds_entry(c, 1).key);
    assert_string_equal(k.file, "/b.key");
    assert_null(k.pass_file);
    assert_span(k.spki, "public half of /b.key");
}

static void client_material_is_in_order(void **state) {
    const struct creds *c = *state;
    assert_int_equal(creds_service(c, 2).nclient_ca, 2);
    assert_span(creds_client_ca(c, 2, 1), "second CA");
    assert_int_equal(creds_client_ca(c, 2, 2).len, 0);
    assert_span(creds_client_crl(c, 2, 0), "a CRL");
    assert_int_equal(creds_client_crl(c, 0, 0).len, 0);
}

static void assert_choice(const struct creds *c, uint32_t service, const char *name, enum creds_match match, uint32_t rsa,
                          uint32_t ec, uint32_t ed) {
    uint32_t chosen[CREDS_SLOTS];
    assert_int_equal(creds_choose(c, service, name, chosen), match);
    assert_int_equal(chosen[CREDS_SLOT_RSA], rsa);
    assert_int_equal(chosen[CREDS_SLOT_EC], ec);
    assert_int_equal(chosen[CREDS_SLOT_ED25519], ed);
}

static void names_are_chosen_exact_wildcard_default(void **state) {
    const struct creds *c = *state;
    assert_choice(c, 0, "www.example.org", CREDS_EXACT, 1, 0, CREDS_NONE);
    assert_choice(c, 0, "other.example.org", CREDS_WILDCARD, 2, 0, CREDS_NONE);
    assert_choice(c, 0, "mail.example.net", CREDS_EXACT, 2, CREDS_NONE, CREDS_NONE);
    assert_choice(c, 0, "a.b.example.org", CREDS_DEFAULT, 1, 0, CREDS_NONE);
    assert_choice(c, 0, "example.org", CREDS_DEFAULT, 1, 0, CREDS_NONE);
    assert_choice(c, 0, "*.example.org", CREDS_WILDCARD, 2, 0, CREDS_NONE); /* a label like any other */
    assert_choice(c, 0, "", CREDS_DEFAULT, 1, 0, CREDS_NONE);
    assert_choice(c, 1, "www.example.org", CREDS_NO_MATCH, CREDS_NONE, CREDS_NONE, CREDS_NONE);
    assert_choice(c, 2, "www.example.org", CREDS_DEFAULT, CREDS_NONE, CREDS_NONE, 3);
}

static void overlong_names_are_the_default(void **state) {
    char name[400];
    memset(name, 'a', sizeof(name));
    name[3] = '.';
    name[sizeof(name) - 1] = '\0';
    assert_choice(*state, 0, name, CREDS_DEFAULT, 1, 0, CREDS_NONE);
}

static void the_first_of_a_kind_keeps_a_name(void **state) {
    struct creds_writer *w = creds_writer_new();
    assert_int_equal(creds_add_service(w, "web"), 0);
    uint32_t first = sample_entry(w, CREDS_EC_P256, "/a.pem", "/a.key");
    assert_int_equal(sample_name(w, "www.example.org"), CREDS_NONE);
    assert_int_equal(sample_name(w, "www.example.org"), CREDS_NONE); /* twice in one certificate */
    sample_entry(w, CREDS_RSA, "/b.pem", "/b.key");
    assert_int_equal(sample_name(w, "www.example.org"), CREDS_NONE); /* another kind */
    sample_entry(w, CREDS_EC_P384, "/c.pem", "/c.key");
    assert_int_equal(sample_name(w, "www.example.org"), first);
    assert_string_equal(creds_writer_cert_file(w, first), "/a.pem");
    assert_int_equal(creds_add_service(w, "other"), 0);
    sample_entry(w, CREDS_EC_P384, "/c.pem", "/c.key");
    assert_int_equal(sample_name(w, "www.example.org"), CREDS_NONE); /* another service */
    creds_writer_free(w);
}

static void many_names_are_all_found(void **state) {
    enum { MANY = 5000 };
    struct creds_writer *w = creds_writer_new();
    struct creds c;
    int fd;
    char name[64];
    assert_int_equal(creds_add_service(w, "web"), 0);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "/%u.pem", i);
        assert_int_equal(sample_entry(w, CREDS_EC_P256, name, name), i);
        snprintf(name, sizeof(name), "h%u.example.org", i);
        assert_int_equal(sample_name(w, name), CREDS_NONE);
    }
    assert_int_equal(creds_seal(w, sample_digest, &fd), 0);
    creds_writer_free(w);
    assert_int_equal(creds_map(fd, &c), 0);
    close(fd);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof(name), "h%u.example.org", i);
        assert_choice(&c, 0, name, CREDS_EXACT, CREDS_NONE, i, CREDS_NONE);
    }
    assert_choice(&c, 0, "h5000.example.org", CREDS_DEFAULT, CREDS_NONE, 0, CREDS_NONE);
    creds_unmap(&c);
}

static void digests_distinguish_contents(void **state) {
    struct creds a, b;
    int fd = sample_store();
    assert_int_equal(creds_map(fd, &a), 0);
    close(fd);
    assert_memory_equal(creds_digest(*state), creds_digest(&a), CREDS_DIGEST_LEN);
    assert_int_equal(creds_key_stamp(*state), creds_key_stamp(&a));
    struct creds_writer *w = sample_writer();
    sample_name(w, "one.more.example");
    assert_int_equal(creds_seal(w, sample_digest, &fd), 0);
    creds_writer_free(w);
    assert_int_equal(creds_map(fd, &b), 0);
    close(fd);
    assert_memory_not_equal(creds_digest(&a), creds_digest(&b), CREDS_DIGEST_LEN);
    creds_unmap(&a);
    creds_unmap(&b);
}

static void what_is_not_sealed_is_refused(void **state) {
    const struct creds *c = *state;
    struct creds got;
    int fd = memfd_create("test", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    assert_int_equal(write(fd, c->head, c->len), c->len);
    assert_int_equal(creds_map(fd, &got), ERR_FORMAT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(creds_map(fd, &got), ERR_FORMAT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(creds_map(fd, &got), 0);
    creds_unmap(&got);
    close(fd);
    assert_int_equal(creds_map(open("/dev/null", O_RDONLY | O_CLOEXEC), &got), ERR_FORMAT);
}

/* Whatever one bit does, the store is refused or can be read to its end. */
static void a_flipped_bit_is_refused_or_harmless(void **state) {
    const struct creds *c = *state;
    unsigned refused = 0;
    uint8_t *copy = aligned_alloc(8, (c->len + 7) & ~(size_t)7);
    for (size_t i = 0; i < c->len * 8; i++) {
        struct creds got;
        memcpy(copy, c->head, c->len);
        copy[i / 8] ^= (uint8_t)(1 << i % 8);
        if (creds_of(span_of(copy, c->len), &got) < 0)
            refused++;
        else
            sample_read(&got);
    }
    assert_true(refused > 1000);
    free(copy);
}

static void a_cut_store_is_refused(void **state) {
    const struct creds *c = *state;
    for (size_t len = 0; len < c->len; len++) {
        struct creds got;
        uint8_t *copy = aligned_alloc(8, (len + 8) & ~(size_t)7);
        memcpy(copy, c->head, len);
        assert_int_equal(creds_of(span_of(copy, len), &got), ERR_FORMAT);
        free(copy);
    }
}

static void lists_must_not_be_mixed(void **state) {
    struct creds_writer *w = sample_writer();
    assert_int_equal(creds_add_client_ca(w, span_str("after the CRL")), ERR_LIMIT);
    creds_writer_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(services_keep_their_order, setup, teardown),
        cmocka_unit_test_setup_teardown(entries_say_what_was_added, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_bytes_are_kept_once, setup, teardown),
        cmocka_unit_test_setup_teardown(client_material_is_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_chosen_exact_wildcard_default, setup, teardown),
        cmocka_unit_test_setup_teardown(overlong_names_are_the_default, setup, teardown),
        cmocka_unit_test(the_first_of_a_kind_keeps_a_name),
        cmocka_unit_test(many_names_are_all_found),
        cmocka_unit_test_setup_teardown(digests_distinguish_contents, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_sealed_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flipped_bit_is_refused_or_harmless, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_store_is_refused, setup, teardown),
        cmocka_unit_test(lists_must_not_be_mixed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
