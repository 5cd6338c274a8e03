#include "wire/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/nowait.h"

const char *side_end_name(unsigned end) {
    static const char *const names[END_COUNT] = {
        [END_OPEN] = "open", [END_CLOSE] = "close", [END_TRUNCATED] = "truncated", [END_RESET] = "reset", [END_CUT] = "cut",
    };
    return end < END_COUNT ? names[end] : "unknown";
}

const char *trace_step_name(unsigned step) {
    static const char *const names[TRACED_COUNT] = {
        [TRACED_ACCEPT] = "accept",
        [TRACED_HELLO] = "hello",
        [TRACED_HANDSHAKE] = "handshake",
        [TRACED_TAKEN] = "taken",
        [TRACED_CONNECT] = "connect",
        [TRACED_CONNECT_FAILED] = "connect_failed",
        [TRACED_BACKLOG_FULL] = "backlog_full",
        [TRACED_FIRST_BYTE] = "first_byte",
        [TRACED_THROTTLED] = "throttled",
        [TRACED_EXPORTED] = "exported",
        [TRACED_IMPORTED] = "imported",
    };
    return step < TRACED_COUNT ? names[step] : "unknown";
}

/* To be raised with every change of what event_pack() writes, but not of connection info, which may grow. The version before is
 * read, too: an upgrade's last lines come from the generation that leaves. */
#define EVENT_VERSION        4
#define EVENT_VERSION_BEFORE 3 /* ends before relay_us */

static void pack_name(struct wr *w, struct span name) {
    wr_vec16(w, span_of(name.p, MIN(name.len, (size_t)EVENT_NAME_MAX)));
}

/* Without the client's certificate: there are none in the log. */
static void pack_lean_info(struct wr *w, const struct conn_info *info) {
    uint8_t packed[CONN_INFO_LEAN_MAX];
    struct wr own = wr_of(packed, sizeof(packed));
    struct conn_info lean = *info;
    lean.id.cert = span_of(NULL, 0);
    conn_info_pack(&own, &lean);
    w->bad = w->bad || !wr_end(&own);
    wr_vec16(w, wr_written(&own));
}

void event_pack(struct wr *w, const struct event *e) {
    wr_u8(w, EVENT_VERSION);
    wr_u8(w, (uint8_t)e->kind);
    wr_u64(w, e->wall_us);
    wr_u8(w, (uint8_t)e->role);
    wr_u16(w, e->index);
    wr_u8(w, e->level);
    wr_vec16(w, span_of(e->text.p, MIN(e->text.len, (size_t)EVENT_TEXT_MAX)));
    if (e->kind == EVENT_LINE)
        return;
    pack_lean_info(w, &e->conn_info);
    pack_name(w, e->service);
    wr_vec8(w, e->reason ? span_str(err_name(e->reason)) : span_of(NULL, 0));
    wr_u8(w, e->alert);
    wr_u64(w, e->duration_us);
    if (e->kind == EVENT_FAILURE)
        return;
    pack_name(w, e->backend);
    wr_u64(w, e->bytes_in);
    wr_u64(w, e->bytes_out);
    if (e->kind == EVENT_TRACE) {
        wr_u8(w, e->step);
        return;
    }
    wr_u32(w, e->connect_us);
    wr_u8(w, e->client_end);
    wr_u8(w, e->backend_end);
    wr_u16(w, e->retries);
    wr_u64(w, e->relay_us);
    wr_u32(w, e->first_byte_us);
}

bool event_put(struct ring *ring, const struct event *e) {
    uint8_t packed[EVENT_PACKED_MAX];
    struct wr w = wr_of(packed, sizeof(packed));
    event_pack(&w, e);
    return wr_end(&w) && ring_put(ring, wr_written(&w));
}

static void read_conn_info(struct rd *r, struct event *e) {
    struct rd info = rd_of(rd_vec16(r)); /* what a later build has behind it is skipped */
    conn_info_unpack(&info, &e->conn_info);
    r->bad = r->bad || info.bad;
    e->service = rd_vec16(r);
    struct span reason = rd_vec8(r);
    e->alert = rd_u8(r);
    e->duration_us = rd_u64(r);
    if (reason.len > 0 && !err_by_name(reason, &e->reason))
        e->reason = ERR_UNSUPPORTED; /* of a build that knows more reasons */
    if (e->service.len > EVENT_NAME_MAX)
        r->bad = true;
}

static void read_session(struct rd *r, uint8_t version, struct event *e) {
    e->backend = rd_vec16(r);
    e->bytes_in = rd_u64(r);
    e->bytes_out = rd_u64(r);
    if (e->backend.len > EVENT_NAME_MAX)
        r->bad = true;
    if (e->kind == EVENT_TRACE) {
        e->step = rd_u8(r);
        r->bad = r->bad || e->step >= TRACED_COUNT;
        return;
    }
    e->connect_us = rd_u32(r);
    e->client_end = rd_u8(r);
    e->backend_end = rd_u8(r);
    e->retries = rd_u16(r);
    if (version == EVENT_VERSION) {
        e->relay_us = rd_u64(r);
        e->first_byte_us = rd_u32(r);
    }
    if (e->client_end >= END_COUNT || e->backend_end >= END_COUNT)
        r->bad = true;
}

int event_read(struct span record, struct event *ret) {
    memset(ret, 0, sizeof(*ret));
    struct rd r = rd_of(record);
    uint8_t version = rd_u8(&r), kind = rd_u8(&r);
    if ((version != EVENT_VERSION && version != EVENT_VERSION_BEFORE) || kind < EVENT_LINE || kind > EVENT_TRACE)
        return ERR_FORMAT;
    ret->kind = (enum event_kind)kind;
    ret->wall_us = rd_u64(&r);
    uint8_t role = rd_u8(&r);
    ret->role = (enum role)role;
    ret->index = rd_u16(&r);
    ret->level = rd_u8(&r);
    ret->text = rd_vec16(&r);
    if (role >= ROLE_COUNT || ret->level > LOG_LEVEL_DEBUG || ret->text.len > EVENT_TEXT_MAX)
        r.bad = true;
    if (kind != EVENT_LINE)
        read_conn_info(&r, ret);
    if (kind == EVENT_SESSION || kind == EVENT_TRACE)
        read_session(&r, version, ret);
    return rd_end(&r) ? 0 : ERR_FORMAT;
}

/* Before the observer is there, or without it: the operator still has to learn of it. */
static void say_to_stderr(const struct log *v, struct span text) {
    char line[EVENT_TEXT_MAX + 64];
    int n = snprintf(line, sizeof(line), "tls-off: %s.%u: %.*s\n", role_name(v->role), v->index, (int)text.len,
                     (const char *)text.p);
    /* There is nowhere to report that stderr is gone. */
    if (n > 0 && nowait_write(STDERR_FILENO, line, MIN((size_t)n, sizeof(line) - 1)) < 0)
        return;
}

void log_msg(struct log *v, enum log_level level, const char *fmt, ...) {
    if (level > v->level)
        return;
    char text[EVENT_TEXT_MAX + 1];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (n < 0)
        return;

    struct event e = {.kind = EVENT_LINE, .wall_us = clock_wall_us(), .role = v->role, .index = v->index};
    e.level = (uint8_t)level;
    e.text = span_of(text, MIN((size_t)n, (size_t)EVENT_TEXT_MAX));
    if (v->ring.shared)
        (void)event_put(&v->ring, &e); /* the ring counts what it drops, and the observer reports it */
    else
        say_to_stderr(v, e.text);
}

void log_lines(struct log *v, enum log_level level, const char *before, struct span text) {
    for (struct span line; span_take_line(&text, &line);)
        if (line.len)
            log_msg(v, level, "%s%.*s", before, (int)line.len, (const char *)line.p);
}
