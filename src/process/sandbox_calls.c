/*
 * The system calls of each group, as a seccomp filter. Arguments are looked at where a call can do more than its group is for;
 * the calls of the data path have none to look at, so that the kernel lets them through without running the filter.
 *
 * What is not listed fails with EPERM: a C library that tries something new then goes on by another way, and no session is
 * lost to an update. -Dsandbox=kill ends the process instead, so that tests see every such call. Calls that only an intruder
 * would make always end it.
 */
#include "process/sandbox_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "process/sandbox_open.h"

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
    struct scmp_arg_cmp args[3];
};

/* clang-format off */
#define CALL(name, groups)          {SCMP_SYS(name), groups, 0, {{0, 0, 0, 0}}}
#define CALL_IF(name, groups, ...)  {SCMP_SYS(name), groups, 1, {__VA_ARGS__}}
#define CALL_IF2(name, groups, ...) {SCMP_SYS(name), groups, 2, {__VA_ARGS__}}
#define CALL_IF3(name, groups, ...) {SCMP_SYS(name), groups, 3, {__VA_ARGS__}}
#define FCNTL(command)              CALL_IF(fcntl, LOOP, EQ(1, command))
#define OPTION(groups, level, name) CALL_IF2(setsockopt, groups, EQ(1, level), EQ(2, name))
#define SOCKET(groups, family, kind, protocol) \
    CALL_IF3(socket, groups, EQ(0, family), MASKED(1, KIND_MASK, kind), EQ(2, protocol))
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
    CALL_IF(ioctl, LOOP, EQ(1, SIOCOUTQ)),
    CALL_IF(ioctl, LOOP, EQ(1, FIONREAD)),
    CALL_IF(ioctl, LOOP, EQ(1, FIONBIO)),
    CALL(lseek, LOOP),
    CALL_IF(newfstatat, LOOP, EQ(3, 0x1000 /* AT_EMPTY_PATH */)),
    CALL(fstat, LOOP),
    CALL(dup, LOOP),
    CALL(dup3, LOOP),

    /* no F_SETOWN, F_SETSIG, F_NOTIFY, F_SETLEASE, O_ASYNC: they send signals, to anybody of the same user */
    FCNTL(F_GETFL),
    FCNTL(F_GETFD),
    FCNTL(F_SETFD),
    FCNTL(F_DUPFD),
    FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_GET_SEALS),
    FCNTL(F_ADD_SEALS),
    CALL_IF2(fcntl, LOOP, EQ(1, F_SETFL), MASKED(2, O_ASYNC, 0)),

    /* how long to wait and how much to hold: nothing that chooses a device, a filter, a mark or another protocol */
    OPTION(LOOP, SOL_SOCKET, SO_RCVTIMEO),
    OPTION(LOOP, SOL_SOCKET, SO_SNDTIMEO),
    OPTION(LOOP, SOL_SOCKET, SO_RCVBUF),
    OPTION(LOOP, SOL_SOCKET, SO_SNDBUF),
    OPTION(LOOP, SOL_SOCKET, SO_LINGER),
    OPTION(LOOP, SOL_SOCKET, SO_BUF_LOCK),
    OPTION(LOOP, SOL_SOCKET, SO_RCVLOWAT),
    OPTION(LOOP, SOL_SOCKET, SO_KEEPALIVE),
    OPTION(LOOP, IPPROTO_TCP, TCP_NODELAY),
    OPTION(LOOP, IPPROTO_TCP, TCP_CORK),
    OPTION(LOOP, IPPROTO_TCP, TCP_QUICKACK),
    OPTION(LOOP, IPPROTO_TCP, TCP_KEEPIDLE),
    OPTION(LOOP, IPPROTO_TCP, TCP_KEEPINTVL),
    OPTION(LOOP, IPPROTO_TCP, TCP_KEEPCNT),
    OPTION(LOOP, IPPROTO_TCP, TCP_USER_TIMEOUT),
    OPTION(LOOP, IPPROTO_TCP, TCP_WINDOW_CLAMP),
    OPTION(LOOP, IPPROTO_TCP, TCP_NOTSENT_LOWAT),

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
    CALL_IF(prlimit64, LOOP, EQ(2, 0) /* read only */),
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

    CALL(connect, CALLS_CONNECT | CALLS_RESOLVE | CALLS_LOG | CALLS_CHECK | CALLS_STORE),
    SOCKET(CALLS_CONNECT | CALLS_USERS | CALLS_LOCAL_NAMES | CALLS_STORE, AF_UNIX, SOCK_STREAM, 0),
    SOCKET(CALLS_LOG, AF_UNIX, SOCK_DGRAM, 0),
    SOCKET(CALLS_CONNECT | CALLS_RESOLVE | CALLS_CHECK, AF_INET, SOCK_STREAM, 0),
    SOCKET(CALLS_CONNECT | CALLS_RESOLVE | CALLS_CHECK, AF_INET6, SOCK_STREAM, 0),
    SOCKET(CALLS_CURL, AF_INET, SOCK_STREAM, IPPROTO_TCP),
    SOCKET(CALLS_CURL, AF_INET6, SOCK_STREAM, IPPROTO_TCP),
    SOCKET(CALLS_RESOLVE, AF_INET, SOCK_DGRAM, 0),
    SOCKET(CALLS_RESOLVE, AF_INET6, SOCK_DGRAM, 0),
    SOCKET(CALLS_RESOLVE, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE),
    CALL(pipe2, CALLS_CONNECT), /* a relay's liveness pipe: relay/migrate_out.c */
    CALL(bind, CALLS_CHECK | CALLS_RESOLVE),
    CALL(listen, CALLS_CHECK),
    CALL(getgroups, CALLS_CHECK), /* to which of them sockets may be given */
    OPTION(CALLS_CHECK, SOL_SOCKET, SO_REUSEADDR),
    OPTION(CALLS_CHECK, IPPROTO_IPV6, IPV6_V6ONLY),
    OPTION(CALLS_CHECK, SOL_SOCKET, SO_BINDTODEVICE),
    OPTION(CALLS_RESOLVE, IPPROTO_IP, IP_RECVERR),
    OPTION(CALLS_RESOLVE, IPPROTO_IP, IP_MTU_DISCOVER),
    OPTION(CALLS_RESOLVE, IPPROTO_IPV6, IPV6_RECVERR),
    CALL_IF(prctl, CALLS_USERS | CALLS_RESOLVE,
            EQ(0, PR_CAPBSET_READ)), /* libcap, when a module of the C library's brings it along */
    CALL(sendmmsg, CALLS_RESOLVE),   /* getaddrinfo() asks for both families at once */
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
    CALL(memfd_create, CALLS_WRITE_FILES | CALLS_LOG | CALLS_STORE),
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
    CALL(symlinkat, CALLS_WRITE_FILES),

    /* a thread shares all that the process has: it gains nothing */
    CALL_IF(clone, CALLS_CURL, MASKED(0, CLONE_THREAD, CLONE_THREAD)),
    CALL(set_robust_list, CALLS_CURL),
    CALL(rseq, CALLS_CURL),
    CALL_IF2(socketpair, CALLS_CURL, EQ(0, AF_UNIX), MASKED(1, KIND_MASK, SOCK_STREAM)),
    CALL(eventfd2, CALLS_CURL),
    CALL(pipe2, CALLS_CURL),
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

#ifdef SANDBOX_KILL
#define OTHERWISE SCMP_ACT_KILL_PROCESS
#else
#define OTHERWISE SCMP_ACT_ERRNO(EPERM)
#endif

/*
 * What the C library tries before it goes another way: never more than an error, or names could not be resolved in a build that
 * ends the process. In others it is what happens anyway, and libseccomp accepts no rule for it.
 */
static int refuse_softly(scmp_filter_ctx ctx, unsigned groups) {
    const struct scmp_arg_cmp local[] = {EQ(0, AF_UNIX)};
    if (OTHERWISE != SCMP_ACT_KILL_PROCESS || !(groups & CALLS_RESOLVE) || groups & (CALLS_USERS | CALLS_LOCAL_NAMES))
        return 0;
    return seccomp_rule_add_array(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, local);
}

/* Signals reach only ourselves: abort() needs that. */
static int allow_own_signals(scmp_filter_ctx ctx) {
    const struct scmp_arg_cmp self[] = {EQ(0, getpid())};
    return seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, self);
}

static int add_filter_rules(scmp_filter_ctx ctx, unsigned groups) {
    int err = allow_own_signals(ctx);
    for (size_t i = 0; i < ARRAY_LEN(calls) && err == 0; i++)
        if (calls[i].groups & groups)
            err = seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, calls[i].nr, calls[i].nargs, calls[i].args);
    if (err == 0)
        err = refuse_softly(ctx, groups);
    if (err == 0 && groups & CALLS_CURL) /* its flags lie in memory, where no filter looks: clone() is tried then */
        err = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    for (size_t i = 0; i < ARRAY_LEN(deadly) && err == 0 && OTHERWISE != SCMP_ACT_KILL_PROCESS; i++)
        err = seccomp_rule_add(ctx, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
    return err;
}

/* Asked here because libseccomp calls it out of memory, or invalid, when seccomp(2) is missing or denied. */
static bool has_seccomp(void) {
    const uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool sandbox_calls(unsigned groups) {
    if (SANDBOX_IS_OPEN || !has_seccomp()) {
        errno = ENOSYS;
        return false;
    }
    scmp_filter_ctx ctx = seccomp_init(OTHERWISE);
    int err = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2) : -ENOMEM; /* a tree, not a line */
    if (err == 0)
        err = seccomp_attr_set(ctx, SCMP_FLTATR_API_SYSRAWRC, 1); /* else all that the kernel says is ECANCELED */
    if (err == 0)
        err = add_filter_rules(ctx, groups);
    if (err == 0)
        err = seccomp_load(ctx);
    seccomp_release(ctx);
    errno = err == -EINVAL ? ENOSYS : -err; /* EINVAL: a kernel without filters */
    return err == 0;
}
