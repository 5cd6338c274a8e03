#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/admin_client.h"
#include "cli/over.h"
#include "cli/show.h"
#include "cli/table.h"

#define LIMIT_DEFAULT "20"
#define LIMIT_MOST    "10000"
#define WIDE          100 /* columns of a terminal that show all columns of a client */

const char clients_usage[] =
    "usage: tls-off clients [--fleet] [--sort KEY] [--limit N] [--client NAME] [--admin PATH] [--json]\n"
    "       tls-off clients [--fleet] --over MEASURE=N [--format nft|json] [--admin PATH]\n"
    "\n"
    "  --sort KEY     bytes (default), rate, sessions, failed, client\n"
    "  --limit N      at most N clients, 0 to 10000; default 20, with --json all\n"
    "  --client NAME  only that one: an address, an IPv6 network \"2001:db8::/64\", or a verified name\n"
    "\n"
    "  --over M=N     only those over N: rate (bytes a second, both ways, over 10 s), bytes, sessions, handshakes, failed;\n"
    "                 of bytes with a unit: KB, MB, GB, KiB, MiB, GiB\n"
    "  --format nft   with --over: input of `nft -f`, which adds their addresses to the sets over4 and over6 of the table\n"
    "                 \"inet tls_off\" for 10 minutes; a rule that does something about them is yours. json: the list\n"
    "\n"
    "  --fleet        at all instances that share a store together, as each reported in the last second of its busiest\n"
    "                 clients; \"at\" is how many have the client, and \"most at\" the one that has most of it\n"
    "\n"
    "Plain bytes from and to each client; exact since it is tracked, which it is while it is among the busiest\n"
    "(thousands). Rates are those of the last 1, 10 and 60 seconds, both ways together. \"full\" and \"resumed\" are\n"
    "handshakes; they are omitted where the terminal has fewer than 100 columns. --json has all values.\n"
    "\n"
    "Exit status: 0 done, 1 the list was refused, 2 wrong usage, 3 no running tls-off reached.\n";

const char sessions_usage[] =
    "usage: tls-off sessions [--service NAME] [--client NAME] [--limit N] [--admin PATH] [--json]\n"
    "\n"
    "  --service NAME  only sessions of that service\n"
    "  --client NAME   only those of that client: an address or an IPv6 network \"2001:db8::/64\"\n"
    "  --limit N       at most N sessions, 1 to 10000; default 20, with --json 1000\n"
    "\n"
    "Live sessions, asked of the relays; the unique id is that of the log and of the PROXY header. --json has all values:\n"
    "the list \"sessions\", \"next\" (null, or there are more) and \"missing\" (relays that have not answered).\n"
    "\n"
    "Exit status: 0 done, 1 the list was refused, 2 wrong usage, 3 no running tls-off reached.\n";

struct lists {
    struct admin_args args;
    char query[512];
    struct text t; /* in QUERY */
    bool limited;
    bool selects; /* not everybody: an empty list says nothing about who has been seen */
    bool sorted;
    bool fleet;
    struct over over;
    const char *format;
};

static const char *list_flag(void *ctx, const char *flag, const char *value) {
    struct lists *l = ctx;
    if (strcmp(flag, "--over") == 0)
        return over_read(value, &l->over) ? NULL : "a measure and a bound, like rate=10MB or sessions=100";
    if (strcmp(flag, "--format") == 0) {
        l->format = value;
        return NULL;
    }
    if (strcmp(flag, "--fleet") == 0) {
        l->fleet = true;
        return NULL;
    }
    l->sorted = l->sorted || strcmp(flag, "--sort") == 0;
    l->limited = l->limited || strcmp(flag, "--limit") == 0;
    l->selects = l->selects || strcmp(flag, "--sort") != 0;
    admin_add_query(&l->t, flag + 2, value);
    return l->t.cut ? "a shorter text" : NULL;
}

/* Requests a list. NULL with *RET_EXIT: nothing more to do. */
static json_t *request_list(const struct arguments *a, const char *path, struct lists *l, int *ret_exit) {
    char target[640];
    struct text t = text_of(target, sizeof(target));
    *l = (struct lists){.t = text_of(l->query, sizeof(l->query))};
    *ret_exit = EXIT_USAGE;
    if (!admin_args_read(a, list_flag, l, &l->args))
        return NULL;
    bool over = l->over.measure != NULL;
    if (l->format && !over) { /* nft of all would ban everybody */
        (void)arguments_refuse(a, "--format: expected --over beside it");
        return NULL;
    }
    if (over && (l->limited || l->sorted)) {
        (void)arguments_refuse(a, "--over: found %s beside it, which has no meaning there", l->limited ? "--limit" : "--sort");
        return NULL;
    }
    *ret_exit = EXIT_OK;
    if (over && over_sort(&l->over))
        admin_add_query(&l->t, "sort", over_sort(&l->over));
    if (over) { /* all that there are */
        l->selects = true;
        admin_add_query(&l->t, "limit", LIMIT_MOST);
        l->limited = true;
    }
    if (!l->limited && !l->args.json)
        admin_add_query(&l->t, "limit", LIMIT_DEFAULT);
    text_addf(&t, "%s%s%s", l->fleet ? "/fleet" : "", path, l->query);
    return admin_ask(&l->args, "GET", target, ret_exit);
}

static double both(const json_t *o, const char *span) {
    return admin_number(json_object_get(o, "rate_in"), span) + admin_number(json_object_get(o, "rate_out"), span);
}

/* Full and resumed handshakes, as two cells in front of others; returns TO. */
static const char *handshakes(const json_t *c, char *to, size_t cap) {
    char full[HUMAN_MAX], resumed[HUMAN_MAX];
    (void)snprintf(to, cap, "%s\t%s\t", human_count(admin_number(c, "handshakes_full_total"), full),
                   human_count(admin_number(c, "handshakes_resumed_total"), resumed));
    return to;
}

/* Of a list without rows. */
static void print_nobody(const struct lists *l) {
    puts(l->selects ? "no client like that" : "no client has been seen yet");
}

static void print_clients(const json_t *list, const struct lists *l) {
    struct table t;
    size_t i, width = table_width();
    json_t *c;
    bool wide = width >= WIDE;
    table_begin(&t, wide ? "~client|>sessions|>in|>out|>1 s|>10 s|>60 s|>full|>resumed|>failed"
                         : "~client|>sessions|>in|>out|>1 s|>10 s|>60 s|>failed");
    json_array_foreach(list, i, c) {
        char n[HUMAN_MAX], in[HUMAN_MAX], out[HUMAN_MAX], a[HUMAN_MAX], b[HUMAN_MAX], d[HUMAN_MAX], f[HUMAN_MAX];
        char hs[2 * HUMAN_MAX + 2] = "";
        table_row(&t, "%s\t%s\t%s\t%s\t%s/s\t%s/s\t%s/s\t%s%s", admin_text(c, "client"),
                  human_count(admin_number(c, "sessions"), n), human_bytes(admin_number(c, "bytes_in"), in),
                  human_bytes(admin_number(c, "bytes_out"), out), human_bytes(both(c, "1s"), a), human_bytes(both(c, "10s"), b),
                  human_bytes(both(c, "60s"), d), wide ? handshakes(c, hs, sizeof(hs)) : "",
                  human_count(admin_number(c, "failed_total"), f));
    }
    if (t.rows == 1)
        print_nobody(l);
    table_end(&t, stdout, width);
}

/* Who was seen, and how long ago the least recent one. */
static void print_fleet(const json_t *answer, const struct lists *l) {
    const json_t *fleet = json_object_get(answer, "fleet"), *list = json_object_get(answer, "clients");
    char age[HUMAN_MAX];
    double oldest = 0;
    struct table t;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(fleet, "instances"), i, o) {
        double its = admin_number(o, "age_seconds");
        oldest = its > oldest ? its : oldest;
    }
    printf("%.0f other instances seen, the oldest news %s old%s\n", admin_number(fleet, "instances_seen"),
           human_seconds(oldest, age),
           strcmp(admin_text(fleet, "limits"), "local") == 0 ? "; the store does not answer: this instance alone" : "");
    table_begin(&t, "~client|>sessions|>in|>out|>1 s|>10 s|>failed|>at|>most|most at");
    json_array_foreach(list, i, o) {
        char n[HUMAN_MAX], in[HUMAN_MAX], out[HUMAN_MAX], a[HUMAN_MAX], b[HUMAN_MAX], f[HUMAN_MAX];
        table_row(&t, "%s\t%s\t%s\t%s\t%s/s\t%s/s\t%s\t%.0f\t%.0f %%\t%s", admin_text(o, "client"),
                  human_count(admin_number(o, "sessions"), n), human_bytes(admin_number(o, "bytes_in"), in),
                  human_bytes(admin_number(o, "bytes_out"), out), human_bytes(both(o, "1s"), a), human_bytes(both(o, "10s"), b),
                  human_count(admin_number(o, "failed_total"), f), admin_number(o, "instances"),
                  admin_number(o, "most_share") * 100, admin_text(o, "most_at"));
    }
    if (t.rows == 1)
        print_nobody(l);
    table_end(&t, stdout, table_width());
}

/* Of the answer the clients that are asked for; false when out of memory. */
static bool select_clients(json_t **answer, const struct lists *l) {
    if (!l->over.measure)
        return true;
    json_t *list = over_select(l->fleet ? json_object_get(*answer, "clients") : *answer, &l->over);
    if (!list || (l->fleet && json_object_set_new(*answer, "clients", list) < 0))
        return false;
    if (!l->fleet) {
        json_decref(*answer);
        *answer = list;
    }
    return true;
}

int cmd_clients(const struct arguments *a) {
    struct lists l;
    int status;
    json_t *answer = request_list(a, "/clients.json", &l, &status);
    if (!answer)
        return status;
    if (!select_clients(&answer, &l)) {
        (void)fputs("tls-off: out of memory\n", stderr); /* the status says it, too */
        status = EXIT_INPUT;
    } else if (l.format && strcmp(l.format, "nft") == 0)
        over_print_nft(l.fleet ? json_object_get(answer, "clients") : answer, &l.over);
    else if (l.args.json || l.format)
        status = admin_print_json(answer);
    else if (l.fleet)
        print_fleet(answer, &l);
    else
        print_clients(answer, &l);
    json_decref(answer);
    return status;
}

static void print_sessions(const json_t *answer) {
    struct table t;
    size_t i;
    json_t *s;
    table_begin(&t, "unique id|~client|service|state|>age|>idle|>in|>out");
    json_array_foreach(json_object_get(answer, "sessions"), i, s) {
        char age[HUMAN_MAX], idle[HUMAN_MAX], in[HUMAN_MAX], out[HUMAN_MAX];
        table_row(&t, "%.12s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", admin_text(s, "id"), admin_text(s, "client"),
                  admin_text(s, "service"), admin_text(s, "state"), human_seconds(admin_number(s, "age_seconds"), age),
                  human_seconds(admin_number(s, "idle_seconds"), idle), human_bytes(admin_number(s, "bytes_in"), in),
                  human_bytes(admin_number(s, "bytes_out"), out));
    }
    if (t.rows == 1)
        puts("no session");
    table_end(&t, stdout, table_width());
    if (json_is_string(json_object_get(answer, "next")))
        puts("... and more (--limit)");
    const json_t *silent;
    json_array_foreach(json_object_get(answer, "missing"), i, silent) printf("no answer from %s\n", json_string_value(silent));
}

int cmd_sessions(const struct arguments *a) {
    struct lists l;
    int status;
    json_t *answer = request_list(a, "/sessions.json", &l, &status);
    if (answer && l.args.json)
        status = admin_print_json(answer);
    else if (answer)
        print_sessions(answer);
    json_decref(answer);
    return status;
}
