#include "cli/capabilities.h"

#include <string.h>

#include "base/err.h"
#include "tls/cert_load.h"
#include "tls/client_files.h"
#include "tls/engine.h"
#include "tls/hostname.h"
#include "tls/hs_libssl_server.h"
#include "tls/idna.h"
#include "tls/selfsigned.h"
#include "tls/suite.h"

static int add_service(void *creds, const char *name, const char *fetched) {
    return cert_load_service(creds, name, fetched);
}

static int add_certs(void *creds, const struct conf_cert *cert, struct text *why, conf_warn_fn warn, void *ctx) {
    const struct cert_load_pair pair = {cert->cert, cert->key, cert->passphrase};
    return cert->key ? cert_load_files(creds, &pair, why, warn, ctx) : cert_load_item(creds, cert->cert, why, warn, ctx);
}

static void each_name(void *creds, size_t service, conf_name_fn take, void *ctx) {
    creds_writer_names(cert_load_writer(creds), (uint32_t)service, take, ctx);
}

static int host_name(const char *text, char *ret) {
    char name[HOSTNAME_MAX + 1], asked[HOSTNAME_MAX + 1];
    int err = idna_hostname(span_str(text), name);
    if (err == 0)
        err = hostname_asked(span_str(name), asked);
    if (err == 0)
        memcpy(ret, asked, sizeof(asked));
    return err;
}

static int seal_creds(void *creds, int *ret_fd) {
    return cert_load_seal(creds, ret_fd);
}

static int put_ca(void *creds, struct span der) {
    return creds_add_client_ca(cert_load_writer(creds), der);
}

static int put_crl(void *creds, struct span der) {
    return creds_add_client_crl(cert_load_writer(creds), der);
}

static int add_client_ca(void *creds, const char *file, struct text *why, conf_warn_fn warn, void *ctx) {
    const struct client_sink sink = {put_ca, creds, warn, ctx};
    return client_files_ca(file, &sink, why);
}

static int add_client_crl(void *creds, const char *file, struct text *why, conf_warn_fn warn, void *ctx) {
    const struct client_sink sink = {put_crl, creds, warn, ctx};
    return client_files_crl(file, &sink, why);
}

static const char *probe_suite_at(size_t i, uint16_t *ret_id, uint16_t *ret_version) {
    const struct suite *s = suite_at(i);
    if (!s)
        return NULL;
    *ret_id = s->id;
    *ret_version = s->version;
    return s->name;
}

/* Cached: asking libssl is slow and its answer never changes. */
static const char *probe_group_at(size_t i, uint16_t *ret_id, bool *ret_usable) {
    static enum { UNASKED, MISSING, USABLE } known[16];
    const struct group *g = group_at(i);
    if (!g || i >= ARRAY_LEN(known))
        return NULL;
    if (known[i] == UNASKED)
        known[i] = hs_libssl_has_group(g->openssl_name) ? USABLE : MISSING;
    *ret_id = g->id;
    *ret_usable = known[i] == USABLE;
    return g->name;
}

static bool engine_usable(const char *name) {
    return engine_find(name) != NULL;
}

const struct conf_capabilities *tls_capabilities(unsigned flags) {
    static struct conf_capabilities capabilities = {
        .add_service = add_service,
        .add_certs = add_certs,
        .add_client_ca = add_client_ca,
        .add_client_crl = add_client_crl,
        .each_name = each_name,
        .host_name = host_name,
        .seal = seal_creds,
        .ensure_selfsigned = selfsigned_ensure,
        .suite_at = probe_suite_at,
        .group_at = probe_group_at,
        .engine_usable = engine_usable,
    };
    if (!capabilities.creds)
        capabilities.creds = cert_load_new(flags);
    if (!capabilities.access)
        capabilities.access = access_writer_new();
    MUST(capabilities.creds && capabilities.access); /* out of memory at a start */
    return &capabilities;
}
