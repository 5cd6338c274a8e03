#include "acme/info_shared.h"

#include "acme/scheduler.h"

#define HELD_S   10 /* until it is looked at again: the look is the next one, a minute later at most */
#define INFO_MAX 512
#define LATEST_S 86400

static bool ask_about(struct scheduler *s, enum sharing_op op, struct span data, share_fn fn) {
    struct info_shared *i = &s->info;
    struct span name = span_str(i->name);
    struct sharing_request q = {.op = op, .fence = i->fence, .lease = name, .name = name, .data = data};
    q.version = op == SHARING_PUT ? i->version : 0;
    return share_link_ask(s->env.share, &q, fn, fn ? s : NULL) == 0;
}

static void give_info_lease(struct scheduler *s) {
    if (s->info.fence)
        (void)ask_about(s, SHARING_GIVE, span_str(s->info.name), NULL); /* else it ends with its time */
    s->info.fence = 0;
}

/* About the certificate in use here, and not too old. What is not understood is as if there were none. */
static bool take_info(struct scheduler *s, struct job *j, struct span json) {
    json_t *o = json_loadb((const char *)json.p, json.len, JSON_REJECT_DUPLICATES, NULL);
    const char *ari = json_string_value(json_object_get(o, "ari"));
    const json_t *w = json_object_get(o, "window");
    int64_t window[] = {json_integer_value(json_array_get(w, 0)), json_integer_value(json_array_get(w, 1))};
    int64_t ask_s = json_integer_value(json_object_get(o, "ask")), now = s->env.now();
    bool ok = ari && strcmp(ari, j->ari) == 0 && ask_s > now && ask_s <= now + LATEST_S;
    if (ok) {
        scheduler_use_window(s, j, window, NULL);
        j->ask_s = ask_s;
    }
    json_decref(o);
    return ok;
}

static void on_info_object(void *ctx, const struct sharing_answer *a) {
    struct scheduler *s = ctx;
    struct job *j = s->asked;
    s->info.version = a->version + 1;
    if (a->result == SHARING_OK && take_info(s, j, a->data)) {
        give_info_lease(s);
        scheduler_end_question(s);
    } else {
        scheduler_ask_issuer(s);
    }
}

/* While another one asks nobody does; without the store each does. */
static void on_info_lease(void *ctx, const struct sharing_answer *a) {
    struct scheduler *s = ctx;
    if (a->result == SHARING_HELD) {
        s->asked->ask_s = s->env.now() + HELD_S;
        s->asked = NULL;
        return;
    }
    s->info.fence = a->result == SHARING_OK ? a->fence : 0;
    if (!s->info.fence || !ask_about(s, SHARING_GET, span_of(NULL, 0), on_info_object))
        scheduler_ask_issuer(s);
}

bool info_shared_look(struct scheduler *s) {
    char own[CONF_SHARED_NAME_MAX];
    struct text t = text_of(s->info.name, sizeof(s->info.name));
    managed_shared_name(s->env.acme, s->asked->cert, own);
    text_addf(&t, "renewal/%s", own);
    s->info.fence = 0;
    return s->env.share && s->env.share->up && ask_about(s, SHARING_LEASE, span_str(s->info.name), on_info_lease);
}

static void on_info_put(void *ctx, const struct sharing_answer *a) {
    const struct scheduler *s = ctx;
    share_link_note(s->env.share, "when an issuer wants a renewal", a);
}

void info_shared_put(struct scheduler *s, const struct job *j) {
    char json[INFO_MAX];
    json_t *o = j && s->info.fence ? json_pack("{s:s, s:[I,I], s:I}", "ari", j->ari, "window", (json_int_t)j->window[0],
                                               (json_int_t)j->window[1], "ask", (json_int_t)j->ask_s)
                                   : NULL;
    size_t n = o ? json_dumpb(o, json, sizeof(json), JSON_COMPACT) : 0;
    json_decref(o);
    if (n && n <= sizeof(json))
        (void)ask_about(s, SHARING_PUT, span_of(json, n), on_info_put); /* else the others ask, too */
    give_info_lease(s);
}
