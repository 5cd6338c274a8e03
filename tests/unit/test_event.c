#include <fcntl.h>
#include <unistd.h>

#include "wire_samples.h"

#include "base/err.h"

static struct ring ring;
static uint8_t record[RING_RECORD_MAX];

static int open_ring(void **state) {
    int fd;
    if (ring_create(64 * 1024, &fd) < 0)
        return -1;
    int err = ring_map(fd, &ring);
    close(fd);
    return err;
}

static int close_ring(void **state) {
    ring_unmap(&ring);
    return 0;
}

static struct span taken(void) {
    int n = ring_get(&ring, record);
    assert_true(n > 0);
    return span_of(record, (size_t)n);
}

/* What the observer gets of E. */
static struct event carried(const struct event *e) {
    struct event out;
    assert_true(event_put(&ring, e));
    assert_int_equal(event_read(taken(), &out), 0);
    return out;
}

static void a_session_survives(void **state) {
    struct event e = sample_session();
    e.reason = ERR_PEER_ALERT;
    e.alert = 42;
    struct event out = carried(&e);
    assert_int_equal(out.kind, EVENT_SESSION);
    assert_true(out.wall_us == e.wall_us);
    assert_int_equal(out.role, ROLE_RELAY);
    assert_int_equal(out.index, 3);
    assert_int_equal(out.level, LOG_LEVEL_INFO);
    assert_same_conn_info(&out.conn_info, &e.conn_info);
    assert_int_equal(out.reason, ERR_PEER_ALERT);
    assert_int_equal(out.alert, 42);
    assert_true(span_eq(out.service, e.service));
    assert_true(span_eq(out.backend, e.backend));
    assert_true(out.bytes_in == e.bytes_in && out.bytes_out == e.bytes_out);
    assert_int_equal(out.connect_us, 250);
    assert_int_equal(out.relay_us, 12400);
    assert_int_equal(out.first_byte_us, 1750);
    assert_int_equal(out.duration_us, 1500001);
    assert_int_equal(out.client_end, END_CLOSE);
    assert_int_equal(out.backend_end, END_RESET);
    assert_int_equal(out.retries, 2);
}

static void a_failure_survives(void **state) {
    struct event e = {.kind = EVENT_FAILURE, .role = ROLE_HANDSHAKER, .conn_info = sample_conn_info()};
    e.text = span_str("waiting for client Finished");
    e.service = span_str("mail");
    e.reason = ERR_NOMEM; /* the first of the table */
    e.duration_us = UINT64_MAX;
    struct event out = carried(&e);
    assert_int_equal(out.kind, EVENT_FAILURE);
    assert_true(span_eq(out.text, e.text));
    assert_int_equal(out.reason, ERR_NOMEM);
    assert_true(out.duration_us == UINT64_MAX);
    assert_true(span_eq(out.service, e.service));
    assert_int_equal(out.backend.len, 0);
    assert_same_conn_info(&out.conn_info, &e.conn_info);
}

static void a_step_survives(void **state) {
    struct event e = {.kind = EVENT_TRACE, .role = ROLE_RELAY, .conn_info = sample_conn_info(), .step = TRACED_IMPORTED};
    e.service = span_str("mail");
    e.backend = span_str("unix:/x");
    e.bytes_out = UINT64_MAX;
    struct event out = carried(&e);
    assert_int_equal(out.kind, EVENT_TRACE);
    assert_int_equal(out.step, TRACED_IMPORTED);
    assert_true(span_eq(out.backend, e.backend) && out.bytes_out == UINT64_MAX);
    assert_same_conn_info(&out.conn_info, &e.conn_info);
    e.step = TRACED_COUNT;
    assert_true(event_put(&ring, &e));
    assert_int_equal(event_read(taken(), &out), ERR_FORMAT);
}

static void every_step_has_a_name(void **state) {
    for (unsigned i = 0; i < TRACED_COUNT; i++)
        for (unsigned k = 0; k <= i; k++)
            assert_int_equal(strcmp(trace_step_name(i), trace_step_name(k)) == 0, i == k);
    assert_string_equal(trace_step_name(TRACED_COUNT), "unknown");
}

static void a_line_survives_and_is_bounded(void **state) {
    static char text[EVENT_TEXT_MAX + 10];
    memset(text, 'x', sizeof(text));
    struct event e = {.kind = EVENT_LINE, .role = ROLE_SUPERVISOR, .level = LOG_LEVEL_DEBUG};
    e.text = span_of(text, sizeof(text));
    struct event out = carried(&e);
    assert_int_equal(out.text.len, EVENT_TEXT_MAX);
    assert_int_equal(out.level, LOG_LEVEL_DEBUG);
    e.text = span_of(NULL, 0);
    assert_int_equal(carried(&e).text.len, 0);
}

static void largest_event_fits_a_record(void **state) {
    static uint8_t text[EVENT_TEXT_MAX];
    struct event e = sample_session();
    e.text = span_of(text, sizeof(text));
    e.conn_info.sni = e.conn_info.alpn = span_of(text, 255);
    e.conn_info.client = e.conn_info.local = e.conn_info.peer = sample_inet6(1, 1);
    e.conn_info.id = sample_client();
    e.conn_info.id.name = span_of(text, CONN_INFO_NAME_MAX);
    e.conn_info.id.cn = span_of(text, 255);
    e.conn_info.id.serial = span_of(text, CONN_INFO_SERIAL_MAX);
    e.service = e.backend = span_of(text, sizeof(text));
    struct event out = carried(&e);
    assert_int_equal(out.service.len, EVENT_NAME_MAX);
    assert_int_equal(out.backend.len, EVENT_NAME_MAX);
    assert_int_equal(out.text.len, EVENT_TEXT_MAX);
}

static void the_clients_certificate_stays_out_of_events(void **state) {
    struct event e = sample_session();
    e.conn_info.id = sample_client();
    struct event out = carried(&e);
    assert_int_equal(out.conn_info.id.cert.len, 0);
    out.conn_info.id.cert = e.conn_info.id.cert;
    assert_same_client(&out.conn_info.id, &e.conn_info.id);
}

static void every_cut_and_every_tail_is_refused(void **state) {
    const enum event_kind kinds[] = {EVENT_LINE, EVENT_FAILURE, EVENT_SESSION, EVENT_TRACE};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct event e = sample_session(), out;
        e.kind = kinds[i];
        e.text = span_str("text");
        assert_true(event_put(&ring, &e));
        struct span s = taken();
        for (size_t n = 0; n < s.len; n++)
            assert_int_equal(event_read(span_of(s.p, n), &out), ERR_FORMAT);
        record[s.len] = 0;
        assert_int_equal(event_read(span_of(s.p, s.len + 1), &out), ERR_FORMAT);
    }
}

/* Whether E is refused: values that no role of ours would put. */
static bool refused(const struct event *e) {
    struct event out;
    assert_true(event_put(&ring, e));
    return event_read(taken(), &out) == ERR_FORMAT;
}

#define INFO_AT (1 + 1 + 8 + 1 + 2 + 1 + 2) /* of an event without a text: the length of its connection info */

/* The generation that leaves in an upgrade is of the version before, whose sessions ended before the times of their relay. */
static void the_version_before_is_read(void **state) {
    struct event e = sample_session(), out;
    const size_t new = sizeof(e.relay_us) + sizeof(e.first_byte_us);
    assert_true(event_put(&ring, &e));
    struct span s = taken();
    record[0]--;
    assert_int_equal(event_read(span_of(s.p, s.len - new), &out), 0);
    assert_same_conn_info(&out.conn_info, &e.conn_info);
    assert_true(span_eq(out.backend, e.backend) && out.retries == e.retries && !out.relay_us && !out.first_byte_us);
    assert_int_equal(event_read(span_of(s.p, s.len - new + 1), &out), ERR_FORMAT);
    assert_int_equal(event_read(span_of(s.p, s.len - new - 1), &out), ERR_FORMAT);
    record[0]--;
    assert_int_equal(event_read(span_of(s.p, s.len - new), &out), ERR_FORMAT);

    struct event line = {.kind = EVENT_LINE, .role = ROLE_SUPERVISOR, .text = span_str("reload done")};
    assert_true(event_put(&ring, &line));
    s = taken();
    record[0]--;
    assert_int_equal(event_read(s, &out), 0);
    assert_true(span_eq(out.text, line.text));
}

/* A field that a later build knows of a connection is passed over, one that an older build does not know is not known. */
static void connection_info_may_be_longer_or_shorter(void **state) {
    struct event e = sample_session(), out;
    assert_true(event_put(&ring, &e));
    struct span s = taken();
    size_t info = (size_t)(record[INFO_AT] << 8 | record[INFO_AT + 1]), end = INFO_AT + 2 + info, rest = s.len - end;
    static uint8_t changed[EVENT_PACKED_MAX + 8];
    for (size_t more = 0; more < 4; more++) { /* one less, as many, two more ... */
        size_t len = info + more - 1;
        memset(changed, 0xee, sizeof(changed));
        memcpy(changed, record, MIN(end, end + more - 1));
        changed[INFO_AT] = (uint8_t)(len >> 8);
        changed[INFO_AT + 1] = (uint8_t)len;
        memcpy(changed + INFO_AT + 2 + len, record + end, rest);
        assert_int_equal(event_read(span_of(changed, s.len + more - 1), &out), 0);
        struct conn_info known = e.conn_info;
        if (more == 0)
            known.made_by = MADE_BY_UNKNOWN;
        assert_same_conn_info(&out.conn_info, &known);
        assert_true(span_eq(out.backend, e.backend) && out.retries == e.retries);
    }
}

static void another_version_is_refused(void **state) {
    struct event e = sample_session(), out;
    assert_true(event_put(&ring, &e));
    struct span s = taken();
    assert_int_equal(event_read(s, &out), 0);
    record[0]++;
    assert_int_equal(event_read(s, &out), ERR_FORMAT);
}

/* Written by a build with more rows in its table. */
static void an_unknown_reason_is_kept_as_one(void **state) {
    struct event e = sample_session(), out;
    e.reason = ERR_IDLE;
    assert_true(event_put(&ring, &e));
    struct span s = taken();
    uint8_t *name = memmem(record, s.len, "idle_timeout", 12);
    assert_non_null(name);
    name[0] = 'x';
    assert_int_equal(event_read(s, &out), 0);
    assert_int_equal(out.reason, ERR_UNSUPPORTED);
}

static void values_out_of_range_are_refused(void **state) {
    struct event e = sample_session();
    e.client_end = END_COUNT;
    assert_true(refused(&e));
    e = sample_session();
    e.backend_end = END_COUNT;
    assert_true(refused(&e));
    e = sample_session();
    e.role = ROLE_COUNT;
    assert_true(refused(&e));
    e = sample_session();
    e.level = LOG_LEVEL_DEBUG + 1;
    assert_true(refused(&e));
    e = sample_session();
    e.conn_info.tls_version = 0x0301;
    assert_true(refused(&e));
    e = sample_session();
    assert_false(refused(&e));
}

static void unknown_kinds_are_refused(void **state) {
    struct event out, e = {.kind = EVENT_LINE};
    for (unsigned kind = 0; kind < 256; kind++) {
        assert_true(event_put(&ring, &e));
        struct span s = taken();
        record[1] = (uint8_t)kind;
        assert_int_equal(event_read(s, &out), kind == EVENT_LINE ? 0 : ERR_FORMAT);
    }
    assert_int_equal(event_read(span_of("", 0), &out), ERR_FORMAT);
}

static void a_full_ring_counts(void **state) {
    struct event e = sample_session();
    unsigned put = 0;
    while (event_put(&ring, &e))
        put++;
    assert_true(put > 100);
    assert_false(event_put(&ring, &e));
    assert_int_equal(ring_dropped(&ring), 2);
}

static void a_log_puts_lines_up_to_its_level(void **state) {
    struct log v = {.ring = ring, .role = ROLE_RESOLVER, .index = 1, .level = LOG_LEVEL_WARNING};
    struct event out;
    log_msg(&v, LOG_LEVEL_INFO, "not %s", "heard");
    assert_int_equal(ring_get(&ring, record), 0);
    log_msg(&v, LOG_LEVEL_WARNING, "heard %d", 1);
    assert_int_equal(event_read(taken(), &out), 0);
    assert_int_equal(out.kind, EVENT_LINE);
    assert_int_equal(out.role, ROLE_RESOLVER);
    assert_int_equal(out.index, 1);
    assert_int_equal(out.level, LOG_LEVEL_WARNING);
    assert_true(out.wall_us > 0);
    assert_true(span_eq(out.text, span_str("heard 1")));
}

static void a_long_line_is_cut(void **state) {
    static char text[3000];
    memset(text, 'y', sizeof(text) - 1);
    struct log v = {.ring = ring, .level = LOG_LEVEL_DEBUG};
    struct event out;
    log_msg(&v, LOG_LEVEL_INFO, "%s", text);
    assert_int_equal(event_read(taken(), &out), 0);
    assert_int_equal(out.text.len, EVENT_TEXT_MAX);
}

static void a_log_without_a_ring_goes_to_stderr(void **state) {
    char got[2048] = "";
    static char text[3000];
    memset(text, 'z', sizeof(text) - 1);
    int pipe_fds[2], old = dup(STDERR_FILENO);
    struct log v = {.role = ROLE_SUPERVISOR, .level = LOG_LEVEL_INFO};
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    assert_true(dup2(pipe_fds[1], STDERR_FILENO) >= 0);
    log_msg(&v, LOG_LEVEL_ERROR, "said %s", "plainly");
    ssize_t first = read(pipe_fds[0], got, sizeof(got) - 1);
    log_msg(&v, LOG_LEVEL_ERROR, "%s", text);
    char longer[4096];
    ssize_t second = read(pipe_fds[0], longer, sizeof(longer));
    assert_true(dup2(old, STDERR_FILENO) >= 0);
    close(old);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    assert_true(first > 0);
    assert_string_equal(got, "tls-off: supervisor.0: said plainly\n");
    assert_true(second > EVENT_TEXT_MAX && second < EVENT_TEXT_MAX + 64);
    assert_int_equal(longer[second - 1], '\n');
}

static void ends_have_names(void **state) {
    assert_string_equal(side_end_name(END_OPEN), "open");
    assert_string_equal(side_end_name(END_CUT), "cut");
    assert_string_equal(side_end_name(END_COUNT), "unknown");
}

#define WITH_RING(test) cmocka_unit_test_setup_teardown(test, open_ring, close_ring)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_RING(a_session_survives),
        WITH_RING(a_failure_survives),
        WITH_RING(a_step_survives),
        WITH_RING(a_line_survives_and_is_bounded),
        WITH_RING(the_clients_certificate_stays_out_of_events),
        WITH_RING(largest_event_fits_a_record),
        WITH_RING(every_cut_and_every_tail_is_refused),
        WITH_RING(the_version_before_is_read),
        WITH_RING(connection_info_may_be_longer_or_shorter),
        WITH_RING(another_version_is_refused),
        WITH_RING(an_unknown_reason_is_kept_as_one),
        WITH_RING(values_out_of_range_are_refused),
        WITH_RING(unknown_kinds_are_refused),
        WITH_RING(a_full_ring_counts),
        WITH_RING(a_log_puts_lines_up_to_its_level),
        WITH_RING(a_long_line_is_cut),
        cmocka_unit_test(a_log_without_a_ring_goes_to_stderr),
        cmocka_unit_test(ends_have_names),
        cmocka_unit_test(every_step_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
