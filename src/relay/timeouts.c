/*
 * When a session's time is over. One lazy timer a session; what an open one is due for is worked out when it fires: the idle
 * time, the time for the rest of a record, and the time for which one direction may be silent when the other is over.
 */
#include "relay/timeouts.h"

#include "base/err.h"
#include "relay/connect.h"
#include "relay/deadlines.h"
#include "relay/hold.h"
#include "relay/preface.h"
#include "relay/relay.h"
#include "relay/session.h"
#include "relay/session_info.h"

#define MOVING_MS 50 /* between looks whether a session that was due is back */

/* What an open session ends for, and when. */
struct due {
    uint64_t at_ms;
    int reason;
};

static void sooner(struct due *d, uint64_t since_ms, uint64_t allowed_ms, int reason) {
    if (allowed_ms != CONF_NEVER && since_ms + allowed_ms < d->at_ms)
        *d = (struct due){since_ms + allowed_ms, reason};
}

static struct due due_of(const struct relay *r, const struct session *s) {
    const struct conf_service *c = session_service(r, s);
    struct due d = {.at_ms = CONF_NEVER};
    sooner(&d, s->active_ms, c->idle_ms, ERR_IDLE);
    if (session_half_closed(s))
        sooner(&d, s->active_ms, c->half_closed_ms, ERR_HALF_CLOSED);
    if (hold_record_ms(s))
        sooner(&d, hold_record_ms(s), c->partial_record_ms, ERR_PARTIAL_RECORD);
    return d;
}

/* The side whose direction is over has had its time; it is not waited for again. */
static void end_half_closed(struct relay *r, struct session *s) {
    bool had_linger = s->client.shut;
    session_stop(r, s, ERR_HALF_CLOSED);
    if (had_linger)
        session_end(r, s);
}

static void open_timeout(struct relay *r, struct session *s) {
    if (s->waits == WAITS_RATE) /* it is we who are slow */
        s->active_ms = r->loop.now_ms;
    session_look_again_half_closed(r, s);
    struct due d = due_of(r, s);
    if (d.at_ms > r->loop.now_ms) {
        if (d.at_ms != CONF_NEVER)
            session_look_at(r, s, d.at_ms);
        return;
    }
    switch (d.reason) {
    case ERR_HALF_CLOSED:
        end_half_closed(r, s);
        break;
    case ERR_PARTIAL_RECORD: /* what came is a part, not the whole */
        s->backend.reset = session_service(r, s)->truncation == TRUNCATION_RESET;
        session_stop(r, s, ERR_PARTIAL_RECORD);
        break;
    default:
        session_stop(r, s, ERR_IDLE);
    }
}

void session_timeout(void *ctx, struct wtimer *t) {
    struct relay *r = ctx;
    struct session *s = CONTAINER_OF(t, struct session, timer);
    if (s->waits == WAITS_MIGRATION) { /* comes back, or ends soon */
        wheel_arm(&r->loop.wheel, &s->timer, r->loop.now_ms + MOVING_MS);
        return;
    }
    switch (s->state) {
    case SESSION_CONNECTING:
        connect_timeout(r, s);
        break;
    case SESSION_PREFACE:
        preface_timeout(r, s);
        break;
    case SESSION_OPEN:
        open_timeout(r, s);
        break;
    default:
        if (r->loop.now_ms < s->deadline_ms) {
            session_ready(r, s);
            break;
        }
        if (!s->reason)
            s->reason = ERR_LINGER;
        session_end(r, s);
    }
}
