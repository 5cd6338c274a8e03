#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/err.h"
#include "shm/stats_clients.h"
#include "shm/stats_layout.h"
#include "shm/stats_read.h"

static int fd;
static struct stats_reader reader;
static struct stats_sums sums;
static struct stats_clients clients;

static int open_all(void **state) {
    if (stats_create(&fd) < 0)
        return -1;
    return stats_reader_open(fd, &reader);
}

static int close_all(void **state) {
    stats_reader_close(&reader);
    stats_sums_free(&sums);
    stats_clients_free(&clients);
    close(fd);
    return 0;
}

static struct stats_page open_page(enum role role, uint16_t index, unsigned parity) {
    struct stats_page p;
    assert_int_equal(stats_open(fd, role, index, parity, &p), 0);
    return p;
}

static struct stats_block *block(struct stats_page *p, enum stats_kind kind, const char *service, const char *name) {
    return stats_block(p, kind, span_str(service), span_str(name));
}

static const struct stats_row *row(enum stats_kind kind, const char *service, const char *name) {
    assert_int_equal(stats_sums_read(&reader, &sums), 0);
    return stats_sums_find(&sums, kind, service, name);
}

static size_t pages_in_use(void) {
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (size_t)st.st_blocks / 8;
}

static struct sketch_ref address(struct stats_page *p, uint32_t n, uint64_t bytes) {
    struct addr a = {.family = AF_INET};
    memcpy(a.ip, &n, 4);
    uint8_t key[16];
    addr_client_key(&a, key);
    struct sketch_ref ref = sketch_find(&p->clients, span_of(key, 16));
    sketch_add(&p->clients, ref, SKETCH_BYTES_IN, bytes);
    return ref;
}

/* Another process goes on while this one reads: at the reader's first call for memory. */
static struct stats_page *meanwhile;
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);

void *__wrap_realloc(void *p, size_t size) {
    struct stats_page *writer = meanwhile;
    meanwhile = NULL;
    for (uint32_t n = 0; writer && n < 2 * STATS_CLIENTS; n++)
        address(writer, n + 100, 10);
    return __real_realloc(p, size);
}

static void starts_empty_and_costs_next_to_nothing(void **state) {
    assert_null(row(STATS_SERVICE, "web", ""));
    assert_int_equal(sums.nprocesses, 0);
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_int_equal(clients.n, 0);
    assert_true(pages_in_use() <= 2);
    struct stats_page p = open_page(ROLE_RELAY, 3, 1);
    stats_add(block(&p, STATS_SERVICE, "web", ""), STATS_BYTES_IN, 1);
    assert_int_equal(stats_sums_read(&reader, &sums), 0);
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_true(pages_in_use() <= 16);
    stats_close(&p);
}

static void labels_are_added_up_over_processes(void **state) {
    struct stats_page a = open_page(ROLE_RELAY, 0, 0), b = open_page(ROLE_RELAY, 1, 0), c = open_page(ROLE_HANDSHAKER, 0, 1);
    stats_add(block(&a, STATS_SERVICE, "web", ""), STATS_BYTES_IN, 100);
    stats_add(block(&b, STATS_SERVICE, "web", ""), STATS_BYTES_IN, 11);
    stats_add(block(&b, STATS_SERVICE, "api", ""), STATS_BYTES_IN, 5);
    stats_add(block(&c, STATS_SERVICE, "web", ""), STATS_HANDSHAKES_FULL, 7);
    stats_add(block(&b, STATS_BACKEND, "web", "unix:/run/app.sock"), STATS_SESSIONS, 2);
    stats_observe(block(&a, STATS_SERVICE, "web", ""), STATS_CONNECT_US, 20);
    stats_observe(block(&b, STATS_SERVICE, "web", ""), STATS_CONNECT_US, 3000);
    const struct stats_row *r = row(STATS_SERVICE, "web", "");
    assert_int_equal(r->values[STATS_BYTES_IN], 111);
    assert_int_equal(r->values[STATS_HANDSHAKES_FULL], 7);
    assert_int_equal(r->hists[STATS_CONNECT_US].count, 2);
    assert_int_equal(r->hists[STATS_CONNECT_US].sum, 3020);
    assert_int_equal(r->hists[STATS_FIRST_BYTE_US].count, 0);
    assert_int_equal(row(STATS_SERVICE, "api", "")->values[STATS_BYTES_IN], 5);
    assert_int_equal(row(STATS_BACKEND, "web", "unix:/run/app.sock")->values[STATS_SESSIONS], 2);
    assert_int_equal(sums.nrows, 3);
    assert_int_equal(sums.nprocesses, 3);
    assert_string_equal(sums.rows[0].service, "api"); /* sorted */
    stats_close(&a);
    stats_close(&b);
    stats_close(&c);
}

static void a_successor_goes_on_and_gauges_begin_again(void **state) {
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    struct stats_block *b = block(&p, STATS_SERVICE, "web", "");
    stats_add(b, STATS_BYTES_OUT, 40);
    stats_change(b, STATS_SESSIONS_NOW, 3);
    stats_change(b, STATS_SESSIONS_NOW, -1);
    stats_process_set(&p, STATS_QUEUE, 9);
    stats_process_add(&p, STATS_ACCEPTED, 9);
    sketch_live(&p.clients, address(&p, 1, 70), 1);
    assert_int_equal(row(STATS_SERVICE, "web", "")->values[STATS_SESSIONS_NOW], 2);
    stats_close(&p);

    p = open_page(ROLE_RELAY, 0, 0);
    const struct stats_row *r = row(STATS_SERVICE, "web", "");
    assert_int_equal(r->values[STATS_SESSIONS_NOW], 0);
    assert_int_equal(r->values[STATS_BYTES_OUT], 40);
    assert_int_equal(sums.processes[0].values[STATS_QUEUE], 0);
    assert_int_equal(sums.processes[0].values[STATS_ACCEPTED], 9);
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_int_equal(clients.rows[0].values[SKETCH_SESSIONS_NOW], 0);
    assert_int_equal(clients.rows[0].values[SKETCH_BYTES_IN], 70);
    stats_add(block(&p, STATS_SERVICE, "web", ""), STATS_BYTES_OUT, 2);
    assert_int_equal(row(STATS_SERVICE, "web", "")->values[STATS_BYTES_OUT], 42);
    assert_int_equal(sums.nrows, 1); /* found again, not made again */
    stats_close(&p);
}

static void the_dead_have_nothing_now(void **state) {
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    stats_add(block(&p, STATS_SERVICE, "web", ""), STATS_BYTES_OUT, 40);
    stats_change(block(&p, STATS_SERVICE, "web", ""), STATS_SESSIONS_NOW, 3);
    stats_publish_self(&p);
    assert_int_equal(stats_sums_read(&reader, &sums), 0);
    assert_true(sums.processes[0].values[STATS_RSS_BYTES] > 100000);
    stats_close(&p);
    assert_int_equal(stats_release(fd, ROLE_RELAY, 0, 0), 0);
    const struct stats_row *r = row(STATS_SERVICE, "web", "");
    assert_int_equal(r->values[STATS_SESSIONS_NOW], 0);
    assert_int_equal(r->values[STATS_BYTES_OUT], 40);
    assert_int_equal(sums.processes[0].values[STATS_RSS_BYTES], 0);
}

static void cpu_time_goes_on_over_processes(void **state) {
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    assert_int_equal(stats_sums_read(&reader, &sums), 0);
    uint64_t first = sums.processes[0].values[STATS_CPU_US];
    stats_close(&p);
    p = open_page(ROLE_RELAY, 0, 0);
    assert_int_equal(stats_sums_read(&reader, &sums), 0);
    assert_true(sums.processes[0].values[STATS_CPU_US] >= 2 * first); /* the same process twice counts as two */
    stats_close(&p);
}

static void a_gauge_does_not_fall_below_nothing(void **state) {
    struct stats_page p;
    assert_int_equal(stats_open_private(&p), 0);
    struct stats_block *b = block(&p, STATS_SERVICE, "web", "");
    stats_change(b, STATS_SESSIONS_NOW, -1);
    assert_int_equal(b->values[STATS_SESSIONS_NOW], 0);
    stats_close(&p);
}

static void too_many_labels_count_as_others(void **state) {
    struct stats_page p = open_page(ROLE_HANDSHAKER, 0, 0);
    uint64_t n = 0;
    for (; n < 3000; n++) {
        char name[32];
        snprintf(name, sizeof(name), "host-%u.example", (unsigned)n);
        stats_add(block(&p, STATS_NAME, "web", name), STATS_HANDSHAKES_FULL, 1);
    }
    uint64_t others = row(STATS_NAME, "", STATS_OTHER)->values[STATS_HANDSHAKES_FULL];
    assert_int_equal(row(STATS_NAME, "web", "host-0.example")->values[STATS_HANDSHAKES_FULL], 1);
    uint64_t sum = 0;
    for (size_t i = 0; i < sums.nrows; i++)
        sum += sums.rows[i].values[STATS_HANDSHAKES_FULL];
    assert_int_equal(sum, n);
    assert_int_equal(others, n - (sums.nrows - 1));
    assert_true(sums.nrows > 100 && sums.nrows < 2000);
    stats_close(&p);
    p = open_page(ROLE_HANDSHAKER, 0, 0); /* all of them are found again */
    stats_add(block(&p, STATS_NAME, "web", "host-0.example"), STATS_HANDSHAKES_FULL, 1);
    stats_add(block(&p, STATS_NAME, "web", "host-2999.example"), STATS_HANDSHAKES_FULL, 1);
    assert_int_equal(row(STATS_NAME, "web", "host-0.example")->values[STATS_HANDSHAKES_FULL], 2);
    assert_int_equal(row(STATS_NAME, "", STATS_OTHER)->values[STATS_HANDSHAKES_FULL], others + 1);
    stats_close(&p);
}

static void long_names_are_cut(void **state) {
    char name[600];
    memset(name, 'n', sizeof(name));
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    struct stats_block *a = stats_block(&p, STATS_NAME, span_of(name, 600), span_of(name, 600));
    struct stats_block *b = stats_block(&p, STATS_NAME, span_of(name, 64), span_of(name, 255));
    assert_ptr_equal(a, b);
    assert_ptr_equal(stats_at(&p, stats_handle(&p, a)), a);
    stats_close(&p);
}

static void buckets_have_no_gap(void **state) {
    assert_int_equal(stats_bucket_of(0), 0);
    for (unsigned i = 0; i + 1 < STATS_BUCKETS; i++) {
        uint64_t bound = stats_bucket_bound(i);
        assert_int_equal(stats_bucket_of(bound), i);
        assert_int_equal(stats_bucket_of(bound + 1), i + 1);
    }
    assert_true(stats_bucket_bound(STATS_BUCKETS - 2) > 60 * 1000000);
    assert_int_equal(stats_bucket_bound(STATS_BUCKETS - 1), UINT64_MAX);
    assert_int_equal(stats_bucket_of(UINT64_MAX), STATS_BUCKETS - 1);
}

static void quantiles_are_upper_bounds(void **state) {
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    for (unsigned us = 1; us <= 1000; us++)
        stats_observe(block(&p, STATS_SERVICE, "web", ""), STATS_CONNECT_US, us);
    const struct stats_hist_row *h = &row(STATS_SERVICE, "web", "")->hists[STATS_CONNECT_US];
    assert_int_equal(stats_quantile(h, 0.5), 512);
    assert_int_equal(stats_quantile(h, 0.99), 1024);
    assert_int_equal(stats_quantile(&(struct stats_hist_row){0}, 0.5), 0);
    stats_close(&p);
}

static void clients_are_merged(void **state) {
    struct stats_page a = open_page(ROLE_RELAY, 0, 0), b = open_page(ROLE_RELAY, 1, 0), h = open_page(ROLE_HANDSHAKER, 0, 0);
    address(&a, 0x01020304, 100);
    sketch_live(&b.clients, address(&b, 0x01020304, 50), 1);
    address(&b, 0x05060708, 3);
    struct sketch_ref ref = address(&h, 0x01020304, 0);
    sketch_add(&h.clients, ref, SKETCH_HANDSHAKES, 1);
    sketch_live(&h.clients, ref, 1);
    ref = sketch_find(&a.names, span_str("spiffe://example/one"));
    sketch_add(&a.names, ref, SKETCH_BYTES_OUT, 60);
    struct addr six = {.family = AF_INET6, .ip = {0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9}};
    uint8_t key[16];
    addr_client_key(&six, key);
    sketch_add(&a.clients, sketch_find(&a.clients, span_of(key, 16)), SKETCH_BYTES_IN, 7);

    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_int_equal(clients.n, 4);
    assert_string_equal(clients.rows[0].name, "4.3.2.1");
    assert_int_equal(clients.rows[0].values[SKETCH_BYTES_IN], 150);
    assert_int_equal(clients.rows[0].values[SKETCH_SESSIONS_NOW], 1);
    assert_int_equal(clients.rows[0].values[SKETCH_HANDSHAKES], 1);
    assert_int_equal(clients.rows[0].handshaking, 1);
    assert_int_equal(clients.rows[0].error, 0);
    assert_true(clients.rows[0].since_wall_us > 0);
    assert_string_equal(clients.rows[1].name, "spiffe://example/one");
    assert_true(clients.rows[1].verified);
    assert_string_equal(clients.rows[2].name, "2001:db8:0:1::/64");
    stats_close(&a);
    stats_close(&b);
    stats_close(&h);
}

static struct sketch_ref named(struct stats_page *p, const char *name, enum sketch_value v, uint64_t by) {
    uint8_t key[SKETCH_KEY_MAX];
    struct sketch_ref ref = sketch_find(&p->names, sketch_name_key(&p->names, span_str(name), key));
    sketch_add(&p->names, ref, v, by);
    return ref;
}

static const struct stats_client *client(const char *name) {
    for (size_t i = 0; i < clients.n; i++)
        if (strcmp(clients.rows[i].name, name) == 0)
            return &clients.rows[i];
    return NULL;
}

/* While a reading is under way, relay 1 gives up clients: its floor rises. */
static void a_floor_that_rises_makes_no_error_below_nothing(void **state) {
    struct stats_page a = open_page(ROLE_RELAY, 0, 0), b = open_page(ROLE_RELAY, 1, 0);
    address(&a, 1, 1);
    sketch_live(&b.clients, address(&b, 2, 1000), 1);
    meanwhile = &b; /* the first row, of relay 0, calls for memory */
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_null(meanwhile);
    assert_true(clients.floor > 0);
    assert_string_equal(clients.rows[0].name, "2.0.0.0");
    for (size_t i = 0; i < clients.n; i++)
        assert_true(clients.rows[i].error <= 2 * clients.floor);
    stats_close(&a);
    stats_close(&b);
}

/* What handshakers and relays count of a name comes together, also of one that is longer than a place. */
static void names_are_merged_over_roles(void **state) {
    struct stats_page r = open_page(ROLE_RELAY, 0, 0), g = open_page(ROLE_HANDSHAKER, 0, 0),
                      h = open_page(ROLE_HANDSHAKER, 1, 1);
    char name[301];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = 0;
    named(&r, name, SKETCH_BYTES_IN, 70);
    named(&g, name, SKETCH_HANDSHAKES, 3);
    named(&g, name, SKETCH_FULL, 2);
    named(&g, name, SKETCH_FAILED, 1);
    named(&h, name, SKETCH_HANDSHAKES, 5);
    named(&h, name, SKETCH_RESUMED, 5);
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_int_equal(clients.n, 1);
    const struct stats_client *c = &clients.rows[0];
    assert_true(c->verified);
    assert_int_equal(c->values[SKETCH_BYTES_IN], 70);
    assert_int_equal(c->values[SKETCH_HANDSHAKES], 8);
    assert_int_equal(c->values[SKETCH_FULL], 2);
    assert_int_equal(c->values[SKETCH_RESUMED], 5);
    assert_int_equal(c->values[SKETCH_FAILED], 1);
    assert_int_equal(c->error + c->error_handshakes, 0);
    stats_close(&r);
    stats_close(&g);
    stats_close(&h);
}

/* Of two handshakers one tracks the name from the first handshake on, the other had too many others meanwhile. */
static void handshakes_have_an_error_of_their_own(void **state) {
    struct stats_page r = open_page(ROLE_RELAY, 0, 0), g = open_page(ROLE_HANDSHAKER, 0, 0),
                      h = open_page(ROLE_HANDSHAKER, 1, 0);
    named(&r, "robot", SKETCH_BYTES_IN, 1000);
    named(&g, "robot", SKETCH_HANDSHAKES, 2);
    for (unsigned i = 0; i < 3; i++)
        named(&h, "robot", SKETCH_HANDSHAKES, 1);
    for (unsigned i = 0; i < 4 * STATS_CLIENT_NAMES; i++) {
        char other[32];
        snprintf(other, sizeof(other), "robot-%u", i % (2 * STATS_CLIENT_NAMES));
        named(&h, other, SKETCH_HANDSHAKES, 1);
    }
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    const struct stats_client *c = client("robot");
    assert_int_equal(c->error, 0);
    assert_true(c->values[SKETCH_HANDSHAKES] == 2 || c->values[SKETCH_HANDSHAKES] == 5);
    assert_true(c->values[SKETCH_HANDSHAKES] + c->error_handshakes >= 5);
    assert_true(c->error_handshakes <= 2 * (4 * STATS_CLIENT_NAMES + 3) / STATS_CLIENT_NAMES);
    assert_int_equal(clients.floor, 0); /* of bytes: relays have given nobody up */
    assert_true(clients.evicted >= STATS_CLIENT_NAMES);

    for (unsigned i = 0; i < 2 * STATS_CLIENT_NAMES; i++) { /* now the relay, too */
        char other[32];
        snprintf(other, sizeof(other), "robot-%u", i);
        named(&r, other, SKETCH_BYTES_OUT, 40);
    }
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_true(clients.floor >= 40 && clients.floor <= 2 * (1000 + 80 * STATS_CLIENT_NAMES) / STATS_CLIENT_NAMES);
    assert_int_equal(client("robot")->values[SKETCH_BYTES_IN], 1000);
    stats_close(&r);
    stats_close(&g);
    stats_close(&h);
}

/* 1,000,000 addresses, each of which says a little, and one that says much. */
static void a_million_clients_stay_within_the_memory(void **state) {
    struct stats_page a = open_page(ROLE_RELAY, 0, 0), b = open_page(ROLE_RELAY, 1, 0);
    struct sketch_ref big = address(&b, UINT32_MAX, 0);
    size_t full = 0;
    uint64_t total = 0;
    for (uint32_t n = 0; n < 1000000; n++) {
        struct stats_page *p = n % 2 ? &a : &b;
        sketch_live(&p->clients, address(p, n, 100), n % 100 ? 0 : 1); /* 0 = it is over already */
        total += 100;
        if (n % 1000 == 0) {
            if (!sketch_holds(&b.clients, big))
                big = address(&b, UINT32_MAX, 0);
            sketch_add(&b.clients, big, SKETCH_BYTES_OUT, 50000);
            total += 50000;
        }
        if (n == 20000)
            full = pages_in_use();
    }
    assert_int_equal(pages_in_use(), full); /* not a page more */
    assert_true(full < 600);
    assert_int_equal(stats_clients_read(&reader, &clients), 0);
    assert_true(clients.n <= 2 * STATS_CLIENTS);
    assert_string_equal(clients.rows[0].name, "255.255.255.255");
    assert_true(clients.rows[0].values[SKETCH_BYTES_OUT] + clients.rows[0].error >= 50000000);
    assert_true(clients.rows[0].error <= 2 * total / STATS_CLIENTS);
    assert_true(clients.floor <= 2 * total / STATS_CLIENTS);
    assert_true(clients.evicted > 900000);
    stats_close(&a);
    stats_close(&b);
}

static void what_is_no_stats_memfd_is_refused(void **state) {
    struct stats_page p;
    struct stats_reader r;
    int other = memfd_create("x", MFD_ALLOW_SEALING);
    assert_int_equal(stats_open(other, ROLE_RELAY, 0, 0, &p), ERR_FORMAT);
    assert_int_equal(ftruncate(other, (off_t)STATS_SIZE), 0);
    assert_int_equal(stats_open(other, ROLE_RELAY, 0, 0, &p), ERR_FORMAT); /* not sealed */
    assert_int_equal(fcntl(other, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(stats_open(other, ROLE_RELAY, 0, 0, &p), ERR_FORMAT); /* no head */
    struct stats_head head = {.magic = STATS_MAGIC, .layout = stats_layout() + 1};
    assert_int_equal(pwrite(other, &head, sizeof(head), 0), sizeof(head));
    assert_int_equal(stats_open(other, ROLE_RELAY, 0, 0, &p), ERR_FORMAT); /* of another binary */
    assert_int_equal(stats_reader_open(other, &r), ERR_FORMAT);
    close(other);
    assert_int_equal(stats_open(fd, ROLE_RELAY, STATS_INDEX_MAX, 0, &p), ERR_LIMIT);
}

/* A writer that was taken over may write anything. */
static void readers_and_successors_believe_nothing(void **state) {
    struct stats_page p = open_page(ROLE_RELAY, 0, 0);
    block(&p, STATS_SERVICE, "web", "");
    address(&p, 1, 1);
    uint8_t *area = (uint8_t *)p.area;
    uint64_t seed = 99;
    for (unsigned round = 0; round < 30; round++) {
        for (size_t i = 0; i < STATS_AREA_SIZE; i += 1 + seed % (round % 2 ? 7 : 61)) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            area[i] = round % 3 ? (uint8_t)(seed >> 56) : 0xff;
        }
        assert_int_equal(stats_sums_read(&reader, &sums), 0);
        assert_int_equal(stats_clients_read(&reader, &clients), 0);
        struct stats_page next = open_page(ROLE_RELAY, 0, 0);
        stats_add(block(&next, STATS_SERVICE, "web", ""), STATS_BYTES_IN, 1);
        address(&next, 7, 1);
        assert_int_equal(stats_sums_read(&reader, &sums), 0);
        stats_close(&next);
    }
    stats_close(&p);
}

/* What Prometheus' conventions ask of a name: snake_case, the base unit at the end, no "total" of our own. */
static void assert_conventional(const struct stats_metric *m) {
    static const char *const bad[] = {"total", "count", "sum", "bucket", "info", "ms", "us", "milliseconds", "microseconds"};
    const char *last = strrchr(m->name, '_');
    assert_int_equal(strspn(m->name, "abcdefghijklmnopqrstuvwxyz_"), strlen(m->name));
    assert_true(m->name[0] != '_' && (!last || last[1]));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_string_not_equal(last ? last + 1 : m->name, bad[i]);
    const char *unit = strstr(m->name, "_bytes") ? strstr(m->name, "_bytes") : strstr(m->name, "_seconds");
    assert_true(!unit || unit == last);
    assert_true(m->help[0] >= '0' && m->help[0] <= 'Z' && m->help[strlen(m->help) - 1] == '.');
    assert_int_equal(m->label[0] == '\0', m->label_value[0] == '\0');
}

/* Rows of one name are one family: they stand together, and only the value of their label differs. */
static void assert_families(const struct stats_metric *table, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!table[i].name[0])
            continue;
        assert_conventional(&table[i]);
        for (size_t j = i + 1; j < n; j++) {
            const struct stats_metric *a = &table[i], *b = &table[j];
            if (strcmp(a->name, b->name) != 0)
                continue;
            assert_string_equal(table[j - 1].name, b->name);
            assert_true(a->type == b->type && a->kinds == b->kinds && a->scale == b->scale);
            assert_string_equal(a->help, b->help);
            assert_string_equal(a->label, b->label);
            assert_string_not_equal(a->label_value, b->label_value);
        }
    }
}

static void metrics_follow_the_conventions(void **state) {
    assert_families(stats_values, STATS_VALUE_COUNT);
    assert_families(stats_processes, STATS_PROCESS_COUNT);
    for (unsigned h = 0; h < STATS_HIST_COUNT; h++) {
        assert_conventional(&stats_hists[h]);
        for (unsigned k = 0; k < STATS_KIND_COUNT; k++)
            assert_true(!(stats_hists[h].kinds & STATS_IN(k)) || stats_kinds[k].hists);
    }
}

int main(void) {
#define CASE(f) cmocka_unit_test_setup_teardown(f, open_all, close_all)
    const struct CMUnitTest tests[] = {
        CASE(starts_empty_and_costs_next_to_nothing),
        CASE(labels_are_added_up_over_processes),
        CASE(a_successor_goes_on_and_gauges_begin_again),
        CASE(the_dead_have_nothing_now),
        CASE(cpu_time_goes_on_over_processes),
        CASE(a_gauge_does_not_fall_below_nothing),
        CASE(too_many_labels_count_as_others),
        CASE(long_names_are_cut),
        CASE(buckets_have_no_gap),
        CASE(quantiles_are_upper_bounds),
        CASE(clients_are_merged),
        CASE(a_floor_that_rises_makes_no_error_below_nothing),
        CASE(names_are_merged_over_roles),
        CASE(handshakes_have_an_error_of_their_own),
        CASE(a_million_clients_stay_within_the_memory),
        CASE(what_is_no_stats_memfd_is_refused),
        CASE(readers_and_successors_believe_nothing),
        CASE(metrics_follow_the_conventions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
