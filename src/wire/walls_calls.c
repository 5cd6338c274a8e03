/*
 * The system calls of each group, as a seccomp filter. Arguments are looked at where a call can do more than its group is for;
 * the calls of the data path have none to look at, so that the kernel lets them through without running the filter.
 *
 * What is not listed fails with EPERM: a C library that tries something new then goes on by another way, and no session is
 * lost to an update. -Dwalls=kill ends the process instead, so that tests see every such call. Calls that only an intruder
 * would make always end it.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire/walls_internal.h"

#define LOOP  CALLS_LOOP
#define FILES (CALLS_READ_FILES | CALLS_WRITE_FILES | CALLS_RESOLVE)

/* The kind of a socket without the flags that may come with it. */
#define KIND_MASK ((scmp_datum_t) ~(SOCK_NONBLOCK | SOCK_CLOEXEC) & 0xffffffffu)

#define EQ(n, v)                                                                                                               \
    { n, SCMP_CMP_EQ, (scmp_datum_t)(v), 0 }
#define MASKED(n, mask, v)                                                                                                     \
    { n, SCMP_CMP_MASKED_EQ, (scmp_datum_t)(mask), (scmp_datum_t)(v) }
#define NOT_EXEC MASKED(2, PROT_EXEC, 0)

struct call {
    int nr;
    unsigned groups;
    unsigned nargs;
    struct scmp_arg_cmp args[2];
};

/* clang-format off */
#define CALL(name, groups)          {SCMP_SYS(name), groups, 0, {{0, 0, 0, 0}}}
#define CALL_IF(name, groups, ...)  {SCMP_SYS(name), groups, 1, {__VA_ARGS__}}
#define CALL_IF2(name, groups, ...) {SCMP_SYS(name), groups, 2, {__VA_ARGS__}}
/* clang-format on */

static const struct call calls[] = {
    /* bytes and messages over descriptors that are there */
    CALL(read, LOOP),
    CALL(write, LOOP),
    CALL(readv, LOOP),
    CALL(pread64, LOOP), /* of /proc/self/statm: our own memory (stats.c) */
    CALL(writev, LOOP),
    CALL(close, LOOP),
    CALL(recvfrom, LOOP),
    CALL(recvmsg, LOOP),
    CALL(recvmmsg, LOOP),
    CALL(sendto, LOOP),
    CALL(sendmsg, LOOP),
    CALL(sendmmsg, LOOP),
    CALL(shutdown, LOOP),
    CALL(epoll_wait, LOOP),
    CALL(epoll_pwait, LOOP),
    CALL(epoll_pwait2, LOOP),
    CALL(epoll_ctl, LOOP),
    CALL(epoll_create1, LOOP),
    CALL(poll, LOOP),
    CALL(ppoll, LOOP),
    CALL(getsockname, LOOP),
    CALL(getpeername, LOOP),
    CALL(getsockopt, LOOP),
    CALL_IF(setsockopt, LOOP, EQ(1, SOL_SOCKET)),
    CALL_IF(setsockopt, LOOP, EQ(1, 6 /* TCP */)),
    CALL_IF(ioctl, LOOP, EQ(1, SIOCOUTQ)),
    CALL_IF(ioctl, LOOP, EQ(1, FIONREAD)),
    CALL_IF(ioctl, LOOP, EQ(1, FIONBIO)),
    CALL(fcntl, LOOP),
    CALL(lseek, LOOP),
    CALL_IF(newfstatat, LOOP, EQ(3, 0x1000 /* AT_EMPTY_PATH */)),
    CALL(fstat, LOOP),
    CALL(dup, LOOP),
    CALL(dup3, LOOP),

    /* memory, but never code */
    CALL_IF(mmap, LOOP, NOT_EXEC),
    CALL_IF(mprotect, LOOP, NOT_EXEC),
    CALL(munmap, LOOP),
    CALL(mremap, LOOP),
    CALL(madvise, LOOP),
    CALL(mlock, LOOP),
    CALL(munlock, LOOP),
    CALL(brk, LOOP),
    CALL(getrandom, LOOP),
    CALL(futex, LOOP),

    /* who and when */
    CALL(getpid, LOOP),
    CALL(getppid, LOOP),
    CALL(gettid, LOOP),
    CALL(getuid, LOOP),
    CALL(geteuid, LOOP),
    CALL(getgid, LOOP),
    CALL(getegid, LOOP),
    CALL(clock_gettime, LOOP),
    CALL(clock_getres, LOOP),
    CALL(clock_nanosleep, LOOP),
    CALL(gettimeofday, LOOP),
    CALL(getrusage, LOOP),
    CALL(times, LOOP),
    CALL(uname, LOOP),
    CALL(sched_yield, LOOP),
    CALL(sched_getaffinity, LOOP),
    CALL_IF(sched_setaffinity, LOOP, EQ(0, 0) /* our own */),
    CALL_IF(prlimit64, LOOP, EQ(2, 0) /* asked only */),
    CALL(getrlimit, LOOP),
    CALL(sysinfo, LOOP),
    CALL(getcpu, LOOP),

    /* the end, also by abort() */
    CALL(exit, LOOP),
    CALL(exit_group, LOOP),
    CALL(rt_sigaction, LOOP),
    CALL(rt_sigprocmask, LOOP),
    CALL(rt_sigreturn, LOOP),
    CALL(restart_syscall, LOOP),

    CALL(accept4, CALLS_ACCEPT),
    CALL(accept, CALLS_ACCEPT),

    CALL(connect, CALLS_CONNECT | CALLS_RESOLVE | CALLS_LOG | CALLS_CHECK),
    CALL_IF2(socket, CALLS_CONNECT | CALLS_CHECK, EQ(0, AF_UNIX), MASKED(1, KIND_MASK, SOCK_STREAM)),
    CALL_IF2(socket, CALLS_CONNECT | CALLS_CHECK, EQ(0, AF_INET), MASKED(1, KIND_MASK, SOCK_STREAM)),
    CALL_IF2(socket, CALLS_CONNECT | CALLS_CHECK, EQ(0, AF_INET6), MASKED(1, KIND_MASK, SOCK_STREAM)),
    CALL(pipe2, CALLS_CONNECT), /* a relay's will: relay/export.c */
    CALL(bind, CALLS_CHECK | CALLS_RESOLVE),
    CALL(listen, CALLS_CHECK),
    CALL_IF(socket, CALLS_LOG | CALLS_RESOLVE, EQ(0, AF_UNIX)),
    CALL_IF(socket, CALLS_RESOLVE, EQ(0, AF_INET)),
    CALL_IF(socket, CALLS_RESOLVE, EQ(0, AF_INET6)),
    CALL_IF(socket, CALLS_RESOLVE, EQ(0, AF_NETLINK)),
    CALL(setsockopt, CALLS_RESOLVE),
    CALL(ioctl, CALLS_RESOLVE),
    CALL(mmap, CALLS_RESOLVE),
    CALL(mprotect, CALLS_RESOLVE),

    CALL(openat, FILES),
    CALL(open, FILES),
    CALL(newfstatat, FILES),
    CALL(stat, FILES),
    CALL(lstat, FILES),
    CALL(statx, FILES),
    CALL(access, FILES),
    CALL(faccessat, FILES),
    CALL(faccessat2, FILES),
    CALL(readlink, FILES),
    CALL(readlinkat, FILES),
    CALL(getdents64, FILES),
    CALL(fstatfs, FILES),
    CALL(statfs, FILES),
    CALL(getcwd, FILES),
    CALL(fadvise64, FILES),

    CALL(eventfd2, CALLS_LOG), /* libmicrohttpd 1.0 */
    CALL(memfd_create, CALLS_WRITE_FILES | CALLS_LOG),
    CALL(ftruncate, CALLS_WRITE_FILES),
    CALL(fallocate, CALLS_WRITE_FILES),
    CALL(pwrite64, CALLS_WRITE_FILES),
    CALL(mkdir, CALLS_WRITE_FILES),
    CALL(mkdirat, CALLS_WRITE_FILES),
    CALL(rename, CALLS_WRITE_FILES),
    CALL(renameat, CALLS_WRITE_FILES),
    CALL(renameat2, CALLS_WRITE_FILES),
    CALL(unlink, CALLS_WRITE_FILES),
    CALL(unlinkat, CALLS_WRITE_FILES),
    CALL(fsync, CALLS_WRITE_FILES),
    CALL(fdatasync, CALLS_WRITE_FILES),
    CALL(chmod, CALLS_WRITE_FILES),
    CALL(fchmod, CALLS_WRITE_FILES),
    CALL(fchown, CALLS_WRITE_FILES),
    CALL(umask, CALLS_WRITE_FILES),
};

/* What only an intruder would try. */
static const int deadly[] = {
    SCMP_SYS(ptrace),          SCMP_SYS(process_vm_readv),  SCMP_SYS(process_vm_writev),
    SCMP_SYS(execve),          SCMP_SYS(execveat),          SCMP_SYS(bpf),
    SCMP_SYS(init_module),     SCMP_SYS(finit_module),      SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),      SCMP_SYS(kexec_file_load),   SCMP_SYS(mount),
    SCMP_SYS(umount2),         SCMP_SYS(pivot_root),        SCMP_SYS(chroot),
    SCMP_SYS(setns),           SCMP_SYS(unshare),           SCMP_SYS(keyctl),
    SCMP_SYS(add_key),         SCMP_SYS(request_key),       SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open), SCMP_SYS(open_by_handle_at), SCMP_SYS(io_uring_setup),
    SCMP_SYS(pidfd_getfd),
};

#ifdef WALLS_KILL
#define OTHERWISE SCMP_ACT_KILL_PROCESS
#else
#define OTHERWISE SCMP_ACT_ERRNO(EPERM)
#endif

/* Signals reach only ourselves: abort() needs that. */
static int allow_own_signals(scmp_filter_ctx ctx) {
    const struct scmp_arg_cmp self[] = {EQ(0, getpid())};
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, self);
}

static int add_rules(scmp_filter_ctx ctx, unsigned groups) {
    int err = allow_own_signals(ctx);
    for (size_t i = 0; i < ARRAY_LEN(calls) && err == 0; i++)
        if (calls[i].groups & groups)
            err = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, calls[i].nr, calls[i].nargs, calls[i].args);
    for (size_t i = 0; i < ARRAY_LEN(deadly) && err == 0 && OTHERWISE != SCMP_ACT_KILL_PROCESS; i++)
        err = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    return err;
}

bool walls_calls(unsigned groups) {
    if (WALLS_ARE_OPEN) {
        errno = ENOSYS;
        return false;
    }
    scmp_filter_ctx ctx = seccomp_init(OTHERWISE);
    int err = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM; /* a tree, not a line */
    if (err == 0)
        err = add_rules(ctx, groups);
    if (err == 0)
        err = seccomp_load(ctx);
    seccomp_release(ctx);
    errno = err == -EINVAL ? ENOSYS : -err; /* EINVAL: a kernel without filters */
    return err == 0;
}
