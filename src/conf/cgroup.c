/*
 * Where a hierarchy is mounted, and from which of its groups on, is in /proc/self/mountinfo (proc(5)); which group is ours in
 * /proc/self/cgroup (cgroups(7)).
 */
#include "conf/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/path.h"
#include "base/text.h"

#define CGROUP_LINE_MAX_LEN 8192
#define MOUNT_FIELDS        64
#define GROUP_PATH_MAX      PATH_MAX

static FILE *open_below(const char *root, const char *path) {
    char name[PATH_MAX];
    struct text t = text_of(name, sizeof(name));
    text_addf(&t, "%s%s", root, path);
    return t.cut ? NULL : fopen(name, "re");
}

bool cgroup_read(const char *root, const char *dir, const char *file, char to[static CGROUP_LINE_MAX]) {
    char name[PATH_MAX];
    FILE *f = *path_join(name, dir, file) ? open_below(root, name) : NULL;
    bool there = f && fgets(to, CGROUP_LINE_MAX, f);
    if (f)
        fclose(f);
    if (there)
        to[strcspn(to, "\n")] = 0;
    return there;
}

/* Of the group at PATH below MOUNT, and of all its parents there. */
static uint64_t least_up(const char *root, const char *mount, const char *path, cgroup_limit *limit_of) {
    char dir[PATH_MAX];
    struct text t = text_of(dir, sizeof(dir));
    text_addf(&t, "%s%s", mount, strcmp(path, "/") == 0 ? "" : path);
    uint64_t least = CGROUP_NO_LIMIT;
    size_t top = strlen(mount);
    if (t.cut)
        return least;
    for (;;) {
        uint64_t n = limit_of(root, dir);
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

/* Our group in the hierarchy of v2, or in that of v1 with CONTROLLER. "NUMBER:CONTROLLERS:PATH" a line. */
static bool own_group(const char *root, const char *controller, bool v2, char ret_path[static GROUP_PATH_MAX]) {
    char line[CGROUP_LINE_MAX_LEN];
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
        found = v2 ? strncmp(line, "0:", 2) == 0 && !controllers[0] : has_word(controllers, controller);
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
static uint64_t least_of_mount(const char *root, const char *controller, cgroup_limit *limit_of, char *line) {
    char *fields[MOUNT_FIELDS], *rest = NULL, path[GROUP_PATH_MAX];
    size_t n = 0, dash = 0;
    for (char *p = strtok_r(line, " \n", &rest); p && n < MOUNT_FIELDS; p = strtok_r(NULL, " \n", &rest)) {
        if (!dash && n > 5 && strcmp(p, "-") == 0)
            dash = n;
        fields[n++] = p;
    }
    if (!dash || n < dash + 4)
        return CGROUP_NO_LIMIT;
    bool v2 = strcmp(fields[dash + 1], "cgroup2") == 0;
    if (!v2 && (strcmp(fields[dash + 1], "cgroup") != 0 || !has_word(fields[dash + 3], controller)))
        return CGROUP_NO_LIMIT;
    if (!own_group(root, controller, v2, path))
        return CGROUP_NO_LIMIT;
    unescape(fields[3]);
    unescape(fields[4]);
    return least_up(root, fields[4], path_below(path, fields[3]), limit_of);
}

uint64_t cgroup_least(const char *root, const char *controller, cgroup_limit *limit_of) {
    char line[CGROUP_LINE_MAX_LEN];
    FILE *f = open_below(root, "/proc/self/mountinfo");
    uint64_t least = CGROUP_NO_LIMIT;
    while (f && fgets(line, sizeof(line), f)) {
        uint64_t n = least_of_mount(root, controller, limit_of, line);
        least = MIN(least, n);
    }
    if (f)
        fclose(f);
    return least;
}
