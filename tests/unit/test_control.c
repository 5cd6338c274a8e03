#include <fcntl.h>
#include <unistd.h>

#include "wire_samples.h"

#include "base/err.h"
#include "wire/control.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"
#include "wire/resolved.h"

static int ends[2];
static uint8_t scratch[IPC_BODY_MAX + 2];

static int open_pair(void **state) {
    return ipc_pair(0, ends);
}

static int close_pair(void **state) {
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* What the other side gets. Its descriptors are closed at once. */
static struct ipc_msg received(const struct ipc_rule *rules) {
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), rules, &m, &err), STEP_DONE);
    unsigned nfds = m.nfds;
    ipc_msg_close(&m);
    m.nfds = nfds;
    return m;
}

static const struct control_setup setup = {
    .role = ROLE_RELAY, .index = 3, .workers = 4, .cpu = -1, .generation = 0x01020304, .restarts = 7};

static void setup_survives(void **state) {
    struct control_setup out;
    assert_int_equal(control_send_setup(ends[0], &setup, (int[]){0, 1, 2, 0}), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(m.nfds, 4);
    assert_int_equal(control_read_setup(&m, &out), 0);
    assert_int_equal(out.role, ROLE_RELAY);
    assert_int_equal(out.index, 3);
    assert_int_equal(out.workers, 4);
    assert_int_equal(out.cpu, -1);
    assert_int_equal(out.generation, 0x01020304);
    assert_int_equal(out.restarts, 7);
}

static void setup_out_of_range_is_refused(void **state) {
    struct control_setup bad[] = {setup, setup, setup, setup}, out;
    bad[0].role = ROLE_COUNT;
    bad[1].workers = 0;
    bad[2].index = 4;
    bad[3].cpu = -2;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(control_send_setup(ends[0], &bad[i], (int[]){0, 1, 2, 0}), 0);
        struct ipc_msg m = received(control_to_child);
        assert_int_equal(control_read_setup(&m, &out), ERR_FORMAT);
    }
}

static void listener_and_peer_survive(void **state) {
    uint16_t listener;
    struct control_peer peer;
    assert_int_equal(control_send_listener(ends[0], 258, 0), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_listener(&m, &listener), 0);
    assert_int_equal(listener, 258);
    const enum control_type types[] = {CONTROL_LINK, CONTROL_RING};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_int_equal(control_send_peer(ends[0], types[i], &(struct control_peer){ROLE_RESOLVER, 7, 0x01020304}, 0), 0);
        m = received(control_to_child);
        assert_int_equal(m.nfds, 1);
        assert_int_equal(control_read_peer(&m, &peer), 0);
        assert_int_equal(peer.role, ROLE_RESOLVER);
        assert_int_equal(peer.index, 7);
        assert_int_equal(peer.generation, 0x01020304);
    }
    assert_int_equal(control_send_ring_end(ends[0], &(struct control_peer){ROLE_RELAY, 1, 9}), 0);
    m = received(control_to_child);
    assert_int_equal(control_read_peer(&m, &peer), 0);
    assert_int_equal(m.nfds, 0);
    assert_int_equal(peer.generation, 9);
}

static void unknown_role_of_a_peer_is_refused(void **state) {
    struct control_peer peer;
    assert_int_equal(control_send_peer(ends[0], CONTROL_LINK, &(struct control_peer){ROLE_COUNT, 0, 0}, 0), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_peer(&m, &peer), ERR_FORMAT);
}

static void numbers_survive(void **state) {
    uint64_t n;
    assert_int_equal(control_send_number(ends[0], CONTROL_DRAINED, UINT64_MAX), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_int_equal(control_read_number(&m, &n), 0);
    assert_true(n == UINT64_MAX);
    assert_int_equal(control_send_number(ends[0], CONTROL_CPU, 8), 0);
    m = received(control_to_child);
    assert_int_equal(control_read_number(&m, &n), 0);
    assert_true(n == 8);
}

static void drains_survive(void **state) {
    struct control_drain d;
    assert_int_equal(control_send_drain(ends[0], &(struct control_drain){DRAIN_PATIENT, UINT64_MAX}), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_drain(&m, &d), 0);
    assert_int_equal(d.how, DRAIN_PATIENT);
    assert_true(d.ms == UINT64_MAX);
    assert_int_equal(control_send_drain(ends[0], &(struct control_drain){DRAIN_HOWS, 1}), 0);
    m = received(control_to_child);
    assert_int_equal(control_read_drain(&m, &d), ERR_FORMAT);
}

static void commands_survive(void **state) {
    struct control_command c;
    assert_int_equal(control_send_command(ends[0], &(struct control_command){COMMAND_DRAIN, UINT64_MAX, 5, 7}), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_int_equal(control_read_command(&m, &c), 0);
    assert_int_equal(c.kind, COMMAND_DRAIN);
    assert_true(c.id == UINT64_MAX);
    assert_int_equal(c.ms, 5);
    assert_int_equal(c.delay_ms, 7);
    for (unsigned kind = 0; kind <= COMMAND_KINDS; kind += COMMAND_KINDS) {
        assert_int_equal(control_send_command(ends[0], &(struct control_command){(enum command_kind)kind, 1, 0, 0}), 0);
        m = received(control_to_supervisor);
        assert_int_equal(control_read_command(&m, &c), ERR_FORMAT);
    }
}

static void answers_of_the_config_role_survive(void **state) {
    struct control_configured c = {.version = span_str("1.2"), .warnings = span_str("one\ntwo\n")}, out;
    assert_int_equal(control_send_configured(ends[0], &c, (int[]){0, 1, 0, 1}), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_int_equal(m.nfds, 4);
    assert_int_equal(control_read_configured(&m, &out), 0);
    assert_true(span_eq(out.version, c.version) && span_eq(out.warnings, c.warnings));
    m.body.len--;
    assert_int_equal(control_read_configured(&m, &out), ERR_FORMAT);
}

/* What a later version asks: only the first field can be understood. */
static void request_of_another_protocol_is_distinguished(void **state) {
    struct control_request r;
    struct ipc_msg m = {.type = CONTROL_REQUEST, .body = span_of("\xff\xff\xff\xff whatever", 13)};
    assert_int_equal(control_read_request(&m, &r), ERR_UNSUPPORTED);
}

static void bare_messages_and_texts_pass_the_rules(void **state) {
    const enum control_type to_child[] = {CONTROL_GO, CONTROL_SERVE, CONTROL_PING, CONTROL_STOP};
    for (size_t i = 0; i < ARRAY_LEN(to_child); i++) {
        assert_int_equal(control_send(ends[0], to_child[i]), 0);
        assert_int_equal(received(control_to_child).type, to_child[i]);
    }
    const enum control_type to_supervisor[] = {CONTROL_READY, CONTROL_SERVING, CONTROL_PONG};
    for (size_t i = 0; i < ARRAY_LEN(to_supervisor); i++) {
        assert_int_equal(control_send(ends[0], to_supervisor[i]), 0);
        assert_int_equal(received(control_to_supervisor).type, to_supervisor[i]);
    }
    assert_int_equal(control_send_text(ends[0], CONTROL_REFUSED, span_str("no"), NULL, 0), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_true(span_eq(m.body, span_str("no")));
    assert_int_equal(control_send_text(ends[0], CONTROL_SECRETS, span_of(NULL, 0), (int[]){0}, 1), 0);
    assert_int_equal(received(control_to_child).nfds, 1);
}

static void long_text_is_cut_to_what_the_rules_take(void **state) {
    static char text[CONTROL_TEXT_MAX + 1000];
    memset(text, 'x', sizeof(text));
    assert_int_equal(control_send_text(ends[0], CONTROL_REFUSED, span_of(text, sizeof(text)), NULL, 0), 0);
    assert_int_equal(received(control_to_supervisor).body.len, CONTROL_TEXT_MAX);
}

static void the_two_directions_do_not_mix(void **state) {
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(control_send(ends[0], CONTROL_READY), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), control_to_child, &m, &err), STEP_FAILED);
    assert_int_equal(err, ERR_FORMAT);
    assert_int_equal(control_send(ends[0], CONTROL_GO), 0);
    assert_int_equal(ipc_recv(ends[1], scratch, sizeof(scratch), control_to_supervisor, &m, &err), STEP_FAILED);
    assert_int_equal(err, ERR_FORMAT);
}

static void no_reader_takes_another_type(void **state) {
    struct control_setup s;
    struct control_peer p;
    struct control_request r;
    struct resolved a;
    struct control_drain d;
    struct control_command c;
    uint16_t listener;
    uint64_t n;
    uint32_t max;
    struct control_export x;
    struct control_exported e;
    struct control_creds creds;
    struct control_key key;
    struct span text;
    uint8_t body[16] = {0};
    for (size_t len = 0; len <= sizeof(body); len++) {
        struct ipc_msg m = {.type = CONTROL_GO, .body = span_of(body, len)};
        assert_int_equal(control_read_setup(&m, &s), ERR_FORMAT);
        assert_int_equal(control_read_peer(&m, &p), ERR_FORMAT);
        assert_int_equal(control_read_request(&m, &r), ERR_FORMAT);
        assert_int_equal(control_read_listener(&m, &listener), ERR_FORMAT);
        assert_int_equal(control_read_number(&m, &n), ERR_FORMAT);
        assert_int_equal(control_read_export(&m, &x), ERR_FORMAT);
        assert_int_equal(control_read_exported(&m, &e), ERR_FORMAT);
        assert_int_equal(control_read_drain(&m, &d), ERR_FORMAT);
        assert_int_equal(control_read_command(&m, &c), ERR_FORMAT);
        assert_int_equal(control_read_creds(&m, &creds), ERR_FORMAT);
        assert_int_equal(control_read_key(&m, &key), ERR_FORMAT);
        assert_int_equal(control_read_keys_taken(&m, &max), ERR_FORMAT);
        assert_int_equal(control_read_keys_refused(&m, &max, &text), ERR_FORMAT);
        assert_int_equal(resolved_read(&(struct ipc_msg){.type = 9, .body = span_of(body, len)}, &a), ERR_FORMAT);
    }
}

static void export_and_import_survive(void **state) {
    struct control_export x;
    assert_int_equal(control_send_export(ends[0], &(struct control_export){1, EXPORT_FIRSTS}, 0), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_export(&m, &x), ERR_FORMAT);
    assert_int_equal(control_send_export(ends[0], &(struct control_export){EXPORT_ALL, EXPORT_ACTIVE}, 0), 0);
    m = received(control_to_child);
    assert_int_equal(m.nfds, 1);
    assert_int_equal(control_read_export(&m, &x), 0);
    assert_int_equal(x.max, EXPORT_ALL);
    assert_int_equal(x.first, EXPORT_ACTIVE);
    assert_int_equal(control_send_import(ends[0], 0), 0);
    m = received(control_to_child);
    assert_int_equal(m.type, CONTROL_IMPORT);
    assert_int_equal(m.nfds, 1);
}

static void exported_survives(void **state) {
    struct control_exported e;
    const struct control_exported sent = {.migrated = 0x01020304, .kept = 0xfffefdfc, .broken = true};
    assert_int_equal(control_send_exported(ends[0], &sent), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_int_equal(control_read_exported(&m, &e), 0);
    assert_int_equal(e.migrated, sent.migrated);
    assert_int_equal(e.kept, sent.kept);
    assert_true(e.broken);
    assert_int_equal(control_send_exported(ends[0], &(struct control_exported){.migrated = 1}), 0);
    m = received(control_to_supervisor);
    assert_int_equal(control_read_exported(&m, &e), 0);
    assert_false(e.broken);
}

static void exported_with_a_third_truth_is_refused(void **state) {
    struct control_exported e;
    uint8_t body[9] = {[8] = 2};
    assert_int_equal(control_read_exported(&(struct ipc_msg){.type = CONTROL_EXPORTED, .body = span_of(body, 9)}, &e),
                     ERR_FORMAT);
    body[8] = 1;
    assert_int_equal(control_read_exported(&(struct ipc_msg){.type = CONTROL_EXPORTED, .body = span_of(body, 9)}, &e), 0);
    assert_int_equal(control_read_exported(&(struct ipc_msg){.type = CONTROL_EXPORTED, .body = span_of(body, 8)}, &e),
                     ERR_FORMAT);
}

static void credentials_survive(void **state) {
    struct control_creds c;
    struct control_key k;
    assert_int_equal(control_send_creds(ends[0], &(struct control_creds){0xfffffffe, 10000}, 0), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_creds(&m, &c), 0);
    assert_int_equal(c.set, 0xfffffffe);
    assert_int_equal(c.nkeys, 10000);
    assert_int_equal(m.nfds, 1);
    for (uint16_t type = CONTROL_KEY; type <= CONTROL_KEY_PASS; type++) {
        assert_int_equal(control_send_key(ends[0], type, &(struct control_key){7, 9999}, 0), 0);
        m = received(control_to_child);
        assert_int_equal(m.type, type);
        assert_int_equal(control_read_key(&m, &k), 0);
        assert_int_equal(k.set, 7);
        assert_int_equal(k.index, 9999);
    }
    assert_int_equal(control_send_request_creds(ends[0], 0), 0);
    m = received(control_to_child);
    assert_int_equal(m.type, CONTROL_REQUEST_CREDS);
    assert_int_equal(m.nfds, 1);
}

static void answers_of_a_signer_survive(void **state) {
    uint32_t set = 0;
    struct span text;
    assert_int_equal(control_send_keys_taken(ends[0], 8), 0);
    struct ipc_msg m = received(control_to_supervisor);
    assert_int_equal(control_read_keys_taken(&m, &set), 0);
    assert_int_equal(set, 8);
    assert_int_equal(control_send_keys_refused(ends[0], 9, span_str("/k: no key")), 0);
    m = received(control_to_supervisor);
    assert_int_equal(control_read_keys_refused(&m, &set, &text), 0);
    assert_int_equal(set, 9);
    assert_true(span_eq(text, span_str("/k: no key")));
    static uint8_t longest[CONTROL_TEXT_MAX]; /* cut so that it passes */
    assert_int_equal(control_send_keys_refused(ends[0], 10, span_of(longest, sizeof(longest))), 0);
    m = received(control_to_supervisor);
    assert_int_equal(control_read_keys_refused(&m, &set, &text), 0);
    assert_int_equal(text.len, sizeof(longest) - 4);
}

static void request_for_a_file_survives(void **state) {
    struct control_request r = {.file = span_str("/etc/tls-off.toml"), .nheld = CONTROL_HELD_MAX}, out;
    for (size_t i = 0; i < CONTROL_HELD_MAX; i++)
        r.held[i] = i % 2 ? sample_inet((uint8_t)i, 80) : sample_inet6((uint8_t)i, 81);
    assert_int_equal(control_send_request(ends[0], &r), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_request(&m, &out), 0);
    assert_true(span_eq(out.file, r.file));
    assert_int_equal(out.nheld, CONTROL_HELD_MAX);
    for (size_t i = 0; i < CONTROL_HELD_MAX; i++)
        assert_same_addr(&out.held[i], &r.held[i]);
    assert_int_equal(out.nlisten, 0);
    assert_int_equal(out.nbackend, 0);
}

static void request_of_flags_survives(void **state) {
    struct control_request r = {.nlisten = CONTROL_FLAGS_MAX, .nbackend = 2, .nname = 1, .ca_file = span_str("/ca.pem")}, out;
    for (size_t i = 0; i < CONTROL_FLAGS_MAX; i++)
        r.listen[i] = span_str("127.0.0.1:0");
    r.backend[0] = span_str("unix:/a");
    r.backend[1] = span_str("");
    r.name[0] = span_str("example.org");
    r.directory = span_str("https://ca/dir");
    assert_int_equal(control_send_request(ends[0], &r), 0);
    struct ipc_msg m = received(control_to_child);
    assert_int_equal(control_read_request(&m, &out), 0);
    assert_int_equal(out.file.len, 0);
    assert_int_equal(out.nlisten, CONTROL_FLAGS_MAX);
    assert_true(span_eq(out.listen[15], r.listen[15]));
    assert_int_equal(out.nbackend, 2);
    assert_true(span_eq(out.backend[0], r.backend[0]));
    assert_int_equal(out.nname, 1);
    assert_true(span_eq(out.name[0], r.name[0]));
    assert_true(span_eq(out.directory, r.directory) && span_eq(out.ca_file, r.ca_file));
}

static void request_beyond_the_limits_is_not_sent(void **state) {
    static char text[CONTROL_TEXT_MAX];
    struct control_request r = {.nlisten = CONTROL_FLAGS_MAX + 1};
    assert_int_equal(control_send_request(ends[0], &r), ERR_LIMIT);
    r = (struct control_request){.file = span_of(text, sizeof(text))};
    assert_int_equal(control_send_request(ends[0], &r), ERR_LIMIT);
}

#define PROTOCOL "\x00\x00\x00\x05"
#define NO_ACME  "\x00\x00\x00\x00\x00\x00"
_Static_assert(CONTROL_PROTOCOL == 5, "as in PROTOCOL");

static void broken_requests_are_refused(void **state) {
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {PROTOCOL "\x00\x02"
                  "a\x00"
                  "\x00\x00\x00\x00" NO_ACME "\x00\x00",
         20},                                                                      /* a zero byte inside */
        {PROTOCOL "\x00\x00\x00\x11\x00\x00" NO_ACME "\x00\x00", 18},              /* 17 addresses */
        {PROTOCOL "\x00\x00\x00\x01\x00\x00" NO_ACME "\x00\x00", 18},              /* one address, which is missing */
        {PROTOCOL "\x00\x00\x00\x00\x00\x00\x00\x11\x00\x00\x00\x00\x00\x00", 18}, /* 17 names */
        {PROTOCOL "\x00\x00\x00\x00\x00\x00" NO_ACME "\x00\x00\x00", 19},          /* left over */
        {PROTOCOL "\x00\x09\x00\x00\x00\x00" NO_ACME "\x00\x00", 18},              /* a length past the end */
        {PROTOCOL "\x00\x00\x00\x00\x00\x00" NO_ACME "\x00\x01", 18},              /* an address held, which is missing */
        {PROTOCOL "\x00\x00\x00\x00\x00\x00" NO_ACME "\xff\xff", 18},              /* more of them than there can be */
    };
    struct control_request out;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct ipc_msg m = {.type = CONTROL_REQUEST, .body = span_of(bad[i].bytes, bad[i].len)};
        assert_int_equal(control_read_request(&m, &out), ERR_FORMAT);
    }
}

static void resolved_addresses_survive(void **state) {
    struct resolved r = {.service = 1, .backend = 2, .n = RESOLVED_ADDRS_MAX}, out;
    for (uint8_t i = 0; i < RESOLVED_ADDRS_MAX; i++)
        r.addrs[i] = i % 2 ? sample_inet(i, 80) : sample_inet6(i, 81);
    assert_int_equal(resolved_send(ends[0], &r), 0);
    struct ipc_msg m = received(resolved_rules);
    assert_int_equal(resolved_read(&m, &out), 0);
    assert_int_equal(out.service, 1);
    assert_int_equal(out.backend, 2);
    assert_int_equal(out.n, RESOLVED_ADDRS_MAX);
    for (size_t i = 0; i < RESOLVED_ADDRS_MAX; i++)
        assert_same_addr(&out.addrs[i], &r.addrs[i]);
}

static void resolved_limits_hold(void **state) {
    struct resolved r = {.n = RESOLVED_ADDRS_MAX + 1}, out;
    assert_int_equal(resolved_send(ends[0], &r), ERR_LIMIT);
    r.n = 1; /* of no family */
    assert_int_equal(resolved_send(ends[0], &r), 0);
    struct ipc_msg m = received(resolved_rules);
    assert_int_equal(resolved_read(&m, &out), ERR_FORMAT);
    r.n = 0;
    assert_int_equal(resolved_send(ends[0], &r), 0);
    m = received(resolved_rules);
    assert_int_equal(resolved_read(&m, &out), 0);
    m = (struct ipc_msg){.type = RESOLVED_ADDRS, .body = span_of("\x00\x00\x00\x00\x11", 5)};
    assert_int_equal(resolved_read(&m, &out), ERR_FORMAT);
}

static void role_names_go_both_ways(void **state) {
    for (unsigned i = 0; i < ROLE_COUNT; i++)
        assert_int_equal(role_by_name(role_name((enum role)i)), i);
    assert_int_equal(role_by_name("relayer"), ROLE_COUNT);
    assert_int_equal(role_by_name(""), ROLE_COUNT);
    assert_string_equal(role_name(ROLE_COUNT), "unknown");
}

#define WITH_PAIR(test) cmocka_unit_test_setup_teardown(test, open_pair, close_pair)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_PAIR(setup_survives),
        WITH_PAIR(setup_out_of_range_is_refused),
        WITH_PAIR(listener_and_peer_survive),
        WITH_PAIR(unknown_role_of_a_peer_is_refused),
        WITH_PAIR(numbers_survive),
        WITH_PAIR(credentials_survive),
        WITH_PAIR(answers_of_a_signer_survive),
        WITH_PAIR(export_and_import_survive),
        WITH_PAIR(exported_survives),
        cmocka_unit_test(exported_with_a_third_truth_is_refused),
        WITH_PAIR(drains_survive),
        WITH_PAIR(commands_survive),
        WITH_PAIR(answers_of_the_config_role_survive),
        cmocka_unit_test(request_of_another_protocol_is_distinguished),
        WITH_PAIR(bare_messages_and_texts_pass_the_rules),
        WITH_PAIR(long_text_is_cut_to_what_the_rules_take),
        WITH_PAIR(the_two_directions_do_not_mix),
        cmocka_unit_test(no_reader_takes_another_type),
        WITH_PAIR(request_for_a_file_survives),
        WITH_PAIR(request_of_flags_survives),
        WITH_PAIR(request_beyond_the_limits_is_not_sent),
        cmocka_unit_test(broken_requests_are_refused),
        WITH_PAIR(resolved_addresses_survive),
        WITH_PAIR(resolved_limits_hold),
        cmocka_unit_test(role_names_go_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
