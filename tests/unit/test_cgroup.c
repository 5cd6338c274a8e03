/* CPUs and memory by the limits of cgroups: the files as kernels and container engines lay them out, below a directory of the
 * test's own. */
#include <sched.h>
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
#include "conf/cpus.h"
#include "conf/memory.h"

static char root[64];

static int make_root(void **state) {
    (void)state;
    (void)snprintf(root, sizeof(root), "/tmp/tls-off-test-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command); /* NOLINT(cert-env33-c): a directory of this test */
}

/* With its directories. */
static void put(const char *path, const char *text) {
    char name[512];
    int n = snprintf(name, sizeof(name), "%s%s", root, path);
    assert_in_range(n, 1, sizeof(name) - 1);
    for (char *p = name + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        (void)mkdir(name, 0755);
        *p = '/';
    }
    FILE *f = fopen(name, "we");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void put_v2(const char *group) {
    char line[256];
    (void)snprintf(line, sizeof(line), "0::%s\n", group);
    put("/proc/self/cgroup", line);
    put("/proc/self/mountinfo", "22 1 0:5 / /proc rw shared:3 - proc proc rw\n"
                                "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n");
}

static void assert_quota(const char *text, uint32_t expected) {
    put("/sys/fs/cgroup/a/cpu.max", text);
    if (cpus_quota(root) != expected)
        fail_msg("cpu.max %s gives %u, expected %u", text, cpus_quota(root), expected);
}

static void v2_quota_is_rounded_up_and_at_least_one(void **state) {
    (void)state;
    put_v2("/a");
    assert_quota("100000 100000\n", 1);
    assert_quota("150000 100000\n", 2);
    assert_quota("200000 100000\n", 2);
    assert_quota("200001 100000\n", 3);
    assert_quota("1000 100000\n", 1);
    assert_quota("0 100000\n", 1);
    assert_quota("6400000 100000\n", 64);
    assert_quota("25000 50000\n", 1);
    assert_quota("max 100000\n", UINT32_MAX);
}

static void what_is_not_understood_is_no_quota(void **state) {
    (void)state;
    put_v2("/a");
    static const char *const texts[] = {"", "\n", "100000\n", "100000 0\n", "x 100000\n", "-5 100000\n", "5 x\n"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_quota(texts[i], UINT32_MAX);
}

static void v2_parents_count(void **state) {
    (void)state;
    put_v2("/top.slice/mid/leaf");
    assert_int_equal(cpus_quota(root), UINT32_MAX);
    put("/sys/fs/cgroup/top.slice/mid/leaf/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/top.slice/mid/cpu.max", "max 100000\n");
    assert_int_equal(cpus_quota(root), 8);
    put("/sys/fs/cgroup/top.slice/cpu.max", "300000 100000\n");
    assert_int_equal(cpus_quota(root), 3);
    put("/sys/fs/cgroup/other/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_quota(root), 3);
}

/* As in a container: its group is the root of what it sees. */
static void quota_at_the_root_of_a_namespace(void **state) {
    (void)state;
    put_v2("/");
    put("/sys/fs/cgroup/cpu.max", "250000 100000\n");
    assert_int_equal(cpus_quota(root), 3);
    put("/proc/self/cgroup", "0::/../../elsewhere\n"); /* moved out of its namespace's root */
    assert_int_equal(cpus_quota(root), 3);
}

/* The mount begins at a group: the path in /proc/self/cgroup is from the host's root. */
static void v1_mount_of_a_part(void **state) {
    (void)state;
    put("/proc/self/cgroup", "9:name=systemd:/docker/abc\n4:cpuset:/\n3:cpu,cpuacct:/docker/abc/in\n0::/\n");
    put("/proc/self/mountinfo",
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "33 31 0:30 /docker/abc /sys/fs/cgroup/cpu\\040both ro,nosuid master:11 - cgroup cgroup rw,cpu,cpuacct\n"
        "34 31 0:31 / /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n");
    put("/sys/fs/cgroup/cpu both/in/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu both/in/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_quota(root), UINT32_MAX);
    put("/sys/fs/cgroup/cpu both/cpu.cfs_quota_us", "350000\n");
    put("/sys/fs/cgroup/cpu both/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus_quota(root), 4);
    put("/sys/fs/cgroup/cpu both/in/cpu.cfs_quota_us", "20000\n");
    assert_int_equal(cpus_quota(root), 1);
}

static void the_smaller_of_mask_and_quota(void **state) {
    (void)state;
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    uint32_t mask = (uint32_t)CPU_COUNT(&set);
    put_v2("/a");
    assert_int_equal(cpus_usable(root), mask);
    put("/sys/fs/cgroup/a/cpu.max", "100000000 100000\n");
    assert_int_equal(cpus_usable(root), MIN(mask, 1000));
    put("/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    assert_int_equal(cpus_usable(root), 1);
    assert_int_equal(cpus_usable("/nowhere"), mask);
}

static void the_least_memory_of_all_parents(void **state) {
    (void)state;
    put_v2("/kubepods.slice/pod/container");
    assert_int_equal(memory_limit(root), UINT64_MAX);
    put("/sys/fs/cgroup/kubepods.slice/pod/container/memory.max", "max\n");
    assert_int_equal(memory_limit(root), UINT64_MAX);
    put("/sys/fs/cgroup/kubepods.slice/pod/memory.max", "536870912\n");
    put("/sys/fs/cgroup/kubepods.slice/memory.max", "1073741824\n");
    assert_int_equal(memory_limit(root), 512u << 20);
    assert_int_equal(memory_usable(root), 512u << 20);
    put("/sys/fs/cgroup/kubepods.slice/pod/container/memory.max", "268435456\n");
    assert_int_equal(memory_limit(root), 256u << 20);
    put("/sys/fs/cgroup/kubepods.slice/pod/container/memory.max", "much\n");
    assert_int_equal(memory_limit(root), 512u << 20);
    assert_true(memory_usable("/nowhere") > 0);
}

static void memory_of_v1(void **state) {
    (void)state;
    put("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu:/\n");
    put("/proc/self/mountinfo", "33 31 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    assert_true(memory_usable(root) < UINT64_C(9223372036854771712));
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "104857600\n");
    assert_int_equal(memory_usable(root), 100u << 20);
}

/* Whatever the container may take, however many workers the node's CPUs make. */
static void budgets_of_all_workers_fit(void **state) {
    (void)state;
    static const uint64_t usable_mib[] = {128, 256, 512, 1024, 3000, 65536, 1048576};
    static const uint32_t workers[] = {1, 2, 3, 8, 32};
    for (size_t m = 0; m < ARRAY_LEN(usable_mib); m++)
        for (size_t w = 0; w < ARRAY_LEN(workers); w++) {
            uint64_t usable = usable_mib[m] << 20,
                     each = memory_for_buffers(usable, workers[w]) + memory_for_handshakes(usable, workers[w]);
            if (each * workers[w] > usable / 4 * 3)
                fail_msg("%u workers in %u MiB: %llu bytes each", workers[w], (unsigned)usable_mib[m],
                         (unsigned long long)each);
        }
    assert_int_equal(memory_for_buffers(512 << 20, 2), 128 << 20);
    assert_int_equal(memory_for_handshakes(512 << 20, 2), 64 << 20);
    assert_int_equal(memory_for_buffers(UINT64_C(64) << 30, 8), 256 << 20);
    assert_int_equal(memory_for_handshakes(UINT64_C(64) << 30, 8), 1 << 30);
    assert_int_equal(memory_for_handshakes(UINT64_C(8) << 30, 8), 128 << 20);
    assert_int_equal(memory_for_buffers(1 << 20, 64), 1 << 20); /* the least that works */
    assert_int_equal(memory_for_handshakes(1 << 20, 64), 1 << 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(v2_quota_is_rounded_up_and_at_least_one),
        TEST(what_is_not_understood_is_no_quota),
        TEST(v2_parents_count),
        TEST(quota_at_the_root_of_a_namespace),
        TEST(v1_mount_of_a_part),
        TEST(the_smaller_of_mask_and_quota),
        TEST(the_least_memory_of_all_parents),
        TEST(memory_of_v1),
        TEST(budgets_of_all_workers_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
