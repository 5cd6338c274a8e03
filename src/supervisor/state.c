/* One description of the layout serves both directions: it is read in the order in which it is written. */
#include "supervisor/state.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/codec.h"
#include "base/err.h"
#include "base/sealed.h"
#include "supervisor/notify.h"
#include "supervisor/super.h"
#include "wire/addr_pack.h"

#define STATE_MAGIC 0x746f7375u /* "tosu" */
#define FDS_MAX     (CONF_LISTENERS_MAX * WORKERS_MAX + 1024)

struct io {
    struct codec codec;
    int *fds; /* all that were met */
    size_t nfds;
    uint64_t now_ms;
};

static bool bad(struct io *io, bool is_bad) {
    return codec_bad(&io->codec, is_bad);
}

#define VALUE(io, x) CODEC_VALUE(&(io)->codec, x)

static void value_fd(struct io *io, int *fd) {
    *fd = (int32_t)codec_number(&io->codec, sizeof(int32_t), (uint64_t)*fd);
    if (*fd >= 0 && !bad(io, io->nfds == FDS_MAX))
        io->fds[io->nfds++] = *fd;
}

/* Texts that are read live as long as the process. */
static void value_text(struct io *io, struct span *s) {
    if (io->codec.w) {
        wr_vec16(io->codec.w, *s);
        return;
    }
    struct span in = rd_vec16(io->codec.r);
    char *copy = malloc(in.len + 1);
    MUST(copy);
    if (in.len)
        memcpy(copy, in.p, in.len);
    copy[in.len] = 0;
    *s = span_of(copy, in.len);
}

/* Into an array of the struct's own, ended by a zero. */
static void value_chars(struct io *io, char *to, size_t cap) {
    if (io->codec.w) {
        wr_vec16(io->codec.w, span_str(to));
        return;
    }
    struct span in = rd_vec16(io->codec.r);
    if (bad(io, in.len >= cap))
        return;
    if (in.len)
        memcpy(to, in.p, in.len);
    to[in.len] = 0;
}

static void value_addr(struct io *io, struct addr *a) {
    if (io->codec.w)
        addr_pack(io->codec.w, a);
    else
        addr_unpack(io->codec.r, a);
    VALUE(io, a->scope);
}

static void value_unix_socket(struct io *io, struct unix_socket *u) {
    value_chars(io, u->path, sizeof(u->path));
    VALUE(io, u->dev);
    VALUE(io, u->ino);
}

static size_t value_count(struct io *io, size_t n, size_t max) {
    return codec_count(&io->codec, n, max);
}

/* ---- the parts ---- */

static void value_texts(struct io *io, struct span *texts, uint16_t *n) {
    *n = (uint16_t)value_count(io, *n, CONTROL_FLAGS_MAX);
    for (size_t i = 0; i < *n; i++)
        value_text(io, &texts[i]);
}

static void value_request(struct io *io, struct control_request *q) {
    value_text(io, &q->file);
    value_texts(io, q->listen, &q->nlisten);
    value_texts(io, q->backend, &q->nbackend);
    value_texts(io, q->name, &q->nname);
    value_text(io, &q->directory);
    value_text(io, &q->ca_file);
}

static void value_proctab(struct io *io, struct proctab *r) {
    VALUE(io, r->started_ms);
    VALUE(io, r->reloads);
    VALUE(io, r->reloads_refused);
    VALUE(io, r->restarts);
    VALUE(io, r->reload_ms);
    VALUE(io, r->migrated);
    VALUE(io, r->cut);
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++) {
        struct proctab_command *c = &r->commands[i];
        VALUE(io, c->id);
        VALUE(io, c->kind);
        VALUE(io, c->result);
        VALUE(io, c->asked_ms);
        VALUE(io, c->ended_ms);
        value_chars(io, c->text, sizeof(c->text));
    }
}

static void value_admin_sockets(struct io *io, struct admin_sockets *a) {
    value_fd(io, &a->unix_fd);
    value_fd(io, &a->tcp_fd);
    value_unix_socket(io, &a->file);
}

static void value_listener_socket(struct io *io, struct listener *l) {
    value_unix_socket(io, &l->local);
    value_addr(io, &l->asked);
    value_addr(io, &l->real);
    VALUE(io, l->v6only);
    VALUE(io, l->mptcp);
    value_chars(io, l->device, sizeof(l->device));
    VALUE(io, l->nth);
    VALUE(io, l->given);
    VALUE(io, l->nserved);
    VALUE(io, l->nlistening);
    l->nfds = (uint32_t)value_count(io, l->nfds, WORKERS_MAX);
    bad(io, l->nserved > l->nfds || l->nlistening > l->nfds);
    for (uint32_t i = 0; i < l->nfds; i++)
        value_fd(io, &l->fds[i]);
}

static void value_listener_sockets(struct io *io, struct listeners *all) {
    size_t n = value_count(io, all->n, CONF_LISTENERS_MAX);
    if (io->codec.r) {
        all->list = calloc(n + 1, sizeof(*all->list));
        MUST(all->list);
        all->n = n;
    }
    for (size_t i = 0; i < n && !bad(io, false); i++)
        value_listener_socket(io, &all->list[i]);
}

static void value_worker(struct io *io, struct worker *w) {
    uint64_t due_ms = wtimer_armed(&w->timer) ? w->timer.deadline_ms : io->now_ms;
    VALUE(io, w->role);
    VALUE(io, w->index);
    VALUE(io, w->state);
    VALUE(io, w->pid);
    VALUE(io, w->cpu);
    VALUE(io, w->restarts);
    VALUE(io, w->backoff_ms);
    VALUE(io, w->started_ms);
    VALUE(io, w->started_wall_ms);
    VALUE(io, w->last_end_ms);
    VALUE(io, w->last_status);
    VALUE(io, w->cut);
    VALUE(io, w->keys.set);
    VALUE(io, w->keys.next);
    VALUE(io, w->taken);
    VALUE(io, w->owed.sets[0]);
    VALUE(io, w->owed.sets[1]);
    VALUE(io, w->owed.excused);
    value_fd(io, &w->control);
    value_fd(io, &w->ring);
    value_fd(io, &w->words);
    VALUE(io, due_ms);
    w->timer.deadline_ms = (io->codec.r ? due_ms : w->timer.deadline_ms) & WHEEL_NEVER_MS; /* armed by the successor */
    bad(io, (unsigned)w->role >= ROLE_COUNT || (unsigned)w->state > CHILD_DRAINED || w->ring < 0);
    bad(io, (w->state == CHILD_NONE) != (w->pid == 0) || w->pid < 0 || (w->control < 0) != (w->pid == 0));
}

static void value_generation(struct io *io, struct generation *g) {
    VALUE(io, g->number);
    value_chars(io, g->version, sizeof(g->version));
    value_fd(io, &g->exe_fd);
    value_fd(io, &g->snapshot_fd);
    value_fd(io, &g->secrets_fd);
    VALUE(io, g->creds.number);
    VALUE(io, g->creds.nth);
    value_fd(io, &g->creds.fd);
    value_fd(io, &g->access.fd);
    VALUE(io, g->read_s);
    value_fd(io, &g->scoreboard_fd);
    value_fd(io, &g->log_fd);
    size_t n = value_count(io, g->nworkers, GENERATION_WORKERS_MAX);
    if (io->codec.r) {
        g->workers = calloc(n + 1, sizeof(*g->workers));
        MUST(g->workers);
        g->nworkers = n;
    }
    for (size_t i = 0; i < n && !bad(io, false); i++) {
        g->workers[i].gen = g;
        value_worker(io, &g->workers[i]);
    }
}

static void value_super(struct io *io, struct super *s) {
    struct span exe = span_str(s->exe_path ? s->exe_path : "");
    value_text(io, &exe);
    s->exe_path = (const char *)exe.p;
    value_request(io, &s->request);
    notify_value(io->codec.w, io->codec.r);
    value_proctab(io, &s->proctab);
    value_fd(io, &s->log_ring);
    value_fd(io, &s->stats_fd);
    value_admin_sockets(io, &s->admin);
    value_listener_sockets(io, &s->listeners);
    VALUE(io, s->creds.logged_s);
    VALUE(io, s->creds.logged_day);
    VALUE(io, s->creds.last);
    VALUE(io, s->tags);
    VALUE(io, s->generations);
    if (bad(io, s->generations == 0))
        return;
    struct generation *g = s->now ? s->now : &s->gens[(s->generations - 1) % 2];
    value_generation(io, g);
    bad(io, g->number != s->generations - 1 && io->codec.r != NULL);
    g->used = true;
    s->now = g;
}

static void value_head(struct io *io, uint32_t *version, uint32_t *pid) {
    uint32_t magic = STATE_MAGIC;
    VALUE(io, magic);
    VALUE(io, *version);
    VALUE(io, *pid);
    bad(io, magic != STATE_MAGIC);
}

/* ---- the memfd ---- */

int state_write(struct super *s, int *ret_fd, struct state_fds *ret_fds) {
    uint8_t *bytes = malloc(STATE_MAX);
    int *fds = calloc(FDS_MAX, sizeof(*fds));
    if (!bytes || !fds) {
        free(bytes);
        free(fds);
        return ERR_NOMEM; /* the old code goes on */
    }
    struct wr w = wr_of(bytes, STATE_MAX);
    struct io io = {.codec = {.w = &w}, .fds = fds, .now_ms = s->loop.now_ms};
    uint32_t version = STATE_VERSION, pid = (uint32_t)getpid();
    value_head(&io, &version, &pid);
    value_super(&io, s);
    int err = wr_end(&w) ? sealed_copy("tls-off-state", wr_written(&w), ret_fd) : ERR_LIMIT;
    free(bytes);
    if (err < 0)
        free(fds);
    else
        *ret_fds = (struct state_fds){fds, io.nfds};
    return err;
}

static int parse_state(struct super *s, struct span bytes, int *fds, size_t *ret_nfds) {
    struct rd r = rd_of(bytes);
    struct io io = {.codec = {.r = &r}, .fds = fds};
    uint32_t version = 0, pid = 0;
    value_head(&io, &version, &pid);
    if (r.bad)
        return ERR_FORMAT;
    if (version != STATE_VERSION)
        return ERR_UNSUPPORTED;
    value_super(&io, s);
    *ret_nfds = io.nfds;
    s->proctab.pid = (int32_t)pid;
    return rd_end(&r) ? 0 : ERR_FORMAT;
}

/* Reads with the list of descriptors kept for state_inherit(). */
static struct state_fds met;

int state_read(struct super *s, int fd) {
    struct span bytes;
    int err = sealed_map(fd, 1, STATE_MAX, &bytes);
    if (err < 0)
        return err;
    free(met.list);
    met = (struct state_fds){calloc(FDS_MAX, sizeof(int)), 0};
    err = met.list ? parse_state(s, bytes, met.list, &met.n) : ERR_NOMEM;
    sealed_unmap(bytes);
    return err;
}

int state_inherit(struct super *s) {
    (void)s;
    for (size_t i = 0; i < met.n; i++)
        if (fcntl(met.list[i], F_SETFD, FD_CLOEXEC) < 0)
            return ERR_FORMAT;
    free(met.list);
    met = (struct state_fds){0};
    return 0;
}
