/* The supervisor's state over exec: what is written is read, what is malformed is refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "supervisor/keys.h"
#include "supervisor/state.h"
#include "supervisor/super.h"

static struct super one, two;

static int some_fd(void) {
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void fill_worker(struct worker *w, struct generation *g, enum role role, uint16_t index) {
    *w = (struct worker){.gen = g, .role = role, .index = index, .state = CHILD_READY, .pid = 100 + index, .cpu = -1};
    w->control = some_fd();
    w->ring = some_fd();
    w->words = index ? -1 : some_fd();
    w->owed = (struct keys_owed){{0, 7}, 6};
    w->restarts = 3;
    w->last_status = -1;
    w->started_ms = UINT64_MAX;
}

static void fill(struct super *s) {
    memset(s, 0, sizeof(*s));
    s->exe_path = "/usr/sbin/tls-off";
    s->request.file = span_str("/etc/tls-off.toml");
    s->request.nlisten = 1;
    s->request.listen[0] = span_str("127.0.0.1:0");
    s->request.nname = 1;
    s->request.name[0] = span_str("example.org");
    s->request.directory = span_str("https://ca/dir");
    s->proctab.reloads = 7;
    s->proctab.migrated = UINT64_MAX;
    s->proctab.commands[5] = (struct proctab_command){.id = 9, .kind = COMMAND_RELOAD, .result = PROCTAB_REFUSED, .text = "no"};
    s->log_ring = some_fd();
    s->stats_fd = some_fd();
    s->admin = (struct admin_sockets){.unix_fd = some_fd(), .tcp_fd = -1, .file = {"/run/a.sock", 1, UINT64_MAX}};
    struct listener *l =
        listeners_add(&s->listeners,
                      &(struct conf_listener){
                          .addr = {.family = AF_INET, .ip = {127, 0, 0, 1}}, .v6only = true, .mptcp = true, .device = "lo"},
                      1);
    l->real.port = 443;
    l->nfds = l->nlistening = l->nserved = 2;
    l->fds[0] = some_fd();
    l->fds[1] = some_fd();
    s->generations = 4;
    s->now = &s->gens[1];
    struct generation *g = s->now;
    *g = (struct generation){.used = true, .number = 3, .version = "1.2.3", .scoreboard_fd = some_fd()};
    g->exe_fd = some_fd();
    g->snapshot_fd = some_fd();
    g->secrets_fd = some_fd();
    g->log_fd = some_fd();
    g->creds = (struct creds_set){.number = 2, .nth = 2, .fd = some_fd()};
    g->workers = calloc(2, sizeof(*g->workers));
    g->nworkers = 2;
    fill_worker(&g->workers[0], g, ROLE_OBSERVER, 0);
    fill_worker(&g->workers[1], g, ROLE_RELAY, 1);
    close(g->workers[1].control);
    g->workers[1].control = -1; /* waits for its restart */
    g->workers[1].pid = 0;
    g->workers[1].state = CHILD_NONE;
}

static void drop(const void *p) {
    union {
        const void *in;
        void *out;
    } u = {p};
    free(u.out);
}

/* What fill() has made; descriptors are left. */
static void forget(struct super *s) {
    free(s->listeners.list);
    free(s->gens[0].workers);
    free(s->gens[1].workers);
    memset(s, 0, sizeof(*s));
}

/* What state_read() has made of it. */
static void forget_read(struct super *s) {
    drop(s->exe_path);
    drop(s->request.file.p);
    for (size_t i = 0; i < CONTROL_FLAGS_MAX; i++) {
        drop(s->request.listen[i].p);
        drop(s->request.backend[i].p);
        drop(s->request.name[i].p);
    }
    drop(s->request.directory.p);
    drop(s->request.ca_file.p);
    forget(s);
}

static void what_is_written_is_read(void **state) {
    struct state_fds fds;
    int fd;
    fill(&one);
    assert_int_equal(state_write(&one, &fd, &fds), 0);
    assert_int_equal(fds.n, 2 + 1 + 2 + 7 + 1 + 3);
    assert_int_equal(state_read(&two, fd), 0);
    assert_string_equal(two.exe_path, one.exe_path);
    assert_true(span_eq(two.request.file, one.request.file));
    assert_true(span_eq(two.request.listen[0], one.request.listen[0]));
    assert_int_equal(two.request.nname, 1);
    assert_true(span_eq(two.request.name[0], one.request.name[0]));
    assert_true(span_eq(two.request.directory, one.request.directory) && two.request.ca_file.len == 0);
    assert_int_equal(two.proctab.reloads, 7);
    assert_true(two.proctab.migrated == UINT64_MAX);
    assert_memory_equal(two.proctab.commands, one.proctab.commands, sizeof(one.proctab.commands));
    assert_int_equal(two.proctab.pid, getpid());
    assert_memory_equal(&two.admin, &one.admin, sizeof(one.admin));
    assert_int_equal(two.listeners.n, 1);
    assert_memory_equal(two.listeners.list, one.listeners.list, sizeof(struct listener));
    assert_ptr_equal(two.now, &two.gens[1]);
    assert_int_equal(two.now->number, 3);
    assert_string_equal(two.now->version, "1.2.3");
    assert_int_equal(two.now->nworkers, 2);
    for (size_t i = 0; i < 2; i++) {
        const struct worker *a = &one.now->workers[i], *b = &two.now->workers[i];
        assert_ptr_equal(b->gen, two.now);
        assert_true(a->role == b->role && a->index == b->index && a->state == b->state && a->pid == b->pid);
        assert_true(a->control == b->control && a->ring == b->ring && a->cpu == b->cpu && a->last_status == b->last_status);
        assert_true(a->words == b->words && memcmp(&a->owed, &b->owed, sizeof(a->owed)) == 0);
        assert_true(a->started_ms == b->started_ms && a->restarts == b->restarts);
    }
    close(fd);
    free(fds.list);
}

static void descriptors_are_inherited_or_missed(void **state) {
    struct state_fds fds;
    int fd;
    forget_read(&two);
    assert_int_equal(state_write(&one, &fd, &fds), 0);
    assert_int_equal(fcntl(one.log_ring, F_SETFD, 0), 0);
    assert_int_equal(state_read(&two, fd), 0);
    assert_int_equal(state_inherit(&two), 0);
    assert_int_equal(fcntl(one.log_ring, F_GETFD), FD_CLOEXEC);
    forget_read(&two);
    assert_int_equal(state_read(&two, fd), 0);
    close(one.log_ring);
    assert_int_equal(state_inherit(&two), ERR_FORMAT);
    one.log_ring = some_fd();
    close(fd);
    free(fds.list);
}

/* A sealed copy of the first LEN bytes of FD, with byte number AT changed. */
static int altered(int fd, size_t len, size_t at) {
    static uint8_t bytes[STATE_MAX];
    assert_int_equal(pread(fd, bytes, len, 0), (ssize_t)len);
    if (at < len)
        bytes[at] ^= 0xff;
    int copy = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(write(copy, bytes, len), (ssize_t)len);
    assert_int_equal(fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    return copy;
}

static int read_altered(int fd, size_t len, size_t at) {
    int copy = altered(fd, len, at);
    forget_read(&two);
    int err = state_read(&two, copy);
    close(copy);
    return err;
}

static void broken_states_are_refused(void **state) {
    struct state_fds fds;
    int fd;
    forget(&one);
    fill(&one);
    assert_int_equal(state_write(&one, &fd, &fds), 0);
    size_t len = (size_t)lseek(fd, 0, SEEK_END);
    for (size_t n = 1; n < len; n++) /* cut anywhere */
        assert_true(read_altered(fd, n, n) < 0);
    assert_int_equal(read_altered(fd, len, 0), ERR_FORMAT);      /* magic */
    assert_int_equal(read_altered(fd, len, 7), ERR_UNSUPPORTED); /* version */
    for (size_t at = 8; at < len; at++)                          /* any other byte: no crash; what is taken is in range */
        if (read_altered(fd, len, at) == 0) {
            assert_true(two.now->nworkers <= GENERATION_WORKERS_MAX && two.listeners.n <= CONF_LISTENERS_MAX);
            assert_true((unsigned)two.now->workers[0].role < ROLE_COUNT);
        }
    int open_one = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    forget_read(&two);
    assert_int_equal(state_read(&two, open_one), ERR_FORMAT);
    close(open_one);
    close(fd);
    free(fds.list);
    forget(&one);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(descriptors_are_inherited_or_missed),
        cmocka_unit_test(broken_states_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
