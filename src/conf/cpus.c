/*
 * cgroup v2: cpu.max ("QUOTA PERIOD" or "max PERIOD"); v1: cpu.cfs_quota_us (-1 = none) and cpu.cfs_period_us. Where the
 * hierarchy is mounted, and from which of its groups on, is in /proc/self/mountinfo (proc(5)); which group is ours in
 * /proc/self/cgroup (cgroups(7)).
 */
#include "conf/cpus.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/text.h"

#define LINE_MAX_LEN   8192
#define QUOTA_MAX_US   (UINT64_C(1) << 50)
#define MOUNT_FIELDS   64
#define GROUP_PATH_MAX PATH_MAX

static FILE *open_below(const char *root, const char *path) {
    char name[PATH_MAX];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "%s%s", root, path);
    return t.cut ? NULL : fopen(name, "re");
}

/* The first line of a file, without its end; false when there is none. */
static bool first_line(const char *root, const char *dir, const char *file, char to[static 64]) {
    char name[PATH_MAX];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "%s/%s", dir, file);
    FILE *f = t.cut ? NULL : open_below(root, name);
    bool there = f && fgets(to, 64, f);
    if (f)
        fclose(f);
    if (there)
        to[strcspn(to, "\n")] = 0;
    return there;
}

static uint32_t round_up(const char *quota_us, const char *period_us) {
    uint64_t quota, period;
    if (text_parse_u64(quota_us, QUOTA_MAX_US, &quota) < 0 || text_parse_u64(period_us, QUOTA_MAX_US, &period) < 0 || !period)
        return UINT32_MAX; /* "max", "-1" */
    uint64_t n = (quota + period - 1) / period;
    return n < 1 ? 1 : (uint32_t)MIN(n, (uint64_t)UINT32_MAX);
}

/* Of one group. */
static uint32_t quota_of(const char *root, const char *dir) {
    char quota[64], period[64];
    if (first_line(root, dir, "cpu.max", quota)) {
        char *space = strchr(quota, ' ');
        if (!space)
            return UINT32_MAX;
        *space = 0;
        return round_up(quota, space + 1);
    }
    if (first_line(root, dir, "cpu.cfs_quota_us", quota) && first_line(root, dir, "cpu.cfs_period_us", period))
        return round_up(quota, period);
    return UINT32_MAX;
}

/* Of the group at PATH below MOUNT, and of all its parents there. */
static uint32_t quota_up(const char *root, const char *mount, const char *path) {
    char dir[PATH_MAX];
    struct text t = text_of(dir, sizeof(dir));
    text_addf(&t, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path);
    uint32_t least = UINT32_MAX;
    size_t top = strlen(mount);
    if (t.cut)
        return least;
    for (;;) {
        uint32_t n = quota_of(root, dir);
        least = MIN(least, n);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < top)
            return least;
        *slash = 0;
    }
}

/* One of the words of a list with commas between. */
static bool has_word(const char *list, const char *word) {
    size_t len = strlen(word);
    for (const char *p = list; p; p = strchr(p, ','), p = p ? p + 1 : NULL)
        if (strcspn(p, ",") == len && strncmp(p, word, len) == 0)
            return true;
    return false;
}

/* Our group in the hierarchy of v2, or in that of v1 with the controller "cpu". "NUMBER:CONTROLLERS:PATH" a line. */
static bool own_group(const char *root, bool v2, char ret_path[static GROUP_PATH_MAX]) {
    char line[LINE_MAX_LEN];
    FILE *f = open_below(root, "/proc/self/cgroup");
    bool found = false;
    while (f && !found && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':');
        char *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = 0;
        controllers++;
        struct text t = text_of(ret_path, GROUP_PATH_MAX);
        text_add(&t, path);
        found = v2 ? strncmp(line, "0:", 2) == 0 && !controllers[0] : has_word(controllers, "cpu");
    }
    if (f)
        fclose(f);
    return found;
}

/* Spaces and the like are \ooo in mountinfo. */
static void unescape(char *s) {
    char *to = s;
    for (const char *p = s; *p; to++)
        if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' && p[3] >= '0' && p[3] <= '7') {
            *to = (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
            p += 4;
        } else {
            *to = *p++;
        }
    *to = 0;
}

/* Where the group PATH is below a mount that shows the hierarchy from the group TOP on; "/" when it is not below. */
static const char *path_below(const char *path, const char *top) {
    size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);
    if (strncmp(path, top, len) != 0 || (path[len] && path[len] != '/') || strstr(path, "/.."))
        return "/";
    return path[len] ? path + len : "/";
}

/* "ID PARENT DEVICE TOP MOUNT OPTIONS [TAGS ...] - TYPE SOURCE SUPER-OPTIONS" */
static uint32_t quota_of_mount(const char *root, char *line) {
    char *fields[MOUNT_FIELDS], *rest = NULL, path[GROUP_PATH_MAX];
    size_t n = 0, dash = 0;
    for (char *p = strtok_r(line, " \n", &rest); p && n < MOUNT_FIELDS; p = strtok_r(NULL, " \n", &rest)) {
        if (!dash && n > 5 && strcmp(p, "-") == 0)
            dash = n;
        fields[n++] = p;
    }
    if (!dash || n < dash + 4)
        return UINT32_MAX;
    bool v2 = strcmp(fields[dash + 1], "cgroup2") == 0;
    if (!v2 && (strcmp(fields[dash + 1], "cgroup") != 0 || !has_word(fields[dash + 3], "cpu")))
        return UINT32_MAX;
    if (!own_group(root, v2, path))
        return UINT32_MAX;
    unescape(fields[3]);
    unescape(fields[4]);
    return quota_up(root, fields[4], path_below(path, fields[3]));
}

uint32_t cpus_quota(const char *root) {
    char line[LINE_MAX_LEN];
    FILE *f = open_below(root, "/proc/self/mountinfo");
    uint32_t least = UINT32_MAX;
    while (f && fgets(line, sizeof(line), f)) {
        uint32_t n = quota_of_mount(root, line);
        least = MIN(least, n);
    }
    if (f)
        fclose(f);
    return least;
}

/* A mask larger than cpu_set_t (more than 1024) cannot be requested. */
uint32_t cpus_usable(const char *root) {
    cpu_set_t set;
    uint32_t mask = sched_getaffinity(0, sizeof(set), &set) == 0 ? (uint32_t)CPU_COUNT(&set) : UINT32_MAX;
    uint32_t quota = cpus_quota(root);
    return MAX(1u, MIN(mask, quota));
}
