/*
 * An attempt, and an issuer that is a model, for test_order.c: the functions of ca.h are the model's; the disk is real, but for
 * its fsync().
 */
#pragma once

#include "acme/order.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "acme/renewal.h"
#include "acme/scheduler.h"
#include "base/err.h"

#define NAMES     3
#define STEPS_MAX 200
#define START     INT64_C(1790000000)
#define DAY       INT64_C(86400)
#define NO_DEATH  ((enum keymaking_op)(KEYMAKING_COUNT + 1))

static char dir[] = "/tmp/tls-off-order-XXXXXX";
static const char *names[NAMES] = {"a.example.org", "b.example.org", "192.0.2.7"};
static uint8_t preferences[] = {CHALLENGE_TLS_ALPN_01, CHALLENGE_HTTP_01};
static uint8_t key_kinds[] = {MANAGED_ECDSA_P256};
static uint16_t both_issuers[] = {0, 1};
static struct conf_issuer issuers[2];
static struct conf_managed cert;

/* ---- the model of an issuer ---- */

static struct model {
    bool account;
    unsigned orders, finalized, responses;
    bool has_response[NAMES], valid[NAMES];
    const char *status; /* of the order; NULL = there is none */
    unsigned checks;    /* an authorization becomes valid with the second look */
    const char *invalid_problem;
    char profile[64], replaces[64];
} models[2];

static struct pending {
    struct ca_call *call;
    struct ca *ca;
    enum keymaking_op op;
    enum ca_url place;
    char url[JOB_URL_MAX];
    answer_fn fn;
    void *ctx;
} pending;
static unsigned steps, keymaker_installs;
static int64_t now_s;
static bool lost;                 /* the last answer */
static unsigned syncs, full_from; /* the disk is full from that fsync() on */
static int64_t lifetime_s;
static struct keymaking_cert in_use; /* as the keymaker has it */
static bool issuer_down;
static char in_use_ari[32];
static const char *order_place = "https://ca/order";
static struct orders_list { /* of the account: "https://ca/list/1" and so on */
    bool offered;
    unsigned pages, before; /* that are of others, and orders of others before ours on the last one */
    const char *expires;
} orders_list;
static const char *other_identifier; /* of the order, in place of the first */
static bool offers_info;             /* renewal information, for scheduler tests */
static struct renewals {             /* what the issuer suggests; nothing by default */
    int64_t start_s, end_s;          /* after the certificate's beginning */
    unsigned asked;
} renewals;

static struct loop loop;
static struct ca cas[2];
static struct store store;
static struct challenges challenges;
static struct log quiet = {.level = LOG_LEVEL_ERROR};
static unsigned ended, ended_well;
static struct order order;
static struct job job;

/* Thousands of attempts: what is under test is the order of writes, not the disk. */
int __wrap_fsync(int fd);
int __wrap_fsync(int fd) {
    (void)fd;
    if (++syncs < full_from)
        return 0;
    errno = ENOSPC;
    return -1;
}

static int64_t now(void) {
    return now_s;
}

/* Time goes by. A clock that is set moves now_s alone. */
static void pass(int64_t seconds) {
    now_s += seconds;
    loop.now_ms += (uint64_t)seconds * 1000;
}

static void on_end(void *ctx, struct job *j, bool ok) {
    (void)ctx;
    (void)j;
    ended++;
    ended_well += ok;
}

static const struct conf_acme acme = {.issuers = issuers, .nissuers = 2};
static const struct order_env env = {.loop = &loop,
                                     .acme = &acme,
                                     .cas = cas,
                                     .store = &store,
                                     .challenges = &challenges,
                                     .log = &quiet,
                                     .now = now,
                                     .ended = on_end};

static void ask(struct ca *c, struct ca_call *call, enum keymaking_op op, enum ca_url place, const char *url, answer_fn fn,
                void *ctx) {
    assert_null(call->ca); /* one at a time */
    call->ca = c;
    pending = (struct pending){.call = call, .ca = c, .op = op, .place = place, .fn = fn, .ctx = ctx};
    (void)snprintf(pending.url, sizeof(pending.url), "%s", url);
}

void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    ask(c, call, KEYMAKING_COUNT, CA_URLS, "directory", fn, ctx);
}

void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place_of_cert, enum ca_url place,
             const char *url, struct span data, answer_fn fn, void *ctx) {
    struct keymaking_order o;
    assert_int_equal(place_of_cert, 0);
    if (op == KEYMAKING_ORDER) {
        assert_int_equal(keymaking_unpack_order(data, &o), 0);
        struct model *m = &models[c->index];
        (void)snprintf(m->profile, sizeof(m->profile), "%.*s", (int)o.profile.len, (const char *)o.profile.p);
        (void)snprintf(m->replaces, sizeof(m->replaces), "%.*s", (int)o.replaces.len, (const char *)o.replaces.p);
    }
    ask(c, call, op, place, url, fn, ctx);
}

void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx) {
    ask(c, call, KEYMAKING_COUNT, place, suffix, fn, ctx);
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t place, struct span data, answer_fn fn,
                 void *ctx) {
    (void)place;
    if (op == KEYMAKING_INSTALL)
        assert_true(span_eq(data, span_str("the chain")));
    ask(c, call, op, CA_URLS, "", fn, ctx);
}

void ca_cancel(struct ca_call *call) {
    if (call->ca && pending.call == call)
        pending = (struct pending){.call = NULL};
    call->ca = NULL;
}

bool ca_has_profile(const struct ca *c, const char *profile) {
    (void)c;
    return strcmp(profile, "shortlived") == 0;
}

/* ---- its answers ---- */

static json_t *order_json(const struct model *m) {
    json_t *list = json_array(), *identifiers = json_array();
    char url[64];
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(url, sizeof(url), "https://ca/authz/%u", i);
        json_array_append_new(list, json_string(url));
        json_array_insert_new(identifiers, 0,
                              json_pack("{s:s}", "value", i == 0 && other_identifier ? other_identifier : names[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s*}", "status", m->status, "finalize", "https://ca/finalize", "certificate",
                     "https://ca/cert", "authorizations", list, "identifiers", identifiers, "expires", orders_list.expires);
}

/* RFC 8555 7.1.2.1. */
static void answer_list(const struct model *m, unsigned page, struct answer *a) {
    static char next[64];
    char url[64];
    json_t *list = json_array();
    bool last = page > orders_list.pages;
    for (unsigned i = 0; i < (last ? orders_list.before : 3); i++) {
        (void)snprintf(url, sizeof(url), "https://ca/other/%u/%u", page, i);
        json_array_append_new(list, json_string(url));
    }
    if (last && m->status)
        json_array_append_new(list, json_string("https://ca/order"));
    (void)snprintf(next, sizeof(next), "https://ca/list/%u", page + 1);
    a->next = last ? "" : next;
    a->json = json_pack("{s:o}", "orders", list);
}

static json_t *authz_json(const struct model *m, unsigned i) {
    char alpn[64], http[64];
    (void)snprintf(alpn, sizeof(alpn), "https://ca/challenge/%u", i);
    (void)snprintf(http, sizeof(http), "https://ca/http/%u", i);
    const char *status = m->valid[i] ? "valid" : m->invalid_problem && m->has_response[i] ? "invalid" : "pending";
    json_t *first = json_pack("{s:s, s:s, s:s}", "type", "http-01", "url", http, "token", "token-http");
    json_t *second = json_pack("{s:s, s:s, s:s}", "type", "tls-alpn-01", "url", alpn, "token", "token-alpn");
    if (m->invalid_problem && m->has_response[i])
        json_object_set_new(second, "error", json_pack("{s:s, s:s}", "type", m->invalid_problem, "detail", "nobody there"));
    return json_pack("{s:s, s:{s:s, s:s}, s:[o, o]}", "status", status, "identifier", "type", "dns", "value", names[i],
                     "challenges", first, second);
}

static void look_at(struct model *m, unsigned i) {
    if (m->has_response[i] && !m->invalid_problem && ++m->checks % 2 == 0)
        m->valid[i] = true;
    bool all = true;
    for (unsigned k = 0; k < NAMES; k++)
        all = all && m->valid[k];
    if (all && strcmp(m->status, "pending") == 0)
        m->status = "ready";
}

static void answer_fetch(struct model *m, const char *url, struct answer *a) {
    unsigned i;
    if (sscanf(url, "https://ca/authz/%u", &i) == 1) {
        look_at(m, i);
        a->json = authz_json(m, i);
    } else if (strcmp(url, "https://ca/cert") == 0) {
        assert_string_equal(m->status, "valid");
        a->body = span_str("the chain");
    } else if (strcmp(url, "https://ca/account/1") == 0) {
        a->json = json_pack("{s:s, s:s*}", "status", "valid", "orders", orders_list.offered ? "https://ca/list/1" : NULL);
    } else if (sscanf(url, "https://ca/list/%u", &i) == 1) {
        answer_list(m, i, a);
    } else if (strncmp(url, "https://ca/other/", 17) == 0) {
        a->json = json_pack("{s:s, s:[{s:s}]}", "status", "pending", "identifiers", "value", "other.example.org");
    } else {
        assert_string_equal(url, "https://ca/order");
        a->json = order_json(m);
        if (strcmp(m->status, "processing") == 0)
            m->status = "valid"; /* for the next look */
    }
}

static void answer_challenge(struct model *m, const char *url) {
    unsigned i;
    assert_int_equal(sscanf(url, "https://ca/challenge/%u", &i), 1); /* the preferred one */
    assert_non_null(challenges_by_name(&challenges, CHALLENGE_TLS_ALPN_01,
                                       span_str(i == 2 ? "7.2.0.192.in-addr.arpa" : names[i]))); /* it can be answered by now */
    m->has_response[i] = true;
    m->responses++;
}

/* RFC 9773 4.2: about the certificate in use, and no other. */
static void suggest(const char *ari, struct answer *a) {
    char start[64], end[64];
    time_t at[] = {(time_t)(in_use.not_before + renewals.start_s), (time_t)(in_use.not_before + renewals.end_s)};
    struct tm tm;
    assert_string_equal(ari, in_use_ari);
    renewals.asked++;
    assert_true(strftime(start, sizeof(start), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at[0], &tm)) > 0);
    assert_true(strftime(end, sizeof(end), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at[1], &tm)) > 0);
    a->retry_after = 6 * 3600;
    a->json = json_pack("{s:{s:s, s:s}}", "suggestedWindow", "start", start, "end", end);
}

/* What the issuer, or the keymaker, does with P. */
static void act(const struct pending *p, struct answer *a) {
    static uint8_t packed[64];
    struct model *m = &models[p->ca->index];
    size_t len = 0;
    struct keymaking_cert installed = {
        .from_issuer = true, .names_right = true, .not_before = now_s, .not_after = now_s + lifetime_s};
    switch (p->op) {
    case KEYMAKING_THUMBPRINT:
        a->body = span_str("thumbprint");
        break;
    case KEYMAKING_ACCOUNT:
        m->account = true;
        a->location = "https://ca/account/1";
        break;
    case KEYMAKING_ORDER:
        m->orders++;
        memset(m->has_response, 0, sizeof(m->has_response));
        memset(m->valid, 0, sizeof(m->valid));
        m->status = "pending";
        a->location = order_place;
        a->json = order_json(m);
        break;
    case KEYMAKING_FETCH:
        answer_fetch(m, p->url, a);
        break;
    case KEYMAKING_CHALLENGE:
        answer_challenge(m, p->url);
        break;
    case KEYMAKING_FINALIZE:
        m->finalized++;
        m->status = "processing";
        a->json = order_json(m);
        break;
    case KEYMAKING_INSTALL:
        keymaker_installs++;
        (void)snprintf(in_use_ari, sizeof(in_use_ari), "new.%u", keymaker_installs);
        installed.ari = span_str(in_use_ari);
        in_use = installed;
        installed.issuer = span_str(p->ca->issuer->name);
        assert_int_equal(keymaking_pack_cert(&installed, packed, sizeof(packed), &len), 0);
        a->body = span_of(packed, len);
        break;
    case KEYMAKING_INSPECT:
        assert_int_equal(keymaking_pack_cert(&in_use, packed, sizeof(packed), &len), 0);
        a->body = span_of(packed, len);
        break;
    case KEYMAKING_COUNT: /* not signed */
        if (p->place == CA_RENEWAL_INFO)
            suggest(p->url, a);
        break;
    default:
        break;
    }
}

/* The answer to what is pending. */
static void give_answer(const struct answer *instead) {
    const struct pending p = pending;
    struct answer a = {.problem = "", .location = "", .retry_after = -1, .status = 200, .why = ""};
    pending = (struct pending){.call = NULL};
    if (!instead || instead->status != 599) /* else the request has not even come there */
        act(&p, &a);
    json_t *json = (json_t *)(uintptr_t)a.json;
    if (instead) {
        a = *instead;
        a.problem = a.problem ? a.problem : "";
        a.location = "";
        a.why = a.why ? a.why : "as the test wants it";
    }
    if (!lost) {
        p.call->ca = NULL;
        p.fn(p.ctx, &a);
    }
    json_decref(json);
}

/* One step: the answer to what is pending, or the clock. False: nothing is under way. */
static bool step(const struct answer *instead) {
    if (!order.job)
        return false;
    steps++;
    if (!pending.call) {
        alarm_clock_stop(&order.clock);
        order.clock.fn(order.clock.ctx);
        return true;
    }
    give_answer(instead);
    return true;
}

static void run_to_end(void) {
    for (unsigned i = 0; i < STEPS_MAX && step(NULL); i++)
        continue;
    assert_null(order.job);
}

static int begin(void **state) {
    (void)state;
    memset(models, 0, sizeof(models));
    memset(&challenges, 0, sizeof(challenges));
    memset(cas, 0, sizeof(cas));
    memset(&order, 0, sizeof(order));
    pending = (struct pending){.call = NULL};
    steps = ended = ended_well = keymaker_installs = 0;
    lost = issuer_down = false;
    orders_list = (struct orders_list){.offered = true};
    other_identifier = NULL;
    now_s = START;
    loop.now_ms = 1000;
    renewals = (struct renewals){.asked = 0};
    in_use_ari[0] = 0;
    syncs = 0;
    full_from = UINT32_MAX;
    lifetime_s = 90 * DAY;
    in_use = (struct keymaking_cert){.from_issuer = false};
    for (uint16_t i = 0; i < 2; i++) {
        issuers[i] = (struct conf_issuer){.name = i ? "second" : "first",
                                          .directory = "https://ca/dir",
                                          .challenges = preferences,
                                          .nchallenges = 2,
                                          .keys = key_kinds,
                                          .nkeys = 1,
                                          .profile = "",
                                          .preferred_chain = ""};
        cas[i].issuer = &issuers[i];
        cas[i].index = i;
        (void)snprintf(cas[i].urls[CA_RENEWAL_INFO], CA_URL_MAX, "https://ca/renewal");
    }
    cert = (struct conf_managed){
        .id = "web.ecdsa-p256", .dir = dir, .names = names, .nnames = NAMES, .issuers = both_issuers, .nissuers = 1};
    job = (struct job){.cert = &cert};
    wheel_init(&loop.wheel, 0);
    assert_int_equal(store_init(&store, dir), 0);
    char file[128];
    (void)snprintf(file, sizeof(file), "%s/order.web.ecdsa-p256.json", dir);
    (void)unlink(file);
    return 0;
}
