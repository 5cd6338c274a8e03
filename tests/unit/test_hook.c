/*
 * Programs of the operator: how they end, and what becomes of what they have started. Real programs, and a clock of the test's:
 * the deadline is the supervisor's own.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control.h"
#include "wire/control_hook.h"

#define DEADLINE_MS 600000
#define VALUE       "0123456789012345678901234567890123456789012"

static char dir[] = "/tmp/tls-off-hook-XXXXXX";
static char program[64], note[64];
static const char *names[] = {"*.example.org"};
static struct conf_issuer issuer = {.name = "le", .hook_uid = UINT32_MAX, .hook_gid = UINT32_MAX};
static struct conf_managed cert = {.id = "web.ecdsa-p256", .names = names, .nnames = 1};
static struct conf conf = {.acme = {.issuers = &issuer, .nissuers = 1, .certs = &cert, .ncerts = 1}};
static struct generation gen = {.conf = &conf};
static struct super super;
static struct worker asker;
static int ends[2]; /* the acme role's, ours */
static uint8_t scratch[IPC_BODY_MAX + 2];

/* ---- the log ---- */

static char logged[1024][EVENT_TEXT_MAX + 1];
static size_t nlogged;

void __wrap_log_msg(struct log *v, enum log_level level, const char *fmt, ...) PRINTF_LIKE(3, 4);
void __wrap_log_msg(struct log *v, enum log_level level, const char *fmt, ...) {
    (void)v, (void)level;
    va_list args;
    va_start(args, fmt);
    assert_true(nlogged < ARRAY_LEN(logged));
    int n = vsnprintf(logged[nlogged++], sizeof(logged[0]), fmt, args);
    va_end(args);
    assert_true(n >= 0 && n < (int)sizeof(logged[0])); /* none is cut */
}

/* The I-th line behind the program and what it was called for. */
static const char *line_of(size_t i) {
    const char *mark = "present _acme-challenge.example.org: ";
    assert_true(i < nlogged);
    const char *at = strstr(logged[i], mark);
    assert_non_null(at);
    return at + strlen(mark);
}

/* ---- programs ---- */

static void write_program(const char *body) {
    FILE *f = fopen(program, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "#!/bin/sh\n%s\n", body) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(program, 0755), 0);
}

static int set_up(void **state) {
    (void)state;
    memset(&super, 0, sizeof(super));
    if (loop_init(&super.loop) < 0)
        return -1;
    loop_on(&super.loop, SUPER_HOOK, hook_event, &super);
    nlogged = 0;
    super.loop.now_ms = 1000;
    wheel_init(&super.loop.wheel, super.loop.now_ms);
    (void)unlink(note);
    if (ipc_pair(0, ends) < 0)
        return -1;
    asker = (struct worker){.gen = &gen, .state = CHILD_SERVING, .control = ends[1]};
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    close(ends[0]);
    close(ends[1]);
    loop_fini(&super.loop);
    return 0;
}

static bool ask(void) {
    const struct control_hook h = {.verb = HOOK_PRESENT, .value = VALUE};
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(control_send_hook(ends[0], &h), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
    return hook_ask(&super, &asker, &m);
}

static void on_timer(void *ctx, struct wtimer *t) {
    (void)ctx;
    assert_int_equal(t->kind, SUPER_TIMER_HOOK);
    hook_timer(&super, &super.hook.timer);
}

static void turn_clock(uint64_t ms) {
    super.loop.now_ms += ms;
    wheel_turn(&super.loop.wheel, super.loop.now_ms, on_timer, NULL);
}

/* Waits for the program's end as the supervisor does; what the asker is answered. */
static void assert_ends(const char *wanted) {
    struct ipc_msg m;
    int status = 0, err = 0;
    pid_t pid = super.hook.pid;
    for (pid_t ended = 0; ended != pid; assert_true(ended == 0 || ended == pid)) {
        struct pollfd p = {.fd = super.hook.output.fd, .events = POLLIN};
        if (poll(&p, 1, 1) > 0)
            hook_event(&super, 0, 0, (uint32_t)p.revents);
        ended = waitpid(pid, &status, WNOHANG);
    }
    hook_ended(&super, pid, status);
    assert_int_equal(super.hook.output.fd, -1);
    assert_int_equal(super.hook.pid, 0);
    assert_false(wtimer_armed(&super.hook.timer));
    assert_int_equal(ipc_recv(ends[0], scratch, sizeof(scratch), control_to_child, &m, &err), STEP_DONE);
    assert_int_equal(m.type, CONTROL_HOOKED);
    if (!span_eq(m.body, span_str(wanted)))
        fail_msg("found \"%.*s\", expected \"%s\"", (int)m.body.len, (const char *)m.body.p, wanted);
}

/* The number that the program has written. */
static pid_t noted_child(void) {
    int pid = 0;
    for (unsigned i = 0; i < 10000 && pid == 0; i++) {
        FILE *f = fopen(note, "re");
        if (f && fscanf(f, "%d\n", &pid) != 1) /* NOLINT(cert-err34-c): written by the test */
            pid = 0;
        if (f)
            (void)fclose(f);
        (void)usleep(1000);
    }
    assert_true(pid > 0);
    return pid;
}

/* Gone, or a corpse that somebody else is to reap. */
static bool runs(pid_t pid) {
    char path[64], line[256] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "re");
    bool there = f && fgets(line, sizeof(line), f);
    if (f)
        (void)fclose(f);
    const char *end = strrchr(line, ')');
    return there && end && end[2] != 'Z' && end[2] != 'X';
}

static void assert_gone(pid_t pid) {
    for (unsigned i = 0; i < 10000 && runs(pid); i++)
        (void)usleep(1000);
    assert_false(runs(pid));
}

static void test_a_program_that_ends(void **state) {
    (void)state;
    write_program("[ \"$1 $2 $3\" = \"present _acme-challenge.example.org " VALUE "\" ] || exit 9");
    assert_true(ask());
    assert_ends("");
    write_program("exit 3");
    assert_true(ask());
    assert_ends("ended with status 3");
}

static void test_ten_minutes_and_no_more(void **state) {
    (void)state;
    char body[256];
    (void)snprintf(body, sizeof(body), "sleep 1000 &\necho $! > %s.new; mv %s.new %s\nwait", note, note, note);
    write_program(body);
    assert_true(ask());
    pid_t pid = super.hook.pid, child = noted_child();
    turn_clock(DEADLINE_MS - 1);
    assert_true(runs(pid) && runs(child));
    assert_true(ask()); /* meanwhile no other one is begun */
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(ends[0], scratch, sizeof(scratch), control_to_child, &m, &err), STEP_DONE);
    assert_true(span_eq(m.body, span_str("another one is still running")));
    assert_int_equal(super.hook.pid, pid);
    turn_clock(2000); /* as exact as the wheel is */
    assert_ends("no end within 10 minutes");
    assert_gone(child);
    write_program("exit 0"); /* the next one has all of its time */
    assert_true(ask());
    assert_false(super.hook.late);
    assert_ends("");
}

/* One that leaves something running is over when it ends itself: the rest is ended. */
static void test_children_that_stay(void **state) {
    (void)state;
    char body[256];
    (void)snprintf(body, sizeof(body), "sleep 1000 >/dev/null 2>&1 &\necho $! > %s.new; mv %s.new %s\nexit 0", note, note,
                   note);
    write_program(body);
    assert_true(ask());
    pid_t child = noted_child();
    assert_ends("");
    assert_gone(child);
}

static void test_the_asker_is_gone(void **state) {
    (void)state;
    write_program("sleep 1000");
    assert_true(ask());
    pid_t pid = super.hook.pid;
    struct worker other = asker;
    hook_drop(&super, &other);
    assert_int_equal(super.hook.pid, pid); /* another's */
    hook_drop(&super, &asker);
    assert_int_equal(super.hook.pid, 0);
    assert_false(wtimer_armed(&super.hook.timer));
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    hook_ended(&super, pid, 0); /* that of nobody, by now */
}

/* ---- what they write ---- */

static void test_each_line_is_logged(void **state) {
    (void)state;
    char longest[3 * HOOK_LINE_MAX + 1], body[4 * HOOK_LINE_MAX];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    (void)snprintf(body, sizeof(body), "set -e\necho one\necho two >/dev/stderr\necho three >&2\necho\necho %s\nprintf four",
                   longest);
    write_program(body);
    assert_true(ask());
    assert_ends("");
    assert_int_equal(nlogged, 8);
    assert_string_equal(line_of(0), "one");
    assert_string_equal(line_of(1), "two");
    assert_string_equal(line_of(2), "three");
    for (size_t i = 3; i < 6; i++)
        assert_int_equal(strlen(line_of(i)), HOOK_LINE_MAX);
    assert_string_equal(line_of(6), "four");
    assert_string_equal(line_of(7), "done");
}

/* All that is written is taken, whatever is logged of it. */
static void test_output_beyond_the_limits(void **state) {
    (void)state;
    char omitted[256];
    write_program("set -e\nhead -c 1000000 /dev/zero | tr '\\0' x\necho >/dev/stderr\nexit 0");
    assert_true(ask());
    assert_ends("");
    size_t len = 0;
    for (size_t i = 0; i + 2 < nlogged; i++)
        len += strlen(line_of(i));
    assert_int_equal(len, HOOK_OUTPUT_MAX);
    (void)snprintf(omitted, sizeof(omitted), "%d more bytes of its output", 1000001 - HOOK_OUTPUT_MAX);
    assert_non_null(strstr(line_of(nlogged - 2), omitted));
    assert_string_equal(line_of(nlogged - 1), "done");

    nlogged = 0;
    write_program("set -e\nseq 1 10000");
    assert_true(ask());
    assert_ends("");
    assert_int_equal(nlogged, HOOK_OUTPUT_LINES + 2);
    assert_string_equal(line_of(0), "1");
    assert_string_equal(line_of(HOOK_OUTPUT_LINES - 1), "256");
    assert_non_null(strstr(line_of(HOOK_OUTPUT_LINES), "more bytes"));

    nlogged = 0;
    write_program("seq 1 256"); /* as much as there may be */
    assert_true(ask());
    assert_ends("");
    assert_int_equal(nlogged, HOOK_OUTPUT_LINES + 1);
}

static void test_a_program_that_closes_its_output(void **state) {
    (void)state;
    write_program("echo one\nexec >&- 2>&-\nsleep 0.1\nexit 3");
    assert_true(ask());
    assert_ends("ended with status 3");
    assert_string_equal(line_of(0), "one");
    assert_int_equal(nlogged, 2);
}

/* Before an upgrade: the asker is answered, and what is written until then is logged. */
static void test_the_supervisor_is_replaced(void **state) {
    (void)state;
    struct ipc_msg m;
    int err = 0;
    hook_interrupt(&super); /* none runs */
    write_program("echo one\nsleep 1000");
    assert_true(ask());
    pid_t pid = super.hook.pid;
    struct pollfd p = {.fd = super.hook.output.fd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 60000), 1);
    hook_interrupt(&super);
    assert_int_equal(super.hook.pid, 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_string_equal(line_of(0), "one");
    assert_int_equal(ipc_recv(ends[0], scratch, sizeof(scratch), control_to_child, &m, &err), STEP_DONE);
    assert_true(span_eq(m.body, span_str("tls-off was upgraded meanwhile")));
}

static void test_requests_that_name_nothing(void **state) {
    (void)state;
    static const struct control_hook bad[] = {
        {.issuer = 1, .value = VALUE}, {.cert = 1, .value = VALUE}, {.name = 1, .value = VALUE}};
    write_program("exit 0");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ipc_msg m;
        int err = 0;
        assert_int_equal(control_send_hook(ends[0], &bad[i]), 0);
        assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_DONE);
        assert_false(hook_ask(&super, &asker, &m));
        assert_int_equal(super.hook.pid, 0);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_program_that_ends),
        CASE(ten_minutes_and_no_more),
        CASE(children_that_stay),
        CASE(the_asker_is_gone),
        CASE(each_line_is_logged),
        CASE(output_beyond_the_limits),
        CASE(a_program_that_closes_its_output),
        CASE(the_supervisor_is_replaced),
        CASE(requests_that_name_nothing),
    };
    if (!mkdtemp(dir))
        return 1;
    (void)snprintf(program, sizeof(program), "%s/hook", dir);
    (void)snprintf(note, sizeof(note), "%s/child", dir);
    issuer.hook = program;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(program);
    (void)unlink(note);
    (void)rmdir(dir);
    return failed;
}
