/*
 * reload, drain and stop: sent to the supervisor, which puts results in the process table, where any later observer finds them.
 * So an answer to "how did it go" survives the reload that was asked for.
 */
#include "observer/command.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "observer/admin.h"
#include "observer/json.h"

#define ID_MASK   ((1ull << 53) - 1) /* whole in every reader of JSON */
#define DRAIN_MAX (366ull * 24 * 3600 * 1000)
#define ASKED_MS  10000 /* what the supervisor has not taken up by then was lost */

static const char *const names[COMMAND_KINDS] = {
    [COMMAND_RELOAD] = "reload", [COMMAND_DRAIN] = "drain", [COMMAND_STOP] = "stop"};

/* By the path: "/reload" or "/reload/17". */
static enum command_kind command_kind_of(const char *path) {
    for (unsigned k = COMMAND_RELOAD; k < COMMAND_KINDS; k++) {
        size_t n = strlen(names[k]);
        if (strncmp(path + 1, names[k], n) == 0 && (path[1 + n] == 0 || path[1 + n] == '/'))
            return (enum command_kind)k;
    }
    return 0;
}

static void put_id(struct http_reply *r, unsigned status, const char *path, uint64_t id) {
    json_t *o = json_object();
    json_put_u64(o, "id", id);
    json_put_text(o, "command", names[command_kind_of(path)]);
    json_put_text(o, "state", "queued");
    json_reply(r, o);
    if (r->status == 200)
        r->status = status;
}

void command_post(struct admin *a, const struct http_request *q, struct http_reply *r) {
    struct control_command c = {.kind = command_kind_of(q->path), .id = rand_u64() & ID_MASK};
    const char *ms = http_query(q, "ms"), *delay_ms = http_query(q, "delay_ms");
    c.id += c.id == 0;
    if ((ms && (c.kind != COMMAND_DRAIN || text_parse_u64(ms, DRAIN_MAX, &c.ms) < 0)) ||
        (delay_ms && (c.kind != COMMAND_DRAIN || text_parse_u64(delay_ms, DRAIN_MAX, &c.delay_ms) < 0))) {
        http_reply_line(r, 400, "ms, delay_ms: only for drain, numbers of milliseconds");
        return;
    }
    int err = control_send_command(a->child->control, &c);
    if (err < 0) {
        http_reply_line(r, 503, "the supervisor cannot be asked at present");
        return;
    }
    a->asked[a->nasked++ % ADMIN_ASKED] = (struct asked){c.id, a->loop->now_ms, c.kind};
    put_id(r, 202, q->path, c.id);
}

static bool was_asked(const struct admin *a, uint64_t id, enum command_kind kind) {
    for (size_t i = 0; i < ADMIN_ASKED; i++)
        if (a->asked[i].id == id && a->asked[i].kind == kind && a->loop->now_ms < a->asked[i].at_ms + ASKED_MS)
            return true;
    return false;
}

static void put_command_outcome(const struct proctab_command *c, struct http_reply *r) {
    json_t *o = json_object();
    char text[PROCTAB_TEXT_MAX + 1];
    (void)snprintf(text, sizeof(text), "%.*s", (int)strnlen(c->text, sizeof(c->text)), c->text);
    json_put_u64(o, "id", c->id);
    json_put_text(o, "command", names[c->kind]);
    json_put_text(o, "state", proctab_result_name(c->result));
    json_put_lines(o, "text", text);
    json_put_real(o, "asked", (double)c->asked_ms / 1000);
    if (c->ended_ms)
        json_put_real(o, "ended", (double)c->ended_ms / 1000);
    json_reply(r, o);
}

void command_get(struct admin *a, const struct http_request *q, struct http_reply *r) {
    enum command_kind kind = command_kind_of(q->path);
    uint64_t id;
    if (text_parse_u64(strchr(q->path + 1, '/') + 1, ID_MASK, &id) < 0) {
        http_reply_line(r, 404, "expected the number of a command");
        return;
    }
    stats_view_refresh(&a->stats_view, a->loop->now_ms);
    const struct proctab_command *c = a->stats_view.has_proctab ? proctab_command(&a->stats_view.proctab, id) : NULL;
    if (c && c->kind == kind)
        put_command_outcome(c, r);
    else if (was_asked(a, id, kind))
        put_id(r, 200, q->path, id);
    else
        http_reply_line(r, 404, "no such command, or one of long ago");
}
