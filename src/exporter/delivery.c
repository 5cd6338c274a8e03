#include "exporter/delivery.h"

#include <string.h>

#include "base/backoff.h"
#include "base/err.h"
#include "base/rand.h"
#include "exporter/otlp_span.h"
#include "wire/server_state.h"

static struct delivery_batch *batch_at(struct delivery *d, size_t i) {
    return &d->batches[(d->first + i) % DELIVERY_BATCHES];
}

/* The first one is dealt with. */
static void drop_first_batch(struct delivery *d) {
    struct delivery_batch *b = batch_at(d, 0);
    buf_fini(&b->spans);
    b->n = 0;
    d->first = (d->first + 1) % DELIVERY_BATCHES;
    d->n--;
    d->tried_ms = 0;
}

static void send_first(struct delivery *d);

/* ---- the answer ---- */

/* Half of it at least, so that instances that failed together do not come back together. */
static void set_pause(struct delivery *d, int64_t asked_s) {
    d->pause_ms = backoff_next(d->pause_ms, DELIVERY_PAUSE_MIN_MS, DELIVERY_PAUSE_MAX_MS);
    uint64_t ms = d->pause_ms / 2 + rand_u64() % (d->pause_ms / 2);
    if (asked_s >= 0)
        ms = MIN(MAX((uint64_t)MIN(asked_s, DELIVERY_RETRY_MAX_MS / 1000) * 1000, ms), (uint64_t)DELIVERY_RETRY_MAX_MS);
    alarm_clock_set(&d->retry, ms);
}

static bool gives_up(const struct delivery *d) {
    return d->last || d->loop->now_ms >= d->tried_ms + DELIVERY_RETRY_MAX_MS;
}

static void on_answer(void *ctx, const struct http_out_answer *a) {
    struct delivery *d = ctx;
    char line[SERVER_WHY_MAX + 1];
    struct text why = text_of(line, sizeof(line));
    struct delivery_result r = {.cause = a->failed ? -(int)a->curl_code : (int)a->status, .why = line};
    uint32_t n = batch_at(d, 0)->n, refused;
    d->under_way = false;
    r.verdict = otlp_answer_read(a, n, &refused, &why);
    text_mark_cut(&why);
    if (r.verdict == OTLP_LATER) {
        r.dropped = gives_up(d) ? n : 0;
        set_pause(d, a->retry_after);
    } else {
        r.refused = refused;
        r.taken = n - refused;
        d->pause_ms = 0;
    }
    if (r.verdict != OTLP_LATER || r.dropped)
        drop_first_batch(d);
    d->fn(d->ctx, &r);
    send_first(d);
}

/* ---- requests ---- */

/* Without memory for it, it is tried again like one that failed. */
static void send_first(struct delivery *d) {
    bool open = d->n == 1 && !d->last && wtimer_armed(&d->gather.timer);
    if (d->under_way || d->n == 0 || open || (wtimer_armed(&d->retry.timer) && !d->last))
        return;
    struct delivery_batch *b = batch_at(d, 0);
    struct buf body;
    buf_init(&body, d->head.len + DELIVERY_BATCH_MAX + sizeof(OTLP_TAIL));
    bool ok = buf_append(&body, d->head.p, d->head.len) == 0 &&
              buf_append(&body, buf_span(&b->spans).p, buf_len(&b->spans)) == 0 &&
              buf_append(&body, OTLP_TAIL, strlen(OTLP_TAIL)) == 0;
    d->question.body = buf_span(&body);
    d->tried_ms = d->tried_ms ? d->tried_ms : d->loop->now_ms;
    d->under_way = ok && http_out_send(d->http, &d->request, &d->question, on_answer, d) == 0;
    buf_fini(&body);
    if (!d->under_way)
        set_pause(d, -1);
}

static void on_gathered(void *ctx) {
    send_first(ctx);
}

static void on_retry(void *ctx) {
    send_first(ctx);
}

/* ---- spans ---- */

void delivery_init(struct delivery *d, struct loop *loop, struct http_out *http, const struct http_out_question *question,
                   struct span head, delivery_fn fn, void *ctx) {
    *d = (struct delivery){.loop = loop, .http = http, .question = *question, .head = head, .fn = fn, .ctx = ctx};
    d->gather = (struct alarm_clock){.loop = loop, .fn = on_gathered, .ctx = d};
    d->retry = (struct alarm_clock){.loop = loop, .fn = on_retry, .ctx = d};
    for (size_t i = 0; i < DELIVERY_BATCHES; i++)
        buf_init(&d->batches[i].spans, DELIVERY_BATCH_MAX);
}

/* The last one may not be under way, and has room. */
static bool takes_more(struct delivery *d, size_t len) {
    const struct delivery_batch *b = batch_at(d, d->n - 1);
    return d->n > 0 && !(d->n == 1 && d->tried_ms) && b->n < DELIVERY_SPANS_MAX &&
           buf_len(&b->spans) + len + 1 <= DELIVERY_BATCH_MAX;
}

bool delivery_add(struct delivery *d, struct span json) {
    bool begins = !takes_more(d, json.len);
    if (begins && d->n == DELIVERY_BATCHES)
        return false;
    struct delivery_batch *b = batch_at(d, begins ? d->n : d->n - 1);
    size_t before = buf_len(&b->spans);
    if (buf_append(&b->spans, ",", begins ? 0 : 1) < 0 || buf_append(&b->spans, json.p, json.len) < 0) {
        buf_cut(&b->spans, before);
        return false;
    }
    b->n++;
    if (begins) {
        d->n++;
        alarm_clock_set(&d->gather, DELIVERY_GATHER_MS); /* of those before, none waits any longer */
    } else if (b->n == DELIVERY_SPANS_MAX) {
        alarm_clock_stop(&d->gather);
    }
    send_first(d);
    return true;
}

void delivery_hurry(struct delivery *d) {
    d->last = true;
    alarm_clock_stop(&d->gather);
    alarm_clock_stop(&d->retry);
    send_first(d);
}

bool delivery_done(const struct delivery *d) {
    return d->n == 0;
}

uint32_t delivery_stop(struct delivery *d) {
    uint32_t lost = 0;
    alarm_clock_stop(&d->gather);
    alarm_clock_stop(&d->retry);
    http_out_cancel(&d->request);
    for (; d->n > 0; drop_first_batch(d))
        lost += batch_at(d, 0)->n;
    return lost;
}
