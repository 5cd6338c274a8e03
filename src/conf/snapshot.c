/*
 * What is in a snapshot: a head, then a block (snapshot_form.h) with an entry for every key of the table (key_table.h), and
 * entries for lists and what else is not stored by the table, by one description that serves both directions. A text is a flag
 * byte, then its length and its bytes; it may be NULL. What was read is checked where it was read; what is written is trusted.
 */
#include "conf/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/ja4_rule.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/sealed.h"
#include "conf/scalars.h"
#include "conf/snapshot_acme.h"
#include "conf/snapshot_values.h"
#include "creds/client_rule.h"

#define MAGIC             0x544f534eu /* "TOSN" */
#define SNAPSHOT_FORMAT   6           /* of the head and of values that have none of their own */
#define SNAPSHOT_HEAD_LEN 16

static void value_backend_of(struct snapshot_io *io, struct conf_backend *b) {
    if (entry_begin(io, "address", ENTRY_OTHER | ENTRY_NEEDED)) {
        SNAPSHOT_CHOICE(io, b->kind, BACKEND_TCP);
        snapshot_needed_text(io, &b->text, 1, SNAPSHOT_TEXT_MAX);
        snapshot_needed_text(io, &b->path, 1, b->kind == BACKEND_TCP ? CONF_NAME_MAX : CONF_SOCKET_PATH_MAX);
        SNAPSHOT_VALUE(io, b->port);
        SNAPSHOT_CHOICE(io, b->is_name, 1);
        if (b->kind == BACKEND_TCP && !b->is_name)
            snapshot_addr(io, &b->addr);
        entry_end(io);
    }
    if (snapshot_io_bad(io))
        return;
    snapshot_io_refuse_if(io, (b->kind == BACKEND_TCP) != (b->port != 0) || (b->kind != BACKEND_TCP && b->is_name));
    snapshot_io_refuse_if(io, b->kind == BACKEND_UNIX && b->path[0] != '/');
    snapshot_io_refuse_if(io, b->addr.port != (b->is_name ? 0 : b->port));
}

static void value_cidr(struct snapshot_io *io, struct cidr *n) {
    bool processes = n->net.family == AF_UNIX;
    SNAPSHOT_CHOICE(io, processes, 1);
    if (processes) {
        n->net.family = AF_UNIX;
        return;
    }
    snapshot_addr(io, &n->net);
    SNAPSHOT_VALUE(io, n->bits);
    size_t width = n->net.family == AF_INET ? 32 : 128;
    snapshot_io_refuse_if(io, n->bits > width || n->net.port != 0);
    for (size_t bit = n->bits; bit < width && io->codec.r; bit++)
        snapshot_io_refuse_if(io, n->net.ip[bit / 8] >> (7 - bit % 8) & 1);
}

static void value_cert(struct snapshot_io *io, struct conf_cert *cert) {
    if (entry_begin(io, "files", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_path(io, &cert->cert);
        snapshot_path(io, &cert->key);
        snapshot_path(io, &cert->passphrase);
        entry_end(io);
    }
    snapshot_io_refuse_if(io, !cert->cert || (cert->passphrase && !cert->key));
}

/* ---- scalars ---- */

/* Without it the supervisor of a build that has no such key would act on other terms than were asked for. */
static bool must_be_understood(const struct key_row *row, const void *base) {
    if (!row->must_understand)
        return false;
    if (!row->type->is_text)
        return scalar_number(row, base) != row->number;
    const char *s = scalar_string(row, base);
    return s && (!row->text || strcmp(s, row->text) != 0);
}

static void value_text_scalar(struct snapshot_io *io, const struct key_row *row, void *base) {
    const char *s = scalar_string(row, base);
    snapshot_text(io, &s, SNAPSHOT_TEXT_MAX);
    snapshot_io_refuse_if(io, !scalar_string_fits(row, s));
    scalar_set_string(row, base, s);
}

/* A build in which the number has another size is understood as long as the value fits. */
static void value_number_scalar(struct snapshot_io *io, const struct key_row *row, void *base) {
    size_t bytes = io->codec.r ? rd_left(io->codec.r) : row->size;
    snapshot_io_refuse_if(io, bytes > sizeof(uint64_t));
    if (snapshot_io_bad(io))
        return;
    uint64_t v = codec_number(&io->codec, bytes, scalar_number(row, base));
    bool fits = scalar_number_fits(row, v) && (row->size == sizeof(v) || v >> 8 * row->size == 0);
    snapshot_io_refuse_if(io, !fits);
    scalar_set_number(row, base, fits ? v : 0); /* never a bool that is neither */
}

static bool value_fits(const struct key_row *row, const void *base) {
    return row->type->is_text ? scalar_string_fits(row, scalar_string(row, base))
                              : scalar_number_fits(row, scalar_number(row, base));
}

/* Every key that the table stores in BASE, which has its defaults; those that are found out while the file is read are needed.
 */
static void value_scalars(struct snapshot_io *io, const char *scope, void *base) {
    size_t before = strlen(scope) + (scope[0] != 0); /* what the path has in front of the name */
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        if (row->size == 0 || strcmp(key_scope(row), scope) != 0)
            continue;
        unsigned type = row->type->is_text ? ENTRY_TEXT : ENTRY_NUMBER;
        if (io->codec.w && must_be_understood(row, base))
            type |= ENTRY_MUST_UNDERSTAND;
        if (io->codec.r && !value_fits(row, base))
            type |= ENTRY_NEEDED;
        if (!entry_begin(io, row->path + before, type))
            continue;
        if (row->type->is_text)
            value_text_scalar(io, row, base);
        else
            value_number_scalar(io, row, base);
        entry_end(io);
    }
}

/* Between builds with the same sum no entry is missing or unknown. */
static uint32_t sum_of_keys(void) {
    uint32_t sum = 0;
    for (size_t k = 0; k < KEY_COUNT; k++)
        sum = sum * 31 + crc32c(key_rows[k].path, strlen(key_rows[k].path)) + (uint32_t)key_rows[k].size;
    return sum;
}

/* ---- the parts ---- */

static bool socket_path_fits(const char *path) {
    size_t len = strlen(path);
    return path[0] == '@' ? len > 1 && len <= CONF_SOCKET_PATH_MAX + 1 : path[0] == '/' && len <= CONF_SOCKET_PATH_MAX;
}

static void value_listener(struct snapshot_io *io, struct conf_listener *l) {
    if (entry_begin(io, "address", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_needed_text(io, &l->name, 1, CONF_NAME_MAX);
        snapshot_text(io, &l->path, CONF_SOCKET_PATH_MAX + 1);
        if (l->path)
            snapshot_io_refuse_if(io, !socket_path_fits(l->path));
        else
            snapshot_addr(io, &l->addr);
        entry_end(io);
    }
    value_scalars(io, "listener.*", l);
    snapshot_io_refuse_if(io, (l->rights.mode & ~0666u) != 0);
}

static void value_backends(struct snapshot_io *io, struct conf_service *s) {
    SNAPSHOT_LIST(io, s->backends, s->nbackends, 1, CONF_BACKENDS_MAX);
    for (size_t i = 0; i < s->nbackends && !snapshot_io_bad(io); i++) {
        item_begin(io);
        value_backend_of(io, &s->backends[i]);
        item_end(io);
    }
}

static void value_certs(struct snapshot_io *io, struct conf_service *s) {
    SNAPSHOT_LIST(io, s->certs, s->ncerts, 0, SNAPSHOT_ITEMS_MAX);
    for (size_t i = 0; i < s->ncerts && !snapshot_io_bad(io); i++) {
        item_begin(io);
        value_cert(io, &s->certs[i]);
        item_end(io);
    }
}

static void value_service_lists(struct snapshot_io *io, struct conf_service *s) {
    if (entry_begin(io, "listen", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_ids(io, &s->listeners, &s->nlisteners, 0, CONF_LISTENERS_MAX);
        for (size_t i = 0; i < s->nlisteners; i++)
            snapshot_io_refuse_if(io, s->listeners[i] >= io->conf->nlisteners);
        entry_end(io);
    }
    if (entry_begin(io, "backends", ENTRY_OTHER | ENTRY_NEEDED)) {
        value_backends(io, s);
        entry_end(io);
    }
    if (entry_begin(io, "certificates", ENTRY_OTHER)) {
        value_certs(io, s);
        entry_end(io);
    }
    if (entry_begin(io, "cipher_suites", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_ids(io, &s->suites, &s->nsuites, 1, SNAPSHOT_ITEMS_MAX);
        entry_end(io);
    }
    if (entry_begin(io, "groups", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_ids(io, &s->groups, &s->ngroups, 1, SNAPSHOT_ITEMS_MAX);
        entry_end(io);
    }
    if (entry_begin(io, "proxy_protocol.trust", ENTRY_OTHER)) {
        SNAPSHOT_LIST(io, s->proxy_trust, s->nproxy_trust, 0, SNAPSHOT_ITEMS_MAX);
        for (size_t i = 0; i < s->nproxy_trust && !snapshot_io_bad(io); i++)
            value_cidr(io, &s->proxy_trust[i]);
        entry_end(io);
    }
}

static void value_service(struct snapshot_io *io, struct conf_service *s) {
    if (entry_begin(io, "name", ENTRY_OTHER | ENTRY_NEEDED)) {
        snapshot_needed_text(io, &s->name, 1, CONF_SERVICE_NAME_MAX);
        entry_end(io);
    }
    value_scalars(io, "service.*", s);
    value_service_lists(io, s);
    entry_of_texts(io, "names", &s->names, &s->nnames, CONF_NAMES_MAX, 0, CONF_PATTERN_MAX);
    entry_of_texts(io, "match_alpn", &s->match_alpn, &s->nmatch_alpn, SNAPSHOT_ITEMS_MAX, 1, CONF_NAME_MAX);
    entry_of_texts(io, "alpn", &s->alpn, &s->nalpn, SNAPSHOT_ITEMS_MAX, 1, CONF_NAME_MAX);
    entry_of_texts(io, "client_auth.allow", &s->client_allow, &s->nclient_allow, CONF_CLIENT_RULES_MAX, 1, CLIENT_RULE_MAX);
    entry_of_texts(io, "access.allow", &s->access_allow, &s->naccess_allow, SNAPSHOT_ITEMS_MAX, 1, SNAPSHOT_TEXT_MAX);
    entry_of_texts(io, "access.deny", &s->access_deny, &s->naccess_deny, SNAPSHOT_ITEMS_MAX, 1, SNAPSHOT_TEXT_MAX);
    entry_of_texts(io, "access.deny_ja4", &s->deny_ja4, &s->ndeny_ja4, CONF_JA4_MAX, 1, JA4_RULE_MAX);
    snapshot_io_refuse_if(io, (s->mode == MODE_TERMINATE) != (s->ncerts > 0) || (s->proxy_accept && s->nproxy_trust == 0));
    snapshot_io_refuse_if(io, s->client_auth != CLIENT_AUTH_NONE && !s->client_ca);
}

static void value_keylog(struct snapshot_io *io, struct conf_keylog *k) {
    snapshot_path(io, &k->file);
    SNAPSHOT_LIST(io, k->clients, k->nclients, 0, CONF_KEYLOG_CLIENTS);
    for (size_t i = 0; i < k->nclients && !snapshot_io_bad(io); i++)
        value_cidr(io, &k->clients[i]);
    SNAPSHOT_VALUE(io, k->until_s);
    snapshot_io_refuse_if(io, (k->file != NULL) != (k->nclients > 0) || (k->file != NULL) != (k->until_s > 0));
}

static void value_store(struct snapshot_io *io, struct conf_store *store) {
    if (entry_begin(io, "store.socket", ENTRY_OTHER | (store->socket ? ENTRY_MUST_UNDERSTAND : 0))) {
        snapshot_text(io, &store->socket, CONF_SOCKET_PATH_MAX);
        entry_end(io);
    }
    snapshot_io_refuse_if(io, (store->socket && store->socket[0] != '/') || !store->cluster || !store->cluster[0]);
}

static void value_admin(struct snapshot_io *io, struct conf_admin *a) {
    bool listens = a->listen.family != AF_UNSPEC;
    if (entry_begin(io, "admin.socket", ENTRY_OTHER)) {
        snapshot_text(io, &a->socket, CONF_SOCKET_PATH_MAX);
        SNAPSHOT_CHOICE(io, a->socket_given, 1);
        entry_end(io);
    }
    if (entry_begin(io, "admin.listen", ENTRY_OTHER)) {
        SNAPSHOT_CHOICE(io, listens, 1);
        if (listens)
            snapshot_addr(io, &a->listen);
        entry_end(io);
    }
    snapshot_io_refuse_if(io, (a->socket && a->socket[0] != '/') || (a->rights.mode & ~0666u) != 0);
}

static void value_listeners(struct snapshot_io *io, struct conf *c) {
    SNAPSHOT_LIST(io, c->listeners, c->nlisteners, 1, CONF_LISTENERS_MAX);
    for (size_t i = 0; i < c->nlisteners && !snapshot_io_bad(io); i++) {
        if (io->codec.r)
            scalar_defaults("listener.*", &c->listeners[i]);
        item_begin(io);
        value_listener(io, &c->listeners[i]);
        item_end(io);
    }
}

static void value_services(struct snapshot_io *io, struct conf *c) {
    SNAPSHOT_LIST(io, c->services, c->nservices, 1, SERVICES_MAX);
    for (size_t i = 0; i < c->nservices && !snapshot_io_bad(io); i++) {
        if (io->codec.r)
            scalar_defaults("service.*", &c->services[i]);
        item_begin(io);
        value_service(io, &c->services[i]);
        item_end(io);
    }
}

static void value_conf(struct snapshot_io *io, struct conf *c) {
    if (io->codec.r)
        scalar_defaults("", c);
    block_begin(io);
    value_scalars(io, "", c);
    entry_of_texts(io, "tickets.secret_files", &c->ticket_secrets, &c->nticket_secrets, CONF_SECRETS_MAX, 1, SNAPSHOT_TEXT_MAX);
    for (size_t i = 0; i < c->nticket_secrets && !snapshot_io_bad(io); i++)
        snapshot_io_refuse_if(io, c->ticket_secrets[i][0] != '/');
    entry_of_path(io, "log.file", &c->log_file);
    if (entry_begin(io, "debug.keylog", ENTRY_OTHER | (c->keylog.file ? ENTRY_MUST_UNDERSTAND : 0))) {
        value_keylog(io, &c->keylog);
        entry_end(io);
    }
    value_admin(io, &c->admin);
    value_store(io, &c->store);
    snapshot_io_refuse_if(io, c->workers == 0 || !c->state_dir || (c->log_target == LOG_TO_FILE) != (c->log_file != NULL));
    if (entry_begin(io, "listener", ENTRY_OTHER | ENTRY_NEEDED)) {
        value_listeners(io, c);
        entry_end(io);
    }
    if (entry_begin(io, "service", ENTRY_OTHER | ENTRY_NEEDED)) {
        value_services(io, c);
        entry_end(io);
    }
    snapshot_acme(io, &c->acme);
    block_end(io);
}

/* LEN bytes follow it. */
static void write_snapshot_head(struct wr *w, size_t len) {
    wr_u32(w, MAGIC);
    wr_u32(w, SNAPSHOT_FORMAT);
    wr_u32(w, sum_of_keys());
    wr_u32(w, (uint32_t)len);
}

/* 0, ERR_FORMAT, or ERR_UNSUPPORTED: another form. */
static int read_snapshot_head(struct rd *r, bool *ret_same_keys) {
    uint32_t magic = rd_u32(r), format = rd_u32(r);
    if (!r->bad && magic == MAGIC && format != SNAPSHOT_FORMAT)
        return ERR_UNSUPPORTED;
    *ret_same_keys = rd_u32(r) == sum_of_keys();
    uint32_t len = rd_u32(r);
    return r->bad || magic != MAGIC || len != rd_left(r) ? ERR_FORMAT : 0;
}

int snapshot_parse(struct span bytes, struct conf **ret, struct text *why) {
    struct rd r = rd_of(bytes);
    bool same_keys = false;
    int err = read_snapshot_head(&r, &same_keys);
    if (err < 0)
        return err;
    struct conf *c = conf_try_new();
    struct snapshot_io io;
    if (!c)
        return ERR_NOMEM;
    snapshot_io_init(&io, (struct codec){.r = &r}, same_keys, why);
    io.conf = c;
    value_conf(&io, c);
    err = snapshot_io_error(&io);
    if (err == 0)
        err = conf_link_listeners(c);
    if (err < 0) {
        conf_free(c);
        return err;
    }
    *ret = c;
    return 0;
}

int snapshot_write(struct conf *c, int *ret_fd) {
    void *room = mmap(NULL, SNAPSHOT_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) /* of it only what is written to exists */
        return ERR_SYSTEM;
    struct wr head = wr_of(room, SNAPSHOT_HEAD_LEN), w = wr_of(room, SNAPSHOT_MAX);
    struct snapshot_io io;
    snapshot_io_init(&io, (struct codec){.w = &w}, true, NULL);
    io.conf = c;
    wr_room(&w, SNAPSHOT_HEAD_LEN);
    value_conf(&io, c);
    write_snapshot_head(&head, w.len - SNAPSHOT_HEAD_LEN);
    int err = wr_end(&w) ? sealed_copy("tls-off-conf", wr_written(&w), ret_fd) : ERR_LIMIT;
    int saved = errno;
    (void)munmap(room, SNAPSHOT_MAX); /* as it was mapped */
    errno = saved;
    return err;
}

/* A copy, so that it does not matter who else may write to the descriptor. */
static int read_all(int fd, uint8_t *to, size_t n) {
    for (size_t off = 0; off < n;) {
        ssize_t got = pread(fd, to + off, n - off, (off_t)off);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got == 0 ? ERR_FORMAT : ERR_SYSTEM;
        off += (size_t)got;
    }
    return 0;
}

int snapshot_read(int fd, struct conf **ret, struct text *why) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_SYSTEM;
    if (st.st_size < 0 || st.st_size > SNAPSHOT_MAX)
        return ERR_LIMIT;
    size_t n = (size_t)st.st_size;
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return ERR_NOMEM;
    int err = read_all(fd, bytes, n);
    if (err == 0)
        err = snapshot_parse(span_of(bytes, n), ret, why);
    free(bytes);
    return err;
}
