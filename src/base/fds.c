#include "base/fds.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/text.h"

bool fds_fill_streams(void) {
    static const int modes[] = {[STDIN_FILENO] = O_WRONLY, [STDOUT_FILENO] = O_RDONLY, [STDERR_FILENO] = O_RDWR};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) /* open() takes the lowest number that is free */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
            return false;
    return true;
}

static bool range(unsigned first, unsigned last, unsigned flags) {
    return first > last || syscall(SYS_close_range, first, last, flags) == 0;
}

/* Where a container forbids the call that does it at once. */
static void close_one_by_one(int first, int keep) {
    DIR *d = opendir("/proc/self/fd");
    uint64_t fd;
    for (struct dirent *e; d && (e = readdir(d));)
        if (text_parse_u64(e->d_name, INT_MAX, &fd) == 0 && (int)fd >= first && (int)fd != keep && (int)fd != dirfd(d))
            close((int)fd);
    if (d)
        closedir(d);
}

void fds_close_from(int first, int keep) {
    bool split = keep >= first;
    bool done =
        range((unsigned)first, split ? (unsigned)keep - 1 : UINT_MAX, 0) && (!split || range((unsigned)keep + 1, UINT_MAX, 0));
    if (!done)
        close_one_by_one(first, keep);
}

void fds_end_at_exec(int first) {
    (void)range((unsigned)first, UINT_MAX, CLOSE_RANGE_CLOEXEC); /* older than 5.11: ours have the flag, others were closed */
}
