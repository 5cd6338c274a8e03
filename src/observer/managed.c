/* /acme.json, and POST /acme/renew, /acme/revoke, /acme/rollover. */
#include "observer/managed.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "observer/admin.h"
#include "observer/exposition.h"
#include "observer/json.h"

#define REASON_MAX 10 /* RFC 5280 5.3.1 */

/* ---- news ---- */

static void drop_link(struct managed *m) {
    if (m->fd < 0)
        return;
    loop_unwatch(m->loop, m->fd);
    close(m->fd);
    m->fd = -1;
}

static void keep_text(char *to, size_t cap, struct span s) {
    struct text t = text_of(to, cap);
    text_add_span(&t, s);
}

static bool take_status(struct managed *m, const struct ipc_msg *msg) {
    struct managed_status s;
    if (managed_read_status(msg, &s) < 0 || s.cert >= m->conf->acme.ncerts || s.issuer >= m->conf->acme.nissuers)
        return false;
    struct managed_known *k = &m->certs[s.cert];
    keep_text(k->state, sizeof(k->state), s.state_name);
    keep_text(k->error, sizeof(k->error), s.error);
    s.state_name = s.error = span_of(NULL, 0);
    k->status = s;
    k->heard = true;
    return true;
}

static bool take_account(struct managed *m, const struct ipc_msg *msg) {
    struct managed_account a;
    if (managed_read_account(msg, &a) < 0 || a.issuer >= m->conf->acme.nissuers)
        return false;
    keep_text(m->accounts[a.issuer], sizeof(m->accounts[0]), a.url);
    return true;
}

static void on_news(void *ctx, uint32_t key, uint32_t gen, uint32_t events) {
    static uint8_t scratch[IPC_BODY_MAX + 2];
    struct managed *m = ctx;
    struct ipc_msg msg;
    int err = 0;
    (void)gen;
    (void)events;
    while (m->fd >= 0 && (uint32_t)m->fd == key) {
        enum step step = ipc_recv(m->fd, scratch, sizeof(scratch), managed_to_observer, &msg, &err);
        if (step == STEP_WANT_READ)
            return;
        if (step != STEP_DONE || !(msg.type == MANAGED_STATUS ? take_status(m, &msg) : take_account(m, &msg)))
            drop_link(m); /* its successor reports all again */
    }
}

bool managed_start(struct managed *m, const struct conf *conf, struct loop *loop, unsigned kind) {
    *m = (struct managed){.loop = loop, .conf = conf, .kind = kind, .fd = -1};
    m->certs = calloc(conf->acme.ncerts + 1, sizeof(*m->certs));
    m->accounts = calloc(conf->acme.nissuers + 1, sizeof(*m->accounts));
    loop_on(loop, kind, on_news, m);
    return m->certs && m->accounts;
}

void managed_fini(struct managed *m) {
    drop_link(m);
    free(m->certs);
    free(m->accounts);
}

void managed_take_link(struct managed *m, int fd) {
    drop_link(m);
    m->fd = fd;
    if (loop_watch(m->loop, fd, EPOLLIN, m->kind, (uint32_t)fd, 0) < 0)
        drop_link(m);
}

/* ---- what is shown ---- */

/* 0 = there is none. */
static void put_time(json_t *o, const char *name, int64_t t) {
    if (t > 0)
        json_put_real(o, name, (double)t);
}

static void put_cert(const struct managed *m, size_t i, json_t *o) {
    const struct conf_managed *c = &m->conf->acme.certs[i];
    const struct managed_known *k = &m->certs[i];
    const struct managed_status *s = &k->status;
    json_put_text(o, "certificate", c->id);
    json_put_text(o, "service", m->conf->services[c->service].name);
    json_t *names = json_put_array(o, "names");
    for (size_t n = 0; n < c->nnames; n++)
        (void)json_array_append_new(names, json_text(span_str(c->names[n])));
    json_put_text(o, "key_type", managed_key_name(c->key));
    if (!k->heard)
        return;
    json_put_text(o, "issuer", m->conf->acme.issuers[s->issuer].name);
    json_put_text(o, "state", k->state);
    json_put_bool(o, "issued_by_issuer", s->from_issuer);
    json_put_bool(o, "names_right", s->names_right);
    json_put_bool(o, "alarm", s->alarm);
    put_time(o, "not_before", s->from_issuer ? s->not_before : 0);
    put_time(o, "not_after", s->from_issuer ? s->not_after : 0);
    put_time(o, "renew_at", s->renew_at);
    put_time(o, "next_attempt", s->next_at);
    put_time(o, "installed", s->installed_at);
    put_time(o, "window_start", s->window[0]);
    put_time(o, "window_end", s->window[1]);
    json_put_u64(o, "failures_in_a_row", s->failures);
    json_put_u64(o, "issued", s->issued);
    json_put_u64(o, "failed", s->failed);
    json_put_text(o, "error", k->error[0] ? k->error : NULL);
}

static void managed_get(const struct managed *m, struct http_reply *r) {
    json_t *top = json_object();
    json_put_bool(top, "running", m->fd >= 0);
    json_t *issuers = json_put_array(top, "issuers"), *certs = json_put_array(top, "certificates");
    for (size_t i = 0; i < m->conf->acme.nissuers; i++) {
        json_t *o = json_append_object(issuers);
        json_put_text(o, "issuer", m->conf->acme.issuers[i].name);
        json_put_text(o, "directory", m->conf->acme.issuers[i].directory);
        json_put_text(o, "account", m->accounts[i][0] ? m->accounts[i] : NULL);
    }
    for (size_t i = 0; i < m->conf->acme.ncerts; i++)
        put_cert(m, i, json_append_object(certs));
    admin_reply_json(r, top);
}

void managed_answer(struct admin *a, const struct http_request *q, struct http_reply *r) {
    (void)q;
    managed_get(&a->managed, r);
}

static uint64_t value_issued(const struct managed_status *s) {
    return s->issued;
}
static uint64_t value_failed(const struct managed_status *s) {
    return s->failed;
}
static uint64_t value_failures(const struct managed_status *s) {
    return s->failures;
}
static uint64_t value_alarm(const struct managed_status *s) {
    return s->alarm;
}
static uint64_t value_renewal(const struct managed_status *s) {
    return s->renew_at > 0 ? (uint64_t)s->renew_at : 0;
}

static const struct per_cert {
    const char *name, *help;
    enum exposition_type type;
    uint64_t (*value)(const struct managed_status *s);
} per_cert[] = {
    {"acme_certificates_issued", "Certificates got from issuers, ever.", EXPOSE_COUNTER, value_issued},
    {"acme_attempts_failed", "Attempts to get a certificate that failed, ever.", EXPOSE_COUNTER, value_failed},
    {"acme_failures_in_a_row", "Failed attempts since the last certificate.", EXPOSE_GAUGE, value_failures},
    {"acme_alarm", "Whether a renewal is overdue, or there is no certificate after several attempts.", EXPOSE_GAUGE,
     value_alarm},
    {"acme_renewal_timestamp_seconds", "When a certificate is to be renewed, since 1970; 0 = there is none.", EXPOSE_GAUGE,
     value_renewal},
};

void managed_metrics(const struct managed *m, struct exposition *x) {
    for (size_t k = 0; k < ARRAY_LEN(per_cert) && m->conf->acme.ncerts; k++) {
        exposition_family(x, per_cert[k].type, per_cert[k].name, per_cert[k].help);
        for (size_t i = 0; i < m->conf->acme.ncerts; i++) {
            const struct exposition_label labels[] = {{"certificate", m->conf->acme.certs[i].id}, {NULL, NULL}};
            if (m->certs[i].heard)
                exposition_number(x, labels, per_cert[k].value(&m->certs[i].status));
        }
    }
}

/* ---- commands ---- */

static size_t find_cert(const struct conf_acme *a, const char *id) {
    size_t i = 0;
    while (i < a->ncerts && strcmp(a->certs[i].id, id) != 0)
        i++;
    return i;
}

static size_t find_issuer(const struct conf_acme *a, const char *name) {
    size_t i = 0;
    while (i < a->nissuers && strcmp(a->issuers[i].name, name) != 0)
        i++;
    return i;
}

void managed_post(struct admin *a, const struct http_request *q, struct http_reply *r) {
    const struct managed *m = &a->managed;
    const struct conf_acme *conf = &m->conf->acme;
    bool rollover = strcmp(q->path, "/acme/rollover") == 0, revoke = strcmp(q->path, "/acme/revoke") == 0;
    const char *target = http_query(q, rollover ? "issuer" : "certificate"), *reason = http_query(q, "reason");
    struct managed_command c = {.kind = rollover ? MANAGED_ROLLOVER : revoke ? MANAGED_REVOKE : MANAGED_RENEW};
    uint64_t number = 0;
    size_t n = rollover ? conf->nissuers : conf->ncerts;
    size_t at = !target ? n : rollover ? find_issuer(conf, target) : find_cert(conf, target);
    if (at == n) {
        http_reply_line(r, 400,
                        rollover ? "expected issuer=NAME of the configuration"
                                 : "expected certificate=ID, as /acme.json lists them");
        return;
    }
    if (reason && (!revoke || text_parse_u64(reason, REASON_MAX, &number) < 0)) {
        http_reply_line(r, 400, "reason: only for revoke, a number from 0 to 10 (RFC 5280 5.3.1)");
        return;
    }
    c.target = (uint16_t)at;
    c.reason = (uint8_t)number;
    if (m->fd < 0 || managed_send_command(m->fd, &c) < 0) {
        http_reply_line(r, 503, "the acme role cannot be asked at present");
        return;
    }
    json_t *o = json_object();
    json_put_text(o, rollover ? "issuer" : "certificate", target);
    json_put_text(o, "state", "queued");
    admin_reply_json(r, o);
}
