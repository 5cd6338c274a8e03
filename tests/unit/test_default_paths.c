/* Where state and admin socket are when nobody says. */
#include "conf/default_paths.h"

#include <stdlib.h>
#include <unistd.h>

#include "conf_support.h"

static const char *const variables[] = {"STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "HOME"};

static int clear(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        if (unsetenv(variables[i]) != 0)
            return -1;
    return 0;
}

static const char *state_dir(void) {
    static char path[64];
    struct text t = text_of(path, sizeof(path));
    default_state_dir(&t);
    return t.cut ? "cut" : path;
}

static const char *socket_in(const char *dir) {
    static char path[64];
    struct text t = text_of(path, sizeof(path));
    default_admin_socket(&t, dir);
    return t.cut ? "cut" : path;
}

static void the_unit_comes_first(void **state) {
    (void)state;
    setenv("STATE_DIRECTORY", "/var/lib/tls-off-two", 1);
    setenv("RUNTIME_DIRECTORY", "/run/tls-off-two:/run/other", 1);
    setenv("XDG_STATE_HOME", "/xdg", 1);
    setenv("XDG_RUNTIME_DIR", "/xdg", 1);
    assert_string_equal(state_dir(), "/var/lib/tls-off-two");
    assert_string_equal(socket_in("/s"), "/run/tls-off-two/admin.sock");
}

static void what_is_not_absolute_is_none(void **state) {
    (void)state;
    setenv("STATE_DIRECTORY", "relative", 1);
    setenv("RUNTIME_DIRECTORY", "", 1);
    setenv("XDG_STATE_HOME", "relative", 1);
    setenv("XDG_RUNTIME_DIR", "relative", 1);
    setenv("HOME", "/home/x", 1);
    bool root = geteuid() == 0;
    assert_string_equal(state_dir(), root ? "/var/lib/tls-off" : "/home/x/.local/state/tls-off");
    assert_string_equal(socket_in("/s"), root ? "/run/tls-off/admin.sock" : "/s/admin.sock");
}

static void a_path_too_long_is_cut(void **state) {
    (void)state;
    setenv("RUNTIME_DIRECTORY", "/a-directory-with-a-name-that-does-not-fit-into-the-sixty-four-bytes-above", 1);
    assert_string_equal(socket_in("/s"), "cut");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_unit_comes_first, clear),
        cmocka_unit_test_setup(what_is_not_absolute_is_none, clear),
        cmocka_unit_test_setup(a_path_too_long_is_cut, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
