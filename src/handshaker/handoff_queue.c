/*
 * Hands finished connections to relays: one queue per relay, sent when pace.c says so, up to 16 in one message, so that the
 * relay is woken once. Never blocking.
 *
 * The relay of the same number shares our CPU and is preferred; another one only when loads differ clearly, because waking a
 * process on another CPU costs more than a small difference in load.
 *
 * A relay that hangs is recognized by what it leaves unread of ours, since its own scoreboard row then stays as it is: it gets
 * no more until it reads again, and what is queued for a link that stays full goes to others. What is in its link belongs to
 * it: it reads it when it continues, and it is lost when the relay is killed, as all its sessions are.
 */
#include "handshaker/handoff_queue.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/err.h"
#include "base/secret.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/conn_report.h"
#include "handshaker/handshaker.h"
#include "tls/record_layer_pack.h"
#include "wire/export_link.h"
#include "wire/greeting_kind.h"

#define HANDOFF_QUEUE_RETRY_MS 20
#define NEAR_MIN               8 /* sessions that our own relay may have more than the emptiest, and a quarter on top */

#define FEW          2    /* sessions that a relay takes without delaying its others */
#define STALLED_MS   100  /* a relay that has read nothing, or whose link is full, for this long is passed over */
#define SESSION_SIZE 1280 /* what the kernel counts for a usual session in a message */

_Static_assert(EXPORT_BATCH_LEN + 4 + EXPORT_HANDOFF_MAX <= IPC_BODY_MAX, "one session always fits");

/* IPC_BODY_MAX bytes for the message being made. It holds keys for a moment: locked and wiped. */
static uint8_t *message;

/* What the relay has not read yet, as the kernel counts it. */
static uint32_t unread_of(const struct handshaker_link *l) {
    int unread = 0;
    return ioctl(l->fd, SIOCOUTQ, &unread) == 0 && unread > 0 ? (uint32_t)unread : 0;
}

/* A relay that had read all at the last check is not checked again before something is sent. */
static void update_unread(const struct handshaker *h, struct handshaker_link *l) {
    uint32_t before = l->unread;
    if (before == 0)
        return;
    l->unread = unread_of(l);
    l->looked_ms = h->loop.now_ms;
    if (l->unread < before)
        l->read_ms = h->loop.now_ms;
}

static bool is_stalled(const struct handshaker *h, const struct handshaker_link *l) {
    return (l->unread && l->read_ms + STALLED_MS <= h->loop.now_ms) ||
           (l->blocked_ms && l->blocked_ms + STALLED_MS <= h->loop.now_ms);
}

/* Sessions that a relay has, plus those sent to it and not yet read. */
static uint32_t load_of(const struct handshaker *h, uint16_t relay) {
    return scoreboard_relay_sessions(&h->child.scoreboard, relay) + (h->links[relay].unread + SESSION_SIZE - 1) / SESSION_SIZE;
}

/* Relays that take sessions now, else any that has room. */
enum choice { CHOOSE_READY, CHOOSE_ROOM };

static bool is_candidate(const struct handshaker *h, uint16_t relay, enum choice how) {
    const struct handshaker_link *l = &h->links[relay];
    return l->fd >= 0 && load_of(h, relay) < h->relay_room && (how == CHOOSE_ROOM || (!l->blocked && !is_stalled(h, l)));
}

/* UINT16_MAX: none. */
static uint16_t choose_least_loaded(const struct handshaker *h, enum choice how) {
    uint16_t own = h->child.setup.index, best = UINT16_MAX;
    uint32_t best_load = UINT32_MAX;
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        if (is_candidate(h, i, how) && load_of(h, i) < best_load) {
            best = i;
            best_load = load_of(h, i);
        }
    if (best == UINT16_MAX || !is_candidate(h, own, how))
        return best;
    return load_of(h, own) <= best_load + best_load / 4 + NEAR_MIN ? own : best;
}

static uint16_t choose_relay(struct handshaker *h) {
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        if (h->links[i].looked_ms != h->loop.now_ms)
            update_unread(h, &h->links[i]);
    uint16_t relay = choose_least_loaded(h, CHOOSE_READY);
    if (relay == UINT16_MAX)
        relay = choose_least_loaded(h, CHOOSE_ROOM);
    return relay == UINT16_MAX ? h->child.setup.index : relay;
}

void handoff_queue_add(struct handshaker *h, struct conn *c) {
    c->relay = choose_relay(h);
    list_push(&h->links[c->relay].queue, &c->link);
}

/* The greeting that the client has had already, if any: the backend's own must not reach it. */
static enum greeting greeting_had(const struct conn *c) {
    static const uint8_t greetings[STARTTLS_KINDS] = {
        [STARTTLS_SMTP] = GREETING_SMTP, [STARTTLS_LMTP] = GREETING_SMTP, [STARTTLS_IMAP] = GREETING_IMAP,
        [STARTTLS_POP3] = GREETING_POP3, [STARTTLS_NNTP] = GREETING_NNTP,
    };
    return c->upgraded ? (enum greeting)greetings[c->prelude.protocol] : GREETING_NONE;
}

/* False when W has no room for it: then it is as before. */
static bool pack_session(const struct handshaker *h, const struct conn *c, struct wr *w) {
    static uint8_t packed_info[CONN_INFO_PACKED_MAX];
    static struct export_session x; /* 1.5 KB, of which a hand-off has little */
    uint8_t record_layer[RECORD_LAYER_PACKED_MAX];
    const struct wr before = *w;
    struct wr info = wr_of(packed_info, sizeof(packed_info));
    x.flags = EXPORT_HANDOFF | (c->result ? EXPORT_TLS : 0u) | (buf_len(&c->in) ? EXPORT_READ_AHEAD : 0u);
    x.partial = (struct export_bytes){.here = buf_span(&c->in)};
    conn_fill_info(h, c, &x.conn_info);
    conn_info_pack(&info, &x.conn_info);
    x.packed_info = wr_written(&info);
    x.greeting = c->result ? (uint8_t)greeting_had(c) : GREETING_NONE;
    x.record_layer = c->result ? record_layer_pack(&c->result->record_layer, record_layer) : span_of(NULL, 0);
    export_append(w, &x, 1);
    secret_wipe(record_layer, sizeof(record_layer));
    if (wr_end(w) && wr_end(&info) && x.partial.here.len <= EXPORT_READ_AHEAD_MAX)
        return true;
    secret_wipe(before.p + before.len, w->len - before.len);
    *w = before;
    return false;
}

/* A message of the first sessions of a queue, at most MOST: how many, and their descriptors. */
static unsigned pack_message(const struct handshaker *h, struct list *queue, unsigned most, struct wr *w,
                             int fds[static EXPORT_ARRIVE_MAX]) {
    unsigned n = 0;
    *w = wr_of(message, IPC_BODY_MAX);
    wr_room(w, EXPORT_BATCH_LEN);
    for (struct list *node = queue->next; node != queue && n < most; node = node->next) {
        const struct conn *c = CONTAINER_OF(node, struct conn, link);
        if (!pack_session(h, c, w))
            break;
        fds[n++] = c->fd;
    }
    struct wr head = wr_of(message, EXPORT_BATCH_LEN);
    export_batch_pack(&head, &(struct export_batch){EXPORT_MAJOR, EXPORT_MINOR, 0, (uint16_t)n});
    return n;
}

static void link_lost(struct handshaker *h, uint16_t relay) {
    struct handshaker_link *l = &h->links[relay];
    if (l->fd >= 0) {
        loop_unwatch(&h->loop, l->fd);
        close(l->fd);
    }
    l->fd = -1;
    l->blocked = false;
    l->blocked_ms = 0;
    l->unread = 0;
}

/* Sessions queued for a relay that is gone or stalled go to another one; without one they wait until their deadline. */
static void move_queue(struct handshaker *h, uint16_t from) {
    struct list waiting;
    list_init(&waiting);
    for (struct list *n; (n = list_shift(&h->links[from].queue));)
        list_push(&waiting, n);
    for (struct list *n; (n = list_shift(&waiting));)
        handoff_queue_add(h, CONTAINER_OF(n, struct conn, link));
}

/* Each read of the relay would be an event and wake us for nothing: EPOLLOUT is watched only while it is needed. */
static void watch_link_room(struct handshaker *h, uint16_t relay, bool want) {
    const struct handshaker_link *l = &h->links[relay];
    (void)!loop_rewatch(&h->loop, l->fd, EPOLLET | (want ? EPOLLOUT : 0u), HANDSHAKER_LINK, relay,
                        LOOP_GEN(l->gen)); /* timer: retry */
}

/* Removes the first N queued sessions from our session counts (-1), or puts them back (1). */
static void count_first(struct handshaker *h, struct list *queue, unsigned n, int change) {
    for (struct list *node = queue->next; n-- > 0; node = node->next)
        conn_count(h, CONTAINER_OF(node, struct conn, link), change);
}

/* A kernel short of memory reports no event once it has some: hence the timer. */
static void mark_full(struct handshaker *h, uint16_t relay) {
    struct handshaker_link *l = &h->links[relay];
    l->blocked = true;
    if (!l->blocked_ms)
        l->blocked_ms = h->loop.now_ms;
    watch_link_room(h, relay, true);
    wheel_arm(&h->loop.wheel, &h->retry, h->loop.now_ms + HANDOFF_QUEUE_RETRY_MS);
}

/* N sessions were sent to the relay: counted as one unread byte each until the next check. */
static void note_sent(const struct handshaker *h, struct handshaker_link *l, unsigned n) {
    l->blocked_ms = 0;
    if (l->unread == 0)
        l->read_ms = h->loop.now_ms;
    l->unread += n;
}

/*
 * Sends one message. False when the relay takes no more now. Sessions leave our counts before the relay can count them: a
 * client at its limit, counted twice even for a moment, would be refused what it may have.
 */
static bool send_arrivals(struct handshaker *h, uint16_t relay, unsigned most) {
    struct handshaker_link *l = &h->links[relay];
    int fds[EXPORT_ARRIVE_MAX];
    struct wr w;
    unsigned n = pack_message(h, &l->queue, most, &w, fds);
    count_first(h, &l->queue, n, -1);
    int err = n > 0 ? ipc_send(l->fd, EXPORT_SESSIONS, wr_written(&w), fds, n) : ERR_LIMIT;
    secret_wipe(message, w.len);
    if (err < 0)
        count_first(h, &l->queue, n, 1);
    if (err == ERR_LIMIT && n > 1) /* the socket's buffer is smaller than a message may be */
        return send_arrivals(h, relay, 1);
    if (err == ERR_LIMIT) { /* more bytes came with it than can be sent */
        conn_fail(h, CONTAINER_OF(l->queue.next, struct conn, link), ERR_LIMIT);
        return true;
    }
    if (err == ERR_AGAIN) {
        mark_full(h, relay);
        return false;
    }
    if (err < 0) {
        link_lost(h, relay);
        move_queue(h, relay);
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        struct conn *c = CONTAINER_OF(l->queue.next, struct conn, link);
        c->client_counted = c->service_counted = c->name_counted = false; /* the relay counts it now */
        conn_metrics_handed_over(h, c, relay);
        loop_unwatch(&h->loop, c->fd); /* closing our copy is not enough: the relay's keeps it in our epoll set */
        conn_end(h, c);
    }
    note_sent(h, l, n);
    return true;
}

/* Sessions are queued for this relay, and it takes them. */
static bool may_send(const struct handshaker_link *l) {
    return l->fd >= 0 && !l->blocked && !list_empty(&l->queue);
}

void handoff_queue_flush(struct handshaker *h) {
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        while (may_send(&h->links[i]) && send_arrivals(h, i, EXPORT_ARRIVE_MAX))
            continue;
}

bool handoff_queue_send_few(struct handshaker *h) {
    bool any = false;
    for (uint16_t i = 0; i < h->child.setup.workers; i++) {
        if (!may_send(&h->links[i]))
            continue;
        update_unread(h, &h->links[i]);
        any = (h->links[i].unread == 0 && send_arrivals(h, i, FEW)) || any;
    }
    return any;
}

bool handoff_queue_waits(struct handshaker *h) {
    bool any = false;
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        any = any || may_send(&h->links[i]);
    if (any && !wtimer_armed(&h->retry))
        wheel_arm(&h->loop.wheel, &h->retry, h->loop.now_ms + HANDOFF_QUEUE_RETRY_MS);
    return any;
}

/* What is queued for a stalled relay goes to others, if any takes it. */
static void reroute_stalled(struct handshaker *h) {
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        update_unread(h, &h->links[i]);
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        if (is_stalled(h, &h->links[i]) && !list_empty(&h->links[i].queue) &&
            choose_least_loaded(h, CHOOSE_READY) != UINT16_MAX)
            move_queue(h, i);
}

void handoff_queue_retry(void *ctx, struct wtimer *t) {
    struct handshaker *h = ctx;
    reroute_stalled(h);
    for (uint16_t i = 0; i < h->child.setup.workers; i++)
        h->links[i].blocked = false;
}

void handoff_queue_last_try(struct handshaker *h, struct conn *c) {
    list_remove(&c->link);
    handoff_queue_add(h, c);
    h->links[c->relay].blocked = false;
    handoff_queue_flush(h);
}

void handoff_queue_link(struct handshaker *h, uint16_t relay, int fd) {
    if (!message)
        message = secret_alloc(IPC_BODY_MAX, NULL);
    link_lost(h, relay);
    uint32_t gen = ++h->links[relay].gen;
    if (!message || loop_watch(&h->loop, fd, EPOLLET, HANDSHAKER_LINK, relay, LOOP_GEN(gen)) < 0) {
        log_msg(&h->child.log, LOG_LEVEL_ERROR, "cannot take up the link to relay.%u", relay);
        close(fd);
        return;
    }
    h->links[relay].fd = fd;
    for (uint16_t i = 0; i < h->child.setup.workers; i++) /* sessions that had no relay */
        if (h->links[i].fd < 0)
            move_queue(h, i);
}

void handoff_queue_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct handshaker *h = ctx;
    if (gen != LOOP_GEN(h->links[key].gen)) /* of the link before: its end came in the same turn as this one */
        return;
    if (events & (EPOLLHUP | EPOLLERR)) {
        link_lost(h, (uint16_t)key);
        move_queue(h, (uint16_t)key);
    } else if (events & EPOLLOUT) {
        h->links[key].blocked = false;
        watch_link_room(h, (uint16_t)key, false);
    }
}
