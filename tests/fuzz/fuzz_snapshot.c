/*
 * Bytes as a snapshot, of a build with our keys or with others: what is taken must be whole, so that it can be written, read
 * and written again with the same bytes. Where a snapshot begins with depends on the table of keys: the seed is made here, and
 * never out of date.
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/wr.h"
#include "conf/scalars.h"
#include "conf/snapshot.h"

#define HEAD 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

static void set_lists(struct conf *c, struct conf_service *s) {
    static uint16_t first[] = {0}, ids[] = {0x1301, 0x1302};
    static const char *names[] = {"h2", "cn:a"};
    static struct conf_backend backends[] = {
        {.kind = BACKEND_UNIX, .text = "unix:/a", .path = "/a"},
        {.kind = BACKEND_TCP, .text = "tcp:b:1", .path = "b", .port = 1, .is_name = true},
        {BACKEND_TCP, "tcp:1.2.3.4:5", "1.2.3.4", 5, false, {.family = AF_INET, .port = 5, .ip = {1, 2, 3, 4}}}};
    static struct conf_cert certs[] = {{"/c", "/k", "/p"}, {"/d", NULL, NULL}};
    static struct cidr nets[] = {{{.family = AF_INET, .ip = {10}}, 8}};
    s->listeners = first, s->nlisteners = 1;
    s->suites = s->groups = ids, s->nsuites = s->ngroups = 2;
    s->alpn = names, s->nalpn = 1;
    s->client_allow = names + 1, s->nclient_allow = 1;
    s->backends = backends, s->nbackends = 3;
    s->certs = certs, s->ncerts = 2;
    s->proxy_trust = nets, s->nproxy_trust = 1;
    s->client_ca = "/ca";
    c->log_target = LOG_TO_FILE;
    c->log_file = "/log";
}

/* The bytes of a snapshot with every kind of item. */
static const uint8_t *sample(size_t *ret_len) {
    static uint8_t *bytes;
    static size_t len;
    if (!bytes) {
        struct conf *c = conf_new();
        struct stat st;
        int fd = -1;
        scalar_defaults("", c);
        c->workers = 2;
        c->state_dir = "/s";
        c->buffer_memory = c->handshake_memory = 1 << 20;
        c->admin.socket = "/x";
        c->admin.listen = (struct addr){.family = AF_INET6, .port = 1, .ip = {[15] = 1}};
        c->listeners = conf_alloc(c, sizeof(*c->listeners));
        scalar_defaults("listener.*", c->listeners);
        c->listeners->name = "[::1]:1";
        c->listeners->addr = c->admin.listen;
        c->nlisteners = c->nservices = 1;
        c->services = conf_alloc(c, sizeof(*c->services));
        scalar_defaults("service.*", c->services);
        c->services->name = "web";
        set_lists(c, c->services);
        if (snapshot_write(c, &fd) != 0 || fstat(fd, &st) != 0)
            abort();
        len = (size_t)st.st_size;
        bytes = malloc(len);
        if (!bytes || pread(fd, bytes, len, 0) != (ssize_t)len)
            abort();
        (void)close(fd);
        conf_free(c);
        if (snapshot_parse(span_of(bytes, len), &c, NULL) != 0)
            abort();
        conf_free(c);
    }
    *ret_len = len;
    return bytes;
}

/* Mostly with a head that fits: a quarter of them is of a build with other keys. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    size_t len;
    const uint8_t *from = sample(&len);
    bool is_snapshot = size >= HEAD && memcmp(data, from, 8) == 0;
    if (!is_snapshot && len <= max_size) {
        memcpy(data, from, len);
        return len;
    }
    size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16 && size >= HEAD) {
        struct wr length = wr_of(data + 12, 4);
        memcpy(data, from, 12);
        data[11] ^= seed / 16 % 4 == 0;
        wr_u32(&length, (uint32_t)(size - HEAD));
    }
    return size;
}

/* To be freed. */
static uint8_t *written(struct conf *c, size_t *ret_len) {
    struct stat st;
    int fd = -1;
    if (snapshot_write(c, &fd) != 0 || fstat(fd, &st) != 0)
        abort();
    uint8_t *p = malloc((size_t)st.st_size);
    if (!p || pread(fd, p, (size_t)st.st_size, 0) != st.st_size)
        abort();
    (void)close(fd);
    *ret_len = (size_t)st.st_size;
    return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char line[64];
    struct text why = text_of(line, sizeof(line));
    struct conf *c = NULL, *again = NULL;
    size_t n = 0, m = 0;
    int err = snapshot_parse(span_of(data, size), &c, &why);
    if (err != 0 && err != ERR_FORMAT && err != ERR_UNSUPPORTED)
        abort();
    if (err != 0)
        return 0;
    uint8_t *first = written(c, &n);
    if (snapshot_parse(span_of(first, n), &again, NULL) != 0)
        abort();
    uint8_t *second = written(again, &m);
    if (n != m || memcmp(first, second, n) != 0)
        abort();
    free(first);
    free(second);
    conf_free(c);
    conf_free(again);
    return 0;
}
