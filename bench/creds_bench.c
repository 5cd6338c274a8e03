/*
 * What choosing a certificate by name costs: a store of N certificates with two names each (www.hostI.example,
 * *.hostI.example), asked for exact names, for names that a wildcard covers, and for unknown names, in an order that no cache
 * predicts. CPU time of this process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/text.h"
#include "creds/creds_write.h"

#define LOOKUPS 1000000u

static double cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void no_digest(struct span bytes, uint8_t ret[static CREDS_DIGEST_LEN]) {
    (void)bytes;
    memset(ret, 0, CREDS_DIGEST_LEN);
}

static void add(struct creds_writer *w, uint32_t i) {
    static uint8_t der[900]; /* as long as a leaf; distinguished by its beginning */
    char file[64], spki[64], name[64];
    memcpy(der, &i, sizeof(i));
    snprintf(file, sizeof(file), "/certs/host%u.pem", i);
    snprintf(spki, sizeof(spki), "public key %u", i);
    const struct creds_cert chain = {span_of(der, sizeof(der)), 0, INT64_MAX};
    const struct creds_new_entry e = {
        .kind = CREDS_EC_P256,
        .chain = &chain,
        .nchain = 1,
        .spki = span_str(spki),
        .cert_file = file,
        .key_file = file,
        .issuer = "",
        .serial = "",
    };
    uint32_t entry, other;
    MUST(creds_add_entry(w, &e, &entry) == 0);
    snprintf(name, sizeof(name), "www.host%u.example", i);
    MUST(creds_add_name(w, name, &other) == 0);
    snprintf(name, sizeof(name), "*.host%u.example", i);
    MUST(creds_add_name(w, name, &other) == 0);
}

static void run(const struct creds *c, const char *what, const char *format, uint32_t n) {
    static char names[4096][64];
    uint32_t seed = 1, found = 0, chosen[CREDS_SLOTS];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        seed = seed * 1664525u + 1013904223u;
        struct text t = text_of(names[i], sizeof(names[i]));
        text_addf(&t, "%s%u.example", format, (seed >> 8) % n);
    }
    double best = 1e18;
    for (int round = 0; round < 5; round++) {
        double began = cpu_ns();
        for (uint32_t i = 0; i < LOOKUPS; i++)
            found += creds_choose(c, 0, names[i % ARRAY_LEN(names)], chosen) > CREDS_DEFAULT;
        double took = cpu_ns() - began;
        best = took < best ? took : best;
    }
    printf("%-10s %6.0f ns a look-up, best of 5 (%u %% found)\n", what, best / LOOKUPS, found / (5 * (LOOKUPS / 100)));
}

int main(int argc, char **argv) {
    uint64_t n = 10000;
    struct creds c;
    int fd;
    if (argc > 2 || (argc == 2 && text_parse_u64(argv[1], 1000000, &n) < 0) || n == 0) {
        (void)fputs("usage: creds_bench [CERTIFICATES]\n", stderr); /* nowhere left to complain */
        return 2;
    }
    struct creds_writer *w = creds_writer_new();
    MUST(w && creds_add_service(w, "web") == 0);
    for (uint32_t i = 0; i < n; i++)
        add(w, i);
    double began = cpu_ns();
    MUST(creds_seal(w, no_digest, &fd) == 0);
    creds_writer_free(w);
    double sealed = cpu_ns();
    MUST(creds_map(fd, &c) == 0);
    double mapped = cpu_ns();
    printf("%llu certificates: store %zu KB, sealed in %.1f ms, mapped and checked in %.1f ms\n", (unsigned long long)n,
           c.len / 1024, (sealed - began) / 1e6, (mapped - sealed) / 1e6);
    run(&c, "exact", "www.host", (uint32_t)n);
    run(&c, "wildcard", "shop.host", (uint32_t)n);
    run(&c, "no match", "www.other", (uint32_t)n);
    creds_unmap(&c);
    close(fd);
    return 0;
}
