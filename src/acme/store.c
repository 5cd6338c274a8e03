#include "acme/store.h"

#include <limits.h>
#include <string.h>

#include "base/durable.h"
#include "base/err.h"
#include "base/file.h"
#include "base/path.h"
#include "base/text.h"

#define OBJECT_MAX JOB_JSON_MAX

struct object_path {
    char p[PATH_MAX];
};

static const char *object_path(struct object_path *to, const struct store *s, const char *kind, const char *name) {
    char file[PATH_MAX];
    struct text t = text_of(file, sizeof(file));
    text_addf(&t, "%s.%s.json", kind, name);
    return path_join(to->p, s->directory, file);
}

int store_init(struct store *s, const char *directory) {
    struct text t = text_of(s->directory, sizeof(s->directory));
    text_add(&t, directory);
    return t.cut ? ERR_LIMIT : 0;
}

int store_put_job(const struct store *s, const struct job *j) {
    struct object_path path;
    char json[OBJECT_MAX];
    size_t len = 0;
    if (!job_write(j, json, sizeof(json), &len))
        return ERR_LIMIT;
    return durable_write(object_path(&path, s, "order", j->cert->id), 0600, span_of(json, len));
}

void store_get_job(const struct store *s, struct job *j, int64_t now) {
    struct object_path path;
    char json[OBJECT_MAX];
    struct span object = file_read_own(object_path(&path, s, "order", j->cert->id), json, sizeof(json));
    if (object.len)
        (void)!job_read(j, object, now); /* what is not understood is begun again */
}

int store_put_account(const struct store *s, const struct ca *c) {
    struct object_path path;
    char json[OBJECT_MAX];
    json_t *o = json_pack("{s:s, s:s, s:s}", "directory", c->issuer->directory, "account", c->account, "key", c->account_key);
    size_t n = o ? json_dumpb(o, json, sizeof(json), JSON_INDENT(1)) : 0;
    json_decref(o);
    if (n == 0 || n > sizeof(json))
        return ERR_LIMIT;
    return durable_write(object_path(&path, s, "account", c->issuer->name), 0600, span_of(json, n));
}

/* An account is of one directory: another one does not know it. */
void store_get_account(const struct store *s, struct ca *c) {
    struct object_path path;
    char json[OBJECT_MAX];
    struct span object = file_read_own(object_path(&path, s, "account", c->issuer->name), json, sizeof(json));
    json_t *o = object.len ? json_loadb((const char *)object.p, object.len, 0, NULL) : NULL;
    const char *directory = json_string_value(json_object_get(o, "directory"));
    const char *account = json_string_value(json_object_get(o, "account")), *key = json_string_value(json_object_get(o, "key"));
    if (directory && account && strcmp(directory, c->issuer->directory) == 0 && strncmp(account, "https://", 8) == 0 &&
        strlen(account) < sizeof(c->account))
        memcpy(c->account, account, strlen(account) + 1);
    if (c->account[0] && key && strlen(key) < sizeof(c->account_key)) /* older versions do not say */
        memcpy(c->account_key, key, strlen(key) + 1);
    json_decref(o);
}
