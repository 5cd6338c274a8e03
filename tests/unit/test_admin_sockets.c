/* The supervisor's admin sockets: who may have which path, what is replaced, what is removed, and what a reload keeps. */
#include "supervisor/admin_sockets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/control.h"

static char dir[64], path[CONF_SOCKET_PATH_MAX + 1], reason[512];
static struct text why;

static int make_dir(void **state) {
    (void)state;
    struct text t = text_of(path, sizeof(path));
    (void)snprintf(dir, sizeof(dir), "/tmp/tls-off-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    text_addf(&t, "%s/admin.sock", dir);
    why = text_of(reason, sizeof(reason));
    return 0;
}

static int remove_dir(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static struct conf_admin wanted(void) {
    return (struct conf_admin){.socket = path, .socket_given = true, .rights = {0600, UINT32_MAX, UINT32_MAX}};
}

static bool answers(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    memcpy(sun.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0;
    close(fd);
    return ok;
}

static void test_opened_with_its_mode_and_gone_at_the_end(void **state) {
    struct admin_sockets a;
    struct conf_admin c = wanted();
    struct stat st;
    (void)state;
    c.rights.mode = 0660;
    admin_sockets_init(&a);
    assert_true(admin_sockets_open(&a, &c, &why));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_true(answers());
    admin_sockets_close(&a);
    assert_int_equal(stat(path, &st), -1);
}

static void test_a_stale_file_is_replaced(void **state) {
    struct admin_sockets dead, a;
    struct conf_admin c = wanted();
    (void)state;
    admin_sockets_init(&dead);
    admin_sockets_init(&a);
    assert_true(admin_sockets_open(&dead, &c, &why));
    close(dead.unix_fd); /* as if killed: the file stays */
    assert_false(answers());
    assert_true(admin_sockets_open(&a, &c, &why));
    assert_true(answers());
    admin_sockets_close(&a);
}

static void test_a_socket_that_answers_is_not(void **state) {
    struct admin_sockets first, second;
    struct conf_admin c = wanted();
    (void)state;
    admin_sockets_init(&first);
    admin_sockets_init(&second);
    assert_true(admin_sockets_open(&first, &c, &why));
    assert_false(admin_sockets_open(&second, &c, &why));
    assert_non_null(strstr(reason, "another process serves there"));
    c.socket_given = false; /* at the default path: without it, but with a warning */
    why = text_of(reason, sizeof(reason));
    assert_true(admin_sockets_open(&second, &c, &why));
    assert_int_equal(second.unix_fd, -1);
    assert_non_null(strstr(reason, "another process serves there"));
    admin_sockets_close(&second);
    assert_true(answers());
    admin_sockets_close(&first);
}

static void test_what_is_no_socket_is_never_touched(void **state) {
    struct admin_sockets a;
    struct conf_admin c = wanted();
    struct stat st;
    (void)state;
    admin_sockets_init(&a);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    (void)fclose(f);
    assert_false(admin_sockets_open(&a, &c, &why));
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("elsewhere", path), 0);
    assert_false(admin_sockets_open(&a, &c, &why));
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void test_a_successors_file_is_not_taken_away(void **state) {
    struct admin_sockets a, b;
    struct conf_admin c = wanted();
    (void)state;
    admin_sockets_init(&a);
    admin_sockets_init(&b);
    assert_true(admin_sockets_open(&a, &c, &why));
    assert_int_equal(unlink(path), 0); /* the file was removed, and another instance made its own */
    assert_true(admin_sockets_open(&b, &c, &why));
    admin_sockets_close(&a);
    assert_true(answers());
    admin_sockets_close(&b);
}

static void test_a_reload_keeps_what_stays(void **state) {
    struct admin_sockets a;
    struct conf_admin c = wanted(), new = wanted();
    struct stat st;
    (void)state;
    assert_int_equal(addr_parse("127.0.0.1:0", &c.listen), 0);
    new.listen = c.listen;
    admin_sockets_init(&a);
    assert_true(admin_sockets_open(&a, &c, &why));
    int unix_fd = a.unix_fd, tcp_fd = a.tcp_fd;
    new.rights.mode = 0660;
    assert_true(admin_sockets_change(&a, &new, &why));
    assert_int_equal(a.unix_fd, unix_fd);
    assert_int_equal(a.tcp_fd, tcp_fd);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);

    new.socket = "/no-such-directory/below/x.sock"; /* a path that is not available changes nothing */
    assert_false(admin_sockets_change(&a, &new, &why));
    assert_true(answers());

    new.socket = NULL;
    new.listen.family = AF_UNSPEC;
    assert_true(admin_sockets_change(&a, &new, &why));
    assert_int_equal(a.unix_fd, -1);
    assert_int_equal(a.tcp_fd, -1);
    assert_int_equal(stat(path, &st), -1);
    admin_sockets_close(&a);
}

static void test_a_reload_makes_a_removed_file_again(void **state) {
    struct admin_sockets a;
    struct conf_admin c = wanted();
    (void)state;
    admin_sockets_init(&a);
    assert_true(admin_sockets_open(&a, &c, &why));
    int before = a.unix_fd;
    assert_int_equal(unlink(path), 0);
    assert_true(admin_sockets_change(&a, &c, &why));
    assert_int_not_equal(a.unix_fd, before);
    assert_true(answers());
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0); /* with its directory */
    assert_true(admin_sockets_change(&a, &c, &why));
    assert_true(answers());
    admin_sockets_close(&a);
}

static void test_given_to_an_observer(void **state) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct admin_sockets a;
    struct conf_admin c = wanted();
    struct ipc_msg m;
    enum admin_kind kind;
    int pair[2], err = 0;
    (void)state;
    assert_int_equal(addr_parse("127.0.0.1:0", &c.listen), 0);
    admin_sockets_init(&a);
    assert_true(admin_sockets_open(&a, &c, &why));
    assert_int_equal(ipc_pair(0, pair), 0);
    assert_int_equal(admin_sockets_give(&a, pair[0]), 0);
    for (enum admin_kind want = ADMIN_UNIX; want <= ADMIN_TCP; want++) {
        assert_int_equal(ipc_recv(pair[1], scratch, sizeof(scratch), control_to_child, &m, &err), STEP_DONE);
        assert_int_equal(control_read_admin(&m, &kind), 0);
        assert_int_equal(kind, want);
        ipc_msg_close(&m);
    }
    close(pair[0]);
    close(pair[1]);
    admin_sockets_close(&a);
}

/* ---- another file in its place ---- */

static char victim[96];
static void (*after_bind)(void); /* as anyone could who may write in the directory */

int __real_bind(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_bind(int fd, const struct sockaddr *to, socklen_t len) {
    int result = __real_bind(fd, to, len);
    if (result == 0 && to->sa_family == AF_UNIX && after_bind)
        after_bind();
    return result;
}

static void make_victim(void) {
    (void)snprintf(victim, sizeof(victim), "%s.victim", dir);
    FILE *f = fopen(victim, "we");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(victim, 0600), 0);
}

static void assert_untouched(void) {
    struct stat st;
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(st.st_uid == geteuid() && st.st_gid == getegid());
    assert_int_equal(unlink(victim), 0);
}

static void put_link(void) {
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(victim, path), 0);
}

static void put_hard_link(void) {
    assert_int_equal(unlink(path), 0);
    assert_int_equal(link(victim, path), 0);
}

static void put_other_socket(void) {
    struct sockaddr_un sun = {.sun_family = AF_UNIX};
    assert_int_equal(unlink(path), 0);
    memcpy(sun.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(__real_bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    close(fd);
    assert_int_equal(chmod(path, 0600), 0);
}

static void test_a_reload_gives_no_rights_to_what_took_its_place(void **state) {
    static void (*const put[])(void) = {put_link, put_hard_link, put_other_socket};
    (void)state;
    for (size_t i = 0; i < sizeof(put) / sizeof(put[0]); i++) {
        struct admin_sockets a;
        struct conf_admin c = wanted();
        struct stat st;
        make_victim();
        admin_sockets_init(&a);
        assert_true(admin_sockets_open(&a, &c, &why));
        put[i]();
        c.rights.mode = 0666;
        c.rights.gid = 12;
        assert_false(admin_sockets_change(&a, &c, &why));
        assert_non_null(strstr(reason, path));
        assert_int_equal(lstat(path, &st), 0);
        assert_true(S_ISLNK(st.st_mode) || (st.st_mode & 07777) == 0600);
        admin_sockets_close(&a);
        assert_int_equal(unlink(path), 0); /* not ours: it is still there */
        assert_untouched();
    }
}

static void test_at_birth_neither(void **state) {
    static void (*const put[])(void) = {put_link, put_hard_link};
    (void)state;
    for (size_t i = 0; i < sizeof(put) / sizeof(put[0]); i++) {
        struct admin_sockets a;
        struct conf_admin c = wanted();
        make_victim();
        c.rights.mode = 0666;
        c.rights.gid = 12;
        admin_sockets_init(&a);
        after_bind = put[i];
        assert_false(admin_sockets_open(&a, &c, &why));
        after_bind = NULL;
        admin_sockets_close(&a);
        assert_untouched();
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_a_reload_gives_no_rights_to_what_took_its_place),
        CASE(test_at_birth_neither),
        CASE(test_opened_with_its_mode_and_gone_at_the_end),
        CASE(test_a_stale_file_is_replaced),
        CASE(test_a_socket_that_answers_is_not),
        CASE(test_what_is_no_socket_is_never_touched),
        CASE(test_a_successors_file_is_not_taken_away),
        CASE(test_a_reload_keeps_what_stays),
        CASE(test_a_reload_makes_a_removed_file_again),
        CASE(test_given_to_an_observer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
