#include "acme/job.h"

#include <jansson.h>
#include <string.h>

#include "acme/renewal.h"

#define LATEST_S    86400
#define YOUNG_S     INT64_C(3600) /* no certificate is renewed before it is that old */
#define ALARM_AFTER 3             /* failures, where no certificate is there yet */

bool job_write(const struct job *j, char *to, size_t cap, size_t *ret_len) {
    json_t *o = json_pack("{s:s, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:s, s:[I,I], s:I, s:I, s:I}", "certificate", j->cert->id,
                          "issuer", (int)j->issuer, "order", j->order, "error", j->error, "failures", (json_int_t)j->failures,
                          "next", (json_int_t)j->next_s, "issued", (json_int_t)j->issued, "failed", (json_int_t)j->failed,
                          "ari", j->ari, "window", (json_int_t)j->window[0], (json_int_t)j->window[1], "chosen",
                          (json_int_t)j->chosen_s, "ask", (json_int_t)j->ask_s, "installed", (json_int_t)j->installed_s);
    size_t n = o ? json_dumpb(o, to, cap, JSON_INDENT(1)) : 0;
    json_decref(o);
    *ret_len = n;
    return n > 0 && n <= cap;
}

static void get_text(const json_t *o, const char *key, char *to, size_t cap) {
    const char *s = json_string_value(json_object_get(o, key));
    if (s && strlen(s) < cap)
        memcpy(to, s, strlen(s) + 1);
}

static int64_t get_number(const json_t *o, const char *key) {
    int64_t n = json_integer_value(json_object_get(o, key));
    return MAX(n, 0);
}

bool job_read(struct job *j, struct span json, int64_t now) {
    json_t *o = json_loadb((const char *)json.p, json.len, JSON_REJECT_DUPLICATES, NULL);
    const char *id = json_string_value(json_object_get(o, "certificate"));
    bool ok = id && strcmp(id, j->cert->id) == 0;
    if (ok) {
        uint64_t issuer = (uint64_t)get_number(o, "issuer");
        j->issuer = issuer < j->cert->nissuers ? (uint16_t)issuer : 0;
        get_text(o, "order", j->order, sizeof(j->order));
        get_text(o, "error", j->error, sizeof(j->error));
        get_text(o, "ari", j->ari, sizeof(j->ari));
        j->failures = (uint32_t)MIN(get_number(o, "failures"), (int64_t)UINT16_MAX);
        j->next_s = MIN(get_number(o, "next"), now + LATEST_S);
        j->issued = (uint64_t)get_number(o, "issued");
        j->failed = (uint64_t)get_number(o, "failed");
        const json_t *window = json_object_get(o, "window");
        j->window[0] = json_integer_value(json_array_get(window, 0));
        j->window[1] = json_integer_value(json_array_get(window, 1));
        j->chosen_s = get_number(o, "chosen");
        j->ask_s = MIN(get_number(o, "ask"), now + LATEST_S);
        j->installed_s = get_number(o, "installed");
    }
    json_decref(o);
    return ok;
}

void job_take_cert(struct job *j, const struct keymaking_cert *c) {
    j->inspected = true;
    j->from_issuer = c->from_issuer;
    j->names_right = c->names_right;
    j->not_before = c->not_before;
    j->not_after = c->not_after;
    if (c->ari.len < sizeof(j->ari) && !span_eq(c->ari, span_str(j->ari))) {
        memset(j->ari, 0, sizeof(j->ari));
        if (c->ari.len)
            memcpy(j->ari, c->ari.p, c->ari.len);
        j->window[0] = j->window[1] = j->chosen_s = j->ask_s = 0;
    }
}

int64_t job_renew_at(const struct job *j) {
    if (!j->from_issuer || !j->names_right)
        return 0;
    if (!j->chosen_s)
        return renewal_time(j->not_before, j->not_after);
    /* an issuer that wants every new certificate renewed at once would get orders without an end */
    int64_t earliest = j->installed_s + MIN((j->not_after - j->not_before) / 8, YOUNG_S);
    return MIN(MAX(j->chosen_s, earliest), j->not_after);
}

int64_t job_due(const struct job *j) {
    return j->wanted ? j->next_s : MAX(job_renew_at(j), j->next_s);
}

bool job_alarms(const struct job *j, int64_t now) {
    int64_t renew_at = job_renew_at(j);
    return renew_at ? now >= renewal_alarm(renew_at, j->not_after) : j->failures >= ALARM_AFTER;
}
