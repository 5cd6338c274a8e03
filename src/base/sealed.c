#include "base/sealed.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"

#define PROMISES (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int drop_failed(int fd) {
    int saved = errno;
    (void)close(fd); /* memory only */
    errno = saved;
    return ERR_SYSTEM;
}

int sealed_begin(const char *name, size_t len, int *ret_fd, uint8_t **ret) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    void *p = ftruncate(fd, (off_t)len) == 0 ? mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (p == MAP_FAILED)
        return drop_failed(fd);
    *ret_fd = fd;
    *ret = p;
    return 0;
}

int sealed_end(int fd, uint8_t *p, size_t len) {
    if (munmap(p, len) != 0 || fcntl(fd, F_ADD_SEALS, PROMISES | F_SEAL_SEAL) != 0)
        return drop_failed(fd);
    return 0;
}

int sealed_copy(const char *name, struct span bytes, int *ret_fd) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    if (fd_write_all(fd, bytes) < 0 || fcntl(fd, F_ADD_SEALS, PROMISES | F_SEAL_SEAL) != 0)
        return drop_failed(fd);
    *ret_fd = fd;
    return 0;
}

int sealed_map(int fd, size_t min, size_t max, struct span *ret) {
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & PROMISES) != PROMISES)
        return ERR_FORMAT;
    if (fstat(fd, &st) != 0)
        return ERR_SYSTEM;
    if (st.st_size < (off_t)min || st.st_size > (off_t)max)
        return ERR_FORMAT;
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return ERR_SYSTEM;
    *ret = span_of(p, (size_t)st.st_size);
    return 0;
}

void sealed_unmap(struct span mapped) {
    union {
        const uint8_t *read;
        void *p;
    } u = {mapped.p};
    (void)munmap(u.p, mapped.len); /* as it was mapped */
}
