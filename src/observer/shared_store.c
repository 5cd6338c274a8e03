#include "observer/shared_store.h"

#include "base/sealed.h"
#include "base/text.h"
#include "observer/exposition.h"

static bool take_summaries(const struct shared_store *s, int fd) {
    struct span answer;
    if (sealed_map(fd, 4, SHARING_SUMMARIES_MAX, &answer) < 0)
        return false;
    if (s->summaries)
        s->summaries(s->ctx, answer);
    sealed_unmap(answer);
    return true;
}

static bool on_fleet_news(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct shared_store *s = ctx;
    (void)c;
    return m->type == SHARING_SUMMARIES ? take_summaries(s, m->fds[0]) : server_view_take(&s->server, m);
}

void shared_store_start(struct shared_store *s, const struct conf *conf, struct loop *loop, unsigned kind) {
    static const struct channel_ops ops = {.rules = sharing_to_observer,
                                           .message = on_fleet_news}; /* a new peer reports it again */
    *s = (struct shared_store){.conf = conf};
    channel_init(&s->fleet, 1, loop, kind, &ops, s);
}

void shared_store_fini(struct shared_store *s) {
    channel_close(&s->fleet);
}

int shared_store_take_link(struct shared_store *s, int fd) {
    return channel_open(&s->fleet, fd);
}

void shared_store_send(struct shared_store *s, struct span summary) {
    if (s->fleet.fd >= 0)
        (void)!sharing_send_bytes(s->fleet.fd, SHARING_SUMMARY, summary); /* the next one is a second away */
}

bool shared_store_away(const struct shared_store *s) {
    return server_view_away(&s->server);
}

void shared_store_metrics(const struct shared_store *s, struct exposition *x) {
    if (!s->conf->store.socket)
        return;
    exposition_family(x, EXPOSE_GAUGE, "fleet_store_up", "Whether the store of the fleet takes what is written.");
    exposition_number(x, NULL, s->server.up && s->fleet.fd >= 0);
}
