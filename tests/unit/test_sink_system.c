/* The targets that are other daemons: what their libraries are handed. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "observer_samples.h"

#include "base/err.h"
#include "observer/sink.h"

static struct sink sink;
static struct fields fields;
static char got[64 * 1024]; /* the last datagram */
static size_t got_len;
static int access_error;

int __wrap_access(const char *path, int mode);
int __wrap_access(const char *path, int mode) {
    errno = access_error;
    return access_error ? -1 : 0;
}

/* The daemon's socket: whether somebody listens, and what became of a datagram. */
static int connect_error, send_error, connects;

int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *to, socklen_t len) {
    const char *path = ((const struct sockaddr_un *)(const void *)to)->sun_path;
    assert_string_equal(path, sink.ops == &sink_syslog_ops ? "/dev/log" : "/run/systemd/journal/socket");
    connects++;
    errno = connect_error;
    return connect_error ? -1 : 0;
}

ssize_t __wrap_send(int fd, const void *p, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t len, int flags) {
    assert_true(flags & MSG_DONTWAIT);
    errno = send_error;
    if (send_error)
        return -1;
    struct text t = text_of(got, sizeof(got));
    text_add_span(&t, span_of(p, len));
    got_len = t.len;
    return (ssize_t)len;
}

static int begin(void **state) {
    got[0] = 0;
    access_error = connect_error = send_error = connects = 0;
    return 0;
}

static int end(void **state) {
    sink_close(&sink);
    return 0;
}

static int open_target(enum log_target target, enum log_format format, struct text *why) {
    const struct conf conf = {.log_target = target, .log_format = format};
    return sink_open(&sink, &conf, why);
}

static void say(enum log_level level, const char *text) {
    struct event e = {.kind = EVENT_LINE, .level = (uint8_t)level, .role = ROLE_RELAY, .text = span_str(text)};
    fields_of_event(&e, &sample_names, &fields);
    sink_put(&sink, &fields);
    sink_flush(&sink);
}

static void open_journal(void) {
    char memory[256];
    struct text why = text_of(memory, sizeof(memory));
    assert_int_equal(open_target(LOG_TO_JOURNAL, LOG_AS_TEXT, &why), 0);
}

static void journal_gets_every_field(void **state) {
    open_journal();
    struct event e = sample_session();
    fields_of_event(&e, &sample_names, &fields);
    sink_put(&sink, &fields);
    assert_ptr_equal(strstr(got, "MESSAGE=relay.3 session service=web unique_id="), got);
    const char *const want[] = {"\nPRIORITY=6\nSYSLOG_IDENTIFIER=tls-off\n", "\nTLS_OFF_EVENT=session\n",
                                "\nTLS_OFF_SERVICE=web\n", "\nTLS_OFF_CLIENT=192.0.2.1:5678\n", "\nTLS_OFF_RETRIES=2\n"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_non_null(strstr(got, want[i]));
    assert_int_equal(got[got_len - 1], '\n');
    assert_int_equal(sink.lost, 0);
}

static void journal_knows_the_level(void **state) {
    open_journal();
    say(LOG_LEVEL_WARNING, "careful");
    assert_ptr_equal(strstr(got, "MESSAGE=relay.0 careful\nPRIORITY=4\n"), got);
    say(LOG_LEVEL_ERROR, "bad");
    assert_non_null(strstr(got, "\nPRIORITY=3\n"));
    say(LOG_LEVEL_DEBUG, "noise");
    assert_non_null(strstr(got, "\nPRIORITY=7\n"));
}

/* No value may end its field early: what a peer named must not become a field of its own. */
static void journal_keeps_lines_of_a_value_together(void **state) {
    open_journal();
    static const char value[] = "a\nPRIORITY=0", wanted[] = "\nTLS_OFF_X\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
    struct event e = {.kind = EVENT_LINE, .level = LOG_LEVEL_INFO, .role = ROLE_RELAY, .text = span_str("x")};
    fields_of_event(&e, &sample_names, &fields);
    fields.list[fields.n++] = (struct field){.name = "x", .value = span_str(value)};
    sink_put(&sink, &fields);
    assert_true(got_len > sizeof(wanted));
    assert_memory_equal(got + got_len - (sizeof(wanted) - 1), wanted, sizeof(wanted) - 1);
}

static void journal_takes_the_longest_event(void **state) {
    static uint8_t text[EVENT_TEXT_MAX];
    open_journal();
    memset(text, 1, sizeof(text));
    struct event e = sample_session();
    e.reason = ERR_PEER_ALERT;
    e.text = span_of(text, sizeof(text));
    e.conn_info.sni = e.conn_info.alpn = span_of(text, 255);
    fields_of_event(&e, &sample_names, &fields);
    sink_put(&sink, &fields);
    assert_non_null(strstr(got, "\nTLS_OFF_ALERT=close_notify\n")); /* the last one */
}

static void journal_that_is_full_is_not_waited_for(void **state) {
    open_journal();
    send_error = EAGAIN;
    say(LOG_LEVEL_INFO, "one");
    assert_false(sink_has_room(&sink));
    say(LOG_LEVEL_INFO, "two"); /* put though there is no room */
    assert_int_equal(sink.lost, 1);
    assert_int_equal(sink.error, EAGAIN);
    assert_int_equal(connects, 1);
    send_error = 0;
    say(LOG_LEVEL_INFO, "there");
    assert_ptr_equal(strstr(got, "MESSAGE=relay.0 there\n"), got);
}

static void a_missing_journal_is_reported(void **state) {
    char memory[256];
    struct text why = text_of(memory, sizeof(memory));
    access_error = ENOENT;
    int err = open_target(LOG_TO_JOURNAL, LOG_AS_TEXT, &why);
    assert_int_equal(err, ERR_SYSTEM);
    assert_non_null(strstr(memory, "journal"));
}

/* "<28>Nov 24 18:03:11 tls-off[4711]: REST" */
static void assert_datagram(int priority, const char *rest) {
    char wanted[64];
    (void)snprintf(wanted, sizeof(wanted), "<%d>", priority);
    assert_memory_equal(got, wanted, strlen(wanted));
    (void)snprintf(wanted, sizeof(wanted), " tls-off[%d]: ", (int)getpid());
    const char *head = strstr(got, wanted);
    assert_non_null(head);
    assert_int_equal(head - strchr(got, '>') - 1, 15);
    assert_string_equal(head + strlen(wanted), rest);
}

static void syslog_gets_lines_without_time_and_level(void **state) {
    char memory[64];
    struct text why = text_of(memory, sizeof(memory));
    assert_int_equal(open_target(LOG_TO_SYSLOG, LOG_AS_LOGFMT, &why), 0);
    say(LOG_LEVEL_WARNING, "100%s of \n it");
    assert_datagram(LOG_DAEMON | LOG_WARNING, "event=log role=relay.0 message=\"100%s of \\n it\"");
    sink_close(&sink);
    assert_int_equal(open_target(LOG_TO_SYSLOG, LOG_AS_TEXT, &why), 0);
    say(LOG_LEVEL_INFO, "plain");
    assert_datagram(LOG_DAEMON | LOG_INFO, "relay.0 plain");
    int other = dup(STDIN_FILENO);
    sink_use(&sink, other); /* no file is wanted here */
    assert_int_equal(fcntl(other, F_GETFD), -1);
    assert_int_equal(sink.lost, 0);
}

static void syslog_that_is_full_is_not_waited_for(void **state) {
    char memory[64];
    struct text why = text_of(memory, sizeof(memory));
    assert_int_equal(open_target(LOG_TO_SYSLOG, LOG_AS_TEXT, &why), 0);
    send_error = EAGAIN;
    for (int i = 0; i < 3; i++)
        say(LOG_LEVEL_INFO, "kept, then lost");
    assert_int_equal(sink.lost, 2);
    assert_int_equal(sink.error, EAGAIN);
    assert_int_equal(connects, 1);
    send_error = 0;
    assert_true(sink_has_room(&sink));
    assert_datagram(LOG_DAEMON | LOG_INFO, "relay.0 kept, then lost");
    say(LOG_LEVEL_INFO, "there");
    assert_datagram(LOG_DAEMON | LOG_INFO, "relay.0 there");
}

static void syslog_that_died_is_found_again(void **state) {
    char memory[64];
    struct text why = text_of(memory, sizeof(memory));
    assert_int_equal(open_target(LOG_TO_SYSLOG, LOG_AS_TEXT, &why), 0);
    connect_error = ENOENT;
    say(LOG_LEVEL_INFO, "lost");
    assert_int_equal(sink.lost, 1);
    assert_int_equal(sink.error, ENOENT);
    connect_error = 0;
    say(LOG_LEVEL_INFO, "there");
    assert_datagram(LOG_DAEMON | LOG_INFO, "relay.0 there");
    send_error = ECONNREFUSED; /* it died, and nobody is there yet */
    connect_error = ECONNREFUSED;
    say(LOG_LEVEL_INFO, "lost");
    assert_int_equal(sink.lost, 2);
    connect_error = send_error = 0;
    say(LOG_LEVEL_INFO, "again");
    assert_datagram(LOG_DAEMON | LOG_INFO, "relay.0 again");
    assert_int_equal(sink.lost, 2);
}

#define SUNK(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void) {
    const struct CMUnitTest tests[] = {
        SUNK(journal_gets_every_field),
        SUNK(journal_knows_the_level),
        SUNK(journal_takes_the_longest_event),
        SUNK(journal_keeps_lines_of_a_value_together),
        SUNK(journal_that_is_full_is_not_waited_for),
        SUNK(a_missing_journal_is_reported),
        SUNK(syslog_gets_lines_without_time_and_level),
        SUNK(syslog_that_is_full_is_not_waited_for),
        SUNK(syslog_that_died_is_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
