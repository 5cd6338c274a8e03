#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "creds/creds_expiry.h"
#include "creds_samples.h"

#define DAY INT64_C(86400)
#define NOW (20000 * DAY) /* 2024-10-04 */

static char said[4096];

static const char *say(int64_t from, int64_t until) {
    struct text t = text_of(said, sizeof(said));
    return creds_expiry_say(&t, "/a.pem", 1, from, until, NOW) ? said : NULL;
}

static void times_are_reported_in_words(void **state) {
    assert_null(say(NOW - DAY, NOW + 14 * DAY));
    assert_string_equal(say(NOW - DAY, NOW + 14 * DAY - 1),
                        "/a.pem: certificate 1 of the chain expires on 2024-10-17, in 13 days");
    assert_string_equal(say(NOW - DAY, NOW + DAY), "/a.pem: certificate 1 of the chain expires on 2024-10-05, in 1 day");
    assert_string_equal(say(NOW - DAY, NOW + 1), "/a.pem: certificate 1 of the chain expires on 2024-10-04, in 0 days");
    assert_string_equal(say(NOW - DAY, NOW), "/a.pem: certificate 1 of the chain expired on 2024-10-04");
    assert_string_equal(say(NOW + 1, NOW + DAY), "/a.pem: certificate 1 of the chain is not valid before 2024-10-04");
    assert_string_equal(say(INT64_MIN, NOW + 90 * DAY), "/a.pem: certificate 1 of the chain has a time that cannot be read");
    assert_string_equal(say(NOW - DAY, INT64_MIN), "/a.pem: certificate 1 of the chain has a time that cannot be read");
}

static void keep_line(void *ctx, const char *line) {
    struct text *t = ctx;
    text_addf(t, "%s\n", line);
}

static void add(struct creds_writer *w, const char *file, int64_t leaf_ends, int64_t ca_ends, int64_t ocsp_ends) {
    const struct creds_cert chain[] = {{span_str(file), NOW - 90 * DAY, leaf_ends}, {span_str("CA"), NOW - 900 * DAY, ca_ends}};
    const struct creds_new_entry e = {
        .chain = chain,
        .nchain = 2,
        .spki = span_str("key"),
        .cert_file = file,
        .key_file = "/key",
        .issuer = "",
        .serial = "",
        .ocsp = span_str(ocsp_ends ? "response" : ""),
        .ocsp_until = ocsp_ends,
    };
    uint32_t entry;
    assert_int_equal(creds_add_entry(w, &e, &entry), 0);
}

static void every_file_is_reported_once(void **state) {
    struct creds_writer *w = creds_writer_new();
    struct creds c;
    int fd;
    struct text t = text_of(said, sizeof(said));
    assert_int_equal(creds_add_service(w, "one"), 0);
    add(w, "/good.pem", NOW + 90 * DAY, NOW + 900 * DAY, NOW + DAY);
    add(w, "/old.pem", NOW - DAY, NOW + 900 * DAY, 0);
    assert_int_equal(creds_add_service(w, "two"), 0);
    add(w, "/old.pem", NOW - DAY, NOW + 900 * DAY, 0);
    add(w, "/ca.pem", NOW + 90 * DAY, NOW + 2 * DAY, NOW + DAY);
    add(w, "/good.pem", NOW + 90 * DAY, NOW + 900 * DAY, NOW + DAY);
    assert_int_equal(creds_seal(w, sample_digest, &fd), 0);
    creds_writer_free(w);
    assert_int_equal(creds_map(fd, &c), 0);
    close(fd);
    creds_expiry_warn(&c, NOW, keep_line, &t);
    assert_string_equal(said, "/old.pem: certificate 1 of the chain expired on 2024-10-03\n"
                              "/ca.pem: certificate 2 of the chain expires on 2024-10-06, in 2 days\n");

    t = text_of(said, sizeof(said));
    creds_ocsp_warn(&c, NOW, NOW + DAY - 1, keep_line, &t);
    assert_string_equal(said, "");
    creds_ocsp_warn(&c, NOW + DAY - 1, NOW + DAY, keep_line, &t);
    assert_string_equal(said, "/good.pem: the OCSP response for it has ended; it is not stapled any more\n"
                              "/ca.pem: the OCSP response for it has ended; it is not stapled any more\n");
    t = text_of(said, sizeof(said));
    creds_ocsp_warn(&c, NOW + DAY, NOW + 2 * DAY, keep_line, &t);
    assert_string_equal(said, "");
    creds_unmap(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_reported_in_words),
        cmocka_unit_test(every_file_is_reported_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
