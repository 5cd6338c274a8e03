#include "cli/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/arguments.h"
#include "tls/idna.h"

const char explain_usage[] =
    "usage: tls-off explain ADDRESS [NAME] [ALPN] [--admin PATH] [--json]\n"
    "\n"
    "Which service of the running proxy serves a client that connects to ADDRESS (\"192.0.2.1:443\"), asks for NAME\n"
    "(\"\" = none) and offers ALPN (\"h2,http/1.1\"): the service and why it, the others that claim the name, the\n"
    "certificate, what is asked of the client, limits, and backends with their state.\n"
    "`tls-off check FILE --explain ADDRESS [NAME] [ALPN]` answers for a configuration that does not run.\n"
    "\n"
    "Exit status: 0 answered (refused clients included), 1 the question makes no sense, 2 wrong usage, 3 no running\n"
    "tls-off reached.\n";

bool explain_read(const char *const *texts, size_t n, struct explain_question *q) {
    char name[HOSTNAME_MAX + 1];
    *q = (struct explain_question){.ask = {texts[0], q->name, n > 2 ? texts[2] : ""}};
    if (n < 2 || texts[1][0] == '\0')
        return true;
    int err = idna_hostname(span_str(texts[1]), name);
    if (err == ERR_UNSUPPORTED) {
        fprintf(stderr, "tls-off: \"%s\": names beyond ASCII need libidn2\n", texts[1]);
        return false;
    }
    if (err < 0 || hostname_asked(span_str(name), q->name) < 0)
        fprintf(stderr, "tls-off: \"%s\" is no host name: as in a ClientHello it counts as none\n", texts[1]);
    return true;
}

/* ---- as text ---- */

static void print_list(const char *head, const json_t *list, const char *member) {
    size_t i;
    const json_t *o;
    if (!json_array_size(list))
        return;
    printf("%s", head);
    json_array_foreach(list, i, o) printf("%s%s", i ? ", " : "", member ? admin_text(o, member) : json_string_value(o));
    putchar('\n');
}

static void print_client_rules(const json_t *rules) {
    if (!rules)
        return;
    printf("client certificate: %s", admin_text(rules, "mode"));
    if (json_object_get(rules, "ca"))
        printf(", of %s", admin_text(rules, "ca"));
    if (admin_text(rules, "crl")[0])
        printf(", not revoked by %s", admin_text(rules, "crl"));
    putchar('\n');
    print_list("client rules:       ", json_object_get(rules, "allow"), NULL);
}

static void print_access(const json_t *access) {
    size_t entries = json_array_size(json_object_get(access, "allow")) + json_array_size(json_object_get(access, "deny")) +
                     json_array_size(json_object_get(access, "deny_ja4"));
    print_list("access, allowed:    ", json_object_get(access, "allow"), NULL);
    print_list("access, denied:     ", json_object_get(access, "deny"), NULL);
    print_list("denied by JA4:      ", json_object_get(access, "deny_ja4"), NULL);
    if (entries == 0)
        puts("access:             everybody");
}

static void print_not_tls(const json_t *o) {
    const char *fallback = admin_text(o, "fallback"), *starttls = admin_text(o, "starttls");
    bool redirects = json_is_true(json_object_get(o, "redirect_http"));
    if (starttls[0])
        printf("not TLS:            %s up to its STARTTLS\n", starttls);
    else
        printf("not TLS:            %s%s%s\n", redirects ? "plain HTTP is redirected to https; the rest is " : "",
               fallback[0] ? "passed to service " : "refused", fallback);
}

static void print_limits(json_t *limits) {
    const char *name;
    json_t *n;
    bool any = false;
    json_object_foreach(limits, name, n) {
        if (json_number_value(n) <= 0)
            continue;
        printf("%s%s %.0f", any ? ", " : "limits:             ", name, json_number_value(n));
        any = true;
    }
    puts(any ? "" : "limits:             none");
}

static void print_backends(const json_t *backends) {
    size_t i;
    const json_t *o;
    json_array_foreach(backends, i, o) {
        const char *state = admin_text(o, "state");
        printf("%s%s%s%s\n", i ? "                    " : "backends:           ", admin_text(o, "name"), state[0] ? ": " : "",
               state);
    }
}

static void print_others(const json_t *e) {
    size_t i, n = (size_t)admin_number(e, "others_total");
    const json_t *o, *list = json_object_get(e, "others");
    json_array_foreach(list, i, o)
        printf("%s%s\n", i ? "                    " : "also considered:    ", admin_text(o, "why_not"));
    if (n > json_array_size(list))
        printf("                    and %zu more\n", n - json_array_size(list));
}

/* Passed through; or one that a start makes, which a check does not. */
static void print_no_certificate(const json_t *o) {
    const char *file = admin_text(o, "certificate");
    if (strcmp(admin_text(o, "mode"), "passthrough") == 0)
        puts("certificate:        none: not decrypted here");
    else
        printf("certificate:        %s%sself-signed%s\n", file, file[0] ? ": " : "",
               file[0] ? "" : ", until one from an issuer is there");
}

int explain_print(const json_t *o, bool json) {
    if (json)
        return admin_print_json(o);
    const char *refused = admin_text(o, "refused");
    if (refused[0])
        printf("service:            none: refused with %s\n", refused);
    else
        printf("service:            %s (%s)\n", admin_text(o, "service"), admin_text(o, "mode"));
    printf("why:                %s\n", admin_text(o, "why"));
    if (!refused[0]) {
        const json_t *certificates = json_object_get(o, "certificates");
        print_list("certificate:        ", certificates, "file");
        if (!json_array_size(certificates))
            print_no_certificate(o);
        print_list("protocols:          ", json_object_get(o, "speaks"), NULL);
        print_client_rules(json_object_get(o, "client_auth"));
        print_access(json_object_get(o, "access"));
        print_limits(json_object_get(o, "limits"));
        print_backends(json_object_get(o, "backends"));
    }
    print_not_tls(json_object_get(o, "not_tls"));
    print_others(o);
    return EXIT_OK;
}

/* ---- the command ---- */

int cmd_explain(const struct arguments *a) {
    const char *texts[EXPLAIN_TEXTS];
    char target[2048];
    struct text t = text_of(target, sizeof(target));
    struct explain_question q;
    struct admin_args args;
    int ret = EXIT_USAGE;
    size_t n = a->noperands;
    for (size_t i = 0; i < n; i++)
        texts[i] = arguments_operand(a, i);
    if (!admin_args_read(a, NULL, NULL, &args))
        return EXIT_USAGE;
    if (!explain_read(texts, n, &q))
        return EXIT_INPUT;
    text_add(&t, "/explain");
    admin_add_query(&t, "address", q.ask.address);
    admin_add_query(&t, "name", q.ask.name);
    admin_add_query(&t, "alpn", q.ask.protocols);
    if (t.cut)
        return arguments_refuse(a, "found a question of more than %zu bytes", sizeof(target));
    json_t *o = admin_ask(&args, "GET", target, &ret);
    if (!o)
        return ret;
    ret = explain_print(o, args.json);
    json_decref(o);
    return ret;
}
