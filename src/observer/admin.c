#include "observer/admin.h"

#include <stdlib.h>
#include <string.h>

#include "observer/live.h"

static int append(const char *text, size_t len, void *ctx) {
    return buf_append(ctx, text, len) == 0 ? 0 : -1;
}

bool admin_write_json(struct buf *to, const json_t *tree) {
    return tree && json_dump_callback(tree, append, to, JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0;
}

void admin_reply_json(struct http_reply *r, json_t *tree) {
    r->type = "application/json";
    if (!admin_write_json(&r->body, tree) || buf_append(&r->body, "\n", 1) < 0)
        http_reply_line(r, 500, "out of memory");
    json_decref(tree);
}

void admin_second(struct admin *a) {
    stats_publish_self(&a->child->stats);
    stats_view_second(&a->stats_view, a->loop->now_ms);
    live_second(a->live);
    http_second(a->http);
}
