/*
 * Landlock by its system calls, since the C library has none for it. Constants of newer kernels than the headers' are here;
 * what the running kernel does not know is omitted from the request (landlock(7)).
 */
#include "process/sandbox_reach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/sandbox_open.h"

#define FS_ALL_ABI1    ((UINT64_C(1) << 13) - 1)
#define FS_REFER       (UINT64_C(1) << 13) /* ABI 2 */
#define FS_TRUNCATE    (UINT64_C(1) << 14) /* ABI 3 */
#define FS_IOCTL_DEV   (UINT64_C(1) << 15) /* ABI 5 */
#define FS_FILE        (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_EXECUTE | FS_TRUNCATE)
#define FS_READ        (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE)
#define FS_WRITE       (FS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | FS_TRUNCATE)
#define FS_OWN         (FS_ALL_ABI1 & ~(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK))
#define NET_BIND       UINT64_C(1) /* ABI 4 */
#define NET_CONNECT    UINT64_C(2)
#define SCOPE_ABSTRACT UINT64_C(1) /* ABI 6 */
#define SCOPE_SIGNAL   UINT64_C(2)
#define RULE_PORT      2

/* As the kernel's landlock_ruleset_attr of ABI 6; older kernels take its beginning. */
struct ruleset {
    uint64_t fs, net, scoped;
};

struct port_rule {
    uint64_t access, port;
};

static uint64_t fs_of(int abi) {
    uint64_t fs = FS_ALL_ABI1;
    fs |= abi >= 2 ? FS_REFER : 0;
    fs |= abi >= 3 ? FS_TRUNCATE : 0;
    return abi >= 5 ? fs | FS_IOCTL_DEV : fs;
}

static bool allow_path(int ruleset, uint64_t handled, const struct reach_row *row) {
    struct stat st;
    int fd = open(row->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES; /* what is not there needs no right */
    uint64_t access = handled & (row->reach == REACH_OWN     ? FS_OWN | FS_REFER | FS_TRUNCATE
                                 : row->reach == REACH_WRITE ? FS_WRITE
                                                             : FS_READ);
    if (fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode))
        access &= FS_FILE;
    const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    bool ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    int error = errno;
    close(fd);
    errno = error;
    return ok;
}

static bool allow_port(int ruleset, uint16_t port) {
    const struct port_rule rule = {.access = NET_CONNECT, .port = port};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) == 0;
}

static int make_ruleset(int abi, const struct reach_rules *rules, uint64_t *ret_fs) {
    struct ruleset r = {.fs = rules->any_file ? 0 : fs_of(abi)};
    if (abi >= REACH_ABI_PORTS)
        r.net = rules->any_port ? NET_BIND : NET_BIND | NET_CONNECT;
    if (abi >= REACH_ABI_PORTS && rules->any_file) /* who is to try addresses binds them */
        r.net = 0;
    if (abi >= REACH_ABI_SCOPES)
        r.scoped = rules->abstract_sockets ? SCOPE_SIGNAL : SCOPE_SIGNAL | SCOPE_ABSTRACT;
    *ret_fs = r.fs;
    size_t size = abi >= REACH_ABI_SCOPES ? sizeof(r) : abi >= REACH_ABI_PORTS ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    return (int)syscall(SYS_landlock_create_ruleset, &r, size, 0);
}

bool sandbox_reach(const struct reach_rules *rules, int *ret_abi) {
    int abi = SANDBOX_IS_OPEN ? 0 : (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    *ret_abi = MAX(abi, 0);
    if (abi < 1 || (rules->any_file && abi < REACH_ABI_SCOPES)) /* nothing that could be restricted */
        return true;
    uint64_t fs = 0;
    int ruleset = make_ruleset(abi, rules, &fs);
    if (ruleset < 0)
        return false;
    bool ok = true;
    for (size_t i = 0; i < rules->nrows && ok; i++)
        ok = rules->rows[i].reach == REACH_NONE || allow_path(ruleset, fs, &rules->rows[i]);
    for (size_t i = 0; i < rules->nports && ok && abi >= REACH_ABI_PORTS && !rules->any_port; i++)
        ok = allow_port(ruleset, rules->ports[i]);
    ok = ok && syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    int error = errno;
    close(ruleset);
    errno = error;
    return ok;
}
