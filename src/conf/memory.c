/* cgroup v2: memory.max (bytes or "max"); v1: memory.limit_in_bytes (a number above all memory = none). */
#include "conf/memory.h"

#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/text.h"
#include "conf/cgroup.h"

#define MIB UINT64_C(1048576)

/* Of one relay, of one handshaker. */
#define LEAST         MIB
#define BUFFERS_MAX   (256 * MIB)
#define HANDSHAKE_OK  (64 * MIB) /* a thousand handshakes */
#define HANDSHAKE_MAX (1024 * MIB)

static uint64_t limit_of(const char *root, const char *dir) {
    char line[CGROUP_LINE_MAX];
    uint64_t bytes = 0;
    bool there = cgroup_read(root, dir, "memory.max", line) || cgroup_read(root, dir, "memory.limit_in_bytes", line);
    return there && text_parse_u64(line, INT64_MAX, &bytes) == 0 && bytes ? bytes : CGROUP_NO_LIMIT;
}

uint64_t memory_limit(const char *root) {
    return cgroup_least(root, "memory", limit_of);
}

uint64_t memory_usable(const char *root) {
    uint64_t machine = (uint64_t)MAX(sysconf(_SC_PHYS_PAGES), 1L) * (uint64_t)MAX(sysconf(_SC_PAGESIZE), 1L);
    return MIN(machine, memory_limit(root));
}

uint64_t memory_for_buffers(uint64_t usable, uint32_t workers) {
    return MAX(MIN(usable / 2 / workers, BUFFERS_MAX), LEAST);
}

/* An eighth is usual; where that is little, up to a quarter. */
uint64_t memory_for_handshakes(uint64_t usable, uint32_t workers) {
    uint64_t floor = MIN(HANDSHAKE_OK, usable / 4 / workers);
    return MAX(MIN(MAX(usable / 8 / workers, floor), HANDSHAKE_MAX), LEAST);
}
