/* The hand-over format: what is written is read, in every version there was; what is wrong is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "export_samples.h"

#include "base/err.h"
#include "wire/export_link.h"

static uint8_t blob[64 * 1024];

static struct span packed(const struct export_session *s) {
    struct wr w = wr_of(blob, sizeof(blob));
    export_pack(&w, s);
    assert_true(wr_end(&w));
    return wr_written(&w);
}

static int readable(struct span bytes, uint8_t minor) {
    static struct export_session out;
    return export_unpack(bytes, EXPORT_MAJOR, minor, &out);
}

static void sessions_survive(void **state) {
    const struct export_session all[] = {sample_export(), sample_waiting(), sample_preface(), sample_handoff()};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct export_session out;
        assert_int_equal(export_unpack(packed(&all[i]), EXPORT_MAJOR, EXPORT_MINOR, &out), 0);
        assert_same_export(&out, &all[i]);
    }
}

static void every_cut_and_every_tail_is_refused(void **state) {
    const struct export_session all[] = {sample_export(), sample_waiting(), sample_preface(), sample_handoff()};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct span s = packed(&all[i]);
        for (size_t n = 0; n < s.len; n++)
            assert_int_equal(readable(span_of(s.p, n), EXPORT_MINOR), ERR_FORMAT);
        blob[s.len] = 0;
        assert_int_equal(readable(span_of(s.p, s.len + 1), EXPORT_MINOR), ERR_FORMAT);
        assert_int_equal(readable(s, EXPORT_MINOR), 0);
    }
}

/* Who has no greeting to swallow does not wait for one, and who waits for one knows which: an older reader relies on the state.
 * Without a record layer there was nobody whom we have greeted. */
static void a_greeting_and_its_state_belong_together(void **state) {
    struct export_session s = sample_preface();
    s.greeting = GREETING_NONE;
    assert_int_equal(readable(packed(&s), EXPORT_MINOR), ERR_FORMAT);
    s.greeting = GREETINGS;
    assert_int_equal(readable(packed(&s), EXPORT_MINOR), ERR_FORMAT);
    for (uint8_t other = 0; other < EXPORT_STATES; other++) {
        s.greeting = GREETING_NNTP;
        s.state = other;
        assert_int_equal(readable(packed(&s), EXPORT_MINOR), other == EXPORT_STATE_PREFACE ? 0 : ERR_FORMAT);
    }
    s = sample_waiting();
    s.state = EXPORT_STATE_PREFACE;
    s.greeting = GREETING_SMTP;
    assert_int_equal(readable(packed(&s), EXPORT_MINOR), ERR_FORMAT);
}

/* What a later minor adds is at the ends of its three parts, and is passed over. */
static void a_later_minor_is_read_as_far_as_known(void **state) {
    static uint8_t layer[RECORD_LAYER_PACKED_MAX + 3], info[CONN_INFO_PACKED_MAX];
    struct export_session s = sample_export(), out;
    struct span known_info = s.packed_info, known_layer = s.record_layer;
    struct record_layer read, want = sample_record_layer();
    memcpy(info, known_info.p, known_info.len);
    memset(info + known_info.len, 0xee, 5);
    memcpy(layer, known_layer.p, known_layer.len);
    memset(layer + known_layer.len, 0xee, 3);
    s.packed_info = span_of(info, known_info.len + 5);
    s.record_layer = span_of(layer, known_layer.len + 3);
    s.flags |= UINT32_C(1) << 31;
    struct span later = packed(&s);
    memset(blob + later.len, 0xee, 9);
    later.len += 9;

    assert_int_equal(export_unpack(later, EXPORT_MAJOR, EXPORT_MINOR + 1, &out), 0);
    assert_true(out.newer);
    assert_int_equal(record_layer_unpack(out.record_layer, out.minor, out.newer, &read), 0);
    s = sample_export();
    assert_true(span_eq(out.packed_info, s.packed_info)); /* in the form of this build */
    assert_same_export(&out, &s);
    assert_same_record_layer(&read, &want);
    assert_int_equal(export_unpack(later, EXPORT_MAJOR, EXPORT_MINOR, &out), ERR_FORMAT);
}

static void another_major_is_refused(void **state) {
    struct export_session s = sample_export(), out;
    struct span bytes = packed(&s);
    assert_int_equal(export_unpack(bytes, EXPORT_MAJOR + 1, EXPORT_MINOR, &out), ERR_UNSUPPORTED);
    assert_int_equal(export_unpack(bytes, 0, EXPORT_MINOR, &out), ERR_UNSUPPORTED);
}

/* The first byte of the backend is one of those that have come. */
static void a_first_byte_is_one_of_some(void **state) {
    struct export_session s = sample_export();
    s.down.bytes = 0;
    assert_int_equal(readable(packed(&s), EXPORT_MINOR), ERR_FORMAT);
    s.first_byte_us = 0;
    assert_int_equal(readable(packed(&s), EXPORT_MINOR), 0);
}

typedef void (*spoil_fn)(struct export_session *s);
static void spoil_state(struct export_session *s) {
    s->state = EXPORT_STATES;
}
static void spoil_flow(struct export_session *s) {
    s->down.state = EXPORT_FLOW_STATES;
}
static void spoil_client_end(struct export_session *s) {
    s->client_end = END_COUNT;
}
static void spoil_backend_end(struct export_session *s) {
    s->backend_end = END_COUNT;
}
static void spoil_ahead(struct export_session *s) {
    s->up.wait.ahead = EXPORT_WAIT_MAX + 1;
}
static void spoil_deadline(struct export_session *s) {
    s->deadline_ms = EXPORT_TIME_MAX + 1;
}
static void spoil_idle(struct export_session *s) {
    s->idle_ms = EXPORT_NEVER;
}
static void spoil_timeout(struct export_session *s) {
    s->linger_timeout_ms = EXPORT_NEVER - 1;
}
static void spoil_truncation(struct export_session *s) {
    s->truncation = TRUNCATION_RESET + 1;
}
static void spoil_kind(struct export_session *s) {
    s->backend_kind = BACKEND_TCP + 2;
}
static void spoil_no_kind(struct export_session *s) {
    s->backend_kind = 0;
}
static void spoil_service(struct export_session *s) {
    s->service = span_of(NULL, 0);
}
static void spoil_zero_in_service(struct export_session *s) {
    s->service = span_of("a\0b", 3);
}
static void spoil_zero_in_path(struct export_session *s) {
    s->backend_path = span_of("a\0b", 3);
}
static void spoil_flags(struct export_session *s) {
    s->flags |= EXPORT_FLAGS_KNOWN + 1;
}
static void spoil_version(struct export_session *s) {
    static struct sample_room room;
    const struct record_layer layer = sample_record_layer();
    struct conn_info info = s->conn_info;
    info.tls_version = 0;
    sample_parts(s, &info, &layer, &room);
}
static void spoil_no_record_layer(struct export_session *s) {
    s->record_layer = span_of(NULL, 0);
}
static void spoil_plain(struct export_session *s) {
    s->flags &= ~(uint32_t)EXPORT_TLS;
}
static void spoil_no_info(struct export_session *s) {
    s->packed_info = span_of(NULL, 0);
}
static void spoil_long_text(struct export_session *s) {
    static char text[EXPORT_TEXT_MAX + 1];
    memset(text, 'x', sizeof(text));
    s->backend = span_of(text, sizeof(text));
}

static void values_out_of_range_are_refused(void **state) {
    static const spoil_fn all[] = {
        spoil_state,        spoil_flow,    spoil_client_end,      spoil_backend_end, spoil_ahead,
        spoil_deadline,     spoil_idle,    spoil_timeout,         spoil_truncation,  spoil_kind,
        spoil_no_kind,      spoil_service, spoil_flags,           spoil_version,     spoil_zero_in_service,
        spoil_zero_in_path, spoil_plain,   spoil_no_record_layer, spoil_no_info,     spoil_long_text,
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct export_session s = sample_export();
        assert_int_equal(readable(packed(&s), EXPORT_MINOR), 0);
        all[i](&s);
        assert_int_equal(readable(packed(&s), EXPORT_MINOR), ERR_FORMAT);
    }
}

static void a_hand_off_has_nothing_of_a_relay(void **state) {
    for (uint32_t flag = 1; flag < EXPORT_FLAGS_KNOWN; flag <<= 1) {
        struct export_session s = sample_handoff();
        bool known = s.flags & flag;
        s.flags |= flag;
        assert_int_equal(readable(packed(&s), EXPORT_MINOR), known ? 0 : ERR_FORMAT);
    }
}

static void most_of_a_hand_off_fits(void **state) {
    static const uint8_t zeros[EXPORT_READ_AHEAD_MAX];
    static struct sample_room room;
    const struct record_layer layer = sample_record_layer();
    struct export_session s = sample_handoff(), out;
    struct conn_info info = s.conn_info;
    info.sni = info.alpn = info.cert_file = info.id.cn = span_of(zeros, 255);
    info.id.name = span_of(zeros, CONN_INFO_NAME_MAX);
    info.id.serial = span_of(zeros, CONN_INFO_SERIAL_MAX);
    info.id.cert = span_of(zeros, CONN_INFO_CERT_MAX);
    sample_parts(&s, &info, &layer, &room);
    s.partial.here = span_of(zeros, EXPORT_READ_AHEAD_MAX);
    struct span bytes = packed(&s);
    assert_true(bytes.len <= EXPORT_HANDOFF_MAX && bytes.len + EXPORT_BATCH_LEN + 4 <= IPC_BODY_MAX);
    assert_int_equal(export_unpack(bytes, EXPORT_MAJOR, EXPORT_MINOR, &out), 0);
    assert_same_export(&out, &s);
}

/* ---- every version there was ---- */

static struct span file_of(const char *name) {
    char path[512];
    snprintf(path, sizeof(path), "%s/handover/%s", getenv("TEST_VECTORS"), name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, blob, sizeof(blob)) : -1;
    if (n < 0)
        fail_msg("%s: %s", path, strerror(errno));
    close(fd);
    return span_of(blob, (size_t)n);
}

static void forget_what_1_0_lacks(struct conn_info *f) {
    f->sig_scheme = f->cert_key_bits = f->cert_sig = f->cert_key = 0;
    f->id = (struct conn_info_client){0};
}

static void forget_what_1_1_lacks(struct conn_info *f) {
    f->matched_name = SERVED_NO_NAME;
    f->cert_file = span_of(NULL, 0);
}

static void forget_what_1_7_lacks(struct export_session *s) {
    s->first_byte_us = 0;
    if (s->flags & EXPORT_CONNECTED)
        s->connecting_us = 0;
}

/* A client's certificate travels until a backend has its PROXY header: what an older build says of it finds room, too. */
static void an_older_build_may_send_the_largest_certificate(void **state) {
    static const uint8_t zeros[CONN_INFO_CERT_MAX];
    static struct sample_room room;
    const struct record_layer layer = sample_record_layer();
    struct export_session s = sample_export(), out;
    struct conn_info info = s.conn_info;
    info.sni = info.alpn = info.cert_file = info.id.cn = span_of(zeros, 255);
    info.id.name = span_of(zeros, CONN_INFO_NAME_MAX);
    info.id.serial = span_of(zeros, CONN_INFO_SERIAL_MAX);
    info.id.cert = span_of(zeros, CONN_INFO_CERT_MAX);
    info.made_by = MADE_BY_UNKNOWN;
    sample_parts(&s, &info, &layer, &room);
    struct span today = s.packed_info;
    s.packed_info.len--; /* as minor 6 has it */
    struct span bytes = packed(&s);
    bytes.len -= sizeof(s.first_byte_us);
    assert_int_equal(export_unpack(bytes, EXPORT_MAJOR, 6, &out), 0);
    assert_true(span_eq(out.packed_info, today));
    assert_same_conn_info(&out.conn_info, &info);
    assert_int_equal(export_unpack(bytes, EXPORT_MAJOR, 7, &out), 0); /* of a build that does not know more */
    assert_true(span_eq(out.packed_info, today));
}

/* The file holds S as a process of that minor wrote it. */
static void expect_file(const char *name, uint8_t minor, struct export_session s, const struct record_layer *layer) {
    static struct sample_room room;
    struct export_session out;
    struct record_layer read, want = layer ? *layer : (struct record_layer){0};
    struct conn_info info = s.conn_info;
    if (minor < 1)
        forget_what_1_0_lacks(&info);
    if (minor < 2)
        forget_what_1_1_lacks(&info);
    if (minor < 7)
        info.made_by = MADE_BY_UNKNOWN;
    if (minor < 8)
        forget_what_1_7_lacks(&s);
    if (minor < 5)
        s.greeting = GREETING_NONE;
    if (minor < 3)
        want.idle_records = 5; /* the larger one of two counters that the files have */
    sample_parts(&s, &info, layer, &room);
    assert_int_equal(export_unpack(file_of(name), 1, minor, &out), 0);
    assert_same_export(&out, &s);
    assert_int_equal(out.record_layer.len > 0, layer != NULL);
    if (!layer)
        return;
    assert_int_equal(record_layer_unpack(out.record_layer, out.minor, out.newer, &read), 0);
    assert_same_record_layer(&read, &want);
}

static void every_version_is_read(void **state) {
    _Static_assert(EXPORT_MAJOR == 1 && EXPORT_MINOR == 8,
                   "a new version wants files of its own: see docs/hand-over-format.md");
    const struct record_layer layer = sample_record_layer();
    for (uint8_t minor = 0; minor <= EXPORT_MINOR; minor++) {
        char open[32], waiting[32];
        snprintf(open, sizeof(open), "open-1.%u", minor);
        snprintf(waiting, sizeof(waiting), "waiting-1.%u", minor);
        expect_file(open, minor, sample_export(), &layer);
        expect_file(waiting, minor, sample_waiting(), NULL);
    }
    const struct record_layer fresh = sample_fresh_layer();
    expect_file("handoff-1.4", 4, sample_handoff(), &fresh);
    expect_file("handoff-1.5", 5, sample_handoff(), &fresh);
    expect_file("preface-1.5", 5, sample_preface(), &layer);
    expect_file("handoff-1.6", 6, sample_handoff(), &fresh);
    expect_file("preface-1.6", 6, sample_preface(), &layer);
    expect_file("process-1.6", 6, sample_process(), &layer);
    expect_file("handoff-1.7", 7, sample_handoff(), &fresh);
    expect_file("preface-1.7", 7, sample_preface(), &layer);
    expect_file("process-1.7", 7, sample_process(), &layer);
    expect_file("handoff-1.8", 8, sample_handoff(), &fresh);
    expect_file("preface-1.8", 8, sample_preface(), &layer);
    expect_file("process-1.8", 8, sample_process(), &layer);
}

/* What is written today is what the file of today's version holds: a change without a new version would be seen here. */
static void todays_version_is_written(void **state) {
    static uint8_t mine[sizeof(blob)];
    const struct export_session all[] = {sample_export(), sample_waiting(), sample_preface(), sample_handoff(),
                                         sample_process()};
    const char *const files[] = {"open-1.8", "waiting-1.8", "preface-1.8", "handoff-1.8", "process-1.8"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct span s = packed(&all[i]);
        memcpy(mine, s.p, s.len);
        struct span file = file_of(files[i]);
        assert_int_equal(file.len, s.len);
        assert_memory_equal(file.p, mine, s.len);
    }
}

/* ---- messages of the link ---- */

static int ends[2];
static uint8_t scratch[IPC_BODY_MAX];

static int open_link(void **state) {
    return ipc_pair(0, ends);
}

static int close_link(void **state) {
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static struct export_msg received(void) {
    static struct export_msg m;
    int err = 0;
    assert_int_equal(export_recv(ends[1], scratch, &m, &err), STEP_DONE);
    return m;
}

static void descriptors_come_in_order(void **state) {
    int fds[EXPORT_FDS_MAX], pipes[2];
    assert_int_equal(pipe(pipes), 0);
    for (size_t i = 0; i < EXPORT_FDS_MAX; i++)
        fds[i] = pipes[i % 2];
    assert_int_equal(ipc_send(ends[0], EXPORT_SESSIONS, span_str("body"), fds, EXPORT_FDS_MAX), 0);
    struct export_msg m = received();
    assert_int_equal(m.type, EXPORT_SESSIONS);
    assert_true(span_eq(m.body, span_str("body")));
    assert_int_equal(m.nfds, EXPORT_FDS_MAX);
    assert_false(m.fds_lost);
    for (size_t i = 0; i < m.nfds; i++)
        assert_int_equal(fcntl(m.fds[i], F_GETFL) & O_ACCMODE, i % 2 ? O_WRONLY : O_RDONLY);
    export_msg_close(&m);
    assert_int_equal(m.nfds, 0);
    close(pipes[0]);
    close(pipes[1]);
}

static void a_full_link_says_so_and_an_ended_one_too(void **state) {
    struct export_msg m;
    int err = 0;
    assert_int_equal(export_recv(ends[1], scratch, &m, &err), STEP_WANT_READ);
    int sent = 0;
    while ((err = ipc_send(ends[0], EXPORT_BYTES, span_of(scratch, 30000), NULL, 0)) == 0)
        sent++;
    assert_int_equal(err, ERR_AGAIN);
    assert_true(sent > 1);
    assert_int_equal(shutdown(ends[1], SHUT_RDWR), 0);
    assert_int_equal(ipc_send(ends[0], EXPORT_BYTES, span_of(scratch, 1), NULL, 0), ERR_CLOSED);
    while (sent--) /* what was sent before can still be read */
        assert_int_equal(export_recv(ends[1], scratch, &m, &err), STEP_DONE);
    assert_int_equal(export_recv(ends[1], scratch, &m, &err), STEP_EOF);
}

static void answers_survive(void **state) {
    static const uint8_t results[] = {EXPORT_IS_TAKEN, EXPORT_NO_ROOM, EXPORT_IS_REFUSED};
    uint8_t body[EXPORT_TAKEN_MAX];
    struct export_taken t = {.number = 0x01020304, .results = span_of(results, sizeof(results))}, out;
    struct wr w = wr_of(body, sizeof(body));
    export_taken_pack(&w, &t);
    assert_true(wr_end(&w));
    struct export_msg m = {.type = EXPORT_TAKEN, .body = wr_written(&w)};
    assert_int_equal(export_taken_unpack(&m, &out), 0);
    assert_int_equal(out.number, t.number);
    assert_true(span_eq(out.results, t.results));
    for (size_t n = 0; n < w.len; n++) {
        m.body = span_of(body, n);
        assert_int_equal(export_taken_unpack(&m, &out), ERR_FORMAT);
    }
    m.body = wr_written(&w);
    body[w.len - 1] = EXPORT_RESULTS;
    assert_int_equal(export_taken_unpack(&m, &out), ERR_FORMAT);
    body[w.len - 1] = 0;
    m.type = EXPORT_BYTES;
    assert_int_equal(export_taken_unpack(&m, &out), ERR_FORMAT);
}

static void bytes_ahead_survive(void **state) {
    enum export_part part;
    struct span bytes;
    struct export_msg m = {.type = EXPORT_BYTES, .body = span_of("\x01xyz", 4)};
    assert_int_equal(export_bytes_unpack(&m, &part, &bytes), 0);
    assert_int_equal(part, EXPORT_PART_DOWN);
    assert_true(span_eq(bytes, span_str("xyz")));
    m.body = span_of("\x03xyz", 4);
    assert_int_equal(export_bytes_unpack(&m, &part, &bytes), ERR_FORMAT);
    m.body = span_of("\x01", 1);
    assert_int_equal(export_bytes_unpack(&m, &part, &bytes), ERR_FORMAT);
}

#define WITH_LINK(test) cmocka_unit_test_setup_teardown(test, open_link, close_link)

/* For a new version: writes the files of today's into a directory. */
static int write_files(const char *dir) {
    const struct export_session all[] = {sample_export(), sample_waiting(), sample_preface(), sample_handoff(),
                                         sample_process()};
    const char *const names[] = {"open", "waiting", "preface", "handoff", "process"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s-%d.%d", dir, names[i], EXPORT_MAJOR, EXPORT_MINOR);
        struct span s = packed(&all[i]);
        FILE *f = fopen(path, "wx");
        if (!f || fwrite(s.p, 1, s.len, f) != s.len || fclose(f) != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--write") == 0)
        return write_files(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_survive),
        cmocka_unit_test(every_cut_and_every_tail_is_refused),
        cmocka_unit_test(a_later_minor_is_read_as_far_as_known),
        cmocka_unit_test(a_greeting_and_its_state_belong_together),
        cmocka_unit_test(another_major_is_refused),
        cmocka_unit_test(a_first_byte_is_one_of_some),
        cmocka_unit_test(values_out_of_range_are_refused),
        cmocka_unit_test(a_hand_off_has_nothing_of_a_relay),
        cmocka_unit_test(most_of_a_hand_off_fits),
        cmocka_unit_test(an_older_build_may_send_the_largest_certificate),
        cmocka_unit_test(every_version_is_read),
        cmocka_unit_test(todays_version_is_written),
        WITH_LINK(descriptors_come_in_order),
        WITH_LINK(a_full_link_says_so_and_an_ended_one_too),
        cmocka_unit_test(answers_survive),
        cmocka_unit_test(bytes_ahead_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
