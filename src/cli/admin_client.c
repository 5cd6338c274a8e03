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

static bool set_path(struct admin_args *a, const char *path) {
    struct text t = text_of(a->path, sizeof(a->path));
    text_add(&t, path);
    return !t.cut && t.len > 0;
}

bool admin_args_read(const struct arguments *a, admin_flag_fn flag, void *ctx, struct admin_args *ret) {
    memset(ret, 0, sizeof(*ret));
    struct text t = text_of(ret->path, sizeof(ret->path));
    default_path(&t);
    for (size_t i = 0; i < a->n; i++) {
        const char *name = a->list[i].flag, *value = a->list[i].value, *expected = NULL;
        if (!name)
            continue;
        if (strcmp(name, "--json") == 0)
            ret->json = true;
        else if (strcmp(name, "--admin") == 0)
            expected = set_path(ret, value) ? NULL : "the path of a socket";
        else
            expected = flag(ctx, name, value);
        if (expected) {
            (void)arguments_refuse(a, "%s: found \"%.100s\", expected %s", name, value, expected);
            return false;
        }
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
