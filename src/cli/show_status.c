#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/admin_client.h"
#include "cli/show.h"
#include "cli/table.h"

#define EXPIRY_SHOWN_DAYS 30
#define CERTS_SHOWN       10

const char status_usage[] =
    "usage: tls-off status [--admin PATH] [--json]\n"
    "\n"
    "State of the running proxy: traffic, services and backends, processes, certificates that end soon.\n"
    "--json gives everything there is, as /status.json does (docs/admin.md).\n"
    "\n"
    "Exit status: 0 done, 2 wrong usage, 3 no running tls-off reached.\n";

static void print_head(const json_t *s) {
    char age[HUMAN_MAX];
    printf("tls-off %s on %s: %s", admin_text(s, "version"), admin_text(s, "hostname"), admin_text(s, "state"));
    if (json_object_get(s, "pid"))
        printf(", up %s, pid %.0f, generation %.0f", human_seconds(admin_number(s, "uptime_seconds"), age),
               admin_number(s, "pid"), admin_number(s, "generation"));
    printf("\nTLS 1.3 handshakes: %s\n", admin_text(s, "tls13_handshakes"));
    const json_t *r = json_object_get(s, "last_reload"), *d;
    if (json_is_object(r)) {
        char line[128];
        (void)snprintf(line, sizeof(line), "last reload %s ago: %s%s",
                       human_seconds(admin_number(s, "time") - admin_number(r, "time"), age), admin_text(r, "result"),
                       admin_text(r, "text")[0] ? ":" : "");
        admin_print_lines(stdout, line, admin_text(r, "text"));
    }
    size_t i;
    json_array_foreach(json_object_get(s, "degraded"), i, d) printf("attention: %s\n", json_string_value(d));
}

static void print_rate(struct table *t, const char *name, const json_t *rates, const char *now, double total, bool bytes) {
    const char *(*human)(double, char *) =
        bytes ? (const char *(*)(double, char *))human_bytes : (const char *(*)(double, char *))human_count;
    char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX], d[HUMAN_MAX];
    table_row(t, "%s\t%s\t%s\t%s\t%s\t%s", name, now, human(admin_number(rates, "1s"), a), human(admin_number(rates, "10s"), b),
              human(admin_number(rates, "60s"), c), human(total, d));
}

static void print_totals(const json_t *s, size_t width) {
    const json_t *totals = json_object_get(s, "totals"), *rates = json_object_get(s, "rates");
    const json_t *handshakes = json_object_get(totals, "handshakes");
    char sessions[HUMAN_MAX], now[HUMAN_MAX];
    struct table t;
    table_begin(&t, "|>now|>per s: 1 s|>10 s|>60 s|>in all");
    human_count(admin_number(totals, "sessions"), sessions);
    human_count(admin_number(handshakes, "now"), now);
    print_rate(&t, "sessions", json_object_get(rates, "sessions"), sessions, admin_number(totals, "sessions_total"), false);
    print_rate(&t, "handshakes", json_object_get(rates, "handshakes"), now,
               admin_number(handshakes, "full") + admin_number(handshakes, "resumed"), false);
    print_rate(&t, "failed handshakes", json_object_get(rates, "failed"), "", admin_failed(handshakes), false);
    print_rate(&t, "failed sessions", json_object_get(rates, "sessions_failed"), "",
               admin_number(totals, "sessions_failed_total"), false);
    print_rate(&t, "bytes in", json_object_get(rates, "bytes_in"), "", admin_number(totals, "bytes_in_total"), true);
    print_rate(&t, "bytes out", json_object_get(rates, "bytes_out"), "", admin_number(totals, "bytes_out_total"), true);
    table_end(&t, stdout, width);
}

static void print_times(const json_t *s, size_t width) {
    static const char *const names[] = {"handshake", "connect", "first_byte"};
    struct table t;
    table_begin(&t, "time of|>median|>90 %|>99 %|>count");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char name[32], a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX], d[HUMAN_MAX];
        (void)snprintf(name, sizeof(name), "%s_seconds", names[i]);
        const json_t *h = json_object_get(json_object_get(s, "histograms"), name);
        table_row(&t, "%s\t%s\t%s\t%s\t%s", names[i], human_seconds(admin_number(h, "p50"), a),
                  human_seconds(admin_number(h, "p90"), b), human_seconds(admin_number(h, "p99"), c),
                  human_count(admin_number(h, "count"), d));
    }
    table_end(&t, stdout, width);
}

static void print_traffic(struct table *t, const char *name, const char *state, const json_t *o, const char *indent,
                          double failed) {
    char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX], d[HUMAN_MAX], e[HUMAN_MAX];
    table_row(t, "%s%s\t%s\t%s\t%s\t%s/s\t%s/s\t%s", indent, name, state, human_count(admin_number(o, "sessions"), a),
              human_count(admin_number(o, "sessions_total"), b),
              human_bytes(admin_number(json_object_get(o, "rate_in"), "10s"), c),
              human_bytes(admin_number(json_object_get(o, "rate_out"), "10s"), d), human_count(failed, e));
}

static void print_services(const json_t *s, size_t width) {
    struct table t;
    size_t i, j;
    json_t *service, *backend;
    table_begin(&t, "~service, backend|state|>sessions|>in all|>in|>out|>failed");
    json_array_foreach(json_object_get(s, "services"), i, service) {
        print_traffic(&t, admin_text(service, "name"), admin_text(service, "mode"), service, "",
                      admin_failed(json_object_get(service, "handshakes")) + admin_number(service, "sessions_failed_total"));
        json_array_foreach(json_object_get(service, "backends"), j, backend)
            print_traffic(&t, admin_text(backend, "name"), admin_text(backend, "state"), backend, "  ",
                          admin_number(backend, "connects_failed_total"));
    }
    table_end(&t, stdout, width);
}

static void print_traces(const json_t *s) {
    const json_t *t = json_object_get(s, "traces");
    if (json_is_object(t))
        printf("spans to %s (%s): %.0f exported, %.0f refused, %.0f dropped\n", admin_text(t, "endpoint"),
               admin_text(t, "state"), admin_number(t, "exported_total"), admin_number(t, "refused_total"),
               admin_number(t, "dropped_total"));
}

/* The last fault of each backend, and how long ago. */
static void print_faults(const json_t *s) {
    char age[HUMAN_MAX];
    size_t i, j;
    json_t *service, *backend;
    json_array_foreach(json_object_get(s, "services"), i, service)
        json_array_foreach(json_object_get(service, "backends"), j, backend) if (json_object_get(backend, "last_fault"))
            printf("last fault of %s: %s, %s ago\n", admin_text(backend, "name"), admin_text(backend, "last_fault"),
                   human_seconds(admin_number(s, "time") - admin_number(backend, "last_fault_time"), age));
}

static void print_processes(const json_t *s, size_t width) {
    struct table t;
    size_t i;
    json_t *p;
    table_begin(&t, "process|>pid|state|>cpu|>memory|>objects|>restarts|~last end");
    json_array_foreach(json_object_get(s, "processes"), i, p) {
        char cpu[HUMAN_MAX], memory[HUMAN_MAX], objects[HUMAN_MAX];
        double n = admin_number(p, "sessions") + admin_number(p, "handshakes");
        table_row(&t, "%s.%.0f\t%.0f\t%s\t%s\t%s\t%s\t%.0f\t%s", admin_text(p, "role"), admin_number(p, "index"),
                  admin_number(p, "pid"), admin_text(p, "state"), human_seconds(admin_number(p, "cpu_seconds_total"), cpu),
                  human_bytes(admin_number(p, "memory_bytes"), memory), human_count(n, objects),
                  admin_number(p, "restarts_total"), admin_text(p, "last_end"));
    }
    table_end(&t, stdout, width);
}

static bool is_same_certificate(const json_t *a, const json_t *b) {
    return strcmp(admin_text(a, "file"), admin_text(b, "file")) == 0 &&
           strcmp(admin_text(a, "key_type"), admin_text(b, "key_type")) == 0 &&
           admin_number(a, "not_after") == admin_number(b, "not_after");
}

/* How many services have the certificate of row I; 0 when a row before it is of the same one. */
static size_t services_with(const json_t *list, size_t i) {
    const json_t *c = json_array_get(list, i);
    size_t n = 0;
    for (size_t k = 0; k < json_array_size(list); k++) {
        bool same = is_same_certificate(json_array_get(list, k), c);
        if (same && k < i)
            return 0;
        n += same;
    }
    return n;
}

/* The list is sorted by expiry; a certificate is one row, however many services have it. */
static void print_certificates(const json_t *s, size_t width) {
    struct table t;
    size_t i;
    json_t *c, *list = json_object_get(s, "certificates");
    table_begin(&t, "~certificate|service|key|>days left|ends");
    json_array_foreach(list, i, c) {
        size_t services = services_with(list, i);
        time_t end = (time_t)admin_number(c, "not_after");
        struct tm tm;
        char day[16] = "";
        const char *name = json_string_value(json_array_get(json_object_get(c, "names"), 0));
        if (t.rows > CERTS_SHOWN || admin_number(c, "days_left") > EXPIRY_SHOWN_DAYS)
            break;
        if (services == 0)
            continue;
        char service[128];
        (void)snprintf(service, sizeof(service), services > 1 ? "%.90s and %zu more" : "%.90s", admin_text(c, "service"),
                       services - 1);
        if (gmtime_r(&end, &tm))
            (void)strftime(day, sizeof(day), "%Y-%m-%d", &tm);
        table_row(&t, "%s\t%s\t%s\t%.0f\t%s", name ? name : admin_text(c, "file"), service, admin_text(c, "key_type"),
                  admin_number(c, "days_left"), day);
    }
    if (t.rows > 1)
        putchar('\n');
    table_end(&t, stdout, width);
}

int cmd_status(const struct arguments *given) {
    struct admin_args a;
    int status = EXIT_OK;
    if (!admin_args_read(given, NULL, NULL, &a))
        return EXIT_USAGE;
    json_t *s = admin_ask(&a, "GET", "/status.json", &status);
    size_t width = table_width();
    if (s && a.json) {
        status = admin_print_json(s);
    } else if (s) {
        print_head(s);
        putchar('\n');
        print_totals(s, width);
        putchar('\n');
        print_times(s, width);
        putchar('\n');
        print_services(s, width);
        print_faults(s);
        print_traces(s);
        if (json_array_size(json_object_get(s, "processes")) > 0)
            putchar('\n');
        print_processes(s, width);
        print_certificates(s, width);
    }
    json_decref(s);
    return status;
}
