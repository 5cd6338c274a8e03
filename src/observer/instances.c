#include "observer/instances.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "observer/digest.h"
#include "observer/exposition.h"
#include "observer/json.h"
#include "observer/summary_seal.h"
#include "shm/stats_clients.h"
#include "wire/event.h"

#define REFUSED_MS  60000
#define APART_S     60        /* of two machines' clocks, and of a summary on its way */
#define REMEMBER_MS 600000    /* of one that is silent its last number is kept so long: older ones are refused by their time */
#define STORE_BYTES 380000000 /* of all answers together, between two of them: fleet/summaries.h */
#define ENTRY_BYTES 40
#define CLIENTS_MIN 50 /* in a summary, however many instances there are */

/* "host/0123456789abcdef": who it is on a machine with several of them. */
static void name_own(struct instance *own) {
    struct utsname u;
    struct text t = text_of(own->name, sizeof(own->name));
    bool known = uname(&u) == 0 && u.nodename[0];
    for (const char *c = known ? u.nodename : "unknown"; *c && t.len < SUMMARY_NAME_MAX - 17; c++)
        text_add_span(&t, span_of(*c > ' ' && *c <= '~' ? c : "_", 1));
    text_addf(&t, "/%016llx", (unsigned long long)own->instance);
}

void instances_init(struct instances *p, uint64_t instance, const struct summary_seal *seal) {
    *p = (struct instances){.seal = seal, .own = {.instance = instance}};
    name_own(&p->own);
    buf_init(&p->own.bytes, SUMMARY_MAX);
}

void instances_fini(struct instances *p) {
    for (size_t i = 0; i < p->n; i++)
        buf_fini(&p->others[i].bytes);
    buf_fini(&p->own.bytes);
    p->n = 0;
}

/* Where there are more than a hundred instances each reports fewer clients: what all read together stays the same. */
static size_t most_clients(const struct instances *p) {
    uint64_t fit = STORE_BYTES / ENTRY_BYTES / MAX(p->all * p->all, (uint64_t)1);
    return MAX(MIN(fit, (uint64_t)SUMMARY_CLIENTS), (uint64_t)CLIENTS_MIN);
}

static uint64_t wall_s(void) {
    return clock_wall_us() / 1000000;
}

const struct buf *instances_write_own(struct instances *p, const struct stats_view *f, uint64_t now_ms) {
    const struct summary_head head = {p->own.instance, now_ms, wall_s(), span_str(p->own.name), {0}};
    if (!digest_write(f, &head, most_clients(p), &p->own.bytes, &p->own.entries))
        return NULL;
    p->own.seq = now_ms;
    p->own.news_ms = now_ms;
    return &p->own.bytes;
}

/* ---- what comes ---- */

static bool has_summary(const struct instance *other) {
    return buf_len(&other->bytes) > 0;
}

static size_t count_seen(const struct instances *p) {
    size_t seen = 0;
    for (size_t i = 0; i < p->n && !p->local; i++)
        seen += has_summary(&p->others[i]);
    return seen;
}

/* When all places are taken a silent one gives way. */
static struct instance *instance_of(struct instances *p, uint64_t instance) {
    struct instance *silent = NULL;
    for (size_t i = 0; i < p->n; i++) {
        if (p->others[i].instance == instance)
            return &p->others[i];
        if (!has_summary(&p->others[i]))
            silent = &p->others[i];
    }
    if (p->n == INSTANCES_MOST && !silent)
        return NULL;
    struct instance *other = p->n < INSTANCES_MOST ? &p->others[p->n++] : silent;
    *other = (struct instance){.instance = instance};
    buf_init(&other->bytes, SUMMARY_MAX);
    return other;
}

static void forget_instance(struct instances *p, struct instance *other) {
    buf_fini(&other->bytes);
    *other = p->others[--p->n];
}

/* Somebody has kept it, or a clock is wrong. */
static bool is_of_another_time(const struct summary_head *head) {
    uint64_t now = wall_s();
    return head->time_s > now + APART_S || now > head->time_s + APART_S;
}

/* The one that is known already has nothing new; of an older one its instance is as silent as if it had not come. */
static void take_summary(struct instances *p, struct span sealed, uint64_t now_ms) {
    static uint8_t opened[SUMMARY_MAX];
    struct summary_head head;
    struct span bytes;
    size_t entries, skipped;
    if (summary_seal_open(p->seal, sealed, opened, &bytes) < 0) {
        p->foreign.n++;
        return;
    }
    if (summary_check(bytes, &head, &entries, &skipped) < 0) {
        p->refused++;
        return;
    }
    if (head.instance == p->own.instance)
        return;
    struct instance *other = is_of_another_time(&head) ? NULL : instance_of(p, head.instance);
    p->old.n += is_of_another_time(&head) || (other && head.seq < other->seq);
    if (!other || head.seq <= other->seq)
        return;
    buf_consume(&other->bytes, buf_len(&other->bytes));
    if (buf_append(&other->bytes, bytes.p, bytes.len) < 0) {
        forget_instance(p, other);
        return;
    }
    other->seq = head.seq;
    other->news_ms = now_ms;
    other->entries = entries;
    p->skipped += skipped;
    struct text t = text_of(other->name, sizeof(other->name));
    text_add_span(&t, head.name);
}

/* ---- the table ---- */

static void add_entry(struct instances *p, const struct scoreboard *scoreboard, uint16_t instance,
                      const struct summary_entry *e) {
    struct addr_net nets[ADDR_NETS];
    const struct peers_counts counts = {
        .sessions = e->values[SUMMARY_SESSIONS], .handshakes = e->values[SUMMARY_LET_IN], .bytes = e->values[SUMMARY_LIMITED]};
    if (!counts.sessions && !counts.handshakes && !counts.bytes)
        return;
    for (size_t i = 0, n = summary_nets(e, nets); i < n; i++)
        if (!peers_add(scoreboard_peers(scoreboard), scoreboard_net_tag(scoreboard, &nets[i]), instance, &counts))
            p->no_room++;
}

static void add_instance(struct instances *p, const struct scoreboard *scoreboard, uint16_t number) {
    struct summary_reader s;
    struct summary_head head;
    const struct summary_entry *e;
    if (summary_begin(&s, buf_span(&p->others[number].bytes), &head) < 0)
        return;
    while (summary_next(&s, &e) > 0)
        add_entry(p, scoreboard, (uint16_t)(number + 1), e);
}

/* What others have too, this instance has of its own: all its clients are asked, not only those of its summary. */
static void add_own(const struct stats_view *f, const struct scoreboard *scoreboard) {
    struct addr_net nets[ADDR_NETS];
    for (size_t i = 0; i < f->clients.n; i++) {
        const struct stats_client *c = &f->clients.rows[i];
        uint64_t let_in = (uint64_t)stats_view_client_rate(f, c, CLIENT_LET_IN, 0);
        uint64_t bytes = (uint64_t)stats_view_client_rate(f, c, CLIENT_LIMITED, 0);
        struct addr a = addr_of_client_key(c->key);
        if (c->verified || (!let_in && !bytes) || !addr_is_ip(&a))
            continue;
        for (size_t k = 0, n = addr_nets(&a, nets); k < n; k++)
            peers_add_own(scoreboard_peers(scoreboard), scoreboard_net_tag(scoreboard, &nets[k]), let_in, bytes);
    }
}

static void replace_table(struct instances *p, const struct stats_view *f, const struct scoreboard *scoreboard,
                          uint64_t now_ms) {
    struct peers_table *t = scoreboard_peers(scoreboard);
    p->no_room = 0;
    peers_begin(t);
    for (size_t i = 0; i < p->n; i++)
        add_instance(p, scoreboard, (uint16_t)i);
    add_own(f, scoreboard);
    peers_commit(t, now_ms);
    p->networks = peers_used(t, now_ms);
}

void instances_answer(struct instances *p, struct span answer, const struct stats_view *f, const struct scoreboard *scoreboard,
                      uint64_t now_ms) {
    struct rd r = rd_of(answer);
    p->all = rd_u32(&r);
    p->answer_ms = now_ms;
    p->local = false;
    while (rd_left(&r)) {
        struct span one = rd_bytes(&r, rd_u32(&r));
        take_summary(p, one, now_ms);
    }
    for (size_t i = 0; i < p->n;) {
        struct instance *other = &p->others[i];
        if (now_ms >= other->news_ms + PEERS_VALID_MS)
            buf_fini(&other->bytes);
        if (now_ms >= other->news_ms + REMEMBER_MS)
            forget_instance(p, other);
        else
            i++;
    }
    size_t seen = count_seen(p) + 1; /* with our own */
    p->beyond = p->all > seen ? p->all - seen : 0;
    if (scoreboard)
        replace_table(p, f, scoreboard, now_ms);
}

/* ---- what is known of it ---- */

static void log_refusals(struct refusals *r, struct log *log, const char *what, uint64_t now_ms) {
    if (r->n == r->logged || !log_pause_over_each(&r->log, now_ms, REFUSED_MS))
        return;
    log_msg(log, LOG_LEVEL_WARNING, "clients of the fleet: %llu summaries in the store are not believed: %s",
            (unsigned long long)(r->n - r->logged), what);
    r->logged = r->n;
}

void instances_second(struct instances *p, struct log *log, uint64_t now_ms) {
    log_refusals(&p->foreign, log,
                 "not sealed with our storage_key_file: another machine has another one, or somebody else writes there",
                 now_ms);
    log_refusals(&p->old, log, "they are not of now: a machine's clock is wrong, or somebody writes old ones there again",
                 now_ms);
    if (!p->answer_ms)
        p->answer_ms = now_ms; /* there has been no time for one */
    p->local = now_ms >= p->answer_ms + PEERS_VALID_MS;
    if (p->local == p->logged_local || !log_pause_over(&p->local_log, now_ms))
        return;
    p->logged_local = p->local;
    if (p->local)
        log_msg(log, LOG_LEVEL_WARNING, "the store of the fleet gives no clients: limits count those of this instance alone");
    else
        log_msg(log, LOG_LEVEL_INFO, "the store of the fleet gives clients of %zu other instances again", count_seen(p));
}

static const struct {
    const char *name, *help;
    enum exposition_type type;
} families[] = {
    {"fleet_instances", "Other instances with a summary of now; 0 without an answer of the store.", EXPOSE_GAUGE},
    {"fleet_instances_skipped", "Further instances in the store, beyond the most that are looked at.", EXPOSE_GAUGE},
    {"fleet_limits_local", "1: the store does not answer, and limits of clients are those of this instance.", EXPOSE_GAUGE},
    {"fleet_networks", "Clients and networks that other instances have.", EXPOSE_GAUGE},
    {"fleet_networks_without_room", "Those of them that the table had no place for.", EXPOSE_GAUGE},
    {"fleet_summary_bytes", "The last summary of this instance's clients.", EXPOSE_GAUGE},
    {"fleet_summaries_refused", "Summaries of others that are none.", EXPOSE_COUNTER},
    {"fleet_summaries_foreign", "Summaries that are not sealed with the key of the fleet.", EXPOSE_COUNTER},
    {"fleet_summaries_old", "Summaries of others that are older than one that was seen, or of another time.", EXPOSE_COUNTER},
    {"fleet_entries_skipped", "Clients in summaries of others, with numbers that cannot be.", EXPOSE_COUNTER},
};

void instances_metrics(const struct instances *p, struct exposition *x) {
    const uint64_t values[ARRAY_LEN(families)] = {
        count_seen(p),          p->beyond,  p->local,     p->networks, p->no_room,
        buf_len(&p->own.bytes), p->refused, p->foreign.n, p->old.n,    p->skipped,
    };
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        exposition_family(x, families[i].type, families[i].name, families[i].help);
        exposition_number(x, NULL, values[i]);
    }
}

static void put_instance(json_t *list, const struct instance *other, bool own, uint64_t now_ms) {
    json_t *o = json_append_object(list);
    json_put_text(o, "instance", other->name);
    json_put_bool(o, "own", own);
    json_put_real(o, "age_seconds", (double)(now_ms - MIN(other->news_ms, now_ms)) / 1000);
    json_put_u64(o, "entries", other->entries);
    json_put_u64(o, "bytes", buf_len(&other->bytes));
}

json_t *instances_status(const struct instances *p, uint64_t now_ms) {
    json_t *o = json_object();
    json_put_text(o, "limits", p->local ? "local" : "fleet");
    json_put_u64(o, "instances_seen", count_seen(p));
    json_put_u64(o, "instances_skipped", p->beyond);
    json_put_u64(o, "summaries_refused_total", p->refused);
    json_put_u64(o, "summaries_foreign_total", p->foreign.n);
    json_put_u64(o, "summaries_old_total", p->old.n);
    json_put_u64(o, "entries_skipped_total", p->skipped);
    json_t *list = json_put_array(o, "instances");
    if (buf_len(&p->own.bytes))
        put_instance(list, &p->own, true, now_ms);
    for (size_t i = 0; i < p->n && !p->local; i++)
        if (has_summary(&p->others[i]))
            put_instance(list, &p->others[i], false, now_ms);
    return o;
}
