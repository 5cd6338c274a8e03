/*
 * What is done in a transition from one generation to the next: the actions of decide.h, each once when it is decided, or after
 * every turn. The supervisor never blocks: signals, children and restarts are served meanwhile. One that cannot be done before
 * the switch gives the reason to refuse_next().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct super;
struct worker;
struct control_exported;

struct transition {
    uint64_t began_ms;
    uint64_t migrated;      /* sessions */
    uint64_t cut_before;    /* proctab.cut at the beginning */
    uint32_t lost;          /* old relays that died with their sessions */
    bool successor_willing; /* the answer of the dry run */
};

void transition_configure(struct super *s);
void transition_start(struct super *s);
void transition_switch(struct super *s);
void transition_finish(struct super *s);

/* Stops what is drained of the old generation, and starts the migration of relays that have not begun. */
void transition_tend_old(struct super *s);
void transition_kill_finishing(struct super *s);
void transition_migrate(struct super *s);
void transition_leave(struct super *s);
void transition_conclude(struct super *s);

void transition_undo(struct super *s);
void transition_tend_undo(struct super *s);
void transition_kill_all(struct super *s);
void transition_report_refused(struct super *s);

/* What the previous generation is given: for its handshakes, and for the migration of its sessions. 0 without one. */
uint64_t transition_handshake_ms(const struct super *s);
uint64_t transition_migrate_ms(const struct super *s);

/* An old relay reports its progress. */
void transition_exported(struct super *s, struct worker *old, const struct control_exported *e);
