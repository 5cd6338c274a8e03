/*
 * What a handshake costs the server, and what each of our savings is worth: see handshake_subject.h for the rows.
 *
 *   handshake_bench [rounds [first]]            the table: microseconds of one handshake, best block and median of the blocks;
 *                                               from variant FIRST on
 *   handshake_bench cold KB [rounds [first]]    the same, with so much other code run before each of the server's steps
 *   handshake_bench VARIANT SCENARIO COUNT      so many handshakes of one kind (numbers as in the table), for callgrind:
 *                                               valgrind --tool=callgrind --toggle-collect=server_work
 *
 * A block is a process of its own, so that no variant is warmed or burdened by another; its result is the median of its
 * handshakes, which keeps out those that were interrupted. The blocks of all variants take turns, so that a machine that
 * changes its speed changes all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "handshake_subject.h"
#include "tls/suite.h"

#define ROUNDS_MAX 99
#define WARM       30
#define HANDSHAKES 150

static const char *const variants[VARIANT_COUNT] = {
    [VARIANT_PLAIN] = "libssl as servers use it (cannot be left)",
    [VARIANT_KEY_LOG] = "with key log (can be left)",
    [VARIANT_ONE_TICKET] = "+ one ticket",
    [VARIANT_TICKET_KEYS] = "+ own ticket keys",
    [VARIANT_FEEDING_BIO] = "+ own BIO, record by record",
    [VARIANT_LEAN_KDF] = "+ lean TLS13-KDF",
    [VARIANT_NO_KEY_LOG] = "+ no key log",
    [VARIANT_PRODUCT] = "src/tls, from the hello to the end",
    [VARIANT_SIGNER] = "the same with a signer",
    [VARIANT_OWN] = "src/tls/hs13, without libssl",
    [VARIANT_PRIMITIVES] = "X25519 and signature alone",
};

static const struct scenario scenarios[] = {
    {"1.3 ECDSA", "EC:P-256", TLS_1_3, false},    {"1.3 resumed", "EC:P-256", TLS_1_3, true},
    {"1.3 RSA-2048", "RSA:2048", TLS_1_3, false}, {"1.2 ECDSA", "EC:P-256", TLS_1_2, false},
    {"1.2 resumed", "EC:P-256", TLS_1_2, true},
};

static size_t cold_kb;

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *list, unsigned n) {
    qsort(list, n, sizeof(*list), by_size);
    return list[n / 2];
}

static double measure(enum variant v, const struct scenario *scenario) {
    double us[HANDSHAKES];
    struct subject *s = subject_new(v, scenario, cold_kb);
    for (int i = 0; i < WARM; i++)
        (void)subject_handshake(s);
    for (int i = 0; i < HANDSHAKES; i++)
        us[i] = (double)subject_handshake(s) / 1000;
    subject_free(s);
    return median(us, HANDSHAKES);
}

/* The result of a block in a process of its own. */
static double block(enum variant v, const struct scenario *scenario) {
    int fds[2], status = 0;
    double us = 0;
    if (pipe(fds) < 0)
        abort();
    pid_t pid = fork();
    if (pid == 0) {
        us = measure(v, scenario);
        _exit(write(fds[1], &us, sizeof(us)) == sizeof(us) ? 0 : 1);
    }
    close(fds[1]);
    ssize_t n = read(fds[0], &us, sizeof(us));
    close(fds[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0 || n != sizeof(us)) {
        fprintf(stderr, "%s, %s: failed\n", variants[v], scenario->name);
        exit(1);
    }
    return us;
}

static void table(unsigned rounds, unsigned first) {
    static double us[VARIANT_COUNT][ARRAY_LEN(scenarios)][ROUNDS_MAX];
    for (unsigned i = 0; i < rounds; i++)
        for (unsigned c = 0; c < ARRAY_LEN(scenarios); c++)
            for (unsigned v = first; v < VARIANT_COUNT; v++)
                us[v][c][i] = !subject_can((enum variant)v, &scenarios[c]) ? 0 : block((enum variant)v, &scenarios[c]);

    printf("microseconds of the server in one handshake: best block (median of %u blocks of %u handshakes)\n", rounds,
           HANDSHAKES);
    printf("%-44s", "");
    for (unsigned c = 0; c < ARRAY_LEN(scenarios); c++)
        printf("%18s", scenarios[c].name);
    for (unsigned v = first; v < VARIANT_COUNT; v++) {
        printf("\n%u %-42s", v, variants[v]);
        for (unsigned c = 0; c < ARRAY_LEN(scenarios); c++) {
            double m = median(us[v][c], rounds);
            printf("%10.1f (%5.1f)", us[v][c][0], m);
        }
    }
    printf("\n");
}

static unsigned number(const char *text, unsigned max) {
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end || n > max) {
        fprintf(stderr, "usage: handshake_bench [cold KB] [rounds (1-%d) [first variant]] | VARIANT SCENARIO COUNT\n",
                ROUNDS_MAX);
        exit(2);
    }
    return (unsigned)n;
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "cold") == 0) {
        cold_kb = number(argv[2], 16384);
        argc -= 2;
        argv += 2;
    } else if (argc == 4) {
        struct subject *s = subject_new((enum variant)number(argv[1], VARIANT_COUNT - 1),
                                        &scenarios[number(argv[2], ARRAY_LEN(scenarios) - 1)], 0);
        for (unsigned n = number(argv[3], 1000000); n > 0; n--)
            (void)subject_handshake(s);
        subject_free(s);
        return 0;
    }
    unsigned first = argc == 3 ? number(argv[2], VARIANT_COUNT - 1) : 0;
    unsigned rounds = argc >= 2 ? number(argv[1], ROUNDS_MAX) : 9;
    table(MAX(rounds, 1u), first);
    return 0;
}
