#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <openssl/ssl.h>

#include "base/defs.h"
#include "base/err.h"
#include "cert_shop.h"
#include "make_cert.h"
#include "tls/selfsigned.h"

/* Faults of the calls that write: each counts down, and at 1 it fails once. */
static struct {
    int write_at, fsync_at, rename_at;
    int write_errno;
    size_t most; /* bytes a write takes at the most, 0 = as given */
} faults;

ssize_t __real_write(int fd, const void *from, size_t n);
ssize_t __wrap_write(int fd, const void *from, size_t n);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);

static int fail_now(int *at, int err) {
    if (!*at || --*at > 0)
        return 0;
    errno = err;
    return -1;
}

ssize_t __wrap_write(int fd, const void *from, size_t n) {
    if (fail_now(&faults.write_at, faults.write_errno))
        return -1;
    return __real_write(fd, from, faults.most ? MIN(n, faults.most) : n);
}

int __wrap_fsync(int fd) {
    return fail_now(&faults.fsync_at, EIO) ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to) {
    return fail_now(&faults.rename_at, EACCES) ? -1 : __real_rename(from, to);
}

static char *dir;
static char why_bytes[2048];
static struct text why;

static int setup(void **state) {
    memset(&faults, 0, sizeof(faults));
    dir = make_dir();
    why = text_of(why_bytes, sizeof(why_bytes));
    return 0;
}

static int teardown(void **state) {
    memset(&faults, 0, sizeof(faults));
    make_dir_remove(dir);
    return 0;
}

static const char *crt(void) {
    return make_path(dir, "self-signed.crt");
}

static const char *key(void) {
    return make_path(dir, "self-signed.key");
}

/* Whether a call that must go well made new files. */
static bool made(const char *names) {
    int flag = -1;
    int err = selfsigned_ensure(dir, names, 0, &flag, &why);
    if (err)
        print_message("%s\n", why.p);
    assert_int_equal(err, 0);
    assert_true(flag == 0 || flag == 1);
    return flag == 1;
}

static X509 *read_cert(void) {
    BIO *bio = BIO_new_file(crt(), "r");
    assert_non_null(bio);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    assert_non_null(x);
    BIO_free(bio);
    return x;
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static int files_in_dir(void) {
    DIR *d = opendir(dir);
    assert_non_null(d);
    int n = 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void makes_once(void **state) {
    assert_true(made(""));
    assert_int_equal(mode_of(key()), 0600);
    assert_int_equal(files_in_dir(), 2);
    assert_false(made(""));
    assert_false(made(""));
}

static void certs_take_it(void **state) {
    assert_true(made(""));
    struct shop *c = shop_new();
    assert_non_null(c);
    assert_int_equal(shop_add_files(c, crt(), key(), &why), 0);
    assert_int_equal(shop_lookup(c, "localhost"), CREDS_EXACT);
    shop_free(c);
}

/* What a client finds who trusts this certificate and nothing else. */
static void a_client_can_verify_it(void **state) {
    assert_true(made("app.example.org, 192.0.2.7"));
    static const struct {
        const char *host;
        bool is_ip, good;
    } cases[] = {{"localhost", false, true},
                 {"app.example.org", false, true},
                 {"other.example.org", false, false},
                 {"127.0.0.1", true, true},
                 {"::1", true, true},
                 {"192.0.2.7", true, true},
                 {"192.0.2.8", true, false}};
    X509 *x = read_cert();
    X509_STORE *store = X509_STORE_new();
    assert_int_equal(X509_STORE_add_cert(store, x), 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        assert_int_equal(X509_STORE_CTX_init(ctx, store, x, NULL), 1);
        assert_int_equal(X509_STORE_CTX_set_default(ctx, "ssl_server"), 1);
        X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
        X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_X509_STRICT);
        assert_int_equal(cases[i].is_ip ? X509_VERIFY_PARAM_set1_ip_asc(param, cases[i].host)
                                        : X509_VERIFY_PARAM_set1_host(param, cases[i].host, 0),
                         1);
        int ok = X509_verify_cert(ctx);
        if ((ok == 1) != cases[i].good)
            print_message("%s: %s\n", cases[i].host, X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)));
        assert_int_equal(ok == 1, cases[i].good);
        X509_STORE_CTX_free(ctx);
    }
    X509_STORE_free(store);
    X509_free(x);
}

static void lives_a_year(void **state) {
    assert_true(made(""));
    X509 *x = read_cert();
    int days = 0, seconds = 0;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)), 1);
    assert_true(days >= 364 && days <= 365);
    assert_true(X509_cmp_current_time(X509_get0_notBefore(x)) < 0);
    assert_int_equal(EVP_PKEY_get_bits(X509_get0_pubkey(x)), 256);
    X509_free(x);
}

static void each_one_is_new(void **state) {
    assert_true(made(""));
    X509 *a = read_cert();
    assert_int_equal(unlink(crt()), 0);
    assert_true(made(""));
    X509 *b = read_cert();
    assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(a), X509_get0_serialNumber(b)), 0);
    assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b)), 0);
    X509_free(a);
    X509_free(b);
}

static void replaces_what_is_no_good(void **state) {
    assert_true(made(""));
    assert_int_equal(unlink(key()), 0);
    assert_true(made(""));
    make_file(crt(), "junk", 4);
    assert_true(made(""));
    make_file(key(), "", 0);
    assert_true(made(""));
    EVP_PKEY *other = make_key("EC:P-256");
    make_pem(key(), NULL, NULL, NULL, other);
    assert_true(made(""));
    EVP_PKEY_free(other);
    assert_false(made(""));
}

static void renews_in_the_last_week(void **state) {
    static const struct {
        long begins, ends;
        bool renew;
    } cases[] = {{-MAKE_DAY, 8 * MAKE_DAY, false},
                 {-MAKE_DAY, 7 * MAKE_DAY + 600, false},
                 {-MAKE_DAY, 7 * MAKE_DAY - 600, true},
                 {-MAKE_DAY, -60, true},
                 {3600, 90 * MAKE_DAY, true}};
    EVP_PKEY *pkey = make_key("EC:P-256");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const struct make_spec spec = {.cn = "x", .san = "DNS:localhost", .begins_s = cases[i].begins, .ends_s = cases[i].ends};
        X509 *x = make_cert(pkey, &spec);
        make_pem(crt(), x, NULL, NULL, NULL);
        make_pem(key(), NULL, NULL, NULL, pkey);
        X509_free(x);
        assert_int_equal(made(""), cases[i].renew);
    }
    EVP_PKEY_free(pkey);
}

static void new_names_need_a_new_one(void **state) {
    assert_true(made("a.example.org"));
    assert_false(made("a.example.org"));
    assert_false(made(" A.example.org. , "));
    assert_false(made(""));
    assert_false(made("localhost,127.0.0.1,::1"));
    assert_true(made("a.example.org, *.b.example.org,,2001:db8::1,"));
    assert_false(made("2001:db8:0::1,*.b.example.org"));
    assert_true(made("x.b.example.org"));
    assert_true(made("192.0.2.1"));
    assert_true(made("192.0.2.2"));
}

static void bad_names_are_reported(void **state) {
    static const char *const cases[] = {"a b", "-/-", "a.example.org,b..c", "192.0.2.1/24", "DNS:x", "a\nb"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int flag = -1;
        why = text_of(why_bytes, sizeof(why_bytes));
        assert_int_equal(selfsigned_ensure(dir, cases[i], 0, &flag, &why), ERR_FORMAT);
        assert_int_equal(flag, -1);
        assert_non_null(strstr(why.p, "expected DNS names or IP addresses"));
    }
    assert_non_null(strstr(why.p, "\"a\nb\""));
    assert_int_equal(files_in_dir(), 0);
}

static void makes_the_dir(void **state) {
    const char *deep = make_path(dir, "a/b//c");
    int flag = -1;
    assert_int_equal(selfsigned_ensure(deep, "", 0, &flag, &why), 0);
    assert_int_equal(flag, 1);
    assert_int_equal(mode_of(deep), 0700);
    assert_int_equal(mode_of(make_path(dir, "a")), 0700);
    assert_int_equal(mode_of(make_path(dir, "a/b/c/self-signed.key")), 0600);
}

static void closes_an_open_key(void **state) {
    assert_true(made(""));
    assert_int_equal(chmod(key(), 0644), 0);
    assert_false(made(""));
    assert_int_equal(mode_of(key()), 0600);
}

/* A link or a second name in the place of the key: its target keeps its rights, and a new pair takes its place. */
static void what_the_key_leads_to_is_left_alone(void **state) {
    char elsewhere[256];
    struct stat st;
    snprintf(elsewhere, sizeof(elsewhere), "%s", make_path(dir, "elsewhere"));
    for (unsigned hard = 0; hard < 2; hard++) {
        assert_true(made("") || hard);
        assert_int_equal(rename(key(), elsewhere), 0);
        assert_int_equal(chmod(elsewhere, 0644), 0);
        assert_int_equal(hard ? link(elsewhere, key()) : symlink(elsewhere, key()), 0);
        assert_true(made(""));
        assert_int_equal(mode_of(elsewhere), 0644);
        assert_int_equal(lstat(key(), &st), 0);
        assert_true(S_ISREG(st.st_mode) && st.st_nlink == 1 && (st.st_mode & 07777) == 0600);
        assert_int_equal(unlink(elsewhere), 0);
    }
}

static void umask_takes_nothing_away(void **state) {
    mode_t before = umask(0777);
    bool was_made = made("");
    umask(before);
    assert_true(was_made);
    assert_int_equal(mode_of(key()), 0600);
    assert_int_equal(mode_of(crt()), 0644);
}

/* A call that must fail: nothing is reported as made, and no temporary file stays. */
static void assert_fails(const char *where, const char *phrase) {
    int flag = -1;
    why = text_of(why_bytes, sizeof(why_bytes));
    assert_int_equal(selfsigned_ensure(where, "", 0, &flag, &why), ERR_SYSTEM);
    assert_int_equal(flag, -1);
    if (!strstr(why.p, phrase))
        print_message("message: %s\n", why.p);
    assert_non_null(strstr(why.p, phrase));
}

static void impossible_directories_are_reported(void **state) {
    char name[PATH_MAX + 10];
    make_file(make_path(dir, "file"), "x", 1);
    assert_fails(make_path(dir, "file"), "cannot be written: Not a directory");
    assert_fails(make_path(dir, "file/sub"), "cannot make the directory: Not a directory");
    assert_fails("/proc/nothing/here", "cannot make the directory");
    memset(name, 'a', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    int flag = -1;
    assert_int_equal(selfsigned_ensure(name, "", 0, &flag, &why), ERR_FORMAT);
    name[300] = '\0';
    assert_fails(name, "cannot make the directory: File name too long");
}

static void failed_writes_leave_nothing(void **state) {
    faults.write_errno = ENOSPC;
    faults.write_at = 1;
    assert_fails(dir, "self-signed.key: cannot be written: No space left on device");
    assert_int_equal(files_in_dir(), 0);
    faults.fsync_at = 1;
    assert_fails(dir, "self-signed.key: cannot be written: Input/output error");
    assert_int_equal(files_in_dir(), 0);
    faults.rename_at = 1;
    assert_fails(dir, "self-signed.key: cannot be written: Permission denied");
    assert_int_equal(files_in_dir(), 0);
    assert_true(made(""));
}

/* The key is new already when the certificate fails: the next start must see that they do not match. */
static void failure_between_the_two_heals(void **state) {
    assert_true(made(""));
    faults.rename_at = 2;
    int flag = -1;
    assert_int_equal(selfsigned_ensure(dir, "new.example.org", 0, &flag, &why), ERR_SYSTEM);
    assert_non_null(strstr(why.p, "self-signed.crt: cannot be written: Permission denied"));
    assert_int_equal(files_in_dir(), 2);
    assert_true(made(""));
    assert_false(made(""));
}

static void writes_in_pieces(void **state) {
    faults.most = 7;
    faults.write_errno = EINTR;
    faults.write_at = 3;
    assert_true(made(""));
    assert_false(made(""));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(makes_once),
        CASE(certs_take_it),
        CASE(a_client_can_verify_it),
        CASE(lives_a_year),
        CASE(each_one_is_new),
        CASE(replaces_what_is_no_good),
        CASE(renews_in_the_last_week),
        CASE(new_names_need_a_new_one),
        CASE(bad_names_are_reported),
        CASE(makes_the_dir),
        CASE(closes_an_open_key),
        CASE(what_the_key_leads_to_is_left_alone),
        CASE(umask_takes_nothing_away),
        CASE(impossible_directories_are_reported),
        CASE(failed_writes_leave_nothing),
        CASE(failure_between_the_two_heals),
        CASE(writes_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
