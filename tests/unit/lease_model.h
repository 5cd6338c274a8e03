/*
 * What attempts in a fleet ask the store, which is the other end of a link, and their issuer, which answers when the test wants
 * it; time is the test's. For test_order_lease.c and test_info_shared.c.
 */
#pragma once

#include "acme/order_lease.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "acme/far_accounts.h"
#include "acme/scheduler.h"
#include "base/err.h"

#define DAY   INT64_C(86400)
#define START UINT64_C(1000000) /* milliseconds */

static char dir[] = "/tmp/tls-off-lease-XXXXXX";
static uint64_t mono_ms;
static int64_t wall_s;
static struct loop loop;
static struct share_link share;
static struct scheduler scheduler;
static struct ca cas[2];
static struct store store;
static struct job job;
static struct challenges challenges;
static struct log quiet = {.level = LOG_LEVEL_ERROR};
static int fleet_end = -1;
static struct { /* about renewals: asked, and not answered while FN is not NULL */
    unsigned asked;
    answer_fn fn;
    void *ctx;
} info;
static unsigned directories; /* attempts that went on to the issuer */
static struct {              /* what the issuer, or the keymaker, was asked last; FN NULL = it has been answered */
    const struct ca *ca;
    enum keymaking_op op;
    answer_fn fn;
    void *ctx;
} question;

uint64_t __wrap_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void) {
    return mono_ms;
}

/* ---- an issuer that answers when the test wants it ---- */

static void ask(const struct ca *c, enum keymaking_op op, answer_fn fn, void *ctx) {
    question.ca = c;
    question.op = op;
    question.fn = fn;
    question.ctx = ctx;
}

void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    (void)call;
    ask(c, KEYMAKING_COUNT, fn, ctx);
    directories++;
}

void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place_of_cert, enum ca_url place,
             const char *url, struct span data, answer_fn fn, void *ctx) {
    (void)call, (void)place_of_cert, (void)place, (void)url, (void)data;
    ask(c, op, fn, ctx);
}

void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx) {
    (void)c, (void)call, (void)place, (void)suffix;
    info.asked++;
    info.fn = fn;
    info.ctx = ctx;
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place, struct span data, answer_fn fn,
                 void *ctx) {
    (void)call, (void)place, (void)data;
    ask(c, op, fn, ctx);
}

void ca_cancel(struct ca_call *call) {
    (void)call;
}

bool ca_has_profile(const struct ca *c, const char *profile) {
    (void)c, (void)profile;
    return false;
}

/* ---- the store ---- */

static int64_t now(void) {
    return wall_s;
}

static uint64_t no_random(void) {
    return 0;
}

static void on_changed(void *ctx, const struct job *j) {
    (void)ctx, (void)j;
}

static void on_store(void *ctx) {
    (void)ctx;
}

static void on_news(void *ctx, struct span name) {
    (void)ctx, (void)name;
}

static void on_timer(void *ctx, struct wtimer *t) {
    alarm_clock_ring(ctx, t);
}

/* Time passes, in steps of timers. */
static void pass(uint64_t ms) {
    for (uint64_t end = mono_ms + ms; mono_ms < end; mono_ms += 10) {
        loop.now_ms = mono_ms;
        wheel_turn(&loop.wheel, mono_ms, on_timer, NULL);
    }
    loop.now_ms = mono_ms;
}

static uint8_t scratch[IPC_BODY_MAX + 2];

/* What the fleet role was asked; false: nothing. */
static bool asked(struct sharing_request *ret) {
    struct ipc_msg m;
    int err = 0;
    if (ipc_recv(fleet_end, scratch, sizeof(scratch), sharing_to_fleet, &m, &err) != STEP_DONE)
        return false;
    assert_int_equal(sharing_read_request(&m, ret), 0);
    return true;
}

static void answer_version(uint32_t number, enum sharing_result result, uint64_t fence, uint64_t version, const char *data) {
    const struct sharing_answer a = {number, result, fence, version, span_str(data)};
    uint8_t bytes[IPC_BODY_MAX + 2];
    struct ipc_msg m;
    int err = 0;
    assert_int_equal(sharing_send_answer(fleet_end, &a), 0);
    assert_int_equal(ipc_recv(share.fleet.fd, bytes, sizeof(bytes), sharing_to_acme, &m, &err), STEP_DONE);
    assert_true(share.fleet.ops->message(&share, &share.fleet, &m));
}

/* The answer arrives. */
static void answer(uint32_t number, enum sharing_result result, uint64_t fence, const char *data) {
    answer_version(number, result, fence, 0, data);
}

static int set_up(void **state) {
    static const char *names[] = {"b.example", "a.example", "c.example"};
    static uint16_t issuer_places[] = {0, 1};
    static uint8_t challenge_kinds[] = {CHALLENGE_HTTP_01};
    static struct conf_issuer issuers[] = {
        {.name = "p", .directory = "https://p/d", .challenges = challenge_kinds, .nchallenges = 1, .profile = ""},
        {.name = "q", .directory = "https://q/d", .challenges = challenge_kinds, .nchallenges = 1, .profile = ""}};
    static struct conf_managed cert = {
        .id = "web.ecdsa-p256", .names = names, .nnames = 3, .issuers = issuer_places, .nissuers = 2};
    static struct conf_acme conf = {.issuers = issuers, .nissuers = 2, .certs = &cert, .ncerts = 1};
    int ends[2];
    (void)state;
    mono_ms = START;
    wall_s = 1000 * DAY;
    directories = 0;
    memset(&loop, 0, sizeof(loop));
    if (loop_init(&loop) < 0 || ipc_pair(0, ends) < 0)
        return -1;
    loop.now_ms = mono_ms;
    wheel_init(&loop.wheel, mono_ms);
    fleet_end = ends[1];
    share_link_init(&share, &loop, 3);
    share.changed = on_store;
    share.news = on_news;
    share.log = &quiet;
    question.fn = NULL;
    info.asked = 0;
    info.fn = NULL;
    for (uint16_t i = 0; i < 2; i++)
        cas[i] = (struct ca){.issuer = &issuers[i], .index = i};
    job = (struct job){.cert = &cert, .inspected = true};
    challenges = (struct challenges){.supervisor = -1};
    const struct order_env env = {.loop = &loop,
                                  .acme = &conf,
                                  .share = &share,
                                  .cas = cas,
                                  .store = &store,
                                  .challenges = &challenges,
                                  .log = &quiet,
                                  .now = now};
    scheduler = (struct scheduler){.njobs = 0};
    scheduler_init(&scheduler, &env, &job, 1);
    scheduler.random = no_random;
    scheduler.changed = on_changed;
    if (share_link_take(&share, ends[0]) < 0)
        return -1;
    share.up = true;
    scheduler_run(&scheduler);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    scheduler_stop(&scheduler);
    channel_close(&share.fleet);
    close(fleet_end);
    loop_fini(&loop);
    return 0;
}

static int run_lease_tests(int (*run)(void)) {
    static const char *const files[] = {"order.web.ecdsa-p256.json", "account.p.json", "account.q.json"};
    char file[128];
    if (!mkdtemp(dir) || store_init(&store, dir) < 0)
        return 1;
    int failed = run();
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", dir, files[i]);
        (void)unlink(file);
    }
    return rmdir(dir) < 0 ? 1 : failed;
}
