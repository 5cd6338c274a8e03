#include "conf/keylog.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "access/netlist.h"
#include "base/clock.h"
#include "base/path.h"
#include "conf/report.h"
#include "conf/schema.h"

static const char *const members[] = {"file", "clients", "until", NULL};

bool keylog_is_on(const struct conf_keylog *k, uint64_t wall_us) {
    return k->file && wall_us / 1000000 < k->until_s;
}

bool keylog_file_fits(const char *file, const struct stat *st, struct text *why) {
    size_t before = why->len;
    if (!S_ISREG(st->st_mode))
        text_addf(why, "key log %s: found %s, expected a regular file", file,
                  S_ISLNK(st->st_mode) ? "a symbolic link" : "no regular file");
    else if (st->st_nlink != 1)
        text_addf(why, "key log %s: found %lu names of one file, expected it to have one", file, (unsigned long)st->st_nlink);
    else if (st->st_uid != geteuid())
        text_addf(why, "key log %s: found a file of user %u, expected one of user %u, who starts tls-off", file,
                  (unsigned)st->st_uid, (unsigned)geteuid());
    else if ((st->st_mode & 07777) != KEYLOG_MODE)
        text_addf(why, "key log %s: found mode %04o, expected %04o: who reads it can decrypt sessions", file,
                  (unsigned)st->st_mode & 07777u, KEYLOG_MODE);
    else if ((uint64_t)st->st_size >= KEYLOG_FILE_MAX)
        text_addf(why, "key log %s: found %lld bytes, expected fewer than %llu: move it away", file, (long long)st->st_size,
                  (unsigned long long)KEYLOG_FILE_MAX);
    return why->len == before;
}

/* ---- reading ---- */

static const struct toml_node *wanted_member(struct reading *r, const struct toml_node *table, const char *name,
                                             enum toml_kind kind, const char *expected) {
    const struct toml_node *n = value_member(table, name);
    if (!n)
        load_error(r->l, table->at, r->key, "found no \"%s\", expected %s: all of file, clients and until", name, expected);
    else if (n->kind != kind)
        reading_refuse(r, n, "%s", expected);
    return n && n->kind == kind ? n : NULL;
}

static void read_clients(struct reading *r, const struct toml_node *list) {
    struct conf_keylog *k = &r->l->conf->keylog;
    if (list->nchildren == 0 || list->nchildren > CONF_KEYLOG_CLIENTS) {
        load_error(r->l, list->at, r->key, "found %zu clients, expected 1 to %d addresses or networks", list->nchildren,
                   CONF_KEYLOG_CLIENTS);
        return;
    }
    k->clients = conf_alloc(r->l->conf, list->nchildren * sizeof(*k->clients));
    for (size_t i = 0; i < list->nchildren; i++) {
        const struct toml_node *item = &list->children[i];
        struct cidr *net = &k->clients[k->nclients];
        char reason[256];
        struct text why = text_of(reason, sizeof(reason));
        if (item->kind != TOML_STRING)
            reading_refuse(r, item, "an address or a network like \"192.0.2.7/32\"");
        else if (netlist_parse(span_str(item->string), net, &why) < 0)
            load_error(r->l, item->at, r->key, "%s", reason);
        else if (net->bits == 0)
            reading_refuse(r, item, "the clients that are looked at, not everybody");
        else
            k->nclients++;
    }
}

static void read_until(struct reading *r, const struct toml_node *node) {
    int64_t until_s;
    uint64_t now_s = clock_wall_us() / 1000000;
    if (clock_parse(node->string, &until_s) < 0 || until_s <= 0)
        reading_refuse(r, node, "a time like \"2026-12-01T12:00:00Z\"");
    else if ((uint64_t)until_s > now_s + KEYLOG_AHEAD_MAX_S)
        reading_refuse(r, node, "a time at most 24 hours ahead");
    else
        r->l->conf->keylog.until_s = (uint64_t)until_s;
}

void read_keylog(struct reading *r, const struct toml_node *table) {
    for (size_t i = 0; i < table->nchildren; i++)
        if (strcmp(table->children[i].key, members[0]) != 0 && strcmp(table->children[i].key, members[1]) != 0 &&
            strcmp(table->children[i].key, members[2]) != 0)
            reading_unknown_key(r->l, &table->children[i], r->key, members);
    const struct toml_node *file = wanted_member(r, table, "file", TOML_STRING, "a file name in the state directory");
    const struct toml_node *clients = wanted_member(r, table, "clients", TOML_ARRAY, "a list of addresses and networks");
    const struct toml_node *until = wanted_member(r, table, "until", TOML_STRING, "a time in quotes");
    if (file)
        r->l->conf->keylog.file = conf_strdup(r->l->conf, file->string);
    if (clients)
        read_clients(r, clients);
    if (until)
        read_until(r, until);
}

/* ---- checks ---- */

/* A name stands for a file in the state directory; a path must lead there. NULL: neither. */
static const char *keylog_path(struct load *l, const char *file) {
    char path[PATH_MAX];
    const char *dir = l->conf->state_dir, *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    bool there = !slash || ((size_t)(slash - file) == strlen(dir) && strncmp(file, dir, strlen(dir)) == 0);
    bool is_name = *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
    return there && is_name && *path_join(path, dir, name) ? conf_strdup(l->conf, path) : NULL;
}

static void look_at_keylog_file(struct load *l, struct toml_pos at, const char *file) {
    char reason[PATH_MAX + 256];
    struct text why = text_of(reason, sizeof(reason));
    struct stat st;
    if (lstat(file, &st) == 0 && !keylog_file_fits(file, &st, &why))
        load_error(l, at, load_top_key(KEY_KEYLOG), "%s", reason);
}

void keylog_settle(struct load *l) {
    struct conf_keylog *k = &l->conf->keylog;
    const char *key = load_top_key(KEY_KEYLOG), *given = k->file;
    struct toml_pos at = load_top_at(l, KEY_KEYLOG);
    char until[CLOCK_TEXT_MAX];
    if (!given || !k->nclients || !k->until_s) /* not wanted, or refused */
        return;
    k->file = keylog_path(l, given);
    if (!k->file) {
        load_error(l, at, key, "found the file \"%s\", expected a name, which is one in %s", given, l->conf->state_dir);
        return;
    }
    clock_text(k->until_s * 1000000, until);
    if (!keylog_is_on(k, clock_wall_us())) {
        load_warning(l, at, key, "has ended at %s: no secrets are written; take it out", until);
        return;
    }
    look_at_keylog_file(l, at, k->file);
    load_warning(
        l, at, key,
        "the secrets of TLS connections of %zu %s are written to %s until %s: who reads them can decrypt what was recorded",
        k->nclients, k->nclients == 1 ? "network" : "networks", k->file, until);
}
