/* What the files of the supervisor share. No other directory includes it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "shm/proctab.h"
#include "shm/stats.h"
#include "supervisor/admin_sockets.h"
#include "supervisor/balancing.h"
#include "supervisor/creds_reload.h"
#include "supervisor/decide.h"
#include "supervisor/generation.h"
#include "supervisor/heartbeat.h"
#include "supervisor/helper.h"
#include "supervisor/hook.h"
#include "supervisor/listeners.h"
#include "supervisor/placement.h"
#include "supervisor/refresh.h"
#include "supervisor/refusal.h"
#include "supervisor/transition.h"
#include "supervisor/words.h"
#include "wire/control.h"
#include "wire/event.h"

enum super_timer {
    SUPER_TIMER_WORKER,
    SUPER_TIMER_STOP,
    SUPER_TIMER_STAGE,
    SUPER_TIMER_HEARTBEAT,
    SUPER_TIMER_BALANCING,
    SUPER_TIMER_PLACEMENT,
    SUPER_TIMER_HOOK,
    SUPER_TIMER_CREDS_QUIET,
    SUPER_TIMER_CREDS_RETRY,
    SUPER_TIMER_CREDS_POLL,
    SUPER_TIMER_CREDS_DEADLINE,
    SUPER_TIMER_REFRESH_DEADLINE,
    SUPER_TIMER_REFRESH_RETRY,
};

enum super_kind { SUPER_SIGNAL, SUPER_CHILD, SUPER_HELPER, SUPER_CREDS, SUPER_HOOK };

struct super {
    struct loop loop;
    struct control_request request; /* what to load; texts live as long as the process */
    const char *exe_path;           /* the file a reload starts */

    struct generation gens[2];   /* by parity of their number */
    struct generation *now;      /* the one that serves, from its switch on; NULL before the first */
    struct generation *next;     /* being made */
    struct generation *previous; /* was replaced */
    uint32_t generations;        /* started so far */
    struct lifecycle lifecycle;
    struct wtimer stage_timer; /* of its stage */
    struct refusal refusal;
    struct transition transition;
    struct creds_reload creds;
    struct refresh refresh[REFRESH_KINDS];
    struct helper helpers[HELPERS];
    struct hook hook;
    struct listeners listeners;
    struct admin_sockets admin;
    struct heartbeat heartbeat;
    struct balancing balancing;
    struct placement placement;

    struct log log;
    int log_ring;
    int stats_fd; /* counters: one for our whole life, also over reloads */
    int signal_fd;
    int ready_fd;  /* -1 = none, or written */
    uint32_t tags; /* of processes started so far: names one in the event loop */

    struct proctab proctab; /* written to the page when DIRTY, at the end of a turn */
    struct proctab_page page;
    int page_fd;
    bool dirty;

    struct {
        uint64_t until_ms;
        struct wtimer timer;
    } stop;
    uint8_t scratch[IPC_BODY_MAX + 2];
};
