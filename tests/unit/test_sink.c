#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "observer_samples.h"

#include "base/err.h"
#include "observer/sink.h"

/* write() as the tests want it: room for so many bytes, then this error. */
static size_t room = SIZE_MAX;
static int fault;
static unsigned writes;
static size_t at_most = SIZE_MAX;

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n) {
    writes++;
    if (fault == EINTR && writes % 2 == 1) {
        errno = EINTR;
        return -1;
    }
    n = MIN(n, at_most);
    if (room == 0 && n > 0) {
        errno = fault;
        return -1;
    }
    n = MIN(n, room);
    if (room != SIZE_MAX)
        room -= n;
    return __real_write(fd, p, n);
}

static struct sink sink;
static struct fields fields;
static char dir[64], file[96], other[96];
static char content[512 * 1024];
static int stderr_before;

static int begin(void **state) {
    snprintf(dir, sizeof(dir), "/tmp/test_sink.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/log", dir);
    snprintf(other, sizeof(other), "%s/log.1", dir);
    room = at_most = SIZE_MAX;
    fault = 0;
    writes = 0;
    return 0;
}

static int end(void **state) {
    room = at_most = SIZE_MAX;
    fault = 0;
    sink_close(&sink);
    (void)unlink(file);
    (void)unlink(other);
    return rmdir(dir);
}

/* As the supervisor opens it. */
static int new_file(void) {
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    return fd;
}

static int open_file(void) {
    struct conf conf = {.log_target = LOG_TO_FILE, .log_file = file, .log_format = LOG_AS_TEXT};
    char why_memory[256];
    struct text why = text_of(why_memory, sizeof(why_memory));
    int err = sink_open(&sink, &conf, &why);
    if (err == 0)
        sink_use(&sink, new_file());
    return err;
}

static void say(const char *text) {
    struct event e = {.kind = EVENT_LINE, .level = LOG_LEVEL_INFO, .role = ROLE_RELAY, .text = span_str(text)};
    fields_of_event(&e, &sample_names, &fields);
    sink_put(&sink, &fields);
}

static const char *read_file(const char *name) {
    FILE *f = fopen(name, "re");
    assert_non_null(f);
    size_t n = fread(content, 1, sizeof(content) - 1, f);
    content[n] = 0;
    assert_int_equal(fclose(f), 0);
    return content;
}

#define LINE(text) "1970-01-01T00:00:00.000Z INFO relay.0 " text "\n"

static void lines_are_written_together(void **state) {
    assert_int_equal(open_file(), 0);
    say("one");
    say("two");
    assert_int_equal(writes, 0);
    sink_flush(&sink);
    assert_int_equal(writes, 1);
    assert_string_equal(read_file(file), LINE("one") LINE("two"));
    sink_flush(&sink);
    assert_int_equal(writes, 1);
    struct stat st;
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 0137, 0);
}

static void a_large_sweep_is_few_writes(void **state) {
    char text[1000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    assert_int_equal(open_file(), 0);
    for (unsigned i = 0; i < 200; i++)
        say(text);
    sink_flush(&sink);
    assert_true(writes <= 4);
    assert_int_equal(strlen(read_file(file)), 200 * (strlen(LINE("")) + 999));
}

static void an_old_file_is_continued(void **state) {
    assert_int_equal(open_file(), 0);
    say("one");
    sink_close(&sink); /* writes what is kept */
    assert_int_equal(open_file(), 0);
    say("two");
    sink_flush(&sink);
    assert_string_equal(read_file(file), LINE("one") LINE("two"));
}

static void short_writes_and_interrupts_lose_nothing(void **state) {
    assert_int_equal(open_file(), 0);
    at_most = 7;
    fault = EINTR;
    for (unsigned i = 0; i < 100; i++)
        say("x");
    sink_flush(&sink);
    assert_int_equal(sink.lost, 0);
    assert_int_equal(strlen(read_file(file)), 100 * strlen(LINE("x")));
}

static void a_full_disk_counts_lines_and_recovers(void **state) {
    assert_int_equal(open_file(), 0);
    fault = ENOSPC;
    room = strlen(LINE("one")) + 5;
    say("one");
    say("two");
    say("three");
    sink_flush(&sink);
    assert_int_equal(sink.lost, 2);
    assert_int_equal(sink.error, ENOSPC);
    room = 0;
    say("four");
    sink_flush(&sink);
    assert_int_equal(sink.lost, 3);
    room = SIZE_MAX;
    say("five");
    sink_flush(&sink);
    assert_int_equal(sink.lost, 3);
    assert_string_equal(read_file(file), LINE("one") "1970-\n" LINE("five"));
}

static void a_full_disk_does_not_end_at_any_byte(void **state) {
    size_t whole = strlen(LINE("one")) * 2;
    for (size_t n = 0; n <= whole; n++) {
        assert_int_equal(open_file(), 0);
        assert_int_equal(ftruncate(sink.fd, 0), 0);
        fault = ENOSPC;
        room = n;
        say("one");
        say("two");
        sink_flush(&sink);
        room = SIZE_MAX;
        assert_int_equal(sink.lost, 2 - n / (whole / 2));
        say("six");
        sink_flush(&sink);
        const char *last = strstr(read_file(file), LINE("six"));
        assert_non_null(last);
        assert_true(last == content || last[-1] == '\n');
        sink_close(&sink);
    }
}

static void a_closed_pipe_counts(void **state) {
    struct conf conf = {.log_target = LOG_TO_STDERR};
    char memory[64];
    struct text why = text_of(memory, sizeof(memory));
    assert_int_equal(sink_open(&sink, &conf, &why), 0);
    fault = EPIPE;
    room = 0;
    say("one");
    sink_flush(&sink);
    assert_int_equal(sink.lost, 1);
    assert_int_equal(sink.error, EPIPE);
    sink_close(&sink);
    assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0); /* not ours to close */
}

/* A pipe of the starter's as stderr: blocking, as they are. Its other end is returned. */
static int open_pipe(void) {
    int ends[2];
    struct conf conf = {.log_target = LOG_TO_STDERR};
    struct text why = text_of(content, sizeof(content));
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    stderr_before = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    close(ends[1]);
    assert_int_equal(sink_open(&sink, &conf, &why), 0);
    return ends[0];
}

static void close_pipe(int fd) {
    sink_close(&sink);
    assert_int_equal(dup2(stderr_before, STDERR_FILENO), STDERR_FILENO);
    close(stderr_before);
    close(fd);
}

static size_t lines_in(const char *p) {
    size_t n = 0;
    while ((p = strchr(p, '\n'))) {
        n++;
        p++;
    }
    return n;
}

/* What is in a pipe now. */
static size_t drain(int fd, char *to, size_t cap) {
    size_t n = 0;
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    for (ssize_t got; (got = read(fd, to + n, cap - 1 - n)) > 0;)
        n += (size_t)got;
    to[n] = 0;
    return n;
}

static void a_reader_that_stands_still_is_not_waited_for(void **state) {
    static char read_back[512 * 1024];
    int fd = open_pipe();
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* shared with the starter: not ours to change */
    size_t said = 0;
    for (; sink.lost < 10; said++) { /* hangs where a write waits */
        say("a line for somebody who does not read it");
        sink_flush(&sink);
    }
    assert_int_equal(sink.error, EAGAIN);
    size_t n = drain(fd, read_back, sizeof(read_back));
    for (unsigned i = 0; i < 3; i++) { /* what waited in the batch goes out, in order and whole */
        sink_flush(&sink);
        n += drain(fd, read_back + n, sizeof(read_back) - n);
    }
    assert_int_equal(sink.batch_len, 0);
    assert_int_equal(lines_in(read_back) + sink.lost, said);
    assert_null(strstr(read_back, "\n\n"));
    say("again");
    sink_flush(&sink);
    (void)drain(fd, read_back, sizeof(read_back));
    assert_string_equal(read_back, LINE("again"));
    close_pipe(fd);
}

/* Where no descriptor of our own is to be had, and another process fills the pipe as well. */
static void a_shared_socket_is_not_waited_for(void **state) {
    int ends[2];
    struct conf conf = {.log_target = LOG_TO_STDERR};
    struct text why = text_of(content, sizeof(content));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(sink_open(&sink, &conf, &why), 0);
    int before = sink.fd;
    sink.fd = ends[1];
    while (sink.lost < 10) {
        say("a line");
        sink_flush(&sink);
    }
    assert_int_equal(sink.error, EAGAIN);
    sink.fd = before;
    sink.batch_len = 0;
    close(ends[0]);
    close(ends[1]);
}

static void another_file_takes_what_comes_next(void **state) {
    assert_int_equal(open_file(), 0);
    say("one");
    assert_int_equal(rename(file, other), 0);
    int old = sink.fd;
    sink_use(&sink, new_file());
    assert_int_equal(fcntl(old, F_GETFD), -1);
    say("two");
    sink_flush(&sink);
    assert_string_equal(read_file(other), LINE("one"));
    assert_string_equal(read_file(file), LINE("two"));
}

#define SUNK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        SUNK(lines_are_written_together),
        SUNK(a_large_sweep_is_few_writes),
        SUNK(an_old_file_is_continued),
        SUNK(short_writes_and_interrupts_lose_nothing),
        SUNK(a_full_disk_counts_lines_and_recovers),
        SUNK(a_full_disk_does_not_end_at_any_byte),
        SUNK(a_closed_pipe_counts),
        SUNK(a_reader_that_stands_still_is_not_waited_for),
        SUNK(a_shared_socket_is_not_waited_for),
        SUNK(another_file_takes_what_comes_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
