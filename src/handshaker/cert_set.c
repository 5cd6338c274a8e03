/*
 * A set is taken as a whole. Handshakes that have begun keep the objects they hold, so nothing waits and no handshake mixes two
 * sets.
 */
#include "handshaker/cert_set.h"

#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "conf/routes.h"
#include "handshaker/client_rules.h"
#include "handshaker/handshaker.h"
#include "tls/key_provider.h"
#include "wire/control_creds.h"

/* Keys are with the signer: here they have a public half and a name. */
static EVP_PKEY *get_signer_key(void *ctx, const struct creds *store, uint32_t key) {
    const struct control_creds *set = ctx;
    return key_provider_key(creds_key(store, key).spki, (struct key_name){set->set, key});
}

/* The store must be made for the services that run here. */
static bool store_matches_conf(const struct handshaker *h, const struct creds *store) {
    if (creds_services(store) != h->conf->nservices)
        return false;
    for (uint32_t i = 0; i < creds_services(store); i++) {
        const struct conf_service *s = &h->conf->services[i];
        struct creds_service got = creds_service(store, i);
        if (strcmp(got.name, s->name) != 0 || (s->mode == MODE_TERMINATE && got.nentries == 0))
            return false;
    }
    return true;
}

static struct certs *open_set(const struct handshaker *h, struct ipc_msg *m, struct text *why) {
    struct certs *certs = NULL;
    struct control_creds *set = calloc(1, sizeof(*set));
    struct certs_keys keys = {.get = get_signer_key, .release = free, .ctx = set};
    int err = set ? control_read_creds(m, set) : ERR_NOMEM;
    if (err == 0)
        keys.set = set->set;
    if (err == 0)
        err = certs_open(m->fds[0], &keys, &certs);
    if (err < 0) {
        text_addf(why, "the credential store cannot be used: %s", err_text(err));
        free(set);
        return NULL;
    }
    if (store_matches_conf(h, certs_store(certs)))
        return certs;
    text_add(why, "the credential store is not of this configuration");
    certs_free(certs);
    return NULL;
}

/* The routes follow the names of certificates; NULL without memory. */
static struct route_table *routes_of(const struct handshaker *h, const struct certs *certs, struct text *why) {
    struct creds store = *certs_store(certs);
    struct route_table *t = routes_make(h->conf, routes_creds_names, &store);
    if (!t)
        text_addf(why, "%s", err_text(ERR_NOMEM));
    return t;
}

static void use_set(struct handshaker *h, struct certs *certs, struct route_table *routes) {
    route_table_free(h->routes);
    certs_free(h->certs);
    h->certs = certs;
    h->routes = routes;
    if (h->child.serving)
        signing_note(h); /* signers may have the keys of this one, and not of the one before */
}

/* Those that serve already take up new rules for client certificates as well, or nothing. */
int cert_set_take(void *ctx, struct ipc_msg *m, struct text *why) {
    struct handshaker *h = ctx;
    if (h->child.serving)
        text_add(why, "new certificates are not used: ");
    struct certs *certs = open_set(h, m, why);
    struct route_table *routes = certs ? routes_of(h, certs, why) : NULL;
    if (!routes || (h->child.serving && !client_rules_take(h, certs_store(certs), why))) {
        route_table_free(routes);
        certs_free(certs);
        return ERR_FORMAT;
    }
    for (size_t i = 0; h->child.serving && i < h->conf->nservices; i++)
        if (h->services[i].server)
            tls_server_use_certs(h->services[i].server, certs);
    use_set(h, certs, routes);
    return 0;
}
