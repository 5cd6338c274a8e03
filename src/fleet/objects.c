#include "fleet/objects.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/conf_store.h"

#define POLL_MS            10000
#define HINTED_MS          100 /* between two looks, however often somebody publishes */
#define CHANGES_MAX        64  /* with more all are looked at */
#define OBJECTS_KEY_MAX    (CONF_CLUSTER_MAX + SHARING_NAME_MAX + 32)
#define OBJECTS_NUMBER_MAX 24

#define TEXT_OF(x)   #x
#define NUMBER_OF(x) TEXT_OF(x)

/* A lease is of one or more names, all or none. Their keys: ARGV[3] has the names with blanks between. */
#define LEASES                                                                                                                 \
    "local leases = {}\n"                                                                                                      \
    "for name in string.gmatch(ARGV[3], '%S+') do leases[#leases + 1] = ARGV[6] .. name end\n"

/*
 * KEYS: lease that a write is compared with, object, the last fence, the version of all objects, which object has changed with
 * which version. ARGV: fence, version, data, name, channel, what keys of leases begin with. Each returns result, fence,
 * version, data. A fence is larger than the last one and not smaller than the server's clock in microseconds, so that it grows
 * over the loss of all data, too.
 */
static const char *const scripts[SHARING_OPS] = {
    [SHARING_LEASE] =
        LEASES "for _, key in ipairs(leases) do\n"
               "  if redis.call('EXISTS', key) == 1 then return {'HELD', '0', '0', string.sub(key, #ARGV[6] + 1)} end\n"
               "end\n"
               "local t = redis.call('TIME')\n"
               "local last = tonumber(redis.call('GET', KEYS[3]) or '0') or 0\n"
               "local fence = string.format('%.0f', math.max(last + 1, t[1] * 1000000 + t[2]))\n"
               "redis.call('SET', KEYS[3], fence)\n"
               "for _, key in ipairs(leases) do redis.call('SET', key, fence, 'PX', " NUMBER_OF(
                   SHARING_LEASE_MS) ") end\n"
                                     "return {'OK', fence, '0', ''}",
    [SHARING_RENEW] = LEASES
    "for _, key in ipairs(leases) do\n"
    "  if redis.call('GET', key) ~= ARGV[1] then return {'LOST', '0', '0', string.sub(key, #ARGV[6] + 1)} end\n"
    "end\n"
    "for _, key in ipairs(leases) do redis.call('PEXPIRE', key, " NUMBER_OF(SHARING_LEASE_MS) ") end\n"
                                                                                              "return {'OK', ARGV[1], '0', ''}",
    [SHARING_GIVE] = LEASES "for _, key in ipairs(leases) do\n"
                            "  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end\n"
                            "end\n"
                            "return {'OK', '0', '0', ''}",
    [SHARING_GET] = "local version = redis.call('HGET', KEYS[2], 'version')\n"
                    "if not version then return {'NONE', '0', '0', ''} end\n"
                    "if tonumber(version) <= tonumber(ARGV[2]) then return {'NONE', '0', version, ''} end\n"
                    "if redis.call('HSTRLEN', KEYS[2], 'data') > 57344 then\n"
                    "  return redis.error_reply('the object is larger than 56 KiB') end\n"
                    "return {'OK', '0', version, redis.call('HGET', KEYS[2], 'data') or ''}",
    [SHARING_PUT] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST', '0', '0', ''} end\n"
                    "local was = redis.call('HMGET', KEYS[2], 'fence', 'version')\n"
                    "if was[1] and tonumber(was[1]) > tonumber(ARGV[1]) then return {'LOST', '0', '0', ''} end\n"
                    "if was[2] and tonumber(was[2]) >= tonumber(ARGV[2]) then return {'OLD', '0', was[2], ''} end\n"
                    "redis.call('HSET', KEYS[2], 'fence', ARGV[1], 'version', ARGV[2], 'data', ARGV[3])\n"
                    "redis.call('ZADD', KEYS[5], redis.call('INCR', KEYS[4]), ARGV[4])\n"
                    "redis.call('PUBLISH', ARGV[5], '')\n"
                    "return {'OK', ARGV[1], ARGV[2], ''}",
    [SHARING_OFFER] =
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return {'LOST', '0', '0', ''} end\n"
        "redis.call('SET', KEYS[2], ARGV[3], 'PX', " NUMBER_OF(SHARING_OFFER_MS) ")\n"
                                                                                 "return {'OK', ARGV[1], '0', ''}",
    [SHARING_FIND] = "if redis.call('STRLEN', KEYS[2]) > 4096 then return {'NONE', '0', '0', ''} end\n"
                     "local data = redis.call('GET', KEYS[2])\n"
                     "if not data then return {'NONE', '0', '0', ''} end\n"
                     "return {'OK', '0', '0', data}",
};

/*
 * KEYS: the version of all objects, which object has changed with which. ARGV: a version, the most names. Returns the version,
 * whether the second key goes as far, and what has changed since.
 */
static const char changes_script[] =
    "local version = redis.call('GET', KEYS[1]) or '0'\n"
    "local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2] or '0'\n"
    "return {version, tonumber(last) == tonumber(version) and 1 or 0,\n"
    "        redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'LIMIT', 0, ARGV[2])}";

/* ---- answers ---- */

static void answer_acme(struct objects *o, const struct sharing_answer *a) {
    int err = a->number && o->acme.fd >= 0 ? sharing_send_answer(o->acme.fd, a) : 0;
    if (err < 0 && err != ERR_AGAIN) /* of one that does not come the asker has a deadline */
        channel_close(&o->acme);
}

static void answer_away(struct objects *o, uint32_t number, const char *why) {
    answer_acme(o, &(struct sharing_answer){.number = number, .result = SHARING_AWAY, .data = span_str(why)});
}

static bool read_reply_number(const redisReply *r, uint64_t *ret) {
    return r->type == REDIS_REPLY_STRING && text_parse_u64(r->str, INT64_MAX, ret) == 0;
}

/* False: a script has returned what none of ours does. */
static bool read_reply(const redisReply *r, struct sharing_answer *a) {
    static const char *const words[SHARING_RESULTS] = {
        [SHARING_OK] = "OK", [SHARING_NONE] = "NONE", [SHARING_HELD] = "HELD", [SHARING_LOST] = "LOST", [SHARING_OLD] = "OLD"};
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 4 || r->element[0]->type != REDIS_REPLY_STRING ||
        r->element[3]->type != REDIS_REPLY_STRING || !read_reply_number(r->element[1], &a->fence) ||
        !read_reply_number(r->element[2], &a->version))
        return false;
    a->data = span_of(r->element[3]->str, (size_t)r->element[3]->len);
    for (size_t i = 0; i < SHARING_AWAY && a->data.len <= SHARING_DATA_MAX; i++)
        if (strcmp(words[i], r->element[0]->str) == 0) {
            a->result = (enum sharing_result)i;
            return true;
        }
    return false;
}

static void on_reply(void *ctx, const redisReply *reply) {
    struct objects_call *c = ctx;
    struct objects *o = c->objects;
    struct sharing_answer a = {.number = c->number};
    c->objects = NULL;
    const char *refused = reply ? redis_error_of(reply) : "the store of the fleet is away";
    if (!refused && read_reply(reply, &a)) {
        answer_acme(o, &a);
        return;
    }
    char why[SERVER_WHY_MAX];
    struct text t = text_of(why, sizeof(why));
    text_add(&t, refused ? refused : "the store of the fleet holds what we have not written");
    answer_away(o, a.number, why);
}

/* ---- requests ---- */

static struct objects_call *free_call(struct objects *o) {
    for (size_t i = 0; i < SHARING_CALL_LIMIT; i++)
        if (!o->calls[i].objects)
            return &o->calls[i];
    return NULL;
}

static struct span store_key(const struct objects *o, const char *kind, struct span name, char to[static OBJECTS_KEY_MAX]) {
    struct text t = text_of(to, OBJECTS_KEY_MAX);
    text_addf(&t, "{%s}/acme/%s", o->cluster, kind);
    text_add_span(&t, name);
    return span_of(t.p, t.len);
}

static struct span number_text(uint64_t n, char to[static OBJECTS_NUMBER_MAX]) {
    (void)snprintf(to, OBJECTS_NUMBER_MAX, "%llu", (unsigned long long)n); /* has room for any */
    return span_str(to);
}

static bool is_offer(enum sharing_op op) {
    return op == SHARING_OFFER || op == SHARING_FIND;
}

static bool on_acme_request(void *ctx, struct channel *channel, struct ipc_msg *m) {
    struct objects *o = ctx;
    struct sharing_request q;
    char keys[6][OBJECTS_KEY_MAX], fence[OBJECTS_NUMBER_MAX], version[OBJECTS_NUMBER_MAX];
    (void)channel;
    if (sharing_read_request(m, &q) < 0)
        return false;
    struct objects_call *c = free_call(o);
    if (!c) {
        answer_away(o, q.number, "too much is asked of the store at once");
        return true;
    }
    const struct span none = {NULL, 0};
    const struct span words[] = {
        span_str("EVAL"),
        span_str(scripts[q.op]),
        span_str("5"),
        store_key(o, "lease/", q.lease, keys[0]),
        store_key(o, is_offer(q.op) ? "challenge/" : "object/", q.name, keys[1]),
        store_key(o, "fence", none, keys[2]),
        store_key(o, "version", none, keys[3]),
        store_key(o, "changes", none, keys[4]),
        number_text(q.fence, fence),
        number_text(q.version, version),
        q.data,
        q.name,
        span_str(o->channel),
        store_key(o, "lease/", none, keys[5]),
    };
    *c = (struct objects_call){o, q.number};
    int err = redis_send(o->redis, words, ARRAY_LEN(words), on_reply, c);
    if (err < 0) {
        c->objects = NULL;
        answer_away(o, q.number, err == ERR_CLOSED ? "the store of the fleet is away" : err_text(err));
    }
    return true;
}

/* ---- what changes ---- */

static void send_news(struct objects *o, struct span name) {
    int err = o->acme.fd >= 0 ? sharing_send_news(o->acme.fd, name) : 0;
    if (err == ERR_AGAIN)
        o->seen = 0; /* the next look says that any may have changed */
    else if (err < 0)
        channel_close(&o->acme);
}

static bool is_name_reply(const redisReply *r) {
    return r->type == REDIS_REPLY_STRING && r->len && sharing_is_name(span_of(r->str, (size_t)r->len));
}

/* One by one, when LIST has all that changed since the last look; else any may have. */
static void send_changes(struct objects *o, const redisReply *list, bool complete) {
    bool ok = complete && list->elements < CHANGES_MAX;
    for (size_t i = 0; i < list->elements && ok; i++)
        ok = is_name_reply(list->element[i]);
    for (size_t i = 0; i < list->elements && ok; i++)
        send_news(o, span_of(list->element[i]->str, (size_t)list->element[i]->len));
    if (!ok)
        send_news(o, span_of(NULL, 0));
}

/* Only what is read here is believed, and it comes in the order of questions: a lower version is an older store. */
static void take_version(struct objects *o, uint64_t version, const redisReply *list, bool complete) {
    uint64_t seen = o->seen;
    o->seen = version;
    if (version < seen)
        log_msg(o->log, LOG_LEVEL_WARNING,
                "the store of the fleet went back in time, from version %llu to %llu: its data was lost or is an old copy; "
                "certificates in use stay",
                (unsigned long long)seen, (unsigned long long)version);
    if (version != seen)
        send_changes(o, list, complete && seen && version > seen);
}

static void look_for_changes_soon(struct objects *o) {
    uint64_t now_ms = o->poll.loop->now_ms, next_ms = o->looked_ms + HINTED_MS;
    alarm_clock_set(&o->poll, next_ms > now_ms ? next_ms - now_ms : 0);
}

static void log_no_changes(struct objects *o, const char *why) {
    if (!o->refused && log_pause_over(&o->pause, o->poll.loop->now_ms)) {
        o->refused = true;
        log_msg(o->log, LOG_LEVEL_WARNING, "what has changed in the store of the fleet is not known: %s",
                why ? why : "it holds what we have not written");
    }
}

static void on_changes(void *ctx, const redisReply *reply) {
    struct objects *o = ctx;
    uint64_t version = 0;
    o->looking = false;
    if (o->hinted)
        look_for_changes_soon(o);
    o->hinted = false;
    if (reply && !redis_error_of(reply) && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
        read_reply_number(reply->element[0], &version) && reply->element[1]->type == REDIS_REPLY_INTEGER &&
        reply->element[2]->type == REDIS_REPLY_ARRAY) {
        o->refused = false;
        take_version(o, version, reply->element[2], reply->element[1]->integer == 1);
    } else if (reply) { /* what fleet.c writes may be taken all the same */
        log_no_changes(o, redis_error_of(reply));
    }
}

static void look(void *ctx) {
    struct objects *o = ctx;
    char keys[2][OBJECTS_KEY_MAX], seen[OBJECTS_NUMBER_MAX];
    const struct span none = {NULL, 0};
    const struct span words[] = {span_str("EVAL"),
                                 span_str(changes_script),
                                 span_str("2"),
                                 store_key(o, "version", none, keys[0]),
                                 store_key(o, "changes", none, keys[1]),
                                 number_text(o->seen, seen),
                                 span_str(NUMBER_OF(CHANGES_MAX))};
    alarm_clock_set(&o->poll, POLL_MS);
    if (o->looking)
        return;
    o->looked_ms = o->poll.loop->now_ms;
    o->looking = redis_send(o->redis, words, ARRAY_LEN(words), on_changes, o) == 0; /* when it is away, later */
}

/* Anybody can publish: what a message says is not looked at, it only hastens the look. */
static void on_hint(void *ctx, struct redis *r, const redisReply *m) {
    struct objects *o = ctx;
    (void)r;
    if (m->type != REDIS_REPLY_ARRAY || m->elements != 3 || m->element[2]->type != REDIS_REPLY_STRING)
        return;
    o->hinted = o->looking; /* it may have been answered before */
    if (!o->looking)
        look_for_changes_soon(o);
}

static void on_hints_up(void *ctx, struct redis *r) {
    struct objects *o = ctx;
    (void)!redis_subscribe(r, o->channel); /* without it there is the poll */
}

static const struct redis_events hint_events = {.up = on_hints_up, .push = on_hint};

/* ---- life ---- */

void objects_init(struct objects *o, struct loop *loop, unsigned kind, struct redis *redis, const struct conf_store *conf,
                  struct log *log) {
    static const struct channel_ops ops = {.rules = sharing_to_fleet, .message = on_acme_request};
    *o = (struct objects){.redis = redis, .cluster = conf->cluster, .log = log};
    struct text t = text_of(o->channel, sizeof(o->channel));
    text_addf(&t, "{%s}/acme/changed", conf->cluster);
    o->poll = (struct alarm_clock){.loop = loop, .fn = look, .ctx = o};
    channel_init(&o->acme, 1, loop, kind, &ops, o);
    redis_init(&o->hints, loop, kind + 1, conf->socket, &hint_events, o);
}

void objects_stop(struct objects *o) {
    alarm_clock_stop(&o->poll);
    redis_stop(&o->hints);
    channel_close(&o->acme);
}

int objects_take_acme(struct objects *o, int fd) {
    int err = channel_open(&o->acme, fd);
    for (size_t i = 0; i < SHARING_CALL_LIMIT; i++)
        o->calls[i].number = 0; /* nobody wants these answers any more */
    if (err == 0) {
        send_news(o, span_of(NULL, 0));
        if (o->hints.fd < 0)
            redis_start(&o->hints);
        if (o->redis->up)
            look(o);
    }
    return err;
}

void objects_up(struct objects *o) {
    if (o->acme.fd >= 0)
        look(o);
}
