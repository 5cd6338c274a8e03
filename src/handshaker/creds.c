/*
 * Sets of credentials: the first before this process serves, later ones while it does. A set is taken as a whole; handshakes
 * that have begun keep the objects they hold, so nobody waits and nothing is torn.
 */
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "handshaker/hand.h"
#include "tls/cert_key.h"
#include "wire/control_creds.h"

/* The keys of a set, read at once: after the start this process may open no files. */
struct key_ring {
    EVP_PKEY **keys;
    uint32_t n;
};

static EVP_PKEY *get_key(void *ctx, const struct creds *store, uint32_t key) {
    const struct key_ring *r = ctx;
    return key < r->n && EVP_PKEY_up_ref(r->keys[key]) == 1 ? r->keys[key] : NULL;
}

static void release_keys(void *ctx) {
    struct key_ring *r = ctx;
    for (uint32_t i = 0; i < r->n; i++)
        EVP_PKEY_free(r->keys[i]);
    free(r->keys);
    free(r);
}

static bool belongs(EVP_PKEY *key, struct span spki) {
    uint8_t *der = NULL;
    int len = i2d_PUBKEY(key, &der);
    bool same = len > 0 && span_eq(span_of(der, (size_t)len), spki);
    OPENSSL_free(der);
    return same;
}

static bool read_keys(const struct creds *store, struct key_ring *r, struct text *why) {
    r->keys = calloc(MAX(creds_keys(store), 1u), sizeof(EVP_PKEY *));
    MUST(r->keys);
    for (; r->n < creds_keys(store); r->n++) {
        struct creds_key k = creds_key(store, r->n);
        if (cert_key_read(k.file, k.pass_file, &r->keys[r->n], why) < 0)
            return false;
        if (!belongs(r->keys[r->n], k.spki)) {
            text_addf(why, "%s: the key does not match its certificate", k.file);
            r->n++;
            return false;
        }
    }
    return true;
}

/* The store must be made for the services that run here. */
static bool fits(const struct hand *h, const struct creds *store) {
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

static struct certs *open_set(const struct hand *h, struct ipc_msg *m, struct text *why) {
    struct control_creds set;
    struct certs *certs = NULL;
    struct key_ring *ring = calloc(1, sizeof(*ring));
    MUST(ring);
    const struct certs_keys keys = {get_key, release_keys, ring};
    int err = control_read_creds(m, &set);
    if (err == 0)
        err = certs_open(m->fds[0], &keys, &certs);
    ipc_msg_close(m);
    if (err < 0) {
        text_addf(why, "the credential store cannot be used: %s", err_text(err));
        free(ring);
        return NULL;
    }
    if (fits(h, certs_store(certs)) && read_keys(certs_store(certs), ring, why))
        return certs;
    if (!why->len)
        text_add(why, "the credential store is not of this configuration");
    certs_free(certs);
    return NULL;
}

bool creds_take_first(struct hand *h, struct ipc_msg *m) {
    char line[1024];
    struct text why = text_of(line, sizeof(line));
    certs_free(h->certs);
    h->certs = open_set(h, m, &why);
    if (!h->certs)
        child_refuse(&h->child, "%s", line);
    return h->certs != NULL;
}

void creds_take(struct hand *h, struct ipc_msg *m) {
    char line[1024];
    struct text why = text_of(line, sizeof(line));
    struct certs *certs = open_set(h, m, &why);
    if (!certs) {
        voice_say(&h->child.voice, LOG_LEVEL_ERROR, "new certificates are not used: %s", line);
        return;
    }
    for (size_t i = 0; i < h->conf->nservices; i++)
        if (h->services[i].server)
            tls_server_use_certs(h->services[i].server, certs);
    certs_free(h->certs);
    h->certs = certs;
}
