/*
 * What access lists cost: a list of N networks of both families (half of them single addresses, the others of any length, none
 * side by side), as text to a sealed table, and look-ups in an order that no cache predicts, half of them of addresses within a
 * network. A random read of as much memory is measured beside it: it is the floor, and moves with the machine. CPU time.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "access/access_write.h"
#include "base/text.h"

#define LOOKUPS (1u << 20)
#define ROUNDS  5

#define COLD_LOOKUPS   1024u
#define WAITING_ROUNDS 16

static uint64_t seed = 88172645463325252u;

static uint64_t any(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fill(uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(any() >> 24);
}

static struct cidr random_net(bool ipv6) {
    struct cidr c = {.net = {.family = ipv6 ? AF_INET6 : AF_INET}};
    unsigned size = ipv6 ? 128 : 32, bits = any() % 2 ? size : (unsigned)(ipv6 ? 32 + any() % 97 : 24 + any() % 9);
    fill(c.net.ip, size / 8);
    if (ipv6)
        c.net.ip[0] = 0x20; /* 2000::/8 */
    for (unsigned i = bits; i < size; i++)
        c.net.ip[i / 8] &= (uint8_t) ~(0x80u >> i % 8);
    c.bits = (uint8_t)bits;
    return c;
}

static void bad_line(void *ctx, size_t line, const char *why) {
    (void)ctx;
    fprintf(stderr, "line %zu: %s\n", line, why);
    exit(1);
}

/* NETS networks as the text of a file. */
static char *text_of_list(struct cidr *nets, uint32_t n, size_t *ret_len) {
    char *text = malloc((size_t)n * 64), *end = text, ip[ADDR_TEXT_MAX];
    MUST(text);
    for (uint32_t i = 0; i < n; i++) {
        nets[i] = random_net(i % 2);
        end += snprintf(end, 64, "%s/%u\n", addr_ip_text(&nets[i].net, ip), nets[i].bits);
    }
    *ret_len = (size_t)(end - text);
    return text;
}

static void pick(struct addr *clients, uint32_t count, const struct cidr *nets, uint32_t n, bool ipv6) {
    for (uint32_t i = 0; i < count; i++) {
        clients[i] = random_net(ipv6).net;
        if (i % 2)
            clients[i] = nets[(any() % (n / 2)) * 2 + ipv6].net;
        else
            fill(clients[i].ip + 1, ipv6 ? 15 : 3);
    }
}

static void run(const struct access *a, const char *what, const struct cidr *nets, uint32_t n, bool ipv6) {
    static struct addr clients[LOOKUPS];
    double best = 1e18;
    uint32_t denied = 0;
    pick(clients, LOOKUPS, nets, n, ipv6);
    for (int round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < LOOKUPS; i++)
            denied += !access_judge(a, 0, &clients[i]).admitted;
        double took = cpu_ns() - began;
        best = took < best ? took : best;
    }
    printf("%-12s %6.0f ns a look-up, best of %d (%u %% denied)\n", what, best / LOOKUPS, ROUNDS,
           denied / (ROUNDS * (LOOKUPS / 100)));
}

/* Everything that the caches hold is something else's. */
static void chill(void) {
    static uint8_t *other;
    const size_t len = 256u * 1024 * 1024;
    other = other ? other : malloc(len);
    MUST(other);
    for (size_t i = 0; i < len; i += 64)
        other[i]++;
}

/*
 * Each look-up waits for the one before: its address is made of that one's answer. COLD: others have used the caches since the
 * last COUNT look-ups, so that the upper levels are read from memory again, too. The addresses themselves are read before.
 */
static void run_waiting(const struct access *a, const char *what, uint32_t count, const struct cidr *nets, uint32_t n,
                        bool ipv6) {
    bool cold = count == COLD_LOOKUPS;
    struct addr *clients = calloc(count, sizeof(*clients));
    double best = 1e18;
    uint64_t denied = 0;
    MUST(clients);
    for (int round = 0; round < WAITING_ROUNDS; round++) {
        uint32_t list = 0;
        if (cold)
            chill();
        pick(clients, count, nets, n, ipv6);
        double began = cpu_ns();
        for (uint32_t i = 0; i < count; i++) {
            struct addr client = clients[i];
            client.ip[0] ^= (uint8_t)(list & (list + 1)); /* nothing, but only the answer shows it */
            struct access_verdict v = access_judge(a, 0, &client);
            list = v.list;
            denied += !v.admitted;
        }
        double took = cpu_ns() - began;
        best = took < best ? took : best;
    }
    printf("%-12s %6.0f ns a look-up that waits for the one before%s, best of %d (%u %% denied)\n", what, best / count,
           cold ? ", caches cold" : "", WAITING_ROUNDS, (unsigned)(denied * 100 / WAITING_ROUNDS / count));
    free(clients);
}

/* Each read gives the place of the next one. */
static void run_floor(size_t len) {
    size_t n = len / 64;
    uint32_t(*lines)[16] = aligned_alloc(64, n * 64), *order = malloc(n * sizeof(*order)), at = 0;
    MUST(lines && order && n > 1);
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = n - 1; i > 0; i--) {
        size_t k = any() % i;
        uint32_t swapped = order[i];
        order[i] = order[k];
        order[k] = swapped;
    }
    for (size_t i = 0; i < n; i++)
        lines[order[i]][0] = order[(i + 1) % n];
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < LOOKUPS; i++)
            at = lines[at][0];
        double took = cpu_ns() - began;
        best = took < best ? took : best;
    }
    printf("%-12s %6.0f ns a read that waits for the one before (%u)\n", "floor", best / LOOKUPS, at & 1);
    free(lines);
    free(order);
}

int main(int argc, char **argv) {
    uint64_t n = 1000000;
    size_t len;
    if (argc > 2 || (argc == 2 && text_parse_u64(argv[1], NETLIST_MAX, &n) < 0) || n < 2) {
        (void)fputs("usage: access_bench [NETWORKS]\n", stderr); /* nowhere left to complain */
        return 2;
    }
    struct cidr *nets = calloc(n, sizeof(*nets));
    MUST(nets);
    char *text = text_of_list(nets, (uint32_t)n, &len);
    struct access_writer *w = access_writer_new();
    struct netlist l;
    struct access a;
    uint32_t list;
    int fd;
    netlist_init(&l);
    double began = cpu_ns();
    MUST(netlist_read(&l, span_of(text, len), bad_line, NULL) == 0);
    double was_read = cpu_ns();
    MUST(w && access_add_service(w) == 0 && access_add_list(w, &(struct access_list){.file = "list"}, &l, &list) == 0 &&
         access_use_list(w, list, true) == 0 && access_seal(w, &fd) == 0);
    double sealed = cpu_ns();
    MUST(access_map(fd, &a) == 0);
    double mapped = cpu_ns();
    access_writer_free(w);
    netlist_fini(&l);
    free(text);
    printf(
        "%llu networks: %.1f MiB of text, table %.1f MiB; read in %.0f ms, sealed in %.0f ms, mapped and checked in %.3f ms\n",
        (unsigned long long)n, (double)len / 1048576, (double)a.len / 1048576, (was_read - began) / 1e6,
        (sealed - was_read) / 1e6, (mapped - sealed) / 1e6);
    run(&a, "IPv4", nets, (uint32_t)n, false);
    run(&a, "IPv6", nets, (uint32_t)n, true);
    for (int cold = 0; cold < 2; cold++) {
        run_waiting(&a, "IPv4", cold ? COLD_LOOKUPS : LOOKUPS, nets, (uint32_t)n, false);
        run_waiting(&a, "IPv6", cold ? COLD_LOOKUPS : LOOKUPS, nets, (uint32_t)n, true);
    }
    run_floor(a.len);
    access_unmap(&a);
    close(fd);
    free(nets);
    return 0;
}
