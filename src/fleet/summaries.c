#include "fleet/summaries.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/sealed.h"
#include "base/text.h"
#include "wire/event.h"
#include "wire/sharing.h"
#include "wire/summary.h"

#define SUMMARIES_KEY_MAX 256
#define TTL               "5000" /* milliseconds */

/*
 * KEYS: who is there, with the time of the server at which each was last (so no clock of an instance matters), and our own
 * summary. ARGV: that, its life in milliseconds, our number, what keys of summaries begin with, bytes of an answer, and of the
 * longest summary. Anyone who is silent for a life is forgotten. Back come the number of those that are there, and of the
 * others as many summaries as fit.
 */
static const char script[] = "local time = redis.call('TIME')\n"
                             "local now = time[1] * 1000 + math.floor(time[2] / 1000)\n"
                             "redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])\n"
                             "redis.call('ZADD', KEYS[1], now, ARGV[3])\n"
                             "redis.call('PEXPIRE', KEYS[1], ARGV[2])\n"
                             "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2])\n"
                             "local ids = redis.call('ZREVRANGE', KEYS[1], 0, -1)\n"
                             "local found, room = {#ids}, tonumber(ARGV[5])\n"
                             "for _, id in ipairs(ids) do\n"
                             "  local one = id ~= ARGV[3] and redis.pcall('GET', ARGV[4] .. id)\n"
                             "  if type(one) == 'string' and #one <= tonumber(ARGV[6]) then\n"
                             "    if #one > room then break end\n"
                             "    room = room - #one\n"
                             "    found[#found + 1] = one\n"
                             "  end\n"
                             "end\n"
                             "return found\n";

/* ---- out of the store ---- */

/*
 * However many instances there are, together they take no more than half of what one core of the server gives: each asks less
 * often, and where that is not enough, for less.
 */
static void set_pace(struct summaries *s, uint64_t instances, uint64_t len) {
    uint64_t all = MAX(instances, 1);
    s->next_ms = s->asked_ms + MIN(all * len / SUMMARIES_BYTES_A_MS, (uint64_t)SUMMARIES_PAUSE_MS);
    s->room = MIN((uint64_t)SUMMARIES_PAUSE_MS * SUMMARIES_BYTES_A_MS / all, (uint64_t)SUMMARIES_ROOM);
}

/* The first one is a number, and the others are strings: no matter who wrote them. */
static bool is_answer(const redisReply *reply, size_t *ret_len) {
    *ret_len = 4;
    bool ok = reply->type == REDIS_REPLY_ARRAY && reply->elements && reply->element[0]->type == REDIS_REPLY_INTEGER;
    for (size_t i = 1; ok && i < reply->elements; i++) {
        ok = reply->element[i]->type == REDIS_REPLY_STRING;
        *ret_len += ok ? 4 + reply->element[i]->len : 0;
    }
    return ok;
}

/* What fleet.c writes may be taken, and this not. */
static void log_refusal(struct summaries *s, const char *why) {
    if (!s->refused && log_pause_over(&s->pause, s->observer.loop->now_ms)) {
        s->refused = true;
        log_msg(s->log, LOG_LEVEL_WARNING, "limits are not shared with the fleet: its store: %s",
                why ? why : "it holds what we have not written");
    }
}

static void on_summaries_answer(void *ctx, const redisReply *reply) {
    struct summaries *s = ctx;
    s->under_way = false;
    size_t len;
    if (!reply || s->observer.fd < 0) /* the store is away: fleet.c learns of it by its own writes */
        return;
    if (!is_answer(reply, &len)) {
        log_refusal(s, redis_error_of(reply));
        return;
    }
    s->refused = false;
    set_pace(s, (uint64_t)MAX(reply->element[0]->integer, 0), len);
    uint8_t *bytes = malloc(len);
    struct wr w = wr_of(bytes, bytes ? len : 0);
    wr_u32(&w, (uint32_t)reply->element[0]->integer);
    for (size_t i = 1; i < reply->elements && bytes; i++) {
        wr_u32(&w, (uint32_t)reply->element[i]->len);
        wr_bytes(&w, reply->element[i]->str, reply->element[i]->len);
    }
    if (bytes && wr_end(&w))
        (void)!sharing_send_bytes(s->observer.fd, SHARING_SUMMARIES, wr_written(&w)); /* there is another one in a second */
    free(bytes);
}

/* ---- into it ---- */

static void put_summary(struct summaries *s, struct span own, uint64_t instance) {
    char id[17], here[SUMMARIES_KEY_MAX], begin[SUMMARIES_KEY_MAX], key[SUMMARIES_KEY_MAX], room[24], longest[16];
    struct text t = text_of(id, sizeof(id)), h = text_of(here, sizeof(here)), b = text_of(begin, sizeof(begin)),
                k = text_of(key, sizeof(key)), m = text_of(room, sizeof(room)), l = text_of(longest, sizeof(longest));
    text_addf(&t, "%016llx", (unsigned long long)instance);
    text_addf(&h, "{%s}/clients", s->cluster);
    text_addf(&b, "{%s}/clients/", s->cluster);
    text_addf(&k, "%s%s", begin, id);
    s->asked_ms = s->observer.loop->now_ms;
    text_addf(&m, "%llu", (unsigned long long)s->room);
    text_addf(&l, "%u", (unsigned)SUMMARY_SEALED_MAX);
    const struct span words[] = {span_str("EVAL"), span_str(script), span_str("2"),   span_str(here), span_str(key),    own,
                                 span_str(TTL),    span_str(id),     span_str(begin), span_str(room), span_str(longest)};
    s->under_way = redis_send(s->redis, words, ARRAY_LEN(words), on_summaries_answer, s) == 0;
}

static bool on_observer_message(void *ctx, struct channel *c, struct ipc_msg *m) {
    struct summaries *s = ctx;
    struct span own;
    if (sealed_map(m->fds[0], SUMMARY_SEALED_AT, SUMMARY_SEALED_MAX, &own) < 0)
        return false;
    struct rd r = rd_of(own);
    if (!s->under_way && c->loop->now_ms >= s->next_ms) /* a server that is slow is not asked more */
        put_summary(s, own, rd_u64(&r));
    sealed_unmap(own);
    return true;
}

void summaries_init(struct summaries *s, struct redis *redis, const char *cluster, struct loop *loop, unsigned kind,
                    struct log *log) {
    static const struct channel_ops ops = {.rules = sharing_from_observer, .message = on_observer_message};
    *s = (struct summaries){.redis = redis, .cluster = cluster, .room = SUMMARIES_ROOM, .log = log};
    channel_init(&s->observer, 1, loop, kind, &ops, s);
}
