/* The data of `top`, from the admin socket. */
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/http_client.h"
#include "cli/top.h"

#define PATIENCE_MS 1500 /* a key pressed meanwhile waits at most this long */
#define CLIENTS_MAX "300"

const char *const top_sorts[] = {"rate", "bytes", "sessions", "failed", "client", NULL};

/* NULL, with *RET_ERR, when there is no answer. */
static json_t *get(const struct top *t, const char *target, int *ret_err) {
    struct http_answer answer;
    int err = http_ask(t->args.path, "GET", target, clock_mono_ms() + PATIENCE_MS, &answer);
    json_t *tree = NULL;
    if (err == 0) {
        struct span body = buf_span(&answer.body);
        tree = answer.status == 200 ? json_loadb((const char *)body.p, body.len, 0, NULL) : NULL;
        err = tree ? 0 : ERR_FORMAT;
        buf_fini(&answer.body);
    }
    *ret_err = err;
    return tree;
}

static bool replace(const struct top *t, const char *target, json_t **place, int *ret_err) {
    json_t *new = get(t, target, ret_err);
    if (!new)
        return false;
    json_decref(*place);
    *place = new;
    return true;
}

double top_rate(const json_t *o, const char *span) {
    return admin_number(json_object_get(o, "rate_in"), span) + admin_number(json_object_get(o, "rate_out"), span);
}

static bool fetch_followed(struct top *t, int *ret_err) {
    char target[512];
    struct text s = text_of(target, sizeof(target)), c;
    text_add(&s, "/sessions.json?limit=50");
    admin_add_query(&s, "client", t->followed);
    if (!replace(t, target, &t->sessions, ret_err))
        return false;
    c = text_of(target, sizeof(target));
    text_add(&c, "/clients.json");
    admin_add_query(&c, "client", t->followed);
    if (!replace(t, target, &t->clients, ret_err))
        return false;
    t->history[t->nhistory++ % TOP_SECONDS] = top_rate(json_array_get(t->clients, 0), "1s");
    return true;
}

static bool fetch_clients(struct top *t, int *ret_err) {
    char target[128];
    struct text s = text_of(target, sizeof(target));
    text_addf(&s, "/clients.json?limit=" CLIENTS_MAX "&sort=%s", top_sorts[t->sort]);
    return replace(t, target, &t->clients, ret_err);
}

/* Keeps the previous answer; answers of the same moment replace each other. */
static bool fetch_status(struct top *t, int *ret_err) {
    json_t *new = get(t, "/status.json", ret_err);
    if (!new)
        return false;
    if (admin_number(new, "time") > admin_number(t->status, "time") + 0.5) {
        json_decref(t->before);
        t->before = t->status;
    } else {
        json_decref(t->status);
    }
    t->status = new;
    return true;
}

bool top_fetch(struct top *t) {
    int err = 0;
    bool ok = fetch_status(t, &err) && (t->followed[0] ? fetch_followed(t, &err) : fetch_clients(t, &err));
    if (!ok && t->err == 0)
        t->since_ms = clock_mono_ms();
    t->err = ok ? 0 : err;
    return ok;
}

void top_free(struct top *t) {
    json_decref(t->status);
    json_decref(t->before);
    json_decref(t->clients);
    json_decref(t->sessions);
}

double top_cpu(const struct top *t, const json_t *process) {
    double seconds = admin_number(t->status, "time") - admin_number(t->before, "time");
    const json_t *list = json_object_get(t->before, "processes");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *o = json_array_get(list, i);
        double used = admin_number(process, "cpu_seconds_total") - admin_number(o, "cpu_seconds_total");
        if (admin_number(o, "pid") == admin_number(process, "pid") && seconds > 0)
            return used > 0 ? 100 * used / seconds : 0;
    }
    return -1;
}

bool top_passes(const struct top *t, const char *text) {
    return !t->filter[0] || strcasestr(text, t->filter);
}

void top_select(struct top *t, int n) {
    size_t i, count = 0;
    int at = -1;
    json_t *c;
    const char *names[300];
    json_array_foreach(t->clients, i, c) {
        const char *name = admin_text(c, "client");
        if (!top_passes(t, name) || count == ARRAY_LEN(names))
            continue;
        if (strcmp(name, t->selected) == 0)
            at = (int)count;
        names[count++] = name;
    }
    if (count == 0)
        return;
    at = at < 0 ? 0 : MAX(0, MIN(at + n, (int)count - 1));
    struct text s = text_of(t->selected, sizeof(t->selected));
    text_add(&s, names[at]);
}
