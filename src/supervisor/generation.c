#include "supervisor/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "conf/snapshot.h"
#include "shm/scoreboard.h"
#include "supervisor/super.h"

const char *generation_binary(const struct super *s) {
    return s->now ? s->exe_path : "/proc/self/exe";
}

static int open_binary(const struct super *s) {
    int fd = open(generation_binary(s), O_PATH | O_CLOEXEC);
    if (fd < 0 || faccessat(fd, "", X_OK, AT_EMPTY_PATH | AT_EACCESS) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

struct generation *generation_new(struct super *s) {
    struct generation *g = &s->gens[s->generations % 2];
    MUST(!g->used);
    int fd = open_binary(s);
    if (fd < 0)
        return NULL;
    *g = (struct generation){.used = true, .number = s->generations, .exe_fd = fd};
    g->snapshot_fd = g->secrets_fd = g->scoreboard_fd = g->log_fd = g->creds.fd = g->access.fd = -1;
    g->read_s = clock_wall_us() / 1000000;
    s->generations++;
    return g;
}

static int keep_version(struct generation *g, struct span version) {
    if (version.len == 0 || version.len >= VERSION_MAX)
        return ERR_FORMAT;
    memcpy(g->version, version.p, version.len);
    return 0;
}

/* Without a file for it the secret is random, and the first one stays in use: tickets survive reloads. */
static int keep_secret(const struct generation *old, struct generation *new) {
    if (old->conf->nticket_secrets || new->conf->nticket_secrets)
        return 0;
    close(new->secrets_fd);
    new->secrets_fd = fcntl(old->secrets_fd, F_DUPFD_CLOEXEC, 0);
    return new->secrets_fd >= 0 ? 0 : ERR_SYSTEM;
}

static bool has_same_services(const struct conf *a, const struct conf *b) {
    size_t i = 0;
    while (i < a->nservices && i < b->nservices && strcmp(a->services[i].name, b->services[i].name) == 0)
        i++;
    return i == a->nservices && i == b->nservices;
}

/*
 * Where workers and services are the same the scoreboard stays in use: what clients, names and services have in the generation
 * before counts, wherever their sessions are.
 */
static int keep_scoreboard(const struct generation *old, struct generation *new) {
    const struct conf *c = new->conf;
    if (!old || old->conf->workers != c->workers || !has_same_services(old->conf, c) ||
        !scoreboard_has_room_for_next(old->scoreboard_fd))
        return scoreboard_create((uint16_t)c->workers, (uint16_t)c->nservices, &new->scoreboard_fd);
    new->scoreboard_fd = fcntl(old->scoreboard_fd, F_DUPFD_CLOEXEC, 0);
    return new->scoreboard_fd >= 0 ? 0 : ERR_SYSTEM;
}

int generation_configure(struct super *s, struct generation *g, const struct ipc_msg *m, struct span *ret_warnings,
                         struct text *why) {
    struct control_configured c;
    g->snapshot_fd = m->fds[0];
    g->secrets_fd = m->fds[1];
    int creds_err = creds_set_take(&g->creds, 1, m->fds[2]);
    int access_err = access_set_take(&g->access, m->fds[3]);
    int err = control_read_configured(m, &c);
    if (err == 0)
        err = keep_version(g, c.version);
    if (err == 0)
        err = creds_err ? creds_err : access_err;
    if (err == 0)
        err = snapshot_read(g->snapshot_fd, &g->conf, why);
    if (err == 0 && s->now)
        err = keep_secret(s->now, g);
    if (err == 0)
        err = keep_scoreboard(s->now, g);
    if (err == 0)
        *ret_warnings = c.warnings;
    return err;
}

static void close_one(int fd) {
    if (fd >= 0)
        close(fd);
}

/* An acme role removes its sockets itself, unless it was killed. Those of a generation that goes on are left alone. */
static void remove_doors(const struct super *s, const struct generation *g) {
    static const char *const doors[] = {ACME_TLS_DOOR, ACME_HTTP_DOOR, ACME_TLS_DOOR ACME_NEXT_DOOR,
                                        ACME_HTTP_DOOR ACME_NEXT_DOOR};
    const struct generation *other = &s->gens[g == &s->gens[0]];
    if (!g->conf || !g->conf->acme.ncerts)
        return;
    if (other->used && other->conf && other->conf->acme.ncerts && strcmp(other->conf->acme.dir, g->conf->acme.dir) == 0)
        return;
    int dir = open(g->conf->acme.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ARRAY_LEN(doors) && dir >= 0; i++)
        (void)unlinkat(dir, doors[i], 0); /* most are not there */
    if (dir >= 0)
        close(dir);
}

void generation_free(struct super *s, struct generation *g) {
    MUST(generation_gone(g, ROLE_COUNT));
    remove_doors(s, g);
    for (size_t i = 0; i < g->nworkers; i++) {
        wheel_cancel(&s->loop.wheel, &g->workers[i].timer);
        close_one(g->workers[i].ring);
    }
    free(g->workers);
    conf_free(g->conf);
    close_one(g->snapshot_fd);
    close_one(g->secrets_fd);
    creds_set_free(&g->creds);
    access_set_free(&g->access);
    scoreboard_forget(g->scoreboard_fd, g->number);
    close_one(g->scoreboard_fd);
    close_one(g->log_fd);
    close_one(g->exe_fd);
    *g = (struct generation){0};
}

/* ---- questions ---- */

static bool is_of(const struct worker *w, enum role role) {
    return role == ROLE_COUNT || w->role == role;
}

bool generation_all(const struct generation *g, enum role role, enum child_state at_least) {
    for (size_t i = 0; i < g->nworkers; i++)
        if (is_of(&g->workers[i], role) && worker_runs(&g->workers[i]) && g->workers[i].state < at_least)
            return false;
    return true;
}

bool generation_gone(const struct generation *g, enum role role) {
    for (size_t i = 0; i < g->nworkers; i++)
        if (is_of(&g->workers[i], role) && worker_runs(&g->workers[i]))
            return false;
    return true;
}

bool generation_ready(const struct generation *g, enum role role) {
    for (size_t i = 0; i < g->nworkers; i++)
        if (is_of(&g->workers[i], role) && g->workers[i].state < CHILD_READY)
            return false;
    return true;
}

struct worker *generation_worker(struct generation *g, enum role role, uint16_t index) {
    for (size_t i = 0; i < g->nworkers; i++)
        if (g->workers[i].role == role && g->workers[i].index == index)
            return &g->workers[i];
    return NULL;
}
