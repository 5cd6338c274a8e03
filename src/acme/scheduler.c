#include "acme/scheduler.h"

#include <string.h>

#include "acme/renewal.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"

#define LOOK_MS   60000
#define SOON_MS   50
#define GRACE_S   10 /* that a store is away before anything follows from it */
#define AGAIN_S   60 /* after the keymaker has not answered, or an issuer about renewals */
#define STEERED_S 30 /* by more than that a clock is set */

static void look_at_jobs(void *ctx);

/* What happens all the time does not put the look off. */
void scheduler_look_soon(struct scheduler *s) {
    if (!s->running || s->soon)
        return;
    s->soon = true;
    alarm_clock_set(&s->clock, SOON_MS);
}

const struct order *scheduler_order_of(const struct scheduler *s, const struct job *j) {
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
        if (s->orders[i].job == j)
            return &s->orders[i];
    return NULL;
}

static void on_moved(void *ctx, struct job *j) {
    const struct scheduler *s = ctx;
    s->changed(s->ctx, j);
}

static void on_ended(void *ctx, struct job *j, bool ok) {
    struct scheduler *s = ctx;
    (void)ok;
    s->changed(s->ctx, j);
    scheduler_look_soon(s);
}

/* ---- what the keymaker knows ---- */

static void ask_next(struct scheduler *s, int64_t now);

static void on_inspected(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->asked;
    struct keymaking_cert c;
    s->asked = NULL;
    if (a->fault == FAULT_NONE && keymaking_unpack_cert(a->body, &c) == 0) {
        job_take_cert(j, &c);
        s->changed(s->ctx, j);
        scheduler_look_soon(s);
        ask_next(s, s->env.now()); /* there may be a thousand */
    } else {
        log_msg(s->env.log, LOG_LEVEL_ERROR, "%s: %s", j->cert->id, a->fault ? a->why : "the keymaker's answer is malformed");
    }
}

/* The issuer of the certificate in use; NULL = it is not configured any more. */
static struct ca *issuer_of(const struct scheduler *s, const struct job *j) {
    if (!j->issued_by[0])
        return &s->env.cas[j->cert->issuers[j->issuer]];
    for (size_t i = 0; i < s->env.acme->nissuers; i++)
        if (strcmp(s->env.cas[i].issuer->name, j->issued_by) == 0)
            return &s->env.cas[i];
    return NULL;
}

/* ---- when the issuer wants a renewal (RFC 9773) ---- */

/* All instances of a fleet choose the same time: the earliest of many would be the beginning of the window. */
static uint64_t random_of(const struct scheduler *s, const struct job *j, const int64_t window[static 2]) {
    static const struct hash_key any = {.k0 = 0, .k1 = 0};
    char what[sizeof(j->ari) + 64];
    struct text t = text_of(what, sizeof(what));
    text_addf(&t, "%s %lld %lld", j->ari, (long long)window[0], (long long)window[1]);
    return s->env.share ? hash_bytes(&any, span_of(t.p, t.len)) : s->random();
}

void scheduler_use_window(struct scheduler *s, struct job *j, const int64_t window[static 2], const char *url) {
    if (window[1] <= window[0] || memcmp(window, j->window, sizeof(j->window)) == 0)
        return; /* the time once chosen stays: choosing again and again would draw it to the beginning */
    if (j->window[0] && window[0] < j->window[0])
        log_msg(s->env.log, LOG_LEVEL_WARNING,
                "%s: the issuer wants it renewed earlier than before, it may be revoked soon%s%.200s", j->cert->id,
                url ? ": " : "", url ? url : "");
    memcpy(j->window, window, sizeof(j->window));
    j->chosen_s = renewal_choose(window[0], window[1], random_of(s, j, window));
}

static bool take_window(struct scheduler *s, struct job *j, const json_t *json) {
    const json_t *w = json_object_get(json, "suggestedWindow");
    const char *start = json_string_value(json_object_get(w, "start")), *end = json_string_value(json_object_get(w, "end"));
    const char *url = json_string_value(json_object_get(json, "explanationURL"));
    int64_t window[2];
    if (!start || !end || clock_parse(start, &window[0]) < 0 || clock_parse(end, &window[1]) < 0 || window[1] <= window[0])
        return false;
    scheduler_use_window(s, j, window, url);
    return true;
}

void scheduler_end_question(struct scheduler *s) {
    struct job *j = s->asked;
    s->asked = NULL;
    if (store_put_job(s->env.store, j) < 0)
        log_msg(s->env.log, LOG_LEVEL_WARNING, "%s: the time of its renewal cannot be written: %m", j->cert->id);
    s->changed(s->ctx, j);
    scheduler_look_soon(s);
}

static void on_renewal_info(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->asked;
    bool ok = a->fault == FAULT_NONE && take_window(s, j, a->json);
    int64_t again_s = renewal_ask_again(ok || a->retry_after >= 0 ? a->retry_after : -1);
    j->ask_s = s->env.now() + again_s;
    struct ca *ca = issuer_of(s, j);
    if (a->fault == FAULT_ISSUER && ca) /* about no other certificate either */
        ca->info_s = s->env.now() + (a->retry_after >= 0 ? again_s : AGAIN_S);
    info_shared_put(s, ok ? j : NULL);
    scheduler_end_question(s);
}

void scheduler_ask_issuer(struct scheduler *s) {
    ca_get(issuer_of(s, s->asked), &s->asking, CA_RENEWAL_INFO, s->asked->ari, on_renewal_info, s);
}

/* One question at a time, about one job after the other. */
static void ask_next(struct scheduler *s, int64_t now) {
    for (size_t i = 0; i < s->njobs && !s->asked; i++) {
        struct job *j = &s->jobs[(s->turn + i) % s->njobs];
        struct ca *ca = issuer_of(s, j);
        bool wants_info = ca && j->inspected && j->from_issuer && j->ari[0] && now >= j->ask_s && now >= ca->info_s &&
                          !scheduler_order_of(s, j) && (!ca->known || ca->urls[CA_RENEWAL_INFO][0]);
        if (!wants_info && (j->inspected || now < j->inspect_s))
            continue;
        s->turn = (s->turn + i + 1) % s->njobs;
        s->asked = j;
        if (wants_info) {
            j->ask_s = now + renewal_ask_again(-1);
            if (!info_shared_look(s))
                scheduler_ask_issuer(s);
        } else {
            j->inspect_s = now + AGAIN_S;
            ca_keymaker(&s->env.cas[j->cert->issuers[0]], &s->asking, KEYMAKING_INSPECT, j->index, span_of(NULL, 0),
                        on_inspected, s);
        }
    }
}

/* ---- what operators put into DNS records (dns-persist-01): known before the next order, which may be months away ---- */

static void on_learned(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    const struct job *j = s->asked;
    struct ca *ca = s->learned;
    s->asked = NULL;
    s->learned = NULL;
    if (a->fault != FAULT_NONE) {
        ca->learn_s = s->env.now() + AGAIN_S; /* others have their turn */
        log_msg(s->env.log, LOG_LEVEL_DEBUG, "%s: %s", ca->issuer->name, a->why);
    } else if (a->body.len) { /* not of the directory: an order may use what is there */
        struct text t = text_of(ca->thumbprint, sizeof(ca->thumbprint));
        text_add_span(&t, a->body);
    }
    s->changed(s->ctx, j);
    scheduler_look_soon(s);
}

static void learn_next(struct scheduler *s, int64_t now) {
    for (size_t i = 0; i < s->njobs && !s->asked; i++) {
        struct job *j = &s->jobs[i];
        for (size_t k = 0; k < j->cert->nissuers && !s->asked; k++) {
            struct ca *ca = &s->env.cas[j->cert->issuers[k]];
            bool wanted = memchr(ca->issuer->challenges, CHALLENGE_DNS_PERSIST_01, ca->issuer->nchallenges) != NULL;
            if (!wanted || now < ca->learn_s || (ca->known && ca->settled && ca->thumbprint[0]))
                continue;
            s->asked = j;
            s->learned = ca;
            if (ca->known && ca->settled)
                ca_keymaker(ca, &s->asking, KEYMAKING_THUMBPRINT, j->index, span_of(NULL, 0), on_learned, s);
            else
                ca_directory(ca, &s->asking, on_learned, s);
        }
    }
}

/* ---- attempts ---- */

static struct order *free_order(struct scheduler *s) {
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
        if (!s->orders[i].job)
            return &s->orders[i];
    return NULL;
}

static bool shares_a_name(const struct conf_managed *a, const struct conf_managed *b) {
    for (size_t i = 0; i < a->nnames; i++)
        for (size_t k = 0; k < b->nnames; k++)
            if (strcmp(a->names[i], b->names[k]) == 0)
                return true;
    return false;
}

/*
 * A validator asks by the name alone: two attempts for one name would answer each other's. And the first attempt at an issuer
 * makes the account that the others use, or finds out whether the issuer works again.
 */
static bool must_wait(const struct scheduler *s, const struct job *j, const struct ca *ca) {
    bool tries_one = ca_backoff_tries_one(&ca->backoff) && !job_is_urgent(j, s->env.now());
    bool rolls_over = s->command.ca == ca && !s->command_job; /* what is offered to validators is of one key */
    if (rolls_over || (ca->attempts && (!ca->account[0] || tries_one)))
        return true;
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
        if (s->orders[i].job && shares_a_name(s->orders[i].job->cert, j->cert))
            return true;
    return false;
}

/* The first of its issuers that is not left alone, from the one where an order is under way on; how many there are = none. */
static uint16_t open_issuer(const struct scheduler *s, const struct job *j, int64_t now) {
    const struct conf_managed *c = j->cert;
    for (size_t i = 0; i < c->nissuers; i++) {
        uint16_t place = (uint16_t)((j->issuer + i) % c->nissuers);
        if (j->blocked_s[place] <= now && !ca_backoff_is_on(&s->env.cas[c->issuers[place]].backoff, s->env.loop->now_ms))
            return place;
    }
    return job_is_urgent(j, now) ? job_open_issuer(j, j->issuer, now) : (uint16_t)c->nissuers;
}

int64_t scheduler_due(const struct scheduler *s, const struct job *j) {
    int64_t now = s->env.now(), due = job_due(j), first = INT64_MAX;
    uint64_t now_ms = s->env.loop->now_ms;
    if (open_issuer(s, j, now) < j->cert->nissuers)
        return due;
    for (size_t i = 0; i < j->cert->nissuers; i++) {
        uint64_t until_ms = s->env.cas[j->cert->issuers[i]].backoff.until_ms;
        first = MIN(first, MAX(j->blocked_s[i], now + (int64_t)((MAX(until_ms, now_ms) - now_ms) / 1000)));
    }
    return MAX(due, first);
}

const char *scheduler_state_of(const struct scheduler *s, const struct job *j) {
    const struct order *o = scheduler_order_of(s, j);
    int64_t now = s->env.now();
    if (o || !job_is_due(j, now))
        return order_state_name(o ? o->state : ORDER_IDLE);
    return open_issuer(s, j, now) < j->cert->nissuers ? "queued" : "waiting for the issuer";
}

/* Without the store others may order the same: not before it has to be. */
static bool may_order(const struct scheduler *s, struct job *j, int64_t now) {
    const struct share_link *share = s->env.share;
    if (!share || share->up)
        return true;
    uint64_t now_ms = s->env.loop->now_ms;
    int64_t away_s = now_ms > share->away_since_ms ? (int64_t)((now_ms - share->away_since_ms) / 1000) : 0;
    if (away_s < GRACE_S)
        return false;
    bool chosen = j->alone != 0;
    if (!chosen)
        j->alone = s->random() | 1;
    int64_t wait_s = job_alone_in_s(j, now, away_s);
    if (!chosen)
        log_msg(s->env.log, LOG_LEVEL_WARNING, "%s: the store of the fleet is away; it is ordered without it in %lld minutes",
                j->cert->id, (long long)(MAX(wait_s, 0) / 60));
    return wait_s <= 0;
}

static bool is_job_held(const struct scheduler *s, const struct job *j) {
    return j->held_ms > s->env.loop->now_ms;
}

static void begin_due(struct scheduler *s, int64_t now) {
    struct order *o = free_order(s);
    for (size_t i = 0; i < s->njobs && o; i++) {
        struct job *j = &s->jobs[i];
        bool begins = job_is_due(j, now) && !is_job_held(s, j);
        uint16_t place = begins ? open_issuer(s, j, now) : (uint16_t)j->cert->nissuers;
        if (place == j->cert->nissuers || must_wait(s, j, &s->env.cas[j->cert->issuers[place]]) || !may_order(s, j, now))
            continue;
        j->issuer = place;
        order_begin(o, &s->env, j);
        s->changed(s->ctx, j);
        o = free_order(s);
    }
}

/* Until something is to be looked at again: a store that is away, a lease of somebody else's. */
static uint64_t next_look_ms(const struct scheduler *s) {
    uint64_t wait_ms = s->env.share && !s->env.share->up ? GRACE_S * 1000 : LOOK_MS, hold_ms = follow_hold_ms(&s->follow);
    wait_ms = hold_ms ? MIN(wait_ms, hold_ms) : wait_ms;
    for (size_t i = 0; i < s->njobs; i++)
        if (is_job_held(s, &s->jobs[i]))
            wait_ms = MIN(wait_ms, s->jobs[i].held_ms - s->env.loop->now_ms);
    return wait_ms;
}

static void log_alarm(const struct scheduler *s, struct job *j, int64_t now) {
    char line[JOB_TEXT_MAX + 512];
    struct text t = text_of(line, sizeof(line));
    enum job_alarm_news news = job_alarm_news(j, now, &t);
    if (news == JOB_ALARM_OLD)
        return;
    log_msg(s->env.log, news == JOB_ALARM_RINGS ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO, "%s: %s", j->cert->id, line);
    s->changed(s->ctx, j);
}

/* Pauses stay as long as they were: one that began while the clock was a year ahead would else last for a year. */
static void notice_clock(struct scheduler *s, int64_t now) {
    uint64_t now_ms = s->env.loop->now_ms;
    int64_t by_s = now - s->looked_s - (int64_t)((now_ms - s->looked_ms) / 1000);
    if (s->looked_s && (by_s > STEERED_S || by_s < -STEERED_S)) {
        log_msg(s->env.log, LOG_LEVEL_WARNING, "the clock was set by %+lld seconds", (long long)by_s);
        for (size_t i = 0; i < s->njobs; i++)
            job_move_clock(&s->jobs[i], by_s);
        for (size_t i = 0; i < s->env.acme->nissuers; i++)
            s->env.cas[i].learn_s = s->env.cas[i].info_s = 0;
    }
    s->looked_s = now;
    s->looked_ms = now_ms;
}

/* What only time changes is reported now and then. */
static void report_all(struct scheduler *s) {
    uint64_t now_ms = s->env.loop->now_ms;
    if (s->swept_ms && now_ms - s->swept_ms < LOOK_MS)
        return;
    s->swept_ms = now_ms;
    for (size_t k = 0; k < s->njobs; k++)
        s->changed(s->ctx, &s->jobs[k]);
}

static void look_at_jobs(void *ctx) {
    struct scheduler *s = ctx;
    int64_t now = s->env.now();
    s->soon = false;
    notice_clock(s, now);
    alarm_clock_set(&s->clock, next_look_ms(s));
    ask_next(s, now);
    follow_next(&s->follow);
    learn_next(s, now);
    for (size_t k = 0; k < s->njobs; k++) /* by time alone; a new attempt forgets why the last one failed */
        if (s->jobs[k].inspected)         /* else it is not known what is in use */
            log_alarm(s, &s->jobs[k], now);
    begin_due(s, now);
    report_all(s);
}

void scheduler_init(struct scheduler *s, const struct order_env *env, struct job *jobs, size_t njobs) {
    s->env = *env;
    s->env.moved = on_moved;
    s->env.ended = on_ended;
    s->env.ctx = s;
    s->env.jobs = s->jobs = jobs;
    s->env.njobs = s->njobs = njobs;
    follow_init(&s->follow, s);
    s->clock = (struct alarm_clock){.loop = env->loop, .fn = look_at_jobs, .ctx = s};
}

void scheduler_run(struct scheduler *s) {
    s->running = true;
    scheduler_look_soon(s);
}

void scheduler_stop(struct scheduler *s) {
    s->running = false;
    alarm_clock_stop(&s->clock);
    ca_cancel(&s->asking);
    if (s->env.share)
        share_link_cancel(s->env.share, s);
    ca_cancel(&s->command);
    follow_stop(&s->follow);
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
        order_abandon(&s->orders[i]);
}

/* ---- commands ---- */

static void write_wanted(const struct scheduler *s, const struct job *j) {
    if (store_put_job(s->env.store, j) < 0)
        log_msg(s->env.log, LOG_LEVEL_WARNING,
                "%s: whether it is to be renewed cannot be written, and is forgotten at a restart: %m", j->cert->id);
}

/* On the disk at once: the attempt may have to wait, for a name, an issuer or the store of a fleet. */
void scheduler_renew(struct scheduler *s, uint16_t cert) {
    struct job *j = &s->jobs[cert];
    j->wanted = true;
    j->next_s = 0;
    j->held_ms = 0;
    memset(j->blocked_s, 0, sizeof(j->blocked_s));
    write_wanted(s, j);
    scheduler_look_soon(s);
}

void scheduler_revoked(struct scheduler *s, uint16_t cert, int64_t not_before) {
    s->jobs[cert].revoked_from = not_before;
    scheduler_look_soon(s);
}

static void on_revoked(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->command_job;
    s->command_job = NULL;
    j->revoking = false;
    if (a->fault != FAULT_NONE && strcmp(a->problem, "alreadyRevoked") != 0) {
        log_msg(s->env.log, LOG_LEVEL_ERROR, "%s: it cannot be revoked: %s", j->cert->id, a->why);
        write_wanted(s, j);
        return;
    }
    log_msg(s->env.log, LOG_LEVEL_WARNING, "%s: the certificate in use is revoked, another one is ordered", j->cert->id);
    j->revoked_from = j->not_before;
    scheduler_renew(s, j->index);
}

bool scheduler_revoke(struct scheduler *s, uint16_t cert, uint8_t reason) {
    struct job *j = &s->jobs[cert];
    struct ca *ca = issuer_of(s, j);
    if (s->command.ca || !j->from_issuer || !ca || !ca->account[0])
        return false;
    s->command_job = j;
    j->revoking = true;
    write_wanted(s, j);
    ca_post(ca, &s->command, KEYMAKING_REVOKE, cert, CA_REVOKE_CERT, "", span_of(&reason, 1), on_revoked, s);
    return true;
}

/* Not known: the issuer is asked again before the next request. */
static void on_key_found(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    const struct ca *ca = &s->env.cas[s->command_issuer];
    if (a->fault != FAULT_NONE)
        log_msg(s->env.log, LOG_LEVEL_ERROR, "which key the account at the issuer %s has is not known: %s", ca->issuer->name,
                a->why);
    else if (ca->waits)
        log_msg(s->env.log, LOG_LEVEL_ERROR, "the key of the account at the issuer %s stays", ca->issuer->name);
    scheduler_look_soon(s);
}

static void on_rolled_over(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct ca *ca = &s->env.cas[s->command_issuer];
    if (a->fault != FAULT_NONE) {
        log_msg(s->env.log, LOG_LEVEL_ERROR, "the issuer %s has the new key of the account, the keymaker cannot use it: %s",
                ca->issuer->name, a->why);
    } else {
        struct text t = text_of(ca->thumbprint, sizeof(ca->thumbprint));
        text_add_span(&t, a->body);
        memcpy(ca->account_key, ca->thumbprint, sizeof(ca->account_key));
        ca->settled = true;
        ca->waits = false;
        if (store_put_account(s->env.store, ca) < 0) /* it is found again by its key */
            log_msg(s->env.log, LOG_LEVEL_WARNING, "the account cannot be written: %m");
        log_msg(s->env.log, LOG_LEVEL_INFO, "the account at the issuer %s has a new key", ca->issuer->name);
    }
    scheduler_look_soon(s); /* records have another form now */
}

/* Whatever went wrong, the issuer may have taken it: the answer may be lost. */
static void on_key_changed(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct ca *ca = &s->env.cas[s->command_issuer];
    ca->settled = false;
    if (a->fault == FAULT_NONE) {
        ca_keymaker(ca, &s->command, KEYMAKING_ROLLED_OVER, 0, span_of(NULL, 0), on_rolled_over, s);
        return;
    }
    log_msg(s->env.log, LOG_LEVEL_ERROR, "the new key of the account at the issuer %s is not confirmed: %s", ca->issuer->name,
            a->why);
    ca_directory(ca, &s->command, on_key_found, s);
}

bool scheduler_rollover(struct scheduler *s, uint16_t issuer) {
    struct ca *ca = &s->env.cas[issuer];
    if (s->command.ca || ca->attempts || !ca->account[0] || s->env.share) /* the other instances would not have the key */
        return false;
    s->command_issuer = issuer;
    ca_post(ca, &s->command, KEYMAKING_ROLLOVER, 0, CA_KEY_CHANGE, "", span_of(NULL, 0), on_key_changed, s);
    return true;
}
