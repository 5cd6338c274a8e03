#include "acme/scheduler.h"

#include <string.h>

#include "acme/renewal.h"
#include "base/err.h"

#define LOOK_MS     60000
#define SOON_MS     50
#define AGAIN_S     60 /* after the keymaker has not answered */
#define RESUMES_MAX 3  /* attempts that are gone on with at once after a restart */

static void look(void *ctx);

static void look_soon(struct scheduler *s) {
    if (s->running)
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
    look_soon(s);
}

/* ---- what the keymaker knows ---- */

static void on_inspected(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->asked;
    struct keymaking_cert c;
    s->asked = NULL;
    if (a->fault == FAULT_NONE && keymaking_unpack_cert(a->body, &c) == 0) {
        job_take_cert(j, &c);
        s->changed(s->ctx, j);
        look_soon(s);
    } else {
        log_msg(s->env.log, LOG_LEVEL_ERROR, "%s: %s", j->cert->id, a->fault ? a->why : "the keymaker's answer is malformed");
    }
}

static struct ca *ca_of(const struct scheduler *s, const struct job *j) {
    return &s->env.cas[j->cert->issuers[j->issuer]];
}

/* ---- when the issuer wants a renewal (RFC 9773) ---- */

static bool take_window(struct scheduler *s, struct job *j, const json_t *json) {
    const json_t *w = json_object_get(json, "suggestedWindow");
    const char *start = json_string_value(json_object_get(w, "start")), *end = json_string_value(json_object_get(w, "end"));
    const char *url = json_string_value(json_object_get(json, "explanationURL"));
    int64_t window[2];
    if (!start || !end || renewal_read_time(start, &window[0]) < 0 || renewal_read_time(end, &window[1]) < 0 ||
        window[1] <= window[0])
        return false;
    if (memcmp(window, j->window, sizeof(window)) == 0)
        return true; /* the time once chosen stays: choosing again and again would draw it to the beginning */
    if (j->window[0] && window[0] < j->window[0])
        log_msg(s->env.log, LOG_LEVEL_WARNING,
                "%s: the issuer wants it renewed earlier than before, it may be revoked soon%s%.200s", j->cert->id,
                url ? ": " : "", url ? url : "");
    memcpy(j->window, window, sizeof(window));
    j->chosen_s = renewal_choose(window[0], window[1], s->random());
    return true;
}

static void on_renewal_info(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->asked;
    s->asked = NULL;
    bool ok = a->fault == FAULT_NONE && take_window(s, j, a->json);
    j->ask_s = s->env.now() + renewal_ask_again(ok || a->retry_after >= 0 ? a->retry_after : -1);
    if (store_put_job(s->env.store, j) < 0)
        log_msg(s->env.log, LOG_LEVEL_WARNING, "%s: the time of its renewal cannot be written: %m", j->cert->id);
    s->changed(s->ctx, j);
    look_soon(s);
}

/* One question at a time, about one job after the other. */
static void ask_next(struct scheduler *s, int64_t now) {
    for (size_t i = 0; i < s->njobs && !s->asked; i++) {
        struct job *j = &s->jobs[(s->turn + i) % s->njobs];
        struct ca *ca = ca_of(s, j);
        bool wants_info = j->inspected && j->from_issuer && j->ari[0] && now >= j->ask_s && !scheduler_order_of(s, j) &&
                          (!ca->known || ca->urls[CA_RENEWAL_INFO][0]);
        if (!wants_info && (j->inspected || now < j->inspect_s))
            continue;
        s->turn = (s->turn + i + 1) % s->njobs;
        s->asked = j;
        if (wants_info) {
            j->ask_s = now + renewal_ask_again(-1);
            ca_get(ca, &s->asking, CA_RENEWAL_INFO, j->ari, on_renewal_info, s);
        } else {
            j->inspect_s = now + AGAIN_S;
            ca_keymaker(ca, &s->asking, KEYMAKING_INSPECT, j->index, span_of(NULL, 0), on_inspected, s);
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
 * makes the account that the others use.
 */
static bool must_wait(const struct scheduler *s, const struct job *j) {
    const struct ca *ca = ca_of(s, j);
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++) {
        const struct order *o = &s->orders[i];
        if (o->job && (shares_a_name(o->job->cert, j->cert) || (o->ca == ca && !ca->account[0])))
            return true;
    }
    return false;
}

/* An order that a crash interrupted is gone on with at once, but a crash loop waits as failures do. */
static bool is_due(const struct job *j, int64_t now) {
    return j->inspected && (now >= job_due(j) || (j->order[0] && j->failures > 0 && j->failures < RESUMES_MAX && !j->error[0]));
}

static void begin_due(struct scheduler *s, int64_t now) {
    for (size_t i = 0; i < s->njobs; i++) {
        struct job *j = &s->jobs[i];
        struct order *o = is_due(j, now) && !must_wait(s, j) ? free_order(s) : NULL;
        if (!o)
            continue;
        order_begin(o, &s->env, j);
        s->changed(s->ctx, j);
    }
}

static void look(void *ctx) {
    struct scheduler *s = ctx;
    int64_t now = s->env.now();
    alarm_clock_set(&s->clock, LOOK_MS);
    ask_next(s, now);
    begin_due(s, now);
    for (size_t i = 0; i < s->njobs; i++) /* alarms come by time alone */
        s->changed(s->ctx, &s->jobs[i]);
}

void scheduler_init(struct scheduler *s, const struct order_env *env, struct job *jobs, size_t njobs) {
    s->env = *env;
    s->env.moved = on_moved;
    s->env.ended = on_ended;
    s->env.ctx = s;
    s->jobs = jobs;
    s->njobs = njobs;
    s->clock = (struct alarm_clock){.loop = env->loop, .fn = look, .ctx = s};
}

void scheduler_run(struct scheduler *s) {
    s->running = true;
    look_soon(s);
}

void scheduler_stop(struct scheduler *s) {
    s->running = false;
    alarm_clock_stop(&s->clock);
    ca_cancel(&s->asking);
    ca_cancel(&s->command);
    for (size_t i = 0; i < SCHEDULER_ORDERS; i++)
        order_abandon(&s->orders[i]);
}

/* ---- commands ---- */

void scheduler_renew(struct scheduler *s, uint16_t cert) {
    s->jobs[cert].wanted = true;
    s->jobs[cert].next_s = 0;
    look_soon(s);
}

static void on_revoked(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->command_job;
    s->command_job = NULL;
    if (a->fault != FAULT_NONE && strcmp(a->problem, "alreadyRevoked") != 0) {
        log_msg(s->env.log, LOG_LEVEL_ERROR, "%s: it cannot be revoked: %s", j->cert->id, a->why);
        return;
    }
    log_msg(s->env.log, LOG_LEVEL_WARNING, "%s: the certificate in use is revoked, another one is ordered", j->cert->id);
    scheduler_renew(s, j->index);
}

bool scheduler_revoke(struct scheduler *s, uint16_t cert, uint8_t reason) {
    struct job *j = &s->jobs[cert];
    if (s->command.ca || !j->from_issuer || !ca_of(s, j)->account[0])
        return false;
    s->command_job = j;
    ca_post(ca_of(s, j), &s->command, KEYMAKING_REVOKE, cert, CA_REVOKE_CERT, "", span_of(&reason, 1), on_revoked, s);
    return true;
}

static void on_rolled_over(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct ca *ca = &s->env.cas[s->command_issuer];
    ca->thumbprint[0] = 0;
    if (a->fault != FAULT_NONE)
        log_msg(s->env.log, LOG_LEVEL_ERROR, "the issuer %s has the new key of the account, the keymaker cannot use it: %s",
                ca->issuer->name, a->why);
    else
        log_msg(s->env.log, LOG_LEVEL_INFO, "the account at the issuer %s has a new key", ca->issuer->name);
}

static void on_key_changed(void *ctx, const struct answer *a) {
    struct scheduler *s = ctx;
    struct ca *ca = &s->env.cas[s->command_issuer];
    if (a->fault != FAULT_NONE)
        log_msg(s->env.log, LOG_LEVEL_ERROR, "the key of the account at the issuer %s stays: %s", ca->issuer->name, a->why);
    else
        ca_keymaker(ca, &s->command, KEYMAKING_ROLLED_OVER, 0, span_of(NULL, 0), on_rolled_over, s);
}

bool scheduler_rollover(struct scheduler *s, uint16_t issuer) {
    struct ca *ca = &s->env.cas[issuer];
    if (s->command.ca || !ca->account[0])
        return false;
    s->command_issuer = issuer;
    ca_post(ca, &s->command, KEYMAKING_ROLLOVER, 0, CA_KEY_CHANGE, "", span_of(NULL, 0), on_key_changed, s);
    return true;
}
