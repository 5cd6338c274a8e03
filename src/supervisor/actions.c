#include "supervisor/actions.h"

#include "supervisor/commands.h"
#include "supervisor/reexec.h"
#include "supervisor/stop.h"
#include "supervisor/super.h"
#include "supervisor/transition.h"
#include "supervisor/wiring.h"
#include "supervisor/worker.h"

/* One that does not answer is not waited for: its handshakes are lost already. */
static bool handshakes_finished(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (w->role == ROLE_HANDSHAKER && worker_runs(w) && w->state < CHILD_DRAINED && w->silent_ms == 0)
            return false;
    return true;
}

static bool others_gone(struct super *s) {
    for (struct worker *w = NULL; (w = worker_next(s, w));)
        if (!worker_is_last(w) && worker_runs(w))
            return false;
    return true;
}

static bool is_transition_wanted(const struct super *s) {
    return s->now ? command_reload_waits(s) : s->generations == 0;
}

static bool is_gone_role(const struct generation *g, enum role role) {
    return !g || generation_gone(g, role);
}

static bool accepts(const struct generation *g) {
    return generation_ready(g, ROLE_HANDSHAKER) && generation_all(g, ROLE_HANDSHAKER, CHILD_SERVING);
}

/* What holds now. */
static struct situation look_at_situation(struct super *s) {
    const struct generation *next = s->next, *old = s->previous;
    struct situation here = {.handshake_ms = transition_handshake_ms(s), .migrate_ms = transition_migrate_ms(s)};
    const struct {
        bool holds;
        enum condition what;
    } all[] = {
        {s->now, HAS_NOW},
        {next, HAS_NEXT},
        {old, HAS_PREVIOUS},
        {is_transition_wanted(s), IS_WANTED},
        {s->refusal.is_made, IS_REFUSED},
        {next && next->conf && next->scoreboard_fd >= 0, NEXT_CONFIGURED},
        {next && generation_ready(next, ROLE_COUNT), NEXT_READY},
        {is_gone_role(next, ROLE_COUNT), NEXT_GONE},
        {s->now && accepts(s->now), NOW_ACCEPTS},
        {is_gone_role(old, ROLE_OBSERVER), OLD_OBSERVER_GONE},
        {is_gone_role(old, ROLE_HANDSHAKER), OLD_HANDSHAKERS_GONE},
        {is_gone_role(old, ROLE_RELAY), OLD_RELAYS_GONE},
        {is_gone_role(old, ROLE_COUNT), OLD_GONE},
        {s->helpers[HELPER_SUCCESSOR].pid == 0, DRY_RUN_OVER},
        {s->transition.successor_willing, SUCCESSOR_WILLING},
        {handshakes_finished(s), HANDSHAKES_FINISHED},
        {generation_all(&s->gens[0], ROLE_RELAY, CHILD_DRAINED) && generation_all(&s->gens[1], ROLE_RELAY, CHILD_DRAINED),
         RELAYS_DRAINED},
        {others_gone(s), OTHERS_GONE},
        {generation_gone(&s->gens[0], ROLE_COUNT) && generation_gone(&s->gens[1], ROLE_COUNT), ALL_GONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        here.holds |= all[i].holds ? all[i].what : 0u;
    return here;
}

static void end_dry_run(struct super *s) {
    helper_end(s, HELPER_SUCCESSOR);
    log_msg(&s->log, LOG_LEVEL_WARNING, "the supervisor keeps its old code: the dry run of its successor took too long");
}

/* ACTION_IDLE and ACTION_END want nothing: what they say is in the state. */
static void (*const handlers[ACTIONS])(struct super *s) = {
    [ACTION_CONFIGURE] = transition_configure,
    [ACTION_START] = transition_start,
    [ACTION_SWITCH] = transition_switch,
    [ACTION_FINISH] = transition_finish,
    [ACTION_TEND_OLD] = transition_tend_old,
    [ACTION_TAKE_LOG] = wiring_take_log,
    [ACTION_KILL_FINISHING] = transition_kill_finishing,
    [ACTION_MIGRATE] = transition_migrate,
    [ACTION_LEAVE] = transition_leave,
    [ACTION_CONCLUDE] = transition_conclude,
    [ACTION_DRY_RUN] = reexec_dry_run,
    [ACTION_END_DRY_RUN] = end_dry_run,
    [ACTION_UNDO] = transition_undo,
    [ACTION_TEND_UNDO] = transition_tend_undo,
    [ACTION_KILL_ALL] = transition_kill_all,
    [ACTION_EXEC] = reexec_exec,
    [ACTION_REPORT_REFUSED] = transition_report_refused,
    [ACTION_ANNOUNCE] = stop_announce,
    [ACTION_STOP] = stop_begin,
    [ACTION_DRAIN_RELAYS] = stop_drain_relays,
    [ACTION_STOP_OTHERS] = stop_others,
    [ACTION_STOP_OBSERVER] = stop_observer,
};

static void begin_stage(struct super *s) {
    const struct lifecycle *l = &s->lifecycle;
    s->dirty = true;
    wheel_cancel(&s->loop.wheel, &s->stage_timer);
    if (l->limit_ms)
        wheel_arm(&s->loop.wheel, &s->stage_timer, s->loop.now_ms + l->limit_ms);
    if (s->now)
        log_msg(&s->log, LOG_LEVEL_DEBUG, "transition: %s", decide_stage_name(l->stage));
}

void actions_take(struct super *s, const struct decide_event *e) {
    static const struct decide_event go_on = {.kind = EVENT_CONTINUE};
    for (;; e = &go_on) {
        enum transition_stage before = s->lifecycle.stage;
        struct situation here = look_at_situation(s);
        enum action action = decide(&s->lifecycle, e, &here);
        if (action == ACTION_NONE)
            return;
        if (s->lifecycle.ended)
            s->loop.stop = true;
        if (s->lifecycle.stage != before)
            begin_stage(s);
        if (handlers[action])
            handlers[action](s);
    }
}

void actions_turn(struct super *s) {
    actions_take(s, &(struct decide_event){.kind = EVENT_TURN});
}

void actions_stage_late(struct super *s) {
    log_msg(&s->log, LOG_LEVEL_WARNING, "transition: %s takes too long", decide_stage_name(s->lifecycle.stage));
    actions_take(s, &(struct decide_event){.kind = EVENT_STAGE_LATE});
}

void actions_command(struct super *s, const struct control_command *c) {
    uint64_t ms = c->ms ? c->ms : s->now ? s->now->conf->drain_ms : 0;
    bool drain = c->kind == COMMAND_DRAIN;
    if (!command_open(s, c) || c->kind == COMMAND_RELOAD)
        return; /* decided at the end of the turn */
    enum decide_event_kind kind = !drain ? EVENT_STOP : c->delay_ms ? EVENT_ANNOUNCE : EVENT_DRAIN;
    actions_take(s, &(struct decide_event){.kind = kind, .ms = ms, .delay_ms = c->delay_ms});
}
