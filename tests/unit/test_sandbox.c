/*
 * What each role can no longer do inside the sandbox: every forbidden thing is tried for real, in a process of its own
 * that is inside it, and what the role needs is tried as well.
 */
#include "process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"

#define AF_XDP_ 44

enum outcome { DONE, REFUSED, KILLED, BROKEN, OPEN /* a sanitizer's build has no filters */ };

static pid_t victim;          /* another process of the same user, as the other roles are */
static uint16_t backend_port; /* a listening TCP socket that relays may connect to */
static uint16_t foreign_port; /* one that they may not */
static char dir[] = "/tmp/tls-off-sandbox-XXXXXX";

/* 0 when it worked, -1 with errno. */
typedef int (*attempt)(void);

static int read_a_file(void) {
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : close(fd);
}

static int make_a_file(void) {
    char name[64];
    snprintf(name, sizeof(name), "/tmp/tls-off-sandbox-%d", (int)getpid());
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    unlink(name);
    return close(fd);
}

static int write_the_log(void) {
    char name[64];
    snprintf(name, sizeof(name), "%s/log", dir);
    int fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, "x", 1) == 1;
    return ok ? close(fd) : -1;
}

/* What a directory of one's own is for: files, directories, links, renames, removal. */
static int use_the_directory(void) {
    char at[64], file[80], other[80], below[80];
    snprintf(at, sizeof(at), "%s/own", dir);
    snprintf(file, sizeof(file), "%s/file.%d", at, (int)getpid());
    snprintf(other, sizeof(other), "%s/other.%d", at, (int)getpid());
    snprintf(below, sizeof(below), "%s/below.%d", at, (int)getpid());
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool ok =
        fd >= 0 && fsync(fd) == 0 && close(fd) == 0 && rename(file, other) == 0 && symlinkat("other", AT_FDCWD, file) == 0;
    ok = ok && mkdir(below, 0700) == 0 && unlinkat(AT_FDCWD, below, AT_REMOVEDIR) == 0;
    return ok && unlink(file) == 0 ? unlink(other) : -1;
}

static int connect_to(uint16_t port) {
    const struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int ret = connect(fd, (const struct sockaddr *)&to, sizeof(to));
    int error = errno;
    close(fd);
    errno = error;
    return ret;
}

static int connect_to_backend(void) {
    return connect_to(backend_port);
}

static int connect_elsewhere(void) {
    return connect_to(foreign_port);
}

static int open_udp(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : close(fd);
}

static int open_packet(void) {
    int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    return fd < 0 ? -1 : close(fd);
}

static int listen_again(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    const struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int ret = bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 ? -1 : listen(fd, 1);
    int error = errno;
    close(fd);
    errno = error;
    return ret;
}

static int run_a_program(void) {
    char name[] = "/bin/true";
    char *argv[] = {name, NULL};
    return execv(name, argv);
}

static int fork_away(void) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : 0;
}

static int trace_a_sibling(void) {
    return (int)ptrace(PTRACE_ATTACH, victim, NULL, NULL);
}

static int read_a_sibling(void) {
    char byte;
    struct iovec mine = {&byte, 1}, theirs = {dir, 1}; /* the same address there: it is a fork */
    return process_vm_readv(victim, &mine, 1, &theirs, 1, 0) == 1 ? 0 : -1;
}

static int open_a_siblings_memory(void) {
    char name[64];
    snprintf(name, sizeof(name), "/proc/%d/mem", (int)victim);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -1 : close(fd);
}

static int signal_a_sibling(void) {
    return kill(victim, SIGCONT);
}

static int signal_oneself(void) {
    return (int)syscall(SYS_tgkill, getpid(), gettid(), 0);
}

static int make_code(void) {
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int make_data(void) {
    void *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? -1 : munmap(p, 1 << 20);
}

static int become_root(void) {
    return setresuid(0, 0, 0);
}

static int leave_the_network(void) {
    return unshare(CLONE_NEWUSER | CLONE_NEWNET);
}

static int load_bpf(void) {
    union bpf_attr a;
    memset(&a, 0, sizeof(a));
    a.map_type = BPF_MAP_TYPE_ARRAY;
    a.key_size = a.value_size = 4;
    a.max_entries = 1;
    return syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof(a)) < 0 ? -1 : 0;
}

static int start_a_uring(void) {
    uint8_t params[120] = {0};
    return syscall(SYS_io_uring_setup, 1, params) < 0 ? -1 : 0;
}

static int make_an_eventfd(void) {
    int fd = eventfd(0, EFD_CLOEXEC);
    return fd < 0 ? -1 : close(fd);
}

/* ---- by argument: what is tried is set before the fork ---- */

static struct { int a, b, c; } tried;

static int open_a_socket(void) {
    int fd = socket(tried.a, tried.b | SOCK_CLOEXEC, tried.c);
    return fd < 0 ? -1 : close(fd);
}

static int own_fd; /* a TCP socket that every role has */

/* 0 when the kernel was let see it, whatever it thinks of the value. */
static int set_an_option(void) {
    int one = 1;
    return setsockopt(own_fd, tried.a, tried.b, &one, sizeof(one)) == 0 || (errno != EPERM && errno != EACCES) ? 0 : -1;
}

static int do_fcntl(void) {
    return fcntl(own_fd, tried.a, tried.b) >= 0 || (errno != EPERM && errno != EACCES) ? 0 : -1;
}

static struct sockaddr_un abstract_name;

static int connect_to_abstract(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int ret = connect(fd, (const struct sockaddr *)&abstract_name, sizeof(abstract_name));
    int error = errno;
    close(fd);
    errno = error;
    return ret;
}

#define BIT(role) (1u << (role))

/* Every attempt, and the roles that may do it. */
static const struct row {
    const char *what;
    attempt fn;
    unsigned roles;
} rows[] = {
    {"read /etc/passwd", read_a_file, BIT(ROLE_RESOLVER) | BIT(ROLE_CONFIG) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER)},
    {"do as it likes in a directory of its own", use_the_directory, BIT(ROLE_CONFIG) | BIT(ROLE_KEYMAKER) | BIT(ROLE_ACME)},
    {"make a file in /tmp", make_a_file, BIT(ROLE_CONFIG)},
    {"append to the log by its name", write_the_log, BIT(ROLE_CONFIG)},
    {"connect to a backend's port", connect_to_backend,
     BIT(ROLE_RELAY) | BIT(ROLE_RESOLVER) | BIT(ROLE_CONFIG) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER)},
    {"connect to another port", connect_elsewhere, BIT(ROLE_RESOLVER) | BIT(ROLE_CONFIG) | BIT(ROLE_ACME)},
    {"open a UDP socket", open_udp, BIT(ROLE_RESOLVER) | BIT(ROLE_CONFIG) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER)},
    {"open a packet socket", open_packet, 0},
    {"listen on a new socket", listen_again, BIT(ROLE_CONFIG)},
    {"run a program", run_a_program, 0},
    {"fork", fork_away, 0},
    {"ptrace another role", trace_a_sibling, 0},
    {"read another role's memory", read_a_sibling, 0},
    {"open another role's memory", open_a_siblings_memory, 0},
    {"signal another role", signal_a_sibling, 0},
    {"signal oneself, as abort() does", signal_oneself, ~0u},
    {"make code", make_code, BIT(ROLE_RESOLVER) | BIT(ROLE_CONFIG) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER)},
    {"map memory", make_data, ~0u},
    {"become root", become_root, 0},
    {"leave the namespaces", leave_the_network, 0},
    {"load BPF", load_bpf, 0},
    {"start io_uring", start_a_uring, 0},
    {"make an eventfd, as its HTTP server does", make_an_eventfd, BIT(ROLE_OBSERVER) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER)},
};

/* An older kernel: only its version of Landlock is not the real one. */
static long kernel_abi, pretended_abi;
long __real_syscall(long nr, ...);
long __wrap_syscall(long nr, ...);
/* As many arguments as a call may have, whether they were given or not: AddressSanitizer would object. */
__attribute__((no_sanitize("address"))) long __wrap_syscall(long nr, ...) {
    long a[6];
    va_list ap;
    va_start(ap, nr);
    for (size_t i = 0; i < ARRAY_LEN(a); i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    bool asked = nr == SYS_landlock_create_ruleset && a[2] == 1 /* version */;
    return asked && pretended_abi ? (kernel_abi = pretended_abi) : __real_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static bool abstract_backends;
static unsigned missing_here; /* what sandbox_enter() reported */

static int scopes_are_reported(void) {
    bool expected = kernel_abi >= 1 && kernel_abi < 6;
    return expected == !!(missing_here & SANDBOX_NO_SCOPES) ? 0 : -1;
}

/* Enters the sandbox of ROLE and tries; the answer is the exit status. */
static void in_role(enum role role, attempt fn) {
    char line[256];
    struct text why = text_of(line, sizeof(line));
    char own[64];
    snprintf(own, sizeof(own), "%s/own", dir);
    const struct sandbox sandbox = {
        .user = "nobody", .directory = own, .ports = &backend_port, .nports = 1, .abstract_sockets = abstract_backends};
    unsigned missing = 0;
    if (sandbox_enter(role, &sandbox, &missing, &why) < 0) {
        fprintf(stderr, "%s: %s\n", role_name(role), line);
        _exit(BROKEN);
    }
    if (missing & SANDBOX_NO_SECCOMP)
        _exit(OPEN);
    missing_here = missing;
    errno = 0;
    _exit(fn() == 0 ? DONE : errno == EPERM || errno == EACCES ? REFUSED : BROKEN);
}

static enum outcome outcome_of(enum role role, attempt fn) {
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        in_role(role, fn);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : BROKEN;
    return (enum outcome)WEXITSTATUS(status);
}

static void check_role(enum role role) {
    unsigned wrong = 0;
    if (outcome_of(role, make_data) == OPEN)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool may = rows[i].roles & BIT(role);
        enum outcome o = outcome_of(role, rows[i].fn);
        bool right = may ? o == DONE : o == REFUSED || o == KILLED;
        if (!right)
            print_error("%s: %s: outcome %d\n", role_name(role), rows[i].what, (int)o);
        wrong += !right;
    }
    assert_int_equal(wrong, 0);
}

static void test_relay(void **state) {
    check_role(ROLE_RELAY);
}

static void test_handshaker(void **state) {
    check_role(ROLE_HANDSHAKER);
}

static void test_resolver(void **state) {
    check_role(ROLE_RESOLVER);
}

static void test_observer(void **state) {
    check_role(ROLE_OBSERVER);
}

static void test_signer(void **state) {
    check_role(ROLE_SIGNER);
}

static void test_config(void **state) {
    check_role(ROLE_CONFIG);
}

static void test_keymaker(void **state) {
    check_role(ROLE_KEYMAKER);
}

static void test_acme(void **state) {
    check_role(ROLE_ACME);
}

static void test_fleet(void **state) {
    check_role(ROLE_FLEET);
}

static void test_exporter(void **state) {
    check_role(ROLE_EXPORTER);
}

/* One thing in every role: done by those of ROLES, held back in all others. */
static unsigned wrong_in_roles(const char *what, attempt fn, unsigned roles) {
    unsigned wrong = 0;
    for (unsigned role = ROLE_CONFIG; role < ROLE_COUNT; role++) {
        enum outcome o = outcome_of((enum role)role, fn);
        bool right = roles & BIT(role) ? o == DONE : o == REFUSED || o == KILLED;
        if (!right)
            print_error("%s: %s (%d, %d, %d): outcome %d\n", role_name((enum role)role), what, tried.a, tried.b, tried.c,
                        (int)o);
        wrong += !right;
    }
    return wrong;
}

static void test_every_kind_of_socket_in_every_role(void **state) {
    static const int families[] = {AF_UNIX,  AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_KEY,  AF_APPLETALK,
                                   AF_VSOCK, AF_ALG,  AF_CAN,   AF_TIPC,    AF_RDS,    AF_XDP_, AF_BLUETOOTH};
    static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_RDM, SOCK_SEQPACKET};
    const unsigned relay = BIT(ROLE_RELAY), resolver = BIT(ROLE_RESOLVER) | BIT(ROLE_ACME) | BIT(ROLE_EXPORTER),
                   config = BIT(ROLE_CONFIG);
    unsigned local = access("/run/nscd/socket", F_OK) == 0 || access("/run/systemd/resolve/io.systemd.Resolve", F_OK) == 0 ||
                             access("/run/avahi-daemon/socket", F_OK) == 0
                         ? resolver
                         : 0;
    const struct {
        int family, kind;
        unsigned roles;
    } allowed[] = {
        {AF_UNIX, SOCK_STREAM, relay | config | local | BIT(ROLE_FLEET)},
        {AF_UNIX, SOCK_DGRAM, BIT(ROLE_OBSERVER)},
        {AF_INET, SOCK_STREAM, relay | resolver | config},
        {AF_INET, SOCK_DGRAM, resolver | config},
        {AF_INET6, SOCK_STREAM, relay | resolver | config},
        {AF_INET6, SOCK_DGRAM, resolver | config},
        {AF_NETLINK, SOCK_RAW, resolver | config},
    };
    unsigned wrong = 0;
    if (outcome_of(ROLE_RELAY, make_data) == OPEN)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        for (size_t j = 0; j < ARRAY_LEN(kinds); j++) {
            unsigned roles = 0;
            for (size_t k = 0; k < ARRAY_LEN(allowed); k++)
                roles |= allowed[k].family == families[i] && allowed[k].kind == kinds[j] ? allowed[k].roles : 0;
            tried.a = families[i];
            tried.b = kinds[j];
            tried.c = 0;
            wrong += wrong_in_roles("socket", open_a_socket, roles);
        }
    assert_int_equal(wrong, 0);
}

static void test_other_protocols_of_allowed_families(void **state) {
    static const int others[][3] = {
        {AF_NETLINK, SOCK_RAW, NETLINK_AUDIT},   {AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG},
        {AF_NETLINK, SOCK_RAW, NETLINK_GENERIC}, {AF_INET, SOCK_STREAM, 262 /* MPTCP */},
        {AF_INET, SOCK_STREAM, IPPROTO_SCTP},    {AF_INET, SOCK_DGRAM, IPPROTO_ICMP},
        {AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6},
    };
    unsigned wrong = 0;
    if (outcome_of(ROLE_RELAY, make_data) == OPEN)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        memcpy(&tried, others[i], sizeof(tried));
        wrong += wrong_in_roles("socket", open_a_socket, 0);
    }
    assert_int_equal(wrong, 0);
}

static void test_options_of_sockets(void **state) {
    static const int refused[][2] = {
        {SOL_SOCKET, SO_ATTACH_FILTER},
        {SOL_SOCKET, SO_ATTACH_BPF},
        {SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF},
        {SOL_SOCKET, SO_MARK},
        {SOL_SOCKET, SO_DEBUG},
        {SOL_SOCKET, SO_LOCK_FILTER},
        {SOL_SOCKET, SO_REUSEPORT},
        {IPPROTO_TCP, 31 /* TCP_ULP */},
        {IPPROTO_TCP, TCP_REPAIR},
        {IPPROTO_TCP, 14 /* TCP_MD5SIG */},
        {IPPROTO_IP, IP_TRANSPARENT},
    };
    unsigned wrong = 0;
    if (outcome_of(ROLE_RELAY, make_data) == OPEN)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        tried.a = refused[i][0];
        tried.b = refused[i][1];
        wrong += wrong_in_roles("setsockopt", set_an_option, 0);
    }
    tried.a = SOL_SOCKET;
    tried.b = SO_BINDTODEVICE; /* of a listener that is tried out */
    wrong += wrong_in_roles("setsockopt", set_an_option, 1u << ROLE_CONFIG);
    tried.a = IPPROTO_TCP;
    tried.b = TCP_NODELAY;
    wrong += wrong_in_roles("setsockopt", set_an_option, ~0u);
    assert_int_equal(wrong, 0);
}

static void test_commands_of_fcntl(void **state) {
    static const int refused[][2] = {{F_SETOWN, 1},         {F_SETSIG, SIGKILL}, {F_SETFL, O_NONBLOCK | O_ASYNC},
                                     {F_SETLEASE, F_WRLCK}, {F_NOTIFY, 2},       {F_SETPIPE_SZ, 4096},
                                     {F_SETOWN_EX, 0},      {F_SETLK, 0}};
    static const int allowed[][2] = {
        {F_GETFL, 0}, {F_SETFL, O_NONBLOCK}, {F_GETFD, 0}, {F_SETFD, FD_CLOEXEC}, {F_GET_SEALS, 0}};
    unsigned wrong = 0;
    if (outcome_of(ROLE_RELAY, make_data) == OPEN)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        tried.a = refused[i][0];
        tried.b = refused[i][1];
        wrong += wrong_in_roles("fcntl", do_fcntl, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(allowed); i++) {
        tried.a = allowed[i][0];
        tried.b = allowed[i][1];
        wrong += wrong_in_roles("fcntl", do_fcntl, ~0u);
    }
    assert_int_equal(wrong, 0);
}

static bool kernel_has_scopes(void) {
    return syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* version */) >= 6;
}

/* A relay reaches them only where a backend is one. */
static void test_abstract_sockets(void **state) {
    if (outcome_of(ROLE_RELAY, make_data) == OPEN || !kernel_has_scopes())
        skip();
    abstract_backends = true;
    assert_int_equal(wrong_in_roles("connect to an abstract socket", connect_to_abstract, BIT(ROLE_RELAY)), 0);
    abstract_backends = false;
    assert_int_equal(wrong_in_roles("connect to an abstract socket", connect_to_abstract, 0), 0);
}

/* Reported by sandbox_enter() of kernels that lack them. */
static void test_missing_scopes_are_reported(void **state) {
    if (outcome_of(ROLE_RELAY, make_data) == OPEN || !kernel_has_scopes())
        skip();
    unsigned wrong = 0;
    for (pretended_abi = 1; pretended_abi <= 6; pretended_abi++)
        wrong += wrong_in_roles("scopes", scopes_are_reported, ~0u);
    pretended_abi = 0;
    assert_int_equal(wrong, 0);
}

static void remove_log(void) {
    char name[64];
    snprintf(name, sizeof(name), "%s/log", dir);
    unlink(name);
}

/* Outside the sandbox each attempt works for root here, so that a refusal above means something. */
static void test_the_attempts_are_real(void **state) {
    static const attempt surely[] = {
        read_a_file,     make_a_file,    write_the_log,    connect_to_backend, connect_elsewhere,
        open_udp,        listen_again,   fork_away,        read_a_sibling,     open_a_siblings_memory,
        trace_a_sibling, signal_oneself, signal_a_sibling, make_code,          make_data};
    if (geteuid() != 0)
        skip();
    for (size_t i = 0; i < ARRAY_LEN(surely); i++) {
        int status;
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
            _exit(surely[i]() == 0 ? 0 : 1);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
            fail_msg("attempt %zu does not work without the sandbox", i);
        (void)kill(victim, SIGCONT); /* after a ptrace */
    }
    remove_log(); /* root's, now */
}

static void test_process_flags(void **state) {
    if (outcome_of(ROLE_RELAY, make_data) == OPEN)
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char line[256];
        struct text why = text_of(line, sizeof(line));
        if (sandbox_supervisor(&why) < 0)
            _exit(1);
        struct rlimit core;
        bool ok = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 &&
                  getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0;
        _exit(ok && (geteuid() != 0 || prctl(PR_CAPBSET_READ, 21 /* SYS_ADMIN */, 0, 0, 0) == 0) ? 0 : 2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_unknown_user(void **state) {
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char line[256];
        struct text why = text_of(line, sizeof(line));
        unsigned missing;
        int err = sandbox_enter(ROLE_RELAY, &(struct sandbox){.user = "no-such-user"}, &missing, &why);
        _exit(err == ERR_NOT_FOUND && strcmp(line, "user no-such-user: not found") == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static uint16_t listener(int *ret_fd) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(a);
    *ret_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(*ret_fd, (struct sockaddr *)&a, len) < 0 || listen(*ret_fd, 64) < 0 ||
        getsockname(*ret_fd, (struct sockaddr *)&a, &len) < 0)
        return 0;
    return ntohs(a.sin_port);
}

static int set_up(void **state) {
    static int fds[2];
    backend_port = listener(&fds[0]);
    own_fd = fds[0];
    abstract_name.sun_family = AF_UNIX;
    snprintf(abstract_name.sun_path + 1, sizeof(abstract_name.sun_path) - 1, "tls-off-sandbox-%d", (int)getpid());
    static int abstract;
    abstract = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(abstract, (struct sockaddr *)&abstract_name, sizeof(abstract_name)) < 0 || listen(abstract, 64) < 0)
        return -1;
    foreign_port = listener(&fds[1]);
    char own[64];
    if (!mkdtemp(dir) || chmod(dir, 0777) < 0)
        return -1;
    snprintf(own, sizeof(own), "%s/own", dir);
    if (mkdir(own, 0777) < 0 || chmod(own, 0777) < 0)
        return -1;
    victim = fork();
    if (victim == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
            pause();
    }
    return backend_port && foreign_port && victim > 0 ? 0 : -1;
}

static int tear_down(void **state) {
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
    char own[64];
    snprintf(own, sizeof(own), "%s/own", dir);
    remove_log();
    return rmdir(own) == 0 ? rmdir(dir) : -1; /* nobody left anything */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_attempts_are_real),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_handshaker),
        cmocka_unit_test(test_resolver),
        cmocka_unit_test(test_observer),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_keymaker),
        cmocka_unit_test(test_acme),
        cmocka_unit_test(test_fleet),
        cmocka_unit_test(test_exporter),
        cmocka_unit_test(test_signer),
        cmocka_unit_test(test_every_kind_of_socket_in_every_role),
        cmocka_unit_test(test_other_protocols_of_allowed_families),
        cmocka_unit_test(test_options_of_sockets),
        cmocka_unit_test(test_commands_of_fcntl),
        cmocka_unit_test(test_abstract_sockets),
        cmocka_unit_test(test_missing_scopes_are_reported),
        cmocka_unit_test(test_process_flags),
        cmocka_unit_test(test_unknown_user),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
