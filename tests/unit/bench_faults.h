/*
 * Calls that can be made to fail, for the benches of a whole process: while BENCH_INSIDE, the bench_fail_at-th of them does so.
 * Each has the errors that it can have in life; bench_fail_kind chooses one. A bench has more of its own, which ask
 * bench_fails(). All of these are in `fault_wraps` (tests/meson.build).
 */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"

static bool bench_inside;        /* the code of the process runs */
static unsigned bench_calls;     /* that can fail, since last set to 0 */
static unsigned bench_fail_at;   /* the number of the call that fails; 0 = none */
static unsigned bench_fail_more; /* so many behind it fail, too */
static unsigned bench_fail_kind;

static inline bool bench_fails(void) {
    if (!bench_inside)
        return false;
    bench_calls++;
    return bench_fail_at && bench_calls >= bench_fail_at && bench_calls - bench_fail_at <= bench_fail_more;
}

#define BENCH_FAIL(failed, ...)                                                                                                \
    do {                                                                                                                       \
        static const int errors[] = {__VA_ARGS__};                                                                             \
        if (bench_fails()) {                                                                                                   \
            errno = errors[bench_fail_kind % ARRAY_LEN(errors)];                                                               \
            return failed;                                                                                                     \
        }                                                                                                                      \
    } while (0)

#define BENCH_CALL(type, failed, name, params, args, ...)                                                                      \
    type __real_##name params;                                                                                                 \
    type __wrap_##name params;                                                                                                 \
    type __wrap_##name params {                                                                                                \
        BENCH_FAIL(failed, __VA_ARGS__);                                                                                       \
        return __real_##name args;                                                                                             \
    }

/* ---- memory ---- */

BENCH_CALL(void *, NULL, malloc, (size_t n), (n), ENOMEM)
BENCH_CALL(void *, NULL, calloc, (size_t n, size_t size), (n, size), ENOMEM)
BENCH_CALL(void *, NULL, realloc, (void *p, size_t n), (p, n), ENOMEM)
BENCH_CALL(void *, NULL, reallocarray, (void *p, size_t n, size_t size), (p, n, size), ENOMEM)
BENCH_CALL(void *, MAP_FAILED, mmap64, (void *p, size_t n, int prot, int flags, int fd, off64_t at),
           (p, n, prot, flags, fd, at), ENOMEM)
BENCH_CALL(int, -1, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, ENOMEM)
BENCH_CALL(int, -1, ftruncate64, (int fd, off64_t n), (fd, n), ENOMEM)

/* ---- messages and sockets ---- */

BENCH_CALL(ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags), ENOBUFS, ENOMEM, EINTR)
BENCH_CALL(ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags), ENOMEM, EINTR)
BENCH_CALL(int, -1, socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds), EMFILE,
           ENOBUFS)
BENCH_CALL(int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, ENOBUFS, EAFNOSUPPORT)
BENCH_CALL(int, -1, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), EADDRINUSE, EACCES, EADDRNOTAVAIL)
BENCH_CALL(int, -1, listen, (int fd, int backlog), (fd, backlog), EADDRINUSE)
BENCH_CALL(int, -1, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n), ENOBUFS)
BENCH_CALL(int, -1, getsockopt, (int fd, int level, int name, void *p, socklen_t *n), (fd, level, name, p, n), ENOPROTOOPT,
           ENOMEM)

static void (*bench_sees_option)(int level, int name);

int __real_setsockopt(int fd, int level, int name, const void *p, socklen_t n);
int __wrap_setsockopt(int fd, int level, int name, const void *p, socklen_t n);
int __wrap_setsockopt(int fd, int level, int name, const void *p, socklen_t n) {
    BENCH_FAIL(-1, ENOPROTOOPT, ENOMEM);
    if (bench_sees_option)
        bench_sees_option(level, name);
    return __real_setsockopt(fd, level, name, p, n);
}

/* ---- files ---- */

BENCH_CALL(ssize_t, -1, read, (int fd, void *p, size_t n), (fd, p, n), EIO, EINTR)
BENCH_CALL(ssize_t, -1, write, (int fd, const void *p, size_t n), (fd, p, n), ENOSPC, EINTR)
BENCH_CALL(ssize_t, -1, pread64, (int fd, void *p, size_t n, off64_t at), (fd, p, n, at), EIO, EINTR)
BENCH_CALL(ssize_t, -1, pwrite64, (int fd, const void *p, size_t n, off64_t at), (fd, p, n, at), ENOMEM)
BENCH_CALL(int, -1, fstat64, (int fd, struct stat64 *st), (fd, st), ENOMEM)
BENCH_CALL(int, -1, stat64, (const char *path, struct stat64 *st), (path, st), ENOMEM, EACCES)
BENCH_CALL(int, -1, fstatat64, (int fd, const char *path, struct stat64 *st, int flags), (fd, path, st, flags), ENOMEM, EACCES)
BENCH_CALL(int, -1, faccessat, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), ENOMEM, EACCES)
BENCH_CALL(int, -1, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), EACCES)
BENCH_CALL(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), EACCES, ENOSPC)
BENCH_CALL(int, -1, chmod, (const char *path, mode_t mode), (path, mode), EPERM)
BENCH_CALL(DIR *, NULL, opendir, (const char *path), (path), EMFILE, EACCES)
BENCH_CALL(FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode), EMFILE, EACCES)
BENCH_CALL(int, -1, inotify_init1, (int flags), (flags), EMFILE, ENOMEM)
BENCH_CALL(int, -1, inotify_add_watch, (int fd, const char *path, uint32_t events), (fd, path, events), ENOSPC, EACCES)

int __real_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_open64(const char *path, int flags, mode_t mode) {
    BENCH_FAIL(-1, EMFILE, EACCES, ENOENT);
    return __real_open64(path, flags, mode);
}

int __real_openat64(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *path, int flags, mode_t mode);
int __wrap_openat64(int dir, const char *path, int flags, mode_t mode) {
    BENCH_FAIL(-1, EMFILE, EACCES, ENOENT);
    return __real_openat64(dir, path, flags, mode);
}

/* To ask for the flags of a descriptor needs nothing. */
int __real_fcntl64(int fd, int cmd, unsigned long arg);
int __wrap_fcntl64(int fd, int cmd, unsigned long arg);
int __wrap_fcntl64(int fd, int cmd, unsigned long arg) {
    if (cmd != F_GETFD && cmd != F_GETFL && cmd != F_GET_SEALS)
        BENCH_FAIL(-1, EMFILE, ENOMEM, EPERM);
    return __real_fcntl64(fd, cmd, arg);
}

/* A second close() of one descriptor is a fault, as one of a stranger's would be. */
int __real_close(int fd);
int __wrap_close(int fd);
int __wrap_close(int fd) {
    int err = __real_close(fd);
    MUST(err == 0 || errno != EBADF);
    return err;
}

static inline unsigned bench_open_fds(void) {
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    MUST(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

/* ---- events ---- */

/* To take a descriptor out needs nothing. */
int __real_epoll_ctl(int epfd, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *e);
int __wrap_epoll_ctl(int epfd, int op, int fd, struct epoll_event *e) {
    if (op != EPOLL_CTL_DEL)
        BENCH_FAIL(-1, ENOMEM, ENOSPC);
    return __real_epoll_ctl(epfd, op, fd, e);
}

BENCH_CALL(int, -1, epoll_wait, (int epfd, struct epoll_event *e, int n, int ms), (epfd, e, n, ms), EINTR)
