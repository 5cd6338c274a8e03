#include "acme/follow.h"

#include <stdlib.h>
#include <string.h>

#include "acme/scheduler.h"

#define OBJECT       "certificate/"
#define PAUSE_MIN_MS 2000 /* a keymaker that is started again */
#define PAUSE_MAX_MS 300000

void follow_init(struct follow *f, struct scheduler *s) {
    *f = (struct follow){.scheduler = s};
}

void follow_stop(struct follow *f) {
    ca_cancel(&f->call);
    if (f->scheduler->env.share)
        share_link_cancel(f->scheduler->env.share, f);
    free(f->sealed);
    f->sealed = NULL;
    f->asked = NULL;
}

static void end_look(struct follow *f) {
    free(f->sealed);
    f->sealed = NULL;
    f->asked = NULL;
    scheduler_look_soon(f->scheduler);
}

/* This machine's fault: the same one is taken up later. */
static void take_later(struct follow *f, struct job *j) {
    j->check = true;
    f->pause_ms = MIN(MAX(2 * f->pause_ms, PAUSE_MIN_MS), PAUSE_MAX_MS);
    f->held_ms = f->scheduler->env.loop->now_ms + f->pause_ms;
}

uint64_t follow_hold_ms(const struct follow *f) {
    uint64_t now_ms = f->scheduler->env.loop->now_ms;
    return f->held_ms > now_ms ? f->held_ms - now_ms : 0;
}

static void on_opened(void *ctx, const struct answer *a) {
    struct follow *f = ctx;
    struct job *j = f->asked;
    const struct order_env *env = &f->scheduler->env;
    struct keymaking_cert c;
    if (a->fault == FAULT_NONE && keymaking_unpack_cert(a->body, &c) == 0) {
        f->pause_ms = 0;
        order_shared_take_cert(env, j, &c);
        f->scheduler->changed(f->scheduler->ctx, j);
    } else {
        if (a->fault != FAULT_ANSWER) /* else what the store has is refused, until it has another one */
            take_later(f, j);
        struct text t = text_of(j->error, sizeof(j->error));
        text_add(&t, a->fault ? a->why : "the keymaker's answer is malformed");
        log_msg(env->log, LOG_LEVEL_ERROR, "%s: the certificate of the fleet is not taken: %s", j->cert->id, j->error);
        f->scheduler->changed(f->scheduler->ctx, j);
    }
    end_look(f);
}

static void on_object(void *ctx, const struct sharing_answer *a) {
    struct follow *f = ctx;
    struct job *j = f->asked;
    const struct order_env *env = &f->scheduler->env;
    size_t len = 0;
    if (a->result == SHARING_NONE && a->version < j->version)
        log_msg(env->log, LOG_LEVEL_WARNING,
                "%s: the store of the fleet has version %llu of it, ours is version %llu: the certificate in use stays",
                j->cert->id, (unsigned long long)a->version, (unsigned long long)j->version);
    if (a->result == SHARING_AWAY)
        j->check = true; /* again, when the store is there */
    f->sealed = a->result == SHARING_OK ? sealed_with_version(a->version, a->data, &len) : NULL;
    if (a->result == SHARING_OK && !f->sealed) /* no memory */
        take_later(f, j);
    if (!f->sealed) {
        f->asked = NULL;
        if (a->result != SHARING_AWAY)
            scheduler_look_soon(f->scheduler);
        return;
    }
    ca_keymaker(&env->cas[j->cert->issuers[0]], &f->call, KEYMAKING_OPEN_CERT, j->index, span_of(f->sealed, len), on_opened, f);
}

void follow_news(struct follow *f, struct span name) {
    struct scheduler *s = f->scheduler;
    char own[CONF_SHARED_NAME_MAX];
    size_t skip = sizeof(OBJECT) - 1;
    bool about_one = span_has_prefix(name, OBJECT);
    for (size_t i = 0; i < s->njobs && (name.len == 0 || about_one); i++) {
        managed_shared_name(s->env.acme, s->jobs[i].cert, own);
        if (name.len == 0 || span_eq(span_str(own), span_of(name.p + skip, name.len - skip)))
            s->jobs[i].check = true;
    }
    scheduler_look_soon(s);
}

void follow_next(struct follow *f) {
    struct scheduler *s = f->scheduler;
    char own[CONF_SHARED_NAME_MAX], name[CONF_SHARED_NAME_MAX + sizeof(OBJECT)];
    if (follow_hold_ms(f))
        return;
    for (size_t i = 0; i < s->njobs && s->env.share && s->env.share->up && !f->asked; i++) {
        struct job *j = &s->jobs[(f->turn + i) % s->njobs];
        if (!j->check || !j->inspected || scheduler_order_of(s, j))
            continue;
        f->turn = (f->turn + i + 1) % s->njobs;
        managed_shared_name(s->env.acme, j->cert, own);
        struct text t = text_of(name, sizeof(name));
        text_addf(&t, OBJECT "%s", own);
        struct sharing_request q = {.op = SHARING_GET, .version = j->version, .name = span_of(t.p, t.len)};
        j->check = share_link_ask(s->env.share, &q, on_object, f) < 0;
        if (!j->check)
            f->asked = j;
    }
}
