/* Bytes as a snapshot: what is taken must be whole, so that writing it again gives the same bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct conf *c = NULL;
    struct stat st;
    int fd = -1;
    if (snapshot_parse(span_of(data, size), &c) != 0)
        return 0;
    if (snapshot_write(c, &fd) != 0)
        abort();
    if (fstat(fd, &st) != 0 || (size_t)st.st_size != size)
        abort();
    void *again = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (again == MAP_FAILED || memcmp(again, data, size) != 0)
        abort();
    (void)munmap(again, size);
    (void)close(fd);
    conf_free(c);
    return 0;
}
