#include "cli/acme.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/admin_client.h"

static const char usage[] =
    "usage: tls-off acme status [--admin PATH] [--json]\n"
    "       tls-off acme renew CERTIFICATE [--admin PATH]\n"
    "       tls-off acme revoke CERTIFICATE [--reason N] [--admin PATH]\n"
    "       tls-off acme rollover ISSUER [--admin PATH]\n"
    "\n"
    "  status    certificates from issuers: until when they are valid, when they are renewed, what went wrong\n"
    "  renew     orders a new certificate now\n"
    "  revoke    has the issuer revoke the certificate in use, and orders another one; N as in RFC 5280 5.3.1\n"
    "  rollover  gives the account at an issuer a new key\n"
    "\n"
    "CERTIFICATE is a name that status shows, like web.ecdsa-p256. What becomes of a command is in status and in the log.\n"
    "\n"
    "Exit status: 0 done or queued, 1 no such certificate or issuer, 2 wrong usage, 3 no running tls-off reached.\n";

struct acme_args {
    struct admin_args admin;
    const char *reason;
};

static bool acme_flag(void *ctx, const char *flag, const char *value, bool *ret_wrong) {
    struct acme_args *a = ctx;
    uint64_t n;
    if (strcmp(flag, "--reason") != 0)
        return false;
    a->reason = value;
    *ret_wrong = !value || text_parse_u64(value, 10, &n) < 0;
    return true;
}

/* "2026-11-29 16:00" in UTC, or what is said when there is none. */
static const char *when(const json_t *o, const char *name, const char *otherwise, char to[static CLOCK_TEXT_MAX]) {
    time_t t = (time_t)admin_number(o, name);
    struct tm tm;
    if (t <= 0 || !gmtime_r(&t, &tm) || strftime(to, CLOCK_TEXT_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
        return otherwise;
    return to;
}

static void print_cert(const json_t *o) {
    char until[CLOCK_TEXT_MAX], renew[CLOCK_TEXT_MAX], next[CLOCK_TEXT_MAX];
    const char *error = admin_text(o, "error"), *state = admin_text(o, "state");
    bool real = json_is_true(json_object_get(o, "issued_by_issuer"));
    printf("%s: %s%s\n", admin_text(o, "certificate"), real ? "from an issuer" : "self-signed, none from an issuer yet",
           json_is_true(json_object_get(o, "alarm")) ? "  ALARM" : "");
    printf("  names    ");
    const json_t *names = json_object_get(o, "names");
    for (size_t i = 0; i < json_array_size(names); i++)
        printf("%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
    printf("\n  issuer   %s\n", admin_text(o, "issuer"));
    if (real)
        printf("  valid    until %s UTC, renewal at %s\n", when(o, "not_after", "?", until),
               when(o, "renew_at", "once", renew));
    if (strcmp(state, "idle") != 0 && state[0])
        printf("  now      %s\n", state);
    if (error[0])
        printf("  failed   %s\n           next attempt at %s UTC, failures in a row: %.0f\n", error,
               when(o, "next_attempt", "once", next), admin_number(o, "failures_in_a_row"));
}

static int print_status(const struct acme_args *a) {
    int status = EXIT_OK;
    json_t *o = admin_ask(&a->admin, "GET", "/acme.json", &status);
    if (!o)
        return status;
    const json_t *list = json_object_get(o, "certificates");
    if (a->admin.json)
        status = admin_print_json(o);
    else if (json_array_size(list) == 0)
        puts("no service has certificates from issuers (\"acme\" of a service)");
    for (size_t i = 0; !a->admin.json && i < json_array_size(list); i++)
        print_cert(json_array_get(list, i));
    json_decref(o);
    return status;
}

static int post_command(const struct acme_args *a, const char *verb, const char *target) {
    char path[512];
    int status = EXIT_OK;
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "/acme/%s?", verb);
    admin_add_query(&t, strcmp(verb, "rollover") == 0 ? "issuer" : "certificate", target);
    if (a->reason)
        admin_add_query(&t, "reason", a->reason);
    json_t *o = admin_ask(&a->admin, "POST", path, &status);
    if (o && a->admin.json)
        status = admin_print_json(o);
    else if (o)
        printf("%s: queued; `tls-off acme status` and the log show what becomes of it\n", target);
    json_decref(o);
    return status;
}

int cmd_acme(int argc, char **argv) {
    static const char *const verbs[] = {"renew", "revoke", "rollover"};
    struct acme_args a = {.reason = NULL};
    const char *verb = argc > 1 ? argv[1] : "";
    bool help = strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0, shows = strcmp(verb, "status") == 0, acts = false;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        acts = acts || strcmp(verb, verbs[i]) == 0;
    const char *target = acts && argc > 2 && argv[2][0] != '-' ? argv[2] : NULL;
    int skip = shows || help ? 1 : 2;
    if (help) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    if ((!shows && !acts) || (acts && !target)) {
        fprintf(stderr, "tls-off acme: expected status, renew CERTIFICATE, revoke CERTIFICATE or rollover ISSUER\n%s", usage);
        return EXIT_USAGE;
    }
    if (!admin_args_read(argc - skip, argv + skip, usage, NULL, acts ? acme_flag : NULL, &a, &a.admin))
        return EXIT_USAGE;
    if (a.admin.help)
        return EXIT_OK;
    return shows ? print_status(&a) : post_command(&a, verb, target);
}
