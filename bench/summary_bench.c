/*
 * What sharing clients costs an instance a second: its summary of CLIENTS clients, the answer of the store with OTHERS
 * summaries of the same size, and one look at the table. CPU time of this process; the least of ROUNDS rounds.
 *
 *   summary_bench [CLIENTS [OTHERS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "observer/instances.h"
#include "observer/stats_view.h"
#include "observer/summary_seal.h"

#define ROUNDS 9
#define LOOKS  200000u

static struct stats_view view;
static struct instances here, there;
static struct scoreboard board;
static struct buf answer;
static uint8_t key[32];
static struct summary_seal seal;

static double cpu_us(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* cannot fail with these arguments */
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void make_clients(size_t n) {
    struct stats_clients *c = &view.clients;
    c->rows = calloc(n, sizeof(*c->rows));
    MUST(c->rows);
    c->n = c->cap = n;
    for (size_t i = 0; i < n; i++) {
        struct stats_client *row = &c->rows[i];
        (void)snprintf(row->name, sizeof(row->name), "10.%zu.%zu.%zu", i >> 16, i >> 8 & 255, i & 255);
        MUST(addr_client_parse(row->name, row->key) == 0);
        for (unsigned v = 0; v < SKETCH_VALUES; v++)
            row->values[v] = (i * 2654435761u >> (v % 8)) % 1000000;
        row->values[SKETCH_SESSIONS_NOW] = 1 + i % 7;
    }
}

/* A second of traffic, so that rates are no zeros. */
static void move(uint64_t now_ms) {
    for (size_t i = 0; i < view.clients.n; i++) {
        view.clients.rows[i].values[SKETCH_BYTES_IN] += 1000 + i;
        view.clients.rows[i].values[SKETCH_BYTES_OUT] += 100000 + i;
        view.clients.rows[i].values[SKETCH_LIMITED] += 101000;
        view.clients.rows[i].let_in += 2;
    }
    stats_view_second(&view, now_ms);
}

static void fill_answer(unsigned others, uint64_t now_ms) {
    uint8_t head[4];
    buf_init(&answer, 256u << 20);
    for (unsigned i = 0; i <= others; i++) {
        struct wr w = wr_of(head, sizeof(head));
        if (i > 0)
            instances_init(&there, 1000 + i, &seal);
        const struct buf *own = i > 0 ? instances_write_own(&there, &view, now_ms) : NULL;
        struct span sealed = own ? summary_seal_close(&seal, 1000 + i, buf_span(own)) : span_of(NULL, 0);
        wr_u32(&w, i > 0 ? (uint32_t)sealed.len : others + 1);
        MUST(buf_append(&answer, head, sizeof(head)) == 0);
        if (i == 0)
            continue;
        MUST(buf_append(&answer, sealed.p, sealed.len) == 0);
        instances_fini(&there);
    }
}

/* Nanoseconds of one look at the sessions of a client. */
static double look(bool fleet, uint64_t now_ms) {
    struct addr a = {.family = AF_INET, .ip = {10, 0, 0, 0}};
    unsigned over = 0;
    double begin = cpu_us();
    for (unsigned i = 0; i < LOOKS; i++) {
        a.ip[3] = (uint8_t)i;
        over += scoreboard_client_over(&board, &a, (struct scoreboard_limit){1u << 30, fleet}, now_ms);
    }
    MUST(over == 0);
    return (cpu_us() - begin) * 1000 / LOOKS;
}

int main(int argc, char **argv) {
    uint64_t clients = 1000, others = 10, now_ms = 100000;
    int fd;
    if ((argc > 1 && text_parse_u64(argv[1], 1000000, &clients) < 0) ||
        (argc > 2 && text_parse_u64(argv[2], 1000, &others) < 0))
        return 2;
    MUST(stats_view_init(&view, -1) && scoreboard_create(2, 1, &fd) == 0 && scoreboard_map(fd, 0, &board) == 0 &&
         scoreboard_open_peers(&board, fd) == 0);
    seal = (struct summary_seal){.seal.key = key, .name = "clients/c"};
    buf_init(&seal.out, SUMMARY_SEALED_MAX);
    instances_init(&here, 1, &seal);
    make_clients(clients);
    double own = 1e12, all = 1e12, local = 1e12, fleet = 1e12;
    for (unsigned round = 0; round < ROUNDS; round++) {
        move(now_ms += 1000);
        double begin = cpu_us();
        const struct buf *summary = instances_write_own(&here, &view, now_ms);
        MUST(summary);
        MUST(summary_seal_close(&seal, 1, buf_span(summary)).len);
        own = MIN(own, cpu_us() - begin);
        fill_answer((unsigned)others, now_ms);
        begin = cpu_us();
        instances_answer(&here, buf_span(&answer), &view, &board, now_ms);
        all = MIN(all, cpu_us() - begin);
        buf_fini(&answer);
        local = MIN(local, look(false, now_ms));
        fleet = MIN(fleet, look(true, now_ms));
    }
    printf("%zu clients: a summary of %zu entries, %zu bytes, %.0f us of CPU\n", (size_t)clients, here.own.entries,
           buf_len(&here.own.bytes), own);
    printf("an answer of %zu others: %.0f us of CPU, %.0f each; %zu networks in a table of %zu bytes\n", (size_t)others, all,
           others ? all / (double)others : 0, (size_t)here.networks, sizeof(struct peers_table));
    printf("a look at a client's sessions: %.0f ns, with the other instances %.0f ns\n", local, fleet);
    return 0;
}
