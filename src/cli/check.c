#include "cli/check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/arguments.h"
#include "cli/capabilities.h"
#include "cli/explain.h"
#include "conf/load.h"
#include "observer/json.h"
#include "tls/cert_load.h"

const char check_usage[] =
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
    bool explains, json;
    const char *operands[1 + EXPLAIN_TEXTS], *const *texts; /* for --explain */
    size_t ntexts;
};

/* FILE is what --config names, or the first operand; when all of them are behind --explain, the last one. */
static bool read_check_args(const struct arguments *given, struct check_args *a) {
    bool behind = false;
    size_t n = 0;
    *a = (struct check_args){.file = arguments_value(given, "--config"), .json = arguments_has(given, "--json")};
    for (size_t i = 0; i < given->n; i++)
        if (!given->list[i].flag) {
            a->operands[n++] = given->list[i].value;
        } else if (strcmp(given->list[i].flag, "--explain") == 0) {
            behind = behind || n == 0;
            a->explains = true;
        }
    a->texts = a->operands + (a->file || behind ? 0 : 1);
    a->ntexts = n - (!a->file && n);
    if (!a->file && n)
        a->file = a->operands[behind ? n - 1 : 0];
    if (!a->file)
        (void)arguments_refuse(given, "expected FILE");
    else if (!a->file[0])
        (void)arguments_refuse(given, "found an empty name, expected FILE");
    else if (a->explains && a->ntexts == 0)
        (void)arguments_refuse(given, "--explain: expected ADDRESS behind it");
    else if (a->ntexts > (a->explains ? EXPLAIN_TEXTS : 0))
        (void)arguments_refuse(given, "found \"%.100s\", expected nothing more", a->texts[a->ntexts - 1]);
    else
        return true;
    return false;
}

/* The certificates are in the store in the making. */
static int explain(const struct check_args *a, const struct conf *c, const struct conf_capabilities *capabilities) {
    char line[512];
    struct text why = text_of(line, sizeof(line));
    struct explain_question q;
    struct creds creds;
    int fd, err = explain_read(a->texts, a->ntexts, &q) ? 0 : ERR_FORMAT;
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

int cmd_check(const struct arguments *given) {
    struct check_args a;
    if (!read_check_args(given, &a))
        return EXIT_USAGE;
    struct diagnostics f;
    diagnostics_init(&f);
    struct findings found = {json_array(), json_array()};
    f.each = list_finding;
    f.each_ctx = &found;
    const struct conf_capabilities *capabilities = tls_capabilities(CERT_LOAD_KEYS);
    struct conf *c = conf_load_file(a.file, LOAD_FOR_CHECK, capabilities, &f);
    int ret = c ? 0 : 1;
    bool explains = c && a.explains;
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
