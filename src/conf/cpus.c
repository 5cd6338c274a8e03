/* cgroup v2: cpu.max ("QUOTA PERIOD" or "max PERIOD"); v1: cpu.cfs_quota_us (-1 = none) and cpu.cfs_period_us. */
#include "conf/cpus.h"

#include <sched.h>
#include <string.h>

#include "base/defs.h"
#include "base/text.h"
#include "conf/cgroup.h"

#define QUOTA_MAX_US (UINT64_C(1) << 50)

static uint64_t whole_cpus(const char *quota_us, const char *period_us) {
    uint64_t quota, period;
    if (text_parse_u64(quota_us, QUOTA_MAX_US, &quota) < 0 || text_parse_u64(period_us, QUOTA_MAX_US, &period) < 0 || !period)
        return CGROUP_NO_LIMIT; /* "max", "-1" */
    uint64_t n = (quota + period - 1) / period;
    return MAX(n, UINT64_C(1));
}

/* Of one group. */
static uint64_t quota_of(const char *root, const char *dir) {
    char quota[CGROUP_LINE_MAX], period[CGROUP_LINE_MAX];
    if (cgroup_read(root, dir, "cpu.max", quota)) {
        char *space = strchr(quota, ' ');
        if (!space)
            return CGROUP_NO_LIMIT;
        *space = 0;
        return whole_cpus(quota, space + 1);
    }
    if (cgroup_read(root, dir, "cpu.cfs_quota_us", quota) && cgroup_read(root, dir, "cpu.cfs_period_us", period))
        return whole_cpus(quota, period);
    return CGROUP_NO_LIMIT;
}

uint32_t cpus_quota(const char *root) {
    return (uint32_t)MIN(cgroup_least(root, "cpu", quota_of), (uint64_t)UINT32_MAX);
}

/* A mask larger than cpu_set_t (more than 1024) cannot be requested. */
uint32_t cpus_usable(const char *root) {
    cpu_set_t set;
    uint32_t mask = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : UINT32_MAX;
    uint32_t quota = cpus_quota(root);
    return MAX(1u, MIN(mask, quota));
}
