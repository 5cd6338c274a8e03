/* Secrets from files: what is taken, what is refused and with which words, and that nothing is ever overwritten. */
#include "conf/ticket_secret.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/sealed.h"

static char dir[] = "/tmp/tls-off-secret-XXXXXX", file[64], said[512];
static int write_fails, fsync_fails;

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n) {
    if (!write_fails)
        return __real_write(fd, p, n > 7 ? 7 : n); /* short counts are to be gone on from */
    errno = ENOSPC;
    return -1;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    if (!fsync_fails)
        return __real_fsync(fd);
    errno = EIO;
    return -1;
}

static int setup(void **state) {
    assert_non_null(mkdtemp(dir));
    (void)snprintf(file, sizeof(file), "%s/secret", dir);
    return 0;
}

static int teardown(void **state) {
    return rmdir(dir);
}

static int remove_file(void **state) {
    write_fails = fsync_fails = 0;
    (void)unlink(file);
    return 0;
}

static void put(size_t n, mode_t mode) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        assert_true(fputc((int)(i * 7 % 256), f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file, mode), 0);
}

/* The refusal's sentence behind the file's name; "" when it was taken. */
static const char *verdict(void) {
    struct text why = text_of(said, sizeof(said));
    int err = ticket_secret_check(file, &why), fd = -1;
    assert_int_equal(err<0, why.len> 0);
    struct text again = text_of(said, sizeof(said));
    const char *files[] = {file};
    assert_int_equal(ticket_secrets_memfd(files, 1, &fd, &again), err); /* both ways judge alike */
    if (fd >= 0)
        assert_int_equal(close(fd), 0);
    return err == 0 ? "" : said + strlen(file) + 2;
}

static void lengths_have_bounds(void **state) {
    put(SECRET_FILE_MIN, 0600);
    assert_string_equal(verdict(), "");
    put(TICKET_SECRET_MAX, 0600);
    assert_string_equal(verdict(), "");
    put(SECRET_FILE_MIN - 1, 0600);
    assert_string_equal(verdict(), "found 31 bytes, expected 32 to 4096 random bytes");
    put(TICKET_SECRET_MAX + 1, 0600);
    assert_string_equal(verdict(), "found 4097 bytes, expected 32 to 4096 random bytes");
    put(0, 0600);
    assert_string_equal(verdict(), "found 0 bytes, expected 32 to 4096 random bytes");
}

static void modes_that_let_others_in_are_refused(void **state) {
    static const mode_t good[] = {0600, 0400, 0440, 0640, 0700}, bad[] = {0644, 0604, 0602, 0601, 0660, 0620, 0666, 0777};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        put(64, good[i]);
        assert_string_equal(verdict(), "");
        assert_int_equal(unlink(file), 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char expected[64];
        put(64, bad[i]);
        (void)snprintf(expected, sizeof(expected), "found mode %03o, expected 600 (or 640)", bad[i]);
        assert_memory_equal(verdict(), expected, strlen(expected));
    }
}

static void a_placeholder_is_no_secret(void **state) {
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    for (int i = 0; i < 64; i++)
        assert_true(fputc('x', f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(file, 0600), 0);
    assert_string_equal(verdict(), "found one byte over and over, expected random bytes");
}

static void what_is_no_file_is_refused(void **state) {
    assert_string_equal(verdict(), "cannot be opened: No such file or directory");
    assert_int_equal(mkdir(file, 0700), 0);
    assert_string_equal(verdict(), "found a directory, expected 32 to 4096 random bytes");
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(mkfifo(file, 0600), 0); /* must not wait for a writer */
    assert_string_equal(verdict(), "found a FIFO, expected 32 to 4096 random bytes");
}

static void without_a_file_it_is_random(void **state) {
    uint8_t a[TICKET_SECRET_NEW + 1], b[TICKET_SECRET_NEW + 1];
    int fds[2];
    struct text why = text_of(said, sizeof(said));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(ticket_secrets_memfd(NULL, 0, &fds[i], &why), 0);
    assert_int_equal(pread(fds[0], a, sizeof(a), 2), TICKET_SECRET_NEW);
    assert_int_equal(pread(fds[1], b, sizeof(b), 2), TICKET_SECRET_NEW);
    assert_memory_not_equal(a, b, TICKET_SECRET_NEW);
    for (size_t i = 0; i < 2; i++) {
        assert_true(fcntl(fds[i], F_GET_SEALS) & F_SEAL_WRITE);
        assert_int_equal(close(fds[i]), 0);
    }
}

static void several_come_in_their_order(void **state) {
    struct span secrets[CONF_SECRETS_MAX], bytes;
    const char *files[] = {file, file, "/nowhere"};
    struct text why = text_of(said, sizeof(said));
    int fd;
    put(100, 0600);
    assert_int_equal(ticket_secrets_memfd(files, 2, &fd, &why), 0);
    assert_int_equal(sealed_map(fd, 1, TICKET_SECRETS_LEN_MAX, &bytes), 0);
    assert_int_equal(ticket_secrets_of(bytes, secrets), 2);
    assert_int_equal(secrets[0].len, 100);
    assert_true(span_eq(secrets[0], secrets[1]));
    assert_int_equal(ticket_secrets_of(span_of(bytes.p, bytes.len - 1), secrets), 0); /* cut */
    assert_int_equal(ticket_secrets_of(span_of(bytes.p, 0), secrets), 0);
    sealed_unmap(bytes);
    assert_int_equal(close(fd), 0);
    assert_int_equal(ticket_secrets_memfd(files, 3, &fd, &why), ERR_SYSTEM); /* all or none */
    assert_non_null(strstr(said, "/nowhere"));
}

static void a_new_one_is_for_its_owner_alone_and_can_be_used(void **state) {
    struct stat st;
    mode_t before = umask(0);
    assert_int_equal(ticket_secret_new(file), 0);
    (void)umask(before);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, TICKET_SECRET_NEW);
    assert_string_equal(verdict(), "");
}

static void an_odd_umask_does_not_matter(void **state) {
    struct stat st;
    mode_t before = umask(0777);
    assert_int_equal(ticket_secret_new(file), 0);
    (void)umask(before);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void nothing_is_overwritten(void **state) {
    uint8_t before[64], after[65];
    put(64, 0600);
    for (size_t i = 0; i < sizeof(before); i++)
        before[i] = (uint8_t)(i * 7);
    assert_int_equal(ticket_secret_new(file), ERR_SYSTEM);
    assert_int_equal(errno, EEXIST);
    FILE *f = fopen(file, "r");
    assert_non_null(f);
    assert_int_equal(fread(after, 1, sizeof(after), f), 64);
    assert_int_equal(fclose(f), 0);
    assert_memory_equal(before, after, 64);

    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("elsewhere", file), 0); /* a link is not followed, wherever it leads */
    assert_int_equal(ticket_secret_new(file), ERR_SYSTEM);
    assert_int_equal(errno, EEXIST);
}

static void half_a_secret_is_not_left_behind(void **state) {
    write_fails = 1;
    assert_int_equal(ticket_secret_new(file), ERR_SYSTEM);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(access(file, F_OK), -1);
    write_fails = 0;
    fsync_fails = 1;
    assert_int_equal(ticket_secret_new(file), ERR_SYSTEM);
    assert_int_equal(errno, EIO);
    assert_int_equal(access(file, F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lengths_have_bounds, remove_file),
        cmocka_unit_test_teardown(modes_that_let_others_in_are_refused, remove_file),
        cmocka_unit_test_teardown(a_placeholder_is_no_secret, remove_file),
        cmocka_unit_test_teardown(what_is_no_file_is_refused, remove_file),
        cmocka_unit_test_teardown(without_a_file_it_is_random, remove_file),
        cmocka_unit_test_teardown(several_come_in_their_order, remove_file),
        cmocka_unit_test_teardown(a_new_one_is_for_its_owner_alone_and_can_be_used, remove_file),
        cmocka_unit_test_teardown(an_odd_umask_does_not_matter, remove_file),
        cmocka_unit_test_teardown(nothing_is_overwritten, remove_file),
        cmocka_unit_test_teardown(half_a_secret_is_not_left_behind, remove_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
