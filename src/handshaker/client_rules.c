/* Client authentication: rules are made at the start and again with every set of credentials. */
#include "handshaker/client_rules.h"

#include <stdlib.h>

#include "base/err.h"
#include "handshaker/handshaker.h"
#include "tls/client_auth.h"

/* All spans of one kind; NULL when out of memory. */
static struct span *creds_spans(const struct creds *store, uint32_t service, uint32_t n,
                                struct span (*get)(const struct creds *c, uint32_t service, uint32_t n)) {
    struct span *list = calloc(MAX(n, 1u), sizeof(*list));
    for (uint32_t i = 0; list && i < n; i++)
        list[i] = get(store, service, i);
    return list;
}

bool client_rules_make(const struct conf_service *s, const struct creds *store, uint32_t service, struct client_auth **ret,
                       struct text *why) {
    *ret = NULL;
    if (s->mode == MODE_PASSTHROUGH || s->client_auth == CLIENT_AUTH_NONE)
        return true;
    struct creds_service have = creds_service(store, service);
    struct span *ca = creds_spans(store, service, have.nclient_ca, creds_client_ca);
    struct span *crl = creds_spans(store, service, have.nclient_crl, creds_client_crl);
    char said[512];
    struct text reason = text_of(said, sizeof(said));
    if (ca && crl) {
        const struct client_policy policy = {
            .required = s->client_auth == CLIENT_AUTH_REQUIRED,
            .ca = ca,
            .nca = have.nclient_ca,
            .crl = crl,
            .ncrl = have.nclient_crl,
            .depth = s->client_depth,
            .allow = s->client_allow,
            .nallow = s->nclient_allow,
        };
        *ret = client_auth_new(&policy, &reason);
    }
    free(ca);
    free(crl);
    if (!*ret)
        text_addf(why, "service %s: client_auth: %s", s->name, reason.len ? said : "out of memory");
    return *ret != NULL;
}

static void free_all(struct client_auth **fresh, size_t n) {
    for (size_t i = 0; i < n; i++)
        client_auth_free(fresh[i]);
    free(fresh);
}

bool client_rules_take(struct handshaker *h, const struct creds *store, struct text *why) {
    struct client_auth **fresh = calloc(h->conf->nservices, sizeof(struct client_auth *));
    if (!fresh) {
        text_add(why, "out of memory");
        return false;
    }
    for (size_t i = 0; i < h->conf->nservices; i++) {
        if (!client_rules_make(&h->conf->services[i], store, (uint32_t)i, &fresh[i], why)) {
            free_all(fresh, h->conf->nservices);
            return false;
        }
    }
    for (size_t i = 0; i < h->conf->nservices; i++)
        if (h->services[i].server && tls_server_use_clients(h->services[i].server, fresh[i]) < 0)
            log_msg(&h->child.log, LOG_LEVEL_ERROR, "service %s: libssl does not take new rules for clients, the old ones stay",
                    h->conf->services[i].name);
    free(fresh);
    return true;
}
