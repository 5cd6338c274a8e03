#include "shm/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/text.h"

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
