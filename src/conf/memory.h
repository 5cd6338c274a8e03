/*
 * How much memory there is to work with: the machine's, or less where a cgroup's limit is below that. Containers see all memory
 * of their host, and are killed when they take more than their limit.
 */
#pragma once

#include <stdint.h>

/* Bytes; ROOT as for cgroup_least(). Never 0. */
uint64_t memory_usable(const char *root);

/* Only by the limits of cgroups; UINT64_MAX = none. */
uint64_t memory_limit(const char *root);

/*
 * What the budgets of WORKERS workers are by default, each: all together they take at most three quarters of USABLE, as long as
 * each has the least that works.
 */
uint64_t memory_for_buffers(uint64_t usable, uint32_t workers);
uint64_t memory_for_handshakes(uint64_t usable, uint32_t workers);
