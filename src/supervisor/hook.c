#include "supervisor/hook.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/fds.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control_hook.h"

#define HOOK_MS     600000
#define RECORD_MAX  (sizeof("_acme-challenge.") + CONF_NAME_MAX)
#define WILDCARD    "*."
#define SEARCH_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const verbs[HOOK_VERBS] = {[HOOK_PRESENT] = "present", [HOOK_CLEANUP] = "cleanup"};

/* In the child, until exec: only async-signal-safe calls. */
static void exec_hook(const struct conf_issuer *i, char *const argv[], char *const environment[], int output) {
    sigset_t none;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* cannot fail with these arguments */
    (void)signal(SIGPIPE, SIG_DFL);              /* nor these */
    (void)signal(SIGXFSZ, SIG_DFL);
    gid_t group = i->hook_gid;
    bool ok = setsid() > 0 && chdir("/") == 0;
    if (ok && i->hook_uid != UINT32_MAX)
        ok = setgroups(1, &group) == 0 && setresgid(group, group, group) == 0 &&
             setresuid(i->hook_uid, i->hook_uid, i->hook_uid) == 0;
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ok = ok && null >= 0 && dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0 &&
         dup2(null, STDIN_FILENO) >= 0;
    fds_end_at_exec(STDERR_FILENO + 1);
    if (ok)
        (void)execve(i->hook, argv, environment); /* returns only when it failed */
    const char *why = strerrordesc_np(errno);
    (void)!write(STDERR_FILENO, why, strlen(why)); /* reported with its end */
    _exit(127);
}

/* With all that it has started; before its setsid() it is alone. It is reaped like any other. */
static void kill_hook(pid_t pid) {
    if (kill(-pid, SIGKILL) < 0)
        (void)kill(pid, SIGKILL); /* it may have ended just now */
}

static void answer_hook(struct worker *w, const char *why) {
    if (worker_runs(w) && control_send_hooked(w->control, span_str(why)) < 0)
        worker_kill(w); /* its successor begins again */
}

static bool start_hook(struct super *s, const struct conf_issuer *i, const struct control_hook *h, const char *record) {
    char issuer[sizeof("ACME_ISSUER=") + CONF_NAME_MAX];
    char program[] = SEARCH_PATH, value[HOOK_VALUE_LEN + 1], name[RECORD_MAX], verb[16], file[PATH_MAX];
    (void)snprintf(issuer, sizeof(issuer), "ACME_ISSUER=%s", i->name); /* none of these can be cut */
    (void)snprintf(verb, sizeof(verb), "%s", verbs[h->verb]);
    (void)snprintf(name, sizeof(name), "%s", record);
    (void)snprintf(file, sizeof(file), "%s", i->hook);
    memcpy(value, h->value, sizeof(value));
    char *const argv[] = {file, verb, name, value, NULL}, *const environment[] = {program, issuer, NULL};
    int output = -1;
    if (hook_output_open(s, &s->hook.output, &output) < 0)
        return false;
    pid_t pid = fork();
    if (pid == 0)
        exec_hook(i, argv, environment, output);
    int error = errno;
    close(output);
    if (pid < 0)
        hook_output_close(&s->hook.output);
    s->hook.pid = MAX(pid, 0);
    errno = error;
    return pid > 0;
}

bool hook_ask(struct super *s, struct worker *w, const struct ipc_msg *m) {
    const struct conf_acme *a = &w->gen->conf->acme;
    struct control_hook h;
    char record[RECORD_MAX];
    if (control_read_hook(m, &h) < 0 || h.issuer >= a->nissuers || !a->issuers[h.issuer].hook || h.cert >= a->ncerts ||
        h.name >= a->certs[h.cert].nnames)
        return false;
    if (s->hook.pid) {
        answer_hook(w, "another one is still running");
        return true;
    }
    const char *name = a->certs[h.cert].names[h.name];
    name += strncmp(name, WILDCARD, strlen(WILDCARD)) == 0 ? strlen(WILDCARD) : 0;
    (void)snprintf(record, sizeof(record), "_acme-challenge.%s", name);
    s->hook = (struct hook){.asker = w, .output.fd = -1, .timer.kind = SUPER_TIMER_HOOK};
    (void)snprintf(s->hook.what, sizeof(s->hook.what), "%.200s %s %s", a->issuers[h.issuer].hook, verbs[h.verb], record);
    if (start_hook(s, &a->issuers[h.issuer], &h, record))
        wheel_arm(&s->loop.wheel, &s->hook.timer, s->loop.now_ms + HOOK_MS);
    else
        answer_hook(w, strerrordesc_np(errno));
    return true;
}

void hook_timer(void *ctx, struct wtimer *t) {
    struct super *s = ctx;
    s->hook.late = true;
    kill_hook(s->hook.pid);
}

static void log_output(struct super *s, bool ended) {
    char prefix[sizeof(s->hook.what) + 2];
    struct hook_output *o = &s->hook.output;
    (void)snprintf(prefix, sizeof(prefix), "%s: ", s->hook.what);
    if (ended)
        hook_output_end(s, o, prefix);
    else if (!hook_output_read(s, o, prefix))
        hook_output_close(o); /* the program has closed it, or has ended */
}

void hook_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)key, (void)gen, (void)events; /* of one that has ended: there is nothing to read */
    log_output(ctx, false);
}

void hook_ended(struct super *s, pid_t pid, int status) {
    char why[HOOKED_MAX] = "";
    struct text t = text_of(why, sizeof(why));
    if (pid != s->hook.pid)
        return;
    wheel_cancel(&s->loop.wheel, &s->hook.timer);
    (void)kill(-pid, SIGKILL); /* what it has left running would be in the way of the next one */
    log_output(s, true);
    s->hook.pid = 0;
    if (s->hook.late)
        text_addf(&t, "no end within %d minutes", HOOK_MS / 60000);
    else if (WIFSIGNALED(status))
        text_addf(&t, "killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status))
        text_addf(&t, "ended with status %d", WEXITSTATUS(status));
    log_msg(&s->log, why[0] ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s: %s", s->hook.what, why[0] ? why : "done");
    answer_hook(s->hook.asker, why);
}

static void abandon_hook(struct super *s) {
    wheel_cancel(&s->loop.wheel, &s->hook.timer);
    kill_hook(s->hook.pid);
    log_output(s, true);
    s->hook.pid = 0;
}

void hook_drop(struct super *s, const struct worker *w) {
    if (s->hook.pid && s->hook.asker == w)
        abandon_hook(s);
}

void hook_interrupt(struct super *s) {
    if (!s->hook.pid)
        return;
    abandon_hook(s);
    answer_hook(s->hook.asker, "tls-off was upgraded meanwhile");
}
