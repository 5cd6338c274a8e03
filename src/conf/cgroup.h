/* The limits of the cgroups that this process is in: its own group's, and those of all parents that it can see. Versions 1
 * and 2. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CGROUP_NO_LIMIT UINT64_MAX
#define CGROUP_LINE_MAX 64

/* The limit of the group whose files are in ROOT and DIR; CGROUP_NO_LIMIT where there is none. */
typedef uint64_t cgroup_limit(const char *root, const char *dir);

/*
 * The least of those limits, in the hierarchy of v2 and in that of v1 with CONTROLLER. ROOT is a prefix of /proc and of the
 * mount points that are read there: "" but in tests. What cannot be read is no limit.
 */
uint64_t cgroup_least(const char *root, const char *controller, cgroup_limit *limit_of);

/* The first line of FILE of a group, without its end; false when there is none. */
bool cgroup_read(const char *root, const char *dir, const char *file, char to[static CGROUP_LINE_MAX]);
