#include "cli/check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/capabilities.h"
#include "cli/explain.h"
#include "conf/load.h"
#include "observer/json.h"
#include "tls/cert_load.h"

#define MOST_TEXTS 4 /* ADDRESS NAME ALPN, and FILE behind them */

static const char usage[] =
    "usage: tls-off check FILE [--json]\n"
    "       tls-off check FILE --explain ADDRESS [NAME] [ALPN] [--json]\n"
    "\n"
    "Reads the configuration in FILE and checks it, the files it names and the addresses it listens on.\n"
    "Every fault is a line with its place, the key, what was found and what was expected; with --json one line of JSON\n"
    "holds them, with --explain too when the configuration is wrong.\n"
    "FILE \"-\" is standard input; --config FILE (-c) says the same as FILE.\n"
    "With --explain also: which service serves a client that connects to ADDRESS, asks for NAME (\"\" = none) and\n"
    "offers ALPN (\"h2,http/1.1\"), and why; see `tls-off explain --help`. FILE may stand at the end, too.\n"
    "\n"
    "Exit status: 0 valid (warnings included), 1 the configuration is wrong, 2 wrong usage.\n";

struct check_args {
    const char *file;
    bool help, explain, json;
    const char *texts[MOST_TEXTS];
    int n;
};

static bool read_args(int argc, char **argv, struct check_args *a) {
    bool flags = true;
    for (int i = 1; i < argc; i++) {
        const char *s = argv[i];
        bool flag = flags && s[0] == '-' && s[1];
        if (flag && strcmp(s, "--") == 0)
            flags = false;
        else if (flag && strcmp(s, "--explain") == 0)
            a->explain = true;
        else if (flag && strcmp(s, "--json") == 0)
            a->json = true;
        else if (flag && (strcmp(s, "--config") == 0 || strcmp(s, "-c") == 0) && !a->file && i + 1 < argc)
            a->file = argv[++i];
        else if (flag && (strcmp(s, "--help") == 0 || strcmp(s, "-h") == 0))
            a->help = true;
        else if (!flag && !a->explain && !a->file)
            a->file = s;
        else if (!flag && a->explain && a->n < MOST_TEXTS)
            a->texts[a->n++] = s;
        else
            return false;
    }
    if (!a->file && a->n)
        a->file = a->texts[--a->n];
    return a->help || (a->file && a->explain == (a->n > 0) && a->n < MOST_TEXTS);
}

/* The certificates are in the store in the making. */
static int explain(const struct check_args *a, const struct conf *c, const struct conf_capabilities *capabilities) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    struct explain_question q;
    struct creds creds;
    int fd, err = explain_read(a->texts, a->n, &q) ? 0 : ERR_FORMAT;
    if (err < 0)
        return 1;
    err = capabilities->seal(capabilities->creds, &fd);
    if (err == 0) {
        err = creds_map(fd, &creds);
        close(fd);
    }
    if (err < 0) {
        fprintf(stderr, "tls-off: the certificates cannot be kept: %s\n", err_text(err));
        return 1;
    }
    json_t *o = explanation_of(c, &creds, &q.ask, NULL, NULL, &why);
    int ret = 1;
    if (o)
        ret = explain_print(o, a->json);
    else
        fprintf(stderr, "tls-off: %s\n", line);
    json_decref(o);
    creds_unmap(&creds);
    return ret;
}

/* What is found, as --json prints it. */
struct findings {
    json_t *errors, *warnings;
};

static void list_finding(void *ctx, bool is_error, const char *position, const char *key, const char *text) {
    struct findings *to = ctx;
    json_t *o = json_object();
    json_put_text(o, "place", position);
    if (key)
        json_put_text(o, "key", key);
    json_put_text(o, "text", text);
    (void)json_array_append_new(is_error ? to->errors : to->warnings, o);
}

/* {"file": F, "valid": V, "errors": [{"place", "key", "text"}], "warnings": [...]} */
static int print_findings(const char *file, bool valid, const struct findings *f) {
    json_t *o = json_object();
    json_put_text(o, "file", file);
    (void)json_object_set_new(o, "valid", json_boolean(valid));
    (void)json_object_set(o, "errors", f->errors);
    (void)json_object_set(o, "warnings", f->warnings);
    int ret = admin_print_json(o);
    json_decref(o);
    return valid ? ret : 1;
}

int cmd_check(int argc, char **argv) {
    struct check_args a = {.file = NULL};
    if (!read_args(argc, argv, &a)) {
        (void)fputs(usage, stderr); /* nowhere left to complain */
        return 2;
    }
    if (a.help) {
        fputs(usage, stdout);
        return 0;
    }
    struct diagnostics f;
    diagnostics_init(&f);
    struct findings found = {json_array(), json_array()};
    f.each = list_finding;
    f.each_ctx = &found;
    const struct conf_capabilities *capabilities = tls_capabilities(CERT_LOAD_KEYS);
    struct conf *c = conf_load_file(a.file, LOAD_FOR_CHECK, capabilities, &f);
    int ret = c ? 0 : 1;
    bool explains = c && a.explain;
    if (f.text && (!a.json || explains))
        (void)fputs(f.text, stderr); /* nowhere left to complain */
    if (explains)
        ret = explain(&a, c, capabilities);
    else if (a.json)
        ret = print_findings(a.file, c != NULL, &found);
    else if (c)
        printf("%s: ok\n", a.file);
    json_decref(found.errors);
    json_decref(found.warnings);
    conf_free(c);
    diagnostics_fini(&f);
    return ret;
}
