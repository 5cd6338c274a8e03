#include "base/channel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"

static void drop_link(struct channel *c, bool broken) {
    if (c->fd < 0)
        return;
    loop_unwatch(c->loop, c->fd);
    close(c->fd);
    c->fd = -1;
    if (c->ops->closed)
        c->ops->closed(c->ctx, broken);
}

static void channel_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    static uint8_t scratch[IPC_BODY_MAX + 2]; /* of all channels of the process */
    struct channel *c = (struct channel *)ctx + key;
    struct ipc_msg m;
    int err = 0;
    (void)events;
    if (c->fd < 0 || LOOP_GEN(c->gen) != gen)
        return;
    enum step step = ipc_recv(c->fd, scratch, sizeof(scratch), c->ops->rules, &m, &err);
    if (step == STEP_WANT_READ)
        return;
    bool ok = step == STEP_DONE && c->ops->message(c->ctx, c, &m);
    if (step == STEP_DONE)
        ipc_msg_close(&m);
    if (!ok)
        drop_link(c, step == STEP_DONE || err == ERR_FORMAT);
}

void channel_init(struct channel *list, size_t n, struct loop *loop, unsigned kind, const struct channel_ops *ops, void *ctx) {
    for (size_t i = 0; i < n; i++)
        list[i] = (struct channel){.fd = -1, .loop = loop, .ops = ops, .ctx = ctx, .kind = kind, .place = (uint32_t)i};
    loop_on(loop, kind, channel_event, list);
}

int channel_open(struct channel *c, int fd) {
    drop_link(c, false);
    c->gen++;
    if (loop_watch(c->loop, fd, EPOLLIN, c->kind, c->place, LOOP_GEN(c->gen)) < 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return ERR_SYSTEM;
    }
    c->fd = fd;
    return 0;
}

void channel_close(struct channel *c) {
    drop_link(c, false);
}
