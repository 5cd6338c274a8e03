#include "handshaker/conn_report.h"

#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "handshaker/conn.h"
#include "handshaker/handshaker.h"
#include "prelude/plain.h"

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

enum matched_name conn_matched_name(const struct handshaker *h, const struct conn *c,
                                    uint32_t ret_entries[static CREDS_SLOTS]) {
    const char *sni = conn_sni(c);
    const struct creds *store = h->certs ? certs_store(h->certs) : NULL;
    enum creds_match match = store ? creds_choose(store, c->service, sni, ret_entries) : CREDS_NO_MATCH;
    if (match == CREDS_EXACT || match == CREDS_WILDCARD)
        return match == CREDS_EXACT ? SERVED_EXACT : SERVED_WILDCARD;
    return sni[0] ? SERVED_OTHER : SERVED_NO_NAME;
}

/* The file of the certificate that libssl chose: of the kinds there are for this name it is the one with this key. */
static struct span served_cert_file(const struct handshaker *h, const struct conn *c,
                                    const uint32_t entries[static CREDS_SLOTS]) {
    static const enum creds_slot slots[] = {
        [CERT_KEY_RSA] = CREDS_SLOT_RSA, [CERT_KEY_EC] = CREDS_SLOT_EC, [CERT_KEY_ED25519] = CREDS_SLOT_ED25519};
    uint8_t key = c->result->our_cert.key;
    if (!h->certs || key == CERT_KEY_NONE || key >= ARRAY_LEN(slots) || entries[slots[key]] == CREDS_NONE)
        return span_of("", 0);
    struct span file = span_str(creds_entry(certs_store(h->certs), entries[slots[key]]).cert_file);
    size_t over = file.len > STATS_NAME_MAX ? file.len - STATS_NAME_MAX : 0;
    return span_of(file.p + over, file.len - over);
}

void conn_fill_served(const struct handshaker *h, const struct conn *c, struct conn_info *ret) {
    if (STATS_OFF)
        return;
    uint32_t entries[CREDS_SLOTS] = {CREDS_NONE, CREDS_NONE, CREDS_NONE};
    ret->matched_name = (uint8_t)conn_matched_name(h, c, entries);
    ret->cert_file = served_cert_file(h, c, entries);
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
        conn_fill_served(h, c, ret);
    }
}

/* What the failed connection shows of a client that is not TLS, and what could take it. */
static void add_hint(const struct conn *c, struct text *t) {
    bool silent = c->state == CONN_HELLO && !c->upgraded && buf_len(&c->in) == 0;
    const struct plain_kind *kind = plain_kind(buf_span(&c->in));
    if (c->prelude.protocol && !c->upgraded && c->state <= CONN_GO_AHEAD)
        text_addf(t, "%sthe protocol before TLS is %s", t->len ? "; " : "",
                  prelude_protocol((enum starttls)c->prelude.protocol)->name);
    if (c->reason == ERR_HANDSHAKE_TIMEOUT && silent)
        text_addf(
            t,
            "%sa client that waits for a greeting needs starttls (SMTP, IMAP, POP3, NNTP, ManageSieve), or another port (MySQL, FTP)",
            t->len ? "; " : "");
    if ((c->reason != ERR_NOT_TLS && c->reason != ERR_STARTTLS_MALFORMED) || !kind)
        return;
    text_addf(t, "%sit is %s", t->len ? "; " : "", kind->name);
    if (kind->starttls && kind->starttls != c->prelude.protocol)
        text_addf(t, ": see starttls = \"%s\"", prelude_protocol(kind->starttls)->name);
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
    add_hint(c, &t);

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
