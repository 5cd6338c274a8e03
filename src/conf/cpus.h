/*
 * How many CPUs there are to work with: those of the affinity mask, or fewer when a cgroup's quota gives this process no more
 * time than so many have. Containers are limited by quota and see all CPUs of their host in the mask.
 */
#pragma once

#include <stdint.h>

/*
 * At least 1. ROOT is a prefix of /proc and of the mount points that are read there: "" but in tests. A quota is rounded
 * up; those of all parents count, and what cannot be read is no quota.
 */
uint32_t cpus_usable(const char *root);

/* Only by the quotas; UINT32_MAX = none. */
uint32_t cpus_quota(const char *root);
