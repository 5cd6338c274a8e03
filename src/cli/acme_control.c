#include "cli/acme_control.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/acme_record.h"
#include "cli/admin_client.h"

#define NAMES_SHOWN 8 /* of one certificate */

const char acme_usage[] =
    "usage: tls-off acme status [--admin PATH] [--json]\n"
    "       tls-off acme renew CERTIFICATE [--admin PATH]\n"
    "       tls-off acme revoke CERTIFICATE [--reason N] [--admin PATH]\n"
    "       tls-off acme rollover ISSUER [--admin PATH]\n"
    "       tls-off acme record NAME [--check] [--admin PATH] [--json]\n"
    "\n"
    "  status    certificates from issuers: until when they are valid, when they are renewed, what went wrong\n"
    "  renew     orders a new certificate now\n"
    "  revoke    has the issuer revoke the certificate in use, and orders another one; N as in RFC 5280 5.3.1\n"
    "  rollover  gives the account at an issuer a new key\n"
    "  record    prints the DNS records to publish for a name, once, where its issuers have \"dns-persist-01\";\n"
    "            --check also asks this machine's name servers whether they are there: exit status 1 when not\n"
    "\n"
    "CERTIFICATE is a name that status shows, like web.ecdsa-p256. What becomes of a command is in status and in the log.\n"
    "\n"
    "Exit status: 0 done or queued, 1 no such certificate, issuer or record, 2 wrong usage, 3 no running tls-off reached.\n";

struct acme_args {
    struct admin_args admin;
    const char *reason;
    bool check;
};

static const char *acme_flag(void *ctx, const char *flag, const char *value) {
    struct acme_args *a = ctx;
    uint64_t n;
    if (strcmp(flag, "--check") == 0) {
        a->check = true;
        return NULL;
    }
    a->reason = value;
    return text_parse_u64(value, 10, &n) == 0 ? NULL : "a number from 0 to 10 (RFC 5280 5.3.1)";
}

/* "2026-11-29 16:00" in UTC, or what is said when there is none. */
static const char *when(const json_t *o, const char *name, const char *otherwise, char to[static CLOCK_TEXT_MAX]) {
    time_t t = (time_t)admin_number(o, name);
    struct tm tm;
    if (t <= 0 || !gmtime_r(&t, &tm) || strftime(to, CLOCK_TEXT_MAX, "%Y-%m-%d %H:%M", &tm) == 0)
        return otherwise;
    return to;
}

static bool has_alarm(const json_t *o) {
    return json_is_true(json_object_get(o, "alarm"));
}

static bool has_failed(const json_t *o) {
    return admin_text(o, "error")[0] != 0;
}

static void print_cert(const json_t *o) {
    char until[CLOCK_TEXT_MAX], renew[CLOCK_TEXT_MAX], next[CLOCK_TEXT_MAX];
    const char *error = admin_text(o, "error"), *state = admin_text(o, "state");
    bool real = json_is_true(json_object_get(o, "issued_by_issuer"));
    printf("%s: %s%s\n", admin_text(o, "certificate"), real ? "from an issuer" : "self-signed, none from an issuer yet",
           has_alarm(o) ? "  ALARM" : "");
    printf("  names    ");
    const json_t *names = json_object_get(o, "names");
    size_t n = json_array_size(names), shown = n > NAMES_SHOWN + 1 ? NAMES_SHOWN : n;
    for (size_t i = 0; i < shown; i++)
        printf("%s%s", i ? ", " : "", json_string_value(json_array_get(names, i)));
    if (shown < n)
        printf(" and %zu more", n - shown);
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

/* What somebody looks for comes last, above the prompt: behind those that are well those that failed, and the alarms. */
static void print_certs(const json_t *list) {
    size_t n = json_array_size(list), real = 0, failed = 0, alarms = 0;
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 0; i < n; i++) {
            const json_t *o = json_array_get(list, i);
            if ((has_alarm(o) ? 2u : has_failed(o) ? 1u : 0u) == round)
                print_cert(o);
        }
    for (size_t i = 0; i < n; i++) {
        const json_t *o = json_array_get(list, i);
        real += json_is_true(json_object_get(o, "issued_by_issuer"));
        failed += has_failed(o);
        alarms += has_alarm(o);
    }
    if (n > 1)
        printf("%zu certificates: %zu from issuers, %zu failed in the last attempt, %zu with an alarm\n", n, real, failed,
               alarms);
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
    else
        print_certs(list);
    json_decref(o);
    return status;
}

static int post_acme_command(const struct acme_args *a, const char *verb, const char *target) {
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

int cmd_acme(const struct arguments *given) {
    struct acme_args a = {.reason = NULL};
    const char *verb = arguments_operand(given, 0), *target = arguments_operand(given, 1);
    bool shows = strcmp(verb, "status") == 0, record = strcmp(verb, "record") == 0;
    if (shows && target)
        return arguments_refuse(given, "%s: found \"%.100s\", expected nothing more", verb, target);
    if (!shows && (!target || !target[0]))
        return arguments_refuse(given, "%s: expected %s", verb,
                                record                          ? "NAME"
                                : strcmp(verb, "rollover") == 0 ? "ISSUER"
                                                                : "CERTIFICATE");
    if (!admin_args_read(given, acme_flag, &a, &a.admin))
        return EXIT_USAGE;
    if ((a.check && !record) || (a.reason && strcmp(verb, "revoke") != 0))
        return arguments_refuse(given, "%s: found %s, which belongs to %s", verb, a.check ? "--check" : "--reason",
                                a.check ? "record" : "revoke");
    return record  ? acme_record_show(&a.admin, target, a.check)
           : shows ? print_status(&a)
                   : post_acme_command(&a, verb, target);
}
