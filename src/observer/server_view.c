#include "observer/server_view.h"

#include "base/text.h"
#include "observer/json.h"

bool server_view_take(struct server_view *v, const struct ipc_msg *m) {
    struct server_state state;
    if (server_state_read(m, &state) < 0)
        return false;
    struct text t = text_of(v->why, sizeof(v->why));
    text_add_span(&t, state.why);
    v->up = state.up;
    v->since_s = state.since_s;
    return true;
}

bool server_view_away(const struct server_view *v) {
    return v->since_s && !v->up;
}

void server_view_put(const struct server_view *v, bool linked, json_t *o) {
    json_put_text(o, "state", !v->since_s || !linked ? "unknown" : v->up ? "up" : "away");
    json_put_time(o, "since", v->since_s);
    json_put_text(o, "error", v->why[0] ? v->why : NULL);
}
