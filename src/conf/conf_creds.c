#include "conf/conf_creds.h"

#include <limits.h>
#include <stdio.h>

#include "base/err.h"
#include "base/text.h"

#define WHY_MAX 1024 /* as long as a fault may be */

struct cert_place {
    conf_creds_fn report;
    void *ctx;
    size_t service, k;
};

static void report_warning(void *ctx, const char *text) {
    const struct cert_place *p = ctx;
    p->report(p->ctx, p->service, p->k, false, text);
}

static void load_one(const struct conf_cert *cert, const struct conf_capabilities *capabilities, struct cert_place *p) {
    char reason[WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    int err = capabilities->add_certs(capabilities->creds, cert, &why, report_warning, p);
    if (err)
        p->report(p->ctx, p->service, p->k, true, why.len ? reason : cert->cert);
}

/* What clients' certificates are checked against. */
static void load_clients(const struct conf_service *s, const struct conf_capabilities *capabilities, struct cert_place *p) {
    char reason[WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    if (s->client_auth == CLIENT_AUTH_NONE || !s->client_ca) /* that it is missing has been reported */
        return;
    p->k = CONF_CREDS_CA;
    int err = capabilities->add_client_ca(capabilities->creds, s->client_ca, &why, report_warning, p);
    if (err == 0 && s->client_crl) {
        p->k = CONF_CREDS_CRL;
        err = capabilities->add_client_crl(capabilities->creds, s->client_crl, &why, report_warning, p);
    }
    if (err)
        p->report(p->ctx, p->service, p->k, true, why.len ? reason : "out of memory");
}

void conf_creds_service(const struct conf *c, size_t i, bool skip, const struct conf_capabilities *capabilities,
                        conf_creds_fn report, void *ctx) {
    const struct conf_service *s = &c->services[i];
    struct cert_place p = {report, ctx, i, 0};
    char fetched[PATH_MAX];
    struct text t = text_of(fetched, sizeof(fetched));
    if (s->fetch_ocsp)
        text_addf(&t, "%s/" ACME_OCSP_DIR, c->acme.dir);
    if (capabilities->add_service(capabilities->creds, s->name, s->fetch_ocsp ? fetched : NULL) < 0) {
        report(ctx, i, 0, true, "out of memory");
        return;
    }
    for (; !skip && p.k < s->ncerts; p.k++)
        load_one(&s->certs[p.k], capabilities, &p);
    load_clients(s, capabilities, &p);
}

struct cert_naming {
    const struct conf *c;
    struct diagnostics *f;
};

static void report_cert_by_key(void *ctx, size_t service, size_t k, bool is_error, const char *text) {
    const struct cert_naming *n = ctx;
    char key[128];
    const char *of = k == CONF_CREDS_CA ? "client_auth.ca" : k == CONF_CREDS_CRL ? "client_auth.crl" : "certificates";
    (void)snprintf(key, sizeof(key), "service.%s.%s", n->c->services[service].name, of); /* cut is fine in a message */
    diagnostics_add(n->f, is_error, "certificates", key, "%s", text);
}

bool conf_creds_load(const struct conf *c, const struct conf_capabilities *capabilities, struct diagnostics *f) {
    struct cert_naming n = {c, f};
    for (size_t i = 0; i < c->nservices; i++)
        conf_creds_service(c, i, false, capabilities, report_cert_by_key, &n);
    diagnostics_close(f);
    return f->errors == 0;
}
