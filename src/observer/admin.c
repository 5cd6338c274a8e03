#include "observer/admin.h"

#include <stdlib.h>
#include <string.h>

static int append(const char *text, size_t len, void *ctx) {
    return buf_append(ctx, text, len) == 0 ? 0 : -1;
}

void admin_reply_json(struct http_reply *r, json_t *tree) {
    r->type = "application/json";
    if (!tree || json_dump_callback(tree, append, &r->body, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0 ||
        buf_append(&r->body, "\n", 1) < 0)
        http_reply_line(r, 500, "out of memory");
    json_decref(tree);
}

void admin_second(struct admin *a) {
    http_second(a->http);
}
