#include "process/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/err.h"
#include "process/sandbox_calls.h"
#include "process/sandbox_open.h"
#include "process/sandbox_reach.h"

#define DIRS_MAX 6

/* What a C library reads to look a name up. */
static const struct reach_row names_dirs[] = {
    {"/etc", REACH_READ}, {"/lib", REACH_READ},      {"/lib64", REACH_READ}, {"/usr", REACH_READ},
    {"/run", REACH_READ}, {"/proc/sys", REACH_READ}, {NULL, REACH_READ},
};

/* Local times, and what the metrics say of processes. */
static const struct reach_row observer_dirs[] = {
    {"/etc/localtime", REACH_READ},
    {"/usr/share/zoneinfo", REACH_READ},
    {"/proc", REACH_READ},
    {NULL, REACH_READ},
};

_Static_assert(ARRAY_LEN(names_dirs) <= DIRS_MAX + 1 && ARRAY_LEN(observer_dirs) <= DIRS_MAX + 1, "close_files() has room");

/* A set of capabilities, by bits. */
#define CAP(name) (UINT64_C(1) << CAP_##name)

/*
 * role -> rights. Everybody: no capabilities but those listed, no new privileges, not dumpable (so no core dump, no ptrace and
 * no /proc/PID/mem for others of the same user), no signals to outsiders.
 */
static const struct rights {
    uint64_t caps;                /* kept */
    const struct reach_row *dirs; /* ended by a row without a path; NULL = none */
    unsigned calls;
    bool becomes_user;   /* gives up root */
    bool connects;       /* TCP to the configured ports */
    bool any_port;       /* TCP to any port */
    bool landlock_files; /* Landlock: only DIRS; else any */
    bool has_directory;  /* one of its own, to do in as it likes */
} rights[ROLE_COUNT] = {
    [ROLE_CONFIG] =
        {
            /* reads what the operator names, as root where we are root: no Landlock, as it may be anywhere */
            .calls = CALLS_LOOP | CALLS_READ_FILES | CALLS_WRITE_FILES | CALLS_RESOLVE | CALLS_USERS | CALLS_CHECK,
            .any_port = true,
            .caps = CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(CHOWN) | CAP(NET_BIND_SERVICE),
        },
    [ROLE_HANDSHAKER] =
        {
            .calls = CALLS_LOOP | CALLS_ACCEPT,
            .becomes_user = true,
            .landlock_files = true,
        },
    [ROLE_SIGNER] =
        {
            /* reads keys from descriptors that it is given */
            .calls = CALLS_LOOP,
            .becomes_user = true,
            .landlock_files = true,
        },
    [ROLE_RELAY] =
        {
            .calls = CALLS_LOOP | CALLS_CONNECT,
            .becomes_user = true,
            .connects = true,
            .landlock_files = true,
        },
    [ROLE_RESOLVER] =
        {
            .calls = CALLS_LOOP | CALLS_RESOLVE,
            .becomes_user = true,
            .any_port = true, /* a name server may answer anywhere */
            .landlock_files = true,
            .dirs = names_dirs,
        },
    [ROLE_KEYMAKER] =
        {
            /* stays root where we are root, without a capability: so no other role can read the keys that it makes */
            .calls = CALLS_LOOP | CALLS_READ_FILES | CALLS_WRITE_FILES,
            .landlock_files = true,
            .has_directory = true,
        },
    [ROLE_ACME] =
        {
            .calls = CALLS_LOOP | CALLS_ACCEPT | CALLS_RESOLVE | CALLS_CURL | CALLS_READ_FILES | CALLS_WRITE_FILES,
            .becomes_user = true,
            .any_port = true, /* an issuer may be anywhere */
            .landlock_files = true,
            .has_directory = true,
            .dirs = names_dirs,
        },
    [ROLE_FLEET] =
        {
            /* no rule of Landlock distinguishes Unix sockets: which it reaches is up to their files' rights */
            .calls = CALLS_LOOP | CALLS_STORE,
            .becomes_user = true,
            .landlock_files = true,
        },
    [ROLE_EXPORTER] =
        {
            /* its ports: the collector's, and that of name servers */
            .calls = CALLS_LOOP | CALLS_RESOLVE | CALLS_CURL,
            .becomes_user = true,
            .connects = true,
            .landlock_files = true,
            .dirs = names_dirs,
        },
    [ROLE_OBSERVER] =
        {
            .calls = CALLS_LOOP | CALLS_ACCEPT | CALLS_READ_FILES | CALLS_LOG,
            .becomes_user = true,
            .landlock_files = true,
            .dirs = observer_dirs,
        },
};

/* What the supervisor may still have to do: sockets, files, children of other users, their limits. */
#define SUPERVISOR_CAPS                                                                                                        \
    (CAP(CHOWN) | CAP(DAC_OVERRIDE) | CAP(DAC_READ_SEARCH) | CAP(FOWNER) | CAP(KILL) | CAP(SETGID) | CAP(SETUID) |             \
     CAP(SETPCAP) | CAP(NET_BIND_SERVICE) | CAP(NET_ADMIN) | CAP(IPC_LOCK) | CAP(SYS_NICE) | CAP(SYS_RESOURCE))

static int failed_call(struct text *why, const char *what) {
    text_addf(why, "%s: %s", what, strerror(errno));
    return ERR_SYSTEM;
}

/* Of CAPS those that we have: a container may have fewer than root elsewhere. */
static void keep_capabilities(uint64_t caps, capng_type_t sets) {
    uint64_t have = 0;
    if (capng_get_caps_process() == 0)
        for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
            have |= (uint64_t)(capng_have_capability(CAPNG_PERMITTED, i) == 1) << i;
    capng_clear(CAPNG_SELECT_ALL);
    for (unsigned i = 0; i <= CAP_LAST_CAP; i++)
        if (caps & have & UINT64_C(1) << i)
            (void)capng_update(CAPNG_ADD, sets, i); /* of a number within range */
}

/*
 * The bounding set goes first, while it still can. A container may have forbidden even that: then nothing is lost, because no
 * program is ever started that could gain by it.
 */
static void bound(uint64_t caps) {
    keep_capabilities(caps, CAPNG_BOUNDING_SET);
    if (geteuid() == 0)
        (void)capng_apply(CAPNG_SELECT_BOUNDS);
}

static int keep_caps(uint64_t caps, struct text *why) {
    keep_capabilities(caps, CAPNG_EFFECTIVE | CAPNG_PERMITTED);
    return capng_apply(CAPNG_SELECT_CAPS) == 0 ? 0 : failed_call(why, "capabilities cannot be dropped");
}

static int become_user(const char *user, struct text *why) {
    errno = 0;
    const struct passwd *p = getpwnam(user);
    if (!p) {
        text_addf(why, "user %s: %s", user, errno ? strerror(errno) : "not found");
        return ERR_NOT_FOUND;
    }
    if (initgroups(user, p->pw_gid) < 0 || setresgid(p->pw_gid, p->pw_gid, p->pw_gid) < 0 ||
        setresuid(p->pw_uid, p->pw_uid, p->pw_uid) < 0) {
        text_addf(why, "cannot become user %s: %s%s", user, strerror(errno),
                  errno == EPERM ? " (it takes CAP_SETUID and CAP_SETGID)" : "");
        return ERR_SYSTEM;
    }
    return 0;
}

/* After the change of user, which sets the first of these again. */
static int close_process(struct text *why) {
    const struct rlimit none = {0, 0};
    if (prctl(PR_SET_DUMPABLE, SANDBOX_IS_OPEN ? 1 : 0, 0, 0, 0) < 0 || setrlimit(RLIMIT_CORE, &none) < 0)
        return failed_call(why, "core dumps cannot be switched off");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return failed_call(why, "no_new_privs");
    return 0;
}

/* Name services that a C library may ask over a Unix socket, when they run here. */
static bool has_local_names(void) {
    static const char *const sockets[] = {"/run/nscd/socket", "/run/systemd/resolve/io.systemd.Resolve",
                                          "/run/avahi-daemon/socket"};
    for (size_t i = 0; i < ARRAY_LEN(sockets); i++)
        if (access(sockets[i], F_OK) == 0)
            return true;
    return false;
}

static int close_files(const struct rights *r, const struct sandbox *sandbox, unsigned *missing, struct text *why) {
    struct reach_row rows[DIRS_MAX + 2];
    struct reach_rules rules = {
        .any_file = !r->landlock_files,
        .rows = rows,
        .any_port = r->any_port,
        .ports = sandbox->ports,
        .nports = r->connects ? sandbox->nports : 0,
        .abstract_sockets = r->connects && sandbox->abstract_sockets,
    };
    int abi = 0;
    for (const struct reach_row *dir = r->dirs; dir && dir->path; dir++)
        rows[rules.nrows++] = *dir;
    if (r->has_directory && sandbox->directory)
        rows[rules.nrows++] = (struct reach_row){sandbox->directory, REACH_OWN};
    if (r->has_directory && sandbox->other)
        rows[rules.nrows++] = (struct reach_row){sandbox->other, REACH_OWN};
    if (!sandbox_reach(&rules, &abi))
        return failed_call(why, "Landlock");
    *missing |= abi < 1 ? SANDBOX_NO_LANDLOCK : abi < REACH_ABI_PORTS ? SANDBOX_NO_PORTS : 0;
    *missing |= abi >= 1 && abi < REACH_ABI_SCOPES ? SANDBOX_NO_SCOPES : 0;
    return 0;
}

static int close_calls(const struct rights *r, unsigned local_names, unsigned *missing, struct text *why) {
    const struct rlimit none = {0, 0};
    if (!(r->calls & CALLS_RESOLVE) && setrlimit(RLIMIT_NPROC, &none) < 0)
        return failed_call(why, "no processes");
    if (sandbox_calls(r->calls | (r->calls & CALLS_RESOLVE ? local_names : 0)))
        return 0;
    if (errno != ENOSYS)
        return failed_call(why, "seccomp");
    *missing |= SANDBOX_NO_SECCOMP;
    return 0;
}

int sandbox_enter(enum role role, const struct sandbox *sandbox, unsigned *ret_missing, struct text *why) {
    MUST(role < ROLE_COUNT && rights[role].calls);
    const struct rights *r = &rights[role];
    unsigned missing = 0, local_names = has_local_names() ? CALLS_LOCAL_NAMES : 0;
    int err = 0;
    bound(r->caps);
    if (r->becomes_user && geteuid() != 0)
        missing |= SANDBOX_NO_USER;
    else if (r->becomes_user && sandbox->user)
        err = become_user(sandbox->user, why);
    if (err == 0)
        err = keep_caps(r->caps, why);
    if (err == 0)
        err = close_process(why);
    if (err == 0)
        err = close_files(r, sandbox, &missing, why);
    if (err == 0)
        err = close_calls(r, local_names, &missing, why);
    if (err == 0)
        *ret_missing = missing;
    return err;
}

int sandbox_supervisor(struct text *why) {
    bound(SUPERVISOR_CAPS);
    int err = keep_caps(SUPERVISOR_CAPS, why);
    return err == 0 ? close_process(why) : err;
}
