/*
 * Load generator: one thread, epoll, OpenSSL or a TLS client of its own. Made to be cheap, since it shares its CPU with the
 * backend.
 *
 * The driver says over stdin when to begin and when to let go, so that CPU time of the proxy can be read between.
 */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS       1000000000ull
#define STALL_NS        (30 * SECOND_NS)
#define IDLE_TALK       20000u /* bytes each way that an idle session has seen */
#define WARM_BULK       (1u << 20)
#define SETUP_AT_A_TIME 64u
#define EVENTS          512

static uint8_t scratch[256 << 10];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

/* xorshift64: which of the idle connections is next must follow no pattern. */
static uint64_t next_random(struct load *l) {
    l->seed ^= l->seed << 13;
    l->seed ^= l->seed >> 7;
    l->seed ^= l->seed << 17;
    return l->seed;
}

/* --- operations --- */

static void plan(struct load *l, struct slot *s) {
    uint64_t size = l->o->size;
    if (l->o->mode == MODE_IDLE)
        size = s->warmed ? IDLE_TALK : 10;
    bool bulk = l->o->mode == MODE_DOWN || l->o->mode == MODE_UP;
    if (bulk && !l->measuring)
        size = WARM_BULK;
    s->verb = l->o->mode == MODE_DOWN ? 'D' : l->o->mode == MODE_UP ? 'U' : l->o->mode == MODE_WEB ? 'W' : 'E';
    s->out_len = s->verb == 'D' ? COMMAND_LEN : s->verb == 'W' ? l->web.len : size;
    s->in_left = s->verb == 'U' || s->verb == 'W' ? 1 : size; /* of an HTTP answer only the end counts */
    s->out_left = s->out_len;
}

/* The bytes to send next, rebuilt at each try: the command first, then filling. */
static size_t fill(const struct load *l, const struct slot *s, uint8_t *p, size_t cap) {
    uint64_t done = s->out_len - s->out_left;
    size_t n = s->out_left < cap ? (size_t)s->out_left : cap;
    if (s->verb == 'W') {
        memcpy(p, l->web.request + done, n);
        return n;
    }
    size_t command = done < COMMAND_LEN ? (size_t)(COMMAND_LEN - done) : 0;
    if (command > n)
        command = n;
    uint64_t arg = s->verb == 'D' ? s->in_left : s->out_len - COMMAND_LEN;
    uint8_t head[COMMAND_LEN] = {(uint8_t)s->verb};
    for (unsigned i = 0; i < 8; i++)
        head[1 + i] = (uint8_t)(arg >> (56 - 8 * i));
    memcpy(p, head + done, command);
    memset(p + command, 'x', n - command);
    return n;
}

static void give_back(struct load *l, struct slot *s) {
    s->busy = false;
    l->in_flight--;
    l->idle[l->nidle++] = (uint32_t)(s - l->slots);
}

static void fail(struct load *l, struct slot *s) {
    l->errors++;
    l->fresh_errors++;
    conn_close(&s->conn);
    if (l->fresh_errors > 1000) {
        fprintf(stderr, "load: %u connections failed one after the other\n", (unsigned)l->fresh_errors);
        exit(1);
    }
    give_back(l, s);
}

static uint32_t warm_wanted(const struct load *l) {
    if (l->o->mode == MODE_CONNECT)
        return 1;
    return l->o->mode == MODE_DOWN || l->o->mode == MODE_UP ? 1 : 2;
}

static void complete(struct load *l, struct slot *s) {
    l->fresh_errors = 0;
    if (l->measuring) {
        l->last_ns = now_ns();
        hist_add(&l->hist, l->last_ns - s->began_ns);
        l->ops++;
        l->bytes += s->verb == 'E' || s->verb == 'W' ? 2 * s->out_len : s->verb == 'U' ? s->out_len : l->o->size;
        l->resumed += l->o->mode == MODE_CONNECT && conn_is_resumed(&s->conn);
    } else {
        if (!l->version) {
            l->version = conn_version(&s->conn);
            l->cipher = conn_cipher(&s->conn);
        }
        l->settled += ++s->warmed == warm_wanted(l);
    }
    if (l->o->mode == MODE_CONNECT)
        conn_close(&s->conn);
    give_back(l, s);
}

/* While warming, each byte of an echo is looked at: a proxy that answers wrongly is not measured. */
static bool is_echo(const struct load *l, const struct slot *s, const uint8_t *p, size_t n) {
    if (l->measuring || s->verb != 'E')
        return true;
    uint64_t at = s->out_len - s->in_left;
    for (size_t i = 0; i < n; i++)
        if (at + i >= COMMAND_LEN && p[i] != 'x')
            return false;
    return true;
}

/* Times the handshake, from the beginning of its connection. */
static void note_handshake(struct load *l, struct slot *s) {
    if (s->shaken || !l->measuring || !conn_is_established(&s->conn))
        return;
    s->shaken = true;
    hist_add(&l->handshakes, now_ns() - s->began_ns);
}

/* Takes N bytes of an answer. False: they do not belong to it. */
static bool take(struct load *l, struct slot *s, size_t n) {
    if (s->verb == 'W') {
        s->in_left = web_ends(&s->tail, scratch, n) ? 0 : 1;
        return true;
    }
    if (n > s->in_left || !is_echo(l, s, scratch, n))
        return false;
    s->in_left -= n;
    return true;
}

static void drive(struct load *l, struct slot *s) {
    while (s->out_left) {
        size_t cap = s->conn.ssl || s->conn.lean ? 16384 : sizeof scratch;
        ssize_t n = conn_send(&s->conn, scratch, fill(l, s, scratch, cap));
        note_handshake(l, s);
        if (n < 0)
            fail(l, s);
        if (n <= 0)
            return;
        s->out_left -= (uint64_t)n;
    }
    while (s->in_left) {
        ssize_t n = conn_recv(&s->conn, scratch, sizeof scratch);
        if (n == 0)
            return;
        if (n < 0 || !take(l, s, (size_t)n)) {
            fail(l, s);
            return;
        }
    }
    complete(l, s);
}

static void start(struct load *l, uint64_t began_ns) {
    uint32_t at = (uint32_t)(next_random(l) % l->nidle), i = l->idle[at];
    struct slot *s = &l->slots[i];
    l->idle[at] = l->idle[--l->nidle];
    l->in_flight++;
    l->started += l->measuring;
    s->busy = true;
    s->began_ns = began_ns;
    s->shaken = s->shaken && s->conn.fd >= 0;
    plan(l, s);
    if (s->conn.fd < 0 && !conn_open(&s->conn, &l->target, l->epoll_fd, s)) {
        fail(l, s);
        return;
    }
    drive(l, s);
}

/* --- the loop --- */

static void start_measured(struct load *l) {
    const struct options *o = l->o;
    uint64_t now = now_ns();
    /* What an operation completes at once may start again at once; a bound keeps events from waiting for that. */
    for (unsigned n = 0; n < EVENTS && l->nidle && l->in_flight < o->active; n++) {
        if (now >= l->until_ns || (o->count && l->started >= o->count)) {
            l->stopping = true;
            return;
        }
        if (o->rate > 0 && l->due_ns > now)
            return;
        start(l, o->rate > 0 ? l->due_ns : now);
        if (o->rate > 0)
            l->due_ns += (uint64_t)(1e9 / o->rate);
        else
            now = now_ns();
    }
}

/* Idle slots that still need warming are at the end of the list or get there by chance; look for one. */
static void start_warming(struct load *l) {
    for (uint32_t i = l->nidle; i-- > 0 && l->in_flight < SETUP_AT_A_TIME;) {
        uint32_t index = l->idle[i];
        struct slot *s = &l->slots[index];
        if (s->warmed >= warm_wanted(l))
            continue;
        l->idle[i] = l->idle[--l->nidle];
        l->in_flight++;
        s->busy = true;
        plan(l, s);
        if (s->conn.fd < 0 && !conn_open(&s->conn, &l->target, l->epoll_fd, s))
            fail(l, s);
        else
            drive(l, s);
        if (i > l->nidle)
            i = l->nidle;
    }
}

static uint64_t wait_until(const struct load *l) {
    uint64_t now = now_ns(), stall = now + STALL_NS;
    if (!l->measuring)
        return l->in_flight ? stall : now;
    if (l->stopping)
        return stall;
    uint64_t at = l->until_ns;
    if (l->o->rate > 0 && l->nidle && l->in_flight < l->o->active && l->due_ns < at)
        at = l->due_ns;
    else if (l->o->rate <= 0 && l->nidle && l->in_flight < l->o->active)
        at = now;
    return at < stall ? at : stall;
}

static void turn(struct load *l) {
    static struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), at = wait_until(l), left = at > now ? at - now : 0;
    struct timespec t = {.tv_sec = (time_t)(left / SECOND_NS), .tv_nsec = (long)(left % SECOND_NS)};
    int n = epoll_pwait2(l->epoll_fd, events, EVENTS, &t, NULL);
    if (n < 0 && errno != EINTR) {
        perror("load: epoll_pwait2");
        exit(1);
    }
    if (n == 0 && left >= STALL_NS - SECOND_NS) {
        fprintf(stderr, "load: nothing moved for 30 s, %u operations under way\n", l->in_flight);
        exit(1);
    }
    for (int i = 0; i < n; i++) {
        struct slot *s = events[i].data.ptr;
        if (s->busy)
            drive(l, s);
    }
}

static void warm(struct load *l) {
    while (l->settled < l->o->connections) {
        start_warming(l);
        if (l->settled < l->o->connections)
            turn(l);
    }
}

static void measure(struct load *l) {
    const struct options *o = l->o;
    l->measuring = true;
    l->target.resume = o->resume;
    l->begun_ns = l->last_ns = l->due_ns = now_ns();
    l->until_ns = o->count ? UINT64_MAX : l->begun_ns + (uint64_t)(o->seconds * 1e9);
    while (!l->stopping || l->in_flight) {
        if (!l->stopping)
            start_measured(l);
        if (!l->stopping || l->in_flight)
            turn(l);
        if (now_ns() >= l->until_ns)
            l->stopping = true;
    }
}

/* --- the conversation with the driver --- */

static void wait_line(void) {
    char c;
    while (read(0, &c, 1) == 1 && c != '\n')
        ;
}

static double cpu_ms(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
}

static void report(const struct load *l, double cpu) {
    static const double parts[] = {0.5, 0.9, 0.99, 0.999};
    static const char *const names[] = {"p50", "p90", "p99", "p999"};
    printf("{\"ops\":%llu,\"bytes\":%llu,\"seconds\":%.6f,\"errors\":%llu,\"resumed\":%llu,\"cpu_ms\":%.3f",
           (unsigned long long)l->ops, (unsigned long long)l->bytes, (double)(l->last_ns - l->begun_ns) / 1e9,
           (unsigned long long)l->errors, (unsigned long long)l->resumed, cpu);
    for (size_t i = 0; i < 4; i++)
        printf(",\"%s_us\":%.2f", names[i], (double)hist_quantile(&l->hist, parts[i]) / 1e3);
    if (l->handshakes.n)
        printf(",\"handshakes\":%llu,\"handshake_p50_us\":%.2f,\"handshake_p99_us\":%.2f", (unsigned long long)l->handshakes.n,
               (double)hist_quantile(&l->handshakes, 0.5) / 1e3, (double)hist_quantile(&l->handshakes, 0.99) / 1e3);
    printf(",\"max_us\":%.2f}\n", (double)l->hist.max / 1e3);
    fflush(stdout);
}

static void say_ready(const struct load *l) {
    printf("{\"ready\":true,\"version\":\"%s\",\"cipher\":\"%s\",\"errors\":%llu}\n", l->version ? l->version : "",
           l->cipher ? l->cipher : "", (unsigned long long)l->errors);
    fflush(stdout);
}

static bool make(struct load *l, const struct options *o) {
    *l = (struct load){.o = o, .seed = 88172645463325252ull, .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
    l->slots = calloc(o->connections, sizeof *l->slots);
    l->idle = calloc(o->connections, sizeof *l->idle);
    if (!l->slots || !l->idle || l->epoll_fd < 0)
        return false;
    for (uint32_t i = 0; i < o->connections; i++) {
        l->slots[i].conn.fd = -1;
        l->idle[l->nidle++] = i;
    }
    if (o->mode == MODE_WEB && !web_init(&l->web, o->size))
        return false;
    if (!target_init(&l->target, (uint16_t)o->port, o->tls, o->cipher, o->identity))
        return false;
    if (l->target.ctx && o->mode == MODE_IDLE)
        SSL_CTX_set_mode(l->target.ctx, SSL_MODE_RELEASE_BUFFERS);
    if (l->target.ctx && o->mode == MODE_DOWN)
        SSL_CTX_set_default_read_buffer_len(l->target.ctx, sizeof scratch / 2);
    return true;
}

int main(int argc, char **argv) {
    static struct load l;
    struct options o;
    if (!options_read(argc, argv, &o))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    if (!make(&l, &o)) {
        perror("load");
        return 1;
    }
    if (o.mode != MODE_WEB) /* whose beginning is what is looked at */
        warm(&l);
    say_ready(&l);
    wait_line();
    if (o.mode != MODE_IDLE) {
        double before = cpu_ms();
        measure(&l);
        report(&l, cpu_ms() - before);
        wait_line();
    }
    for (uint32_t i = 0; i < o.connections; i++)
        conn_close(&l.slots[i].conn);
    puts("{\"closed\":true}");
    fflush(stdout);
    wait_line();
    target_fini(&l.target);
    web_fini(&l.web);
    free(l.slots);
    free(l.idle);
    return 0;
}
