#include "handshaker/conn_report.h"

#include <string.h>

#include "base/clock.h"
#include "handshaker/conn.h"
#include "handshaker/conn_metrics.h"
#include "handshaker/handshaker.h"
#include "handshaker/starttls.h"

/* Borrows R. */
static void client_conn_info(const struct handshake_result *r, struct conn_info_client *ret) {
    _Static_assert(CLIENT_NAME_MAX <= CONN_INFO_NAME_MAX && CLIENT_SERIAL_MAX <= CONN_INFO_SERIAL_MAX, "all of it fits");
    _Static_assert(CLIENT_CERT_MAX <= CONN_INFO_CERT_MAX && CLIENT_CN_MAX <= 255, "all of it fits");
    const struct client_id *id = r->client;
    ret->verified = true;
    ret->identity_source = id->identity_source;
    ret->name = span_of(id->name, id->name_len);
    ret->cn = span_of(id->cn, id->cn_len);
    ret->serial = span_of(id->serial, id->serial_len);
    memcpy(ret->fingerprint, id->fingerprint, sizeof(ret->fingerprint));
    ret->cert = r->client_cert;
}

void conn_fill_info(const struct handshaker *h, const struct conn *c, struct conn_info *ret) {
    memset(ret, 0, sizeof(*ret));
    memcpy(ret->unique_id, c->unique_id, sizeof(ret->unique_id));
    ret->service = c->service;
    ret->client = c->client;
    if (memcmp(&c->client, &c->peer, sizeof(c->peer)) != 0)
        ret->peer = c->peer;
    ret->local = c->local;
    ret->start_wall_us = c->accepted_wall_us;
    ret->start_mono_us = c->accepted_us;
    ret->handshake_us = c->handshake_us;
    if (c->hello_info) {
        ret->sni = span_str(c->hello_info->sni);
        ret->ja4 = span_str(c->hello_info->ja4);
    }
    if (c->handshake)
        ret->made_by = handshake_is_own(c->handshake) ? MADE_BY_OWN : MADE_BY_LIBSSL;
    if (c->result) {
        ret->tls_version = c->result->version;
        ret->suite = c->result->suite;
        ret->group = c->result->group;
        ret->resumed = c->result->resumed;
        ret->alpn = c->result->alpn;
        ret->sig_scheme = c->result->sig_scheme;
        ret->cert_sig = c->result->our_cert.sig;
        ret->cert_key = c->result->our_cert.key;
        ret->cert_key_bits = c->result->our_cert.bits;
        if (c->result->client)
            client_conn_info(c->result, &ret->id);
        conn_metrics_served(h, c, ret);
    }
}

void conn_report_failure(struct handshaker *h, const struct conn *c) {
    char detail[640] = "";
    struct text t = text_of(detail, sizeof(detail));
    if (c->stage)
        text_addf(&t, "waiting for %s, %zu bytes held", c->stage, buf_len(&c->in));
    if (c->refused_by)
        text_addf(&t, "by %s", c->refused_by);
    if (c->handshake && handshake_detail(c->handshake)[0])
        text_addf(&t, "%s%s", t.len ? "; " : "", handshake_detail(c->handshake));
    starttls_hint(c, &t);

    struct event e = {.kind = EVENT_FAILURE, .level = LOG_LEVEL_INFO};
    e.wall_us = clock_wall_us();
    e.role = ROLE_HANDSHAKER;
    e.index = h->child.setup.index;
    e.reason = c->reason;
    e.alert = c->alert;
    e.text = span_of(detail, t.len);
    e.duration_us = clock_mono_us() - c->accepted_us;
    conn_fill_info(h, c, &e.conn_info);
    e.service = span_str(h->services[c->service].conf->name);
    (void)event_put(&h->child.log.ring, &e); /* the ring counts what it drops */
}
