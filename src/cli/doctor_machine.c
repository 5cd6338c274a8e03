/* The machine as `tls-off doctor` sees it. */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cli/doctor.h"

#define LANDLOCK_VERSION 1u /* LANDLOCK_CREATE_RULESET_VERSION */
#define FEW_DESCRIPTORS  65536
#define SMALL_MEMLOCK    (UINT64_C(8) << 20)
#define SMALL_BACKLOG    4096
#define YEAR_OF_BUILD    2026

/* A file with one number; false when there is none. */
static bool read_number_file(const char *file, uint64_t *ret) {
    char line[64] = "";
    FILE *f = fopen(file, "re");
    bool ok = f && fgets(line, sizeof(line), f);
    if (f)
        (void)fclose(f); /* was only read */
    line[strcspn(line, " \t\n")] = '\0';
    return ok && text_parse_u64(line, UINT64_MAX, ret) == 0;
}

static void look_at_kernel(struct doctor *d) {
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2) {
        bool old = major < 5 || (major == 5 && minor < 10);
        doctor_say(d, old ? FINDING_WRONG : FINDING_GOOD, "kernel", old ? "use Linux 5.10 or newer" : NULL, "Linux %s",
                   u.release);
    }
    if (access("/proc/self/exe", F_OK) < 0)
        doctor_say(d, FINDING_WRONG, "kernel", "mount -t proc proc /proc", "/proc is not mounted: nothing starts without it");
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    if (abi >= 1)
        doctor_say(d, FINDING_GOOD, "sandbox", NULL, "Landlock ABI %ld%s", abi,
                   abi < 4 ? ": files are restricted, TCP ports are not" : "");
    else
        doctor_say(d, FINDING_ADVICE, "sandbox", "boot with landlock among the modules of lsm=, or use a newer kernel",
                   "no Landlock: files and ports are up to the system call filter");
    if (prctl(PR_GET_SECCOMP) < 0 && errno == EINVAL)
        doctor_say(d, FINDING_ADVICE, "sandbox", "use a kernel with CONFIG_SECCOMP_FILTER", "no system call filter");
    if (geteuid() != 0)
        doctor_say(d, FINDING_ADVICE, "sandbox", "start as root with \"user\", or by a unit: each role then has its own rights",
                   "not root: all processes run as one user");
}

static void look_at_limits(struct doctor *d) {
    struct rlimit files, lock;
    uint64_t n;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        bool few = files.rlim_max < FEW_DESCRIPTORS;
        doctor_say(d, few ? FINDING_ADVICE : FINDING_GOOD, "limits",
                   few ? "raise the hard limit: LimitNOFILE= of the unit, ulimit -Hn; a session takes two" : NULL,
                   "%llu descriptors a process", (unsigned long long)files.rlim_max);
    }
    if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0) {
        bool small = lock.rlim_max != RLIM_INFINITY && lock.rlim_max < SMALL_MEMLOCK && geteuid() != 0;
        doctor_say(d, small ? FINDING_ADVICE : FINDING_GOOD, "limits",
                   small ? "raise it (LimitMEMLOCK= of the unit, --ulimit memlock of a container), or keys may reach swap"
                         : NULL,
                   lock.rlim_max == RLIM_INFINITY ? "memory for keys can be locked" : "%llu KiB of memory can be locked",
                   (unsigned long long)lock.rlim_max / 1024);
    }
    if (read_number_file("/proc/sys/net/core/somaxconn", &n)) {
        bool small = n < SMALL_BACKLOG;
        doctor_say(d, small ? FINDING_ADVICE : FINDING_GOOD, "limits", small ? "sysctl net.core.somaxconn=4096" : NULL,
                   "%llu connections may wait at an address (net.core.somaxconn)", (unsigned long long)n);
    }
    uint64_t used, most;
    if (read_number_file("/proc/sys/net/netfilter/nf_conntrack_max", &most) &&
        read_number_file("/proc/sys/net/netfilter/nf_conntrack_count", &used) && used > most / 2)
        doctor_say(d, FINDING_ADVICE, "limits", "raise net.netfilter.nf_conntrack_max, or exempt our addresses from tracking",
                   "the table of connection tracking is %llu %% full", (unsigned long long)(100 * used / most));
}

static void look_at_clock(struct doctor *d) {
    struct timex t = {.modes = 0};
    struct tm now;
    time_t s = time(NULL);
    int state = adjtimex(&t);
    if (gmtime_r(&s, &now) && now.tm_year + 1900 < YEAR_OF_BUILD)
        doctor_say(d, FINDING_WRONG, "clock", "set it: certificates are not valid yet", "the year is %d", now.tm_year + 1900);
    else if (state == TIME_ERROR || (state >= 0 && (t.status & STA_UNSYNC)))
        doctor_say(d, FINDING_ADVICE, "clock", "run chrony or systemd-timesyncd; a host may do it for its containers",
                   "nobody keeps it in step");
    else
        doctor_say(d, FINDING_GOOD, "clock", NULL, "in step");
}

static void look_at_libraries(struct doctor *d) {
    static const struct {
        const char *file, *package, *what;
    } libraries[] = {
        {"libmicrohttpd.so.12", "libmicrohttpd12", "commands, metrics and the dashboard"},
        {"libncursesw.so.6", "libncursesw6", "tls-off top"},
        {"libidn2.so.0", "libidn2-0", "names beyond ASCII"},
        {"libcurl.so.4", "libcurl4", "certificates from issuers, spans to a collector"},
        {"libbrotlienc.so.1", "libbrotli1", "certificates compressed by brotli"},
        {"libzstd.so.1", "libzstd1", "certificates compressed by zstd"},
        {"libz.so.1", "zlib1g", "certificates compressed by zlib"},
    };
    for (size_t i = 0; i < ARRAY_LEN(libraries); i++) {
        char todo[64];
        struct text t = text_of(todo, sizeof(todo));
        text_addf(&t, "apt install %s", libraries[i].package);
        void *l = dlopen(libraries[i].file, RTLD_LAZY | RTLD_LOCAL);
        if (!l)
            doctor_say(d, i == 0 ? FINDING_WRONG : FINDING_ADVICE, "libraries", todo, "%s is not installed: no %s",
                       libraries[i].file, libraries[i].what);
        else
            doctor_say(d, FINDING_GOOD, "libraries", NULL, "%s: %s", libraries[i].file, libraries[i].what);
        if (l)
            (void)dlclose(l);
    }
}

void doctor_machine(struct doctor *d) {
    look_at_kernel(d);
    look_at_limits(d);
    look_at_clock(d);
    look_at_libraries(d);
}
