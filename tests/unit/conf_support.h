/* What tests of the loader share: probes that know no files, and a loader for text that touches no machine. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/acme_keys.h"
#include "conf/cross_check.h"
#include "conf/keylog.h"
#include "conf/loader.h"
#include "conf/machine_defaults.h"
#include "conf/scalars.h"
#include "conf/schema.h"

static int stub_service(void *creds, const char *name, const char *fetched) {
    return 0;
}

static int stub_certs(void *creds, const struct conf_cert *cert, struct text *why, conf_warn_fn warn, void *ctx) {
    if (strstr(cert->cert, "old"))
        warn(ctx, "old.pem expires within 3 days");
    if (!strstr(cert->cert, "bad"))
        return 0;
    if (cert->key)
        text_addf(why, "%s does not match %s", cert->key, cert->cert);
    else
        text_addf(why, "%s holds no certificate", cert->cert);
    return ERR_FORMAT;
}

/* Nobody has a name. */
static void stub_each_name(void *creds, size_t service, conf_name_fn take, void *ctx) {
}

static int stub_host_name(const char *text, char *ret) {
    size_t n = strlen(text);
    if (n == 0 || n > CONF_HOST_MAX || n != strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."))
        return (unsigned char)text[0] > 127 ? ERR_UNSUPPORTED : ERR_FORMAT;
    for (size_t i = 0; i <= n; i++)
        ret[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 'a' - 'A') : text[i];
    return 0;
}

/* Any memfd does. */
static int stub_seal(void *creds, int *ret_fd) {
    *ret_fd = memfd_create("stub", MFD_CLOEXEC);
    return *ret_fd < 0 ? ERR_SYSTEM : 0;
}

static int stub_client_file(void *creds, const char *file, struct text *why, conf_warn_fn warn, void *ctx) {
    if (strstr(file, "old"))
        warn(ctx, "old.crl is out of date");
    if (!strstr(file, "bad"))
        return 0;
    text_addf(why, "%s holds none", file);
    return ERR_FORMAT;
}

static int stub_selfsigned(const char *dir, const char *names, unsigned rsa_bits, int *ret_made, struct text *why) {
    *ret_made = 1;
    if (!strstr(dir, "bad"))
        return 0;
    text_addf(why, "%s cannot be made", dir);
    return ERR_SYSTEM;
}

static const char *stub_suite_at(size_t i, uint16_t *ret_id, uint16_t *ret_version) {
    static const struct {
        uint16_t id, version;
        const char *name;
    } suites[] = {{0x1301, 0x0304, "TLS_AES_128_GCM_SHA256"},
                  {0x1303, 0x0304, "TLS_CHACHA20_POLY1305_SHA256"},
                  {0xc02f, 0x0303, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}};
    if (i >= ARRAY_LEN(suites))
        return NULL;
    *ret_id = suites[i].id;
    *ret_version = suites[i].version;
    return suites[i].name;
}

static const char *stub_group_at(size_t i, uint16_t *ret_id, bool *ret_usable) {
    static const struct {
        uint16_t id;
        bool usable;
        const char *name;
    } groups[] = {{0x11ec, false, "X25519MLKEM768"},
                  {0x001d, true, "x25519"},
                  {0x0017, true, "secp256r1"},
                  {0x0018, true, "secp384r1"},
                  {0x0019, true, "secp521r1"}};
    if (i >= ARRAY_LEN(groups))
        return NULL;
    *ret_id = groups[i].id;
    *ret_usable = groups[i].usable;
    return groups[i].name;
}

static bool stub_engine_usable(const char *name) {
    return true;
}

static struct conf_capabilities stub_capabilities = {
    .add_service = stub_service,
    .add_certs = stub_certs,
    .add_client_ca = stub_client_file,
    .add_client_crl = stub_client_file,
    .each_name = stub_each_name,
    .host_name = stub_host_name,
    .seal = stub_seal,
    .ensure_selfsigned = stub_selfsigned,
    .suite_at = stub_suite_at,
    .group_at = stub_group_at,
    .engine_usable = stub_engine_usable,
};

/* With an empty access table in the making: one is good for one configuration. */
static inline const struct conf_capabilities *stubs(void) {
    access_writer_free(stub_capabilities.access);
    stub_capabilities.access = access_writer_new();
    MUST(stub_capabilities.access);
    return &stub_capabilities;
}

/* The steps of conf_load_file() that look at the text alone, as "t.toml" in "/etc/tls-off". NULL when anything is wrong. */
static inline struct conf *load_text(const char *text, size_t len, struct diagnostics *f) {
    struct load l = {.conf = conf_new(), .diagnostics = f, .capabilities = stubs(), .file = "t.toml", .dir = "/etc/tls-off"};
    scalar_defaults("", l.conf);
    if (load_schema(&l, text, len)) {
        load_environment(&l);
        check_keys(&l);
        acme_settle(&l);
        keylog_settle(&l);
    }
    toml_free(l.root);
    diagnostics_close(f);
    if (f->errors == 0)
        return l.conf;
    conf_free(l.conf);
    return NULL;
}
