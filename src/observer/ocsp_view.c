#include "observer/ocsp_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/span.h"
#include "observer/exposition.h"
#include "observer/json.h"

static const char *const state_names[MANAGED_OCSP_STATES] = {[MANAGED_OCSP_NOBODY] = "no-responder",
                                                             [MANAGED_OCSP_WAITING] = "waiting",
                                                             [MANAGED_OCSP_GOOD] = "good",
                                                             [MANAGED_OCSP_REVOKED] = "revoked"};

static void forget_all(struct ocsp_view *v) {
    for (uint32_t i = 0; i < v->n; i++)
        free(v->list[i].error);
    free(v->list);
    v->list = NULL;
    v->n = 0;
}

void ocsp_view_fini(struct ocsp_view *v) {
    forget_all(v);
}

/* Without memory an entry is not known. */
static struct ocsp_known *known_of(struct ocsp_view *v, uint32_t entry) {
    if (entry >= v->n) {
        uint32_t n = MAX(entry + 1, v->n + v->n / 2);
        struct ocsp_known *list = reallocarray(v->list, n, sizeof(*list));
        if (!list)
            return NULL;
        memset(list + v->n, 0, (n - v->n) * sizeof(*list));
        v->list = list;
        v->n = n;
    }
    return &v->list[entry];
}

bool ocsp_view_take(struct ocsp_view *v, const struct ipc_msg *m) {
    struct managed_ocsp o;
    if (managed_read_ocsp(m, &o) < 0 || o.entry >= OCSP_VIEW_MAX)
        return false;
    if (o.set != v->set)
        forget_all(v);
    v->set = o.set;
    struct ocsp_known *k = known_of(v, o.entry);
    if (!k)
        return true;
    free(k->error);
    k->error = o.error.len ? strndup((const char *)o.error.p, o.error.len) : NULL;
    o.error = span_of(NULL, 0);
    k->status = o;
    k->known = true;
    return true;
}

void ocsp_view_put(const struct ocsp_view *v, uint32_t entry, json_t *o) {
    if (v->set != v->shown || entry >= v->n || !v->list[entry].known)
        return;
    const struct ocsp_known *k = &v->list[entry];
    json_t *f = json_put_object(o, "ocsp_fetch");
    json_put_text(f, "state", state_names[k->status.state]);
    json_put_time(f, "from", k->status.from);
    json_put_time(f, "until", k->status.until);
    json_put_time(f, "next_attempt", k->status.next_at);
    json_put_u64(f, "failures_in_a_row", k->status.failures);
    json_put_text(f, "error", k->error);
}

/* "expired" is what a good answer becomes. */
static const char *shown_state(const struct ocsp_known *k, int64_t now) {
    bool over = k->status.state == MANAGED_OCSP_GOOD && k->status.until <= now;
    return over ? "expired" : state_names[k->status.state];
}

static void count_state(const struct ocsp_view *v, struct exposition *x, const char *state, int64_t now) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < v->n; i++)
        n += v->list[i].known && strcmp(shown_state(&v->list[i], now), state) == 0;
    const struct exposition_label labels[] = {{"state", state}, {NULL, NULL}};
    exposition_number(x, labels, n);
}

void ocsp_view_metrics(const struct ocsp_view *v, struct exposition *x) {
    int64_t now = (int64_t)(clock_wall_us() / 1000000);
    uint64_t most = 0;
    if (!v->n || v->set != v->shown)
        return;
    exposition_family(x, EXPOSE_GAUGE, "ocsp_certificates", "Certificates whose OCSP responses are fetched, by what is known.");
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++)
        count_state(v, x, state_names[i], now);
    count_state(v, x, "expired", now);
    for (uint32_t i = 0; i < v->n; i++)
        most = MAX(most, v->list[i].known ? v->list[i].status.failures : 0);
    exposition_family(x, EXPOSE_GAUGE, "ocsp_failures_in_a_row",
                      "The most failed attempts to fetch an OCSP response of one certificate since its last one.");
    exposition_number(x, NULL, most);
}
