#include "conf/store_keys.h"

#include <string.h>

#include "base/text.h"
#include "conf/report.h"
#include "conf/schema.h"
#include "conf/secret_file.h"

#define REDIS "redis:unix:"
#define HARM  "open the private keys of all certificates in the store"

static const char cluster_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

void read_acme_state(struct reading *r, const struct toml_node *node) {
    const char *s = node->string;
    if (strcmp(s, "files") == 0)
        return;
    bool is_redis = strncmp(s, REDIS, strlen(REDIS)) == 0;
    const char *path = s + strlen(REDIS);
    if (!is_redis || path[0] != '/')
        reading_refuse(r, node, "\"files\", or \"" REDIS "/run/redis/redis-server.sock\": the Unix socket of a Redis server");
    else if (strlen(path) > CONF_SOCKET_PATH_MAX)
        reading_refuse(r, node, "a socket whose name has at most %d bytes", CONF_SOCKET_PATH_MAX);
    else
        r->l->conf->store.socket = conf_strdup(r->l->conf, path);
}

/* It becomes part of keys in the store. */
static void check_cluster(struct load *l) {
    const char *name = l->conf->store.cluster;
    if (!name[0] || name[strspn(name, cluster_chars)])
        load_error(l, load_top_at(l, KEY_ACME_CLUSTER), "acme.cluster",
                   "found \"%.100s\", expected a name of letters, digits, '.', '_' and '-'", name);
}

static void check_scopes(struct load *l) {
    for (size_t i = 0; i < l->conf->nservices; i++)
        if (l->conf->services[i].fleet_limits && !l->conf->store.socket)
            load_error(l, load_at(l, i, KEY_LIMIT_SCOPE), load_key(l, i, KEY_LIMIT_SCOPE),
                       "found \"fleet\" without a store, expected \"acme.state\" = \"" REDIS "...\", where instances meet");
}

void check_store(struct load *l) {
    const struct conf_store *s = &l->conf->store;
    char reason[PATH_MAX + 256];
    struct text why = text_of(reason, sizeof(reason));
    static const struct {
        enum conf_key key;
        const char *name;
    } others[] = {{KEY_ACME_CLUSTER, "acme.cluster"}, {KEY_ACME_STORAGE_KEY, "acme.storage_key_file"}};
    check_cluster(l);
    check_scopes(l);
    for (size_t i = 0; i < ARRAY_LEN(others) && !s->socket; i++)
        if (l->node[others[i].key])
            load_warning(l, load_top_at(l, others[i].key), others[i].name, "has no effect without \"acme.state\" of a fleet");
    if (s->socket && !s->key_file)
        load_error(l, load_top_at(l, KEY_ACME_STATE), "acme.state",
                   "found a store of a fleet without \"acme.storage_key_file\", expected the file with which what is "
                   "there is sealed");
    if (s->socket && s->key_file && secret_file_check(s->key_file, HARM, &why) < 0)
        load_error(l, load_top_at(l, KEY_ACME_STORAGE_KEY), "acme.storage_key_file", "%s", reason);
}
