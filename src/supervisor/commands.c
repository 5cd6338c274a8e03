/*
 * What operators ask for. A command is a place in the roster from the moment it comes; who asked looks for its result there, if
 * need be through another observer than the one that took it.
 */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/super.h"

static bool is_open(const struct roster_command *c) {
    return c->result == ROSTER_QUEUED || c->result == ROSTER_RUNNING;
}

/* An empty place, or the one of the oldest that has its result; NULL when all wait. */
static struct roster_command *place(struct super *s) {
    struct roster_command *best = NULL;
    for (size_t i = 0; i < ROSTER_COMMANDS; i++) {
        struct roster_command *c = &s->roster.commands[i];
        if (c->kind == 0)
            return c;
        if (!is_open(c) && (!best || c->ended_ms < best->ended_ms))
            best = c;
    }
    return best;
}

static void set_result(struct roster_command *c, enum roster_result result, const char *text) {
    struct text t = text_of(c->text, sizeof(c->text));
    text_add(&t, text);
    c->result = (uint16_t)result;
    c->ended_ms = result == ROSTER_QUEUED || result == ROSTER_RUNNING ? 0 : clock_wall_us() / 1000;
}

void command_take(struct super *s, const struct control_command *what) {
    struct roster_command *c = place(s);
    if (!c) {
        voice_say(&s->voice, LOG_LEVEL_WARNING, "a command was not taken: %d wait already", ROSTER_COMMANDS);
        return;
    }
    memset(c, 0, sizeof(*c));
    c->id = what->id;
    c->kind = (uint16_t)what->kind;
    c->asked_ms = clock_wall_us() / 1000;
    set_result(c, ROSTER_QUEUED, "");
    s->dirty = true;
    if (s->stop.phase != STOP_NOT && what->kind == COMMAND_RELOAD) {
        set_result(c, ROSTER_REFUSED, "the proxy is stopping");
        return;
    }
    if (what->kind == COMMAND_RELOAD) {
        change_begin(s);
        return;
    }
    set_result(c, ROSTER_RUNNING, "");
    uint64_t ms = what->ms ? what->ms : s->now ? s->now->conf->drain_ms : 0;
    stop_begin(s, what->kind == COMMAND_DRAIN ? DRAIN_PATIENT : DRAIN_QUICK, ms);
}

void command_signal(struct super *s, enum command_kind kind) {
    command_take(s, &(struct control_command){.kind = kind, .id = clock_mono_us()});
}

bool command_reload_waits(const struct super *s) {
    for (size_t i = 0; i < ROSTER_COMMANDS; i++)
        if (s->roster.commands[i].kind == COMMAND_RELOAD && s->roster.commands[i].result == ROSTER_QUEUED)
            return true;
    return false;
}

void command_run_reloads(struct super *s) {
    for (size_t i = 0; i < ROSTER_COMMANDS; i++)
        if (s->roster.commands[i].kind == COMMAND_RELOAD && s->roster.commands[i].result == ROSTER_QUEUED)
            s->roster.commands[i].result = ROSTER_RUNNING;
    s->dirty = true;
}

void command_end(struct super *s, enum command_kind kind, enum roster_result result, const char *text) {
    for (size_t i = 0; i < ROSTER_COMMANDS; i++)
        if (s->roster.commands[i].kind == kind && is_open(&s->roster.commands[i]))
            if (kind != COMMAND_RELOAD || s->roster.commands[i].result == ROSTER_RUNNING || s->stop.phase != STOP_NOT)
                set_result(&s->roster.commands[i], result, text);
    s->dirty = true;
}
