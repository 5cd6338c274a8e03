/* `tls-off reload`, `drain`, `stop`: posts the command, then polls for its result. */
#include "cli/admin_command.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/http_client.h"
#include "conf/values.h"

#define PAUSE_MS   50
#define ANSWER_MS  5000
#define UNKNOWN_MS 10000 /* a command still unknown after that was lost */
#define LOST_MS    10000 /* no answer for this long: it is gone */

const char reload_usage[] =
    "usage: tls-off reload [--admin PATH] [--json]\n"
    "\n"
    "Takes up the configuration and the program that are on disk now, without losing a session. Waits until the new\n"
    "generation serves and every session has migrated.\n"
    "\n"
    "Exit status: 0 done, 1 refused (the reason is printed; nothing has changed), 2 wrong usage, 3 no running tls-off\n"
    "reached.\n";

const char drain_usage[] =
    "usage: tls-off drain [--after DURATION] [--delay DURATION] [--timeout DURATION] [--admin PATH] [--json]\n"
    "\n"
    "No new connections are accepted; sessions may end on their own. Waits until the last one has ended, or those left at\n"
    "the timeout (\"30s\", \"10m\", \"1h\"; default: drain_timeout of the configuration) have been cut. Then tls-off ends.\n"
    "\n"
    "With --delay, /readyz fails at once, but connections are accepted for that long: load balancers hear of it first.\n"
    "With --after, nothing is asked for before that time is over: for those who hear of the end elsewhere, but send clients\n"
    "only to what is ready, as Kubernetes does.\n"
    "\n"
    "Exit status: 0 done, 1 refused, 2 wrong usage, 3 no running tls-off reached.\n";

const char stop_usage[] = "usage: tls-off stop [--admin PATH] [--json]\n"
                          "\n"
                          "Stops as TERM does: what is in flight may finish within drain_timeout. Waits for the end.\n"
                          "\n"
                          "Exit status: 0 stopped, 1 refused, 2 wrong usage, 3 no running tls-off reached.\n";

struct admin_command {
    struct admin_args args;
    const char *name;
    uint64_t drain_ms; /* 0 = not given */
    uint64_t delay_ms;
    uint64_t after_ms;
    bool ends; /* the command ends the proxy */
};

static const char *drain_flag(void *ctx, const char *flag, const char *value) {
    struct admin_command *w = ctx;
    uint64_t *to = strcmp(flag, "--timeout") == 0 ? &w->drain_ms : strcmp(flag, "--delay") == 0 ? &w->delay_ms : &w->after_ms;
    bool ok = value_duration(value, to) == 0 && *to != 0 && *to != CONF_NEVER;
    return ok ? NULL : "a duration above 0, like \"30s\", \"10m\" or \"1h\"";
}

/* The command's number; 0 on failure, with *RET_EXIT. */
static uint64_t post_command(const struct admin_command *w, int *ret_exit) {
    char target[96];
    struct text t = text_of(target, sizeof(target));
    text_addf(&t, "/%s", w->name);
    if (w->drain_ms)
        text_addf(&t, "?ms=%llu", (unsigned long long)w->drain_ms);
    if (w->delay_ms)
        text_addf(&t, "%cdelay_ms=%llu", w->drain_ms ? '&' : '?', (unsigned long long)w->delay_ms);
    json_t *o = admin_ask(&w->args, "POST", target, ret_exit);
    uint64_t id = (uint64_t)json_integer_value(json_object_get(o, "id"));
    if (o && id == 0)
        *ret_exit = admin_unreachable(&w->args, ERR_FORMAT);
    json_decref(o);
    return id;
}

static int print_result(const struct admin_command *w, const json_t *o, bool ok) {
    const char *text = admin_text(o, "text");
    if (w->args.json)
        (void)admin_print_json(o); /* the exit status says what counts */
    else if (text[0] || !ok)
        admin_print_lines(ok ? stdout : stderr, ok ? "" : "tls-off: refused:", text);
    return ok ? EXIT_OK : EXIT_INPUT;
}

/* Polls once. -1: no result yet. *RET_UNKNOWN: it answered, and knows no such command. */
static int poll_result(const struct admin_command *w, const char *target, int *ret_err, bool *ret_unknown) {
    struct http_answer answer;
    int status = -1;
    *ret_err = http_ask(w->args.path, "GET", target, clock_mono_ms() + ANSWER_MS, &answer);
    *ret_unknown = false;
    if (*ret_err < 0)
        return -1;
    struct span body = buf_span(&answer.body);
    json_t *o = answer.status == 200 ? json_loadb((const char *)body.p, body.len, 0, NULL) : NULL;
    const char *state = admin_text(o, "state");
    *ret_unknown = answer.status == 404;
    if (strcmp(state, "done") == 0 || strcmp(state, "refused") == 0)
        status = print_result(w, o, state[0] == 'd');
    json_decref(o);
    buf_fini(&answer.body);
    return status;
}

static int print_ended(const struct admin_command *w) {
    json_t *o = json_pack("{s:s, s:s}", "command", w->name, "state", "done");
    int status = print_result(w, o, true);
    json_decref(o);
    return status;
}

/* Observers are replaced meanwhile: a failed poll is repeated for some time. */
static int await_result(const struct admin_command *w, uint64_t id) {
    char target[64];
    struct text t = text_of(target, sizeof(target));
    uint64_t answered_ms = clock_mono_ms(), known_ms = answered_ms;
    text_addf(&t, "/%s/%llu", w->name, (unsigned long long)id);
    for (;;) {
        int err;
        bool unknown;
        int status = poll_result(w, target, &err, &unknown);
        uint64_t now_ms = clock_mono_ms();
        if (status >= 0)
            return status;
        if (err == ERR_NOT_FOUND && w->ends)
            return print_ended(w);
        answered_ms = err == 0 ? now_ms : answered_ms;
        known_ms = err == 0 && !unknown ? now_ms : known_ms;
        if (err == ERR_NOT_FOUND) {
            fprintf(stderr,
                    "tls-off: no answer at %s anymore: the %s has moved the admin socket, or tls-off has ended; see its log\n",
                    w->args.path, w->name);
            return EXIT_NOBODY;
        }
        if (err < 0 && now_ms > answered_ms + LOST_MS)
            return admin_unreachable(&w->args, err);
        if (unknown && now_ms > known_ms + UNKNOWN_MS) {
            fprintf(stderr, "tls-off: the %s was lost: tls-off does not know it anymore\n", w->name);
            return EXIT_INPUT;
        }
        (void)poll(NULL, 0, PAUSE_MS); /* a pause */
    }
}

static int run_admin_command(const struct arguments *a, struct admin_command *w) {
    int status = EXIT_OK;
    if (!admin_args_read(a, drain_flag, w, &w->args))
        return EXIT_USAGE;
    for (uint64_t began_ms = clock_mono_ms(); clock_mono_ms() - began_ms < w->after_ms;)
        (void)poll(NULL, 0, PAUSE_MS); /* a pause */
    uint64_t id = post_command(w, &status);
    return id ? await_result(w, id) : status;
}

int cmd_reload(const struct arguments *a) {
    struct admin_command w = {.name = "reload"};
    return run_admin_command(a, &w);
}

int cmd_drain(const struct arguments *a) {
    struct admin_command w = {.name = "drain", .ends = true};
    return run_admin_command(a, &w);
}

int cmd_stop(const struct arguments *a) {
    struct admin_command w = {.name = "stop", .ends = true};
    return run_admin_command(a, &w);
}
