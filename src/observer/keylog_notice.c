#include "observer/keylog_notice.h"

#include "base/clock.h"
#include "conf/keylog.h"
#include "observer/admin.h"
#include "observer/json.h"

#define EACH_MS  60000
#define LINE_MAX 512

static bool is_keylog_written(const struct admin *a) {
    if (!a->stats_view.stats.head) /* handshakers' counters cannot be seen: then the configuration counts */
        return keylog_is_on(&a->conf->keylog, clock_wall_us());
    return stats_view_process_sum(&a->stats_view, STATS_KEYLOG_ON) > 0;
}

/* Where it is the business of an earlier generation, the present one's configuration knows neither file nor end. */
static void describe_keylog(const struct admin *a, struct text *t) {
    const struct conf_keylog *k = &a->conf->keylog;
    char until[CLOCK_TEXT_MAX];
    text_addf(t, "the key log is on: secrets of TLS connections of %zu %s are written to %s until %s, %llu so far", k->nclients,
              k->nclients == 1 ? "network" : "networks", k->file ? k->file : "a file of the configuration before",
              k->file ? clock_text(k->until_s * 1000000, until) : "its last handshake has ended",
              (unsigned long long)stats_view_process_sum(&a->stats_view, STATS_KEYLOG_LINES));
}

void keylog_notice_second(struct admin *a) {
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    struct log_pause *p = &a->keylog.log;
    bool on = is_keylog_written(a);
    if (on && log_pause_over_each(p, a->loop->now_ms, EACH_MS)) {
        describe_keylog(a, &t);
        log_msg(&a->child->log, LOG_LEVEL_WARNING, "%s", line);
    } else if (!on && p->next_ms) {
        log_msg(&a->child->log, LOG_LEVEL_WARNING, "the key log is off: no more secrets are written");
        *p = (struct log_pause){.next_ms = 0};
    }
}

void keylog_notice_status(struct admin *a, json_t *degraded) {
    char line[LINE_MAX];
    struct text t = text_of(line, sizeof(line));
    if (!is_keylog_written(a))
        return;
    describe_keylog(a, &t);
    json_append_text(degraded, line);
}
