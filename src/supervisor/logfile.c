/*
 * A name below a directory that others may write leads wherever they want: a symbolic link, a hard link or a FIFO in place of
 * the log, a link in place of a directory. So root walks the path itself, step by step, while each directory is writable by
 * root alone, and follows links only there, where root has made them. From the first directory of others on, the user's own
 * rights must suffice.
 */
#include "supervisor/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define FLAGS              (O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
#define MODE               0640
#define LINKS_MAX          40
#define LOGFILE_GROUPS_MAX 256

/* ---- the walk ---- */

/* DIR is an O_PATH descriptor; NAME is the rest of the path: one step, once the walk has ended. */
struct path_walk {
    int dir;
    char rest[PATH_MAX];
    unsigned links;
};

/* In a sticky directory root's entries stay as they are, but anyone may add some. */
static bool is_roots(int dir, bool sticky_too) {
    struct stat st;
    return fstat(dir, &st) == 0 && st.st_uid == 0 && (!(st.st_mode & 022) || (sticky_too && st.st_mode & S_ISVTX));
}

static bool go_to(struct path_walk *w, int fd) {
    if (w->dir >= 0)
        close(w->dir);
    w->dir = fd;
    return fd >= 0;
}

/* A link made by root: its text replaces its name. */
static bool follow_link(struct path_walk *w, const char *name, const char *behind) {
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t n = readlinkat(w->dir, name, target, sizeof(target));
    struct text t = text_of(rest, sizeof(rest));
    if (n <= 0 || n == (ssize_t)sizeof(target) || ++w->links > LINKS_MAX)
        return false;
    text_add_span(&t, span_of(target, (size_t)n));
    text_addf(&t, "/%s", behind);
    if (t.cut || (target[0] == '/' && !go_to(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC))))
        return false;
    memcpy(w->rest, rest, t.len + 1);
    return true;
}

/* Where a walk ends: a directory where root alone may write; one of root's where others may, too; anything else. */
enum ground { GROUND_ROOTS, GROUND_SHARED, GROUND_LOOSE };

static enum ground ground_of(int dir) {
    struct stat st;
    if (fstat(dir, &st) < 0 || st.st_uid != 0)
        return GROUND_LOOSE;
    return st.st_mode & 022 ? GROUND_SHARED : GROUND_ROOTS;
}

/* Walks to the last directory of PATH. GROUND_LOOSE: some step is not root's alone, or fails. */
static enum ground walk_path(struct path_walk *w, const char *path) {
    struct text t = text_of(w->rest, sizeof(w->rest));
    text_add(&t, path);
    if (t.cut || !go_to(w, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)))
        return GROUND_LOOSE;
    for (;;) {
        char name[NAME_MAX + 1];
        const char *p = w->rest + strspn(w->rest, "/");
        size_t len = strcspn(p, "/");
        const char *behind = p + len + strspn(p + len, "/");
        struct stat st;
        struct text n = text_of(name, sizeof(name));
        text_add_span(&n, span_of(p, len));
        bool there = !n.cut && len && fstatat(w->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (there && S_ISLNK(st.st_mode)) {
            if (!is_roots(w->dir, false) || !follow_link(w, name, behind))
                return GROUND_LOOSE;
        } else if (!*behind) {
            memmove(w->rest, name, n.len + 1);
            return len ? ground_of(w->dir) : GROUND_LOOSE;
        } else if (there && is_roots(w->dir, true) &&
                   go_to(w, openat(w->dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))) {
            memmove(w->rest, behind, strlen(behind) + 1);
        } else {
            return GROUND_LOOSE;
        }
    }
}

/* ---- with whose rights ---- */

/* Where only root could have put it. What is there keeps its owner; what is made here is the user's. */
static int open_as_root(const struct path_walk *w, const struct passwd *user) {
    int fd = openat(w->dir, w->rest, FLAGS);
    if (fd >= 0 || errno != ENOENT)
        return fd;
    fd = openat(w->dir, w->rest, FLAGS | O_CREAT | O_EXCL, MODE);
    if (fd >= 0 && user)
        (void)!fchown(fd, user->pw_uid, (gid_t)-1); /* only for people who read it: the descriptor works without */
    return fd;
}

/* Rights to files alone, and all of them: capabilities for files go with the user ID (capabilities(7)). */
static void become(uid_t uid, gid_t gid, size_t n, const gid_t *groups) {
    MUST(setgroups(n, groups) == 0);
    (void)setfsgid(gid);
    (void)setfsuid(uid);
    MUST((gid_t)setfsgid(gid) == gid && (uid_t)setfsuid(uid) == uid);
}

static int open_as_user(const char *path, const struct passwd *user) {
    gid_t own[LOGFILE_GROUPS_MAX], theirs[LOGFILE_GROUPS_MAX];
    int nown = getgroups(LOGFILE_GROUPS_MAX, own), ntheirs = LOGFILE_GROUPS_MAX;
    if (nown < 0 || getgrouplist(user->pw_name, user->pw_gid, theirs, &ntheirs) < 0) {
        errno = E2BIG;
        return -1;
    }
    become(user->pw_uid, user->pw_gid, (size_t)ntheirs, theirs);
    int fd = open(path, FLAGS | O_CREAT, MODE);
    int error = errno;
    become(geteuid(), getegid(), (size_t)nown, own);
    errno = error;
    return fd;
}

static int describe_open_failure(struct text *why, const char *path, const char *as, const char *what) {
    text_addf(why, "log file %s: cannot be opened%s%s: %s", path, as ? " with the rights of " : "", as ? as : "", what);
    return -1;
}

static const char *open_fault(int error) {
    switch (error) {
    case ELOOP:
        return "found a symbolic link, expected a regular file";
    case ENXIO: /* a FIFO that nobody reads, a socket, a device without a driver */
        return "found no regular file";
    default:
        return strerror(error);
    }
}

/* Accepts a regular file only, or a device where only root can have put it. */
static int check_opened(int fd, const char *path, const char *as, enum ground ground, struct text *why) {
    struct stat st;
    bool devices_too = ground == GROUND_ROOTS;
    if (fd < 0)
        return describe_open_failure(why, path, as, open_fault(errno));
    bool ok = fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || (devices_too && S_ISCHR(st.st_mode)));
    if (ok && (ground != GROUND_SHARED || (st.st_uid == 0 && st.st_nlink == 1)))
        return fd;
    close(fd);
    return describe_open_failure(why, path, as,
                                 ok ? "found a file of others, expected one of root's" : "found no regular file");
}

int logfile_open(const struct conf *c, struct text *why) {
    const char *path = c->log_file;
    struct path_walk w = {.dir = -1};
    if (geteuid() != 0)
        return check_opened(open(path, FLAGS | O_CREAT, MODE), path, NULL, GROUND_ROOTS, why);
    const struct passwd *user = c->user ? getpwnam(c->user) : NULL;
    bool stays_root = !user || user->pw_uid == 0;
    enum ground ground = walk_path(&w, path);
    int fd;
    if (ground == GROUND_ROOTS || (ground == GROUND_SHARED && stays_root))
        fd = check_opened(open_as_root(&w, user), path, NULL, ground, why);
    else if (!stays_root)
        fd = check_opened(open_as_user(path, user), path, user->pw_name, GROUND_LOOSE, why);
    else
        fd = describe_open_failure(why, path, "root", "found a directory on its way that is missing or not root's alone");
    if (w.dir >= 0)
        close(w.dir);
    return fd;
}
