#include "acme/share_link.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "wire/event.h"

#define ANSWER_MS 10000 /* the fleet role gives up before */
#define LOOK_MS   1000

static const struct sharing_answer nothing = {.result = SHARING_AWAY};

static void answer_share_call(struct share_pending *p, const struct sharing_answer *a) {
    const struct share_pending was = *p;
    *p = (struct share_pending){.number = 0};
    if (was.number)
        was.fn(was.ctx, a);
}

static void give_up_share_calls(struct share_link *s, uint64_t until_ms) {
    for (size_t i = 0; i < SHARING_CALL_LIMIT; i++)
        if (s->pending[i].until_ms <= until_ms)
            answer_share_call(&s->pending[i], &nothing);
}

static void set_up(struct share_link *s, bool up, uint64_t since_ms) {
    bool changed = up != s->up;
    s->up = up;
    s->away_since_ms = since_ms;
    if (changed)
        s->changed(s->ctx);
}

static void on_fleet_closed(void *ctx, bool broken) {
    (void)broken;
    set_up(ctx, false, clock_mono_ms());
    give_up_share_calls(ctx, UINT64_MAX);
}

static void end_late_share_calls(void *ctx) {
    struct share_link *s = ctx;
    give_up_share_calls(s, s->fleet.loop->now_ms);
    for (size_t i = 0; i < SHARING_CALL_LIMIT; i++)
        if (s->pending[i].number) {
            alarm_clock_set(&s->late, LOOK_MS);
            return;
        }
}

static bool take_share_answer(struct share_link *s, const struct ipc_msg *m) {
    struct sharing_answer a;
    if (sharing_read_answer(m, &a) < 0)
        return false;
    for (size_t i = 0; i < SHARING_CALL_LIMIT && a.number; i++)
        if (s->pending[i].number == a.number) {
            answer_share_call(&s->pending[i], &a);
            break;
        }
    return true;
}

static bool on_fleet_message(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct share_link *s = ctx;
    struct server_state state;
    struct span name;
    (void)c;
    if (m->type == SHARING_ANSWER)
        return take_share_answer(s, m);
    if (m->type == SHARING_STATE && server_state_read(m, &state) == 0) {
        set_up(s, state.up, state.since_ms);
        return true;
    }
    if (sharing_read_news(m, &name) < 0)
        return false;
    s->news(s->ctx, name);
    return true;
}

void share_link_init(struct share_link *s, struct loop *loop, unsigned kind) {
    static const struct channel_ops ops = {.rules = sharing_to_acme, .message = on_fleet_message, .closed = on_fleet_closed};
    *s = (struct share_link){.away_since_ms = clock_mono_ms(), .late = {.loop = loop, .fn = end_late_share_calls, .ctx = s}};
    channel_init(&s->fleet, 1, loop, kind, &ops, s);
}

int share_link_take(struct share_link *s, int fd) {
    return channel_open(&s->fleet, fd);
}

int share_link_ask(struct share_link *s, struct sharing_request *q, share_fn fn, void *ctx) {
    size_t i = 0;
    while (i < SHARING_CALL_LIMIT && s->pending[i].number)
        i++;
    if (i == SHARING_CALL_LIMIT)
        return ERR_LIMIT;
    if (s->fleet.fd < 0)
        return ERR_CLOSED;
    s->numbers += s->numbers + 1 == 0 ? 2 : 1;
    q->number = fn ? s->numbers : 0;
    int err = sharing_send_request(s->fleet.fd, q);
    if (err < 0 || !fn)
        return err;
    s->pending[i] = (struct share_pending){q->number, fn, ctx, s->fleet.loop->now_ms + ANSWER_MS};
    if (!wtimer_armed(&s->late.timer))
        alarm_clock_set(&s->late, LOOK_MS);
    return 0;
}

void share_link_note(struct share_link *s, const char *what, const struct sharing_answer *a) {
    bool refused = a->result == SHARING_AWAY || a->result == SHARING_OLD;
    uint32_t times = refused ? log_pause_over(&s->pause, s->fleet.loop->now_ms) : 0;
    const struct span why = a->result == SHARING_OLD ? span_str("it has a newer one")
                            : a->data.len            ? a->data
                                                     : span_str("it does not answer");
    if (times)
        log_msg(s->log, LOG_LEVEL_WARNING, "the store of the fleet has not taken %s: %.*s (%u since the last line)", what,
                (int)why.len, (const char *)why.p, (unsigned)times);
}

void share_link_cancel(struct share_link *s, const void *ctx) {
    for (size_t i = 0; i < SHARING_CALL_LIMIT; i++)
        if (s->pending[i].ctx == ctx)
            s->pending[i].number = 0;
}

uint8_t *sealed_with_version(uint64_t version, struct span data, size_t *ret_len) {
    size_t room = sizeof(version) + data.len;
    uint8_t *p = malloc(room);
    if (!p)
        return NULL;
    struct wr w = wr_of(p, room);
    wr_u64(&w, version);
    wr_span(&w, data);
    *ret_len = w.len;
    return p;
}

uint64_t sealed_version(const uint8_t *sealed) {
    struct rd r = rd_of(span_of(sealed, sizeof(uint64_t)));
    return rd_u64(&r);
}
