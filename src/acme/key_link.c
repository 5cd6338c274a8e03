#include "acme/key_link.h"

#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"

#define ANSWER_MS 60000 /* an RSA key of 4096 bits takes seconds */
#define LOOK_MS   5000

static void answer_pending(struct key_link_pending *p, const struct keymaking_answer *a) {
    const struct key_link_pending was = *p;
    *p = (struct key_link_pending){.number = 0};
    if (was.number)
        was.fn(was.ctx, a);
}

static void give_up(struct key_link *k, uint64_t until_ms) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].until_ms <= until_ms)
            answer_pending(&k->pending[i], NULL);
}

static void drop_keymaker(struct key_link *k) {
    if (k->fd < 0)
        return;
    loop_unwatch(k->loop, k->fd);
    close(k->fd);
    k->fd = -1;
    give_up(k, UINT64_MAX);
}

static void look_for_late(void *ctx) {
    struct key_link *k = ctx;
    give_up(k, k->loop->now_ms);
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number) {
            alarm_clock_set(&k->late, LOOK_MS);
            return;
        }
}

static void take_answer(struct key_link *k, const struct keymaking_answer *a) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number && k->pending[i].number == a->number) {
            answer_pending(&k->pending[i], a);
            return;
        }
}

static void key_link_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct key_link *k = ctx;
    struct ipc_msg m;
    struct keymaking_answer a;
    int err = 0;
    (void)gen;
    (void)events;
    if (k->fd < 0 || (uint32_t)k->fd != key)
        return;
    enum step step = ipc_recv(k->fd, scratch, sizeof(scratch), keymaking_to_acme, &m, &err);
    if (step == STEP_WANT_READ)
        return;
    bool ok = step == STEP_DONE && keymaking_read_answer(&m, &a) == 0;
    if (ok)
        take_answer(k, &a);
    else
        drop_keymaker(k);
}

void key_link_init(struct key_link *k, struct loop *loop, unsigned kind) {
    *k = (struct key_link){.loop = loop, .kind = kind, .fd = -1, .late = {.loop = loop, .fn = look_for_late, .ctx = k}};
    loop_on(loop, kind, key_link_event, k);
}

void key_link_take(struct key_link *k, int fd) {
    drop_keymaker(k);
    k->fd = fd;
    if (loop_watch(k->loop, fd, EPOLLIN, k->kind, (uint32_t)fd, 0) < 0)
        drop_keymaker(k);
}

int key_link_ask(struct key_link *k, struct keymaking_request *q, key_link_fn fn, void *ctx) {
    size_t i = 0;
    while (i < KEY_LINK_PENDING && k->pending[i].number)
        i++;
    if (i == KEY_LINK_PENDING)
        return ERR_LIMIT;
    if (k->fd < 0)
        return ERR_CLOSED;
    k->numbers += k->numbers + 1 == 0 ? 2 : 1;
    q->number = k->numbers;
    int err = keymaking_send_request(k->fd, q);
    if (err < 0)
        return err;
    k->pending[i] = (struct key_link_pending){q->number, fn, ctx, k->loop->now_ms + ANSWER_MS};
    if (!wtimer_armed(&k->late.timer))
        alarm_clock_set(&k->late, LOOK_MS);
    return 0;
}

void key_link_cancel(struct key_link *k, const void *ctx) {
    for (size_t i = 0; i < KEY_LINK_PENDING; i++)
        if (k->pending[i].number && k->pending[i].ctx == ctx)
            k->pending[i].number = 0;
}
