#include "fleet/fleet.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/rand.h"
#include "fleet/objects.h"
#include "fleet/redis.h"
#include "fleet/summaries.h"
#include "wire/sharing.h"

#define BEAT_MS      2000
#define BEAT_TTL     "10000" /* milliseconds: five beats */
#define KEY_TEXT_MAX 512

enum fleet_kind { FLEET_REDIS = ROLE_CONTROL + 1, FLEET_OBSERVER, FLEET_OBJECTS, FLEET_HINTS };

/* That the store can be used is seen by using it: once in a while this instance writes that it is there, by a script, as all
 * that is shared. */
static const char beat_script[] = "return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";

struct fleet {
    struct child child;
    struct conf *conf;
    struct loop loop;
    struct redis redis;
    struct objects objects;
    struct alarm_clock beat;
    char instance[17]; /* our name in the fleet, new with each start */
    bool known;        /* the state below has been looked for at all */
    bool up;
    int64_t since_s;
    uint64_t since_ms;
    char why[SERVER_WHY_MAX + 1];
    struct summaries summaries; /* with the link to the observer */
};

/* ---- how it stands ---- */

static void report_state(struct fleet *f) {
    const struct server_state s = {.up = f->up, .since_s = f->since_s, .since_ms = f->since_ms, .why = span_str(f->why)};
    struct channel *observer = &f->summaries.observer;
    if (observer->fd >= 0 && f->known && server_state_send(observer->fd, SHARING_STATE, &s) < 0)
        channel_close(observer); /* the supervisor links its successor */
    if (f->objects.acme.fd >= 0 && f->known && server_state_send(f->objects.acme.fd, SHARING_STATE, &s) < 0)
        channel_close(&f->objects.acme);
}

/* A store that stays away is logged once, and again when the reason is another one. */
static void set_store_state(struct fleet *f, bool up, const char *why) {
    if (f->known && f->up == up && (up || strcmp(f->why, why) == 0))
        return;
    if (up)
        log_msg(&f->child.log, LOG_LEVEL_INFO, "the store of the fleet answers at %s", f->conf->store.socket);
    else
        log_msg(&f->child.log, LOG_LEVEL_WARNING, "the store of the fleet is away: %s: %s", f->conf->store.socket, why);
    if (!f->known || f->up != up) {
        f->since_s = (int64_t)(clock_wall_us() / 1000000);
        f->since_ms = clock_mono_ms();
    }
    struct text t = text_of(f->why, sizeof(f->why));
    text_add(&t, why);
    f->known = true;
    f->up = up;
    report_state(f);
}

/* ---- the beat ---- */

static void on_beat_answer(void *ctx, const redisReply *reply) {
    struct fleet *f = ctx;
    const char *refused = reply ? redis_error_of(reply) : NULL;
    if (reply) /* else on_away() has said it */
        set_store_state(f, !refused, refused ? refused : "");
}

static void beat(void *ctx) {
    struct fleet *f = ctx;
    char key[KEY_TEXT_MAX], pid[32];
    struct text k = text_of(key, sizeof(key)), p = text_of(pid, sizeof(pid));
    text_addf(&k, "{%s}/instance/%s", f->conf->store.cluster, f->instance);
    text_addf(&p, "%lld", (long long)(clock_wall_us() / 1000000));
    const struct span words[] = {span_str("EVAL"), span_str(beat_script), span_str("1"),
                                 span_str(key),    span_str(pid),         span_str(BEAT_TTL)};
    if (redis_send(&f->redis, words, ARRAY_LEN(words), on_beat_answer, f) == 0)
        alarm_clock_set(&f->beat, BEAT_MS); /* else with the next connection */
}

static void on_up(void *ctx, struct redis *r) {
    struct fleet *f = ctx;
    (void)r;
    beat(f);
    objects_up(&f->objects);
}

static void on_away(void *ctx, struct redis *r, const char *why) {
    (void)r;
    set_store_state(ctx, false, why);
}

static const struct redis_events fleet_events = {.up = on_up, .away = on_away, .push = NULL};

/* ---- life ---- */

static int link_fleet_to_observer(void *ctx, const struct control_peer *peer, int fd) {
    struct fleet *f = ctx;
    (void)peer;
    int err = channel_open(&f->summaries.observer, fd);
    if (err == 0)
        report_state(f);
    return err;
}

static int link_fleet_to_acme(void *ctx, const struct control_peer *peer, int fd) {
    struct fleet *f = ctx;
    (void)peer;
    int err = objects_take_acme(&f->objects, fd);
    if (err == 0)
        report_state(f);
    return err;
}

static int fleet_prepare(void *ctx, struct sandbox *sandbox, struct text *why) {
    struct fleet *f = ctx;
    uint8_t id[8];
    struct text t = text_of(f->instance, sizeof(f->instance));
    (void)sandbox;
    rand_bytes(id, sizeof(id));
    text_add_hex(&t, span_of(id, sizeof(id)));
    int err = redis_lib_load(why);
    if (err < 0)
        return err;
    f->beat = (struct alarm_clock){.loop = &f->loop, .fn = beat, .ctx = f};
    redis_init(&f->redis, &f->loop, FLEET_REDIS, f->conf->store.socket, &fleet_events, f);
    summaries_init(&f->summaries, &f->redis, f->conf->store.cluster, &f->loop, FLEET_OBSERVER, &f->child.log);
    objects_init(&f->objects, &f->loop, FLEET_OBJECTS, &f->redis, &f->conf->store, &f->child.log);
    return 0;
}

/* Serves at once: nobody waits for the store. */
static enum step fleet_go(void *ctx, struct text *why) {
    struct fleet *f = ctx;
    (void)why;
    redis_start(&f->redis);
    return STEP_DONE;
}

static void fleet_finish(void *ctx) {
    struct fleet *f = ctx;
    objects_stop(&f->objects);
    redis_stop(&f->redis);
    channel_close(&f->summaries.observer);
}

static struct fleet fleet_process;
static const struct role_link fleet_links[] = {
    {ROLE_OBSERVER, link_fleet_to_observer}, {ROLE_ACME, link_fleet_to_acme}, {0, NULL}};
static const struct loop_timer fleet_timers[] = {{0, alarm_clock_ring, 0}, {0, NULL, 0}};

const struct role_table fleet_role = {
    .self = &fleet_process,
    .child = &fleet_process.child,
    .loop = &fleet_process.loop,
    .conf = &fleet_process.conf,
    .links = fleet_links,
    .timers = fleet_timers,
    .prepare = fleet_prepare,
    .go = fleet_go,
    .finish = fleet_finish,
};
