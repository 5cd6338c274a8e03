#include "shm/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

int shared_create(const char *name, size_t len, struct span head, int *ret_fd) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    if (ftruncate(fd, (off_t)len) < 0 || pwrite(fd, head.p, head.len, 0) != (ssize_t)head.len ||
        fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    *ret_fd = fd;
    return 0;
}

int shared_check(int fd, size_t min, size_t max, size_t *ret_len) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return ERR_SYSTEM;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS || st.st_size < (off_t)min || st.st_size > (off_t)max)
        return ERR_FORMAT;
    *ret_len = (size_t)st.st_size;
    return 0;
}

int shared_reader(int fd) {
    char path[40];
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

void *shared_map(int fd, size_t off, size_t len) {
    int reader = shared_reader(fd);
    void *p = reader < 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_SHARED | MAP_NORESERVE, reader, (off_t)off);
    int error = errno;
    if (reader >= 0)
        close(reader);
    errno = error;
    return p == MAP_FAILED ? NULL : p;
}

bool shared_make_writable(void *at, int fd, size_t off, size_t len) {
    return mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd, (off_t)off) == at;
}
