/* Files that others can change: what is taken, what is refused and how it is said. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"

static char dir[] = "/tmp/test_file.XXXXXX", path[64], said[512];

static bool cut_reads;

ssize_t __real_read(int fd, void *to, size_t cap);
ssize_t __wrap_read(int fd, void *to, size_t cap);
ssize_t __wrap_read(int fd, void *to, size_t cap) {
    static unsigned calls;
    if (cut_reads && ++calls % 2) {
        errno = EINTR;
        return -1;
    }
    return __real_read(fd, to, cut_reads ? 2 : cap);
}

static void put(const char *bytes) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(bytes, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static struct file a_file(size_t max) {
    return (struct file){.path = path, .expected = "some words", .max = max, .fd = -1};
}

static void assert_said(const char *reason) {
    assert_memory_equal(said, path, strlen(path));
    assert_string_equal(said + strlen(path), reason);
}

static int open_it(struct file *f) {
    struct text why = text_of(said, sizeof(said));
    return file_open(f, &why);
}

static int read_it(const struct file *f, char *to, size_t *ret_len) {
    struct text why = text_of(said, sizeof(said));
    return file_read(f, (uint8_t *)to, ret_len, &why);
}

static void a_file_is_read_whole_up_to_its_bound(void **state) {
    char bytes[6];
    size_t len;
    (void)state;
    struct file f = a_file(5);
    put("hello");
    assert_int_equal(open_it(&f), 0);
    for (int i = 0; i < 2; i++) { /* from its start each time */
        assert_int_equal(file_room(&f), sizeof(bytes));
        assert_int_equal(read_it(&f, bytes, &len), 0);
        assert_int_equal(len, 5);
        assert_memory_equal(bytes, "hello", 5);
    }
    file_close(&f);
    file_close(&f);
    put("hello!");
    assert_int_equal(open_it(&f), ERR_FORMAT);
    assert_said(": the file is longer than 5 bytes, expected some words");
    assert_int_equal(f.fd, -1);
}

static void what_changes_meanwhile_is_refused(void **state) {
    static const char *const after[] = {"hello!", "hello and much more", "hell"};
    char bytes[6];
    size_t len;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(after); i++) {
        struct file f = a_file(100);
        put("hello");
        assert_int_equal(open_it(&f), 0);
        put(after[i]);
        assert_int_equal(read_it(&f, bytes, &len), ERR_FORMAT);
        assert_said(": the file changed while it was read");
        file_close(&f);
    }
}

static void an_empty_file_and_no_memory_are_reported(void **state) {
    char byte;
    size_t len;
    (void)state;
    struct file f = a_file(100);
    put("");
    assert_int_equal(open_it(&f), 0);
    assert_int_equal(read_it(&f, &byte, &len), ERR_FORMAT);
    assert_said(": the file is empty, expected some words");
    assert_int_equal(read_it(&f, NULL, &len), ERR_NOMEM);
    assert_said(": cannot be read: out of memory");
    file_close(&f);
}

/* None of them is waited for. */
static void only_regular_files_are_taken(void **state) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    struct file f = a_file(100);
    (void)state;
    assert_int_equal(open_it(&f), ERR_SYSTEM);
    assert_said(": cannot be opened: No such file or directory");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(open_it(&f), ERR_FORMAT);
    assert_said(": found a directory, expected some words");
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(open_it(&f), ERR_FORMAT);
    assert_said(": found a FIFO, expected some words");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(open_it(&f), ERR_FORMAT);
    assert_said(": found a device, expected some words");
    assert_int_equal(unlink(path), 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(at.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(open_it(&f), ERR_SYSTEM);
    assert_said(": cannot be opened: No such device or address");
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
}

static void what_somebody_else_opened_is_checked_too(void **state) {
    char bytes[16];
    size_t len;
    int fds[2];
    (void)state;
    struct text why = text_of(said, sizeof(said));
    put("hello");
    struct file f = a_file(100);
    f.fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(lseek(f.fd, 3, SEEK_SET), 3);
    assert_int_equal(file_check(&f, &why), 0);
    assert_int_equal(read_it(&f, bytes, &len), 0);
    assert_int_equal(len, 5);
    file_close(&f);
    assert_int_equal(file_check(&f, &why), ERR_SYSTEM);
    assert_said(": cannot be read: Bad file descriptor");
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    f.fd = fds[0];
    why = text_of(said, sizeof(said));
    assert_int_equal(file_check(&f, &why), ERR_FORMAT);
    assert_said(": found a FIFO, expected some words");
    assert_int_equal(close(fds[1]), 0);
    file_close(&f);
}

static void pipes_are_read_to_their_end_or_the_bound(void **state) {
    char bytes[8];
    int fds[2];
    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fd_write_all(fds[1], span_str("hello world")), 0);
    assert_int_equal(fd_read_all(fds[0], bytes, 8), 8);
    assert_int_equal(close(fds[1]), 0);
    assert_int_equal(fd_read_all(fds[0], bytes, 8), 3);
    assert_int_equal(fd_read_all(fds[0], bytes, 8), 0);
    assert_int_equal(close(fds[0]), 0);
    assert_int_equal(fd_read_all(fds[0], bytes, 8), -1);
    assert_int_equal(fd_write_all(fds[1], span_str("x")), ERR_SYSTEM);
}

static void what_a_file_begins_with_is_read_where_there_is_one(void **state) {
    char bytes[8], other[80];
    (void)state;
    assert_int_equal(file_read_own(path, bytes, sizeof(bytes)).len, 0);
    put("hello world");
    struct span s = file_read_own(path, bytes, sizeof(bytes));
    assert_int_equal(s.len, 8);
    assert_memory_equal(s.p, "hello wo", 8);
    put("hello");
    assert_int_equal(file_read_own(path, bytes, sizeof(bytes)).len, 5);
    assert_true(snprintf(other, sizeof(other), "%s.link", path) > 0);
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(file_read_own(other, bytes, sizeof(bytes)).len, 0);
    assert_int_equal(unlink(other), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* not waited for */
    assert_int_equal(file_read_own(path, bytes, sizeof(bytes)).len, 0);
}

/* A read that is interrupted, or gives less than was asked for, is not the end. */
static void short_reads_are_read_on(void **state) {
    char bytes[8];
    (void)state;
    put("hello");
    cut_reads = true;
    struct span s = file_read_own(path, bytes, sizeof(bytes));
    cut_reads = false;
    assert_int_equal(s.len, 5);
    assert_memory_equal(s.p, "hello", 5);
}

static int make_dir(void **state) {
    (void)state;
    return mkdtemp(dir) && snprintf(path, sizeof(path), "%s/x", dir) > 0 ? 0 : -1;
}

static int clear(void **state) {
    (void)state;
    (void)unlink(path);
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    return rmdir(dir);
}

/* As descriptor 0: a socket, which has no name that opens. It stays open; a file that is named is closed again. */
static void input_is_read_as_it_stands(void **state) {
    char bytes[8];
    int ends[2], before = dup(STDIN_FILENO), next = dup(STDIN_FILENO);
    assert_true(before >= 0 && next >= 0);
    assert_int_equal(close(next), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(write(ends[1], "abcdef", 6), 6);
    assert_int_equal(shutdown(ends[1], SHUT_WR), 0);
    assert_int_equal(input_read_all(INPUT_STDIN, bytes, 4), 4);
    assert_memory_equal(bytes, "abcd", 4);
    assert_int_equal(input_read_all(INPUT_STDIN, bytes, sizeof(bytes)), 2);
    assert_memory_equal(bytes, "ef", 2);
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_int_equal(input_read_all("/dev/zero", bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(input_read_all("/nonexistent", bytes, sizeof(bytes)), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(dup2(before, STDIN_FILENO), STDIN_FILENO);
    (void)close(before);
    int after = dup(STDIN_FILENO);
    (void)close(after);
    assert_true(after <= next);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(a_file_is_read_whole_up_to_its_bound, clear),
        cmocka_unit_test_teardown(what_changes_meanwhile_is_refused, clear),
        cmocka_unit_test_teardown(an_empty_file_and_no_memory_are_reported, clear),
        cmocka_unit_test_teardown(only_regular_files_are_taken, clear),
        cmocka_unit_test_teardown(what_somebody_else_opened_is_checked_too, clear),
        cmocka_unit_test_teardown(what_a_file_begins_with_is_read_where_there_is_one, clear),
        cmocka_unit_test_teardown(short_reads_are_read_on, clear),
        cmocka_unit_test(pipes_are_read_to_their_end_or_the_bound),
        cmocka_unit_test(input_is_read_as_it_stands),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
