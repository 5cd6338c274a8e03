/*
 * Which processes are linked, and what each receives. Links are made within a generation; the only ones between two generations
 * are those over which old relays migrate their sessions.
 */
#include "supervisor/wiring.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "shm/scoreboard.h"
#include "supervisor/keylog_open.h"
#include "supervisor/keys.h"
#include "supervisor/super.h"
#include "supervisor/worker.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"

#define LINK_SNDBUF (1024 * 1024)

/* Which roles are linked to relays. */
static bool talks_to_relays(enum role r) {
    return r == ROLE_HANDSHAKER || r == ROLE_RESOLVER || r == ROLE_OBSERVER;
}

static bool are_peers(enum role a, enum role b) {
    return (a == ROLE_RELAY && talks_to_relays(b)) || (a == ROLE_HANDSHAKER && b == ROLE_SIGNER) ||
           (a == ROLE_ACME && (b == ROLE_KEYMAKER || b == ROLE_OBSERVER)) ||
           (a == ROLE_FLEET && (b == ROLE_ACME || b == ROLE_OBSERVER)) || (a == ROLE_EXPORTER && b == ROLE_OBSERVER);
}

/* A handshaker has the signer of its number, and the next one while that hangs. */
static bool asks(const struct worker *handshaker, const struct worker *signer) {
    return signer->index == handshaker->index || signer->index == (handshaker->index + 1u) % handshaker->gen->conf->workers;
}

static bool are_wired(const struct worker *a, const struct worker *b) {
    if (!are_peers(a->role, b->role) && !are_peers(b->role, a->role))
        return false;
    return a->role == ROLE_SIGNER ? asks(b, a) : b->role == ROLE_SIGNER ? asks(a, b) : true;
}

static struct control_peer control_peer_of(const struct worker *w) {
    return (struct control_peer){w->role, w->index, w->gen->number};
}

static int link_two(const struct worker *a, const struct worker *b) {
    int pair[2];
    int err = ipc_pair(LINK_SNDBUF, pair);
    if (err < 0)
        return err;
    const struct control_peer to_a = control_peer_of(b), to_b = control_peer_of(a);
    err = control_send_peer(a->control, CONTROL_LINK, &to_a, pair[0]);
    if (err == 0)
        err = control_send_peer(b->control, CONTROL_LINK, &to_b, pair[1]);
    close(pair[0]);
    close(pair[1]);
    return err;
}

static int link_to_all(struct worker *w) {
    struct generation *g = w->gen;
    int err = 0;
    for (size_t i = 0; i < g->nworkers && err == 0; i++) {
        struct worker *other = &g->workers[i];
        if (other != w && worker_runs(other) && are_wired(w, other))
            err = link_two(w, other);
    }
    return err;
}

/* ---- the log ---- */

static int give_rings_of(const struct generation *g, const struct worker *observer) {
    int err = 0;
    for (size_t i = 0; i < g->nworkers && err == 0; i++) {
        const struct worker *w = &g->workers[i];
        const struct control_peer peer = control_peer_of(w);
        if (w != observer)
            err = control_send_peer(observer->control, CONTROL_RING, &peer, w->ring);
    }
    return err;
}

/* Rings have one reader. Those of the generation itself are its observer's; all others, and the admin sockets, belong to the
 * observer of the generation that serves, once the one before has ended. */
static bool owns_log(const struct super *s, const struct worker *observer) {
    bool first = !s->now && observer->gen == s->next;
    return first || (observer->gen == s->now && (!s->previous || generation_gone(s->previous, ROLE_OBSERVER)));
}

static int give_log(struct super *s, const struct worker *observer) {
    const struct control_peer self = {ROLE_SUPERVISOR, 0, 0};
    int err = control_send_peer(observer->control, CONTROL_RING, &self, s->log_ring);
    if (err == 0)
        err = ipc_send(observer->control, CONTROL_PROCTAB, span_of(NULL, 0), &s->page_fd, 1);
    if (err == 0)
        err = admin_sockets_give(&s->admin, observer->control);
    if (err == 0 && s->previous)
        err = give_rings_of(s->previous, observer);
    for (size_t i = 0; err == 0 && s->previous && i < s->previous->nworkers; i++) /* whose sessions it can then list */
        if (worker_runs(&s->previous->workers[i]) && s->previous->workers[i].role == ROLE_RELAY)
            err = link_two(observer, &s->previous->workers[i]);
    return err;
}

void wiring_take_log(struct super *s) {
    struct worker *observer = generation_worker(s->now, ROLE_OBSERVER, 0);
    if (worker_runs(observer) && owns_log(s, observer) && give_log(s, observer) < 0)
        worker_kill(observer); /* its successor gets all of it */
}

void wiring_end_rings(struct super *s, const struct generation *g) {
    struct worker *observer = generation_worker(s->now, ROLE_OBSERVER, 0);
    for (size_t i = 0; worker_runs(observer) && i < g->nworkers; i++) {
        const struct control_peer peer = control_peer_of(&g->workers[i]);
        if (control_send_ring_end(observer->control, &peer) < 0)
            return; /* it is gone, or will be: its successor does not get them */
    }
}

void wiring_serve_acme(struct super *s) {
    struct worker *w = s->now ? generation_worker(s->now, ROLE_ACME, 0) : NULL;
    bool alone = !s->previous || (generation_gone(s->previous, ROLE_ACME) && generation_gone(s->previous, ROLE_KEYMAKER));
    if (w && w->state == CHILD_READY && alone && control_send(w->control, CONTROL_SERVE) < 0)
        worker_kill(w);
}

/* ---- introductions ---- */

/* The sockets of a handshaker, to itself or to another: of each group every n-th; one that stands alone is shared. */
static int give_group(const struct listener *l, const struct worker *w, const struct worker *to, uint16_t i) {
    uint32_t n = w->gen->conf->workers;
    int err = 0;
    if (l->nfds < n)
        return to == w ? control_send_listener(to->control, i, l->fds[w->index % l->nfds]) : 0;
    for (uint32_t k = w->index; k < l->nfds && err == 0; k += n)
        err = control_send_listener(to->control, i, l->fds[k]);
    return err;
}

void wiring_cover(struct super *s, const struct worker *w) {
    const struct conf *c = w->gen->conf;
    for (uint16_t i = 1; i < c->workers; i++) {
        const struct worker *to = generation_worker(w->gen, ROLE_HANDSHAKER, (uint16_t)((w->index + i) % c->workers));
        if (to->state != CHILD_SERVING || to->silent_ms)
            continue;
        for (size_t k = 0; k < c->nlisteners; k++)
            (void)!give_group(listeners_find(&s->listeners, c, k), w, to, (uint16_t)k); /* try again soon */
        return;
    }
}

static int give_creds(const struct worker *w) {
    const struct creds_set *set = &w->gen->creds;
    const struct control_creds c = {set->number, creds_keys(&set->store)};
    return control_send_creds(w->control, &c, set->fd);
}

static int give_access(const struct worker *w) {
    return ipc_send(w->control, CONTROL_ACCESS, span_of(NULL, 0), &w->gen->access.fd, 1);
}

/* Opened again for each: one that was moved away continues under its name. It was found good when the generation began. */
static int give_keylog(struct super *s, const struct worker *w) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    int fd;
    if (keylog_open(w->gen->conf, &fd, &why) < 0)
        log_msg(&s->log, LOG_LEVEL_WARNING, "%s.%u goes on without it: %s", role_name(w->role), w->index, line);
    int err = fd >= 0 ? ipc_send(w->control, CONTROL_KEYLOG, span_of(NULL, 0), &fd, 1) : 0;
    if (fd >= 0)
        close(fd);
    return err;
}

static int give_sockets(struct super *s, struct worker *w) {
    const struct conf *c = w->gen->conf;
    int err = ipc_send(w->control, CONTROL_SECRETS, span_of(NULL, 0), &w->gen->secrets_fd, 1);
    if (err == 0)
        err = give_creds(w);
    if (err == 0)
        err = give_access(w);
    if (err == 0)
        err = give_keylog(s, w);
    for (size_t i = 0; i < c->nlisteners && err == 0; i++)
        err = give_group(listeners_find(&s->listeners, c, i), w, w, (uint16_t)i);
    return err;
}

int wiring_introduce(struct super *s, struct worker *w) {
    const struct generation *g = w->gen;
    const struct control_setup setup = {
        .role = w->role,
        .index = w->index,
        .workers = (uint16_t)g->conf->workers,
        .cpu = w->cpu,
        .generation = g->number,
        .restarts = w->restarts,
    };
    const int fds[4] = {g->snapshot_fd, g->scoreboard_fd, w->ring, s->stats_fd};
    int err = control_send_setup(w->control, &setup, fds);
    if (err == 0 && w->role == ROLE_OBSERVER && g->log_fd >= 0)
        err = ipc_send(w->control, CONTROL_LOG, span_of(NULL, 0), &g->log_fd, 1);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = give_rings_of(g, w);
    if (err == 0 && w->role == ROLE_OBSERVER && owns_log(s, w))
        err = give_log(s, w);
    if (err == 0 && (w->role == ROLE_OBSERVER || w->role == ROLE_ACME))
        err = give_creds(w);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = give_access(w);
    if (err == 0 && w->role == ROLE_SIGNER)
        err = keys_give(s, w);
    if (err == 0 && w->role == ROLE_HANDSHAKER)
        err = give_sockets(s, w);
    return err == 0 ? link_to_all(w) : err;
}

/* ---- migrating sessions ---- */

/* The new relay of the same number, or the next one when it is missing or links to it have broken. */
static struct worker *importer_for(struct super *s, const struct worker *old) {
    uint32_t n = s->now->conf->workers;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t index = (uint16_t)((old->index + old->migration.tries + i) % n);
        struct worker *w = generation_worker(s->now, ROLE_RELAY, index);
        if (w->state == CHILD_READY && w->silent_ms == 0) /* one that hangs would keep what it is sent */
            return w;
    }
    return NULL;
}

int wiring_migrate(const struct worker *from, const struct worker *to, const struct control_export *what) {
    int pair[2];
    int err = ipc_pair(0, pair);
    if (err < 0)
        return err;
    err = control_send_import(to->control, pair[0]);
    if (err == 0)
        err = control_send_export(from->control, what, pair[1]);
    close(pair[0]);
    close(pair[1]);
    return err;
}

/* How many sessions each new relay gets of an old one. 0: their number is the same, each has its successor. */
static uint32_t successor_share(const struct super *s, const struct worker *old) {
    struct scoreboard b;
    if (s->now->conf->workers == old->gen->conf->workers || scoreboard_map(old->gen->scoreboard_fd, old->gen->number, &b) < 0)
        return 0;
    uint32_t share = scoreboard_relay_sessions(&b, old->index) / s->now->conf->workers;
    scoreboard_unmap(&b);
    return share;
}

/* The next new relay that gets a share, before the one that gets the rest. True when sessions are under way. */
static bool export_share(struct super *s, struct worker *old) {
    uint32_t n = s->now->conf->workers;
    if (old->migration.shares == 0)
        old->migration.share = successor_share(s, old);
    while (old->migration.share && old->migration.shares + 1 < n) {
        const struct worker *to = generation_worker(s->now, ROLE_RELAY, (uint16_t)((old->index + ++old->migration.shares) % n));
        if (to->state == CHILD_READY && !to->hung &&
            wiring_migrate(old, to, &(struct control_export){old->migration.share, EXPORT_ANY}) == 0)
            return true;
    }
    return false;
}

bool wiring_export(struct super *s, struct worker *old) {
    if (old->migration.tries == 0 && export_share(s, old))
        return true;
    const struct worker *to = importer_for(s, old);
    old->migration.all = to && wiring_migrate(old, to, &(struct control_export){EXPORT_ALL, EXPORT_ANY}) == 0;
    return old->migration.all;
}
