#include "cli/doctor_try.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRY_S 15 /* longer than glibc waits for a name server that is silent: its own words say more */

static bool take_rights_of(const char *user) {
    const struct passwd *p = getpwnam(user);
    return p && initgroups(user, p->pw_gid) == 0 && setresgid(p->pw_gid, p->pw_gid, p->pw_gid) == 0 &&
           setresuid(p->pw_uid, p->pw_uid, p->pw_uid) == 0;
}

void doctor_try_begin(struct doctor_try *t, const char *user, int (*try)(const void *what), const void *what) {
    t->pid = fork();
    t->error = t->pid < 0 ? errno : 0;
    if (t->pid != 0)
        return;
    (void)signal(SIGALRM, SIG_DFL); /* a starter may have had it ignored */
    (void)alarm(TRY_S);
    _exit(!user || take_rights_of(user) ? try(what) : EPERM);
}

int doctor_try_end(struct doctor_try *t) {
    int status = 0;
    if (t->pid < 0)
        return t->error;
    while (waitpid(t->pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGALRM ? ETIMEDOUT : EINTR;
}
