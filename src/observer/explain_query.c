/* /explain?address=...&name=...&alpn=...: what would become of such a ClientHello, and why. */
#include "observer/explain_query.h"

#include "observer/explanation.h"

#include "base/text.h"
#include "observer/admin.h"
#include "observer/json.h"
#include "observer/status.h"
#include "observer/status_parts.h"

static const char *shown_backend_state(void *ctx, const char *service, const char *backend) {
    return status_backend_state(ctx, service, backend);
}

static const char *given(const struct http_request *q, const char *name) {
    const char *value = http_query(q, name);
    return value ? value : "";
}

void explain_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    const struct explanation_ask ask = {given(q, "address"), given(q, "name"), given(q, "alpn")};
    char line[512];
    struct text why = text_of(line, sizeof(line));
    if (!a->stats_view.creds.head) {
        http_reply_line(r, 503, "the certificates are not known yet");
        return;
    }
    stats_view_refresh(&a->stats_view, a->loop->now_ms);
    json_t *o = explanation_of(a->conf, &a->stats_view.creds, &ask, shown_backend_state, a, &why);
    if (o)
        json_reply(r, o);
    else
        http_reply_line(r, 400, line);
}
