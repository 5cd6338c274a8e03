/* What the files of the supervisor share. Nothing here leaves this folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "supervisor/admin.h"
#include "wire/board.h"
#include "wire/control.h"
#include "wire/event.h"
#include "wire/stats.h"

enum super_kind { SUPER_SIGNAL, SUPER_CHILD };

enum child_state {
    CHILD_NONE,     /* not running; may wait for its restart */
    CHILD_STARTING, /* told to go, not ready yet */
    CHILD_READY,
    CHILD_DRAINED, /* ready, and finished with its work in a stop */
};

/* One child process, or the place of one. */
struct worker {
    enum role role;
    uint16_t index;
    enum child_state state;
    pid_t pid;
    int control; /* -1 = none */
    int ring;    /* memfd of its ring; survives restarts */
    int32_t cpu;
    uint32_t generation;
    uint32_t backoff_ms; /* before the next restart */
    uint64_t started_ms;
    bool stopping;       /* told to stop: its end is no fault */
    struct wtimer timer; /* restart, or the last moment of a stop */
};

enum stop_phase { STOP_NOT, STOP_HANDSHAKERS, STOP_RELAYS, STOP_OTHERS, STOP_OBSERVER };

struct super {
    struct loop loop;
    struct conf *conf;
    int snapshot_fd, secrets_fd, board_fd;
    int stats_fd; /* counters: one for our whole life, also over reloads */
    struct board board;
    struct voice voice;
    int voice_ring;
    int signal_fd;
    int ready_fd;
    struct admin_sockets admin;
    int *listeners; /* conf->nlisteners x workers, one socket a handshaker */
    struct worker *workers;
    size_t nworkers;
    bool serving; /* every role was ready once */
    bool failed;  /* the start failed, or something cannot go on */
    enum stop_phase phase;
    uint64_t drain_until_ms;
    uint64_t cut;
    struct wtimer drain_timer;
    uint8_t scratch[IPC_BODY_MAX + 2];
};

/* configure.c: asks the config role. False when it refused (the reasons have been printed). */
bool configure(struct super *s, const struct control_request *what);

/* Starts ourselves as ROLE, with the child's end of the control socket as descriptor 3. -1 on failure (errno). */
pid_t spawn_role(enum role role, uint16_t index, int child_end);

/* listeners.c: opens all listening sockets; false with a line on stderr. */
bool listeners_open(struct super *s);
void listeners_say(struct super *s);
void listeners_close(struct super *s);
int listeners_get(const struct super *s, size_t listener, uint16_t worker);

/* workers.c */
bool workers_make(struct super *s);

/* False, with a line on stderr, when one cannot be started. */
bool workers_start(struct super *s);
void worker_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events);

/* Takes note of every child that has ended. */
void workers_reap(struct super *s);
void worker_timer(struct super *s, struct worker *w);

/* Tells every running child of a role; text-free messages only. */
void workers_tell(struct super *s, enum role role, enum control_type type);
bool workers_all(const struct super *s, enum role role, enum child_state at_least);
bool workers_gone(const struct super *s, enum role role);
void worker_stop(struct super *s, struct worker *w);

/* notify.c: STATE as in sd_notify(3), "READY=1". */
void notify(const char *state);

/* stop.c */
void stop_begin(struct super *s);
void stop_at_once(struct super *s);

/* Goes on to the next phase of a stop when the present one is over. */
void stop_advance(struct super *s);
