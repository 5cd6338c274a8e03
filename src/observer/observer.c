#include "observer/observer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "observer/admin.h"
#include "observer/fields.h"
#include "observer/live.h"
#include "observer/no_http.h"
#include "observer/resources.h"
#include "observer/sampling.h"
#include "observer/sink.h"
#include "observer/sources.h"
#include "observer/summary_seal.h"
#include "observer/tracing.h"
#include "process/role.h"
#include "wire/control_creds.h"

#define SWEEP_MS        100
#define SECOND_MS       1000
#define SWEEP_LIMIT     8192 /* events a ring a sweep: one that never ends must not keep the supervisor waiting */
#define WAIT_MS         10   /* for a log that took nothing */
#define OBSERVER_END_MS 1000 /* for one that takes nothing at the end */
#define TRACES_END_MS   500  /* for readers at the end */
#define OLD_SWEEPS      64   /* for a ring whose writer is gone: more than any ring holds */

enum sweep { SWEPT, SWEEP_MORE, SWEEP_WAITS };

enum { KIND_RELAY = ROLE_CONTROL + 1, KIND_HTTP, KIND_NO_HTTP, KIND_ACME, KIND_STORE, KIND_EXPORTER };
enum { TIMER_SWEEP, TIMER_SECOND, TIMER_HTTP, TIMER_SESSIONS };

struct observer {
    struct child child;
    const struct format_names *names;
    struct conf *conf;
    struct loop loop;
    struct wtimer sweeps;
    struct wtimer second;
    struct admin admin;
    uint64_t swept_ms;
    struct log_counts log;
    uint64_t lost_reported; /* of sink.lost */
    struct no_http no_http;
    struct sources sources;
    struct sampling sampling;
    struct summary_seal seal; /* of what goes to other instances of a fleet */
    struct sink sink;
    struct fields fields;
};

/* ---- lines ---- */

static void log_fields(struct observer *o) {
    if (o->fields.level <= o->conf->log_level)
        sink_put(&o->sink, &o->fields);
}

/* Failures that are cheap to cause. A session that moved bytes is always logged: the log accounts for all of them. */
static bool is_repetitive(const struct event *e) {
    return e->kind == EVENT_FAILURE || (e->kind == EVENT_SESSION && e->reason && e->bytes_in == 0 && e->bytes_out == 0);
}

static bool on_ring_event(void *ctx, const struct event *e) {
    struct observer *o = ctx;
    tracing_event(o->admin.tracing, e);
    if (e->kind == EVENT_TRACE)
        return true;
    o->log.events++;
    bool exported = spans_want(&o->admin.spans, e), logged = event_level(e) <= o->conf->log_level;
    if (!exported && !logged)
        return true;
    if (is_repetitive(e) && !sampling_pass(&o->sampling, service_index(o->conf, e->service), e->reason, o->loop.now_ms))
        return true;
    if (exported)
        spans_put(&o->admin.spans, e, o->loop.now_ms);
    if (!logged)
        return true;
    fields_of_event(e, o->names, &o->fields);
    log_fields(o);
    return sink_has_room(&o->sink);
}

/* Of a ring that is not kept: what finds no room is lost. */
static bool on_last_event(void *ctx, const struct event *e) {
    (void)on_ring_event(ctx, e);
    return true;
}

static void on_sampled(void *ctx, const struct sampled *s) {
    struct observer *o = ctx;
    fields_of_sampled(s, clock_wall_us(), o->child.setup.index, o->conf, &o->fields);
    if (o->fields.level <= o->conf->log_level) /* else the log would not have had them, and spans alone are omitted */
        o->log.sampled += s->count;
    log_fields(o);
}

/* A warning in the name of the process it is about. */
static void warn(struct observer *o, const struct control_peer *who, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void warn(struct observer *o, const struct control_peer *who, const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    struct event e = {.kind = EVENT_LINE, .wall_us = clock_wall_us(), .role = who->role, .index = who->index};
    e.level = LOG_LEVEL_WARNING;
    e.text = span_of(line, n < 0 ? 0 : MIN((size_t)n, sizeof(line) - 1));
    (void)on_ring_event(o, &e);
}

static void warn_own(struct observer *o, const char *what, const char *why) {
    struct control_peer self = {ROLE_OBSERVER, o->child.setup.index, 0};
    warn(o, &self, "%s: %s", what, why);
}

/* ---- sweeps ---- */

static void report_losses(struct observer *o, struct source *s, bool now) {
    uint64_t dropped, broken;
    if (!source_losses(s, o->loop.now_ms, now, &dropped, &broken))
        return;
    o->log.broken += broken;
    if (dropped > 0)
        warn(o, &s->who, "%llu log events dropped: the ring was full", (unsigned long long)dropped);
    if (broken > 0)
        warn(o, &s->who, "%llu log events dropped: not readable", (unsigned long long)broken);
}

/* Tries to write how much could not be written; a report that is lost as well is tried again, and not counted. */
static void report_lost_lines(struct observer *o) {
    uint64_t lost = o->sink.lost;
    int error = o->sink.error;
    o->log.lost = lost;
    o->log.lost_unreported = lost - o->lost_reported;
    if (o->log.lost_unreported == 0)
        return;
    o->log.lost_error = error;
    struct control_peer self = {ROLE_OBSERVER, o->child.setup.index, 0};
    warn(o, &self, "%llu log lines lost: %s", (unsigned long long)o->log.lost_unreported, sink_error_text(error));
    sink_flush(&o->sink);
    if (o->sink.lost > lost) {
        o->sink.lost = lost;
        return;
    }
    o->lost_reported = lost;
    o->log.lost_unreported = 0;
}

/* While the log takes nothing, events wait in the rings; their writers drop what finds no room there. */
static enum sweep sweep_rings(struct observer *o, bool last) {
    enum sweep result = SWEPT;
    o->loop.now_ms = o->swept_ms = clock_mono_ms();
    for (size_t i = 0; i < o->sources.n; i++)
        o->log.dropped += source_dropped(&o->sources.list[i]);
    if (!sink_has_room(&o->sink)) {
        o->log.waits_since_ms = o->log.waits_since_ms ? o->log.waits_since_ms : o->loop.now_ms;
        return SWEEP_WAITS;
    }
    o->log.waits_since_ms = 0;
    sampling_turn(&o->sampling, o->loop.now_ms, on_sampled, o);
    for (size_t i = 0; i < o->sources.n && sink_has_room(&o->sink); i++) {
        if (source_read(&o->sources.list[i], SWEEP_LIMIT, on_ring_event, o))
            result = SWEEP_MORE;
        report_losses(o, &o->sources.list[i], last);
    }
    if (last)
        sampling_end(&o->sampling, o->loop.now_ms, on_sampled, o);
    sink_flush(&o->sink);
    report_lost_lines(o);
    spans_flush(&o->admin.spans, o->loop.now_ms);
    tracing_flush(o->admin.tracing);
    return sink_has_room(&o->sink) ? result : SWEEP_WAITS;
}

/* Comes before every answer of the admin sockets: a long row of requests delays no ring. */
static void keep_up(void *ctx) {
    struct observer *o = ctx;
    if (clock_mono_ms() >= o->swept_ms + SWEEP_MS)
        (void)sweep_rings(o, false); /* the timer comes for the rest */
}

/* No role has business on the admin socket: it may have been taken over, and would be the operator. */
static bool is_barred_process(void *ctx, int32_t pid) {
    struct observer *o = ctx;
    char text[64];
    struct text t = text_of(text, sizeof(text));
    if (!stats_view_is_own_process(&o->admin.stats_view, pid))
        return false;
    text_addf(&t, "refused, it comes from our own process %d", (int)pid);
    warn_own(o, "a connection to the admin socket", text);
    return true;
}

static void on_sweep_timer(void *ctx, struct wtimer *t) {
    static const unsigned pauses_ms[] = {[SWEPT] = SWEEP_MS, [SWEEP_MORE] = 0, [SWEEP_WAITS] = WAIT_MS};
    struct observer *o = ctx;
    wheel_arm(&o->loop.wheel, t, o->loop.now_ms + pauses_ms[sweep_rings(o, false)]);
}

/* What this instance's clients have goes to the others, and comes from them in the answer. */
static void share_clients(struct observer *o) {
    struct instances *p = &o->admin.instances;
    if (!o->conf->store.socket)
        return;
    const struct buf *own = instances_write_own(p, &o->admin.stats_view, o->loop.now_ms);
    struct span sealed = own ? summary_seal_close(&o->seal, p->own.instance, buf_span(own)) : span_of(NULL, 0);
    if (sealed.len)
        shared_store_send(&o->admin.store, sealed);
    instances_second(p, &o->child.log, o->loop.now_ms);
}

static void on_summaries(void *ctx, struct span answer) {
    struct observer *o = ctx;
    bool limits = conf_has_fleet_limits(o->conf);
    instances_answer(&o->admin.instances, answer, &o->admin.stats_view, limits ? &o->child.scoreboard : NULL, o->loop.now_ms);
}

static void admin_second(struct admin *a) {
    stats_publish_self(&a->child->stats);
    stats_view_second(&a->stats_view, a->loop->now_ms);
    keylog_notice_second(a);
    live_second(a->live);
    tracing_second(a->tracing);
    http_second(a->http);
}

static void on_second_timer(void *ctx, struct wtimer *t) {
    struct observer *o = ctx;
    admin_second(&o->admin);
    share_clients(o);
    wheel_arm(&o->loop.wheel, t, o->loop.now_ms + SECOND_MS);
}

/* ---- the supervisor ---- */

/* Everything in a ring that has no writer any more. */
static void read_rest(struct observer *o, struct source *s) {
    for (unsigned i = 0; i < OLD_SWEEPS && source_read(s, SWEEP_LIMIT, on_last_event, o); i++)
        continue;
    report_losses(o, s, true);
}

/* What its predecessor still holds comes first. */
static int take_ring(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    struct control_peer who;
    struct ring ring;
    int err = control_read_peer(m, &who);
    if (err < 0)
        return err;
    struct source *s = sources_of(&o->sources, &who);
    err = s ? ring_map(m->fds[0], &ring) : ERR_LIMIT;
    if (err < 0) {
        warn(o, &who, "its log ring is not usable: %s", err_describe(err, errno));
        return 0;
    }
    read_rest(o, s);
    ring_unmap(&s->ring);
    s->ring = ring;
    return 0;
}

static int end_ring(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    struct control_peer who;
    int err = control_read_peer(m, &who);
    struct source *s = err == 0 ? sources_of(&o->sources, &who) : NULL;
    if (s) {
        read_rest(o, s);
        sources_drop(&o->sources, s);
    }
    return err;
}

/* Without the library the admin sockets have one answer for all, and everything else goes on. */
static int take_admin(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    enum admin_kind kind;
    int err = control_read_admin(m, &kind);
    bool serves = !o->no_http.why[0];
    if (err < 0)
        return err;
    tracing_serve(o->admin.tracing);
    if (!serves)
        warn_own(o, "an admin socket is not served", o->no_http.why);
    err = serves ? http_listen(o->admin.http, kind, ipc_take(m, 0)) : no_http_listen(&o->no_http, kind, ipc_take(m, 0));
    if (err < 0)
        warn_own(o, "an admin socket is not served", err_describe(err, errno));
    return 0;
}

/* The first one comes right after SETUP. What happened before belongs into the old file; the rest comes with the next sweep. */
static int take_log(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    if (o->child.serving)
        (void)sweep_rings(o, false);
    sink_use(&o->sink, ipc_take(m, 0));
    return 0;
}

static int take_proctab(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    if (stats_view_take_proctab(&o->admin.stats_view, m->fds[0]) < 0)
        warn_own(o, "the process table", "not readable; the status does not list processes");
    return 0;
}

static int show_creds(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    struct control_creds c;
    if (control_read_creds(m, &c) == 0)
        o->admin.managed.ocsp.shown = c.set;
    if (stats_view_take_creds(&o->admin.stats_view, m->fds[0]) < 0)
        warn_own(o, "the credential store", "not readable; the status does not list certificates");
    return 0;
}

static int show_access(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    if (stats_view_take_access(&o->admin.stats_view, m->fds[0]) < 0)
        warn_own(o, "the access table", "not readable; the status does not list access lists");
    return 0;
}

static int take_drain(void *ctx, struct ipc_msg *m, struct text *why) {
    struct observer *o = ctx;
    (void)sweep_rings(o, true);
    return control_send_number(o->child.control, CONTROL_DRAINED, 0);
}

static int link_observer_to_relay(void *ctx, const struct control_peer *peer, int fd) {
    struct observer *o = ctx;
    return sessions_take_link(&o->admin.sessions, peer, fd);
}

static int link_observer_to_acme(void *ctx, const struct control_peer *peer, int fd) {
    struct observer *o = ctx;
    return managed_view_take_link(&o->admin.managed, fd);
}

static int link_observer_to_fleet(void *ctx, const struct control_peer *peer, int fd) {
    struct observer *o = ctx;
    return shared_store_take_link(&o->admin.store, fd);
}

static int take_exporter(void *ctx, const struct control_peer *peer, int fd) {
    struct observer *o = ctx;
    return spans_take_link(&o->admin.spans, fd);
}

/* ---- life ---- */

/* As it takes rights, the target is opened before the sandbox; a log file comes with the first message. */
static int open_log_sink(struct observer *o, struct text *why) {
    struct text no_http = text_of(o->no_http.why, sizeof(o->no_http.why));
    if (mhd_load(&no_http) < 0 && !no_http.len)
        text_add(&no_http, "libmicrohttpd is not usable");
    return sink_open(&o->sink, o->conf, why);
}

static bool start_admin(struct observer *o) {
    const struct http_setup setup = {&o->loop, KIND_HTTP, TIMER_HTTP, admin_answer, keep_up, is_barred_process, o, &o->admin};
    o->admin = (struct admin){
        .conf = o->conf,
        .child = &o->child,
        .loop = &o->loop,
        .names = o->names,
        .log = &o->log,
    };
    no_http_start(&o->no_http, &o->loop, KIND_NO_HTTP);
    sessions_start(&o->admin, KIND_RELAY, TIMER_SESSIONS);
    bool ok = stats_view_init(&o->admin.stats_view, o->child.stats_fd);
    if (o->child.stats_fd >= 0)
        close(o->child.stats_fd);
    o->admin.live = live_new(&o->admin);
    o->admin.tracing = tracing_new(&o->admin);
    ok = managed_view_start(&o->admin.managed, o->conf, &o->loop, KIND_ACME) && ok;
    shared_store_start(&o->admin.store, o->conf, &o->loop, KIND_STORE);
    spans_start(&o->admin.spans, o->conf, &o->child, &o->loop, KIND_EXPORTER);
    o->admin.store.summaries = on_summaries;
    o->admin.store.ctx = o;
    instances_init(&o->admin.instances, stats_instance(&o->child.stats), &o->seal);
    return ok && o->admin.live && o->admin.tracing && http_new(&setup, &o->admin.http) == 0;
}

static int observer_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct observer *o = ctx;
    int err = open_log_sink(o, why);
    if (err == 0 && o->conf->store.socket)
        err = summary_seal_init(&o->seal, &o->conf->store, why);
    if (err < 0)
        return err;
    if (!start_admin(o))
        return ERR_NOMEM;
    sampling_init(&o->sampling, (uint16_t)o->conf->nservices);
    struct source *own =
        sources_of(&o->sources, &(struct control_peer){ROLE_OBSERVER, o->child.setup.index, o->child.setup.generation});
    MUST(own);
    own->ring = o->child.log.ring;
    return 0;
}

static enum step observer_go(void *ctx, struct text *why) {
    struct observer *o = ctx;
    if (o->conf->log_target == LOG_TO_FILE && o->sink.fd < 0) {
        text_add(why, "observer: the log file is missing");
        return STEP_FAILED;
    }
    wheel_arm(&o->loop.wheel, &o->sweeps, clock_mono_ms());
    wheel_arm(&o->loop.wheel, &o->second, clock_mono_ms()); /* what moves from now on counts */
    return STEP_DONE;
}

/* A slow log gets what there is; one that is blocked does not delay the end. */
static void last_sweeps(struct observer *o) {
    uint64_t end_ms = clock_mono_ms() + OBSERVER_END_MS;
    while ((sweep_rings(o, true) != SWEPT || o->sink.batch_len > 0) && o->loop.now_ms < end_ms)
        sink_wait(&o->sink, WAIT_MS);
}

/* Who traces a client gets what has happened to it up to here; the next observer has the rest. */
static void last_traces(struct observer *o) {
    uint64_t end_ms = clock_mono_ms() + TRACES_END_MS;
    while (o->admin.tracing && o->admin.http && tracing_waits(o->admin.tracing) && clock_mono_ms() < end_ms) {
        http_run(o->admin.http);
        (void)poll(NULL, 0, 1); /* a reader reads */
    }
    tracing_free(o->admin.tracing);
}

/* In the order of their making; each part takes being unmade before it was made. */
static void observer_finish(void *ctx) {
    struct observer *o = ctx;
    last_sweeps(o); /* what is written after this is read by the next observer */
    last_traces(o);
    live_free(o->admin.live);
    sessions_fini(&o->admin.sessions);
    http_free(o->admin.http);
    no_http_fini(&o->no_http);
    managed_view_fini(&o->admin.managed);
    shared_store_fini(&o->admin.store);
    spans_fini(&o->admin.spans);
    instances_fini(&o->admin.instances);
    summary_seal_fini(&o->seal);
    stats_view_fini(&o->admin.stats_view);
    sink_close(&o->sink);
    if (o->sink.lost > o->lost_reported) /* our ring is read by the next observer */
        log_msg(&o->child.log, LOG_LEVEL_WARNING, "%llu log lines lost: %s",
                (unsigned long long)(o->sink.lost - o->lost_reported), sink_error_text(o->sink.error));
    sampling_fini(&o->sampling);
    sources_fini(&o->sources);
    loop_fini(&o->loop);
}

static struct observer observer_process;

static const struct role_message observer_messages[] = {
    {CONTROL_RING, take_ring},       {CONTROL_RING_END, end_ring},  {CONTROL_ADMIN, take_admin},
    {CONTROL_LOG, take_log},         {CONTROL_DRAIN, take_drain},   {CONTROL_CREDS, show_creds},
    {CONTROL_PROCTAB, take_proctab}, {CONTROL_ACCESS, show_access}, {0, NULL},
};

static const struct role_link observer_links[] = {{ROLE_RELAY, link_observer_to_relay},
                                                  {ROLE_ACME, link_observer_to_acme},
                                                  {ROLE_FLEET, link_observer_to_fleet},
                                                  {ROLE_EXPORTER, take_exporter},
                                                  {0, NULL}};

static const struct loop_timer observer_timers[] = {
    {TIMER_SWEEP, on_sweep_timer, offsetof(struct observer, sweeps)},
    {TIMER_SECOND, on_second_timer, offsetof(struct observer, second)},
    {0, NULL, 0},
};

static const struct role_table observer_role = {
    .self = &observer_process,
    .child = &observer_process.child,
    .loop = &observer_process.loop,
    .conf = &observer_process.conf,
    .messages = observer_messages,
    .links = observer_links,
    .timers = observer_timers,
    .prepare = observer_prepare,
    .go = observer_go,
    .finish = observer_finish,
};

int observer_run(int control, const struct format_names *names) {
    observer_process.names = names;
    signal(SIGPIPE, SIG_IGN);
    return role_run(&observer_role, control);
}
