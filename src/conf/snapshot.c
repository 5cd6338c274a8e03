/*
 * The snapshot's bytes: magic, version, then every field in the order of struct conf. A list is its count and its items, a text
 * its length and its bytes; a text that may be NULL has a flag byte before it. Writing and reading are side by side
 * for each part, so that no field can be forgotten on one side only.
 */
#include "conf/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/rd.h"
#include "base/wr.h"
#include "creds/client_rule.h"

#define MAGIC           0x544f534eu /* "TOSN" */
#define FORMAT          2
#define TEXT_MAX        PATH_MAX
#define ITEMS_MAX       1024 /* of any list that has no limit of its own in conf.h */
#define SEALS           (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SERVICE_LEN_MAX 64

static void put_text(struct wr *w, const char *s) {
    wr_u8(w, s != NULL);
    if (s)
        wr_vec16(w, span_str(s));
}

/* NULL when it was NULL or when R is bad; R becomes bad when the text may not be that long. */
static const char *get_text(struct rd *r, struct conf *c, size_t max) {
    uint8_t there = rd_u8(r);
    r->bad = r->bad || there > 1;
    if (r->bad || !there)
        return NULL;
    struct span s = rd_vec16(r);
    if (r->bad || s.len > max || (s.len && memchr(s.p, 0, s.len))) {
        r->bad = true;
        return NULL;
    }
    char *text = conf_alloc(c, s.len + 1);
    if (s.len)
        memcpy(text, s.p, s.len);
    return text;
}

/* A text that must be there, of MIN to MAX bytes; "" when it is not, so that it is never NULL. */
static const char *need_text(struct rd *r, struct conf *c, size_t min, size_t max) {
    const char *s = get_text(r, c, max);
    if (!s || strlen(s) < min)
        r->bad = true;
    return s ? s : "";
}

static const char *need_path(struct rd *r, struct conf *c) {
    const char *s = need_text(r, c, 1, TEXT_MAX - 1);
    r->bad = r->bad || s[0] != '/';
    return s;
}

static unsigned get_choice(struct rd *r, unsigned last) {
    uint8_t v = rd_u8(r);
    r->bad = r->bad || v > last;
    return r->bad ? 0 : v;
}

/* A count within MIN and MAX, or 0 with R bad. Each item takes at least one byte, so a count beyond what is left is a lie. */
static size_t get_count(struct rd *r, size_t min, size_t max) {
    uint16_t n = rd_u16(r);
    if (n < min || n > max || n > rd_left(r))
        r->bad = true;
    return r->bad ? 0 : n;
}

static void put_addr(struct wr *w, const struct addr *a) {
    wr_u16(w, a->family);
    wr_u16(w, a->port);
    wr_bytes(w, a->ip, sizeof(a->ip));
}

static void get_addr(struct rd *r, struct addr *ret) {
    ret->family = rd_u16(r);
    ret->port = rd_u16(r);
    rd_copy(r, ret->ip, sizeof(ret->ip));
    if (ret->family != AF_INET && ret->family != AF_INET6)
        r->bad = true;
    for (size_t i = 4; i < sizeof(ret->ip) && ret->family == AF_INET; i++)
        r->bad = r->bad || ret->ip[i] != 0;
}

static void put_conf_backend(struct wr *w, const struct conf_backend *b) {
    wr_u8(w, (uint8_t)b->kind);
    put_text(w, b->text);
    put_text(w, b->path);
    wr_u16(w, b->port);
    wr_u8(w, b->is_name);
    if (b->kind == BACKEND_TCP && !b->is_name)
        put_addr(w, &b->addr);
}

static void get_backend(struct rd *r, struct conf *c, struct conf_backend *ret) {
    ret->kind = (enum backend_kind)get_choice(r, BACKEND_TCP);
    ret->text = need_text(r, c, 1, TEXT_MAX);
    ret->path = need_text(r, c, 1, ret->kind == BACKEND_TCP ? 255 : CONF_SOCKET_PATH_MAX);
    ret->port = rd_u16(r);
    ret->is_name = get_choice(r, 1);
    if (ret->kind == BACKEND_TCP && !ret->is_name)
        get_addr(r, &ret->addr);
    if ((ret->kind == BACKEND_TCP) != (ret->port != 0) || (ret->kind != BACKEND_TCP && ret->is_name) ||
        (ret->kind == BACKEND_UNIX && ret->path[0] != '/') || ret->addr.port != (ret->is_name ? 0 : ret->port))
        r->bad = true;
}

static void put_cidr(struct wr *w, const struct cidr *n) {
    put_addr(w, &n->net);
    wr_u8(w, n->bits);
}

static void get_cidr(struct rd *r, struct cidr *ret) {
    get_addr(r, &ret->net);
    ret->bits = rd_u8(r);
    size_t width = ret->net.family == AF_INET ? 32 : 128;
    r->bad = r->bad || ret->bits > width || ret->net.port != 0;
    for (size_t bit = ret->bits; bit < width; bit++)
        r->bad = r->bad || (ret->net.ip[bit / 8] >> (7 - bit % 8) & 1);
}

static void put_ids(struct wr *w, const uint16_t *ids, size_t n) {
    wr_u16(w, (uint16_t)n);
    for (size_t i = 0; i < n; i++)
        wr_u16(w, ids[i]);
}

static uint16_t *get_ids(struct rd *r, struct conf *c, size_t max, size_t *ret_n) {
    size_t n = get_count(r, 1, max);
    uint16_t *ids = conf_alloc(c, n * sizeof(*ids));
    for (size_t i = 0; i < n; i++)
        ids[i] = rd_u16(r);
    *ret_n = n;
    return ids;
}

static void put_certs(struct wr *w, const struct conf_service *s) {
    wr_u16(w, (uint16_t)s->ncerts);
    for (size_t i = 0; i < s->ncerts; i++) {
        put_text(w, s->certs[i].cert);
        put_text(w, s->certs[i].key);
        put_text(w, s->certs[i].passphrase);
    }
}

static void get_certs(struct rd *r, struct conf *c, struct conf_service *s) {
    s->ncerts = get_count(r, 0, ITEMS_MAX);
    s->certs = conf_alloc(c, s->ncerts * sizeof(*s->certs));
    for (size_t i = 0; i < s->ncerts && !r->bad; i++) {
        s->certs[i].cert = need_path(r, c);
        s->certs[i].key = get_text(r, c, TEXT_MAX - 1);
        s->certs[i].passphrase = get_text(r, c, TEXT_MAX - 1);
        r->bad = r->bad || (s->certs[i].key && s->certs[i].key[0] != '/') ||
                 (s->certs[i].passphrase && (s->certs[i].passphrase[0] != '/' || !s->certs[i].key));
    }
}

static void put_service_lists(struct wr *w, const struct conf_service *s) {
    put_ids(w, s->listeners, s->nlisteners);
    wr_u16(w, (uint16_t)s->nbackends);
    for (size_t i = 0; i < s->nbackends; i++)
        put_conf_backend(w, &s->backends[i]);
    put_certs(w, s);
    wr_u16(w, (uint16_t)s->nalpn);
    for (size_t i = 0; i < s->nalpn; i++)
        put_text(w, s->alpn[i]);
    put_ids(w, s->suites, s->nsuites);
    put_ids(w, s->groups, s->ngroups);
    wr_u16(w, (uint16_t)s->nclient_allow);
    for (size_t i = 0; i < s->nclient_allow; i++)
        put_text(w, s->client_allow[i]);
    wr_u16(w, (uint16_t)s->nproxy_trust);
    for (size_t i = 0; i < s->nproxy_trust; i++)
        put_cidr(w, &s->proxy_trust[i]);
}

static void get_service_lists(struct rd *r, struct conf *c, struct conf_service *s) {
    s->listeners = get_ids(r, c, CONF_LISTENERS_MAX, &s->nlisteners);
    for (size_t i = 0; i < s->nlisteners; i++)
        r->bad = r->bad || s->listeners[i] >= c->nlisteners;
    s->nbackends = get_count(r, 1, CONF_BACKENDS_MAX);
    s->backends = conf_alloc(c, s->nbackends * sizeof(*s->backends));
    for (size_t i = 0; i < s->nbackends && !r->bad; i++)
        get_backend(r, c, &s->backends[i]);
    get_certs(r, c, s);
    s->nalpn = get_count(r, 0, ITEMS_MAX);
    s->alpn = conf_alloc(c, s->nalpn * sizeof(*s->alpn));
    for (size_t i = 0; i < s->nalpn && !r->bad; i++)
        s->alpn[i] = need_text(r, c, 1, 255);
    s->suites = get_ids(r, c, ITEMS_MAX, &s->nsuites);
    s->groups = get_ids(r, c, ITEMS_MAX, &s->ngroups);
    s->nclient_allow = get_count(r, 0, CONF_CLIENT_RULES_MAX);
    s->client_allow = conf_alloc(c, s->nclient_allow * sizeof(*s->client_allow));
    for (size_t i = 0; i < s->nclient_allow && !r->bad; i++)
        s->client_allow[i] = need_text(r, c, 1, CLIENT_RULE_MAX);
    s->nproxy_trust = get_count(r, 0, ITEMS_MAX);
    s->proxy_trust = conf_alloc(c, s->nproxy_trust * sizeof(*s->proxy_trust));
    for (size_t i = 0; i < s->nproxy_trust && !r->bad; i++)
        get_cidr(r, &s->proxy_trust[i]);
}

static void get_client_auth(struct rd *r, struct conf *c, struct conf_service *s) {
    s->client_auth = (enum client_auth_mode)get_choice(r, CLIENT_AUTH_REQUIRED);
    s->client_ca = get_text(r, c, TEXT_MAX - 1);
    s->client_crl = get_text(r, c, TEXT_MAX - 1);
    s->client_depth = rd_u32(r);
    if ((s->client_auth != CLIENT_AUTH_NONE && !s->client_ca) || (s->client_ca && s->client_ca[0] != '/') ||
        (s->client_crl && s->client_crl[0] != '/') || s->client_depth > CONF_CLIENT_DEPTH_MAX)
        r->bad = true;
}

static void put_service(struct wr *w, const struct conf_service *s) {
    put_text(w, s->name);
    wr_u8(w, (uint8_t)s->mode);
    wr_u16(w, s->min_version);
    wr_u8(w, s->strict_sni);
    wr_u8(w, (uint8_t)s->balance);
    wr_u8(w, (uint8_t)s->truncation);
    wr_u8(w, (uint8_t)s->proxy_send);
    wr_u8(w, (uint8_t)s->proxy_tlvs);
    wr_u8(w, s->proxy_accept);
    wr_u8(w, (uint8_t)s->client_auth);
    put_text(w, s->client_ca);
    put_text(w, s->client_crl);
    wr_u32(w, s->client_depth);
    const uint64_t numbers[] = {s->handshake_ms,
                                s->connect_ms,
                                s->idle_ms,
                                s->linger_ms,
                                s->keepalive_ms,
                                s->half_closed_ms,
                                s->partial_record_ms,
                                s->max_sessions,
                                s->max_sessions_per_client,
                                s->max_handshakes_per_client_per_second,
                                s->max_bytes_per_client};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        wr_u64(w, numbers[i]);
    put_service_lists(w, s);
}

static void get_service(struct rd *r, struct conf *c, struct conf_service *s) {
    s->name = need_text(r, c, 1, SERVICE_LEN_MAX);
    s->mode = (enum service_mode)get_choice(r, MODE_PASSTHROUGH);
    s->min_version = rd_u16(r);
    s->strict_sni = get_choice(r, 1);
    s->balance = (enum balance)get_choice(r, BALANCE_CLIENT_HASH);
    s->truncation = (enum truncation)get_choice(r, TRUNCATION_RESET);
    s->proxy_send = (enum proxy_send)get_choice(r, PROXY_SEND_V2);
    s->proxy_tlvs =
        get_choice(r, TLV_SSL | TLV_AUTHORITY | TLV_ALPN | TLV_UNIQUE_ID | TLV_CRC32C | TLV_CLIENT_CERT | TLV_CLIENT_NAME);
    s->proxy_accept = get_choice(r, 1);
    get_client_auth(r, c, s);
    uint64_t *const numbers[] = {&s->handshake_ms,
                                 &s->connect_ms,
                                 &s->idle_ms,
                                 &s->linger_ms,
                                 &s->keepalive_ms,
                                 &s->half_closed_ms,
                                 &s->partial_record_ms,
                                 &s->max_sessions,
                                 &s->max_sessions_per_client,
                                 &s->max_handshakes_per_client_per_second,
                                 &s->max_bytes_per_client};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        *numbers[i] = rd_u64(r);
    get_service_lists(r, c, s);
    if ((s->min_version != 0x0303 && s->min_version != 0x0304) || (s->mode == MODE_TERMINATE) != (s->ncerts > 0) ||
        (s->proxy_accept && s->nproxy_trust == 0) || s->max_bytes_per_client > CONF_RATE_MAX)
        r->bad = true;
}

static void put_admin(struct wr *w, const struct conf_admin *a) {
    put_text(w, a->socket);
    wr_u8(w, a->socket_given);
    wr_u32(w, a->mode);
    wr_u32(w, a->uid);
    wr_u32(w, a->gid);
    wr_u8(w, a->listen.family != AF_UNSPEC);
    if (a->listen.family != AF_UNSPEC)
        put_addr(w, &a->listen);
}

static void get_admin(struct rd *r, struct conf *c, struct conf_admin *ret) {
    ret->socket = get_text(r, c, CONF_SOCKET_PATH_MAX);
    ret->socket_given = get_choice(r, 1);
    ret->mode = rd_u32(r);
    ret->uid = rd_u32(r);
    ret->gid = rd_u32(r);
    if (get_choice(r, 1))
        get_addr(r, &ret->listen);
    r->bad = r->bad || (ret->socket && (ret->socket[0] != '/' || (ret->mode & ~0666u) || (ret->mode & 0600) != 0600));
}

static void put_conf(struct wr *w, const struct conf *c) {
    wr_u32(w, MAGIC);
    wr_u16(w, FORMAT);
    wr_u32(w, c->workers);
    put_text(w, c->user);
    put_text(w, c->state_dir);
    put_text(w, c->engine);
    wr_u8(w, (uint8_t)c->handshake);
    put_text(w, c->tcp_congestion);
    wr_u32(w, c->busy_poll_us);
    wr_u64(w, c->drain_ms);
    wr_u64(w, c->watch_ms);
    wr_u64(w, c->buffer_memory);
    wr_u64(w, c->handshake_memory);
    put_text(w, c->ticket_secret);
    wr_u8(w, (uint8_t)c->log_target);
    put_text(w, c->log_file);
    wr_u8(w, (uint8_t)c->log_format);
    wr_u8(w, (uint8_t)c->log_level);
    put_admin(w, &c->admin);
    wr_u16(w, (uint16_t)c->nlisteners);
    for (size_t i = 0; i < c->nlisteners; i++)
        put_addr(w, &c->listeners[i]);
    wr_u16(w, (uint16_t)c->nservices);
    for (size_t i = 0; i < c->nservices; i++)
        put_service(w, &c->services[i]);
}

static void get_conf(struct rd *r, struct conf *c) {
    r->bad = r->bad || rd_u32(r) != MAGIC || rd_u16(r) != FORMAT;
    c->workers = rd_u32(r);
    c->user = get_text(r, c, 255);
    c->state_dir = need_path(r, c);
    c->engine = need_text(r, c, 1, 255);
    c->handshake = (enum handshake_path)get_choice(r, HANDSHAKE_AUTO);
    c->tcp_congestion = need_text(r, c, 0, 255);
    c->busy_poll_us = rd_u32(r);
    c->drain_ms = rd_u64(r);
    c->watch_ms = rd_u64(r);
    c->buffer_memory = rd_u64(r);
    c->handshake_memory = rd_u64(r);
    c->ticket_secret = get_text(r, c, TEXT_MAX - 1);
    c->log_target = (enum log_target)get_choice(r, LOG_TO_JOURNAL);
    c->log_file = get_text(r, c, TEXT_MAX - 1);
    c->log_format = (enum log_format)get_choice(r, LOG_AS_LOGFMT);
    c->log_level = (enum log_level)get_choice(r, LOG_LEVEL_DEBUG);
    get_admin(r, c, &c->admin);
    if (c->workers < 1 || c->workers > WORKERS_MAX || c->buffer_memory == 0 || c->handshake_memory == 0 || c->watch_ms < 1000 ||
        c->busy_poll_us > CONF_BUSY_POLL_MAX || (c->log_target == LOG_TO_FILE) != (c->log_file && c->log_file[0] == '/') ||
        (c->ticket_secret && c->ticket_secret[0] != '/'))
        r->bad = true;
    c->nlisteners = get_count(r, 1, CONF_LISTENERS_MAX);
    c->listeners = conf_alloc(c, c->nlisteners * sizeof(*c->listeners));
    for (size_t i = 0; i < c->nlisteners && !r->bad; i++)
        get_addr(r, &c->listeners[i]);
    c->nservices = get_count(r, 1, SERVICES_MAX);
    c->services = conf_alloc(c, c->nservices * sizeof(*c->services));
    for (size_t i = 0; i < c->nservices && !r->bad; i++)
        get_service(r, c, &c->services[i]);
}

int snapshot_parse(struct span bytes, struct conf **ret) {
    struct conf *c = conf_new();
    struct rd r = rd_of(bytes);
    get_conf(&r, c);
    if (!rd_end(&r)) {
        conf_free(c);
        return ERR_FORMAT;
    }
    *ret = c;
    return 0;
}

static int write_span(int fd, struct span s) {
    while (s.len > 0) {
        ssize_t n = write(fd, s.p, s.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_SYSTEM;
        s = span_of(s.p + n, s.len - (size_t)n);
    }
    return 0;
}

static int sealed_memfd(struct span s, int *ret_fd) {
    int fd = memfd_create("tls-off-conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return ERR_SYSTEM;
    if (write_span(fd, s) != 0 || fcntl(fd, F_ADD_SEALS, SEALS) != 0) {
        int saved = errno;
        (void)close(fd); /* memory only */
        errno = saved;
        return ERR_SYSTEM;
    }
    *ret_fd = fd;
    return 0;
}

int snapshot_write(const struct conf *c, int *ret_fd) {
    void *room = malloc(SNAPSHOT_MAX);
    if (!room)
        return ERR_SYSTEM;
    struct wr w = wr_of(room, SNAPSHOT_MAX);
    put_conf(&w, c);
    int err = wr_end(&w) ? sealed_memfd(wr_written(&w), ret_fd) : ERR_LIMIT;
    free(room);
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
