#include "acme/ca.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

#define SYSTEM_TRUST "/etc/ssl/certs/ca-certificates.crt"
#define TRUST_MAX    (4 * 1024 * 1024)
#define TRIES_MAX    10                    /* of one request, for its nonce */
#define DIRECTORY_MS (24 * 3600 * 1000ull) /* read again after that */
#define PROFILES_MAX 64
#define DETAIL_MAX   400

/* ---- files ---- */

static int read_trust(struct ca *c, struct text *why) {
    const char *file = c->issuer->ca_file ? c->issuer->ca_file : SYSTEM_TRUST;
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = -1;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= TRUST_MAX) {
        c->trust = malloc((size_t)st.st_size);
        n = c->trust ? read(fd, c->trust, (size_t)st.st_size) : -1;
    }
    int error = errno;
    if (fd >= 0)
        close(fd);
    if (n > 0) {
        c->trust_len = (size_t)n;
        return 0;
    }
    text_addf(why, "%s: %s, expected certificates in PEM to check %s by", file,
              fd < 0 ? strerror(error) : "found no regular file of 1 byte to 4 MiB", c->issuer->directory);
    return ERR_FORMAT;
}

int ca_init(struct ca *c, const struct conf_issuer *issuer, uint16_t index, struct http_out *http, struct key_link *keys,
            struct text *why) {
    *c = (struct ca){.issuer = issuer, .index = index, .http = http, .keys = keys};
    return read_trust(c, why);
}

/* ---- the end of a request ---- */

static void end_call(struct ca_call *call, struct answer *a) {
    answer_fn fn = call->fn;
    void *ctx = call->ctx;
    a->problem = a->problem ? a->problem : "";
    a->location = a->location ? a->location : "";
    call->ca = NULL;
    fn(ctx, a); /* may begin the next one by the same CALL */
}

static void end_empty(struct ca_call *call, enum fault fault, const char *why) {
    struct answer a = {.fault = fault, .why = why, .retry_after = -1};
    end_call(call, &a);
}

/* The issuer's own words, as far as they are text: they go into logs and onto the page. */
static void add_words(struct text *t, const char *s) {
    for (size_t i = 0; i < DETAIL_MAX && s[i]; i++)
        text_add_span(t, span_of((unsigned char)s[i] < ' ' || s[i] == 0x7f ? " " : &s[i], 1));
}

static void end_by_answer(struct ca_call *call, const struct http_out_answer *h) {
    char why[1024];
    struct text t = text_of(why, sizeof(why));
    struct answer a = {.status = h->status,
                       .body = h->body,
                       .location = h->location,
                       .retry_after = h->retry_after,
                       .alternates = h->alternates,
                       .nalternates = h->nalternates,
                       .why = why};
    if (h->failed) {
        text_addf(&t, "%s: %s", call->url, h->failed);
        end_empty(call, FAULT_ISSUER, why);
        return;
    }
    bool is_json = strstr(h->type, "json") != NULL;
    json_t *json = is_json ? json_loadb((const char *)h->body.p, h->body.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    a.json = json;
    if (h->status >= 400 || (h->status >= 300 && h->status < 400)) {
        const char *detail = json_string_value(json_object_get(json, "detail"));
        a.problem = answer_problem(json_string_value(json_object_get(json, "type")));
        a.fault = h->status < 400 ? FAULT_ISSUER : answer_fault(a.problem, h->status);
        text_addf(&t, "%s: status %u%s%s%s", call->url, h->status, a.problem[0] ? ", " : "", a.problem, detail ? ": " : "");
        add_words(&t, detail ? detail : "");
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
    if (http_out_send(c->http, &call->http, method, url, body, span_of(c->trust, c->trust_len), fn, call) < 0)
        end_empty(call, FAULT_OURS, "out of memory");
}

static void on_nonce(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    keep_nonce(call->ca, h->failed ? "" : h->nonce);
    if (call->ca->nnonces) {
        continue_call(call);
        return;
    }
    char why[512];
    struct text t = text_of(why, sizeof(why));
    text_addf(&t, "%s gave no nonce: %s", call->ca->urls[CA_NEW_NONCE],
              h->failed ? h->failed : "no Replay-Nonce in its answer");
    end_empty(call, FAULT_ISSUER, why);
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

static void on_post(void *ctx, const struct http_out_answer *h) {
    struct ca_call *call = ctx;
    keep_nonce(call->ca, h->failed ? "" : h->nonce);
    if (!h->failed && h->status == 400 && call->tries < TRIES_MAX && memmem(h->body.p, h->body.len, ":badNonce", 9)) {
        continue_call(call);
        return;
    }
    end_by_answer(call, h);
}

static void on_signed(void *ctx, const struct keymaking_answer *a) {
    struct ca_call *call = ctx;
    char why[512];
    struct text t = text_of(why, sizeof(why));
    if (a && !a->refused) {
        call->step = CALL_POST;
        send_http(call, HTTP_OUT_POST, call->url, a->data, on_post);
        return;
    }
    text_addf(&t, "the keymaker %s", a ? "refused: " : "is gone, or did not answer");
    text_add_span(&t, a ? a->data : span_of(NULL, 0));
    end_empty(call, FAULT_OURS, why);
}

static void ask_signature(struct ca_call *call) {
    struct ca *c = call->ca;
    char nonce[KEYMAKING_NONCE_MAX + 1];
    memcpy(nonce, c->nonces[--c->nnonces], sizeof(nonce));
    struct keymaking_request q = {.op = call->op, .issuer = c->index, .cert = call->cert, .url = span_str(call->url)};
    q.nonce = span_str(nonce);
    q.account = call->op == KEYMAKING_ACCOUNT ? span_of(NULL, 0) : span_str(c->account);
    q.data = span_of(call->data, call->data_len);
    call->step = CALL_SIGNING;
    call->tries++;
    if (key_link_ask(c->keys, &q, on_signed, call) < 0)
        end_empty(call, FAULT_OURS, "the keymaker cannot be asked at present");
}

static void on_get(void *ctx, const struct http_out_answer *h) {
    end_by_answer(ctx, h);
}

/* The next step: what is there is not asked for. */
static void continue_call(struct ca_call *call) {
    struct ca *c = call->ca;
    if (!c->known || c->http->loop->now_ms - c->read_ms > DIRECTORY_MS) {
        call->step = CALL_DIRECTORY;
        send_http(call, HTTP_OUT_GET, c->issuer->directory, span_of(NULL, 0), on_directory);
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
        ask_signature(call);
        return;
    }
    call->step = CALL_NONCE;
    send_http(call, HTTP_OUT_HEAD, c->urls[CA_NEW_NONCE], span_of(NULL, 0), on_nonce);
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
    char why[512];
    struct text t = text_of(why, sizeof(why));
    struct answer a = {.retry_after = -1, .why = why};
    if (k && !k->refused) {
        a.body = k->data;
    } else {
        a.fault = FAULT_OURS;
        a.status = k ? 400 : 0; /* it was asked for something that it does not do */
        text_add_span(&t, k ? k->data : span_str("the keymaker is gone, or did not answer"));
    }
    end_call(call, &a);
}

void ca_keymaker(struct ca *c, struct ca_call *call, enum keymaking_op op, uint16_t cert, struct span data, answer_fn fn,
                 void *ctx) {
    begin_call(c, call, fn, ctx);
    call->step = CALL_KEYMAKER;
    struct keymaking_request q = {.op = op, .issuer = c->index, .cert = cert, .data = data};
    if (key_link_ask(c->keys, &q, on_keymaker, call) < 0)
        end_empty(call, FAULT_OURS, "the keymaker cannot be asked at present");
}

void ca_cancel(struct ca_call *call) {
    if (!call->ca)
        return;
    http_out_cancel(&call->http);
    key_link_cancel(call->ca->keys, call);
    call->ca = NULL;
}
