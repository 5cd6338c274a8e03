#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"
#include "make_cert.h"
#include "supervisor/creds_reload.h"
#include "supervisor/file_watch.h"

static char *dir;
static struct conf conf;
static struct conf_service service;
static struct conf_cert certs[2];
static char paths[4][512];

static const char *in(const char *name) {
    return make_path(dir, name);
}

static void put(const char *name, const char *text) {
    make_file(in(name), text, strlen(text));
}

static int setup(void **state) {
    static const char *const names[] = {"a.pem", "a.key", "pass", "dir"};
    dir = make_dir();
    for (size_t i = 0; i < 4; i++)
        snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, names[i]);
    certs[0] = (struct conf_cert){.cert = paths[0], .key = paths[1], .passphrase = paths[2]};
    certs[1] = (struct conf_cert){.cert = paths[3]};
    service = (struct conf_service){.certs = certs, .ncerts = 2};
    conf = (struct conf){.services = &service, .nservices = 1};
    put("a.pem", "cert");
    put("a.key", "key");
    put("pass", "word");
    return mkdir(paths[3], 0700);
}

static int teardown(void **state) {
    make_dir_remove(dir);
    return 0;
}

static uint64_t look(void) {
    uint64_t newest;
    return file_look(&conf, WATCHED_CREDS, &newest);
}

/* Any change since BEFORE is noticed; and nothing more. */
static uint64_t assert_seen(uint64_t before) {
    uint64_t now = look();
    assert_true(now != before);
    assert_true(look() == now);
    return now;
}

static void everything_named_is_seen(void **state) {
    uint64_t s = look();
    assert_true(look() == s);
    put("a.pem", "cert2");
    s = assert_seen(s);
    put("a.key", "key 2");
    s = assert_seen(s);
    put("pass", "word 2");
    s = assert_seen(s);
    put("a.ocsp", "x");
    s = assert_seen(s);
    put("a.pem.ocsp", "x");
    s = assert_seen(s);
    put("dir/b.pem", "x");
    s = assert_seen(s);
    assert_int_equal(rename(in("dir/b.pem"), in("dir/c.pem")), 0);
    s = assert_seen(s);
    assert_int_equal(chmod(in("dir/c.pem"), 0640), 0);
    s = assert_seen(s);
    assert_int_equal(unlink(in("dir/c.pem")), 0);
    s = assert_seen(s);
    assert_int_equal(unlink(in("a.key")), 0);
    s = assert_seen(s);
    assert_int_equal(rmdir(in("dir")), 0);
    (void)assert_seen(s);
}

static void lists_are_looked_at_on_their_own(void **state) {
    const char *deny[] = {"10.0.0.0/8", in("bad.txt")};
    uint64_t newest, creds = look();
    service.access_deny = deny;
    service.naccess_deny = 2;
    put("bad.txt", "10.0.0.1");
    uint64_t before = file_look(&conf, WATCHED_ACCESS, &newest);
    put("bad.txt", "10.0.0.1\n10.0.0.2");
    assert_true(file_look(&conf, WATCHED_ACCESS, &newest) != before);
    assert_true(look() == creds);
    before = file_look(&conf, WATCHED_ACCESS, &newest);
    assert_int_equal(unlink(deny[1]), 0);
    assert_true(file_look(&conf, WATCHED_ACCESS, &newest) != before);
    service.naccess_deny = 0;
}

static void others_are_not(void **state) {
    uint64_t s = look();
    put("b.pem", "x");
    put("dir/.hidden", "x");
    assert_true(look() == s);
}

static void links_are_followed(void **state) {
    assert_int_equal(mkdir(in("v1"), 0700), 0);
    assert_int_equal(mkdir(in("v2"), 0700), 0);
    put("v1/a.pem", "one");
    put("v2/a.pem", "two");
    assert_int_equal(symlink("v1", in("..data")), 0);
    assert_int_equal(unlink(in("a.pem")), 0);
    assert_int_equal(symlink("..data/a.pem", in("a.pem")), 0);
    uint64_t s = look();
    assert_int_equal(symlink("v2", in("..tmp")), 0);
    assert_true(look() == s);
    assert_int_equal(rename(in("..tmp"), in("..data")), 0);
    (void)assert_seen(s);
}

static void the_newest_change_is_reported(void **state) {
    uint64_t newest = 0;
    struct timespec times[2] = {{1000, 0}, {1000, 0}};
    (void)file_look(&conf, WATCHED_CREDS, &newest);
    struct stat st;
    assert_int_equal(stat(in("pass"), &st), 0);
    assert_int_equal(newest, st.st_mtim.tv_sec);
    assert_int_equal(utimensat(AT_FDCWD, in("pass"), times, 0), 0); /* an old file put in place just now */
    (void)file_look(&conf, WATCHED_CREDS, &newest);
    assert_in_range(newest, st.st_mtim.tv_sec, st.st_mtim.tv_sec + 60);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(everything_named_is_seen), CASE(lists_are_looked_at_on_their_own), CASE(others_are_not),
        CASE(links_are_followed),       CASE(the_newest_change_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
