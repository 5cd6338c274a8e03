#include "handshaker/conn_trace.h"

#include "base/clock.h"
#include "handshaker/conn.h"
#include "handshaker/conn_report.h"
#include "handshaker/handshaker.h"

void conn_trace(struct handshaker *h, const struct conn *c, enum trace_step step, const char *detail) {
    struct event e = {.kind = EVENT_TRACE, .level = LOG_LEVEL_INFO, .wall_us = clock_wall_us(), .step = (uint8_t)step};
    const struct client_id *id = c->result ? c->result->client : NULL;
    struct span name = id ? span_of(id->name, id->name_len) : span_of("", 0);
    if (!tracers_want(h->child.tracers, &c->client, name))
        return;
    conn_fill_info(h, c, &e.conn_info);
    e.role = ROLE_HANDSHAKER;
    e.index = h->child.setup.index;
    e.service = span_str(h->services[c->service].conf->name);
    e.text = span_str(detail ? detail : "");
    e.duration_us = clock_mono_us() - c->accepted_us;
    (void)event_put(&h->child.log.ring, &e); /* the ring counts what it drops */
}
