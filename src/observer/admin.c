#include "observer/admin.h"

#include <stdlib.h>
#include <string.h>

#include "observer/json.h"
#include "observer/live.h"
#include "observer/tracing.h"

bool admin_write_json(struct buf *to, const json_t *tree) {
    return json_write(to, tree, 15);
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
    keylog_notice_second(a);
    live_second(a->live);
    tracing_second(a->tracing);
    http_second(a->http);
}
