#include "supervisor/transition.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "shm/scoreboard.h"
#include "supervisor/activation.h"
#include "supervisor/commands.h"
#include "supervisor/keylog_open.h"
#include "supervisor/logfile.h"
#include "supervisor/notify.h"
#include "supervisor/publish.h"
#include "supervisor/refusal.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"
#include "supervisor/worker.h"
#include "supervisor/workers.h"
#include "wire/control_export.h"

#define FINISH_MAX_MS 60000 /* for handshakes without a time limit */
#define MIGRATE_MS    30000 /* for the migration of sessions, before those that cannot migrate have drain_timeout left */
#define MIGRATE_TRIES 5
#define ROOM_LOW      1000 /* sessions: less is rarely intended */

/* ---- before the switch: everything can be undone ---- */

/* Every line of TEXT: to the log, but to stderr what ends the first start. */
static void report_lines(struct super *s, enum log_level level, const char *before, struct span text) {
    if (s->now || level == LOG_LEVEL_WARNING) {
        log_lines(&s->log, level, before, text);
        return;
    }
    for (struct span line; span_take_line(&text, &line);)
        fprintf(stderr, "%s%.*s\n", s->refusal.is_located ? "" : "tls-off: ", (int)line.len, (const char *)line.p);
}

static void on_configured(struct super *s, struct ipc_msg *m) {
    struct generation *g = s->next;
    if (!m || (m->type != CONTROL_CONFIGURED && m->type != CONTROL_REFUSED)) {
        refuse_next(s, "%s: started as config process, it ended without an answer", s->exe_path);
        if (m)
            ipc_msg_close(m);
    } else if (m->type == CONTROL_REFUSED) {
        s->refusal.is_located = true;
        refuse_next(s, "%.*s", (int)m->body.len, (const char *)m->body.p);
    } else {
        struct span warnings;
        char line[512];
        struct text entry = text_of(line, sizeof(line));
        int err = generation_configure(s, g, m, &warnings, &entry);
        if (err == ERR_UNSUPPORTED && entry.len)
            refuse_next(s,
                        "tls-off %s: the running version does not understand \"%s\" of the configuration: leave it out until "
                        "after the upgrade, or stop and start",
                        g->version, line);
        else if (err == ERR_UNSUPPORTED)
            refuse_next(s, "tls-off %s has another form of the configuration than the running version: stop and start",
                        g->version);
        else if (err < 0)
            refuse_next(s, "the configuration cannot be taken over: %s", err_describe(err, errno));
        else
            report_lines(s, LOG_LEVEL_WARNING, "", warnings);
    }
}

/* What we listen on already. */
static void fill_held(struct super *s) {
    struct control_request *q = &s->request;
    q->nheld = 0;
    for (size_t i = 0; i < s->listeners.n && q->nheld < CONTROL_HELD_MAX; i++)
        if (!s->listeners.list[i].local.path[0])
            q->held[q->nheld++] = s->listeners.list[i].asked;
    if (s->now && s->admin.tcp_fd >= 0 && q->nheld < CONTROL_HELD_MAX)
        q->held[q->nheld++] = s->now->conf->admin.listen;
}

/* At the first start our own file is opened through /proc, not by name. */
static const char *proc_hint(void) {
    return access("/proc/self", F_OK) < 0 ? " (/proc has to be mounted)" : "";
}

static void report_begin(struct super *s) {
    char line[128];
    struct text t = text_of(line, sizeof(line));
    text_addf(&t, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reloading\n" NOTIFY_EXTEND, (unsigned long long)clock_mono_us());
    notify(line);
    log_msg(&s->log, LOG_LEVEL_INFO, "reload: starting %s", s->exe_path);
}

void transition_configure(struct super *s) {
    command_run_reloads(s);
    creds_reload_cancel(s);
    s->transition = (struct transition){.began_ms = s->loop.now_ms, .cut_before = s->proctab.cut};
    s->refusal = (struct refusal){.is_made = false};
    if (s->now)
        report_begin(s);
    fill_held(s);
    s->next = generation_new(s);
    int err;
    if (!s->next)
        refuse_next(s, "%s cannot be started: %s%s%s", generation_binary(s), strerror(errno), err_process_limit(errno),
                    proc_hint());
    else if (!helper_start(s, HELPER_CONFIG, ROLE_CONFIG, s->next->exe_fd, on_configured))
        refuse_next(s, "the config process cannot be started: %s%s", strerror(errno), err_process_limit(errno));
    else if ((err = helper_asked(control_send_request(s->helpers[HELPER_CONFIG].control, &s->request))) == ERR_LIMIT)
        refuse_next(s, "the command line is too long: expected at most %d bytes in all", CONTROL_TEXT_MAX);
    else if (err < 0)
        refuse_next(s, "the config process cannot be asked: %s", err_describe(err, errno));
}

/* The first start opens the admin sockets; later ones change them at the switch. */
static bool open_admin(struct super *s, struct text *why) {
    if (s->now)
        return true;
    bool ok = admin_sockets_open(&s->admin, &s->next->conf->admin, why);
    if (ok && why->len)
        fprintf(stderr, "tls-off: %s; continuing without it (admin.socket names another)\n", why->p);
    return ok;
}

static bool open_log_file(struct generation *g, struct text *why) {
    if (g->conf->log_target == LOG_TO_FILE)
        g->log_fd = logfile_open(g->conf, why);
    return g->conf->log_target != LOG_TO_FILE || g->log_fd >= 0;
}

/* That handshakers will get it. */
static bool try_keylog(const struct generation *g, struct text *why) {
    int fd, err = keylog_open(g->conf, &fd, why);
    if (fd >= 0)
        close(fd);
    return err == 0;
}

void transition_start(struct super *s) {
    char line[2048];
    struct text why = text_of(line, sizeof(line));
    struct generation *g = s->next;
    bool fits = s->now || activation_check(&s->listeners, g->conf, &why);
    if (!fits || !listeners_bind(&s->listeners, g->conf, &why) || !open_log_file(g, &why) || !try_keylog(g, &why) ||
        !open_admin(s, &why))
        refuse_next(s, "%s", line);
    else if (!workers_start(s, g))
        refuse_next(s, "its processes cannot be started: %s%s", strerror(errno), err_process_limit(errno));
}

/* Why it is undone, when nobody has said so. */
static void explain_undo(struct super *s) {
    if (s->lifecycle.undo == UNDO_STOP)
        refuse_next(s, "the proxy is stopping");
    for (size_t i = 0; s->next && i < s->next->nworkers; i++) {
        const struct worker *w = &s->next->workers[i];
        if (w->state < CHILD_READY)
            refuse_next(s, "%s.%u was not ready in time", role_name(w->role), w->index);
    }
    refuse_next(s, "the configuration was not read in time");
}

void transition_undo(struct super *s) {
    explain_undo(s);
    helper_end(s, HELPER_CONFIG);
}

/* The observer stops last: the log lines of the others may give the reason. */
void transition_tend_undo(struct super *s) {
    struct generation *g = s->next;
    bool others = false;
    for (size_t i = 0; g && i < g->nworkers; i++) {
        if (g->workers[i].role == ROLE_OBSERVER || !worker_runs(&g->workers[i]))
            continue;
        worker_stop(s, &g->workers[i]);
        others = true;
    }
    if (g && g->nworkers && !others)
        worker_stop(s, generation_worker(g, ROLE_OBSERVER, 0));
}

void transition_kill_all(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (w->gen == s->next || w->gen == s->previous)
            worker_kill(w);
}

/* ---- the switch ---- */

/* The last step that can fail. */
static bool open_sockets(struct super *s, struct text *why) {
    struct generation *g = s->next;
    if (s->now && !admin_sockets_change(&s->admin, &g->conf->admin, why))
        return false;
    if (why->len) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "%s; continuing without it (admin.socket names another)", why->p);
        *why = text_of(why->p, why->cap);
    }
    if (listeners_listen(&s->listeners, &s->log, g->conf, why))
        return true;
    char ignored[512];
    struct text t = text_of(ignored, sizeof(ignored));
    if (s->now && !admin_sockets_change(&s->admin, &s->now->conf->admin, &t))
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s", ignored);
    return false;
}

void transition_switch(struct super *s) {
    char line[2048];
    struct text why = text_of(line, sizeof(line));
    if (!open_sockets(s, &why)) {
        refuse_next(s, "%s", line);
        return;
    }
    listeners_taken(&s->listeners);
    s->previous = s->now;
    s->now = s->next;
    s->next = NULL;
    s->log.level = s->now->conf->log_level;
    if (!s->previous)
        admin_sockets_log(&s->admin, &s->log);
    s->proctab.reload_ms = clock_wall_us() / 1000;
    s->dirty = true;
    for (size_t i = 0; i < s->now->nworkers; i++) {
        struct worker *w = &s->now->workers[i];
        if (w->role == ROLE_HANDSHAKER && worker_runs(w) && control_send(w->control, CONTROL_SERVE) < 0)
            worker_kill(w);
    }
    wiring_serve_acme(s);
}

/* ---- after it: the old generation ends ---- */

static void announce_ready(struct super *s) {
    publish_proctab(s); /* a client that asks after READY=1 gets the same answer */
    log_msg(&s->log, LOG_LEVEL_INFO, "ready: %u handshakers, %u relays", s->now->conf->workers, s->now->conf->workers);
    notify("READY=1\nSTATUS=serving");
    heartbeat_begin(s);
    if (s->ready_fd < 0)
        return;
    if (write(s->ready_fd, "\n", 1) != 1)
        log_msg(&s->log, LOG_LEVEL_WARNING, "--ready-fd: %m");
    close(s->ready_fd);
    s->ready_fd = -1;
}

uint64_t transition_handshake_ms(const struct super *s) {
    const struct conf *c = s->previous ? s->previous->conf : NULL;
    uint64_t ms = 0;
    for (size_t i = 0; c && i < c->nlisteners; i++)
        ms = MAX(ms, MIN(c->listeners[i].handshake_ms, (uint64_t)FINISH_MAX_MS));
    return ms;
}

uint64_t transition_migrate_ms(const struct super *s) {
    return s->previous ? MIGRATE_MS + MIN(s->now->conf->drain_ms, (uint64_t)UINT32_MAX) : 0;
}

static void drain_previous(struct super *s, enum role role, uint64_t ms) {
    for (size_t i = 0; i < s->previous->nworkers; i++) {
        struct worker *w = &s->previous->workers[i];
        if (w->role == role && worker_runs(w) && control_send_drain(w->control, &(struct control_drain){DRAIN_PATIENT, ms}) < 0)
            worker_kill(w);
    }
}

/* Operators should know the limit long before it is reached. All roles run under the limit of the supervisor. */
static void log_room(struct super *s) {
    struct rlimit files;
    uint16_t workers = (uint16_t)s->now->conf->workers;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    uint64_t room = (uint64_t)workers * scoreboard_relay_cap(files.rlim_cur, workers);
    log_msg(&s->log, room < ROOM_LOW ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
            "room for %llu sessions: %u relays with %llu descriptors each (RLIMIT_NOFILE)", (unsigned long long)room, workers,
            (unsigned long long)files.rlim_cur);
}

/* Of these there is one at a time that works: the next one waits for their end. */
static bool is_single(const struct worker *w) {
    return worker_is_last(w) || w->role == ROLE_ACME || w->role == ROLE_KEYMAKER || w->role == ROLE_FLEET;
}

static void stop_singles(struct super *s) {
    for (size_t i = 0; i < s->previous->nworkers; i++)
        if (is_single(&s->previous->workers[i]))
            worker_stop(s, &s->previous->workers[i]);
}

void transition_finish(struct super *s) {
    log_room(s);
    creds_reload_serve(s);
    if (!s->previous) {
        announce_ready(s);
        return;
    }
    log_msg(&s->log, LOG_LEVEL_INFO, "generation %u serves: tls-off %s", s->now->number, s->now->version);
    stop_singles(s);
    listeners_keep(&s->listeners, &s->log, s->now->conf); /* old handshakers empty what they have, and close it */
    drain_previous(s, ROLE_HANDSHAKER, transition_handshake_ms(s));
}

void transition_tend_old(struct super *s) {
    for (size_t i = 0; s->previous && i < s->previous->nworkers; i++) {
        struct worker *w = &s->previous->workers[i];
        if (w->state == CHILD_DRAINED)
            worker_stop(s, w);
        else if (w->role == ROLE_RELAY && worker_runs(w) && !w->migration.started && w->migration.tries < MIGRATE_TRIES)
            w->migration.started = wiring_export(s, w);
    }
    wiring_serve_acme(s);
}

/* Handshakers end everything at their deadline; this is for those that do not. */
void transition_kill_finishing(struct super *s) {
    for (size_t i = 0; s->previous && i < s->previous->nworkers; i++)
        if (s->previous->workers[i].role == ROLE_HANDSHAKER || is_single(&s->previous->workers[i]))
            worker_kill(&s->previous->workers[i]);
}

/* No more sessions arrive: a relay without any is done. Those that cannot migrate end on their own, or at the deadline. */
void transition_migrate(struct super *s) {
    if (s->previous)
        drain_previous(s, ROLE_RELAY, transition_migrate_ms(s));
}

void transition_exported(struct super *s, struct worker *old, const struct control_exported *e) {
    if (old->gen != s->previous)
        return;
    s->transition.migrated += e->migrated - MIN(e->migrated, old->migration.counted);
    old->migration.counted = e->migrated;
    if (!e->broken && !old->migration.all) { /* one share is done: the next one goes to another relay */
        old->migration.started = false;
        old->migration.counted = 0;
    }
    if (!e->broken)
        return;
    old->migration = (struct migration){.tries = old->migration.tries + 1};
    log_msg(&s->log, LOG_LEVEL_WARNING,
            "relay.%u of generation %u could not migrate %u sessions: the relay that took them is gone", old->index,
            old->gen->number, e->kept);
}

void transition_leave(struct super *s) {
    for (size_t i = 0; s->previous && i < s->previous->nworkers; i++)
        worker_stop(s, &s->previous->workers[i]);
}

/* ---- the results ---- */

void transition_report_refused(struct super *s) {
    if (s->next) {
        s->generations = s->next->number; /* the next one reuses its slot: its number must have the same parity */
        generation_free(s, s->next);
    }
    s->next = NULL;
    listeners_unbind(&s->listeners);
    struct span text = span_str(s->refusal.text);
    if (!s->now) {
        report_lines(s, LOG_LEVEL_ERROR, "", text);
        return;
    }
    s->proctab.reloads_refused++;
    report_lines(s, LOG_LEVEL_ERROR, "reload refused, nothing was changed: ", text);
    command_end(s, COMMAND_RELOAD, PROCTAB_REFUSED, s->refusal.text);
    notify("READY=1\nSTATUS=serving; the last reload was refused");
}

void transition_conclude(struct super *s) {
    struct transition *c = &s->transition;
    char line[512];
    struct text t = text_of(line, sizeof(line));
    if (!s->previous)
        return;
    wiring_end_rings(s, s->previous);
    generation_free(s, s->previous);
    s->previous = NULL;
    wiring_serve_acme(s); /* its predecessor may have been the last to end */
    s->proctab.reloads++;
    s->proctab.migrated += c->migrated;
    text_addf(&t, "generation %u serves, tls-off %s; %llu sessions were migrated in %llu ms", s->now->number, s->now->version,
              (unsigned long long)c->migrated, (unsigned long long)(s->loop.now_ms - c->began_ms));
    uint64_t cut = s->proctab.cut - c->cut_before;
    if (cut)
        text_addf(&t, ", %llu could not be and were cut", (unsigned long long)cut);
    if (c->lost)
        text_addf(&t, "; %u old relays died with the sessions they had left", c->lost);
    log_msg(&s->log, cut || c->lost ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "reload done: %s", line);
    command_end(s, COMMAND_RELOAD, PROCTAB_DONE, line);
    notify("READY=1\nSTATUS=serving");
}
