/*
 * The screen of `top`, redrawn each time from what was fetched last. Everything is shown in words and numbers; color only marks
 * what needs attention: red is wrong, yellow will be soon.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "cli/table.h"
#include "cli/top.h"

enum tone { PLAIN, STRONG, FAINT, HEAD, BAD, SOON, CHOSEN };

#define NAME_MIN 14 /* columns of the first column of a list */

struct draw_area {
    struct top *t;
    int row, rows, width;
    unsigned page;   /* rows that a list has in its view */
    unsigned listed; /* rows of the list that scrolls, visible or not */
};

static void set_tone(struct top *t, enum tone tone) {
    static const attr_t plain[] = {[PLAIN] = A_NORMAL, [STRONG] = A_BOLD, [FAINT] = A_DIM,     [HEAD] = A_UNDERLINE,
                                   [BAD] = A_BOLD,     [SOON] = A_BOLD,   [CHOSEN] = A_REVERSE};
    short pair = (short)(!t->color ? 0 : tone == BAD ? 1 : tone == SOON ? 2 : 0);
    (void)curses.wattr_set(t->window, plain[tone], pair, NULL);
}

/* One piece of text at a column, cut at the window's edge. */
static void draw_text(struct draw_area *p, int column, enum tone tone, const char *fmt, ...) PRINTF_LIKE(4, 5);
static void draw_text(struct draw_area *p, int column, enum tone tone, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap); /* cut is fine on a screen */
    va_end(ap);
    if (p->row >= p->rows || column >= p->width)
        return;
    set_tone(p->t, tone);
    (void)curses.wmove(p->t->window, p->row, column);
    (void)curses.waddnstr(p->t->window, text, (int)table_clip(text, (size_t)(p->width - column)));
    set_tone(p->t, PLAIN);
}

/* ---- the head ---- */

static bool is_bad_state(const char *state) {
    return strcmp(state, "serving") != 0 && strcmp(state, "reloading") != 0;
}

static void draw_title(struct draw_area *p) {
    const json_t *s = p->t->status;
    char age[HUMAN_MAX], line[256];
    struct text t = text_of(line, sizeof(line));
    const char *state = admin_text(s, "state");
    time_t now = (time_t)admin_number(s, "time");
    struct tm tm;
    text_addf(&t, "tls-off %s  %s  up %s  generation %.0f", admin_text(s, "version"), admin_text(s, "hostname"),
              human_seconds(admin_number(s, "uptime_seconds"), age), admin_number(s, "generation"));
    draw_text(p, 0, STRONG, "%s", line);
    draw_text(p, (int)table_columns(line) + 2, is_bad_state(state) ? BAD : STRONG, "%s%s", state,
              p->t->paused ? "  PAUSED" : "");
    if (localtime_r(&now, &tm) && strftime(line, sizeof(line), "%H:%M:%S", &tm) > 0)
        draw_text(p, p->width - 8, PLAIN, "%s", line);
    p->row++;
}

/* What is wrong, or will be soon: at most two lines, none without a problem. */
static void draw_attention(struct draw_area *p) {
    const json_t *s = p->t->status, *c = json_array_get(json_object_get(s, "certificates"), 0), *d;
    size_t i;
    if (p->t->err < 0) {
        draw_text(p, 0, BAD, "no answer for %.0f s, trying again: this is the last data",
                  (double)(clock_mono_ms() - p->t->since_ms) / 1000);
        p->row++;
        return;
    }
    json_array_foreach(json_object_get(s, "degraded"), i, d) {
        if (i == 2)
            break;
        draw_text(p, 0, BAD, "%s", json_string_value(d));
        p->row++;
    }
    if (c && admin_number(c, "days_left") < 14) {
        const char *name = json_string_value(json_array_get(json_object_get(c, "names"), 0));
        draw_text(p, 0, admin_number(c, "days_left") < 1 ? BAD : SOON, "certificate %s ends in %.0f days",
                  name ? name : admin_text(c, "file"), admin_number(c, "days_left"));
        p->row++;
    }
}

static double largest(const double *v, size_t n) {
    double max = 0;
    for (size_t i = 0; i < n; i++)
        max = MAX(max, v[i]);
    return max;
}

/* The last N values as bars at the right edge, the latest last, as far as they fit behind COLUMN. */
static void draw_spark(struct draw_area *p, int column, const double *v, size_t n) {
    static const char *const bars[] = {" ",
                                       "\xe2\x96\x81",
                                       "\xe2\x96\x82",
                                       "\xe2\x96\x83",
                                       "\xe2\x96\x84",
                                       "\xe2\x96\x85",
                                       "\xe2\x96\x86",
                                       "\xe2\x96\x87",
                                       "\xe2\x96\x88"};
    static const char *const signs[] = {" ", ".", ":", "-", "=", "+", "*", "#", "@"};
    char line[TOP_SECONDS * 4 + 1];
    struct text t = text_of(line, sizeof(line));
    size_t room = p->width > column ? (size_t)(p->width - column) : 0, shown = MIN(n, room);
    double max = largest(v + n - shown, shown);
    for (size_t i = n - shown; i < n; i++) {
        size_t height = v[i] <= 0 ? 0 : 1 + (size_t)(v[i] / max * 7.001);
        text_add(&t, (p->t->utf8 ? bars : signs)[MIN(height, 8u)]);
    }
    draw_text(p, p->width - (int)shown, PLAIN, "%s", line);
}

static size_t history_of(const json_t *s, const char *name, double v[static TOP_SECONDS]) {
    const json_t *list = json_object_get(json_object_get(s, "history"), name);
    size_t all = json_array_size(list), n = MIN(all, (size_t)TOP_SECONDS);
    for (size_t i = 0; i < n; i++)
        v[i] = json_number_value(json_array_get(list, all - n + i));
    return n;
}

static void draw_total(struct draw_area *p, const char *label, const char *name, bool bytes, enum tone tone) {
    const json_t *rates = json_object_get(json_object_get(p->t->status, "rates"), name);
    char now[HUMAN_MAX], peak[HUMAN_MAX];
    double v[TOP_SECONDS];
    size_t n = history_of(p->t->status, name, v);
    const char *(*human)(double, char *) =
        bytes ? (const char *(*)(double, char *))human_bytes : (const char *(*)(double, char *))human_count;
    draw_text(p, 0, FAINT, "%s", label);
    draw_text(p, 9, tone, "%10s/s", human(admin_number(rates, "1s"), now));
    draw_text(p, 22, FAINT, "max %s", human(largest(v, n), peak));
    draw_spark(p, 36, v, n);
    p->row++;
}

static void draw_totals(struct draw_area *p) {
    const json_t *totals = json_object_get(p->t->status, "totals"), *handshakes = json_object_get(totals, "handshakes");
    const json_t *times = json_object_get(json_object_get(p->t->status, "histograms"), "handshake_seconds");
    char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX], d[HUMAN_MAX], e[HUMAN_MAX];
    bool failing = admin_number(json_object_get(json_object_get(p->t->status, "rates"), "failed"), "1s") > 0;
    draw_total(p, "in", "bytes_in", true, STRONG);
    draw_total(p, "out", "bytes_out", true, STRONG);
    draw_total(p, "handsh.", "handshakes", false, STRONG);
    draw_total(p, "failed", "failed", false, failing ? BAD : STRONG);
    draw_text(p, 0, FAINT, "sessions");
    draw_text(p, 9, STRONG, "%10s", human_count(admin_number(totals, "sessions"), a));
    draw_text(p, 22, FAINT, "%s in all  failed %s of %s  p50 %s p99 %s", human_count(admin_number(totals, "sessions_total"), b),
              human_count(admin_failed(handshakes), a),
              human_count(admin_failed(handshakes) + admin_number(handshakes, "full") + admin_number(handshakes, "resumed"), c),
              human_seconds(admin_number(times, "p50"), d), human_seconds(admin_number(times, "p99"), e));
    p->row += 2;
}

/* ---- lists ---- */

/* A list's head: the name's column takes what the numbers leave. */
static int name_width(const struct draw_area *p, int numbers) {
    return MAX(NAME_MIN, p->width - numbers);
}

static void draw_cell(struct draw_area *p, int width, enum tone tone, const char *name) {
    char text[TOP_TEXT];
    struct text t = text_of(text, sizeof(text));
    table_shorten(&t, name, (size_t)MAX(width - 1, 0));
    draw_text(p, 0, tone, "%s", text);
}

/* Whether the next row of a list that scrolls is visible. */
static bool takes_row(struct draw_area *p, int last) {
    p->listed++;
    return p->listed > p->t->scroll && p->row < last;
}

#define CLIENT_NUMBERS 61

static void draw_client(struct draw_area *p, const json_t *c) {
    bool chosen = strcmp(admin_text(c, "client"), p->t->selected) == 0;
    int at = name_width(p, CLIENT_NUMBERS);
    char a[HUMAN_MAX], b[HUMAN_MAX], d[HUMAN_MAX], e[HUMAN_MAX], f[HUMAN_MAX], g[HUMAN_MAX];
    double failed = admin_number(c, "failed_total");
    draw_cell(p, at, chosen ? CHOSEN : STRONG, admin_text(c, "client"));
    draw_text(p, at, PLAIN, "%8.0f%10s%9s%9s%9s%9s%7s", admin_number(c, "sessions"), human_bytes(top_rate(c, "1s"), a),
              human_bytes(top_rate(c, "10s"), b), human_bytes(top_rate(c, "60s"), d),
              human_bytes(admin_number(c, "bytes_in"), e), human_bytes(admin_number(c, "bytes_out"), f), "");
    if (failed > 0)
        draw_text(p, at + 54, SOON, "%7s", human_count(failed, g));
    p->row++;
}

static void draw_clients(struct draw_area *p, int last) {
    int at = name_width(p, CLIENT_NUMBERS);
    size_t i, shown = 0, before = 0, room = (size_t)MAX(last - p->row - 1, 0);
    json_t *c;
    draw_text(p, 0, HEAD, "%-*s%8s%10s%9s%9s%9s%9s%7s", at, "CLIENTS", "sessions", "B/s 1 s", "10 s", "60 s", "in", "out",
              "failed");
    p->row++;
    json_array_foreach(p->t->clients, i, c) { /* so far down that the selected one is seen */
        if (!top_passes(p->t, admin_text(c, "client")))
            continue;
        shown++;
        if (strcmp(admin_text(c, "client"), p->t->selected) == 0 && shown > room)
            before = shown - room;
    }
    json_array_foreach(p->t->clients, i, c) {
        if (!top_passes(p->t, admin_text(c, "client")))
            continue;
        if (before > 0)
            before--;
        else if (p->row < last)
            draw_client(p, c);
    }
    if (shown == 0)
        draw_text(p, 0, FAINT, p->t->filter[0] ? "no client fits the filter" : "no client yet");
    p->row = MAX(p->row, last);
}

#define SERVICE_NUMBERS 59

static void draw_traffic(struct draw_area *p, const char *indent, const json_t *o, const char *state, bool bad, double failed) {
    int at = name_width(p, SERVICE_NUMBERS);
    char a[HUMAN_MAX], b[HUMAN_MAX], c[HUMAN_MAX], d[HUMAN_MAX], e[HUMAN_MAX], name[TOP_TEXT];
    (void)snprintf(name, sizeof(name), "%s%s", indent, admin_text(o, "name"));
    draw_cell(p, at, indent[0] ? PLAIN : STRONG, name);
    draw_text(p, at, bad ? BAD : PLAIN, "%11s", state);
    draw_text(p, at + 11, PLAIN, "%8s%8s%9s%9s", human_count(admin_number(o, "sessions"), a),
              human_count(admin_number(json_object_get(o, "rate_sessions"), "1s"), b),
              human_bytes(admin_number(json_object_get(o, "rate_in"), "1s"), c),
              human_bytes(admin_number(json_object_get(o, "rate_out"), "1s"), d));
    draw_text(p, at + 45, failed > 0 ? SOON : PLAIN, "%8s", human_count(failed, e));
    p->row++;
}

static void draw_services(struct draw_area *p, int last) {
    int at = name_width(p, SERVICE_NUMBERS);
    size_t i, j;
    json_t *s, *b;
    draw_text(p, 0, HEAD, "%-*s%11s%8s%8s%9s%9s%8s", at, "SERVICES, BACKENDS", "state", "sess.", "new/s", "in B/s", "out B/s",
              "failed");
    p->row++;
    json_array_foreach(json_object_get(p->t->status, "services"), i, s) {
        if (takes_row(p, last))
            draw_traffic(p, "", s, admin_text(s, "mode"), false, admin_failed(json_object_get(s, "handshakes")));
        json_array_foreach(json_object_get(s, "backends"), j, b) {
            const char *state = admin_text(b, "state");
            if (top_passes(p->t, admin_text(b, "name")) && takes_row(p, last))
                draw_traffic(p, "  ", b, state, strcmp(state, "up") != 0, admin_number(b, "connects_failed_total"));
        }
    }
    p->row = MAX(p->row, last);
}

static void draw_failures(struct draw_area *p, int last) {
    const json_t *failed = json_object_get(json_object_get(json_object_get(p->t->status, "totals"), "handshakes"), "failed");
    json_t *left = json_copy((json_t *)(uintptr_t)failed), *n;
    draw_text(p, 0, HEAD, "%-*s", p->width - 1, "FAILED HANDSHAKES, BY REASON");
    p->row++;
    if (json_object_size(left) == 0)
        draw_text(p, 0, FAINT, "none");
    while (json_object_size(left) > 0) { /* the most frequent one each time */
        const char *reason, *most = NULL;
        double count = -1;
        json_object_foreach(left, reason, n) {
            if (json_number_value(n) > count) {
                most = reason;
                count = json_number_value(n);
            }
        }
        if (top_passes(p->t, most) && takes_row(p, last))
            draw_text(p, 0, PLAIN, "%12.0f  %s", count, most), p->row++;
        (void)json_object_del(left, most);
    }
    json_decref(left);
    p->row = MAX(p->row, last);
}

static void draw_processes(struct draw_area *p, int last) {
    size_t i;
    json_t *o;
    draw_text(p, 0, HEAD, "%-15s%5s%9s  %-10s%10s%10s%9s%9s", "PROCESS", "gen.", "pid", "state", "cpu %", "memory", "objects",
              "restarts");
    p->row++;
    json_array_foreach(json_object_get(p->t->status, "processes"), i, o) {
        char name[48], cpu[16] = "", memory[HUMAN_MAX], objects[HUMAN_MAX];
        const char *state = admin_text(o, "state");
        bool bad = strcmp(state, "down") == 0 || strcmp(state, "hung") == 0;
        (void)snprintf(name, sizeof(name), "%s.%.0f", admin_text(o, "role"), admin_number(o, "index"));
        if (!top_passes(p->t, name) || !takes_row(p, last))
            continue;
        if (top_cpu(p->t, o) >= 0)
            (void)snprintf(cpu, sizeof(cpu), "%.1f", top_cpu(p->t, o));
        draw_text(p, 0, STRONG, "%-15s", name);
        draw_text(p, 15, PLAIN, "%5.0f%9.0f", admin_number(o, "generation"), admin_number(o, "pid"));
        draw_text(p, 31, bad ? BAD : PLAIN, "%s", state);
        draw_text(p, 41, PLAIN, "%10s%10s%9s%9.0f", cpu, human_bytes(admin_number(o, "memory_bytes"), memory),
                  human_count(admin_number(o, "sessions") + admin_number(o, "handshakes"), objects),
                  admin_number(o, "restarts_total"));
        p->row++;
    }
    p->row = MAX(p->row, last);
}

/* ---- one client ---- */

static void draw_sessions(struct draw_area *p, int last) {
    size_t i;
    json_t *s;
    draw_text(p, 0, HEAD, "%-14s%-12s%-11s%9s%9s%10s%10s", "UNIQUE ID", "service", "state", "age", "idle", "in", "out");
    p->row++;
    json_array_foreach(json_object_get(p->t->sessions, "sessions"), i, s) {
        char age[HUMAN_MAX], idle[HUMAN_MAX], in[HUMAN_MAX], out[HUMAN_MAX];
        if (p->row >= last)
            break;
        draw_text(p, 0, PLAIN, "%-14.12s%-12.11s%-11s%9s%9s%10s%10s", admin_text(s, "id"), admin_text(s, "service"),
                  admin_text(s, "state"), human_seconds(admin_number(s, "age_seconds"), age),
                  human_seconds(admin_number(s, "idle_seconds"), idle), human_bytes(admin_number(s, "bytes_in"), in),
                  human_bytes(admin_number(s, "bytes_out"), out));
        p->row++;
    }
    if (json_array_size(json_object_get(p->t->sessions, "sessions")) == 0)
        draw_text(p, 0, FAINT, "no session now");
    p->row = MAX(p->row, last);
}

static void draw_followed(struct draw_area *p, int last) {
    const json_t *c = json_array_get(p->t->clients, 0);
    char a[HUMAN_MAX], b[HUMAN_MAX], d[HUMAN_MAX];
    double v[TOP_SECONDS];
    size_t n = MIN(p->t->nhistory, (unsigned)TOP_SECONDS);
    for (size_t i = 0; i < n; i++)
        v[i] = p->t->history[(p->t->nhistory - n + i) % TOP_SECONDS];
    draw_text(p, 0, STRONG, "client %s", p->t->followed);
    draw_text(p, p->width - 14, FAINT, "Esc: all again");
    p->row++;
    if (!c)
        draw_text(p, 0, FAINT, "not tracked any more");
    draw_text(p, 0, PLAIN, "%10s/s", human_bytes(top_rate(c, "1s"), a));
    draw_text(p, 14, FAINT, "10 s %s/s  60 s %s/s", human_bytes(top_rate(c, "10s"), b), human_bytes(top_rate(c, "60s"), d));
    p->row++;
    draw_spark(p, 12, v, n);
    draw_text(p, 0, FAINT, "both ways");
    p->row++;
    draw_text(p, 0, PLAIN, "in %s  out %s  handshakes %.0f full, %.0f resumed, %.0f failed",
              human_bytes(admin_number(c, "bytes_in"), a), human_bytes(admin_number(c, "bytes_out"), b),
              admin_number(c, "handshakes_full_total"), admin_number(c, "handshakes_resumed_total"),
              admin_number(c, "failed_total"));
    p->row += 2;
    draw_sessions(p, last);
}

/* ---- the whole ---- */

static void draw_help(struct draw_area *p) {
    static const char *const lines[] = {
        "1 overview   2 clients   3 services and backends   4 failures   5 processes",
        "up, down     choose a client (Enter follows it, Esc ends that); elsewhere scroll",
        "s            other order of clients (rate, bytes, sessions, failed, name)",
        "/            filter by a part of the name; Enter keeps it, Esc clears it",
        "p, space     pause and go on",
        "q            quit",
        "",
        "Rates are plain bytes a second. \"failed\" of a client or service: connections",
        "that became no session; of a backend: connects. p50 and p99 are those of",
        "handshakes. The bars are the last 60 seconds, the latest at the right.",
    };
    draw_text(p, 0, HEAD, "%-*s", p->width - 1, "KEYS");
    p->row++;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++, p->row++)
        draw_text(p, 0, PLAIN, "%s", lines[i]);
}

/* Lines that services and backends need in the overview, with their head. */
static int service_lines(const struct top *t) {
    size_t i, n = 1;
    json_t *s;
    json_array_foreach(json_object_get(t->status, "services"), i, s) n += 1 + json_array_size(json_object_get(s, "backends"));
    return (int)MIN(n, 1000u);
}

static int failure_lines(const struct top *t) {
    const json_t *failed = json_object_get(json_object_get(json_object_get(t->status, "totals"), "handshakes"), "failed");
    return 1 + (int)MAX(MIN(json_object_size(failed), 4u), 1u);
}

static void draw_overview(struct draw_area *p, int last) {
    int left = last - p->row, failures = MIN(failure_lines(p->t), left / 4);
    int services = MIN(service_lines(p->t), MAX(2, (left - failures) / 2));
    draw_clients(p, last - services - failures - (left > 14 ? 2 : 0));
    p->row += left > 14;
    draw_services(p, p->row + services);
    p->row += left > 14;
    draw_failures(p, last);
}

static void draw_body(struct draw_area *p, int last) {
    struct top *t = p->t;
    if (t->help)
        draw_help(p);
    else if (t->followed[0])
        draw_followed(p, last);
    else if (t->view == TOP_CLIENTS)
        draw_clients(p, last);
    else if (t->view == TOP_SERVICES)
        draw_services(p, last);
    else if (t->view == TOP_FAILURES)
        draw_failures(p, last);
    else if (t->view == TOP_PROCESSES)
        draw_processes(p, last);
    else
        draw_overview(p, last);
}

static void draw_foot(struct draw_area *p) {
    struct top *t = p->t;
    p->row = p->rows - 1;
    if (t->typing)
        draw_text(p, 0, STRONG, "filter: %s_", t->filter);
    else
        draw_text(p, 0, FAINT, "order: %s%s%s   ? help  s order  / filter  p pause  Enter follow  q quit", top_sorts[t->sort],
                  t->filter[0] ? "  filter: " : "", t->filter);
}

static void draw_all(struct draw_area *p) {
    p->listed = 0;
    (void)curses.werase(p->t->window);
    draw_title(p);
    draw_attention(p);
    if (p->rows >= 16)
        draw_totals(p);
    p->page = (unsigned)MAX(p->rows - 1 - p->row - 1, 1); /* of a list that is alone, below its head */
    draw_body(p, p->rows - 1);
    draw_foot(p);
}

void top_draw(struct top *t) {
    struct draw_area p = {t, 0, curses.getmaxy(t->window), curses.getmaxx(t->window), 0, 0};
    draw_all(&p);
    unsigned end = p.listed > p.page ? p.listed - p.page : 0;
    if (t->scroll > end) { /* the list has become shorter, or its end was reached */
        t->scroll = end;
        p.row = 0;
        draw_all(&p);
    }
    (void)curses.wmove(t->window, p.rows - 1, p.width - 1);
    (void)curses.wnoutrefresh(t->window);
    (void)curses.doupdate();
}
