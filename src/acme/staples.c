#include "acme/staples.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/backoff.h"
#include "base/durable.h"
#include "base/err.h"
#include "base/file.h"
#include "base/path.h"

#define LOOK_MS     60000 /* by the wall clock, so one that jumps is noticed */
#define SOON_MS     1000
#define SKEW_S      300 /* by which a responder's clock may be ahead */
#define PAUSE_MIN_S 5
#define PAUSE_MAX_S 3600
#define NO_ISSUER   "the issuer's certificate is not behind it any more, or there is no memory"
#define SHARE       8 /* of what is left: how long a failure waits at the most */

/* ---- times ---- */

int64_t staples_refresh(int64_t from, int64_t until, int64_t now, uint64_t random) {
    int64_t lasts = MAX(until - from, INT64_C(1));
    int64_t at = from + lasts / 2 + (int64_t)(random % (uint64_t)(lasts / 10 + 1));
    int64_t soon = MIN(MAX((until - now) / SHARE, INT64_C(1)), (int64_t)PAUSE_MAX_S);
    return at > now ? at : now + soon;
}

int64_t staples_pause(uint32_t longest, int64_t left, uint64_t random) {
    int64_t pause = left > 0 ? MIN((int64_t)longest, MAX(left / SHARE, INT64_C(1))) : longest;
    return pause + (int64_t)(random % (uint64_t)(pause / 4 + 1));
}

/* ---- certificates of the store ---- */

struct parsed {
    struct ocsp_subject subject;
    X509 *leaf;
    STACK_OF(X509) * others;
};

static void parsed_fini(struct parsed *p) {
    X509_free(p->leaf);
    sk_X509_pop_free(p->others, X509_free);
    ERR_clear_error();
}

static X509 *parse_der(struct span der) {
    const uint8_t *at = der.p;
    return d2i_X509(NULL, &at, (long)der.len);
}

/* False when its issuer is not in its chain. */
static bool parse_entry(const struct staples *s, uint32_t entry, struct parsed *p) {
    struct creds_entry e = creds_entry(&s->store, entry);
    *p = (struct parsed){.leaf = parse_der(creds_cert(&s->store, entry, 0).der), .others = sk_X509_new_null()};
    for (uint32_t i = 1; i < e.nchain && p->others; i++) {
        X509 *x = parse_der(creds_cert(&s->store, entry, i).der);
        if (x && !sk_X509_push(p->others, x))
            X509_free(x);
    }
    X509 *issuer = p->leaf && p->others ? ocsp_issuer(p->leaf, p->others) : NULL;
    p->subject = (struct ocsp_subject){p->leaf, issuer, p->others, e.cert_file};
    return issuer != NULL;
}

static const char *cert_file(const struct staples *s, const struct staple *p) {
    return creds_entry(&s->store, p->entry).cert_file;
}

/* ---- reports ---- */

/* In every entry that has it. */
static void report_staple(struct staples *s, struct staple *p) {
    uint32_t place = (uint32_t)(p - s->list);
    p->reported = true;
    for (uint32_t e = p->entry; e < creds_entries(&s->store); e++) {
        if (s->of_entry[e] != place)
            continue;
        p->status.set = s->set;
        p->status.entry = e;
        p->status.error = span_str(p->error);
        p->reported = s->report(s->ctx, &p->status) && p->reported;
    }
}

void staples_report(struct staples *s) {
    for (size_t i = 0; i < s->n; i++)
        report_staple(s, &s->list[i]);
}

/* ---- files ---- */

struct staple_path {
    char p[PATH_MAX];
};

static const char *path_of_staple(struct staple_path *to, const struct staples *s, const char *name) {
    return path_join(to->p, s->directory, name);
}

static struct staple *find_staple(const struct staples *s, const char *name);

/* Of certificates that are not in use any more; what half a write has left, too. */
static void remove_unused(const struct staples *s) {
    DIR *d = opendir(s->directory);
    for (struct dirent *e; d && (e = readdir(d));) {
        char name[OCSP_FILE_NAME_MAX];
        struct text t = text_of(name, sizeof(name));
        struct staple_path path;
        const char *tail = strstr(e->d_name, OCSP_FILE_NAME_TAIL);
        if (!tail)
            continue;
        text_add_span(&t, span_of(e->d_name, (size_t)(tail - e->d_name) + sizeof(OCSP_FILE_NAME_TAIL) - 1));
        if (t.cut || !find_staple(s, name))
            (void)unlink(path_of_staple(&path, s, e->d_name)); /* tried again with the next set */
    }
    if (d)
        closedir(d);
}

/* ---- answers ---- */

static void set_staple_state(struct staple *p, const struct ocsp_answer *a) {
    p->status.state = a->says == OCSP_SAYS_REVOKED ? MANAGED_OCSP_REVOKED : MANAGED_OCSP_GOOD;
    p->status.from = a->from;
    p->status.until = ocsp_fetched_until(a);
}

static void report_revoked(const struct staples *s, const struct staple *p) {
    if (p->status.state == MANAGED_OCSP_REVOKED)
        s->revoked(s->ctx, cert_file(s, p), creds_cert(&s->store, p->entry, 0).not_before);
}

/* What was fetched by an earlier process. */
static void take_from_disk(struct staples *s, struct staple *p, const struct parsed *x, int64_t now) {
    uint8_t bytes[OCSP_RESPONSE_MAX];
    char line[256];
    struct text why = text_of(line, sizeof(line));
    struct ocsp_answer a;
    struct staple_path path;
    struct span der = file_read_own(path_of_staple(&path, s, p->name), bytes, sizeof(bytes));
    if (!der.len || ocsp_read(der, &x->subject, &a, &why) < 0 || a.says == OCSP_SAYS_UNKNOWN)
        return;
    set_staple_state(p, &a);
    p->status.next_at = staples_refresh(a.from, p->status.until, now, s->random());
    report_revoked(s, p);
}

static bool is_held(const struct staple *p, int64_t now) {
    return p->status.state >= MANAGED_OCSP_GOOD && p->status.until > now;
}

/* In words that stay the same from one try to the next. */
static void add_answer_time(struct text *t, int64_t at) {
    char date[32] = "";
    struct tm tm;
    time_t when = (time_t)at;
    if (gmtime_r(&when, &tm))
        (void)strftime(date, sizeof(date), "%Y-%m-%d %H:%M", &tm); /* empty where a year does not fit */
    text_addf(t, "%s UTC", date);
}

/* Whether it may take the place of what is there. */
static bool holds_now(const struct ocsp_answer *a, int64_t now, struct text *why) {
    bool over = ocsp_fetched_until(a) <= now, early = a->from > now + SKEW_S;
    if (a->says == OCSP_SAYS_UNKNOWN) {
        text_add(why, "the responder does not know the certificate");
    } else if (over || early) {
        text_add(why, over ? "its answer ended on " : "its clock or ours is wrong: its answer begins on ");
        add_answer_time(why, over ? ocsp_fetched_until(a) : a->from);
    }
    return a->says != OCSP_SAYS_UNKNOWN && !over && !early;
}

static void log_news(const struct staples *s, const struct staple *p, unsigned before) {
    bool revoked = p->status.state == MANAGED_OCSP_REVOKED;
    enum log_level level = before == p->status.state ? LOG_LEVEL_DEBUG : revoked ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO;
    log_msg(s->log, level, "%s: the responder %s says that the certificate is %s%s", cert_file(s, p), p->url,
            revoked ? "revoked" : "good", revoked ? ": nothing is stapled, and clients that ask elsewhere refuse it" : "");
}

/* A response that is older than the one that is there comes from a cache, or from somebody who plays it again. */
static int use_answer(struct staples *s, struct staple *p, const struct ocsp_answer *a, struct span der, struct text *why) {
    struct staple_path path;
    int64_t now = s->now();
    unsigned before = p->status.state;
    if (!(is_held(p, now) && a->from <= p->status.from)) {
        if (durable_write(path_of_staple(&path, s, p->name), 0644, der) < 0) {
            text_addf(why, "its answer cannot be written: %s: %s", path.p, strerror(errno));
            return ERR_SYSTEM;
        }
        set_staple_state(p, a);
        log_news(s, p, before);
    }
    p->status.next_at = staples_refresh(p->status.from, p->status.until, now, s->random());
    report_revoked(s, p);
    return 0;
}

static int judge_answer(struct staples *s, struct staple *p, const struct http_out_answer *h, struct text *why) {
    struct parsed x;
    struct ocsp_answer a;
    int err = ERR_FORMAT;
    if (h->failed) {
        text_add(why, h->failed);
        return ERR_FORMAT;
    }
    if (h->status != 200 || h->body.len > OCSP_RESPONSE_MAX) {
        text_addf(why, "status %u with %zu bytes, expected 200 with at most %d", h->status, h->body.len, OCSP_RESPONSE_MAX);
        return ERR_FORMAT;
    }
    if (parse_entry(s, p->entry, &x))
        err = ocsp_read(h->body, &x.subject, &a, why);
    else
        text_add(why, NO_ISSUER);
    parsed_fini(&x);
    if (err == 0)
        err = holds_now(&a, s->now(), why) ? use_answer(s, p, &a, h->body, why) : ERR_FORMAT;
    return err;
}

/* Once in the log for a reason, until it has worked again. Where nothing is left, the pauses start over. */
static void note_failure(struct staples *s, struct staple *p, const char *reason) {
    int64_t now = s->now(), left = is_held(p, now) ? p->status.until - now : 0;
    p->pause_s = backoff_next(!left && p->had_left ? 0 : p->pause_s, PAUSE_MIN_S, PAUSE_MAX_S);
    p->had_left = left > 0;
    bool said = strcmp(p->error, reason) == 0;
    struct text t = text_of(p->error, sizeof(p->error));
    text_add(&t, reason);
    p->status.failures++;
    p->status.next_at = now + staples_pause(p->pause_s, left, s->random());
    log_msg(s->log, said ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "%s: no OCSP response from %s: %s%s", cert_file(s, p), p->url,
            reason, left ? "; the one that is there serves until its end" : "");
}

static void note_success(const struct staples *s, struct staple *p) {
    if (p->status.failures)
        log_msg(s->log, LOG_LEVEL_INFO, "%s: the responder %s answers again", cert_file(s, p), p->url);
    p->status.failures = p->pause_s = 0;
    p->error[0] = 0;
}

/* ---- fetching ---- */

static void look_at_staples(void *ctx);

static void on_ocsp_answer(void *ctx, const struct http_out_answer *h) {
    struct staples_fetch *f = ctx;
    struct staples *s = f->owner;
    struct staple *p = find_staple(s, f->name);
    char reason[400];
    struct text why = text_of(reason, sizeof(reason));
    f->name[0] = 0;
    if (p) {
        if (judge_answer(s, p, h, &why) < 0)
            note_failure(s, p, reason);
        else
            note_success(s, p);
        report_staple(s, p);
    }
    look_at_staples(s);
}

static void begin_fetch(struct staples *s, struct staples_fetch *f, struct staple *p) {
    struct parsed x;
    uint8_t *der = NULL;
    size_t len = 0;
    p->asked_s = s->now();
    bool ok = parse_entry(s, p->entry, &x) && ocsp_request(&x.subject, &der, &len) == 0;
    parsed_fini(&x);
    const struct http_out_question q = {.method = HTTP_OUT_POST,
                                        .scheme = "http", /* the answer is signed (RFC 6960 A.1) */
                                        .url = p->url,
                                        .type = "Content-Type: application/ocsp-request",
                                        .body = span_of(der, len)};
    if (ok)
        ok = http_out_send(s->http, &f->http, &q, on_ocsp_answer, f) == 0;
    OPENSSL_free(der);
    if (ok)
        memcpy(f->name, p->name, sizeof(f->name));
    else
        note_failure(s, p, NO_ISSUER);
}

/* One that hangs makes nobody wait but those who ask the same one. */
static struct staples_fetch *free_fetch(struct staples *s, const struct staple *p) {
    struct staples_fetch *found = NULL;
    for (size_t i = 0; i < STAPLES_FETCHES; i++) {
        struct staples_fetch *f = &s->fetches[i];
        const struct staple *other = f->name[0] ? find_staple(s, f->name) : NULL;
        if (!f->name[0])
            found = f;
        else if (other && strcmp(other->url, p->url) == 0)
            return NULL;
    }
    return found;
}

/* Asked in what is the future by now: the clock was ahead. */
static bool is_due(const struct staple *p, int64_t now) {
    return p->url && (p->status.next_at <= now || p->asked_s > now + 1);
}

static void look_at_staples(void *ctx) {
    struct staples *s = ctx;
    int64_t now = s->now(), next = now + LOOK_MS / 1000;
    bool unreported = false;
    size_t first = s->turn;
    if (!s->running)
        return;
    for (size_t i = 0; i < s->n; i++) {
        struct staple *p = &s->list[(first + i) % s->n];
        struct staples_fetch *f = is_due(p, now) ? free_fetch(s, p) : NULL;
        if (f) {
            begin_fetch(s, f, p);
            s->turn = (first + i + 1) % s->n;
        } else if (p->url && p->status.next_at > now) {
            next = MIN(next, p->status.next_at);
        }
        if (!p->reported)
            report_staple(s, p);
        unreported = unreported || !p->reported;
    }
    alarm_clock_set(&s->clock, unreported ? SOON_MS : (uint64_t)MAX(next - now, INT64_C(1)) * 1000);
}

/* ---- sets ---- */

static int by_staple_name(const void *a, const void *b) {
    const struct staple *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static struct staple *find_staple(const struct staples *s, const char *name) {
    struct staple key = {0};
    if (!s->n)
        return NULL;
    memcpy(key.name, name, sizeof(key.name));
    return bsearch(&key, s->list, s->n, sizeof(*s->list), by_staple_name);
}

static void forget_list(struct staples *s) {
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].url);
    free(s->list);
    free(s->of_entry);
    if (s->store.head)
        creds_unmap(&s->store);
}

/* A certificate that was not in use before. */
static void meet(struct staples *s, struct staple *p, int64_t now) {
    struct parsed x;
    char url[OCSP_URL_MAX];
    p->status.state = MANAGED_OCSP_NOBODY;
    bool known = parse_entry(s, p->entry, &x);
    if (x.leaf && ocsp_responder(x.leaf, url) == 0) {
        p->url = known ? strdup(url) : NULL;
        if (!known)
            log_msg(s->log, LOG_LEVEL_WARNING,
                    "%s: its OCSP responder cannot be asked: expected the issuer's certificate behind the first one",
                    cert_file(s, p));
    }
    if (p->url) {
        p->status.state = MANAGED_OCSP_WAITING;
        take_from_disk(s, p, &x, now);
    }
    parsed_fini(&x);
}

/* The certificates of the store that are wanted, by name. False without memory. */
static bool list_wanted(struct staples *to, const struct conf *conf) {
    uint32_t n = creds_entries(&to->store);
    to->list = calloc((size_t)n + 1, sizeof(*to->list));
    to->of_entry = malloc(((size_t)n + 1) * sizeof(*to->of_entry));
    if (!to->list || !to->of_entry)
        return false;
    for (uint32_t e = 0; e < n; e++) {
        uint32_t service = creds_entry(&to->store, e).service;
        struct staple *p = &to->list[to->n];
        bool wanted = service < conf->nservices && conf->services[service].fetch_ocsp;
        p->entry = e;
        if (wanted && ocsp_file_name(creds_cert(&to->store, e, 0).der, p->name) == 0)
            to->n++;
    }
    qsort(to->list, to->n, sizeof(*to->list), by_staple_name); /* of equal ones any may be the first */
    return true;
}

static void join_equal(struct staples *to) {
    size_t n = 0;
    memset(to->of_entry, 0xff, ((size_t)creds_entries(&to->store) + 1) * sizeof(*to->of_entry));
    for (size_t i = 0; i < to->n; i++) {
        struct staple *p = &to->list[i];
        bool same = n > 0 && strcmp(to->list[n - 1].name, p->name) == 0;
        uint32_t entry = p->entry;
        if (same)
            to->list[n - 1].entry = MIN(to->list[n - 1].entry, entry);
        else
            to->list[n++] = *p;
        to->of_entry[entry] = (uint32_t)(n - 1);
    }
    to->n = n;
}

/* What is known of it goes on, unless somebody has removed the file. */
static void carry_over(const struct staples *s, struct staple *p) {
    struct staple_path path;
    struct staple *old = find_staple(s, p->name);
    uint32_t entry = p->entry;
    if (!old || !old->url)
        return;
    *p = *old;
    p->entry = entry;
    old->url = NULL; /* is P's now */
    if (p->status.state >= MANAGED_OCSP_GOOD && access(path_of_staple(&path, s, p->name), F_OK) != 0) {
        p->status.state = MANAGED_OCSP_WAITING;
        p->status.from = p->status.until = p->status.next_at = 0;
    }
}

static void cancel_forgotten(struct staples *s) {
    for (size_t i = 0; i < STAPLES_FETCHES; i++) {
        struct staples_fetch *f = &s->fetches[i];
        const struct staple *p = f->name[0] ? find_staple(s, f->name) : NULL;
        if (p && p->url)
            continue;
        http_out_cancel(&f->http);
        f->name[0] = 0;
    }
}

int staples_take(struct staples *s, uint32_t set, int fd) {
    struct staples next = {.conf = s->conf}, old = *s;
    int err = creds_map(fd, &next.store);
    if (err < 0)
        return err;
    if (!list_wanted(&next, s->conf)) {
        next.n = 0;
        forget_list(&next);
        return ERR_NOMEM;
    }
    join_equal(&next);
    for (size_t i = 0; i < next.n; i++)
        carry_over(s, &next.list[i]);
    s->store = next.store;
    s->list = next.list;
    s->n = next.n;
    s->of_entry = next.of_entry;
    s->set = set;
    s->turn = 0;
    forget_list(&old);
    for (size_t i = 0; i < s->n; i++)
        if (!s->list[i].url)
            meet(s, &s->list[i], s->now());
    cancel_forgotten(s);
    staples_report(s);
    if (s->running)
        staples_run(s);
    return 0;
}

/* ---- life ---- */

int staples_init(struct staples *s, struct loop *loop, const char *directory) {
    struct text t = text_of(s->directory, sizeof(s->directory));
    text_add(&t, directory);
    s->clock = (struct alarm_clock){.loop = loop, .fn = look_at_staples, .ctx = s};
    for (size_t i = 0; i < STAPLES_FETCHES; i++)
        s->fetches[i].owner = s;
    return t.cut ? ERR_LIMIT : 0;
}

void staples_run(struct staples *s) {
    s->running = true;
    if (s->store.head)
        remove_unused(s);
    alarm_clock_set(&s->clock, 0);
}

void staples_stop(struct staples *s) {
    s->running = false;
    alarm_clock_stop(&s->clock);
    for (size_t i = 0; i < STAPLES_FETCHES; i++) {
        http_out_cancel(&s->fetches[i].http);
        s->fetches[i].name[0] = 0;
    }
}
