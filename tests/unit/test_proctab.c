#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "shm/proctab.h"
#include "wire/control.h"

static struct proctab one, got;

static void a_roster_is_read_as_written(void **state) {
    struct proctab_page writer, reader;
    int fd;
    assert_int_equal(proctab_create(&fd, &writer), 0);
    assert_int_equal(proctab_map(fd, &reader), 0);
    assert_true(proctab_read(&reader, &got));
    assert_int_equal(got.pid, 0);
    memset(&one, 0, sizeof(one));
    one.pid = 4711;
    one.processes[PROCTAB_PROCESSES - 1].pid = 9;
    one.commands[3] =
        (struct proctab_command){.id = UINT64_MAX, .kind = COMMAND_RELOAD, .result = PROCTAB_DONE, .text = "well"};
    proctab_write(&writer, &one);
    assert_true(proctab_read(&reader, &got));
    assert_memory_equal(&one, &got, sizeof(one));
    assert_string_equal(proctab_command(&got, UINT64_MAX)->text, "well");
    assert_null(proctab_command(&got, 0));
    proctab_unmap(&reader);
    proctab_unmap(&writer);
    close(fd);
}

static void readers_cannot_write(void **state) {
    struct proctab_page writer;
    int fd;
    assert_int_equal(proctab_create(&fd, &writer), 0);
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    proctab_unmap(&writer);
    close(fd);
}

static void another_layout_is_refused(void **state) {
    struct proctab_page page;
    int fd = memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    assert_int_equal(proctab_map(fd, &page), ERR_FORMAT); /* not sealed */
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE), 0);
    assert_int_equal(proctab_map(fd, &page), ERR_FORMAT); /* of another size */
    close(fd);
}

/* All words of a copy are of one writing: the writer fills every place with the same number. */
static void a_copy_is_never_mixed(void **state) {
    struct proctab_page writer, reader;
    int fd;
    assert_int_equal(proctab_create(&fd, &writer), 0);
    assert_int_equal(proctab_map(fd, &reader), 0);
    pid_t pid = fork();
    if (pid == 0) {
        for (uint64_t n = 1; n <= 20000; n++) {
            one.migrated = one.cut = one.commands[PROCTAB_COMMANDS - 1].id = n;
            proctab_write(&writer, &one);
        }
        _exit(0);
    }
    uint64_t last = 0;
    int status = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (!proctab_read(&reader, &got)) /* a writer at full speed may win every try */
            continue;
        assert_true(got.migrated >= last && got.migrated == got.cut && got.migrated == got.commands[PROCTAB_COMMANDS - 1].id);
        last = got.migrated;
    }
    assert_int_equal(status, 0);
    assert_true(proctab_read(&reader, &got));
    assert_int_equal(got.migrated, 20000);
    proctab_unmap(&reader);
    proctab_unmap(&writer);
    close(fd);
}

static void names_are_bounded(void **state) {
    assert_string_equal(proctab_phase_name(PROCTAB_RELOADING), "reloading");
    assert_string_equal(proctab_phase_name(PROCTAB_PHASES), "unknown");
    assert_string_equal(proctab_state_name(PROCTAB_HUNG), "hung");
    assert_string_equal(proctab_state_name(PROCTAB_STATES), "unknown");
    assert_string_equal(proctab_result_name(PROCTAB_REFUSED), "refused");
    assert_string_equal(proctab_result_name(PROCTAB_RESULTS), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_roster_is_read_as_written), cmocka_unit_test(readers_cannot_write),
        cmocka_unit_test(another_layout_is_refused),   cmocka_unit_test(a_copy_is_never_mixed),
        cmocka_unit_test(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
