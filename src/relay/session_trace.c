#include "relay/session_trace.h"

#include "base/clock.h"
#include "relay/backends.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"

void session_trace(struct relay *r, const struct session *s, enum trace_step step, const char *detail) {
    struct event e = {.kind = EVENT_TRACE, .level = LOG_LEVEL_INFO, .wall_us = clock_wall_us(), .step = (uint8_t)step};
    const struct conf_service *service = session_service(r, s);
    if (!s->conn_info) /* it is over */
        return;
    session_conn_info(s, &e.conn_info);
    if (!tracers_want(r->child.tracers, &e.conn_info.client, e.conn_info.id.name))
        return;
    e.role = ROLE_RELAY;
    e.index = r->child.setup.index;
    e.service = span_str(service->name);
    e.backend = span_str(s->chosen != BACKEND_NONE ? service->backends[s->chosen].text : "");
    e.text = span_str(detail ? detail : "");
    e.duration_us = clock_mono_us() - e.conn_info.start_mono_us;
    e.bytes_in = s->up.bytes;
    e.bytes_out = s->down.bytes;
    (void)event_put(&r->child.log.ring, &e); /* the ring counts what it drops */
}
