/* For those who watch over us: that the observer lives and looks after its loop. Whether the proxy serves is /readyz. */
#include "observer/health.h"

#include "observer/admin.h"

void health_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)a;
    (void)q;
    http_reply_line(r, 200, "ok");
}
