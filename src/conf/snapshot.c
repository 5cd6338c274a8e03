/*
 * The snapshot's bytes: magic and layout, every scalar in the order of the table of keys (keys.h), then lists and what is not
 * stored by the table, by one description that serves both directions. A text is a flag byte, then its length and its bytes; it
 * may be NULL. What was read is checked where it was read; what is written is trusted.
 */
#include "conf/snapshot.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/ja4_rule.h"
#include "base/codec.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "base/sealed.h"
#include "conf/scalars.h"
#include "creds/client_rule.h"

#define MAGIC     0x544f534eu /* "TOSN" */
#define FORMAT    5           /* of the lists */
#define TEXT_MAX  (PATH_MAX - 1)
#define ITEMS_MAX 1024 /* of any list that has no limit of its own in conf.h */

struct io {
    struct codec codec;
    struct conf *conf; /* what is written; or read into, with memory for texts and lists */
};

static bool is_bad(struct io *io) {
    return codec_bad(&io->codec, false);
}

/* Only what is read is judged. */
static void refuse_if(struct io *io, bool is_wrong) {
    (void)codec_bad(&io->codec, io->codec.r && is_wrong); /* sticky */
}

#define VALUE(io, x) CODEC_VALUE(&(io)->codec, x)

/* A number from 0 to LAST in one byte: an enum, a bool, a set of bits. */
static unsigned value_choice(struct io *io, unsigned v, unsigned last) {
    v = (unsigned)codec_number(&io->codec, 1, v);
    refuse_if(io, v > last);
    return is_bad(io) ? 0 : v;
}
#define CHOICE(io, x, last) ((x) = (__typeof__(x))value_choice((io), (unsigned)(x), (last)))

/* A text of up to MAX bytes that may be NULL. */
static void value_text(struct io *io, const char **s, size_t max) {
    bool there = *s != NULL;
    CHOICE(io, there, 1);
    if (io->codec.w) {
        if (there)
            wr_vec16(io->codec.w, span_str(*s));
        return;
    }
    struct span in = there ? rd_vec16(io->codec.r) : span_of(NULL, 0);
    refuse_if(io, in.len > max || (in.len && memchr(in.p, 0, in.len)));
    *s = NULL;
    if (!there || is_bad(io))
        return;
    char *copy = conf_alloc(io->conf, in.len + 1);
    if (in.len)
        memcpy(copy, in.p, in.len);
    *s = copy;
}

/* A text of at least MIN bytes; "" when it is bad, so that it is never NULL. */
static void value_needed_text(struct io *io, const char **s, size_t min, size_t max) {
    value_text(io, s, max);
    refuse_if(io, !*s || strlen(*s) < min);
    *s = *s ? *s : "";
}

/* An absolute file name that may be NULL. */
static void value_path(struct io *io, const char **s) {
    value_text(io, s, TEXT_MAX);
    refuse_if(io, *s && (*s)[0] != '/');
}

/* The memory of a list of N items: new when it is read. */
static void *value_room(struct io *io, void *list, size_t n, size_t size) {
    return io->codec.r ? conf_alloc(io->conf, n * size) : list;
}

static size_t value_count(struct io *io, size_t n, size_t min, size_t max) {
    n = codec_count(&io->codec, n, io->codec.r ? max : SIZE_MAX);
    refuse_if(io, n < min);
    return is_bad(io) ? 0 : n;
}

/* Begins a list of MIN to MAX items: its count, and its memory. */
#define LIST(io, list, n, min, max)                                                                                            \
    ((n) = value_count((io), (n), (min), (max)), (list) = value_room((io), (list), (n), sizeof(*(list))))

static void value_addr(struct io *io, struct addr *a) {
    VALUE(io, a->family);
    VALUE(io, a->port);
    codec_bytes(&io->codec, a->ip, sizeof(a->ip));
    VALUE(io, a->scope);
    refuse_if(io, !addr_is_ip(a) || (a->scope && !addr_is_link_local(a)));
    for (size_t i = 4; i < sizeof(a->ip) && a->family == AF_INET; i++)
        refuse_if(io, a->ip[i] != 0);
}

static void value_backend_of(struct io *io, struct conf_backend *b) {
    CHOICE(io, b->kind, BACKEND_TCP);
    value_needed_text(io, &b->text, 1, TEXT_MAX);
    value_needed_text(io, &b->path, 1, b->kind == BACKEND_TCP ? CONF_NAME_MAX : CONF_SOCKET_PATH_MAX);
    VALUE(io, b->port);
    CHOICE(io, b->is_name, 1);
    if (b->kind == BACKEND_TCP && !b->is_name)
        value_addr(io, &b->addr);
    refuse_if(io, (b->kind == BACKEND_TCP) != (b->port != 0) || (b->kind != BACKEND_TCP && b->is_name));
    refuse_if(io, b->kind == BACKEND_UNIX && b->path[0] != '/');
    refuse_if(io, b->addr.port != (b->is_name ? 0 : b->port));
}

static void value_cidr(struct io *io, struct cidr *n) {
    bool processes = n->net.family == AF_UNIX;
    CHOICE(io, processes, 1);
    if (processes) {
        n->net.family = AF_UNIX;
        return;
    }
    value_addr(io, &n->net);
    VALUE(io, n->bits);
    size_t width = n->net.family == AF_INET ? 32 : 128;
    refuse_if(io, n->bits > width || n->net.port != 0);
    for (size_t bit = n->bits; bit < width && io->codec.r; bit++)
        refuse_if(io, n->net.ip[bit / 8] >> (7 - bit % 8) & 1);
}

static void value_cert(struct io *io, struct conf_cert *cert) {
    value_path(io, &cert->cert);
    value_path(io, &cert->key);
    value_path(io, &cert->passphrase);
    refuse_if(io, !cert->cert || (cert->passphrase && !cert->key));
}

static void value_ids(struct io *io, uint16_t **ids, size_t *n, size_t min, size_t max) {
    LIST(io, *ids, *n, min, max);
    for (size_t i = 0; i < *n; i++)
        VALUE(io, (*ids)[i]);
}

static void value_texts(struct io *io, const char ***texts, size_t *n, size_t max, size_t len_min, size_t len_max) {
    LIST(io, *texts, *n, 0, max);
    for (size_t i = 0; i < *n && !is_bad(io); i++)
        value_needed_text(io, &(*texts)[i], len_min, len_max);
}

/* ---- scalars ---- */

/* Every key that the table stores in BASE. */
static void value_scalars(struct io *io, const char *scope, void *base) {
    for (size_t k = 0; k < KEY_COUNT; k++) {
        const struct key_row *row = &key_rows[k];
        if (row->size == 0 || strcmp(key_scope(row), scope) != 0)
            continue;
        if (row->type->is_text) {
            const char *s = scalar_string(row, base);
            value_text(io, &s, TEXT_MAX);
            refuse_if(io, !scalar_string_fits(row, s));
            scalar_set_string(row, base, s);
        } else {
            uint64_t v = codec_number(&io->codec, row->size, scalar_number(row, base));
            bool fits = scalar_number_fits(row, v);
            refuse_if(io, !fits);
            scalar_set_number(row, base, fits ? v : 0); /* never a bool that is neither */
        }
    }
}

/* Another table of keys is another layout. */
static uint32_t layout(void) {
    uint32_t sum = FORMAT;
    for (size_t k = 0; k < KEY_COUNT; k++)
        sum = sum * 31 + crc32c(key_rows[k].path, strlen(key_rows[k].path)) + (uint32_t)key_rows[k].size;
    return sum;
}

/* ---- the parts ---- */

static bool socket_path_fits(const char *path) {
    size_t len = strlen(path);
    return path[0] == '@' ? len > 1 && len <= CONF_SOCKET_PATH_MAX + 1 : path[0] == '/' && len <= CONF_SOCKET_PATH_MAX;
}

static void value_listener(struct io *io, struct conf_listener *l) {
    value_needed_text(io, &l->name, 1, CONF_NAME_MAX);
    value_text(io, &l->path, CONF_SOCKET_PATH_MAX + 1);
    if (l->path)
        refuse_if(io, !socket_path_fits(l->path));
    else
        value_addr(io, &l->addr);
    value_scalars(io, "listener.*", l);
    refuse_if(io, (l->rights.mode & ~0666u) != 0);
}

static void value_service(struct io *io, struct conf_service *s) {
    value_needed_text(io, &s->name, 1, CONF_SERVICE_NAME_MAX);
    value_scalars(io, "service.*", s);
    value_ids(io, &s->listeners, &s->nlisteners, 0, CONF_LISTENERS_MAX);
    for (size_t i = 0; i < s->nlisteners; i++)
        refuse_if(io, s->listeners[i] >= io->conf->nlisteners);
    LIST(io, s->backends, s->nbackends, 1, CONF_BACKENDS_MAX);
    for (size_t i = 0; i < s->nbackends && !is_bad(io); i++)
        value_backend_of(io, &s->backends[i]);
    LIST(io, s->certs, s->ncerts, 0, ITEMS_MAX);
    for (size_t i = 0; i < s->ncerts && !is_bad(io); i++)
        value_cert(io, &s->certs[i]);
    value_texts(io, &s->names, &s->nnames, CONF_NAMES_MAX, 0, CONF_PATTERN_MAX);
    value_texts(io, &s->match_alpn, &s->nmatch_alpn, ITEMS_MAX, 1, CONF_NAME_MAX);
    value_texts(io, &s->alpn, &s->nalpn, ITEMS_MAX, 1, CONF_NAME_MAX);
    value_ids(io, &s->suites, &s->nsuites, 1, ITEMS_MAX);
    value_ids(io, &s->groups, &s->ngroups, 1, ITEMS_MAX);
    value_texts(io, &s->client_allow, &s->nclient_allow, CONF_CLIENT_RULES_MAX, 1, CLIENT_RULE_MAX);
    value_texts(io, &s->access_allow, &s->naccess_allow, ITEMS_MAX, 1, TEXT_MAX);
    value_texts(io, &s->access_deny, &s->naccess_deny, ITEMS_MAX, 1, TEXT_MAX);
    value_texts(io, &s->deny_ja4, &s->ndeny_ja4, CONF_JA4_MAX, 1, JA4_RULE_MAX);
    LIST(io, s->proxy_trust, s->nproxy_trust, 0, ITEMS_MAX);
    for (size_t i = 0; i < s->nproxy_trust && !is_bad(io); i++)
        value_cidr(io, &s->proxy_trust[i]);
    refuse_if(io, (s->mode == MODE_TERMINATE) != (s->ncerts > 0) || (s->proxy_accept && s->nproxy_trust == 0));
    refuse_if(io, s->client_auth != CLIENT_AUTH_NONE && !s->client_ca);
}

static void value_admin(struct io *io, struct conf_admin *a) {
    bool listens = a->listen.family != AF_UNSPEC;
    value_text(io, &a->socket, CONF_SOCKET_PATH_MAX);
    CHOICE(io, a->socket_given, 1);
    CHOICE(io, listens, 1);
    if (listens)
        value_addr(io, &a->listen);
    refuse_if(io, (a->socket && a->socket[0] != '/') || (a->rights.mode & ~0666u) != 0);
}

/* Words of a choice, each below END. */
static void value_words(struct io *io, uint8_t **words, size_t *n, unsigned end) {
    LIST(io, *words, *n, 1, end);
    for (size_t i = 0; i < *n; i++)
        CHOICE(io, (*words)[i], end - 1);
}

/* A name that becomes part of a file's. */
static void value_file_part(struct io *io, const char **s) {
    value_needed_text(io, s, 1, CONF_NAME_MAX);
    refuse_if(io, strchr(*s, '/') || (*s)[0] == '.');
}

static void value_issuer(struct io *io, struct conf_issuer *i) {
    const size_t longest = CONF_ACME_TEXT_MAX - 1;
    value_file_part(io, &i->name);
    value_needed_text(io, &i->directory, 1, longest);
    value_texts(io, &i->contact, &i->ncontact, CONF_CONTACTS_MAX, 1, longest);
    value_words(io, &i->challenges, &i->nchallenges, CHALLENGE_TYPES);
    value_words(io, &i->keys, &i->nkeys, MANAGED_KEYS);
    value_needed_text(io, &i->profile, 0, CONF_ACME_PROFILE_MAX);
    CHOICE(io, i->profile_required, 1);
    value_needed_text(io, &i->preferred_chain, 0, longest);
    value_path(io, &i->ca_file);
    value_text(io, &i->eab_kid, longest);
    value_path(io, &i->eab_key_file);
    value_path(io, &i->hook);
    VALUE(io, i->hook_uid);
    VALUE(io, i->hook_gid);
    refuse_if(io, !i->hook && memchr(i->challenges, CHALLENGE_DNS_01, i->nchallenges));
    refuse_if(io, strncmp(i->directory, "https://", 8) != 0 || (i->eab_kid == NULL) != (i->eab_key_file == NULL));
}

static void value_managed(struct io *io, struct conf_managed *m) {
    value_file_part(io, &m->id);
    value_path(io, &m->dir);
    VALUE(io, m->service);
    CHOICE(io, m->key, MANAGED_KEYS - 1);
    value_texts(io, &m->names, &m->nnames, CONF_ACME_NAMES_MAX, 1, CONF_NAME_MAX);
    value_ids(io, &m->issuers, &m->nissuers, 1, CONF_ISSUERS_MAX);
    for (size_t i = 0; i < m->nissuers; i++)
        refuse_if(io, m->issuers[i] >= io->conf->acme.nissuers);
    refuse_if(io, !m->dir || m->nnames == 0 || m->service >= io->conf->nservices);
}

static void value_acme(struct io *io, struct conf_acme *a) {
    value_path(io, &a->dir);
    LIST(io, a->issuers, a->nissuers, 0, CONF_ISSUERS_MAX);
    for (size_t i = 0; i < a->nissuers && !is_bad(io); i++)
        value_issuer(io, &a->issuers[i]);
    LIST(io, a->certs, a->ncerts, 0, CONF_ACME_CERTS_MAX);
    for (size_t i = 0; i < a->ncerts && !is_bad(io); i++)
        value_managed(io, &a->certs[i]);
    CHOICE(io, a->tls_route, 1);
    VALUE(io, a->tls_service);
    refuse_if(io, (a->ncerts && !a->dir) || a->tls_service >= io->conf->nservices);
    refuse_if(io, a->tls_route && !is_bad(io) && io->conf->services[a->tls_service].mode != MODE_PASSTHROUGH);
}

/* 0, or ERR_UNSUPPORTED: the snapshot is of a build that has other keys. */
static int value_head(struct io *io) {
    uint32_t magic = MAGIC, keys = layout();
    VALUE(io, magic);
    VALUE(io, keys);
    refuse_if(io, magic != MAGIC);
    return is_bad(io) || keys == layout() ? 0 : ERR_UNSUPPORTED;
}

static void value_conf(struct io *io, struct conf *c) {
    value_scalars(io, "", c);
    value_texts(io, &c->ticket_secrets, &c->nticket_secrets, CONF_SECRETS_MAX, 1, TEXT_MAX);
    for (size_t i = 0; i < c->nticket_secrets && !is_bad(io); i++)
        refuse_if(io, c->ticket_secrets[i][0] != '/');
    value_path(io, &c->log_file);
    value_admin(io, &c->admin);
    refuse_if(io, c->workers == 0 || !c->state_dir || (c->log_target == LOG_TO_FILE) != (c->log_file != NULL));
    LIST(io, c->listeners, c->nlisteners, 1, CONF_LISTENERS_MAX);
    for (size_t i = 0; i < c->nlisteners && !is_bad(io); i++)
        value_listener(io, &c->listeners[i]);
    LIST(io, c->services, c->nservices, 1, SERVICES_MAX);
    for (size_t i = 0; i < c->nservices && !is_bad(io); i++)
        value_service(io, &c->services[i]);
    value_acme(io, &c->acme);
}

int snapshot_parse(struct span bytes, struct conf **ret) {
    struct conf *c = conf_new();
    struct rd r = rd_of(bytes);
    struct io io = {.codec = {.r = &r}, .conf = c};
    int err = value_head(&io);
    if (err == 0)
        value_conf(&io, c);
    if (err == 0 && !rd_end(&r))
        err = ERR_FORMAT;
    if (err) {
        conf_free(c);
        return err;
    }
    conf_link_listeners(c);
    *ret = c;
    return 0;
}

int snapshot_write(struct conf *c, int *ret_fd) {
    void *room = mmap(NULL, SNAPSHOT_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) /* of it only what is written to exists */
        return ERR_SYSTEM;
    struct wr w = wr_of(room, SNAPSHOT_MAX);
    struct io io = {.codec = {.w = &w}, .conf = c};
    (void)value_head(&io); /* our own */
    value_conf(&io, c);
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

int snapshot_read(int fd, struct conf **ret) {
    struct stat st;
    if (fstat(fd, &st) != 0)
        return ERR_SYSTEM;
    if (st.st_size < 0 || st.st_size > SNAPSHOT_MAX)
        return ERR_LIMIT;
    size_t n = (size_t)st.st_size;
    uint8_t *bytes = malloc(n ? n : 1);
    if (!bytes)
        return ERR_SYSTEM;
    int err = read_all(fd, bytes, n);
    if (err == 0)
        err = snapshot_parse(span_of(bytes, n), ret);
    free(bytes);
    return err;
}
