#include "acme/job.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#include "acme/renewal.h"
#include "base/clock.h"

#define LATEST_S       86400
#define YOUNG_S        INT64_C(3600) /* no certificate is renewed before it is that old */
#define RESUMES_MAX    3             /* attempts that are gone on with at once after a restart */
#define LAST_SHARE     6             /* of a lifetime, that is left */
#define FIRST_ALONE_S  60            /* where there is no certificate yet */
#define ALONE_SPREAD_S 540
#define ALARM_AFTER    3              /* failures, where no certificate is there yet */
#define ALARM_AGAIN    INT64_C(21600) /* what lasts is logged again */

void job_init(struct job *j, const struct conf_acme *a, uint16_t index) {
    *j = (struct job){.cert = &a->certs[index], .index = index};
    j->names_number = managed_names_number(j->cert);
    for (size_t i = 0; i < j->cert->nissuers; i++)
        j->issuer_numbers[i] = issuer_number(&a->issuers[j->cert->issuers[i]]);
}

bool job_write(const struct job *j, char *to, size_t cap, size_t *ret_len) {
    json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:[I,I], s:I, s:I, s:I, s:b, s:s}", "certificate",
                          j->cert->id, "issuer", (int)j->issuer, "order", j->orders[j->issuer], "error", j->error, "failures",
                          (json_int_t)j->failures, "next", (json_int_t)j->next_s, "issued", (json_int_t)j->issued, "failed",
                          (json_int_t)j->failed, "ari", j->ari, "window", (json_int_t)j->window[0], (json_int_t)j->window[1],
                          "chosen", (json_int_t)j->chosen_s, "ask", (json_int_t)j->ask_s, "installed",
                          (json_int_t)j->installed_s, "wanted", j->wanted || j->revoking, "issued_by", j->issued_by);
    json_t *blocked = json_array(), *orders = json_array(), *unsure = json_array(), *issuers = json_array();
    for (size_t i = 0; i < j->cert->nissuers; i++) { /* no memory: they are shorter */
        (void)json_array_append_new(issuers, json_integer((json_int_t)j->issuer_numbers[i]));
        (void)json_array_append_new(blocked, json_integer(j->blocked_s[i]));
        (void)json_array_append_new(orders, json_string(j->orders[i]));
        (void)json_array_append_new(unsure, json_boolean(j->unsure[i]));
    }
    if (json_object_set_new(o, "blocked", blocked) < 0 || json_object_set_new(o, "orders", orders) < 0 ||
        json_object_set_new(o, "unsure", unsure) < 0 || json_object_set_new(o, "issuers", issuers) < 0 ||
        json_object_set_new(o, "names", json_integer((json_int_t)j->names_number)) < 0) {
        json_decref(o);
        o = NULL;
    }
    size_t n = o ? json_dumpb(o, to, cap, JSON_INDENT(1)) : 0;
    json_decref(o);
    *ret_len = n;
    return n > 0 && n <= cap;
}

static void take_text(const json_t *from, char *to, size_t cap) {
    const char *s = json_string_value(from);
    if (s && strlen(s) < cap)
        memcpy(to, s, strlen(s) + 1);
}

static void get_text(const json_t *o, const char *key, char *to, size_t cap) {
    take_text(json_object_get(o, key), to, cap);
}

static int64_t get_number(const json_t *o, const char *key) {
    int64_t n = json_integer_value(json_object_get(o, key));
    return MAX(n, 0);
}

static bool is_number(const json_t *n, uint64_t wanted) {
    return json_is_integer(n) && (uint64_t)json_integer_value(n) == wanted;
}

/* Which of the issuers that were configured when O was written is the PLACE-th now; how many there were = none. Files of older
 * versions do not say. */
static size_t place_then(const struct job *j, const json_t *o, size_t place) {
    const json_t *list = json_object_get(o, "issuers");
    size_t i = 0;
    if (!list || is_number(json_array_get(list, place), j->issuer_numbers[place]))
        return place;
    while (i < json_array_size(list) && !is_number(json_array_get(list, i), j->issuer_numbers[place]))
        i++;
    return i;
}

/* Where there is no list there was one order. */
static void read_orders(struct job *j, const json_t *o, const size_t then[static CONF_ISSUERS_MAX]) {
    const json_t *list = json_object_get(o, "orders"), *unsure = json_object_get(o, "unsure");
    job_drop_orders(j);
    for (size_t i = 0; i < j->cert->nissuers; i++) {
        take_text(json_array_get(list, then[i]), j->orders[i], sizeof(j->orders[i]));
        j->unsure[i] = json_is_true(json_array_get(unsure, then[i]));
    }
    if (!list)
        take_text(json_object_get(o, "order"), j->orders[j->issuer], sizeof(j->orders[0]));
}

/* About the certificate in use here, and what this instance's operator wants of it. */
static void read_in_use(struct job *j, const json_t *o, int64_t now) {
    const json_t *window = json_object_get(o, "window");
    get_text(o, "ari", j->ari, sizeof(j->ari));
    j->issued_by[0] = 0; /* of another certificate, in files that do not say it */
    get_text(o, "issued_by", j->issued_by, sizeof(j->issued_by));
    j->window[0] = json_integer_value(json_array_get(window, 0));
    j->window[1] = json_integer_value(json_array_get(window, 1));
    j->chosen_s = get_number(o, "chosen");
    j->ask_s = MIN(get_number(o, "ask"), now + LATEST_S);
    j->installed_s = MIN(get_number(o, "installed"), now);
    j->wanted = json_is_true(json_object_get(o, "wanted"));
}

/* How attempts stand. An issuer that was not there has failed at nothing yet, and does not wait for what others do. */
static void read_attempts(struct job *j, const json_t *o, int64_t now, bool own) {
    uint64_t issuer = (uint64_t)get_number(o, "issuer");
    size_t then[CONF_ISSUERS_MAX] = {0};
    bool has_new = false;
    j->issuer = 0;
    for (size_t i = 0; i < j->cert->nissuers; i++) {
        then[i] = own ? place_then(j, o, i) : i;
        has_new |= own && json_object_get(o, "issuers") && then[i] == json_array_size(json_object_get(o, "issuers"));
        if (then[i] == issuer)
            j->issuer = (uint16_t)i;
        int64_t until = json_integer_value(json_array_get(json_object_get(o, "blocked"), then[i]));
        j->blocked_s[i] = MIN(MAX(until, 0), now + RENEWAL_RETRY_MAX_S);
    }
    read_orders(j, o, then);
    get_text(o, "error", j->error, sizeof(j->error));
    j->failures = (uint32_t)MIN(get_number(o, "failures"), (int64_t)UINT16_MAX);
    j->next_s = has_new ? 0 : MIN(get_number(o, "next"), now + LATEST_S);
}

/* The names of a shared one are in its own name. */
static bool is_of_other_names(const struct job *j, const json_t *o) {
    const json_t *names = json_object_get(o, "names");
    return names && !is_number(names, j->names_number);
}

static bool read_job(struct job *j, struct span json, int64_t now, bool own) {
    json_t *o = json_loadb((const char *)json.p, json.len, JSON_REJECT_DUPLICATES, NULL);
    const char *id = json_string_value(json_object_get(o, "certificate"));
    bool ok = id && (!own || strcmp(id, j->cert->id) == 0);
    if (ok) {
        if (!own || !is_of_other_names(j, o))
            read_attempts(j, o, now, own);
        j->issued = (uint64_t)get_number(o, "issued");
        j->failed = (uint64_t)get_number(o, "failed");
        if (own)
            read_in_use(j, o, now);
    }
    json_decref(o);
    return ok;
}

bool job_read(struct job *j, struct span json, int64_t now) {
    return read_job(j, json, now, true);
}

bool job_read_shared(struct job *j, struct span json, int64_t now) {
    return read_job(j, json, now, false);
}

void job_take_cert(struct job *j, const struct keymaking_cert *c) {
    j->inspected = true;
    j->from_issuer = c->from_issuer;
    j->names_right = c->names_right;
    j->not_before = c->not_before;
    j->not_after = c->not_after;
    j->version = c->version;
    if (c->ari.len < sizeof(j->ari) && !span_eq(c->ari, span_str(j->ari))) {
        memset(j->ari, 0, sizeof(j->ari));
        if (c->ari.len)
            memcpy(j->ari, c->ari.p, c->ari.len);
        j->window[0] = j->window[1] = j->chosen_s = j->ask_s = 0;
        j->issued_by[0] = 0;
    }
}

void job_set_issued_by(struct job *j, struct span name) {
    size_t n = name.len < sizeof(j->issued_by) ? name.len : 0;
    if (n)
        memcpy(j->issued_by, name.p, n);
    j->issued_by[n] = 0;
}

void job_take_shared(struct job *j, const struct keymaking_cert *c, int64_t now) {
    job_take_cert(j, c);
    if (c->issuer.len)
        job_set_issued_by(j, c->issuer);
    job_drop_orders(j);
    j->error[0] = 0;
    j->failures = 0;
    j->next_s = 0;
    memset(j->blocked_s, 0, sizeof(j->blocked_s));
    j->alone = 0;
    j->wanted = false;
    j->installed_s = now;
}

static void move(int64_t *time_s, int64_t by_s) {
    if (*time_s > 0)
        *time_s = MAX(*time_s + by_s, 0);
}

void job_move_clock(struct job *j, int64_t by_s) {
    int64_t *const times[] = {&j->next_s, &j->ask_s, &j->installed_s, &j->inspect_s};
    for (size_t i = 0; i < ARRAY_LEN(times); i++)
        move(times[i], by_s);
    for (size_t i = 0; i < j->cert->nissuers; i++)
        move(&j->blocked_s[i], by_s);
}

static bool is_revoked(const struct job *j) {
    return j->not_before && j->revoked_from == j->not_before;
}

int64_t job_renew_at(const struct job *j) {
    if (!j->from_issuer || !j->names_right)
        return 0;
    int64_t at = renewal_time(j->not_before, j->not_after);
    if (is_revoked(j))
        at = 0;
    else if (j->chosen_s)
        at = MIN(j->chosen_s, renewal_latest(j->not_before, j->not_after));
    /* an issuer that wants every new certificate renewed at once, revokes it, or issues what is old, would get orders without
     * end */
    int64_t left = j->not_after - j->installed_s, earliest = j->installed_s + MIN(MAX(left, 0) / 8, YOUNG_S);
    return MAX(at, earliest);
}

int64_t job_due(const struct job *j) {
    return j->wanted ? j->next_s : MAX(job_renew_at(j), j->next_s);
}

bool job_has_order(const struct job *j) {
    for (size_t i = 0; i < j->cert->nissuers; i++)
        if (j->orders[i][0])
            return true;
    return false;
}

void job_drop_orders(struct job *j) {
    for (size_t i = 0; i < j->cert->nissuers; i++) {
        j->orders[i][0] = 0;
        j->unsure[i] = false;
    }
}

uint16_t job_open_issuer(const struct job *j, uint16_t place, int64_t now) {
    const struct conf_managed *c = j->cert;
    for (size_t i = 0; i < c->nissuers; i++) {
        size_t at = (place + i) % c->nissuers;
        if (j->blocked_s[at] <= now)
            return (uint16_t)at;
    }
    return (uint16_t)c->nissuers;
}

int64_t job_open_at(const struct job *j) {
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < j->cert->nissuers; i++)
        first = MIN(first, j->blocked_s[i]);
    return first;
}

bool job_was_left(const struct job *j) {
    return j->failures > 0 && j->failures < RESUMES_MAX && !j->error[0];
}

bool job_is_due(const struct job *j, int64_t now) {
    return j->inspected && (now >= job_due(j) || (job_has_order(j) && job_was_left(j)));
}

int64_t job_alone_in_s(const struct job *j, int64_t now, int64_t away_s) {
    int64_t last = (j->not_after - j->not_before) / LAST_SHARE;
    bool usable = j->from_issuer && j->names_right && last > 0 && !is_revoked(j);
    int64_t first = usable ? j->not_after - last - now : FIRST_ALONE_S - away_s;
    return first + (int64_t)(j->alone % (uint64_t)(usable ? MAX(last / 2, 1) : ALONE_SPREAD_S));
}

bool job_alarms(const struct job *j, int64_t now) {
    if (is_revoked(j) || !job_renew_at(j))
        return j->failures >= ALARM_AFTER;
    /* what a late window leaves is less than what an attempt that fails needs */
    return now >= renewal_alarm(MIN(job_renew_at(j), renewal_time(j->not_before, j->not_after)), j->not_after);
}

bool job_is_urgent(const struct job *j, int64_t now) {
    return j->wanted || (j->from_issuer && job_alarms(j, now));
}

static void add_time(struct text *t, int64_t s) {
    char when[CLOCK_TEXT_MAX] = "?";
    time_t at = (time_t)s;
    struct tm tm;
    if (gmtime_r(&at, &tm))
        (void)!strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm); /* has room */
    text_addf(t, "%s UTC", when);
}

enum job_alarm_news job_alarm_news(struct job *j, int64_t now, struct text *line) {
    bool alarms = job_alarms(j, now), rang = j->alarmed_s != 0;
    if (!alarms) {
        j->alarmed_s = 0;
        text_add(line, "the alarm is over");
        return rang ? JOB_ALARM_ENDS : JOB_ALARM_OLD;
    }
    if (rang && now >= j->alarmed_s && now - j->alarmed_s < ALARM_AGAIN)
        return JOB_ALARM_OLD;
    j->alarmed_s = now;
    text_add(line, "ALARM: ");
    if (is_revoked(j)) {
        text_add(line, "its issuer has revoked the certificate in use, and there is no other one");
    } else if (job_renew_at(j)) {
        text_add(line, now < j->not_after ? "half of the time for its renewal is over, it is valid until "
                                          : "it was not renewed, and is expired since ");
        add_time(line, j->not_after);
    } else {
        text_add(line, j->from_issuer ? "there is still no certificate for these names" : "there is still none from an issuer");
    }
    text_addf(line, "; failed attempts in a row: %u%s%s; when that is mended, `tls-off acme renew %s` tries at once",
              j->failures, j->error[0] ? ", the last: " : "", j->error, j->cert->id);
    return JOB_ALARM_RINGS;
}
