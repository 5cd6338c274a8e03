#include "exporter/collector.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"

void collector_init(struct collector *c, struct log *log, const char *endpoint) {
    *c = (struct collector){.log = log};
    struct text shown = text_of(c->shown, sizeof(c->shown));
    text_add_span(&shown, span_of(endpoint, strcspn(endpoint, "?")));
}

/* ---- what is logged ---- */

static void log_collector_state(struct collector *c, uint64_t now_ms) {
    bool same = c->logged && c->logged_up == c->up && c->logged_cause == c->cause;
    if (!c->known || same || !log_pause_over(&c->pauses[c->up ? COLLECTOR_TAKES : COLLECTOR_TAKES_NOT], now_ms))
        return;
    if (c->up)
        log_msg(c->log, LOG_LEVEL_INFO, "the collector of traces takes spans at %s", c->shown);
    else
        log_msg(c->log, LOG_LEVEL_WARNING, "the collector of traces takes no spans: %s: %s", c->shown, c->why);
    c->logged = true;
    c->logged_up = c->up;
    c->logged_cause = c->cause;
}

static void log_span_drops(struct collector *c, uint64_t now_ms) {
    if (!c->unreported || !log_pause_over(&c->pauses[COLLECTOR_DROPS], now_ms))
        return;
    log_msg(c->log, LOG_LEVEL_WARNING, "%llu spans dropped: the collector takes them too slowly, or not at all",
            (unsigned long long)c->unreported);
    c->unreported = 0;
}

void collector_log(struct collector *c, uint64_t now_ms, bool end) {
    if (end)
        memset(c->pauses, 0, sizeof(c->pauses));
    log_collector_state(c, now_ms);
    log_span_drops(c, now_ms);
}

/* ---- what happens ---- */

bool collector_answered(struct collector *c, const struct delivery_result *r, uint64_t now_ms) {
    bool up = r->verdict == OTLP_TAKEN, turned = !c->known || c->up != up;
    const char *why = up ? "" : r->why;
    bool changed = turned || strcmp(c->why, why) != 0;
    if (turned) {
        c->since_s = (int64_t)(clock_wall_us() / 1000000);
        c->since_ms = now_ms;
    }
    struct text t = text_of(c->why, sizeof(c->why));
    text_add(&t, why);
    c->known = true;
    c->up = up;
    c->cause = up ? 0 : r->cause;
    c->unreported += r->dropped;
    collector_log(c, now_ms, false);
    if (up && r->why[0] && log_pause_over(&c->pauses[COLLECTOR_COMPLAINS], now_ms))
        log_msg(c->log, LOG_LEVEL_WARNING, "the collector of traces complains: %s", r->why);
    return changed;
}

void collector_dropped(struct collector *c, uint32_t spans) {
    c->unreported += spans;
}

bool collector_state(const struct collector *c, struct server_state *ret) {
    if (c->known)
        *ret = (struct server_state){.up = c->up, .since_s = c->since_s, .since_ms = c->since_ms, .why = span_str(c->why)};
    return c->known;
}
