/* The log file as root opens it for a proxy whose user is nobody, whatever that user puts in the way. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
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

#include "base/defs.h"
#include "supervisor/logfile.h"

#define NOBODY 65534

static char top[64], theirs[96], ours[96], victim[128];
static char path[512], line[1024];

static int begin(void **state) {
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/test_logfile.XXXXXX");
    if (!mkdtemp(top) || chmod(top, 0755) < 0)
        return -1;
    (void)snprintf(theirs, sizeof(theirs), "%s/theirs", top);
    (void)snprintf(ours, sizeof(ours), "%s/ours", top);
    (void)snprintf(victim, sizeof(victim), "%s/victim", ours);
    int fd = -1;
    if (mkdir(theirs, 0755) < 0 || chown(theirs, NOBODY, NOBODY) < 0 || mkdir(ours, 0755) < 0 ||
        (fd = open(victim, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)) < 0)
        return -1;
    line[0] = 0;
    return close(fd);
}

static int end(void **state) {
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -r %s", top);
    return system(command); /* NOLINT(cert-env33-c): a directory of this test */
}

static int open_as(char *user, const char *dir, const char *name) {
    struct conf c = {.user = user, .log_target = LOG_TO_FILE, .log_file = path};
    struct text why = text_of(line, sizeof(line));
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = logfile_open(&c, &why);
    assert_int_equal(geteuid(), 0);
    return fd;
}

static int open_log(const char *dir, const char *name) {
    static char nobody[] = "nobody";
    return open_as(nobody, dir, name);
}

static uid_t owner(const char *of) {
    struct stat st;
    assert_int_equal(lstat(of, &st), 0);
    return st.st_uid;
}

static void assert_opened(int fd, uid_t by) {
    struct stat st;
    if (fd < 0)
        fail_msg("%s", line);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_uid, by);
    assert_int_equal(st.st_mode & 0137, 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}

static void assert_refused(int fd) {
    struct stat st;
    assert_int_equal(fd, -1);
    assert_non_null(strstr(line, path));
    assert_int_equal(lstat(victim, &st), 0);
    assert_true(st.st_uid == 0 && st.st_size == 0 && (st.st_mode & 07777) == 0600);
}

static void made_and_found_in_both_directories(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        assert_opened(open_log(theirs, "log"), NOBODY);
        assert_opened(open_log(ours, "log"), NOBODY);
    }
    assert_opened(open_as(NULL, ours, "roots"), 0);
}

/* logrotate with "create 0640 root root". */
static void what_root_has_made_keeps_its_owner(void **state) {
    (void)state;
    char name[128];
    (void)snprintf(name, sizeof(name), "%s/log", ours);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    close(fd);
    assert_opened(open_log(ours, "log"), 0);
}

static void neighbors_in_a_directory_of_others(void **state) {
    (void)state;
    char name[160], elsewhere[160];
    (void)snprintf(name, sizeof(name), "%s/log", theirs);
    (void)snprintf(elsewhere, sizeof(elsewhere), "%s/new", ours);

    assert_int_equal(symlink(victim, name), 0);
    assert_refused(open_log(theirs, "log"));
    assert_non_null(strstr(line, "symbolic link"));
    assert_int_equal(unlink(name), 0);

    assert_int_equal(symlink(elsewhere, name), 0); /* that is not there: nothing is made */
    assert_refused(open_log(theirs, "log"));
    assert_int_equal(access(elsewhere, F_OK), -1);
    assert_int_equal(unlink(name), 0);

    assert_int_equal(link(victim, name), 0);
    assert_refused(open_log(theirs, "log"));
    assert_int_equal(owner(victim), 0);
    assert_int_equal(unlink(name), 0);

    assert_int_equal(mkfifo(name, 0666), 0);
    assert_int_equal(chown(name, NOBODY, NOBODY), 0);
    assert_refused(open_log(theirs, "log"));
    assert_non_null(strstr(line, "regular file"));
    int reader = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_refused(open_log(theirs, "log"));
    assert_non_null(strstr(line, "regular file"));
    close(reader);
    assert_int_equal(unlink(name), 0);

    assert_int_equal(mkdir(name, 0777), 0);
    assert_refused(open_log(theirs, "log"));
    assert_int_equal(rmdir(name), 0);
}

/* A directory on the way, or a link to one, that others have made. */
static void steps_of_others(void **state) {
    (void)state;
    char name[160];
    (void)snprintf(name, sizeof(name), "%s/sub", theirs);
    assert_int_equal(symlink(ours, name), 0);
    assert_refused(open_log(name, "victim"));
    assert_refused(open_log(name, "new"));
    assert_refused(open_as(NULL, name, "victim"));
    assert_int_equal(unlink(name), 0);

    assert_int_equal(mkdir(name, 0755), 0); /* root's own, but below one of theirs: it may be moved away */
    assert_refused(open_log(name, "log"));
    assert_int_equal(rmdir(name), 0);
}

static void directories_that_others_may_write(void **state) {
    (void)state;
    static const mode_t modes[] = {0777, 0775};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        char name[160], log[192];
        (void)snprintf(name, sizeof(name), "%s/open", top);
        (void)snprintf(log, sizeof(log), "%s/log", name);
        assert_int_equal(mkdir(name, 0755), 0);
        assert_int_equal(chmod(name, modes[i]), 0);
        assert_opened(open_as(NULL, name, "log"), 0); /* root stays root: made by it, or found to be root's */
        assert_int_equal(unlink(log), 0);
        assert_int_equal(symlink(victim, log), 0);
        assert_refused(open_log(name, "log"));
        assert_refused(open_as(NULL, name, "log"));
        assert_int_equal(unlink(log), 0);
        assert_refused(open_as(NULL, theirs, "log"));
        assert_int_equal(rmdir(name), 0);
    }
}

/* As /tmp: root that stays root uses only what is its own there. */
static void a_sticky_dir(void **state) {
    (void)state;
    char log[160];
    assert_int_equal(chmod(top, 01777), 0);
    (void)snprintf(log, sizeof(log), "%s/log", top);
    for (unsigned i = 0; i < 2; i++)
        assert_opened(open_as(NULL, top, "log"), 0);
    assert_refused(open_log(top, "log")); /* for nobody it is root's */
    assert_int_equal(chown(log, NOBODY, NOBODY), 0);
    assert_refused(open_as(NULL, top, "log"));
    assert_opened(open_log(top, "log"), NOBODY);
    assert_int_equal(unlink(log), 0);
    assert_int_equal(link(victim, log), 0);
    assert_refused(open_as(NULL, top, "log"));
    assert_int_equal(unlink(log), 0);
    assert_int_equal(symlink(victim, log), 0);
    assert_refused(open_as(NULL, top, "log"));
    assert_refused(open_log(top, "log"));
}

/* Where only root could make them, links are trusted. */
static void links_of_roots_are_followed(void **state) {
    (void)state;
    char name[160], loop[160];
    (void)snprintf(name, sizeof(name), "%s/logs", top);
    assert_int_equal(symlink("./ours/../ours", name), 0);
    assert_opened(open_log(name, "log"), NOBODY);
    assert_int_equal(unlink(name), 0);
    (void)snprintf(name, sizeof(name), "%s/full", ours);
    assert_int_equal(symlink("/dev/full", name), 0);
    int fd = open_log(ours, "full");
    assert_true(fd >= 0);
    close(fd);
    (void)snprintf(loop, sizeof(loop), "%s/loop", ours);
    assert_int_equal(symlink("loop", loop), 0);
    assert_refused(open_log(ours, "loop"));
    (void)snprintf(name, sizeof(name), "%s/out", ours); /* and end in a directory of others */
    (void)snprintf(loop, sizeof(loop), "%s/inner", theirs);
    assert_int_equal(symlink(loop, name), 0);
    assert_int_equal(symlink(victim, loop), 0);
    assert_refused(open_log(ours, "out"));
}

static void what_is_not_there_is_reported(void **state) {
    (void)state;
    char name[160];
    (void)snprintf(name, sizeof(name), "%s/no/such", ours);
    assert_refused(open_log(name, "log"));
    assert_refused(open_as(NULL, name, "log"));
    assert_refused(open_log(ours, ""));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(made_and_found_in_both_directories), TEST(what_root_has_made_keeps_its_owner),
        TEST(neighbors_in_a_directory_of_others), TEST(steps_of_others),
        TEST(directories_that_others_may_write),  TEST(a_sticky_dir),
        TEST(links_of_roots_are_followed),        TEST(what_is_not_there_is_reported),
    };
    if (geteuid() != 0)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
