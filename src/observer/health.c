/*
 * For those who watch over us: /healthz says that the observer lives and looks after its loop, /readyz whether the proxy
 * serves. Both are short texts; the status is what counts.
 */
#include "observer/admin.h"

void health_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)a;
    (void)q;
    http_reply_line(r, 200, "ok");
}

void ready_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)a;
    (void)q;
    http_reply_line(r, 200, "ready");
}
