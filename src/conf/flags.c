/*
 * What `tls-off run` is given instead of a file: the same tree as a file would give, so that it meets the same readers.
 */
#include "conf/flags.h"

#include <string.h>

#include "conf/acme_keys.h"
#include "conf/lists.h"
#include "conf/report.h"
#include "conf/schema.h"

#define PUBLIC_ISSUER "letsencrypt"
#define OTHER_ISSUER  "ca"

static char *copy_of(struct load *l, const char *s) {
    size_t len = strlen(s);
    return memcpy(conf_alloc(l->conf, len + 1), s, len);
}

static struct toml_node text_node(struct load *l, const char *key, const char *text) {
    return (struct toml_node){.kind = TOML_STRING, .key = copy_of(l, key), .string = copy_of(l, text)};
}

static struct toml_node list_node(struct load *l, const char *key, const char *const *texts, size_t n) {
    struct toml_node *items = conf_alloc(l->conf, n * sizeof(*items));
    for (size_t i = 0; i < n; i++)
        items[i] = text_node(l, "", texts[i]);
    return (struct toml_node){.kind = TOML_ARRAY, .key = copy_of(l, key), .children = items, .nchildren = n};
}

static struct toml_node table_node(struct load *l, const char *key, const struct toml_node *members, size_t n) {
    struct toml_node *copy = conf_alloc(l->conf, n * sizeof(*copy));
    memcpy(copy, members, n * sizeof(*copy));
    return (struct toml_node){.kind = TOML_TABLE, .key = copy_of(l, key), .children = copy, .nchildren = n};
}

/* The service's key K. */
static void read_service_key(struct load *l, enum conf_key k, key_read_fn read, struct toml_node node) {
    struct toml_node *kept = conf_alloc(l->conf, sizeof(*kept));
    *kept = node;
    l->services[0].node[k] = kept;
    struct reading r = {.l = l, .row = &key_rows[k], .key = load_key(l, 0, k), .service = &l->conf->services[0]};
    r.origin = &l->services[0];
    read(&r, kept);
}

/* Nothing else than tls-alpn-01 can be had without a file, and no wildcard is proven by it. */
static void check_flag_names(struct load *l, const struct conf_flags *f) {
    for (size_t i = 0; i < f->nname; i++)
        if (strncmp(f->name[i], "*.", 2) == 0)
            load_error(l, (struct toml_pos){0, 0}, "--name",
                       "found \"%.200s\", expected no wildcard: only records of its domain prove one (\"dns-01\" or "
                       "\"dns-persist-01\" in a configuration file)",
                       f->name[i]);
}

static void read_flag_issuer(struct load *l, const struct conf_flags *f) {
    const char *name = f->ca_file[0] || strcmp(f->directory, ACME_DEFAULT_DIRECTORY) != 0 ? OTHER_ISSUER : PUBLIC_ISSUER;
    const struct toml_node keys[] = {
        text_node(l, "directory", f->directory),
        {.kind = TOML_BOOLEAN, .key = copy_of(l, "terms_accepted"), .integer = 1},
        text_node(l, "ca_file", f->ca_file),
    };
    const struct toml_node issuer = table_node(l, name, keys, ARRAY_LEN(keys));
    struct toml_node *issuers = conf_alloc(l->conf, sizeof(*issuers));
    *issuers = table_node(l, "", &issuer, 1);
    l->node[KEY_ACME_ISSUER] = issuers;
    struct reading r = {.l = l, .row = &key_rows[KEY_ACME_ISSUER], .key = load_top_key(KEY_ACME_ISSUER)};
    read_issuers(&r, issuers);
    const struct toml_node wanted[] = {list_node(l, "issuers", &name, 1), list_node(l, "names", f->name, f->nname)};
    read_service_key(l, KEY_SERVICE_ACME, read_service_acme, table_node(l, "", wanted, ARRAY_LEN(wanted)));
    check_flag_names(l, f);
}

void flags_read(struct load *l, const struct conf_flags *f) {
    read_service_key(l, KEY_LISTEN, read_listen, list_node(l, "", f->listen, f->nlisten));
    read_service_key(l, KEY_BACKENDS, read_backends, list_node(l, "", f->backend, f->nbackend));
    if (f->directory[0])
        read_flag_issuer(l, f);
}
