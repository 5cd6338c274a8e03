#include "cli/admin_client.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/http_client.h"
#include "conf/default_paths.h"

#define ANSWER_MS 10000

static void default_path(struct text *t) {
    const char *named = getenv("TLS_OFF_ADMIN");
    char state_dir[PATH_MAX];
    struct text state = text_of(state_dir, sizeof(state_dir));
    default_state_dir(&state);
    if (named && named[0])
        text_add(t, named);
    else
        default_admin_socket(t, state_dir);
}

static bool takes_no_value(const char *const *switches, const char *flag) {
    for (size_t i = 0; switches && switches[i]; i++)
        if (strcmp(switches[i], flag) == 0)
            return true;
    return false;
}

static bool set_path(struct admin_args *a, const char *path) {
    struct text t = text_of(a->path, sizeof(a->path));
    text_add(&t, path);
    return !t.cut && t.len > 0;
}

static bool complain(const char *command, const char *flag, const char *what, const char *usage) {
    fprintf(stderr, "tls-off %s: %s%s%s\n%s", command, flag, flag[0] ? ": " : "", what, usage);
    return false;
}

bool admin_args_read(int argc, char **argv, const char *usage, const char *const *switches, admin_flag_fn flag, void *ctx,
                     struct admin_args *a) {
    memset(a, 0, sizeof(*a));
    struct text t = text_of(a->path, sizeof(a->path));
    default_path(&t);
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool wrong = false;
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
            a->help = true;
            fputs(usage, stdout);
            return true;
        }
        if (strcmp(name, "--json") == 0) {
            a->json = true;
            continue;
        }
        if (takes_no_value(switches, name)) {
            if (flag(ctx, name, NULL, &wrong) && !wrong)
                continue;
            return false;
        }
        if (!value && name[0] == '-')
            return complain(argv[0], name, "needs a value, or is unknown", usage);
        i++;
        if (strcmp(name, "--admin") == 0) {
            if (set_path(a, value))
                continue;
            return complain(argv[0], name, "expected the path of a socket", usage);
        }
        if (!flag || !flag(ctx, name, value, &wrong))
            return complain(argv[0], name, "unknown", usage);
        if (wrong)
            return complain(argv[0], name, "this value is not understood", usage);
    }
    return true;
}

int admin_unreachable(const struct admin_args *a, int err) {
    const char *why = err == ERR_SYSTEM      ? strerror(errno)
                      : err == ERR_NOT_FOUND ? "no tls-off answers there"
                      : err == ERR_AGAIN     ? "no answer in time"
                      : err == ERR_CLOSED    ? "the connection ended without an answer"
                                             : "the answer is not from tls-off";
    fprintf(stderr, "tls-off: %s: %s\n", a->path, why);
    return EXIT_NOBODY;
}

static json_t *print_refusal(const struct http_answer *answer, int *ret_exit) {
    struct span body = buf_span(&answer->body);
    fprintf(stderr, "tls-off: refused (%u): %.*s%s", answer->status, (int)MIN(body.len, 1000u), (const char *)body.p,
            body.p && body.len && body.p[body.len - 1] == '\n' ? "" : "\n");
    *ret_exit = EXIT_INPUT;
    return NULL;
}

json_t *admin_ask(const struct admin_args *a, const char *method, const char *target, int *ret_exit) {
    struct http_answer answer;
    int err = http_ask(a->path, method, target, clock_mono_ms() + ANSWER_MS, &answer);
    if (err < 0) {
        *ret_exit = admin_unreachable(a, err);
        return NULL;
    }
    struct span body = buf_span(&answer.body);
    json_t *tree = NULL;
    if (answer.status / 100 != 2) {
        (void)print_refusal(&answer, ret_exit);
    } else {
        tree = json_loadb((const char *)body.p, body.len, 0, NULL);
        if (!tree)
            *ret_exit = admin_unreachable(a, ERR_FORMAT);
    }
    buf_fini(&answer.body);
    return tree;
}

int admin_print_json(const json_t *tree) {
    return json_dumpf(tree, stdout, JSON_COMPACT) == 0 && putchar('\n') >= 0 ? EXIT_OK : EXIT_INPUT;
}

void admin_print_lines(FILE *to, const char *head, const char *text) {
    bool several = strchr(text, '\n') != NULL;
    fprintf(to, "%s%s", head, several ? (head[0] ? "\n" : "") : (head[0] && text[0] ? " " : ""));
    for (size_t n; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        fprintf(to, "%s%.*s%s", several && head[0] ? "  " : "", (int)n, text, text[n] ? "\n" : "");
    }
    fputc('\n', to);
}

double admin_number(const json_t *o, const char *name) {
    return json_number_value(json_object_get(o, name));
}

double admin_failed(const json_t *handshakes) {
    double sum = 0;
    const char *reason;
    json_t *n;
    json_object_foreach(json_object_get(handshakes, "failed"), reason, n) sum += json_number_value(n);
    return sum;
}

const char *admin_text(const json_t *o, const char *name) {
    const char *text = json_string_value(json_object_get(o, name));
    return text ? text : "";
}

void admin_add_query(struct text *target, const char *name, const char *value) {
    text_addf(target, "%c%s=", strchr(target->p, '?') ? '&' : '?', name);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._~:", *p);
        text_addf(target, plain ? "%c" : "%%%02X", *p);
    }
}
