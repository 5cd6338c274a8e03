#include "acme/ca.h"

#include <stdlib.h>
#include <string.h>

#include "acme/persist.h"
#include "acme/store.h"
#include "base/err.h"
#include "wire/event.h"

#define DIRECTORY_MS (24 * 3600 * 1000ull) /* read again after that */
#define PROFILES_MAX 64

int ca_init(struct ca *c, const struct conf_issuer *issuer, uint16_t index, struct http_out *http, struct key_link *keys,
            const struct store *store, struct log *log, struct text *why) {
    *c = (struct ca){.issuer = issuer, .index = index, .http = http, .keys = keys, .store = store, .log = log};
    return http_out_trust(issuer->ca_file, &c->trust, why);
}

/* ---- the end of a request ---- */

static void end_call(struct ca_call *call, struct answer *a) {
    answer_fn fn = call->fn;
    void *ctx = call->ctx;
    a->problem = a->problem ? a->problem : "";
    a->location = a->location ? a->location : "";
    a->next = a->next ? a->next : "";
    call->ca = NULL;
    fn(ctx, a); /* may begin the next one by the same CALL */
}

static void end_empty(struct ca_call *call, enum fault fault, const char *why) {
    struct answer a = {.fault = fault, .why = why, .retry_after = -1};
    end_call(call, &a);
}

static void end_by_answer(struct ca_call *call, const char *url, const struct http_out_answer *h) {
    char why[2048];
    struct text t = text_of(why, sizeof(why));
    struct answer a = {.status = h->status,
                       .body = h->body,
                       .location = h->location,
                       .next = h->next,
                       .retry_after = h->retry_after,
                       .alternates = h->alternates,
                       .nalternates = h->nalternates,
                       .why = why};
    if (h->failed) {
        text_addf(&t, "%s: %s", url, h->failed);
        end_empty(call, FAULT_ISSUER, why);
        return;
    }
    bool is_json = strcasestr(h->type, "json") != NULL;
    json_t *json = is_json ? json_loadb((const char *)h->body.p, h->body.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    a.json = json;
    if (h->status >= 300) {
        a.problem = answer_problem(json);
        a.fault = answer_fault(json, h->status);
        text_addf(&t, "%s: status %u", url, h->status);
        answer_add_problem(&t, json);
        if (h->status < 400)
            text_add(&t, " (redirects are not followed)");
    }
    end_call(call, &a);
    json_decref(json);
}

/* ---- nonces ---- */

static void keep_nonce(struct ca *c, const char *nonce) {
    size_t n = strlen(nonce);
    if (n == 0 || n > KEYMAKING_NONCE_MAX)
        return;
    if (c->nnonces == CA_NONCES) { /* the oldest goes: it is the next to be refused */
        memmove(c->nonces[0], c->nonces[1], (CA_NONCES - 1) * sizeof(c->nonces[0]));
        c->nnonces--;
    }
    memcpy(c->nonces[c->nnonces++], nonce, n + 1);
}

static void continue_call(struct ca_call *call);

static void send_http(struct ca_call *call, enum http_out_method method, const char *url, struct span body, http_out_fn fn) {
    const struct ca *c = call->ca;
    const struct http_out_question q = {.method = method,
                                        .scheme = "https",
                                        .url = url,
                                        .ca = c->trust,
                                        .type = body.len ? "Content-Type: application/jose+json" : NULL,
                                        .body = body};
    if (http_out_send(c->http, &call->http, &q, fn, call) < 0)
        end_empty(call, FAULT_OURS, "out of memory");
}

static void on_nonce(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    keep_nonce(call->ca, h->failed ? "" : h->nonce);
    if (call->ca->nnonces) {
        continue_call(call);
        return;
    }
    char why[CA_URL_MAX + 512];
    struct text t = text_of(why, sizeof(why));
    text_addf(&t, "%s gave no nonce: ", call->ca->urls[CA_NEW_NONCE]);
    if (h->failed)
        text_add(&t, h->failed);
    else
        text_addf(&t, "no Replay-Nonce in its answer, which has the status %u", h->status);
    struct answer a = {.fault = FAULT_ISSUER, .why = why, .status = h->status, .retry_after = h->retry_after};
    end_call(call, &a);
}

/* ---- the directory ---- */

static void take_url(struct ca *c, enum ca_url place, const json_t *directory, const char *name) {
    const char *url = json_string_value(json_object_get(directory, name));
    c->urls[place][0] = 0;
    if (url && strncmp(url, "https://", 8) == 0 && strlen(url) < CA_URL_MAX)
        memcpy(c->urls[place], url, strlen(url) + 1);
}

static bool take_directory(struct ca *c, const json_t *directory) {
    static const char *const names[CA_URLS] = {
        [CA_NEW_NONCE] = "newNonce",     [CA_NEW_ACCOUNT] = "newAccount", [CA_NEW_ORDER] = "newOrder",
        [CA_REVOKE_CERT] = "revokeCert", [CA_KEY_CHANGE] = "keyChange",   [CA_RENEWAL_INFO] = "renewalInfo",
    };
    for (unsigned i = 0; i < CA_URLS; i++)
        take_url(c, i, directory, names[i]);
    json_decref(c->profiles);
    json_t *profiles = json_object_get(json_object_get(directory, "meta"), "profiles");
    c->profiles = json_object_size(profiles) <= PROFILES_MAX ? json_incref(profiles) : NULL;
    persist_take_directory(c, directory);
    c->known = c->urls[CA_NEW_NONCE][0] && c->urls[CA_NEW_ACCOUNT][0] && c->urls[CA_NEW_ORDER][0];
    c->read_ms = c->http->loop->now_ms;
    return c->known;
}

bool ca_has_profile(const struct ca *c, const char *profile) {
    return json_object_get(c->profiles, profile) != NULL;
}

static void on_directory(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    json_t *o = !h->failed && h->status == 200 ? json_loadb((const char *)h->body.p, h->body.len, 0, NULL) : NULL;
    bool ok = o && take_directory(call->ca, o);
    json_decref(o);
    if (ok) {
        continue_call(call);
        return;
    }
    char why[1024];
    struct text t = text_of(why, sizeof(why));
    text_addf(&t, "%s: ", call->ca->issuer->directory);
    if (h->failed)
        text_add(&t, h->failed);
    else if (h->status != 200)
        text_addf(&t, "status %u, expected 200 (redirects are not followed)", h->status);
    else
        text_add(&t, "found no directory of ACME (RFC 8555 7.1.1)");
    struct answer a = {.fault = FAULT_ISSUER, .why = why, .status = h->status, .retry_after = h->retry_after};
    end_call(call, &a);
}

/* ---- signed requests ---- */

/* The keymaker has not done it. What it refuses is what the issuer wants, or has sent. */
static void end_unmade(struct ca_call *call, const struct keymaking_answer *a) {
    char why[1024];
    struct text t = text_of(why, sizeof(why));
    text_addf(&t, "the keymaker %s",
              !a                                ? "is gone, or did not answer"
              : a->outcome == KEYMAKING_REFUSED ? "refused: "
                                                : "failed: ");
    text_add_span(&t, a ? a->data : span_of(NULL, 0));
    end_empty(call, a && a->outcome == KEYMAKING_REFUSED ? FAULT_ANSWER : FAULT_OURS, why);
}

/* Of newOrder whoever asks decides: in a fleet, time may have passed since it was his to ask. */
static bool is_nonce_refused(const struct ca_call *call, const struct http_out_answer *h) {
    return !h->failed && h->status == 400 && call->op != KEYMAKING_ORDER && call->tries < CA_TRIES_MAX &&
           memmem(h->body.p, h->body.len, ":badNonce", 9);
}

/* The key that waits may be in force by now: the request that changed it was slow, or the issuer has not known it everywhere.
 */
static bool is_key_in_doubt(const struct ca_call *call, const struct http_out_answer *h) {
    return call->ca->waits && !call->resettled && call->op != KEYMAKING_ROLLOVER && !h->failed && h->status / 100 == 4 &&
           h->status != 429;
}

static void on_post(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    keep_nonce(call->ca, h->failed ? "" : h->nonce);
    if (is_nonce_refused(call, h)) {
        continue_call(call);
    } else if (is_key_in_doubt(call, h)) {
        call->resettled = true;
        call->ca->settled = false;
        continue_call(call);
    } else {
        end_by_answer(call, call->url, h);
    }
}

static void on_signed(void *ctx, const struct keymaking_answer *a) {
    struct ca_call *call = ctx;
    if (a && a->outcome == KEYMAKING_DONE) {
        call->step = CALL_POST;
        send_http(call, HTTP_OUT_POST, call->url, a->data, on_post);
    } else {
        end_unmade(call, a);
    }
}

static void ask_key_link(struct ca_call *call, struct keymaking_request *q, key_link_fn fn) {
    q->issuer = call->ca->index;
    q->cert = call->cert;
    if (key_link_ask(call->ca->keys, q, fn, call) < 0)
        end_empty(call, FAULT_OURS, "the keymaker cannot be asked at present");
}

/* There is a nonce, which is used up by it. */
static void ask_signature(struct ca_call *call, enum keymaking_op op, const char *url, key_link_fn fn) {
    struct ca *c = call->ca;
    char nonce[KEYMAKING_NONCE_MAX + 1];
    memcpy(nonce, c->nonces[--c->nnonces], sizeof(nonce));
    struct keymaking_request q = {.op = op, .url = span_str(url), .nonce = span_str(nonce)};
    bool by_key = op == KEYMAKING_ACCOUNT || op == KEYMAKING_FIND;
    q.account = by_key ? span_of(NULL, 0) : span_str(c->account);
    q.data = op == call->op ? span_of(call->data, call->data_len) : span_of(NULL, 0);
    call->tries++;
    ask_key_link(call, &q, fn);
}

static void on_get(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    end_by_answer(call, call->url, h);
}

/* ---- which of two keys is the account's ---- */

static void settle_account(struct ca_call *call, bool waits) {
    call->ca->settled = true;
    call->ca->waits = waits;
    continue_call(call);
}

static void on_key_in_place(void *ctx, const struct keymaking_answer *a) {
    struct ca_call *call = ctx;
    struct ca *c = call->ca;
    if (!a || a->outcome != KEYMAKING_DONE) {
        end_unmade(call, a);
        return;
    }
    struct text t = text_of(c->thumbprint, sizeof(c->thumbprint)); /* never empty: orders may be under way */
    text_add_span(&t, a->data);
    memcpy(c->account_key, c->thumbprint, sizeof(c->account_key));
    if (store_put_account(c->store, c) < 0) /* it is found again by its key */
        log_msg(c->log, LOG_LEVEL_WARNING, "the account cannot be written: %m");
    if (!c->settled) /* else another request has seen it, too */
        log_msg(c->log, LOG_LEVEL_INFO, "the account at the issuer %s has a new key: the one that its rollover left waiting",
                c->issuer->name);
    settle_account(call, false);
}

/* The issuer has it for ACCOUNT. If that is not the one we know, it is found again by the key: URL and key belong together. */
static void put_key_in_place(struct ca_call *call, const char *account) {
    struct ca *c = call->ca;
    if (c->account[0] && strcmp(c->account, account) != 0) {
        char was[CA_URL_MAX];
        memcpy(was, c->account, sizeof(was));
        c->account[0] = 0;
        if (store_put_account(c->store, c) < 0) {
            memcpy(c->account, was, sizeof(was));
            end_empty(call, FAULT_OURS, "the account cannot be written");
            return;
        }
    }
    struct keymaking_request q = {.op = KEYMAKING_ROLLED_OVER};
    ask_key_link(call, &q, on_key_in_place);
}

static void on_account_found(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    const char *url = call->ca->urls[CA_NEW_ACCOUNT];
    keep_nonce(call->ca, h->failed ? "" : h->nonce);
    if (is_nonce_refused(call, h)) {
        continue_call(call);
        return;
    }
    if (h->failed || h->status >= 300) {
        json_t *json = h->failed ? NULL : json_loadb((const char *)h->body.p, h->body.len, JSON_REJECT_DUPLICATES, NULL);
        bool unknown = !h->failed && answer_fault(json, h->status) != FAULT_ISSUER;
        json_decref(json);
        if (unknown)
            settle_account(call, true); /* it may come to be known later: it goes on waiting */
        else
            end_by_answer(call, url, h);
    } else if (strncmp(h->location, "https://", 8) == 0 && strlen(h->location) < CA_URL_MAX) {
        put_key_in_place(call, h->location);
    } else {
        end_empty(call, FAULT_ISSUER, "its answer to newAccount names no account");
    }
}

static void on_find_signed(void *ctx, const struct keymaking_answer *a) {
    struct ca_call *call = ctx;
    if (!a || a->outcome != KEYMAKING_DONE)
        end_unmade(call, a);
    else if (a->data.len == 0)
        settle_account(call, false);
    else
        send_http(call, HTTP_OUT_POST, call->ca->urls[CA_NEW_ACCOUNT], a->data, on_account_found);
}

static void on_waits(void *ctx, const struct keymaking_answer *a) {
    struct ca_call *call = ctx;
    if (!a || a->outcome != KEYMAKING_DONE) {
        end_unmade(call, a);
    } else if (a->data.len == 0) {
        settle_account(call, false);
    } else {
        call->ca->waits = true;
        continue_call(call);
    }
}

static void ask_nonce(struct ca_call *call) {
    call->step = CALL_NONCE;
    send_http(call, HTTP_OUT_HEAD, call->ca->urls[CA_NEW_NONCE], span_of(NULL, 0), on_nonce);
}

/* Another request may do the same at the same time, with the same end. */
static void ask_for_account(struct ca_call *call) {
    struct ca *c = call->ca;
    call->step = CALL_ACCOUNT;
    if (!c->waits) {
        struct keymaking_request q = {.op = KEYMAKING_WAITS};
        ask_key_link(call, &q, on_waits);
    } else if (c->nnonces == 0) {
        ask_nonce(call);
    } else {
        ask_signature(call, KEYMAKING_FIND, c->urls[CA_NEW_ACCOUNT], on_find_signed);
    }
}

/* ---- steps ---- */

/* The next step: what is there is not asked for. */
static void continue_call(struct ca_call *call) {
    struct ca *c = call->ca;
    if (!c->known || c->http->loop->now_ms - c->read_ms > DIRECTORY_MS) {
        call->step = CALL_DIRECTORY;
        send_http(call, HTTP_OUT_GET, c->issuer->directory, span_of(NULL, 0), on_directory);
        return;
    }
    if (!c->settled && (call->directory_only || call->op != KEYMAKING_COUNT)) {
        ask_for_account(call);
        return;
    }
    if (call->directory_only) {
        end_empty(call, FAULT_NONE, "");
        return;
    }
    if (call->place != CA_URLS && !c->urls[call->place][0]) {
        end_empty(call, FAULT_ISSUER, "its directory does not offer what is needed");
        return;
    }
    if (call->op == KEYMAKING_COUNT) { /* not signed */
        char url[CA_URL_MAX];
        struct text t = text_of(url, sizeof(url));
        text_addf(&t, "%s/%.*s", c->urls[call->place], (int)call->data_len, (const char *)call->data);
        memcpy(call->url, url, sizeof(url));
        call->step = CALL_GET;
        send_http(call, HTTP_OUT_GET, call->url, span_of(NULL, 0), on_get);
        return;
    }
    if (call->place != CA_URLS)
        memcpy(call->url, c->urls[call->place], CA_URL_MAX);
    if (c->nnonces) {
        call->step = CALL_SIGNING;
        c->waits |= call->op == KEYMAKING_ROLLOVER;
        ask_signature(call, call->op, call->url, on_signed);
    } else {
        ask_nonce(call);
    }
}

static void begin_call(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    MUST(!call->ca);
    *call = (struct ca_call){.ca = c, .place = CA_URLS, .op = KEYMAKING_COUNT, .fn = fn, .ctx = ctx};
}

static bool keep_data(struct ca_call *call, struct span data) {
    if (data.len > sizeof(call->data))
        return false;
    if (data.len)
        memcpy(call->data, data.p, data.len);
    call->data_len = data.len;
    return true;
}

void ca_directory(struct ca *c, struct ca_call *call, answer_fn fn, void *ctx) {
    begin_call(c, call, fn, ctx);
    call->directory_only = true;
    continue_call(call);
}

void ca_post(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, enum ca_url place, const char *url,
             struct span data, answer_fn fn, void *ctx) {
    begin_call(c, call, fn, ctx);
    call->op = op;
    call->cert = cert;
    call->place = place;
    struct text t = text_of(call->url, sizeof(call->url));
    text_add(&t, url);
    if (t.cut || !keep_data(call, data))
        end_empty(call, FAULT_ISSUER, "its URL is longer than 1023 bytes");
    else
        continue_call(call);
}

void ca_get(struct ca *c, struct ca_call *call, enum ca_url place, const char *suffix, answer_fn fn, void *ctx) {
    begin_call(c, call, fn, ctx);
    call->place = place;
    if (keep_data(call, span_str(suffix)))
        continue_call(call);
    else
        end_empty(call, FAULT_OURS, "out of room");
}

static void on_keymaker(void *ctx, const struct keymaking_answer *k) {
    struct ca_call *call = ctx;
    if (k && k->outcome == KEYMAKING_DONE) {
        struct answer a = {.retry_after = -1, .body = k->data};
        end_call(call, &a);
    } else {
        end_unmade(call, k);
    }
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, struct span data, answer_fn fn,
                 void *ctx) {
    begin_call(c, call, fn, ctx);
    call->step = CALL_KEYMAKER;
    call->cert = cert;
    struct keymaking_request q = {.op = op, .data = data};
    ask_key_link(call, &q, on_keymaker);
}

void ca_cancel(struct ca_call *call) {
    if (!call->ca)
        return;
    http_out_cancel(&call->http);
    key_link_cancel(call->ca->keys, call);
    call->ca = NULL;
}
