/*
 * A long path between two TUN devices, for kernels without netem: each packet is passed on DELAY_MS after it came, and at
 * most at the rate of the link. Packets that find more than the queue holds are dropped.
 *
 *     delay_link FD FD DELAY_MS MBIT      (devices opened and configured by the caller; ends when it is killed)
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX 65536
#define QUEUE      8192 /* packets under way each way */
#define BATCH      64

struct packet {
    uint64_t due_ns;
    size_t len;
    uint8_t *bytes;
};

struct way {
    int from, to;
    uint64_t free_ns; /* when the link has sent all that came so far */
    struct packet queue[QUEUE];
    size_t first, n;
};

static uint64_t now_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool take(struct way *w, uint64_t delay_ns, uint64_t bits_a_us) {
    static uint8_t bytes[PACKET_MAX];
    ssize_t n = read(w->from, bytes, sizeof(bytes));
    if (n <= 0)
        return false;
    uint64_t now = now_ns();
    if (w->free_ns < now)
        w->free_ns = now;
    w->free_ns += (uint64_t)n * 8000 / bits_a_us;
    uint8_t *copy = w->n < QUEUE ? malloc((size_t)n) : NULL;
    if (!copy)
        return true;
    memcpy(copy, bytes, (size_t)n);
    w->queue[(w->first + w->n++) % QUEUE] = (struct packet){w->free_ns + delay_ns, (size_t)n, copy};
    return true;
}

/* Passes on what is due; nanoseconds until more is. */
static uint64_t give(struct way *w) {
    uint64_t now = now_ns();
    while (w->n && w->queue[w->first].due_ns <= now) {
        struct packet *p = &w->queue[w->first];
        if (write(w->to, p->bytes, p->len) < 0 && errno == EBADF)
            exit(1);
        free(p->bytes);
        w->first = (w->first + 1) % QUEUE;
        w->n--;
    }
    return w->n ? w->queue[w->first].due_ns - now : 1000000000;
}

int main(int argc, char **argv) {
    static struct way ways[2];
    if (argc != 5) {
        fprintf(stderr, "usage: delay_link FD FD DELAY_MS MBIT\n");
        return 2;
    }
    for (int i = 0; i < 2; i++) {
        ways[i].from = (int)strtol(argv[1 + i], NULL, 10);
        ways[i].to = (int)strtol(argv[2 - i], NULL, 10);
    }
    uint64_t delay_ns = strtoul(argv[3], NULL, 10) * 1000000, bits_a_us = strtoul(argv[4], NULL, 10);
    for (;;) {
        uint64_t wait_ns = 1000000000;
        for (int i = 0; i < 2; i++) {
            for (int k = 0; k < BATCH && take(&ways[i], delay_ns, bits_a_us); k++)
                ;
            uint64_t next = give(&ways[i]);
            wait_ns = next < wait_ns ? next : wait_ns;
        }
        struct timespec t = {(time_t)(wait_ns / 1000000000), (long)(wait_ns % 1000000000)};
        struct pollfd fds[2] = {{ways[0].from, POLLIN, 0}, {ways[1].from, POLLIN, 0}};
        (void)ppoll(fds, 2, &t, NULL);
    }
}
