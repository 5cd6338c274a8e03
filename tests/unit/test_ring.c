/* The ring in shared memory: order, drops, two processes, and a memory full of lies. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "death.h"
#include "shm/ring.h"

#define SIZE 65536u
#define HEAD 4096u /* bytes before the data */

static int fail_seals;
static int fail_truncate;

int __real_ftruncate64(int fd, off_t n);
int __wrap_ftruncate64(int fd, off_t n);
int __real_fcntl64(int fd, int cmd, unsigned long arg);
int __wrap_fcntl64(int fd, int cmd, unsigned long arg);

int __wrap_ftruncate64(int fd, off_t n) {
    if (!fail_truncate)
        return __real_ftruncate64(fd, n);
    errno = ENOSPC;
    return -1;
}

int __wrap_fcntl64(int fd, int cmd, unsigned long arg) {
    if (!fail_seals || cmd != F_ADD_SEALS)
        return __real_fcntl64(fd, cmd, arg);
    errno = EPERM;
    return -1;
}

static int ring_fd;
static struct ring writer, reader;
static uint8_t got[RING_RECORD_MAX];
static uint8_t record[RING_RECORD_MAX + 1];

static int setup(void **state) {
    fail_seals = fail_truncate = 0;
    for (size_t i = 0; i < sizeof(record); i++)
        record[i] = (uint8_t)(i * 11 >> 2);
    if (ring_create(SIZE, &ring_fd) != 0 || ring_map(ring_fd, &writer) != 0 || ring_map(ring_fd, &reader) != 0)
        return -1;
    return 0;
}

static int teardown(void **state) {
    ring_unmap(&writer);
    ring_unmap(&reader);
    close(ring_fd);
    return 0;
}

static void records_come_out_in_order(void **state) {
    assert_int_equal(ring_get(&reader, got), 0);
    assert_true(ring_put(&writer, span_str("one")));
    assert_true(ring_put(&writer, span_str("2")));
    assert_int_equal(ring_get(&reader, got), 3);
    assert_memory_equal(got, "one", 3);
    assert_int_equal(ring_get(&reader, got), 1);
    assert_memory_equal(got, "2", 1);
    assert_int_equal(ring_get(&reader, got), 0);
    assert_int_equal(ring_dropped(&reader), 0);
}

static void records_of_every_size_go_around_the_end(void **state) {
    for (size_t n = 1; n <= RING_RECORD_MAX; n += n < 300 ? 1 : 61) {
        record[0] = (uint8_t)n;
        assert_true(ring_put(&writer, span_of(record, n)));
        assert_int_equal(ring_get(&reader, got), n);
        assert_memory_equal(got, record, n);
    }
    assert_true(ring_put(&writer, span_of(record, RING_RECORD_MAX)));
    assert_int_equal(ring_get(&reader, got), RING_RECORD_MAX);
}

static void what_does_not_fit_is_dropped_and_counted(void **state) {
    unsigned kept = 0;
    while (ring_put(&writer, span_of(record, 1000)))
        kept++;
    assert_int_equal(kept, SIZE / 1008);
    assert_false(ring_put(&writer, span_of(record, 1000)));
    assert_int_equal(ring_dropped(&reader), 2);
    assert_int_equal(ring_dropped(&reader), 0);
    for (unsigned i = 0; i < kept; i++)
        assert_int_equal(ring_get(&reader, got), 1000);
    assert_int_equal(ring_get(&reader, got), 0);
    assert_true(ring_put(&writer, span_of(record, 1000)));
}

static void a_ring_can_be_filled_to_the_last_byte(void **state) {
    for (unsigned i = 0; i < SIZE / 8; i++)
        assert_true(ring_put(&writer, span_str("abcd")));
    assert_false(ring_put(&writer, span_str("x")));
    for (unsigned i = 0; i < SIZE / 8; i++)
        assert_int_equal(ring_get(&reader, got), 4);
    assert_int_equal(ring_get(&reader, got), 0);
}

static void contents_survive_the_restart_of_both_sides(void **state) {
    assert_true(ring_put(&writer, span_str("before")));
    ring_unmap(&writer);
    ring_unmap(&reader);
    assert_null(reader.shared);
    ring_unmap(&reader); /* harmless */
    assert_int_equal(ring_map(ring_fd, &writer), 0);
    assert_int_equal(ring_map(ring_fd, &reader), 0);
    assert_true(ring_put(&writer, span_str("after")));
    assert_int_equal(ring_get(&reader, got), 6);
    assert_int_equal(ring_get(&reader, got), 5);
    assert_memory_equal(got, "after", 5);
}

static void sizes_are_checked(void **state) {
    static const off_t sizes[] = {0, 1, HEAD, HEAD + 4096, HEAD + 65535, HEAD + 65537, HEAD + 98304, HEAD + 128 * 1024 * 1024};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct ring r;
        int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
        assert_int_equal(ring_map(fd, &r), ERR_FORMAT);
        close(fd);
    }
}

static void other_descriptors_are_no_rings(void **state) {
    struct ring r;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(ring_map(fds[0], &r), ERR_FORMAT);
    assert_int_equal(ring_map(-1, &r), ERR_SYSTEM);
    assert_int_equal(errno, EBADF);
    close(fds[0]);
    close(fds[1]);

    int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(fd, HEAD + SIZE), 0);
    assert_int_equal(ring_map(fd, &r), ERR_FORMAT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(ring_map(fd, &r), ERR_FORMAT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(ring_map(fd, &r), ERR_FORMAT); /* right size and seals, but no mark */
    close(fd);
}

static void the_size_is_sealed(void **state) {
    assert_int_equal(ftruncate(ring_fd, 0), -1);
    assert_int_equal(ftruncate(ring_fd, HEAD + 2 * SIZE), -1);
    assert_int_equal(fcntl(ring_fd, F_ADD_SEALS, F_SEAL_WRITE), -1); /* nobody can stop the writer either */
    assert_true(fcntl(ring_fd, F_GETFD) & FD_CLOEXEC);
}

static void failures_of_creating(void **state) {
    int fd = -7;
    fail_truncate = 1;
    assert_int_equal(ring_create(SIZE, &fd), ERR_SYSTEM);
    assert_int_equal(errno, ENOSPC);
    fail_truncate = 0;
    fail_seals = 1;
    assert_int_equal(ring_create(SIZE, &fd), ERR_SYSTEM);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fd, -7);
}

/* Calls of ring_get() until it is empty; the number of records is bounded by what the ring can hold. */
static void drain(void) {
    for (unsigned i = 0; i <= SIZE / 8 + 1; i++) {
        int n = ring_get(&reader, got);
        assert_true(n == ERR_FORMAT || (n >= 0 && n <= RING_RECORD_MAX));
        if (n == 0)
            return;
    }
    fail();
}

/* A reader's position ahead of the writer's must not let the writer run over what was not read. */
static void a_writer_believes_no_impossible_reader(void **state) {
    uint8_t *tail = (uint8_t *)reader.shared + 128;
    uint64_t ahead = 1 << 20;
    assert_true(ring_put(&writer, span_of(record, 100)));
    memcpy(tail, &ahead, sizeof(ahead));
    assert_false(ring_put(&writer, span_of(record, 100)));
    assert_int_equal(ring_dropped(&reader), 1);
    assert_int_equal(ring_get(&reader, got), ERR_FORMAT);
    assert_true(ring_put(&writer, span_str("alive")));
    assert_int_equal(ring_get(&reader, got), 5);
}

/* Every word of the first page in turn is set to every lie; afterwards the ring works again. */
static void lies_in_the_head_are_survived(void **state) {
    static const uint64_t lies[] = {0, 1, 7, 8, SIZE - 1, SIZE, SIZE + 8, UINT64_MAX, UINT64_MAX - 7, UINT64_C(1) << 63, 12345};
    uint8_t *shared = (uint8_t *)reader.shared;
    for (size_t at = 8; at + 8 <= HEAD; at += at < 256 ? 8 : 512) {
        for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
            assert_true(ring_put(&writer, span_of(record, 100)));
            memcpy(shared + at, &lies[i], sizeof(lies[i]));
            (void)ring_put(&writer, span_of(record, 100)); /* may find no room */
            drain();
            assert_true(ring_put(&writer, span_str("alive")));
            assert_int_equal(ring_get(&reader, got), 5);
            assert_memory_equal(got, "alive", 5);
            drain();
        }
    }
}

static void lies_in_the_data_are_survived(void **state) {
    static const uint32_t lies[] = {0, RING_RECORD_MAX + 1, 200, UINT32_MAX, UINT32_MAX - 3, 1u << 31};
    uint8_t *data = (uint8_t *)reader.shared + HEAD;
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        ring_unmap(&writer);
        ring_unmap(&reader);
        close(ring_fd);
        assert_int_equal(setup(NULL), 0);
        data = (uint8_t *)reader.shared + HEAD;
        assert_true(ring_put(&writer, span_of(record, 100)));
        memcpy(data, &lies[i], sizeof(lies[i]));
        assert_int_equal(ring_get(&reader, got), ERR_FORMAT);
        assert_int_equal(ring_get(&reader, got), 0);
        assert_true(ring_put(&writer, span_str("alive")));
        assert_int_equal(ring_get(&reader, got), 5);
    }
}

/* A child writes numbered records; what it dropped and what came add up, and nothing is torn. */
static void two_processes(void **state) {
    const uint32_t total = 100000;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (uint32_t i = 1; i <= total; i++) {
            uint32_t words[64];
            for (size_t k = 0; k < ARRAY_LEN(words); k++)
                words[k] = i;
            while (!ring_put(&writer, span_of(words, 4 + i % 60 * 4)) && i == total)
                sched_yield(); /* the last one must come through */
        }
        _exit(0);
    }
    uint32_t last = 0, count = 0;
    while (last != total) {
        int n = ring_get(&reader, got);
        if (n == 0) {
            sched_yield();
            continue;
        }
        uint32_t words[64];
        assert_true(n > 0 && n <= (int)sizeof(words));
        memcpy(words, got, (size_t)n);
        assert_true(words[0] > last);
        assert_int_equal(n, 4 + words[0] % 60 * 4);
        for (int k = 0; k < n / 4; k++)
            assert_int_equal(words[k], words[0]);
        last = words[0];
        count++;
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_true(count + ring_dropped(&reader) >= total);
}

static void put_too_much(void *ctx) {
    (void)ring_put(ctx, span_of(record, RING_RECORD_MAX + 1));
}

static void put_nothing(void *ctx) {
    (void)ring_put(ctx, span_of(record, 0));
}

static void create_odd_size(void *ctx) {
    int fd;
    assert_int_equal(ring_create(70000, &fd), 0);
}

static void breaches_abort(void **state) {
    assert_true(aborts(put_too_much, &writer));
    assert_true(aborts(put_nothing, &writer));
    assert_true(aborts(create_odd_size, NULL));
}

#define ROW(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        ROW(records_come_out_in_order),
        ROW(records_of_every_size_go_around_the_end),
        ROW(what_does_not_fit_is_dropped_and_counted),
        ROW(a_ring_can_be_filled_to_the_last_byte),
        ROW(contents_survive_the_restart_of_both_sides),
        ROW(sizes_are_checked),
        ROW(other_descriptors_are_no_rings),
        ROW(the_size_is_sealed),
        ROW(failures_of_creating),
        ROW(a_writer_believes_no_impossible_reader),
        ROW(lies_in_the_head_are_survived),
        ROW(lies_in_the_data_are_survived),
        ROW(two_processes),
        ROW(breaches_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
