/* The whole role in a process of its own, with this test as its supervisor and as the writer of every ring. */
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "conf_support.h"
#include "observer_samples.h"

#include "conf/snapshot.h"
#include "observer/observer.h"
#include "shm/ring.h"
#include "shm/scoreboard.h"
#include "shm/stats.h"
#include "wire/control.h"

#define RING_SIZE (64u * 1024)
#define WAIT_MS   20000

static char dir[64], file[96], other[96];
static char content[1024 * 1024];
static pid_t pid;
static int control = -1;
static uint8_t scratch[IPC_BODY_MAX + 2];

static int begin(void **state) {
    snprintf(dir, sizeof(dir), "/tmp/test_observer.XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof(file), "%s/log", dir);
    snprintf(other, sizeof(other), "%s/log.1", dir);
    return 0;
}

static int end(void **state) {
    if (control >= 0)
        close(control);
    control = -1;
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
    pid = 0;
    (void)unlink(file);
    (void)unlink(other);
    return rmdir(dir);
}

static int snapshot_fd(const char *target, const char *format, const char *level) {
    char text[1024];
    struct diagnostics f;
    diagnostics_init(&f);
    snprintf(text, sizeof(text),
             "workers = 1\nstate_dir = \"/tmp\"\n[log]\ntarget = \"%s\"\nformat = \"%s\"\nlevel = \"%s\"\n"
             "[service.web]\nmode = \"passthrough\"\nlisten = [\"127.0.0.1:0\"]\nbackends = [\"unix:/x\", \"unix:/y\"]\n",
             target, format, level);
    struct conf *c = load_text(text, strlen(text), &f);
    if (!c)
        print_error("%s", f.text);
    assert_non_null(c);
    int fd;
    assert_int_equal(snapshot_write(c, &fd), 0);
    conf_free(c);
    diagnostics_fini(&f);
    return fd;
}

/* The child; standard streams: STDERR_FD for both outputs when it is not -1. */
static void start_process(int stderr_fd) {
    int ends[2];
    assert_int_equal(ipc_pair(0, ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        if (stderr_fd >= 0)
            (void)dup2(stderr_fd, STDERR_FILENO);
        signal(SIGXFSZ, SIG_IGN); /* main() does */
        _exit(observer_run(ends[1], &sample_names));
    }
    close(ends[1]);
    control = ends[0];
}

static void send_setup(int snapshot) {
    int fds[4] = {snapshot, -1, -1, -1};
    assert_int_equal(scoreboard_create(1, 1, &fds[1]), 0);
    assert_int_equal(ring_create(RING_SIZE, &fds[2]), 0);
    assert_int_equal(stats_create(&fds[3]), 0);
    const struct control_setup setup = {.role = ROLE_OBSERVER, .workers = 1, .cpu = -1};
    assert_int_equal(control_send_setup(control, &setup, fds), 0);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

/* A ring in the name of that process, mapped here. */
static struct ring give_ring(enum role role, uint16_t index) {
    int fd;
    struct ring ring;
    assert_int_equal(ring_create(RING_SIZE, &fd), 0);
    assert_int_equal(ring_map(fd, &ring), 0);
    assert_int_equal(control_send_peer(control, CONTROL_RING, &(struct control_peer){role, index, 0}, fd), 0);
    close(fd);
    return ring;
}

/* The next message of the observer; type 0 when it ended. The text stays in the scratch. */
static struct ipc_msg hear(void) {
    struct ipc_msg m = {0};
    int err = 0;
    struct pollfd p = {.fd = control, .events = POLLIN};
    assert_int_equal(poll(&p, 1, WAIT_MS), 1);
    enum step step = ipc_recv(control, scratch, sizeof(scratch), control_to_supervisor, &m, &err);
    assert_true(step == STEP_DONE || step == STEP_EOF);
    return m;
}

static void go(void) {
    assert_int_equal(control_send(control, CONTROL_GO), 0);
    assert_int_equal(hear().type, CONTROL_READY);
}

/* A sweep that is over when this returns. */
static void drain(void) {
    assert_int_equal(control_send_drain(control, &(struct control_drain){DRAIN_QUICK, 0}), 0);
    assert_int_equal(hear().type, CONTROL_DRAINED);
}

static int stop(void) {
    int status;
    assert_int_equal(control_send(control, CONTROL_STOP), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pid = 0;
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* As the supervisor opens it. */
static void give_log(void) {
    int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    assert_int_equal(ipc_send(control, CONTROL_LOG, span_of(NULL, 0), &fd, 1), 0);
    close(fd);
}

static void begin_to_file(const char *level) {
    start_process(-1);
    send_setup(snapshot_fd(file, "logfmt", level));
    give_log();
}

static const char *read_file(const char *name) {
    FILE *f = fopen(name, "re");
    assert_non_null(f);
    content[fread(content, 1, sizeof(content) - 1, f)] = 0;
    assert_int_equal(fclose(f), 0);
    return content;
}

static unsigned count(const char *what) {
    unsigned n = 0;
    for (const char *p = content; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static struct log log_of(const struct ring *ring, enum role role) {
    return (struct log){.ring = *ring, .role = role, .level = LOG_LEVEL_DEBUG};
}

static void lines_and_sessions_reach_the_file(void **state) {
    begin_to_file("info");
    struct ring read_ahead = give_ring(ROLE_SUPERVISOR, 0);
    struct log v = log_of(&read_ahead, ROLE_SUPERVISOR);
    log_msg(&v, LOG_LEVEL_INFO, "before the start");
    go();
    struct ring late = give_ring(ROLE_RELAY, 0);
    struct event e = sample_session();
    e.backend = span_str("unix:/y");
    assert_true(event_put(&late, &e));
    log_msg(&v, LOG_LEVEL_DEBUG, "too quiet");
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("event=log role=supervisor.0 message=\"before the start\"\n"), 1);
    assert_int_equal(count("event=session role=relay.0 service=web "), 1); /* the ring's name, not the event's */
    assert_int_equal(count(" backend=unix:/y "), 1);
    assert_int_equal(count("\n"), 2 + count("message=\"sandbox: ")); /* what this kernel or user lacks */
    ring_unmap(&read_ahead);
    ring_unmap(&late);
}

static void sweeps_need_no_event(void **state) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    start_process(ends[1]);
    close(ends[1]);
    send_setup(snapshot_fd("stderr", "text", "info"));
    struct ring ring = give_ring(ROLE_RELAY, 0);
    go();
    struct log v = log_of(&ring, ROLE_RELAY);
    log_msg(&v, LOG_LEVEL_INFO, "heard");
    content[0] = 0;
    struct pollfd p = {.fd = ends[0], .events = POLLIN};
    for (size_t have = 0; !strstr(content, " INFO relay.0 heard\n");) { /* what the sandbox lacks may come before */
        assert_int_equal(poll(&p, 1, WAIT_MS), 1);
        ssize_t n = read(ends[0], content + have, sizeof(content) - 1 - have);
        assert_true(n > 0);
        have += (size_t)n;
        content[have] = 0;
    }
    assert_int_equal(stop(), 0);
    close(ends[0]);
    ring_unmap(&ring);
}

static void a_new_ring_replaces_the_old_after_its_last_words(void **state) {
    begin_to_file("info");
    struct ring old = give_ring(ROLE_RELAY, 0);
    go();
    struct log v = log_of(&old, ROLE_RELAY);
    log_msg(&v, LOG_LEVEL_INFO, "last words");
    struct ring new = give_ring(ROLE_RELAY, 0);
    v.ring = new;
    log_msg(&v, LOG_LEVEL_INFO, "first words");
    drain();
    v.ring = old;
    log_msg(&v, LOG_LEVEL_INFO, "from the grave");
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("last words"), 1);
    assert_int_equal(count("first words"), 1);
    assert_int_equal(count("from the grave"), 0);
    ring_unmap(&old);
    ring_unmap(&new);
}

static void failures_are_sampled(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_HANDSHAKER, 0);
    go();
    struct event e = {.kind = EVENT_FAILURE, .role = ROLE_HANDSHAKER, .level = LOG_LEVEL_INFO, .reason = ERR_NOT_TLS};
    e.service = span_str("web");
    for (unsigned i = 0; i < 100; i++)
        assert_true(event_put(&ring, &e));
    e.reason = ERR_PLAIN_SSH;
    assert_true(event_put(&ring, &e));
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("event=failed "), 11);
    assert_int_equal(count("event=sampled role=observer.0 service=web reason=not_tls count=90 seconds="), 1);
    ring_unmap(&ring);
}

static void a_broken_ring_is_survived(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0), good = give_ring(ROLE_HANDSHAKER, 0);
    go();
    assert_true(ring_put(&ring, span_str("this is no event")));
    memset(ring.shared, 0xff, 4096); /* offsets that make no sense */
    struct log v = log_of(&good, ROLE_HANDSHAKER);
    log_msg(&v, LOG_LEVEL_INFO, "still heard");
    drain();
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("still heard"), 1);
    assert_true(count("level=warning event=log role=relay.0 message=") >= 1);
    ring_unmap(&ring);
    ring_unmap(&good);
}

static void unreadable_events_are_reported(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0);
    assert_true(ring_put(&ring, span_str("nonsense")));
    assert_true(ring_put(&ring, span_str("more nonsense")));
    go();
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("role=relay.0 message=\"2 log events dropped: not readable\""), 1);
    ring_unmap(&ring);
}

static void a_full_ring_is_reported(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0);
    struct event e = sample_session();
    unsigned put = 0;
    for (unsigned i = 0; i < 1000; i++)
        put += event_put(&ring, &e);
    assert_true(put < 1000);
    go();
    assert_int_equal(stop(), 0);
    read_file(file);
    char want[128];
    snprintf(want, sizeof(want), "role=relay.0 message=\"%u log events dropped: the ring was full\"", 1000 - put);
    assert_int_equal(count("event=session "), put);
    assert_int_equal(count(want), 1);
    ring_unmap(&ring);
}

static void what_is_no_ring_is_refused_and_reported(void **state) {
    begin_to_file("info");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    go();
    assert_int_equal(control_send_peer(control, CONTROL_RING, &(struct control_peer){ROLE_RELAY, 0, 0}, null), 0);
    close(null);
    drain();
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("role=relay.0 message=\"its log ring is not usable"), 1);
}

static void reopen_moves_to_the_new_file(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0);
    go();
    struct log v = log_of(&ring, ROLE_RELAY);
    log_msg(&v, LOG_LEVEL_INFO, "old times");
    assert_int_equal(rename(file, other), 0);
    give_log();
    drain();
    log_msg(&v, LOG_LEVEL_INFO, "new times");
    assert_int_equal(stop(), 0);
    read_file(other);
    assert_int_equal(count("old times"), 1);
    read_file(file);
    assert_int_equal(count("new times"), 1);
    assert_int_equal(count("old times"), 0);
    ring_unmap(&ring);
}

static void the_end_of_the_supervisor_is_the_end(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0);
    go();
    struct log v = log_of(&ring, ROLE_RELAY);
    log_msg(&v, LOG_LEVEL_INFO, "orphaned");
    close(control);
    control = -1;
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    read_file(file);
    assert_int_equal(count("orphaned"), 1);
    ring_unmap(&ring);
}

/* /dev/full is a disk that is always full. */
static void a_full_disk_ends_nothing(void **state) {
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    start_process(full);
    close(full);
    send_setup(snapshot_fd("stderr", "json", "info"));
    struct ring ring = give_ring(ROLE_RELAY, 0);
    go();
    struct log v = log_of(&ring, ROLE_RELAY);
    log_msg(&v, LOG_LEVEL_INFO, "nowhere");
    drain();
    drain();
    assert_int_equal(stop(), 0);
    ring_unmap(&ring);
}

/* The log's disk takes no more bytes, or takes them again. */
static void set_full(bool full) {
    struct rlimit r;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, NULL, &r), 0);
    r.rlim_cur = full ? 0 : r.rlim_max;
    assert_int_equal(prlimit(pid, RLIMIT_FSIZE, &r, NULL), 0);
}

static void lost_lines_are_reported_when_writing_works_again(void **state) {
    begin_to_file("info");
    struct ring ring = give_ring(ROLE_RELAY, 0);
    go();
    drain(); /* what it says of itself is written */
    set_full(true);
    struct log v = log_of(&ring, ROLE_RELAY);
    for (unsigned i = 0; i < 7; i++)
        log_msg(&v, LOG_LEVEL_INFO, "nowhere");
    drain();
    set_full(false);
    give_log();
    drain();
    assert_int_equal(stop(), 0);
    read_file(file);
    assert_int_equal(count("7 log lines lost: File too large"), 1);
    assert_int_equal(count("nowhere"), 0);
    ring_unmap(&ring);
}

static void without_its_log_file_it_does_not_start(void **state) {
    start_process(-1);
    send_setup(snapshot_fd(file, "text", "info"));
    assert_int_equal(control_send(control, CONTROL_GO), 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    pid = 0;
    assert_int_equal(WEXITSTATUS(status), 1);
}

static void a_broken_configuration_is_refused(void **state) {
    int ring;
    assert_int_equal(ring_create(RING_SIZE, &ring), 0);
    start_process(-1);
    send_setup(ring);
    assert_int_equal(hear().type, CONTROL_REFUSED);
}

#define OBSERVED(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        OBSERVED(lines_and_sessions_reach_the_file),
        OBSERVED(sweeps_need_no_event),
        OBSERVED(a_new_ring_replaces_the_old_after_its_last_words),
        OBSERVED(failures_are_sampled),
        OBSERVED(a_broken_ring_is_survived),
        OBSERVED(unreadable_events_are_reported),
        OBSERVED(a_full_ring_is_reported),
        OBSERVED(what_is_no_ring_is_refused_and_reported),
        OBSERVED(reopen_moves_to_the_new_file),
        OBSERVED(the_end_of_the_supervisor_is_the_end),
        OBSERVED(a_full_disk_ends_nothing),
        OBSERVED(lost_lines_are_reported_when_writing_works_again),
        OBSERVED(without_its_log_file_it_does_not_start),
        OBSERVED(a_broken_configuration_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
