/* What the loader says of budgets that a cgroup does not allow. */
#include "conf_support.h"

#include "conf/memory.h"

#define SERVICE "[service.a]\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\"]\n"

static uint64_t cgroup_allows = UINT64_MAX;

uint64_t __wrap_memory_limit(const char *root);
uint64_t __wrap_memory_limit(const char *root) {
    assert_string_equal(root, "");
    return cgroup_allows;
}

static void warns_of_memory(const char *keys, const char *line) {
    char toml[512];
    struct diagnostics f;
    diagnostics_init(&f);
    (void)snprintf(toml, sizeof(toml), "%s\n" SERVICE, keys);
    struct conf *c = load_text(toml, strlen(toml), &f);
    assert_non_null(c);
    if (line ? !strstr(f.text, line) : f.text && strstr(f.text, "memory.max"))
        fail_msg("%s gives: %s", keys, f.text);
    conf_free(c);
    diagnostics_fini(&f);
}

static void budgets_above_the_cgroups_limit(void **state) {
    cgroup_allows = 512 << 20;
    warns_of_memory("workers = 2\nbuffer_memory = \"192MiB\"\nhandshake_memory = \"64MiB\"", NULL);
    warns_of_memory(
        "workers = 2\nbuffer_memory = \"193MiB\"\nhandshake_memory = \"64MiB\"",
        "t.toml:2:17: warning: buffer_memory: buffer_memory and handshake_memory of 2 workers are 514 MiB, more than the "
        "512 MiB that the cgroup allows (memory.max)");
    warns_of_memory("workers = 8\nhandshake_memory = \"64MiB\"\nbuffer_memory = \"1MiB\"", "of 8 workers are 520 MiB");
    warns_of_memory("workers = 3\nhandshake_memory = \"512MiB\"", "t.toml:2:20: warning: handshake_memory: ");
    cgroup_allows = UINT64_MAX;
    warns_of_memory("workers = 8\nbuffer_memory = \"64GiB\"", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(budgets_above_the_cgroups_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
