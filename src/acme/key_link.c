#include "acme/key_link.h"

#include "base/err.h"

#define ANSWER_MS 60000 /* an RSA key of 4096 bits takes seconds */
#define LOOK_MS   5000

static void answer_key_call(struct key_link_pending *p, const struct keymaking_answer *a) {
    const struct key_link_pending was = *p;
    *p = (struct key_link_pending){.number = 0};
    if (was.number)
        was.fn(was.ctx, a);
}

static void give_up_key_calls(struct key_link *k, uint64_t until_ms) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].until_ms <= until_ms)
            answer_key_call(&k->pending[i], NULL);
}

static void on_keymaker_closed(void *ctx, bool broken) {
    give_up_key_calls(ctx, UINT64_MAX);
}

static void end_late_key_calls(void *ctx) {
    struct key_link *k = ctx;
    give_up_key_calls(k, k->channel.loop->now_ms);
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number) {
            alarm_clock_set(&k->late, LOOK_MS);
            return;
        }
}

static void take_key_answer(struct key_link *k, const struct keymaking_answer *a) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number && k->pending[i].number == a->number) {
            answer_key_call(&k->pending[i], a);
            return;
        }
}

static bool on_keymaker_message(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct keymaking_answer a;
    if (keymaking_read_answer(m, &a) < 0)
        return false;
    take_key_answer(ctx, &a);
    return true;
}

void key_link_init(struct key_link *k, struct loop *loop, unsigned kind) {
    static const struct channel_ops ops = {
        .rules = keymaking_to_acme, .message = on_keymaker_message, .closed = on_keymaker_closed};
    *k = (struct key_link){.late = {.loop = loop, .fn = end_late_key_calls, .ctx = k}};
    channel_init(&k->channel, 1, loop, kind, &ops, k);
}

int key_link_take(struct key_link *k, int fd) {
    return channel_open(&k->channel, fd);
}

int key_link_ask(struct key_link *k, struct keymaking_request *q, key_link_fn fn, void *ctx) {
    size_t i = 0;
    while (i < KEY_LINK_PENDING && k->pending[i].number)
        i++;
    if (i == KEY_LINK_PENDING)
        return ERR_LIMIT;
    if (k->channel.fd < 0)
        return ERR_CLOSED;
    k->numbers += k->numbers + 1 == 0 ? 2 : 1;
    q->number = k->numbers;
    int err = keymaking_send_request(k->channel.fd, q);
    if (err < 0)
        return err;
    k->pending[i] = (struct key_link_pending){q->number, fn, ctx, k->channel.loop->now_ms + ANSWER_MS};
    if (!wtimer_armed(&k->late.timer))
        alarm_clock_set(&k->late, LOOK_MS);
    return 0;
}

void key_link_cancel(struct key_link *k, const void *ctx) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number && k->pending[i].ctx == ctx)
            k->pending[i].number = 0;
}
