#include "supervisor/keylog_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "conf/keylog.h"

#define FLAGS (O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* Anyone who may write to the state directory could only put a file of his own in the way, which is refused, or take ours away.
 */
int keylog_open(const struct conf *c, int *ret_fd, struct text *why) {
    const char *file = c->keylog.file;
    struct stat st;
    *ret_fd = -1;
    if (!keylog_is_on(&c->keylog, clock_wall_us()))
        return 0;
    if (mkdir(c->state_dir, 0700) < 0 && errno != EEXIST) {
        text_addf(why, "key log %s: %s: %s", file, c->state_dir, strerror(errno));
        return ERR_SYSTEM;
    }
    int fd = open(file, FLAGS | O_CREAT | O_EXCL, KEYLOG_MODE);
    if (fd < 0 && errno == EEXIST)
        fd = open(file, FLAGS);
    if (fd < 0) {
        text_addf(why, "key log %s: %s", file,
                  errno == ELOOP ? "found a symbolic link, expected a regular file" : strerror(errno));
        return ERR_SYSTEM;
    }
    if (fstat(fd, &st) < 0 || !keylog_file_fits(file, &st, why)) {
        close(fd);
        return ERR_SYSTEM;
    }
    *ret_fd = fd;
    return 0;
}
