/*
 * CPU time to move a live session from one relay to another, both sides together, over the relay's own code in one process:
 * idle sessions of TLS 1.3 over Unix sockets. Their other ends are held by processes that do nothing, so that descriptors
 * suffice.
 *
 *   migrate-bench [SESSIONS [ROUNDS]]
 */
#include "../tests/unit/relay_bench.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#define A_HOLDER 1000 /* sessions whose ends one process holds */

static double cpu_us(clockid_t clock) {
    struct timespec t;
    MUST(clock_gettime(clock, &t) == 0);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void die_with_parent(void) {
    MUST(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
}

/* Accepts for ever and keeps what it gets; more of them share the descriptors. */
static void hold_backends(void) {
    if (fork() != 0)
        return;
    die_with_parent();
    fcntl(bench.listener, F_SETFL, 0);
    while (accept4(bench.listener, NULL, NULL, SOCK_CLOEXEC) >= 0 || errno == EINTR)
        ;
    pause();
    _exit(0);
}

static void start_one(int client) {
    struct record_layer keys = {.suite_id = 0x1301, .out_max = RECORD_PLAIN_MAX, .in.seq = 7, .out.seq = 7};
    struct conn_info info = {.tls_version = TLS_1_3, .suite = 0x1301};
    info.client =
        (struct addr){.family = AF_INET, .port = (uint16_t)client, .ip = {192, 0, (uint8_t)(client >> 8), (uint8_t)client}};
    info.local = (struct addr){.family = AF_INET, .port = 443, .ip = {192, 0, 2, 2}};
    info.sni = span_str("www.example.org");
    info.alpn = span_str("h2");
    info.ja4 = span_str("t13d1516h2_8daaf6152771_e5627efa2ab1");
    bench_start(&info, &keys, span_of(NULL, 0), client);
}

static void start_some(unsigned n) {
    int outer[A_HOLDER];
    for (unsigned i = 0; i < n; i++) {
        int fds[2];
        MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
        outer[i] = fds[1];
        start_one(fds[0]);
        bench_turn_of(&relay);
    }
    if (fork() == 0) {
        die_with_parent();
        closefrom(outer[n - 1] + 1);
        pause();
        _exit(0);
    }
    for (unsigned i = 0; i < n; i++)
        close(outer[i]);
}

int main(int argc, char **argv) {
    unsigned sessions = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5000;
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 10;
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    MUST(getrlimit(RLIMIT_NOFILE, &files) == 0);
    files.rlim_cur = files.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &files) == 0);
    bench_begin(64 * 1024 * 1024);
    listen(bench.listener, 4096);
    hold_backends();
    for (unsigned i = 0; i < sessions; i += A_HOLDER)
        start_some(MIN(sessions - i, A_HOLDER));
    for (int i = 0; i < 200 && relay.backlog_waiters; i++) {
        bench_later(10);
        usleep(1000);
    }
    unsigned open = 0;
    uint32_t slot = 0;
    for (const struct session *s; (s = slab_next(&relay.sessions, &slot));)
        open += s->state == SESSION_OPEN;
    printf("%u of %u sessions are open\n", open, sessions);
    for (unsigned i = 0; i < rounds; i++) {
        struct rusage before, after;
        getrusage(RUSAGE_SELF, &before);
        double began = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
        bench_hop(i % 2 ? &bench_other : &relay, i % 2 ? &relay : &bench_other);
        double took = cpu_us(CLOCK_PROCESS_CPUTIME_ID) - began;
        getrusage(RUSAGE_SELF, &after);
        double user = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1e6 +
                      (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec);
        printf("%.2f us of CPU a session (%.2f in user space)\n", took / open, user / open);
    }
    return 0;
}
