#include "handshaker/admit.h"

#include <stdlib.h>
#include <string.h>

#include "access/ja4_rule.h"
#include "base/err.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"

/* ---- taking a table ---- */

/* A service of each of the rules there are at a listener; none when that decides nothing. */
static struct admit_gate gate_of(const struct conf_listener *l, const struct access *a) {
    struct admit_gate g = {.n = 0};
    for (size_t i = 0; i < l->nservices; i++) {
        uint16_t k = 0;
        while (k < g.n && !access_same_rules(a, g.service[k], l->services[i]))
            k++;
        if (k < g.n)
            continue;
        if (access_service_lists(a, l->services[i]) == 0 || g.n == ADMIT_RULES_MAX)
            return (struct admit_gate){.n = 0};
        g.service[g.n++] = l->services[i];
    }
    return g;
}

static struct admit_gate *gates_of(const struct conf *c, const struct access *a) {
    struct admit_gate *gates = calloc(c->nlisteners + 1, sizeof(*gates));
    for (size_t i = 0; i < c->nlisteners && gates; i++)
        gates[i] = gate_of(&c->listeners[i], a);
    return gates;
}

int admit_take(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    struct access table;
    int err = access_map(m->fds[0], &table);
    if (err == 0 && access_services(&table) != h->conf->nservices) {
        access_unmap(&table);
        err = ERR_FORMAT;
    }
    struct admit_gate *gates = err == 0 ? gates_of(h->conf, &table) : NULL;
    if (!gates) {
        if (err == 0)
            access_unmap(&table);
        err = err ? err : ERR_NOMEM;
        text_addf(why, "new access lists are not used: %s", err_text(err));
        return err;
    }
    if (h->admission.table.head)
        access_unmap(&h->admission.table);
    free(h->admission.gates);
    h->admission = (struct admission){table, gates};
    return 0;
}

/* ---- judging ---- */

/* The list that decided, for the log and the counters; static, or the table's. */
static const char *deciding_list(const struct handshaker *h, struct access_verdict v) {
    return v.list == ACCESS_NONE ? "none" : access_list(&h->admission.table, v.list).file;
}

/* Each verdict by lists is counted once: a refusal where it is made, an admission in the service. */
static int refuse_by_lists(struct handshaker *h, struct conn *c, struct access_verdict v) {
    c->refused_by = deciding_list(h, v);
    conn_metrics_access(h, c, c->refused_by, false);
    return ERR_ACCESS_DENIED;
}

int admit_client(struct handshaker *h, struct conn *c) {
    const struct admit_gate *g = &h->admission.gates[c->listener];
    struct access_verdict first = {true, ACCESS_NONE};
    for (uint16_t i = 0; i < g->n; i++) {
        struct access_verdict v = access_judge(&h->admission.table, g->service[i], &c->client);
        if (v.admitted)
            return 0;
        if (i == 0)
            first = v;
    }
    return first.admitted ? 0 : refuse_by_lists(h, c, first);
}

int admit_to_service(struct handshaker *h, struct conn *c) {
    if (access_service_lists(&h->admission.table, c->service) == 0)
        return 0;
    struct access_verdict v = access_judge(&h->admission.table, c->service, &c->client);
    if (!v.admitted)
        return refuse_by_lists(h, c, v);
    conn_metrics_access(h, c, deciding_list(h, v), true);
    return 0;
}

int admit_hello(struct handshaker *h, struct conn *c) {
    const struct conf_service *s = h->services[c->service].conf;
    for (size_t i = 0; i < s->ndeny_ja4 && c->hello_info; i++)
        if (ja4_rule_takes(s->deny_ja4[i], c->hello_info->ja4)) {
            c->refused_by = s->deny_ja4[i];
            return ERR_JA4_DENIED;
        }
    return 0;
}
