/*
 * The resolver against a name server of the test's own: getaddrinfo() is replaced. For the role as a whole, which runs in a
 * child, epoll_wait() and the clock are replaced too: waiting costs no time, and each question records when it was asked.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "conf/scalars.h"
#include "conf/snapshot.h"
#include "death.h"
#include "resolver/names.h"
#include "resolver/resolver.h"
#include "shm/scoreboard.h"
#include "shm/stats.h"
#include "wire/control.h"

#define ANSWERS_MAX 20
#define PATIENCE_MS 20000

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret);
void __wrap_freeaddrinfo(struct addrinfo *list);
uint64_t __wrap_clock_mono_ms(void);
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);
int __real_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms);

/* What the name server says; shared with the role's process. */
struct server {
    struct sockaddr_storage answers[ANSWERS_MAX];
    int n;
    int failure; /* EAI_*; 0 = the answers */
    int why;     /* errno with EAI_SYSTEM */
};
static struct {
    struct server slots[2];
    int current; /* a role sees the old or the new, never a mixture */
} * shared;
static struct server *server; /* the current one */

static bool is_role;        /* in the child */
static uint64_t role_ms;    /* its clock */
static int asked_fd[2];     /* it writes its clock here at each question */
static char asked_host[64]; /* of the last question in this process */

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret) {
    struct server *now = &shared->slots[__atomic_load_n(&shared->current, __ATOMIC_ACQUIRE)];
    MUST(!service && hints->ai_family == AF_UNSPEC && hints->ai_socktype == SOCK_STREAM);
    (void)snprintf(asked_host, sizeof(asked_host), "%s", host);
    if (is_role)
        MUST(write(asked_fd[1], &role_ms, sizeof(role_ms)) == sizeof(role_ms) || errno == EAGAIN);
    errno = now->why;
    if (now->failure)
        return now->failure;
    struct addrinfo *list = calloc(ANSWERS_MAX, sizeof(*list));
    MUST(list);
    for (int i = 0; i < now->n; i++) {
        list[i].ai_addr = (struct sockaddr *)&now->answers[i];
        list[i].ai_addrlen = sizeof(struct sockaddr_storage);
        list[i].ai_next = i + 1 < now->n ? &list[i + 1] : NULL;
    }
    *ret = list;
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *list) {
    free(list);
}

uint64_t __wrap_clock_mono_ms(void) {
    return role_ms;
}

/* Time passes only here. A millisecond is left to the test to say something. */
int __wrap_epoll_wait(int epfd, struct epoll_event *events, int n, int timeout_ms) {
    int got = __real_epoll_wait(epfd, events, n, MIN(timeout_ms, 1));
    if (got == 0)
        role_ms += (uint64_t)timeout_ms;
    return got;
}

static struct addr addr_of(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_ip(text, &a), 0);
    return a;
}

/* The answers from now on, ended by NULL. */
static void answer(const char *first, ...) {
    va_list ap;
    va_start(ap, first);
    int other = !shared->current;
    server = &shared->slots[other];
    memset(server, 0, sizeof(*server));
    for (const char *s = first; s; s = va_arg(ap, const char *)) {
        struct addr a = addr_of(s);
        (void)addr_to_sockaddr(&a, &server->answers[server->n++]);
    }
    va_end(ap);
    __atomic_store_n(&shared->current, other, __ATOMIC_RELEASE);
}

/* Two services: web has unix, tcp literal and one name; mail has two names. */
static struct conf *make_conf(void) {
    struct conf *c = conf_new();
    static const struct conf_backend web[] = {
        {.kind = BACKEND_UNIX, .text = "unix:/a", .path = "/a"},
        {.kind = BACKEND_TCP,
         .text = "tcp:1.2.3.4:80",
         .path = "1.2.3.4",
         .port = 80,
         .addr = {.family = AF_INET, .port = 80, .ip = {1, 2, 3, 4}}},
        {.kind = BACKEND_TCP, .text = "tcp:app.test:80", .path = "app.test", .port = 80, .is_name = true},
    };
    static const struct conf_backend mail[] = {
        {.kind = BACKEND_TCP, .text = "tcp:one.test:25", .path = "one.test", .port = 25, .is_name = true},
        {.kind = BACKEND_TCP, .text = "tcp:two.test:25", .path = "two.test", .port = 25, .is_name = true},
    };
    c->nservices = 2;
    c->services = conf_alloc(c, 2 * sizeof(*c->services));
    c->services[0] = (struct conf_service){.name = "web", .nbackends = ARRAY_LEN(web)};
    c->services[1] = (struct conf_service){.name = "mail", .nbackends = ARRAY_LEN(mail)};
    c->services[0].backends = conf_alloc(c, sizeof(web));
    c->services[1].backends = conf_alloc(c, sizeof(mail));
    memcpy(c->services[0].backends, web, sizeof(web));
    memcpy(c->services[1].backends, mail, sizeof(mail));
    return c;
}

struct fixture {
    struct conf *conf;
    struct names names;
    struct log log;
    int ring_fd;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof(*f));
    *state = f;
    memset(server, 0, sizeof(*server));
    f->conf = make_conf();
    names_init(&f->names, f->conf);
    f->log.level = LOG_LEVEL_INFO;
    f->log.role = ROLE_RESOLVER;
    return ring_create(64 * 1024, &f->ring_fd) || ring_map(f->ring_fd, &f->log.ring);
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    names_fini(&f->names);
    ring_unmap(&f->log.ring);
    close(f->ring_fd);
    conf_free(f->conf);
    free(f);
    return 0;
}

/* The next line said, "" when there is none. */
static const char *said(struct fixture *f) {
    static uint8_t record[RING_RECORD_MAX];
    static char line[EVENT_TEXT_MAX + 1];
    struct event e;
    int n = ring_get(&f->log.ring, record);
    line[0] = 0;
    if (n == 0)
        return line;
    assert_true(n > 0);
    assert_int_equal(event_read(span_of(record, (size_t)n), &e), 0);
    assert_int_equal(e.kind, EVENT_LINE);
    memcpy(line, e.text.p, e.text.len);
    line[e.text.len] = 0;
    return line;
}

static void only_names_are_asked_for(void **state) {
    struct fixture *f = *state;
    static const char *const hosts[] = {"app.test", "one.test", "two.test"};
    static const uint16_t services[] = {0, 1, 1}, backends[] = {2, 0, 1};
    assert_int_equal(f->names.n, 3);
    answer("10.0.0.1", NULL);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->names.list[i].now.service, services[i]);
        assert_int_equal(f->names.list[i].now.backend, backends[i]);
        assert_true(names_resolve(&f->names.list[i], &f->log));
        assert_string_equal(asked_host, hosts[i]);
    }
}

static void answers_become_addresses_with_the_port(void **state) {
    struct fixture *f = *state;
    struct name *x = &f->names.list[0];
    static const char *const want[] = {"10.0.0.1:80", "[fd00::1]:80", "10.0.0.2:80"};
    answer("10.0.0.1", "fd00::1", "10.0.0.1", "10.0.0.2", NULL);
    assert_true(names_resolve(x, &f->log));
    assert_int_equal(x->now.n, 3);
    for (int i = 0; i < 3; i++) {
        char text[ADDR_TEXT_MAX];
        assert_string_equal(addr_text(&x->now.addrs[i], text), want[i]);
    }
    assert_string_equal(said(f), "service web: backend tcp:app.test:80 is at 10.0.0.1:80, [fd00::1]:80, 10.0.0.2:80");
    assert_string_equal(said(f), "");
}

static void sixteen_addresses_are_kept(void **state) {
    struct fixture *f = *state;
    struct name *x = &f->names.list[0];
    answer("10.0.0.1", NULL);
    for (int i = 0; i < ANSWERS_MAX; i++) {
        struct addr a = addr_of("10.0.0.0");
        a.ip[3] = (uint8_t)i;
        (void)addr_to_sockaddr(&a, &server->answers[i]);
    }
    server->n = ANSWERS_MAX;
    assert_true(names_resolve(x, &f->log));
    assert_int_equal(x->now.n, RESOLVED_ADDRS_MAX);
}

static void another_order_is_no_change(void **state) {
    struct fixture *f = *state;
    struct name *x = &f->names.list[0];
    answer("10.0.0.1", "10.0.0.2", "fd00::1", NULL);
    assert_true(names_resolve(x, &f->log));
    (void)said(f);
    uint32_t version = x->version;
    answer("fd00::1", "10.0.0.2", "10.0.0.1", NULL);
    assert_true(names_resolve(x, &f->log));
    assert_int_equal(x->version, version);
    assert_string_equal(said(f), "");
    answer("fd00::1", "10.0.0.2", NULL);
    assert_true(names_resolve(x, &f->log));
    answer("fd00::1", "10.0.0.2", "10.0.0.1", NULL);
    assert_true(names_resolve(x, &f->log));
    assert_int_equal(x->version, version + 2);
}

static void a_failure_is_reported_once_and_forgets_nothing(void **state) {
    struct fixture *f = *state;
    struct name *x = &f->names.list[0];
    answer("10.0.0.1", NULL);
    assert_true(names_resolve(x, &f->log));
    (void)said(f);
    server->failure = EAI_AGAIN;
    for (int i = 0; i < 3; i++)
        assert_false(names_resolve(x, &f->log));
    const char *line = said(f);
    assert_non_null(strstr(line, "service web: the name of backend tcp:app.test:80 does not resolve: "));
    assert_non_null(strstr(line, gai_strerror(EAI_AGAIN)));
    assert_non_null(strstr(line, "stay in use"));
    assert_string_equal(said(f), "");
    assert_int_equal(x->now.n, 1);

    server->failure = EAI_NONAME; /* another reason is news */
    assert_false(names_resolve(x, &f->log));
    assert_non_null(strstr(said(f), gai_strerror(EAI_NONAME)));
    server->failure = 0;
    uint32_t version = x->version;
    assert_true(names_resolve(x, &f->log));
    assert_non_null(strstr(said(f), "resolves again"));
    assert_int_equal(x->version, version);
}

static void a_name_that_never_resolved_cannot_be_used(void **state) {
    struct fixture *f = *state;
    server->failure = EAI_SYSTEM;
    server->why = ENETDOWN;
    assert_false(names_resolve(&f->names.list[0], &f->log));
    const char *line = said(f);
    assert_non_null(strstr(line, strerror(ENETDOWN)));
    assert_non_null(strstr(line, "cannot be used"));
    assert_int_equal(f->names.list[0].now.n, 0);
}

static void an_answer_without_usable_addresses_is_a_failure(void **state) {
    struct fixture *f = *state;
    answer("10.0.0.1", NULL);
    server->answers[0].ss_family = AF_UNIX;
    assert_false(names_resolve(&f->names.list[0], &f->log));
    assert_non_null(strstr(said(f), "does not resolve"));
}

/* Links relay INDEX; returns the relay's end. */
static int link_relay(struct fixture *f, uint16_t index) {
    int fds[2];
    assert_int_equal(ipc_pair(0, fds), 0);
    names_link(&f->names, index, fds[0]);
    return fds[1];
}

static bool receives(int fd, struct resolved *ret) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    enum step step = ipc_recv(fd, scratch, sizeof(scratch), resolved_rules, &m, &err);
    if (step == STEP_WANT_READ)
        return false;
    assert_int_equal(step, STEP_DONE);
    assert_int_equal(resolved_read(&m, ret), 0);
    return true;
}

static void resolve_all(struct fixture *f) {
    for (size_t i = 0; i < f->names.n; i++)
        assert_true(names_resolve(&f->names.list[i], &f->log));
}

static void each_relay_is_reported_what_it_does_not_know(void **state) {
    struct fixture *f = *state;
    struct resolved r;
    int a = link_relay(f, 0), b = link_relay(f, WORKERS_MAX - 1);
    assert_true(names_deliver(&f->names));
    assert_false(receives(a, &r)); /* nothing is known yet */
    answer("10.0.0.1", NULL);
    resolve_all(f);
    assert_true(names_deliver(&f->names));
    for (int i = 0; i < 3; i++) {
        assert_true(receives(a, &r));
        assert_int_equal(r.service, f->names.list[i].now.service);
        assert_int_equal(r.backend, f->names.list[i].now.backend);
        assert_int_equal(r.n, 1);
        assert_true(receives(b, &r));
    }
    resolve_all(f);
    assert_true(names_deliver(&f->names));
    assert_false(receives(a, &r)); /* nothing is new */

    answer("10.0.0.2", NULL);
    assert_true(names_resolve(&f->names.list[1], &f->log));
    assert_true(names_deliver(&f->names));
    assert_true(receives(a, &r));
    assert_int_equal(r.service, 1);
    assert_int_equal(r.backend, 0);
    assert_int_equal(r.addrs[0].ip[3], 2);
    assert_false(receives(a, &r));
    assert_true(receives(b, &r));

    int c = link_relay(f, 5);
    assert_true(names_deliver(&f->names));
    for (int i = 0; i < 3; i++)
        assert_true(receives(c, &r));
    assert_false(receives(a, &r));
    assert_false(receives(b, &r));
    close(a);
    close(b);
    close(c);
}

static void a_full_relay_is_reported_later(void **state) {
    struct fixture *f = *state;
    struct resolved r, filler = {.service = 99, .n = RESOLVED_ADDRS_MAX};
    int fd = link_relay(f, 0), err;
    for (size_t i = 0; i < RESOLVED_ADDRS_MAX; i++)
        filler.addrs[i] = addr_of("10.0.0.1");
    while ((err = resolved_send(f->names.relays[0].fd, &filler)) == 0)
        ;
    assert_int_equal(err, ERR_AGAIN);
    answer("10.0.0.1", NULL);
    resolve_all(f);
    assert_false(names_deliver(&f->names));
    while (receives(fd, &r))
        assert_int_equal(r.service, 99);
    assert_true(names_deliver(&f->names));
    for (int i = 0; i < 3; i++)
        assert_true(receives(fd, &r));
    assert_false(receives(fd, &r));
    close(fd);
}

static void a_relay_that_is_gone_is_reported_when_linked_again(void **state) {
    struct fixture *f = *state;
    struct resolved r;
    int first = link_relay(f, 0), other = link_relay(f, 1);
    close(first);
    answer("10.0.0.1", NULL);
    resolve_all(f);
    assert_false(names_deliver(&f->names));
    assert_true(receives(other, &r)); /* the others do not suffer */
    assert_true(names_deliver(&f->names));
    int second = link_relay(f, 0);
    assert_true(names_deliver(&f->names));
    for (int i = 0; i < 3; i++)
        assert_true(receives(second, &r));
    int third = link_relay(f, 0); /* replaces, and closes what it replaces */
    struct pollfd p = {.fd = second, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 1);
    assert_true(p.revents & POLLHUP);
    close(second);
    close(third);
    close(other);
}

static void link_too_far(void *ctx) {
    names_link(ctx, WORKERS_MAX, -1);
}

static void a_relay_beyond_the_last_aborts(void **state) {
    struct fixture *f = *state;
    assert_true(aborts(link_too_far, &f->names));
}

/* The role in a process of its own, the test as its supervisor. */
struct child_role {
    pid_t pid;
    int control;
};

static int snapshot_of_names(void) {
    struct conf *c = make_conf();
    static uint16_t zero[1] = {0}, suites[1] = {0x1301}, groups[1] = {29};
    int fd = -1;
    scalar_defaults("", c);
    c->workers = 2;
    c->state_dir = "/tmp";
    c->buffer_memory = c->handshake_memory = 1 << 20;
    c->nlisteners = 1;
    c->listeners = conf_alloc(c, sizeof(*c->listeners));
    scalar_defaults("listener.*", c->listeners);
    c->listeners->name = "127.0.0.1:443";
    c->listeners->addr = (struct addr){.family = AF_INET, .port = 443, .ip = {127, 0, 0, 1}};
    for (size_t i = 0; i < c->nservices; i++) {
        struct conf_service *s = &c->services[i];
        scalar_defaults("service.*", s);
        s->mode = MODE_PASSTHROUGH;
        s->listeners = zero, s->nlisteners = 1;
        s->suites = suites, s->nsuites = 1;
        s->groups = groups, s->ngroups = 1;
    }
    assert_int_equal(snapshot_write(c, &fd), 0);
    conf_free(c);
    return fd;
}

static struct child_role start_role(struct fixture *f, int snapshot_fd) {
    int pair[2], scoreboard_fd = -1;
    assert_int_equal(ipc_pair(0, pair), 0);
    assert_int_equal(pipe2(asked_fd, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(scoreboard_create(2, 2, &scoreboard_fd), 0);
    struct child_role r = {.control = pair[0], .pid = fork()};
    assert_true(r.pid >= 0);
    if (r.pid == 0) {
        is_role = true;
        close(pair[0]);
        close(asked_fd[0]);
        _exit(role_run(&resolver_role, pair[1]));
    }
    close(pair[1]);
    close(asked_fd[1]);
    const struct control_setup setup = {.role = ROLE_RESOLVER, .workers = 2, .cpu = -1};
    int stats_fd;
    assert_int_equal(stats_create(&stats_fd), 0);
    const int fds[4] = {snapshot_fd, scoreboard_fd, f->ring_fd, stats_fd};
    assert_int_equal(control_send_setup(r.control, &setup, fds), 0);
    close(snapshot_fd);
    close(scoreboard_fd);
    close(stats_fd);
    return r;
}

static void wait_readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
}

/* When the next question was asked, by the role's clock. */
static uint64_t next_question(void) {
    uint64_t ms = 0;
    wait_readable(asked_fd[0]);
    assert_int_equal(read(asked_fd[0], &ms, sizeof(ms)), sizeof(ms));
    return ms;
}

static void expect_from_role(const struct child_role *r, uint16_t type) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    wait_readable(r->control);
    assert_int_equal(ipc_recv(r->control, scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
    assert_int_equal(m.type, type);
}

/* Returns the relay's end. */
static int give_link(const struct child_role *r, uint16_t index) {
    const struct control_peer peer = {ROLE_RELAY, index, 0};
    int fds[2];
    assert_int_equal(ipc_pair(0, fds), 0);
    assert_int_equal(control_send_peer(r->control, CONTROL_LINK, &peer, fds[0]), 0);
    close(fds[0]);
    return fds[1];
}

static void expect_reported(int fd, uint8_t last_byte) {
    struct resolved r;
    wait_readable(fd);
    assert_true(receives(fd, &r));
    assert_int_equal(r.addrs[0].ip[3], last_byte);
}

static void expect_end(struct child_role *r, int want) {
    int status = 0;
    assert_int_equal(waitpid(r->pid, &status, 0), r->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), want);
    close(asked_fd[0]);
    close(r->control);
}

static void the_role_serves_from_setup_to_stop(void **state) {
    struct fixture *f = *state;
    struct resolved unused;
    struct child_role r = start_role(f, snapshot_of_names());
    answer("10.0.0.1", NULL);
    int a = give_link(&r, 0), b = give_link(&r, 1);
    assert_int_equal(control_send(r.control, CONTROL_GO), 0);
    expect_from_role(&r, CONTROL_READY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(next_question(), 0);
        expect_reported(a, 1);
        expect_reported(b, 1);
    }
    for (int round = 1; round <= 3; round++)
        for (int i = 0; i < 3; i++)
            assert_int_equal(next_question(), round * 30000);
    assert_false(receives(a, &unused)); /* nothing had changed */
    answer("10.0.0.2", NULL);
    for (int i = 0; i < 3; i++)
        expect_reported(a, 2);

    int c = give_link(&r, 0); /* the relay was restarted */
    for (int i = 0; i < 3; i++)
        expect_reported(c, 2);
    assert_int_equal(control_send(r.control, CONTROL_STOP), 0);
    expect_end(&r, 0);
    close(a);
    close(b);
    close(c);
}

static void the_role_asks_sooner_after_a_failure(void **state) {
    struct fixture *f = *state;
    server->failure = EAI_AGAIN;
    struct child_role r = start_role(f, snapshot_of_names());
    int a = give_link(&r, 0);
    assert_int_equal(control_send(r.control, CONTROL_GO), 0);
    expect_from_role(&r, CONTROL_READY); /* a dead name server keeps nobody from starting */
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++)
            assert_int_equal(next_question(), round * 5000);
    answer("10.0.0.3", NULL);
    for (int i = 0; i < 3; i++)
        expect_reported(a, 3);
    close(r.control); /* the supervisor is gone */
    r.control = -1;
    expect_end(&r, 0);
    unsigned failed = 0;
    for (const char *line = said(f); *line; line = said(f))
        failed += strstr(line, "does not resolve") != NULL;
    assert_int_equal(failed, 3); /* once each */
    close(a);
}

static void the_role_refuses_a_broken_snapshot(void **state) {
    struct fixture *f = *state;
    int broken = memfd_create("broken", MFD_CLOEXEC);
    struct child_role r = start_role(f, broken);
    expect_from_role(&r, CONTROL_REFUSED);
    expect_end(&r, 1);
}

static void the_role_ends_when_stopped_before_its_start(void **state) {
    struct fixture *f = *state;
    struct child_role r = start_role(f, snapshot_of_names());
    assert_int_equal(control_send(r.control, CONTROL_STOP), 0);
    expect_end(&r, 0);
}

static void the_role_ignores_links_of_others(void **state) {
    struct fixture *f = *state;
    answer("10.0.0.1", NULL);
    struct child_role r = start_role(f, snapshot_of_names());
    const struct control_peer peers[] = {{ROLE_HANDSHAKER, 0, 0}, {ROLE_OBSERVER, 0, 0}};
    for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
        int fds[2];
        assert_int_equal(ipc_pair(0, fds), 0);
        assert_int_equal(control_send_peer(r.control, CONTROL_LINK, &peers[i], fds[0]), 0);
        close(fds[0]);
        wait_readable(fds[1]); /* closed by the role, the last to hold it */
        close(fds[1]);
    }
    assert_int_equal(control_send(r.control, CONTROL_GO), 0);
    expect_from_role(&r, CONTROL_READY);
    assert_int_equal(control_send(r.control, CONTROL_STOP), 0);
    expect_end(&r, 0);
}

int main(void) {
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(shared != MAP_FAILED);
    server = &shared->slots[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_names_are_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_become_addresses_with_the_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sixteen_addresses_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(another_order_is_no_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_failure_is_reported_once_and_forgets_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_name_that_never_resolved_cannot_be_used, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_answer_without_usable_addresses_is_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_relay_is_reported_what_it_does_not_know, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_relay_is_reported_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_relay_that_is_gone_is_reported_when_linked_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_relay_beyond_the_last_aborts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_role_serves_from_setup_to_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_role_asks_sooner_after_a_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_role_refuses_a_broken_snapshot, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_role_ends_when_stopped_before_its_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_role_ignores_links_of_others, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
