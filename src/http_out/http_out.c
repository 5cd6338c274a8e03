#include "http_out/http_out.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/err.h"
#include "base/file.h"
#include "http_out/curl_lib.h"

#define SYSTEM_TRUST        "/etc/ssl/certs/ca-certificates.crt"
#define TRUST_MAX           (4 * 1024 * 1024)
#define HTTP_OUT_CONNECT_MS 15000L
#define WHOLE_MS            60000L
#define CONNS_MAX           16L /* at a time; more wait */

/* ---- libcurl and the event loop ---- */

static void finish_done(struct http_out *h);

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *known) {
    (void)easy;
    struct http_out *h = ctx;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    int err = 0;
    if (what == CURL_POLL_REMOVE)
        loop_unwatch(h->loop, fd);
    else if (known)
        err = loop_rewatch(h->loop, fd, events, h->kind, (uint32_t)fd, 0);
    else
        err = loop_watch(h->loop, fd, events, h->kind, (uint32_t)fd, 0);
    if (what != CURL_POLL_REMOVE && !known)
        (void)curl_lib.multi_assign(h->multi, fd, h); /* only that it is not NULL matters */
    return err == 0 ? 0 : -1;
}

static int on_timeout(CURLM *multi, long ms, void *ctx) {
    (void)multi;
    struct http_out *h = ctx;
    if (ms < 0)
        alarm_clock_stop(&h->timeout);
    else
        alarm_clock_set(&h->timeout, (uint64_t)ms);
    return 0;
}

static void act(struct http_out *h, curl_socket_t fd, int what) {
    int running;
    (void)curl_lib.multi_socket_action(h->multi, fd, what, &running); /* faults show in each transfer */
    finish_done(h);
}

static void timed_out(void *ctx) {
    act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void http_out_event(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    (void)gen;
    int what = (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    act(ctx, (curl_socket_t)key, what);
}

static int open_multi(struct http_out *h) {
    h->multi = curl_lib.multi_init();
    if (!h->multi)
        return ERR_NOMEM;
    (void)curl_lib.multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket); /* none of these can fail */
    (void)curl_lib.multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    (void)curl_lib.multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    (void)curl_lib.multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    (void)curl_lib.multi_setopt(h->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, CONNS_MAX);
    return 0;
}

/* libcurl keeps connections for the next request; they go with the handle that has them. */
static void close_idle(void *ctx) {
    struct http_out *h = ctx;
    if (h->active || !h->multi)
        return;
    (void)curl_lib.multi_cleanup(h->multi); /* it has no transfer */
    alarm_clock_stop(&h->timeout);
    h->multi = NULL;
}

int http_out_init(struct http_out *h, struct loop *loop, unsigned kind, uint32_t idle_ms, struct text *why) {
    *h = (struct http_out){.loop = loop, .kind = kind, .idle_ms = idle_ms};
    h->timeout = (struct alarm_clock){.loop = loop, .fn = timed_out, .ctx = h};
    h->idle = (struct alarm_clock){.loop = loop, .fn = close_idle, .ctx = h};
    int err = curl_lib_load(why);
    if (err < 0)
        return err;
    loop_on(loop, kind, http_out_event, h);
    return 0;
}

int http_out_trust(const char *file, struct span *ret, struct text *why) {
    struct file f = {.path = file ? file : SYSTEM_TRUST, .expected = "certificates in PEM", .max = TRUST_MAX};
    size_t len = 0;
    int err = file_open(&f, why);
    if (err < 0)
        return err;
    uint8_t *pem = malloc(file_room(&f));
    err = file_read(&f, pem, &len, why);
    file_close(&f);
    if (err == 0)
        *ret = span_of(pem, len);
    else
        free(pem);
    return err;
}

/* ---- the answer ---- */

static size_t on_body(char *p, size_t size, size_t n, void *ctx) {
    struct http_out_request *r = ctx;
    return buf_append(&r->body, p, size * n) == 0 ? size * n : 0; /* too long: the transfer fails */
}

/* VALUE when LINE is a field of NAME; without blanks around it. */
static bool field_is(struct span line, const char *name, struct span *ret) {
    size_t n = strlen(name);
    if (line.len <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n) != 0)
        return false;
    const uint8_t *p = line.p + n + 1, *end = line.p + line.len;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (end > p && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    *ret = span_of(p, (size_t)(end - p));
    return true;
}

/* One that is too long, or has bytes that no URL or nonce has, counts as not there. */
static void keep_field(char *to, size_t cap, struct span value) {
    to[0] = 0;
    for (size_t i = 0; i < value.len; i++)
        if (value.p[i] <= ' ' || value.p[i] > '~')
            return;
    if (value.len < cap) {
        memcpy(to, value.p, value.len);
        to[value.len] = 0;
    }
}

static void keep_type(struct http_out_answer *a, struct span value) {
    struct text t = text_of(a->type, sizeof(a->type));
    text_add_span(&t, value);
}

static void keep_link(struct http_out_answer *a, struct span url, struct span parameters) {
    if (memmem(parameters.p, parameters.len, "\"next\"", 6))
        keep_field(a->next, sizeof(a->next), url);
    else if (memmem(parameters.p, parameters.len, "\"alternate\"", 11) && a->nalternates < HTTP_OUT_ALTERNATES)
        keep_field(a->alternates[a->nalternates++], HTTP_OUT_FIELD_MAX, url);
}

/* <URL>;rel="index", <URL>;rel="alternate": a field may have several (RFC 8288 3). */
static void keep_links(struct http_out_answer *a, struct span value) {
    const uint8_t *end = value.p + value.len, *at = memchr(value.p, '<', value.len);
    while (at) {
        const uint8_t *close = memchr(at, '>', (size_t)(end - at));
        if (!close)
            return;
        const uint8_t *more = memchr(close, '<', (size_t)(end - close));
        keep_link(a, span_of(at + 1, (size_t)(close - at) - 1), span_of(close, (size_t)((more ? more : end) - close)));
        at = more;
    }
}

int64_t http_out_retry_after(struct span value, int64_t now_s) {
    static const char *const forms[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
    char text[64] = "";
    uint64_t seconds;
    if (value.len == 0 || value.len >= sizeof(text))
        return -1;
    memcpy(text, value.p, value.len);
    int err = text_parse_u64(text, INT32_MAX, &seconds);
    if (err == 0 || err == ERR_LIMIT) /* more than anybody waits */
        return err == 0 ? (int64_t)seconds : INT32_MAX;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {.tm_sec = 0};
        const char *end = strptime(text, forms[i], &tm);
        if (end && *end == 0)
            return MAX((int64_t)timegm(&tm) - now_s, 0);
    }
    return -1;
}

static size_t on_header(char *p, size_t size, size_t n, void *ctx) {
    struct http_out_request *r = ctx;
    struct http_out_answer *a = &r->answer;
    struct span line = span_of(p, size * n), value;
    r->head_len += line.len;
    if (r->head_len > HTTP_OUT_HEAD_MAX)
        return 0;                       /* the transfer fails */
    if (span_has_prefix(line, "HTTP/")) /* of an interim answer before, nothing stays */
        *a = (struct http_out_answer){.retry_after = -1};
    else if (field_is(line, "Replay-Nonce", &value))
        keep_field(a->nonce, sizeof(a->nonce), value);
    else if (field_is(line, "Location", &value))
        keep_field(a->location, sizeof(a->location), value);
    else if (field_is(line, "Link", &value))
        keep_links(a, value);
    else if (field_is(line, "Retry-After", &value))
        a->retry_after = http_out_retry_after(value, (int64_t)time(NULL));
    else if (field_is(line, "Content-Type", &value))
        keep_type(a, value);
    return size * n;
}

static void release_request(struct http_out_request *r) {
    if (--r->out->active == 0)
        alarm_clock_set(&r->out->idle, r->out->idle_ms);
    (void)curl_lib.multi_remove_handle(r->out->multi, r->easy);
    curl_lib.easy_cleanup(r->easy);
    curl_lib.slist_free_all(r->headers);
    r->easy = r->headers = NULL;
}

void http_out_cancel(struct http_out_request *r) {
    if (!r->easy)
        return;
    release_request(r);
    buf_fini(&r->body);
}

/* NULL = it has not. ERROR: libcurl's own words. */
static const char *why_failed(CURLcode code, bool long_head, const char *error) {
    switch (code) {
    case CURLE_OK:
        return NULL;
    case CURLE_WRITE_ERROR:
        return long_head ? "the header of its answer is longer than 64 KiB" : "its answer is longer than 128 KiB";
    case CURLE_OUT_OF_MEMORY: /* so it calls what is beyond its own limit, too */
        return "out of memory, or a line in the header of its answer is longer than 100 KiB";
    default:
        return error[0] ? error : curl_lib.easy_strerror(code);
    }
}

static void end_request(struct http_out_request *r, CURLcode code) {
    struct http_out_answer a = r->answer;
    struct buf body = r->body;
    char error[sizeof(r->error)];
    long status = 0;
    (void)curl_lib.easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
    memcpy(error, r->error, sizeof(error));
    a.status = (unsigned)status;
    a.curl_code = code;
    a.too_long = code == CURLE_WRITE_ERROR;
    a.failed = why_failed(code, r->head_len > HTTP_OUT_HEAD_MAX, error);
    a.body = buf_span(&body);
    buf_init(&r->body, HTTP_OUT_BODY_MAX);
    release_request(r);
    r->fn(r->ctx, &a); /* may send the next one by the same R */
    buf_fini(&body);
}

static void finish_done(struct http_out *h) {
    int left;
    for (CURLMsg *m; (m = curl_lib.multi_info_read(h->multi, &left));) {
        struct http_out_request *r = NULL;
        CURLcode code = m->data.result;
        (void)curl_lib.easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
        end_request(r, code);
    }
}

/* ---- requests ---- */

/* Adds fields to the request, up to NULL. False when out of memory. */
static bool add_fields(struct http_out_request *r, const char *const *fields) {
    for (; fields && *fields; fields++) {
        void *list = curl_lib.slist_append(r->headers, *fields);
        if (!list)
            return false;
        r->headers = list;
    }
    return true;
}

static bool set_options(struct http_out_request *r, const struct http_out_question *q) {
    const struct curl_blob blob = {.data = (void *)(uintptr_t)q->ca.p, .len = q->ca.len, .flags = CURL_BLOB_NOCOPY};
    CURL *e = r->easy;
    const char *const own[] = {"Expect:", q->type, NULL}; /* no interim answer is waited for */
    bool ok = add_fields(r, own) && add_fields(r, q->fields);
#define SET(option, value) ok = ok && curl_lib.easy_setopt(e, option, value) == CURLE_OK
    SET(CURLOPT_URL, q->url);
    SET(CURLOPT_PROTOCOLS_STR, q->scheme);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_CONNECTTIMEOUT_MS, HTTP_OUT_CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, q->timeout_ms ? (long)q->timeout_ms : WHOLE_MS);
    SET(CURLOPT_USERAGENT, "tls-off/" TLS_OFF_VERSION);
    SET(CURLOPT_ERRORBUFFER, r->error);
    SET(CURLOPT_PRIVATE, r);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, r);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, r);
    SET(CURLOPT_HTTPHEADER, r->headers);
    SET(CURLOPT_CAPATH, NULL);
    SET(CURLOPT_CAINFO, NULL);
    if (q->ca.len)
        SET(CURLOPT_CAINFO_BLOB, &blob);
    if (q->method == HTTP_OUT_HEAD)
        SET(CURLOPT_NOBODY, 1L);
    if (q->method == HTTP_OUT_POST) {
        SET(CURLOPT_POSTFIELDSIZE, (long)q->body.len);
        SET(CURLOPT_COPYPOSTFIELDS, (const char *)q->body.p);
    }
#undef SET
    return ok;
}

int http_out_send(struct http_out *h, struct http_out_request *r, const struct http_out_question *q, http_out_fn fn,
                  void *ctx) {
    MUST(!r->easy);
    *r = (struct http_out_request){.out = h, .fn = fn, .ctx = ctx, .answer = {.retry_after = -1}};
    buf_init(&r->body, HTTP_OUT_BODY_MAX);
    if (!h->multi && open_multi(h) < 0)
        return ERR_NOMEM;
    r->easy = curl_lib.easy_init();
    if (!r->easy)
        return ERR_NOMEM;
    h->active++;
    if (set_options(r, q) && curl_lib.multi_add_handle(h->multi, r->easy) == CURLM_OK)
        return 0;
    http_out_cancel(r);
    return ERR_NOMEM;
}
