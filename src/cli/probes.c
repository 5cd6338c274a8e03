#include "cli/probes.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/err.h"
#include "tls/certs.h"
#include "tls/engine.h"
#include "tls/selfsigned.h"
#include "tls/suite.h"

#define EXPIRY_WARNING_DAYS 14

static int check_pair(const char *cert, const char *key, struct text *why, conf_warn_fn warn, void *ctx) {
    struct certs *c = certs_new();
    if (!c)
        return ERR_NOMEM;
    int err = certs_add_files(c, cert, key, why);
    if (err == 0)
        certs_warnings(c, EXPIRY_WARNING_DAYS, warn, ctx);
    certs_free(c);
    return err;
}

static int check_folder(const char *folder, struct text *why, conf_warn_fn warn, void *ctx) {
    struct certs *c = certs_new();
    if (!c)
        return ERR_NOMEM;
    int err = certs_add_folder(c, folder, why);
    if (err == 0)
        certs_warnings(c, EXPIRY_WARNING_DAYS, warn, ctx);
    certs_free(c);
    return err;
}

static int ensure_selfsigned(const char *folder, int *ret_made, struct text *why) {
    return selfsigned_ensure(folder, "", ret_made, why);
}

static const char *probe_suite_at(size_t i, uint16_t *ret_id, uint16_t *ret_version) {
    const struct suite *s = suite_at(i);
    if (!s)
        return NULL;
    *ret_id = s->id;
    *ret_version = s->version;
    return s->name;
}

static bool group_works(const char *openssl_name) {
    char name[64]; /* libssl's macro takes away a const */
    struct text t = text_of(name, sizeof(name));
    text_add(&t, openssl_name);
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    bool works = ctx && SSL_CTX_set1_groups_list(ctx, name) == 1;
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return works;
}

/* Asking libssl is slow beside the many times it is asked for, and its answer stays the same. */
static const char *probe_group_at(size_t i, uint16_t *ret_id, bool *ret_usable) {
    static enum { UNASKED, MISSING, USABLE } known[16];
    const struct group *g = group_at(i);
    if (!g || i >= ARRAY_LEN(known))
        return NULL;
    if (known[i] == UNASKED)
        known[i] = group_works(g->openssl_name) ? USABLE : MISSING;
    *ret_id = g->id;
    *ret_usable = known[i] == USABLE;
    return g->name;
}

static bool engine_usable(const char *name) {
    return engine_find(name) != NULL;
}

const struct conf_probes *tls_probes(void) {
    static const struct conf_probes probes = {
        .check_pair = check_pair,
        .check_folder = check_folder,
        .ensure_selfsigned = ensure_selfsigned,
        .suite_at = probe_suite_at,
        .group_at = probe_group_at,
        .engine_usable = engine_usable,
    };
    return &probes;
}
