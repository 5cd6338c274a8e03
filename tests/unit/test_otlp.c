/* Spans as OTLP's JSON, what a collector's answers mean, and messages from the observer to the exporter. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>

#include "wire_samples.h"

#include "base/err.h"
#include "exporter/otlp_answer.h"
#include "exporter/otlp_span.h"
#include "wire/exporting.h"

static char json[OTLP_SPAN_MAX];

static json_t *span_json(const struct event *e) {
    struct text t = text_of(json, sizeof(json));
    assert_true(otlp_span_write(&t, e));
    json_error_t fault;
    json_t *o = json_loadb(t.p, t.len, JSON_REJECT_DUPLICATES, &fault);
    if (!o)
        print_error("%s at %d: %s\n", fault.text, fault.position, json);
    assert_non_null(o);
    return o;
}

/* The value of an attribute, whatever its kind, as text; NULL = it is not there. It must not be there twice. */
static const char *attribute(const json_t *o, const char *key) {
    static char text[64];
    const char *found = NULL, *kind;
    size_t i;
    json_t *pair, *value;
    json_array_foreach(json_object_get(o, "attributes"), i, pair) {
        if (strcmp(json_string_value(json_object_get(pair, "key")), key) != 0)
            continue;
        assert_null(found);
        json_t *any = json_object_get(pair, "value");
        assert_int_equal(json_object_size(any), 1);
        json_object_foreach(any, kind, value) {
            snprintf(text, sizeof(text), "%s", json_is_boolean(value) ? json_is_true(value) ? "true" : "false" : "");
            found = json_is_string(value) ? json_string_value(value) : text;
        }
    }
    return found;
}

static const char *event_time(const json_t *o, const char *name) {
    size_t i;
    json_t *e;
    json_array_foreach(json_object_get(o, "events"), i, e) if (strcmp(json_string_value(json_object_get(e, "name")), name) ==
                                                               0) return json_string_value(json_object_get(e, "timeUnixNano"));
    return NULL;
}

static const char *member(const json_t *o, const char *name) {
    return json_string_value(json_object_get(o, name));
}

static void a_session_is_a_span(void **state) {
    struct event e = sample_session();
    e.conn_info.id = sample_client();
    json_t *o = span_json(&e);
    assert_string_equal(member(o, "traceId"), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
    assert_string_equal(member(o, "spanId"), "a8a9aaabacadaeaf");
    assert_string_equal(member(o, "name"), "web");
    assert_int_equal(json_integer_value(json_object_get(o, "kind")), 2);
    assert_string_equal(member(o, "startTimeUnixNano"), "1795370591123456000");
    assert_string_equal(member(o, "endTimeUnixNano"), "1795370592623457000");
    assert_string_equal(event_time(o, "handshake"), "1795370591135801000");
    assert_string_equal(event_time(o, "backend.connected"), "1795370591136106000");
    assert_string_equal(event_time(o, "backend.first_byte"), "1795370591137606000");
    assert_string_equal(event_time(o, "end"), "1795370592623457000");
    assert_null(json_object_get(o, "status"));
    static const char *const wanted[][2] = {
        {"client.address", "192.0.2.1"},
        {"client.port", "5678"},
        {"network.peer.address", "2001:db8::2"},
        {"network.peer.port", "40000"},
        {"network.local.address", "192.0.2.3"},
        {"network.local.port", "443"},
        {"network.transport", "tcp"},
        {"network.type", "ipv6"},
        {"server.address", "www.example.org"},
        {"server.port", "443"},
        {"tls.established", "true"},
        {"tls.protocol.name", "tls"},
        {"tls.protocol.version", "1.3"},
        {"tls.resumed", "true"},
        {"tls.cipher", "TLS_AES_128_GCM_SHA256"},
        {"tls.curve", "x25519"},
        {"tls.next_protocol", "h2"},
        {"tls.client.server_name", "www.example.org"},
        {"tls.client.hash.sha256", "303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F"},
        {"tls_off.client.name", "spiffe://example.org/ns/a/sa/robot"},
        {"tls_off.client.identity_source", "uri"},
        {"tls_off.client.cn", "robot"},
        {"tls_off.client.serial", "01fe80"},
        {"tls_off.handshake", "own"},
        {"tls_off.ja4", "t13d1516h2_8daaf6152771_e5627efa2ab1"},
        {"tls_off.certificate", "/etc/tls/fullchain.pem"},
        {"tls_off.service", "web"},
        {"tls_off.backend", "unix:/run/b.sock"},
        {"tls_off.bytes_in", "1000"},
        {"tls_off.bytes_out", "5000000000"},
        {"tls_off.client_end", "close"},
        {"tls_off.backend_end", "reset"},
        {"tls_off.retries", "2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (!attribute(o, wanted[i][0]) || strcmp(attribute(o, wanted[i][0]), wanted[i][1]) != 0)
            print_error("%s\n", wanted[i][0]);
        assert_string_equal(attribute(o, wanted[i][0]), wanted[i][1]);
    }
    assert_int_equal(json_array_size(json_object_get(o, "attributes")), ARRAY_LEN(wanted));
    json_decref(o);
}

static void a_failed_handshake_has_a_status(void **state) {
    struct event e = {.kind = EVENT_FAILURE, .role = ROLE_HANDSHAKER, .conn_info = sample_conn_info(), .duration_us = 7};
    e.conn_info.tls_version = e.conn_info.suite = 0;
    e.conn_info.group = 0xfefe;
    e.reason = ERR_PEER_ALERT;
    e.alert = 48;
    e.text = span_str("waiting for client Finished");
    json_t *o = span_json(&e), *status = json_object_get(o, "status");
    assert_string_equal(member(o, "name"), "unknown");
    assert_int_equal(json_integer_value(json_object_get(status, "code")), 2);
    assert_string_equal(member(status, "message"), err_name(ERR_PEER_ALERT));
    assert_string_equal(attribute(o, "error.type"), err_name(ERR_PEER_ALERT));
    assert_string_equal(attribute(o, "tls_off.alert"), alert_name(48));
    assert_string_equal(attribute(o, "tls_off.detail"), "waiting for client Finished");
    assert_string_equal(attribute(o, "tls.established"), "false");
    assert_string_equal(attribute(o, "tls.curve"), "0xfefe");
    assert_null(attribute(o, "tls.protocol.version"));
    assert_null(attribute(o, "tls_off.service"));
    assert_null(attribute(o, "tls_off.bytes_in"));
    assert_int_equal(json_array_size(json_object_get(o, "events")), 1);
    json_decref(o);
}

static void what_is_not_known_is_left_out(void **state) {
    struct event e = sample_session();
    e.relay_us = 0; /* an older version handed it over */
    e.conn_info.tls_version = e.conn_info.suite = e.conn_info.group = 0;
    e.conn_info.client = addr_of_process(7, 8, 9);
    e.conn_info.peer = e.conn_info.local = (struct addr){.family = AF_UNSPEC};
    e.conn_info.sni = span_str("no host name/");
    json_t *o = span_json(&e);
    assert_int_equal(json_array_size(json_object_get(o, "events")), 1);
    assert_string_equal(attribute(o, "client.address"), "uid:7");
    assert_null(attribute(o, "client.port"));
    assert_string_equal(attribute(o, "network.transport"), "unix");
    assert_null(attribute(o, "network.type"));
    assert_null(attribute(o, "server.address"));
    assert_null(attribute(o, "server.port"));
    assert_null(attribute(o, "tls.established"));
    assert_string_equal(attribute(o, "tls.client.server_name"), "no host name/");
    json_decref(o);
    struct text t = text_of(json, sizeof(json));
    e.kind = EVENT_LINE;
    assert_false(otlp_span_write(&t, &e));
    e.kind = EVENT_TRACE;
    assert_false(otlp_span_write(&t, &e));
    assert_int_equal(t.len, 0);
}

/* Every byte as bad as it can be, everything as long as it can be, and times without sense. */
static void the_worst_event_is_still_json(void **state) {
    static uint8_t text[EVENT_TEXT_MAX];
    for (int c = 0; c < 256; c++) {
        memset(text, c, sizeof(text));
        struct event e = sample_session();
        e.text = span_of(text, sizeof(text));
        e.service = e.backend = span_of(text, EVENT_NAME_MAX);
        e.conn_info.sni = e.conn_info.alpn = e.conn_info.cert_file = span_of(text, 255);
        e.conn_info.ja4 = span_of(text, CONN_INFO_JA4_MAX);
        e.conn_info.id = sample_client();
        e.conn_info.id.name = span_of(text, CONN_INFO_NAME_MAX);
        e.conn_info.id.cn = span_of(text, 255);
        e.conn_info.id.serial = span_of(text, CONN_INFO_SERIAL_MAX);
        e.conn_info.start_wall_us = e.duration_us = e.relay_us = e.bytes_in = UINT64_MAX;
        e.reason = ERR_PEER_ALERT;
        e.alert = 0xfa;
        json_t *o = span_json(&e);
        for (const char *p = json; *p; p++)
            assert_true((uint8_t)*p >= 0x20 && *p != 0x7f);
        assert_null(strstr(json, "\\u0"));
        json_decref(o);
    }
}

static void the_head_makes_a_request(void **state) {
    struct text t = text_of(json, sizeof(json));
    char quotes[256];
    memset(quotes, '"', 255);
    quotes[255] = 0;
    otlp_head_write(&t, &(struct otlp_resource){quotes, "host", "0123456789abcdef"});
    assert_true(t.len < OTLP_HEAD_MAX);
    struct event e = sample_session();
    assert_true(otlp_span_write(&t, &e));
    text_add(&t, ",");
    assert_true(otlp_span_write(&t, &e));
    text_add(&t, OTLP_TAIL);
    json_t *o = json_loadb(t.p, t.len, JSON_REJECT_DUPLICATES, NULL);
    json_t *r = json_array_get(json_object_get(o, "resourceSpans"), 0);
    json_t *s = json_array_get(json_object_get(r, "scopeSpans"), 0);
    assert_int_equal(json_array_size(json_object_get(s, "spans")), 2);
    assert_string_equal(attribute(json_object_get(r, "resource"), "service.name"), quotes);
    assert_string_equal(attribute(json_object_get(r, "resource"), "service.instance.id"), "0123456789abcdef");
    assert_string_equal(member(json_object_get(s, "scope"), "name"), "tls-off");
    json_decref(o);
}

/* ---- answers ---- */

static const struct {
    unsigned status;
    const char *body;
    enum otlp_verdict verdict;
    uint32_t refused;
    const char *why; /* a part of it; "" = none at all */
} answers[] = {
    {200, "", OTLP_TAKEN, 0, ""},
    {200, "{}", OTLP_TAKEN, 0, ""},
    {202, "{}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":{}}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":null}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":\"3\"}}", OTLP_TAKEN, 3, "3 of 10 spans refused"},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":3,\"errorMessage\":\"full\\n\"}}", OTLP_TAKEN, 3,
     "refused: full\xef\xbf\xbd"},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":\"0\",\"errorMessage\":\"soon\"}}", OTLP_TAKEN, 0, "soon"},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":-1}}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":\"99999999999999999999999\"}}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":\"18446744073709551615\"}}", OTLP_TAKEN, 10, "10 of 10"},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":[1],\"errorMessage\":7}}", OTLP_TAKEN, 0, ""},
    {200, "{\"partialSuccess\":{\"rejectedSpans\":1,\"rejectedSpans\":2}}", OTLP_REFUSED, 10, "not one of OTLP"},
    {200, "[]", OTLP_REFUSED, 10, "not one of OTLP"},
    {200, "<html>", OTLP_REFUSED, 10, "not one of OTLP"},
    {200, "{} {}", OTLP_REFUSED, 10, "not one of OTLP"},
    {204, "\xff", OTLP_REFUSED, 10, "not one of OTLP"},
    {301, "", OTLP_REFUSED, 10, "redirects are not followed"},
    {400, "{\"message\":\"no \\u001b\"}", OTLP_REFUSED, 10, "status 400: no \xef\xbf\xbd"},
    {403, "no", OTLP_REFUSED, 10, "status 403"},
    {500, "", OTLP_REFUSED, 10, "status 500"},
    {501, "", OTLP_REFUSED, 10, "status 501"},
    {429, "", OTLP_LATER, 10, "status 429"},
    {502, "", OTLP_LATER, 10, "status 502"},
    {503, "{\"message\":\"later\"}", OTLP_LATER, 10, "status 503: later"},
    {504, "", OTLP_LATER, 10, "status 504"},
    {505, "", OTLP_REFUSED, 10, "status 505"},
    {0, "", OTLP_REFUSED, 10, "status 0"},
};

static void every_answer_has_its_meaning(void **state) {
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        char line[SERVER_WHY_MAX + 1];
        struct text why = text_of(line, sizeof(line));
        uint32_t refused = 77;
        struct http_out_answer a = {.status = answers[i].status, .body = span_str(answers[i].body), .retry_after = -1};
        enum otlp_verdict v = otlp_answer_read(&a, 10, &refused, &why);
        bool ok = v == answers[i].verdict && (v == OTLP_LATER || refused == answers[i].refused) && strstr(line, answers[i].why);
        if (!ok || !answers[i].why[0] != !line[0])
            print_error("%u %s: %d, %u, %s\n", answers[i].status, answers[i].body, (int)v, refused, line);
        assert_true(ok && !answers[i].why[0] == !line[0]);
    }
    char line[SERVER_WHY_MAX + 1];
    struct text why = text_of(line, sizeof(line));
    uint32_t refused;
    struct http_out_answer a = {.failed = "Timeout", .retry_after = -1};
    assert_int_equal(otlp_answer_read(&a, 10, &refused, &why), OTLP_LATER);
    assert_string_equal(line, "Timeout");
    a.too_long = true;
    assert_int_equal(otlp_answer_read(&a, 10, &refused, &why), OTLP_REFUSED);
    assert_int_equal(refused, 10);
}

/* ---- messages ---- */

static void events_share_a_message(void **state) {
    static struct exporting_batch b;
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct event e = sample_session(), out;
    struct ipc_msg m;
    int ends[2], err = 0;
    uint32_t n = 0;
    assert_int_equal(ipc_pair(1 << 20, ends), 0);
    while (exporting_add(&b, &e))
        n++;
    assert_true(n > 100 && b.n == n && b.len <= IPC_BODY_MAX);
    assert_int_equal(exporting_send(ends[0], &b), 0);
    assert_int_equal(b.n, 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), exporting_to_exporter, &m, &err), STEP_DONE);
    struct span left = m.body;
    for (; exporting_next(&left, &out, &err); n--)
        assert_same_conn_info(&out.conn_info, &e.conn_info);
    assert_true(n == 0 && err == 0 && left.len == 0);
    for (size_t cut = 1; cut < 3000; cut++) { /* the whole ones, then the cut one is a fault */
        left = span_of(m.body.p, cut);
        size_t whole = 0, one = (size_t)(m.body.p[0] << 8 | m.body.p[1]) + 2;
        while (exporting_next(&left, &out, &err))
            whole++;
        assert_int_equal(whole, cut / one);
        assert_int_equal(err, cut % one ? ERR_FORMAT : 0);
    }
    close(ends[1]);
    assert_true(exporting_add(&b, &e));
    assert_int_equal(exporting_send(ends[0], &b), ERR_CLOSED);
    assert_int_equal(b.n, 1);
    close(ends[0]);
}

static void a_state_survives(void **state) {
    uint8_t scratch[IPC_BODY_MAX + 2];
    struct server_state s = {false, 99, 98, span_str("status 503")}, out;
    struct ipc_msg m;
    int ends[2], err = 0;
    assert_int_equal(ipc_pair(0, ends), 0);
    assert_int_equal(server_state_send(ends[0], EXPORTING_STATE, &s), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), exporting_to_observer, &m, &err), STEP_DONE);
    assert_int_equal(server_state_read(&m, &out), 0);
    assert_true(!out.up && out.since_s == 99 && out.since_ms == 98 && span_eq(out.why, s.why));
    *(uint8_t *)(uintptr_t)m.body.p = 2; /* neither */
    assert_int_equal(server_state_read(&m, &out), ERR_FORMAT);
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_is_a_span),           cmocka_unit_test(a_failed_handshake_has_a_status),
        cmocka_unit_test(what_is_not_known_is_left_out), cmocka_unit_test(the_worst_event_is_still_json),
        cmocka_unit_test(the_head_makes_a_request),      cmocka_unit_test(every_answer_has_its_meaning),
        cmocka_unit_test(events_share_a_message),        cmocka_unit_test(a_state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
