/* What the files of the supervisor share. Nothing here leaves this folder. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "supervisor/admin.h"
#include "supervisor/balancing.h"
#include "supervisor/creds.h"
#include "supervisor/generation.h"
#include "supervisor/heartbeat.h"
#include "supervisor/helper.h"
#include "supervisor/listeners.h"
#include "supervisor/placement.h"
#include "supervisor/transition.h"
#include "supervisor/words.h"
#include "wire/control.h"
#include "wire/event.h"
#include "wire/proctab.h"
#include "wire/stats.h"

enum super_kind { SUPER_SIGNAL, SUPER_CHILD, SUPER_HELPER, SUPER_CREDS };

enum stop_phase { STOP_NOT, STOP_HANDSHAKERS, STOP_RELAYS, STOP_OTHERS, STOP_OBSERVER };

struct super {
    struct loop loop;
    struct control_request request; /* what to load; texts live as long as the process */
    const char *exe_path;           /* the file a reload starts */

    struct generation gens[2];   /* by parity of their number */
    struct generation *now;      /* the one that serves, from its switch on; NULL before the first */
    struct generation *next;     /* being made */
    struct generation *previous; /* was replaced */
    uint32_t generations;        /* made so far */
    struct change change;
    struct creds_change creds;
    struct helper helpers[HELPERS];
    struct listeners listeners;
    struct admin_sockets admin;
    struct heartbeat heartbeat;
    struct balancing balancing;
    struct placement placement;

    struct log log;
    int log_ring;
    int stats_fd; /* counters: one for our whole life, also over reloads */
    int signal_fd;
    int ready_fd;  /* -1 = none, or told */
    bool serving;  /* every role was ready once */
    bool failed;   /* the start failed */
    uint32_t tags; /* of processes started so far: names one in the event loop */

    struct proctab proctab; /* written to the page when DIRTY, at the end of a turn */
    struct proctab_page page;
    int page_fd;
    bool dirty;

    struct {
        enum stop_phase phase;
        enum drain_how how;
        uint64_t until_ms;
        struct wtimer timer;
    } stop;
    uint8_t scratch[IPC_BODY_MAX + 2];
};

/* notify.c: the service manager. It is spoken to only when it has asked for that. */
void notify_init(void);

/* What was taken from the environment, for the state: one of the two is NULL. */
struct wr;
struct rd;
void notify_value(struct wr *w, struct rd *r);

/* How often it wants to hear that all is well; 0 = it does not. */
uint64_t notify_watchdog_usec(void);

/* STATE as in sd_notify(3), "READY=1". */
void notify(const char *state);

/* stop.c */
void stop_begin(struct super *s, enum drain_how how, uint64_t ms);
void stop_at_once(struct super *s);

/* Goes on to the next phase of a stop when the present one is over. */
void stop_advance(struct super *s);

/* commands.c: what operators ask for, by signal or by the observer; results stand in the roster. */
void command_take(struct super *s, const struct control_command *c);

/* A wish without an asker who waits: a signal. */
void command_signal(struct super *s, enum command_kind kind);

/* Whether a reload waits; command_run_reloads() makes all that wait run. */
bool command_reload_waits(const struct super *s);
void command_run_reloads(struct super *s);

/* All that run of KIND get their result. */
void command_end(struct super *s, enum command_kind kind, enum proctab_result result, const char *text);

/* show.c: fills the roster from what is, and publishes it. */
void show(struct super *s);
