#include <stdio.h>

#include "observer_samples.h"

#include "base/err.h"
#include "observer/format.h"

static char line[FORMAT_LINE_MAX];
static struct fields fields;

static const char *formatted(enum log_format format, const struct event *e) {
    fields_of_event(e, &sample_names, &fields);
    struct text t = text_of(line, sizeof(line));
    format_line(&t, format, &fields, true);
    assert_false(t.cut);
    return line;
}

static struct event log_line(const char *text) {
    return (struct event){.kind = EVENT_LINE,
                          .wall_us = 1795370591123456,
                          .role = ROLE_RELAY,
                          .level = LOG_LEVEL_WARNING,
                          .text = span_str(text)};
}

static void session_as_text(void **state) {
    struct event e = sample_session();
    assert_string_equal(
        formatted(LOG_AS_TEXT, &e),
        "2026-11-22T18:03:11.123Z INFO relay.3 session service=web unique_id=a0a1a2a3a4a5a6a7a8a9aaabacadaeaf "
        "client=192.0.2.1:5678 peer=[2001:db8::2]:40000 local=192.0.2.3:443 tls_version=TLSv1.3 "
        "cipher_suite=TLS_AES_128_GCM_SHA256 group=x25519 resumed=true handshake=own sni=www.example.org alpn=h2 "
        "ja4=t13d1516h2_8daaf6152771_e5627efa2ab1 backend=unix:/run/b.sock bytes_in=1000 bytes_out=5000000000 "
        "handshake_ms=12.345 connect_ms=0.250 first_byte_ms=1.750 duration_ms=1500.001 client_end=close backend_end=reset "
        "retries=2");
}

static void session_as_logfmt(void **state) {
    struct event e = sample_session();
    const char *got = formatted(LOG_AS_LOGFMT, &e);
    static const char start[] = "time=2026-11-22T18:03:11.123Z level=info event=session role=relay.3 service=web unique_id=a0";
    assert_memory_equal(got, start, strlen(start));
    assert_non_null(strstr(got, " handshake_ms=12.345 "));
}

static void session_as_json(void **state) {
    struct event e = sample_session();
    assert_string_equal(
        formatted(LOG_AS_JSON, &e),
        "{\"time\":\"2026-11-22T18:03:11.123Z\",\"level\":\"info\",\"event\":\"session\",\"role\":\"relay.3\","
        "\"service\":\"web\",\"unique_id\":\"a0a1a2a3a4a5a6a7a8a9aaabacadaeaf\",\"client\":\"192.0.2.1:5678\","
        "\"peer\":\"[2001:db8::2]:40000\",\"local\":\"192.0.2.3:443\",\"tls_version\":\"TLSv1.3\","
        "\"cipher_suite\":\"TLS_AES_128_GCM_SHA256\",\"group\":\"x25519\",\"resumed\":true,\"handshake\":\"own\","
        "\"sni\":\"www.example.org\",\"alpn\":\"h2\",\"ja4\":\"t13d1516h2_8daaf6152771_e5627efa2ab1\",\"backend\":\"unix:/run/b.sock\","
        "\"bytes_in\":1000,\"bytes_out\":5000000000,\"handshake_ms\":12.345,\"connect_ms\":0.250,\"first_byte_ms\":1.750,\"duration_ms\":1500.001,"
        "\"client_end\":\"close\",\"backend_end\":\"reset\",\"retries\":2}");
}

static void a_verified_client_is_named(void **state) {
    struct event e = sample_session();
    e.conn_info.id = sample_client();
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e),
                           " client_name=spiffe://example.org/ns/a/sa/robot client_identity_source=uri client_cn=robot "
                           "client_serial=01fe80 "
                           "client_fingerprint=303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f backend="));
    e.conn_info.id = (struct conn_info_client){.verified = true};
    formatted(LOG_AS_LOGFMT, &e);
    assert_null(strstr(line, " client_name"));
    assert_non_null(strstr(line, " client_fingerprint=0000"));
}

static void what_is_not_known_is_omitted(void **state) {
    struct event e = {.kind = EVENT_FAILURE, .wall_us = 0, .role = ROLE_HANDSHAKER, .level = LOG_LEVEL_INFO};
    e.conn_info.client = sample_inet(1, 1);
    e.service = span_str("mail");
    e.reason = ERR_PLAIN_HTTP;
    e.duration_us = 999;
    assert_string_equal(formatted(LOG_AS_LOGFMT, &e),
                        "time=1970-01-01T00:00:00.000Z level=info event=failed role=handshaker.0 service=mail "
                        "unique_id=00000000000000000000000000000000 client=192.0.2.1:1 duration_ms=0.999 reason=plain_http");
}

static void failure_has_detail_and_alert(void **state) {
    struct event e = {.kind = EVENT_FAILURE, .role = ROLE_HANDSHAKER, .level = LOG_LEVEL_INFO, .reason = ERR_PEER_ALERT};
    e.text = span_str("waiting for client Finished");
    e.alert = 48;
    assert_non_null(
        strstr(formatted(LOG_AS_LOGFMT, &e), " reason=peer_alert detail=\"waiting for client Finished\" alert=unknown_ca"));
    e.alert = 200;
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), " alert=unknown_200"));
    e.reason = ERR_HANDSHAKE_TIMEOUT;
    assert_null(strstr(formatted(LOG_AS_LOGFMT, &e), " alert="));
}

static void unknown_numbers_are_shown(void **state) {
    struct event e = sample_session();
    e.conn_info.suite = 0xcafe;
    e.conn_info.group = 0x11ec;
    formatted(LOG_AS_LOGFMT, &e);
    assert_non_null(strstr(line, " cipher_suite=0xcafe group=0x11ec "));
}

static void names_that_are_not_there(void **state) {
    struct event e = sample_session();
    e.service = span_of(NULL, 0);
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), " service=? "));
    e.backend = span_of(NULL, 0);
    formatted(LOG_AS_LOGFMT, &e);
    assert_null(strstr(line, " backend="));
    assert_null(strstr(line, " connect_ms="));
}

/* Of a session that an older build has handed over it is not known who made its handshake. */
static void who_made_the_handshake_is_said_where_it_is_known(void **state) {
    struct event e = sample_session();
    e.conn_info.made_by = MADE_BY_LIBSSL;
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), " resumed=true handshake=libssl sni="));
    e.conn_info.made_by = MADE_BY_UNKNOWN;
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), " resumed=true sni="));
    e = (struct event){.kind = EVENT_FAILURE, .role = ROLE_HANDSHAKER, .reason = ERR_HANDSHAKE_TIMEOUT};
    e.conn_info.made_by = MADE_BY_OWN;
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), " handshake=own duration_ms="));
}

static void passthrough_has_no_handshake(void **state) {
    struct event e = sample_session();
    e.conn_info.tls_version = e.conn_info.suite = e.conn_info.group = e.conn_info.made_by = 0;
    formatted(LOG_AS_LOGFMT, &e);
    const char *const absent[] = {" tls_version=", " cipher_suite=", " group=", " resumed=", " handshake=", " handshake_ms="};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_null(strstr(line, absent[i]));
}

static void lines_read_as_sentences(void **state) {
    struct event e = log_line("backend \"a\" is away");
    assert_string_equal(formatted(LOG_AS_TEXT, &e), "2026-11-22T18:03:11.123Z WARNING relay.0 backend \"a\" is away");
    assert_string_equal(formatted(LOG_AS_JSON, &e), "{\"time\":\"2026-11-22T18:03:11.123Z\",\"level\":\"warning\",\"event\":"
                                                    "\"log\",\"role\":\"relay.0\",\"message\":\"backend \\\"a\\\" is away\"}");
    assert_string_equal(formatted(LOG_AS_LOGFMT, &e), "time=2026-11-22T18:03:11.123Z level=warning event=log role=relay.0 "
                                                      "message=\"backend \\\"a\\\" is away\"");
}

static void no_head_leaves_time_and_level_out(void **state) {
    struct event e = log_line("x");
    fields_of_event(&e, &sample_names, &fields);
    const struct {
        enum log_format format;
        const char *want;
    } rows[] = {{LOG_AS_TEXT, "relay.0 x"},
                {LOG_AS_LOGFMT, "event=log role=relay.0 message=x"},
                {LOG_AS_JSON, "{\"event\":\"log\",\"role\":\"relay.0\",\"message\":\"x\"}"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct text t = text_of(line, sizeof(line));
        format_line(&t, rows[i].format, &fields, false);
        assert_string_equal(line, rows[i].want);
    }
}

static void sampled_line(void **state) {
    const struct sampled s = {.service = 1, .reason = ERR_NOT_TLS, .count = 123456, .seconds = 10};
    fields_of_sampled(&s, 1795370591123456, 0, sample_conf(), &fields);
    struct text t = text_of(line, sizeof(line));
    format_line(&t, LOG_AS_JSON, &fields, true);
    assert_string_equal(line, "{\"time\":\"2026-11-22T18:03:11.123Z\",\"level\":\"info\",\"event\":\"sampled\",\"role\":"
                              "\"observer.0\",\"service\":\"web\",\"reason\":\"not_tls\",\"count\":123456,\"seconds\":10}");
}

static void what_is_ours_to_mend_is_a_warning(void **state) {
    struct event e = sample_session();
    assert_int_equal(event_level(&e), LOG_LEVEL_INFO);
    e.reason = ERR_CLIENT_RESET;
    assert_int_equal(event_level(&e), LOG_LEVEL_INFO);
    e.reason = ERR_BACKEND_REFUSED;
    assert_int_equal(event_level(&e), LOG_LEVEL_WARNING);
    e.level = LOG_LEVEL_ERROR;
    assert_int_equal(event_level(&e), LOG_LEVEL_ERROR);
    struct event said = log_line("");
    said.level = LOG_LEVEL_DEBUG;
    assert_int_equal(event_level(&said), LOG_LEVEL_DEBUG);
}

/* ---- what outsiders write ---- */

/* The SNI field of a session as each format shows it. */
static void assert_shown(struct span sni, const char *logfmt, const char *json) {
    struct event e = sample_session();
    char want[2048];
    e.conn_info.sni = sni;
    snprintf(want, sizeof(want), " sni=%s alpn=", logfmt);
    assert_non_null(strstr(formatted(LOG_AS_LOGFMT, &e), want));
    assert_non_null(strstr(formatted(LOG_AS_TEXT, &e), want));
    snprintf(want, sizeof(want), ",\"sni\":\"%s\",\"alpn\":", json);
    assert_non_null(strstr(formatted(LOG_AS_JSON, &e), want));
}

static void quotes_and_spaces_cannot_forge_a_field(void **state) {
    assert_shown(span_str("a reason=none"), "\"a reason=none\"", "a reason=none");
    assert_shown(span_str("a\" reason=\"b"), "\"a\\\" reason=\\\"b\"", "a\\\" reason=\\\"b");
    assert_shown(span_str("a\\"), "\"a\\\\\"", "a\\\\");
    assert_shown(span_str("\",\"level\":\"error"), "\"\\\",\\\"level\\\":\\\"error\"", "\\\",\\\"level\\\":\\\"error");
    assert_shown(span_str("a=b"), "\"a=b\"", "a=b");
}

static void control_bytes_cannot_forge_a_line(void **state) {
    assert_shown(span_str("a\nb\rc\td"), "\"a\\nb\\rc\\td\"", "a\\nb\\rc\\td");
    assert_shown(span_of("\0\x1b[2J\x7f", 6), "\"\\u0000\\u001b[2J\\u007f\"", "\\u0000\\u001b[2J\\u007f");
    assert_shown(span_str("\xc2\x9b"), "\"\\u009b\"", "\\u009b");                               /* C1 control */
    assert_shown(span_str("\xe2\x80\xa8\xe2\x80\xae"), "\"\\u2028\\u202e\"", "\\u2028\\u202e"); /* line end, override */
}

static void valid_utf8_stays(void **state) {
    assert_shown(span_str("b\xc3\xbc"
                          "cher\xe2\x82\xac\xf0\x9f\x98\x80"),
                 "\"b\xc3\xbc"
                 "cher\xe2\x82\xac\xf0\x9f\x98\x80\"",
                 "b\xc3\xbc"
                 "cher\xe2\x82\xac\xf0\x9f\x98\x80");
    assert_shown(span_str("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80"), "\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\"",
                 "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80");
}

static void invalid_utf8_is_replaced_byte_by_byte(void **state) {
    static const char *const bad[] = {"\x80", "\xff", "\xc0", "\xe2", "\xf5"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_shown(span_str(bad[i]), "\"\\ufffd\"", "\\ufffd");
    assert_shown(span_str("\xc0\xaf"), "\"\\ufffd\\ufffd\"", "\\ufffd\\ufffd");                   /* too long a form */
    assert_shown(span_str("\xe2\x82"), "\"\\ufffd\\ufffd\"", "\\ufffd\\ufffd");                   /* cut */
    assert_shown(span_str("\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\"", "\\ufffd\\ufffd\\ufffd"); /* surrogate */
    assert_shown(span_str("\xf4\x90\x80\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\"", "\\ufffd\\ufffd\\ufffd\\ufffd");
    assert_shown(span_str("\xc3"
                          "a"),
                 "\"\\ufffda\"", "\\ufffda");
}

static void no_byte_breaks_a_line(void **state) {
    struct event e = sample_session();
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++) {
            const uint8_t sni[] = {(uint8_t)a, (uint8_t)b};
            e.conn_info.sni = span_of(sni, 2);
            for (unsigned format = LOG_AS_TEXT; format <= LOG_AS_LOGFMT; format++)
                for (const char *p = formatted((enum log_format)format, &e); *p; p++)
                    if ((uint8_t)*p < 0x20 || *p == 0x7f)
                        fail();
        }
}

static void log_lines_cannot_be_forged_either(void **state) {
    struct event e = log_line("a\n2026-11-22T18:03:11.123Z INFO relay.0 b");
    assert_string_equal(formatted(LOG_AS_TEXT, &e),
                        "2026-11-22T18:03:11.123Z WARNING relay.0 a\\n2026-11-22T18:03:11.123Z INFO "
                        "relay.0 b");
}

static void the_longest_line_fits(void **state) {
    static uint8_t text[EVENT_TEXT_MAX];
    memset(text, 0xff, sizeof(text)); /* each byte becomes six */
    struct event e = sample_session();
    e.reason = ERR_PEER_ALERT;
    e.alert = 255;
    e.text = span_of(text, sizeof(text));
    e.conn_info.sni = e.conn_info.alpn = span_of(text, 255);
    e.conn_info.ja4 = span_of(text, CONN_INFO_JA4_MAX);
    e.conn_info.id = sample_client();
    e.conn_info.id.name = span_of(text, CONN_INFO_NAME_MAX);
    e.conn_info.id.cn = span_of(text, 255);
    e.conn_info.id.serial = span_of(text, CONN_INFO_SERIAL_MAX);
    e.conn_info.client = e.conn_info.local = e.conn_info.peer =
        (struct addr){.family = AF_INET6, .port = 65535, .ip = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}};
    e.conn_info.suite = e.conn_info.group = UINT16_MAX;
    e.bytes_in = e.bytes_out = e.duration_us = e.wall_us = UINT64_MAX;
    e.wall_us = UINT64_C(253402300799999999);
    e.conn_info.handshake_us = e.connect_us = UINT32_MAX;
    e.retries = e.index = UINT16_MAX;
    for (unsigned format = LOG_AS_TEXT; format <= LOG_AS_LOGFMT; format++) {
        formatted((enum log_format)format, &e);
        assert_false(fields.space.cut);
        assert_true(strlen(line) < FORMAT_LINE_MAX * 7 / 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(session_as_text),
        cmocka_unit_test(session_as_logfmt),
        cmocka_unit_test(session_as_json),
        cmocka_unit_test(a_verified_client_is_named),
        cmocka_unit_test(what_is_not_known_is_omitted),
        cmocka_unit_test(failure_has_detail_and_alert),
        cmocka_unit_test(unknown_numbers_are_shown),
        cmocka_unit_test(names_that_are_not_there),
        cmocka_unit_test(who_made_the_handshake_is_said_where_it_is_known),
        cmocka_unit_test(passthrough_has_no_handshake),
        cmocka_unit_test(lines_read_as_sentences),
        cmocka_unit_test(no_head_leaves_time_and_level_out),
        cmocka_unit_test(sampled_line),
        cmocka_unit_test(what_is_ours_to_mend_is_a_warning),
        cmocka_unit_test(quotes_and_spaces_cannot_forge_a_field),
        cmocka_unit_test(control_bytes_cannot_forge_a_line),
        cmocka_unit_test(valid_utf8_stays),
        cmocka_unit_test(invalid_utf8_is_replaced_byte_by_byte),
        cmocka_unit_test(no_byte_breaks_a_line),
        cmocka_unit_test(log_lines_cannot_be_forged_either),
        cmocka_unit_test(the_longest_line_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
