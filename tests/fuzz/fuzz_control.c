/*
 * Arbitrary bytes as each of the messages between the supervisor and its children, and from the resolver. The first byte
 * chooses the type. What is taken is in range.
 */
#include <stdint.h>
#include <string.h>

#include "base/defs.h"
#include "base/err.h"
#include "wire/control.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"
#include "wire/resolved.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(struct span s, const struct ipc_msg *m) {
    MUST(s.len == 0 || (s.p >= m->body.p && s.p + s.len <= m->body.p + m->body.len && !memchr(s.p, 0, s.len)));
}

static void check_request(const struct ipc_msg *m) {
    struct control_request r;
    if (control_read_request(m, &r) < 0)
        return;
    MUST(r.nlisten <= CONTROL_FLAGS_MAX && r.nbackend <= CONTROL_FLAGS_MAX);
    check_text(r.file, m);
    for (size_t i = 0; i < r.nlisten; i++)
        check_text(r.listen[i], m);
    for (size_t i = 0; i < r.nbackend; i++)
        check_text(r.backend[i], m);
}

static void check_creds(const struct ipc_msg *m) {
    struct control_creds c;
    struct control_key k;
    struct span text;
    uint32_t set;
    if (control_read_creds(m, &c) == 0 || control_read_key(m, &k) == 0)
        MUST(m->body.len == 8);
    if (control_read_keys_taken(m, &set) == 0)
        MUST(m->body.len == 4);
    if (control_read_keys_refused(m, &set, &text) == 0)
        MUST(text.len == m->body.len - 4);
}

static void check_fixed(const struct ipc_msg *m) {
    struct control_setup s;
    struct control_peer p;
    uint16_t listener;
    uint64_t n;
    struct control_export x;
    struct control_exported e;
    struct control_drain d;
    struct control_command c;
    struct control_configured conf;
    if (control_read_configured(m, &conf) == 0) {
        check_text(conf.version, m);
        check_text(conf.warnings, m);
    }
    if (control_read_drain(m, &d) == 0)
        MUST((unsigned)d.how < DRAIN_HOWS);
    if (control_read_command(m, &c) == 0)
        MUST(c.kind > 0 && (unsigned)c.kind < COMMAND_KINDS);
    if (control_read_setup(m, &s) == 0)
        MUST((unsigned)s.role < ROLE_COUNT && s.index < s.workers && s.cpu >= -1);
    if (control_read_peer(m, &p) == 0)
        MUST((unsigned)p.role < ROLE_COUNT);
    if (control_read_listener(m, &listener) == 0)
        MUST(m->body.len == 2);
    if (control_read_number(m, &n) == 0)
        MUST(m->body.len == 8);
    if (control_read_export(m, &x) == 0)
        MUST(m->body.len == 5 && (unsigned)x.first < EXPORT_FIRSTS);
    if (control_read_exported(m, &e) == 0)
        MUST(m->body.len == 9);
    check_creds(m);
}

static void check_resolved(struct ipc_msg m) {
    struct resolved r;
    m.type = RESOLVED_ADDRS;
    if (resolved_read(&m, &r) < 0)
        return;
    MUST(r.n <= RESOLVED_ADDRS_MAX);
    for (size_t i = 0; i < r.n; i++)
        MUST(r.addrs[i].family == AF_INET || r.addrs[i].family == AF_INET6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    struct ipc_msg m = {.type = (uint16_t)(data[0] % (CONTROL_KEYS_REFUSED + 2)), .body = span_of(data + 1, size - 1)};
    check_fixed(&m);
    check_request(&m);
    check_resolved(m);
    return 0;
}
