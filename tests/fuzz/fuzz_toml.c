/* Bytes as a configuration, through all steps that look at the text alone; what is taken must survive a snapshot. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/scalars.h"
#include "conf/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *suite_at(size_t i, uint16_t *ret_id, uint16_t *ret_version) {
    static const char *const names[] = {"TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"};
    if (i >= ARRAY_LEN(names))
        return NULL;
    *ret_id = (uint16_t)(0x1301 + i);
    *ret_version = i == 0 ? 0x0304 : 0x0303;
    return names[i];
}

static const char *group_at(size_t i, uint16_t *ret_id, bool *ret_usable) {
    static const char *const names[] = {"x25519", "secp256r1", "X25519MLKEM768"};
    if (i >= ARRAY_LEN(names))
        return NULL;
    *ret_id = (uint16_t)(i + 1);
    *ret_usable = i != 2;
    return names[i];
}

/* check_files() would put a certificate there. */
static void add_cert(struct conf *c) {
    static struct conf_cert cert = {.cert = "/c", .key = "/k"};
    for (size_t i = 0; i < c->nservices; i++)
        if (c->services[i].mode == MODE_TERMINATE && c->services[i].ncerts == 0) {
            c->services[i].certs = &cert;
            c->services[i].ncerts = 1;
        }
}

static void through_snapshot(struct conf *c) {
    struct conf *again = NULL;
    int fd = -1;
    int err = snapshot_write(c, &fd);
    if (err != 0 || snapshot_read(fd, &again, NULL) != 0 || again->nservices != c->nservices)
        abort();
    (void)close(fd);
    conf_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct conf_capabilities capabilities = {.suite_at = suite_at, .group_at = group_at};
    struct diagnostics f;
    diagnostics_init(&f);
    struct load l = {.conf = conf_new(), .diagnostics = &f, .capabilities = &capabilities, .file = "f.toml", .dir = "/d"};
    scalar_defaults("", l.conf);
    if (load_schema(&l, (const char *)data, size)) {
        load_environment(&l);
        check_keys(&l);
    }
    toml_free(l.root);
    diagnostics_close(&f);
    if (f.len != (f.text ? strlen(f.text) : 0) || f.len >= DIAGNOSTICS_TEXT_MAX)
        abort();
    if (f.errors == 0) {
        add_cert(l.conf);
        through_snapshot(l.conf);
    }
    conf_free(l.conf);
    diagnostics_fini(&f);
    return 0;
}
