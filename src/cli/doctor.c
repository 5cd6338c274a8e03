#include "cli/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/arguments.h"
#include "cli/capabilities.h"
#include "conf/load.h"
#include "observer/json.h"
#include "tls/cert_load.h"

#define USUAL_FILE "/etc/tls-off/tls-off.toml"

const char doctor_usage[] =
    "usage: tls-off doctor [FILE] [--json]\n"
    "\n"
    "Looks at this machine (kernel, limits, clock, libraries) and at the configuration in FILE: what `tls-off check`\n"
    "finds, certificates against this system's CA certificates, directories, and whether each backend answers. Says of\n"
    "each whether it is good, and what to do when it is not. Without FILE it looks at " USUAL_FILE "\n"
    "when there is one; --config FILE (-c) says the same as FILE. Run it as the user that starts tls-off.\n"
    "\n"
    "Exit status: 0 nothing is wrong (advice included), 1 something is wrong, 2 wrong usage.\n";

static const char *const level_names[FINDING_LEVELS] = {"good", "advice", "wrong"};

static void take_finding(struct doctor *d, enum finding_level level, const char *area, const char *text, const char *todo) {
    d->count[level]++;
    if (!d->findings) {
        printf("%-6s  %-12s  %s\n", level_names[level], area, text);
        if (todo)
            printf("                        -> %s\n", todo);
        return;
    }
    json_t *o = json_object();
    json_put_text(o, "level", level_names[level]);
    json_put_text(o, "area", area);
    json_put_text(o, "text", text);
    if (todo)
        json_put_text(o, "todo", todo);
    (void)json_array_append_new(d->findings, o);
}

void doctor_say(struct doctor *d, enum finding_level level, const char *area, const char *todo, const char *fmt, ...) {
    char line[1024];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(line, sizeof(line), fmt, args); /* cut is fine in a message */
    va_end(args);
    take_finding(d, level, area, line, todo);
}

static void take_diagnostic(void *ctx, bool is_error, const char *position, const char *key, const char *text) {
    doctor_say(ctx, is_error ? FINDING_WRONG : FINDING_ADVICE, "configuration", NULL, "%s: %s%s%s", position, key ? key : "",
               key ? ": " : "", text);
}

/* The certificates are in the store in the making. */
static void look_at_certificates(struct doctor *d, const struct conf_capabilities *capabilities) {
    struct creds creds;
    int fd;
    if (capabilities->seal(capabilities->creds, &fd) < 0)
        return;
    if (creds_map(fd, &creds) == 0) {
        doctor_certificates(d, &creds);
        creds_unmap(&creds);
    }
    close(fd);
}

static void look_at_conf_file(struct doctor *d, const char *file) {
    struct diagnostics f;
    diagnostics_init(&f);
    f.each = take_diagnostic;
    f.each_ctx = d;
    const struct conf_capabilities *capabilities = tls_capabilities(CERT_LOAD_KEYS);
    struct conf *c = conf_load_file(file, LOAD_FOR_CHECK, capabilities, &f);
    if (c) {
        doctor_say(d, FINDING_GOOD, "configuration", NULL, "%s: %zu services, %zu addresses", file, c->nservices,
                   c->nlisteners);
        doctor_configuration(d, c);
        look_at_certificates(d, capabilities);
    }
    conf_free(c);
    diagnostics_fini(&f);
}

static int print_json(struct doctor *d) {
    json_t *o = json_object();
    (void)json_object_set_new(o, "findings", d->findings);
    for (size_t i = 0; i < FINDING_LEVELS; i++)
        (void)json_object_set_new(o, level_names[i], json_integer(d->count[i]));
    int ret = admin_print_json(o);
    json_decref(o);
    return ret;
}

int cmd_doctor(const struct arguments *a) {
    struct doctor d = {.findings = NULL};
    const char *config = arguments_value(a, "--config"), *file = config ? config : arguments_operand(a, 0);
    bool json = arguments_has(a, "--json");
    if (file && !file[0])
        return arguments_refuse(a, "found an empty name, expected FILE");
    if (config && a->noperands)
        return arguments_refuse(a, "found \"%.100s\" beside --config, expected one file", arguments_operand(a, 0));
    if (json)
        d.findings = json_array();
    doctor_machine(&d);
    if (file || access(USUAL_FILE, F_OK) == 0)
        look_at_conf_file(&d, file ? file : USUAL_FILE);
    int ret = 0;
    if (json)
        ret = print_json(&d);
    else
        printf("%u good, %u advice, %u wrong\n", d.count[0], d.count[1], d.count[2]);
    return d.count[FINDING_WRONG] ? EXIT_INPUT : ret;
}
