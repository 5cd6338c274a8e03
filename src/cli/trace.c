#include "cli/trace.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/http_client.h"
#include "conf/values.h"

#define PAUSE_MS  20
#define MOVED_MS  10000 /* the next observer keeps what it receives for so long */
#define ANSWER_MS 5000

const char trace_usage[] =
    "usage: tls-off trace CLIENT [--for DURATION] [--sessions N] [--admin PATH] [--json]\n"
    "\n"
    "  CLIENT           an address, a network (\"192.0.2.0/24\") or a verified name; names are known after the handshake\n"
    "  --for DURATION   ends after that time (\"30s\", \"10m\"); default 1h, at most 24h\n"
    "  --sessions N     ends after N ends of sessions or failed connections\n"
    "\n"
    "Prints what happens to the client's connections, as it happens: accept, hello, handshake or failed, taken (by a relay),\n"
    "connect, first_byte, throttled, exported and imported at a reload, and with counts the session. Fields are those of the log.\n"
    "Ends with Ctrl-C. A reload does not end it.\n"
    "\n"
    "Exit status: 0 it has ended as asked, 1 refused, 2 wrong usage, 3 no running tls-off reached, or it has ended.\n";

struct trace {
    struct admin_args args;
    char target[2048];
    struct text t;
    char tracer[16]; /* its number, to go on by; "" = not known yet */
    bool ended;      /* as was asked for */
    bool broken;     /* standard output takes nothing */
    char line[64];   /* of the server's own, being read */
    size_t line_len;
    bool in_own, at_start;
};

static const char *trace_flag(void *ctx, const char *flag, const char *value) {
    struct trace *w = ctx;
    uint64_t n;
    if (strcmp(flag, "--sessions") == 0) {
        if (text_parse_u64(value, UINT32_MAX, &n) < 0 || n == 0)
            return "a number above 0";
        admin_add_query(&w->t, "sessions", value);
        return NULL;
    }
    char ms[24];
    struct text t = text_of(ms, sizeof(ms));
    if (value_duration(value, &n) < 0 || n == 0 || n == CONF_NEVER)
        return "a duration above 0, like \"30s\" or \"10m\"";
    text_addf(&t, "%llu", (unsigned long long)n);
    admin_add_query(&w->t, "for_ms", ms);
    return NULL;
}

/* "# tracer 7", "# end: why", or "#" to show that it lives. */
static void take_own_line(struct trace *w) {
    static const char tracer[] = "# tracer ", end[] = "# end: ";
    w->line[w->line_len] = 0;
    if (strncmp(w->line, tracer, sizeof(tracer) - 1) == 0)
        (void)snprintf(w->tracer, sizeof(w->tracer), "%s", w->line + sizeof(tracer) - 1);
    else if (strncmp(w->line, end, sizeof(end) - 1) == 0)
        w->ended = true;
    w->line_len = 0;
}

/* Events go to standard output as they are; lines of the server's own begin with '#', which no event does. */
static bool take_stream_bytes(void *ctx, struct span bytes) {
    struct trace *w = ctx;
    for (size_t i = 0; i < bytes.len; i++) {
        char c = (char)bytes.p[i];
        w->in_own = w->at_start ? c == '#' : w->in_own;
        w->at_start = c == '\n';
        if (w->in_own && w->at_start)
            take_own_line(w);
        else if (w->in_own)
            w->line[w->line_len] = c, w->line_len += w->line_len + 1 < sizeof(w->line);
        else
            w->broken = putchar(c) < 0 || w->broken;
    }
    w->broken = fflush(stdout) != 0 || w->broken;
    return !w->broken;
}

static int print_refused(const struct http_answer *answer) {
    struct span body = buf_span(&answer->body);
    fprintf(stderr, "tls-off: refused (%u): %.*s%s", answer->status, (int)MIN(body.len, 1000u), (const char *)body.p,
            body.p && body.len && body.p[body.len - 1] == '\n' ? "" : "\n");
    return EXIT_INPUT;
}

/* One stream, to its end. -1: it ended without having said so. */
static int follow_stream(struct trace *w, const char *target, int *ret_err) {
    struct http_answer answer = {.status = 0};
    w->at_start = true;
    w->in_own = false;
    w->line_len = 0;
    *ret_err = http_follow(w->args.path, target, clock_mono_ms() + ANSWER_MS, take_stream_bytes, w, &answer);
    int status = -1;
    if (w->ended || w->broken)
        status = w->ended ? EXIT_OK : EXIT_INPUT;
    else if (*ret_err == 0 && answer.status != 200)
        status = answer.status == 404 && target != w->target ? -1 : print_refused(&answer);
    buf_fini(&answer.body);
    return status;
}

/* The observer is another one after a reload: it knows the tracer by its number. */
static int follow_streams(struct trace *w) {
    char target[64];
    struct text t = text_of(target, sizeof(target));
    uint64_t moved_ms = clock_mono_ms();
    text_addf(&t, "/trace?tracer=%s", w->tracer);
    for (;;) {
        int err;
        char before[sizeof(w->tracer)];
        (void)snprintf(before, sizeof(before), "%s", w->tracer);
        w->tracer[0] = 0;
        int status = follow_stream(w, target, &err);
        if (status >= 0)
            return status;
        if (w->tracer[0])
            moved_ms = clock_mono_ms(); /* it was found, and has moved once more */
        (void)snprintf(w->tracer, sizeof(w->tracer), "%s", before);
        if (clock_mono_ms() > moved_ms + MOVED_MS)
            break;
        (void)poll(NULL, 0, PAUSE_MS); /* a pause */
    }
    fprintf(stderr, "tls-off: the trace has ended: the process that served it is gone, and its successor does not know it\n");
    return EXIT_NOBODY;
}

int cmd_trace(const struct arguments *a) {
    struct trace w = {.broken = false};
    int err;
    w.t = text_of(w.target, sizeof(w.target));
    text_add(&w.t, "/trace");
    if (!admin_args_read(a, trace_flag, &w, &w.args))
        return EXIT_USAGE;
    admin_add_query(&w.t, "client", arguments_operand(a, 0));
    if (w.t.cut)
        return arguments_refuse(a, "found a client's name of more than %zu bytes", sizeof(w.target));
    if (w.args.json)
        admin_add_query(&w.t, "format", "json");
    int status = follow_stream(&w, w.target, &err);
    if (status >= 0)
        return status;
    return w.tracer[0] ? follow_streams(&w) : admin_unreachable(&w.args, err < 0 ? err : ERR_CLOSED);
}
