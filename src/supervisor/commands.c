/*
 * Commands of operators. A command has a slot in the process table from the moment it arrives; its result is read there, if
 * need be through another observer than the one that received it.
 */
#include "supervisor/commands.h"

#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "supervisor/super.h"

static bool is_open(const struct proctab_command *c) {
    return c->result == PROCTAB_QUEUED || c->result == PROCTAB_RUNNING;
}

/* A slot behind all others: they are in the order in which they came, whatever the clock says. The first that has a result
 * makes room; NULL when all wait. */
static struct proctab_command *append_command_slot(struct super *s) {
    struct proctab_command *list = s->proctab.commands;
    size_t n = 0, first = 0;
    while (n < PROCTAB_COMMANDS && list[n].kind)
        n++;
    if (n < PROCTAB_COMMANDS)
        return &list[n];
    while (first < n && is_open(&list[first]))
        first++;
    if (first == n)
        return NULL;
    memmove(&list[first], &list[first + 1], (n - 1 - first) * sizeof(*list));
    return &list[n - 1];
}

static void set_result(struct proctab_command *c, enum proctab_result result, const char *text) {
    struct text t = text_of(c->text, sizeof(c->text));
    text_add_lines(&t, text);
    c->result = (uint16_t)result;
    c->ended_ms = result == PROCTAB_QUEUED || result == PROCTAB_RUNNING ? 0 : clock_wall_us() / 1000;
}

bool command_open(struct super *s, const struct control_command *what) {
    struct proctab_command *c = append_command_slot(s);
    if (!c) {
        log_msg(&s->log, LOG_LEVEL_WARNING, "a command was dropped: %d wait already", PROCTAB_COMMANDS);
        return false;
    }
    memset(c, 0, sizeof(*c));
    c->id = what->id;
    c->kind = (uint16_t)what->kind;
    c->asked_ms = clock_wall_us() / 1000;
    s->dirty = true;
    if (what->kind != COMMAND_RELOAD)
        set_result(c, PROCTAB_RUNNING, "");
    else if (lifecycle_goes_on(&s->lifecycle))
        set_result(c, PROCTAB_QUEUED, "");
    else
        set_result(c, PROCTAB_REFUSED, "the proxy is stopping");
    return true;
}

bool command_reload_waits(const struct super *s) {
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        if (s->proctab.commands[i].kind == COMMAND_RELOAD && s->proctab.commands[i].result == PROCTAB_QUEUED)
            return true;
    return false;
}

void command_run_reloads(struct super *s) {
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        if (s->proctab.commands[i].kind == COMMAND_RELOAD && s->proctab.commands[i].result == PROCTAB_QUEUED)
            s->proctab.commands[i].result = PROCTAB_RUNNING;
    s->dirty = true;
}

void command_end(struct super *s, enum command_kind kind, enum proctab_result result, const char *text) {
    for (size_t i = 0; i < PROCTAB_COMMANDS; i++)
        if (s->proctab.commands[i].kind == kind && is_open(&s->proctab.commands[i]))
            if (kind != COMMAND_RELOAD || s->proctab.commands[i].result == PROCTAB_RUNNING || s->lifecycle.phase != STOP_NOT)
                set_result(&s->proctab.commands[i], result, text);
    s->dirty = true;
}
