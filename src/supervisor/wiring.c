/*
 * Who talks to whom, and what each process is given. Links are made within a generation; the only ones between two are those
 * over which old relays send their sessions.
 */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "supervisor/super.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"

#define LINK_SNDBUF (1024 * 1024)

/* Which roles talk to each other: relays are the ones with something to say to others. */
static bool talks_to_relays(enum role r) {
    return r == ROLE_HANDSHAKER || r == ROLE_RESOLVER || r == ROLE_OBSERVER;
}

static bool are_peers(enum role a, enum role b) {
    return (a == ROLE_RELAY && talks_to_relays(b)) || (a == ROLE_HANDSHAKER && b == ROLE_SIGNER);
}

/* A signer has one handshaker, of its number. */
static bool meet(const struct worker *a, const struct worker *b) {
    bool others = a->role != ROLE_SIGNER && b->role != ROLE_SIGNER;
    return (are_peers(a->role, b->role) || are_peers(b->role, a->role)) && (others || a->index == b->index);
}

static struct control_peer peer_of(const struct worker *w) {
    return (struct control_peer){w->role, w->index, w->gen->number};
}

static int link_two(const struct worker *a, const struct worker *b) {
    int pair[2];
    int err = ipc_pair(LINK_SNDBUF, pair);
    if (err < 0)
        return err;
    const struct control_peer to_a = peer_of(b), to_b = peer_of(a);
    err = control_send_peer(a->control, CONTROL_LINK, &to_a, pair[0]);
    if (err == 0)
        err = control_send_peer(b->control, CONTROL_LINK, &to_b, pair[1]);
    close(pair[0]);
    close(pair[1]);
    return err;
}

static int link_all(struct worker *w) {
    struct generation *g = w->gen;
    int err = 0;
    for (size_t i = 0; i < g->nworkers && err == 0; i++) {
        struct worker *other = &g->workers[i];
        if (other != w && worker_runs(other) && meet(w, other))
            err = link_two(w, other);
    }
    return err;
}

/* ---- the log ---- */

static int give_rings_of(const struct generation *g, const struct worker *observer) {
    int err = 0;
    for (size_t i = 0; i < g->nworkers && err == 0; i++) {
        const struct worker *w = &g->workers[i];
        const struct control_peer peer = peer_of(w);
        if (w != observer)
            err = control_send_peer(observer->control, CONTROL_RING, &peer, w->ring);
    }
    return err;
}

/* Rings have one reader. Those of the generation itself are its observer's; all others, and the admin sockets, belong to the
 * observer of the generation that serves, once the one before has ended. */
static bool owns_log(const struct super *s, const struct worker *observer) {
    bool first = !s->now && observer->gen == s->coming;
    return first || (observer->gen == s->now && (!s->going || generation_gone(s->going, ROLE_OBSERVER)));
}

static int give_log(struct super *s, const struct worker *observer) {
    const struct control_peer self = {ROLE_SUPERVISOR, 0, 0};
    int err = control_send_peer(observer->control, CONTROL_RING, &self, s->voice_ring);
    if (err == 0)
        err = ipc_send(observer->control, CONTROL_ROSTER, span_of(NULL, 0), &s->page_fd, 1);
    if (err == 0)
        err = admin_give(&s->admin, observer->control);
    if (err == 0 && s->going)
        err = give_rings_of(s->going, observer);
    for (size_t i = 0; err == 0 && s->going && i < s->going->nworkers; i++) /* whose sessions it can tell of then */
        if (worker_runs(&s->going->workers[i]) && s->going->workers[i].role == ROLE_RELAY)
            err = link_two(observer, &s->going->workers[i]);
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
        const struct control_peer peer = peer_of(&g->workers[i]);
        if (control_send_ring_end(observer->control, &peer) < 0)
            return; /* it is gone, or will be: its successor does not get them */
    }
}

/* ---- introductions ---- */

/* The sockets of a handshaker: of each group every n-th; one that stands alone is shared. */
static int give_group(const struct listener *l, const struct worker *w, uint16_t i) {
    uint32_t n = w->gen->conf->workers;
    int err = 0;
    if (l->nfds < n)
        return control_send_listener(w->control, i, l->fds[w->index % l->nfds]);
    for (uint32_t k = w->index; k < l->nfds && err == 0; k += n)
        err = control_send_listener(w->control, i, l->fds[k]);
    return err;
}

static int give_creds(const struct worker *w) {
    const struct creds_set *set = &w->gen->creds;
    const struct control_creds c = {set->number, creds_keys(&set->store)};
    return control_send_creds(w->control, &c, set->fd);
}

static int give_sockets(struct super *s, struct worker *w) {
    const struct conf *c = w->gen->conf;
    int err = ipc_send(w->control, CONTROL_SECRETS, span_of(NULL, 0), &w->gen->secrets_fd, 1);
    if (err == 0)
        err = give_creds(w);
    for (size_t i = 0; i < c->nlisteners && err == 0; i++)
        err = give_group(listeners_find(&s->listeners, c, i), w, (uint16_t)i);
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
    const int fds[4] = {g->snapshot_fd, g->board_fd, w->ring, s->stats_fd};
    int err = control_send_setup(w->control, &setup, fds);
    if (err == 0 && w->role == ROLE_OBSERVER && g->log_fd >= 0)
        err = ipc_send(w->control, CONTROL_LOG, span_of(NULL, 0), &g->log_fd, 1);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = give_rings_of(g, w);
    if (err == 0 && w->role == ROLE_OBSERVER && owns_log(s, w))
        err = give_log(s, w);
    if (err == 0 && w->role == ROLE_OBSERVER)
        err = give_creds(w);
    if (err == 0 && w->role == ROLE_SIGNER)
        err = keys_give(s, w);
    if (err == 0 && w->role == ROLE_HANDSHAKER)
        err = give_sockets(s, w);
    return err == 0 ? link_all(w) : err;
}

/* ---- moving sessions ---- */

/* The new relay of the same number, or the next one when it is not there or links to it have broken. */
static struct worker *importer_for(struct super *s, const struct worker *old) {
    uint32_t n = s->now->conf->workers;
    for (uint32_t i = 0; i < n; i++) {
        uint16_t index = (uint16_t)((old->index + old->moving.tries + i) % n);
        struct worker *w = generation_worker(s->now, ROLE_RELAY, index);
        if (w->state == CHILD_READY && !w->hung)
            return w;
    }
    return NULL;
}

int wiring_move(const struct worker *from, const struct worker *to, const struct control_export *what) {
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

bool wiring_export(struct super *s, struct worker *old) {
    const struct worker *to = importer_for(s, old);
    return to && wiring_move(old, to, &(struct control_export){EXPORT_ALL, EXPORT_ANY}) == 0;
}
