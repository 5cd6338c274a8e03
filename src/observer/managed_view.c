/* /acme.json, and POST /acme/renew, /acme/revoke, /acme/rollover. */
#include "observer/managed_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "observer/admin.h"
#include "observer/exposition.h"
#include "observer/json.h"

#define REASON_MAX   10 /* RFC 5280 5.3.1 */
#define ALARMS_SHOWN 8  /* in one list; the rest is a number */

/* ---- news ---- */

static void keep_text(char *to, size_t cap, struct span s) {
    struct text t = text_of(to, cap);
    text_add_span(&t, s);
}

static bool take_status(struct managed_view *m, const struct ipc_msg *msg) {
    struct managed_status s;
    if (managed_read_status(msg, &s) < 0 || s.cert >= m->conf->acme.ncerts || s.issuer >= m->conf->acme.nissuers)
        return false;
    struct managed_known *k = &m->certs[s.cert];
    keep_text(k->state, sizeof(k->state), s.state_name);
    keep_text(k->error, sizeof(k->error), s.error);
    s.state_name = s.error = span_of(NULL, 0);
    k->status = s;
    k->known = true;
    return true;
}

static bool take_account(struct managed_view *m, const struct ipc_msg *msg) {
    struct managed_account a;
    if (managed_read_account(msg, &a) < 0 || a.issuer >= m->conf->acme.nissuers)
        return false;
    struct managed_account_known *to = &m->accounts[a.issuer];
    keep_text(to->url, sizeof(to->url), a.url);
    keep_text(to->hash_prefix, sizeof(to->hash_prefix), a.hash_prefix);
    keep_text(to->thumbprint, sizeof(to->thumbprint), a.thumbprint);
    keep_text(to->domain, sizeof(to->domain), a.domain);
    return true;
}

static bool on_acme_news(void *ctx, struct channel *c, struct ipc_msg *msg) {
    struct managed_view *m = ctx;
    return msg->type == MANAGED_STATUS    ? take_status(m, msg)
           : msg->type == MANAGED_ACCOUNT ? take_account(m, msg)
                                          : ocsp_view_take(&m->ocsp, msg);
}

bool managed_view_start(struct managed_view *m, const struct conf *conf, struct loop *loop, unsigned kind) {
    static const struct channel_ops ops = {.rules = managed_to_observer,
                                           .message = on_acme_news}; /* a new peer reports all again */
    *m = (struct managed_view){.conf = conf};
    m->certs = calloc(conf->acme.ncerts + 1, sizeof(*m->certs));
    m->accounts = calloc(conf->acme.nissuers + 1, sizeof(*m->accounts));
    channel_init(&m->acme, 1, loop, kind, &ops, m);
    return m->certs && m->accounts;
}

void managed_view_fini(struct managed_view *m) {
    channel_close(&m->acme);
    ocsp_view_fini(&m->ocsp);
    free(m->certs);
    free(m->accounts);
}

int managed_view_take_link(struct managed_view *m, int fd) {
    return channel_open(&m->acme, fd);
}

/* ---- what is shown ---- */

static void put_known(json_t *o, const char *name, const char *text) {
    json_put_text(o, name, text[0] ? text : NULL);
}

static void put_cert_state(const struct managed_view *m, size_t i, json_t *o) {
    const struct managed_known *k = &m->certs[i];
    const struct managed_status *s = &k->status;
    if (!k->known)
        return;
    json_put_text(o, "issuer", m->conf->acme.issuers[s->issuer].name);
    json_put_text(o, "state", k->state);
    json_put_bool(o, "issued_by_issuer", s->from_issuer);
    json_put_bool(o, "names_right", s->names_right);
    json_put_bool(o, "alarm", s->alarm);
    json_put_time(o, "not_before", s->from_issuer ? s->not_before : 0);
    json_put_time(o, "not_after", s->from_issuer ? s->not_after : 0);
    json_put_time(o, "renew_at", s->renew_at);
    json_put_time(o, "next_attempt", s->next_at);
    json_put_time(o, "installed", s->installed_at);
    json_put_time(o, "window_start", s->window[0]);
    json_put_time(o, "window_end", s->window[1]);
    json_put_u64(o, "failures_in_a_row", s->failures);
    json_put_u64(o, "issued", s->issued);
    json_put_u64(o, "failed", s->failed);
    put_known(o, "error", k->error);
}

static void put_cert(const struct managed_view *m, size_t i, json_t *o) {
    const struct conf_managed *c = &m->conf->acme.certs[i];
    json_put_text(o, "certificate", c->id);
    json_put_text(o, "service", m->conf->services[c->service].name);
    json_t *names = json_put_array(o, "names");
    for (size_t n = 0; n < c->nnames; n++)
        json_append_text(names, c->names[n]);
    json_t *issuers = json_put_array(o, "issuers");
    for (size_t n = 0; n < c->nissuers; n++)
        json_append_text(issuers, m->conf->acme.issuers[c->issuers[n]].name);
    json_put_text(o, "key_type", managed_key_name(c->key));
    put_cert_state(m, i, o);
}

static void put_issuer(const struct managed_view *m, size_t i, json_t *o) {
    const struct conf_issuer *c = &m->conf->acme.issuers[i];
    const struct managed_account_known *k = &m->accounts[i];
    json_put_text(o, "issuer", c->name);
    json_put_text(o, "directory", c->directory);
    json_t *challenges = json_put_array(o, "challenges");
    for (size_t n = 0; n < c->nchallenges; n++)
        json_append_text(challenges, challenge_type_name(c->challenges[n]));
    put_known(o, "account", k->url);
    put_known(o, "account_thumbprint", k->thumbprint);
    put_known(o, "account_hash_prefix", k->hash_prefix);
    put_known(o, "issuer_domain", k->domain);
}

static void managed_get(const struct managed_view *m, struct http_reply *r) {
    json_t *top = json_object();
    json_put_bool(top, "running", m->acme.fd >= 0);
    json_t *issuers = json_put_array(top, "issuers"), *certs = json_put_array(top, "certificates");
    for (size_t i = 0; i < m->conf->acme.nissuers; i++)
        put_issuer(m, i, json_append_object(issuers));
    for (size_t i = 0; i < m->conf->acme.ncerts; i++)
        put_cert(m, i, json_append_object(certs));
    json_reply(r, top);
}

void managed_view_put_file(const struct managed_view *m, const char *file, json_t *o) {
    for (size_t i = 0; i < m->conf->acme.ncerts; i++) {
        const char *dir = m->conf->acme.certs[i].dir;
        size_t len = strlen(dir);
        if (strncmp(file, dir, len) != 0 || file[len] != '/')
            continue;
        json_t *acme = json_put_object(o, "acme");
        json_put_text(acme, "certificate", m->conf->acme.certs[i].id);
        put_cert_state(m, i, acme);
        return;
    }
}

void managed_view_alarms(const struct managed_view *m, json_t *degraded) {
    size_t n = 0;
    for (size_t i = 0; i < m->conf->acme.ncerts; i++) {
        const struct managed_known *k = &m->certs[i];
        char line[MANAGED_ERROR_MAX + 256];
        if (!k->known || !k->status.alarm || n++ >= ALARMS_SHOWN)
            continue;
        struct text t = text_of(line, sizeof(line));
        text_addf(&t, "certificate %s: %s after %u failed attempts%s%s", m->conf->acme.certs[i].id,
                  k->status.renew_at ? "half of the time for its renewal is over, no new one" : "none from an issuer",
                  k->status.failures, k->error[0] ? ": " : "", k->error);
        json_append_text(degraded, line);
    }
    if (n > ALARMS_SHOWN) {
        char line[128];
        struct text t = text_of(line, sizeof(line));
        text_addf(&t, "certificates: %zu more with an alarm, see `tls-off acme status`", n - ALARMS_SHOWN);
        json_append_text(degraded, line);
    }
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
static uint64_t value_next(const struct managed_status *s) {
    return s->next_at > 0 ? (uint64_t)s->next_at : 0;
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
    {"acme_next_attempt_timestamp_seconds", "When the next attempt is due, since 1970; 0 = at once.", EXPOSE_GAUGE, value_next},
};

void managed_view_metrics(const struct managed_view *m, struct exposition *x) {
    for (size_t k = 0; k < ARRAY_LEN(per_cert) && m->conf->acme.ncerts; k++) {
        exposition_family(x, per_cert[k].type, per_cert[k].name, per_cert[k].help);
        for (size_t i = 0; i < m->conf->acme.ncerts; i++) {
            const struct exposition_label labels[] = {{"certificate", m->conf->acme.certs[i].id}, {NULL, NULL}};
            if (m->certs[i].known)
                exposition_number(x, labels, per_cert[k].value(&m->certs[i].status));
        }
    }
    ocsp_view_metrics(&m->ocsp, x);
}

/* ---- commands ---- */

static size_t find_cert(const struct conf_acme *a, const char *id) {
    size_t i = 0;
    while (i < a->ncerts && strcmp(a->certs[i].id, id) != 0)
        i++;
    return i;
}

void managed_post(struct admin *a, const struct http_request *q, struct http_reply *r) {
    const struct managed_view *m = &a->managed;
    const struct conf_acme *conf = &m->conf->acme;
    bool rollover = strcmp(q->path, "/acme/rollover") == 0, revoke = strcmp(q->path, "/acme/revoke") == 0;
    const char *target = http_query(q, rollover ? "issuer" : "certificate"), *reason = http_query(q, "reason");
    struct managed_command c = {.kind = rollover ? MANAGED_ROLLOVER : revoke ? MANAGED_REVOKE : MANAGED_RENEW};
    uint64_t number = 0;
    size_t n = rollover ? conf->nissuers : conf->ncerts;
    size_t at = !target ? n : rollover ? conf_find_issuer(conf, target) : find_cert(conf, target);
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
    if (m->acme.fd < 0 || managed_send_command(m->acme.fd, &c) < 0) {
        http_reply_line(r, 503, "the acme role cannot be asked at present");
        return;
    }
    json_t *o = json_object();
    json_put_text(o, rollover ? "issuer" : "certificate", target);
    json_put_text(o, "state", "queued");
    json_reply(r, o);
}
