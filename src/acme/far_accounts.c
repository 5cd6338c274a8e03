#include "acme/far_accounts.h"

#include <stdlib.h>

#include "acme/scheduler.h"

#define AGAIN_MS 10000

static void next(struct far_accounts *f);

void far_accounts_init(struct far_accounts *f, struct scheduler *s) {
    *f = (struct far_accounts){.scheduler = s};
}

static void drop_sealed(struct far_accounts *f) {
    free(f->sealed);
    f->sealed = NULL;
}

void far_accounts_stop(struct far_accounts *f) {
    ca_cancel(&f->call);
    alarm_clock_stop(&f->again_at);
    if (f->scheduler->env.share)
        share_link_cancel(f->scheduler->env.share, f);
    drop_sealed(f);
    f->running = false;
}

bool far_accounts_has(const struct far_accounts *f, struct span thumbprint) {
    const struct order_env *env = &f->scheduler->env;
    for (size_t i = 0; i < env->acme->nissuers; i++)
        if (env->cas[i].thumbprint[0] && span_eq(span_str(env->cas[i].thumbprint), thumbprint))
            return true;
    return false;
}

static struct ca *ca_at(const struct far_accounts *f) {
    return &f->scheduler->env.cas[f->at];
}

static void leave(struct far_accounts *f) {
    f->at++;
    next(f);
}

static void on_far_thumbprint(void *ctx, const struct answer *a) {
    struct far_accounts *f = ctx;
    struct ca *ca = ca_at(f);
    struct text t = text_of(ca->thumbprint, sizeof(ca->thumbprint));
    if (a->fault == FAULT_NONE)
        text_add_span(&t, a->body);
    leave(f);
}

/* Only of an account that there is: asking for a thumbprint makes a key where there is none. */
static void learn_thumbprint(struct far_accounts *f) {
    struct ca *ca = ca_at(f);
    if (ca->account[0] && !ca->thumbprint[0])
        ca_keymaker(ca, &f->call, KEYMAKING_THUMBPRINT, 0, span_of(NULL, 0), on_far_thumbprint, f);
    else
        leave(f);
}

/* By an attempt that has its account: that one takes up newer ones on its own. */
static bool is_account_used(const struct ca *ca) {
    return ca->attempts && ca->thumbprint[0];
}

static void look_again(void *ctx) {
    far_accounts_look(ctx);
}

static void look_later(struct far_accounts *f) {
    f->again_at.loop = f->scheduler->env.loop;
    f->again_at.fn = look_again;
    f->again_at.ctx = f;
    alarm_clock_set(&f->again_at, AGAIN_MS);
}

static void on_taken(void *ctx, const struct answer *a) {
    struct far_accounts *f = ctx;
    uint32_t times = 0;
    if (a->fault == FAULT_NONE && !is_account_used(ca_at(f))) /* an attempt may have begun meanwhile */
        order_shared_use_account(&f->scheduler->env, ca_at(f), sealed_version(f->sealed), a->body);
    else if (a->fault != FAULT_NONE)
        times = log_pause_over(&f->pause, f->scheduler->env.loop->now_ms);
    if (a->fault == FAULT_OURS) /* else the one in the store is refused, until it has another one */
        look_later(f);
    if (times)
        log_msg(f->scheduler->env.log, LOG_LEVEL_ERROR, "the account of the fleet at the issuer %s is not taken: %s",
                ca_at(f)->issuer->name, a->why);
    drop_sealed(f);
    learn_thumbprint(f);
}

static void on_far_account(void *ctx, const struct sharing_answer *a) {
    struct far_accounts *f = ctx;
    size_t len = 0;
    f->sealed = a->result == SHARING_OK ? sealed_with_version(a->version, a->data, &len) : NULL;
    if (!f->sealed) {
        learn_thumbprint(f);
        return;
    }
    ca_keymaker(ca_at(f), &f->call, KEYMAKING_OPEN_ACCOUNT, 0, span_of(f->sealed, len), on_taken, f);
}

static void next(struct far_accounts *f) {
    const struct order_env *env = &f->scheduler->env;
    char account[CONF_SHARED_NAME_MAX], name[CONF_SHARED_NAME_MAX + 8];
    while (f->at < env->acme->nissuers && is_account_used(ca_at(f)))
        f->at++;
    if (f->at == env->acme->nissuers) {
        f->running = false;
        f->done(f->ctx, f->round);
        if (f->again)
            far_accounts_look(f);
        return;
    }
    struct text t = text_of(name, sizeof(name));
    issuer_shared_name(ca_at(f)->issuer, account);
    text_addf(&t, "account/%s", account);
    struct sharing_request q = {.op = SHARING_GET, .version = ca_at(f)->account_version, .name = span_of(t.p, t.len)};
    if (share_link_ask(env->share, &q, on_far_account, f) < 0)
        learn_thumbprint(f);
}

void far_accounts_look(struct far_accounts *f) {
    f->again = f->running;
    if (f->running)
        return;
    f->running = true;
    f->round++;
    f->at = 0;
    next(f);
}
