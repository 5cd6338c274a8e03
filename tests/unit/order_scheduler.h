/* The model of order_model.h, with a scheduler that begins the attempts. */
#pragma once

#include "order_model.h"

static struct scheduler scheduler;

static void on_change(void *ctx, const struct job *j) {
    (void)ctx;
    (void)j;
}

static uint64_t no_chance(void) {
    return 0;
}

static void begin_scheduler(void) {
    memset(&scheduler, 0, sizeof(scheduler));
    cas[0].known = true;
    if (!offers_info)
        cas[0].urls[CA_RENEWAL_INFO][0] = 0;
    scheduler_init(&scheduler, &env, &job, 1);
    scheduler.random = no_chance;
    scheduler.changed = on_change;
    scheduler_run(&scheduler);
}

static void crash_scheduler(void) {
    lost = false;
    scheduler_stop(&scheduler);
    pending = (struct pending){.call = NULL};
    memset(&challenges, 0, sizeof(challenges));
    cas[0].thumbprint[0] = 0;
    job = (struct job){.cert = &cert};
    store_get_job(&store, &job, now_s);
}

static int make_directory(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_directory(void **state) {
    begin(state);
    char file[128];
    (void)snprintf(file, sizeof(file), "%s/account.first.json", dir);
    (void)unlink(file);
    (void)snprintf(file, sizeof(file), "%s/account.second.json", dir);
    (void)unlink(file);
    return rmdir(dir);
}
