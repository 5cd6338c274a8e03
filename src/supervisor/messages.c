/*
 * Messages of children. Which role may send what is in control.h (control_hear()); here is when: each type with the states of
 * its sender in which it is valid. A message from another role, at another time or malformed is that child's fault, and ends
 * it: it may be compromised, and what it says about others must not count.
 */
#include "supervisor/messages.h"

#include <sys/epoll.h>

#include "base/err.h"
#include "supervisor/actions.h"
#include "supervisor/hook.h"
#include "supervisor/keys.h"
#include "supervisor/super.h"
#include "supervisor/wiring.h"
#include "supervisor/worker.h"
#include "wire/control_creds.h"
#include "wire/control_export.h"

static void log_serving_again(struct super *s, const struct worker *w) {
    if (s->lifecycle.serving && w->gen == s->now && w->restarts)
        log_msg(&s->log, LOG_LEVEL_INFO, "%s.%u serves again (pid %d)", role_name(w->role), w->index, (int)w->pid);
}

static bool on_ready(struct super *s, struct worker *w, const struct ipc_msg *m) {
    (void)m;
    w->state = CHILD_READY;
    if (w->role == ROLE_ACME)
        wiring_serve_acme(s);
    else if (w->role != ROLE_HANDSHAKER)
        log_serving_again(s, w);
    else if (w->gen == s->now && control_send(w->control, CONTROL_SERVE) < 0)
        worker_kill(w);
    return true;
}

/* Only those of the serving generation have received SERVE. */
static bool on_serving(struct super *s, struct worker *w, const struct ipc_msg *m) {
    (void)m;
    if (w->gen == s->next)
        return false;
    w->state = CHILD_SERVING;
    log_serving_again(s, w);
    return true;
}

static bool on_refused(struct super *s, struct worker *w, const struct ipc_msg *m) {
    struct span text = m->body;
    if (w->gen == s->next)
        refuse_next(s, "%.*s", (int)text.len, (const char *)text.p);
    else
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u cannot serve: %.*s", role_name(w->role), w->index, (int)text.len,
                (const char *)text.p);
    if (w->role == ROLE_SIGNER) {
        creds_reload_refused(s, w, w->first_set, text); /* no answer when that is the set in use */
        keys_lost(s, w);
    }
    return true;
}

/* DRAIN was sent to all in a stop, and to those of the previous generation; a relay answers STOP with it, too. */
static bool on_drained(struct super *s, struct worker *w, const struct ipc_msg *m) {
    uint64_t cut;
    bool drains = s->lifecycle.phase != STOP_NOT || w->gen == s->previous || (w->stopping && w->role == ROLE_RELAY);
    if (!drains || control_read_number(m, &cut) < 0)
        return false;
    w->state = CHILD_DRAINED;
    worker_count_cut(s, w, cut);
    return true;
}

static bool on_exported(struct super *s, struct worker *w, const struct ipc_msg *m) {
    struct control_exported e;
    if (control_read_exported(m, &e) < 0)
        return false;
    transition_exported(s, w, &e);
    return true;
}

static bool on_command(struct super *s, struct worker *w, const struct ipc_msg *m) {
    struct control_command c;
    (void)w;
    if (control_read_command(m, &c) < 0)
        return false;
    actions_command(s, &c);
    return true;
}

static bool on_hook(struct super *s, struct worker *w, const struct ipc_msg *m) {
    return hook_ask(s, w, m);
}

static bool on_pong(struct super *s, struct worker *w, const struct ipc_msg *m) {
    (void)m;
    heartbeat_answer(s, w);
    return true;
}

static bool on_keys_taken(struct super *s, struct worker *w, const struct ipc_msg *m) {
    uint32_t set;
    if (control_read_keys_taken(m, &set) < 0 || !keys_answered(w, set))
        return false;
    creds_reload_taken(s, w, set);
    return true;
}

static bool on_keys_refused(struct super *s, struct worker *w, const struct ipc_msg *m) {
    uint32_t set;
    struct span text;
    if (control_read_keys_refused(m, &set, &text) < 0 || !keys_answered(w, set))
        return false;
    creds_reload_refused(s, w, set, text);
    return true;
}

#define UNREAD_MAX 8 /* messages of one that starts, before its end is noticed */

#define IN(state) (1u << (state))
#define SERVES    (IN(CHILD_READY) | IN(CHILD_SERVING) | IN(CHILD_DRAINED))

static const struct {
    uint16_t type;
    unsigned states;
    bool (*take)(struct super *s, struct worker *w, const struct ipc_msg *m); /* false: a violation */
} messages[] = {
    {CONTROL_READY, IN(CHILD_STARTING), on_ready},
    {CONTROL_REFUSED, IN(CHILD_STARTING), on_refused},
    {CONTROL_SERVING, IN(CHILD_READY), on_serving},
    {CONTROL_DRAINED, SERVES, on_drained},
    {CONTROL_EXPORTED, SERVES, on_exported},
    {CONTROL_COMMAND, SERVES, on_command},
    {CONTROL_HOOK, IN(CHILD_SERVING), on_hook},
    {CONTROL_PONG, IN(CHILD_STARTING) | SERVES, on_pong},
    {CONTROL_KEYS_TAKEN, IN(CHILD_STARTING) | SERVES, on_keys_taken},
    {CONTROL_KEYS_REFUSED, SERVES, on_keys_refused},
};

static bool dispatch_message(struct super *s, struct worker *w, const struct ipc_msg *m) {
    for (size_t i = 0; i < ARRAY_LEN(messages); i++)
        if (messages[i].type == m->type)
            return messages[i].states & IN(w->state) && messages[i].take(s, w, m);
    return false;
}

/* Its end is noticed like any other; nothing it has still sent is read. */
static void kill_rule_breaker(struct super *s, struct worker *w, uint16_t type) {
    log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u (pid %d) broke the rules with a message (%s) and is killed", role_name(w->role),
            w->index, (int)w->pid, control_type_name(type));
    loop_unwatch(&s->loop, w->control);
    worker_kill(w);
}

/* Whether there was a message, and one that it may send. */
static bool receive_from_worker(struct super *s, struct worker *w) {
    struct ipc_msg m = {.type = 0};
    int err = 0;
    bool good = false;
    switch (control_hear(w->control, w->role, s->scratch, sizeof(s->scratch), &m, &err)) {
    case STEP_WANT_READ:
        break;
    case STEP_DONE:
        if (m.type != CONTROL_PONG)
            s->dirty = true;
        good = dispatch_message(s, w, &m);
        if (!good)
            kill_rule_breaker(s, w, m.type);
        ipc_msg_close(&m);
        break;
    case STEP_FAILED:
        if (err != ERR_SYSTEM) /* else it is no fault of its own: it is heard in the next turn, or found silent */
            kill_rule_breaker(s, w, m.type);
        break;
    default: /* gone: workers_reap() does the rest */
        loop_unwatch(&s->loop, w->control);
    }
    return good;
}

/* A file of its keys cannot be opened, or it does not take them. */
static void on_keys_missing(struct super *s, struct worker *w, uint32_t set, const char *why) {
    if (w->gen == s->next) {
        refuse_next(s, "%s", why);
    } else if (w->gen == s->now && set == s->creds.next.number) {
        creds_reload_refused(s, w, set, span_str(why));
    } else {
        log_msg(&s->log, LOG_LEVEL_ERROR, "%s.%u cannot be given its keys: %s", role_name(w->role), w->index, why);
        keys_lost(s, w);
        worker_kill(w);
    }
}

static void send_keys(struct super *s, struct worker *w) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    uint32_t failed = keys_pump(s, w, &why);
    if (failed)
        on_keys_missing(s, w, failed, line);
}

void messages_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    struct super *s = ctx;
    struct worker *w = worker_of_event(s, key, gen);
    if (!w)
        return;
    if (events & EPOLLOUT)
        send_keys(s, w);
    (void)receive_from_worker(s, w);
}

void messages_of_starting(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        for (unsigned i = 0; i < UNREAD_MAX && w->state == CHILD_STARTING && w->control >= 0; i++)
            if (!receive_from_worker(s, w))
                break;
}
