#include "observer/figures.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define CLIENTS_MAX 16384
#define ROWS_MAX    2048

bool figures_init(struct figures *f, int stats_fd) {
    memset(f, 0, sizeof(*f));
    if (stats_fd >= 0 && stats_reader_open(stats_fd, &f->stats) < 0)
        f->stats.head = NULL; /* of another layout: the traffic goes on, its figures are not to be had */
    f->clients_rates = rates_new(FIGURE_OUT + 1, CLIENTS_MAX);
    f->rows_rates = rates_new(FIGURES, ROWS_MAX);
    return f->clients_rates && f->rows_rates;
}

void figures_fini(struct figures *f) {
    stats_reader_close(&f->stats);
    stats_sums_free(&f->sums);
    stats_clients_free(&f->clients);
    rates_free(f->clients_rates);
    rates_free(f->rows_rates);
    if (f->roster_page.shared)
        roster_unmap(&f->roster_page);
    if (f->creds.head)
        creds_unmap(&f->creds);
}

int figures_take_roster(struct figures *f, int fd) {
    struct roster_page page;
    int err = roster_map(fd, &page);
    if (err < 0)
        return err;
    if (f->roster_page.shared)
        roster_unmap(&f->roster_page);
    f->roster_page = page;
    f->read_ms = 0;
    return 0;
}

static void read_roster(struct figures *f) {
    if (f->roster_page.shared)
        f->has_roster = roster_read(&f->roster_page, &f->roster) || f->has_roster;
}

bool figures_is_own_process(struct figures *f, int32_t pid) {
    read_roster(f);
    const struct roster_process *p = f->roster.processes;
    for (size_t i = 0; f->has_roster && pid > 0 && i < ROSTER_PROCESSES && p[i].state != ROSTER_NO_PROCESS; i++)
        if (p[i].pid == pid)
            return true;
    return false;
}

int figures_take_creds(struct figures *f, int fd) {
    struct creds creds;
    int err = creds_map(fd, &creds);
    if (err < 0)
        return err;
    if (f->creds.head)
        creds_unmap(&f->creds);
    f->creds = creds;
    return 0;
}

static bool is_fresh(uint64_t read_ms, uint64_t now_ms) {
    return read_ms != 0 && now_ms < read_ms + FIGURES_FRESH_MS;
}

void figures_refresh(struct figures *f, uint64_t now_ms) {
    read_roster(f); /* always: it costs little, and a result is asked for when it is there */
    if (is_fresh(f->read_ms, now_ms))
        return;
    f->read_ms = now_ms;
    if (f->stats.head && stats_sums_read(&f->stats, &f->sums) < 0)
        f->read_ms = 0; /* for want of memory: the old figures, and another try */
}

void figures_refresh_clients(struct figures *f, uint64_t now_ms) {
    if (is_fresh(f->clients_ms, now_ms) || !f->stats.head)
        return;
    f->clients_ms = stats_clients_read(&f->stats, &f->clients) < 0 ? 0 : now_ms;
}

uint64_t figures_sum(const struct figures *f, enum stats_kind kind, enum stats_value v) {
    uint64_t sum = 0;
    for (size_t i = 0; i < f->sums.nrows; i++)
        if (f->sums.rows[i].kind == kind)
            sum += f->sums.rows[i].values[v];
    return sum;
}

uint64_t figures_process_sum(const struct figures *f, enum stats_process v) {
    uint64_t sum = 0;
    for (size_t i = 0; i < f->sums.nprocesses; i++)
        sum += f->sums.processes[i].values[v];
    return sum;
}

/* ---- rates ---- */

static struct span client_key(const struct stats_client *c, char to[static FIGURE_KEY_MAX]) {
    struct text t = text_of(to, FIGURE_KEY_MAX);
    text_addf(&t, "%c%s", c->verified ? 'v' : 'c', c->name);
    return span_of(to, t.len);
}

static struct span row_key(enum stats_kind kind, const char *service, const char *name, char to[static FIGURE_KEY_MAX]) {
    struct text t = text_of(to, FIGURE_KEY_MAX);
    text_addf(&t, "%u/%s/%s", (unsigned)kind, service, name);
    return span_of(to, t.len);
}

static void row_values(const struct stats_row *row, uint64_t ret[static FIGURES]) {
    ret[FIGURE_IN] = row->values[STATS_BYTES_IN];
    ret[FIGURE_OUT] = row->values[STATS_BYTES_OUT];
    ret[FIGURE_SESSIONS] = row->values[STATS_SESSIONS];
    ret[FIGURE_HANDSHAKES] = row->values[STATS_HANDSHAKES_FULL] + row->values[STATS_HANDSHAKES_RESUMED];
    ret[FIGURE_FAILED] = row->values[STATS_HANDSHAKES_FAILED];
    ret[FIGURE_SESSIONS_FAILED] = row->values[STATS_SESSIONS_FAILED];
}

static void feed_rows(struct figures *f, uint64_t totals[static FIGURES]) {
    char key[FIGURE_KEY_MAX];
    uint64_t values[FIGURES];
    for (size_t i = 0; i < f->sums.nrows; i++) {
        const struct stats_row *row = &f->sums.rows[i];
        if (row->kind != STATS_SERVICE && row->kind != STATS_BACKEND)
            continue;
        row_values(row, values);
        rates_feed(f->rows_rates, row_key(row->kind, row->service, row->name, key), values, true);
        for (size_t v = 0; v < FIGURES && row->kind == STATS_SERVICE; v++)
            totals[v] += values[v];
    }
    rates_feed(f->rows_rates, span_str("totals"), totals, true);
}

static void feed_clients(struct figures *f, uint64_t second_ago_us) {
    char key[FIGURE_KEY_MAX];
    for (size_t i = 0; i < f->clients.n; i++) {
        const struct stats_client *c = &f->clients.rows[i];
        const uint64_t values[] = {c->values[SKETCH_BYTES_IN], c->values[SKETCH_BYTES_OUT]};
        rates_feed(f->clients_rates, client_key(c, key), values, c->since_wall_us >= second_ago_us);
    }
}

void figures_second(struct figures *f, uint64_t now_ms) {
    uint64_t totals[FIGURES] = {0};
    f->read_ms = f->clients_ms = 0;
    figures_refresh(f, now_ms);
    figures_refresh_clients(f, now_ms);
    rates_begin(f->rows_rates, now_ms);
    feed_rows(f, totals);
    rates_end(f->rows_rates);
    rates_begin(f->clients_rates, now_ms);
    feed_clients(f, clock_wall_us() - 1500 * 1000);
    rates_end(f->clients_rates);
    for (size_t v = 0; v < FIGURES; v++) {
        uint64_t grown = f->seconds > 0 && totals[v] > f->totals[v] ? totals[v] - f->totals[v] : 0;
        f->history[f->seconds % HISTORY_SECONDS][v] = grown;
        f->totals[v] = totals[v];
    }
    f->seconds++;
}

double figures_client_rate(const struct figures *f, const struct stats_client *c, enum figure v, unsigned span) {
    char key[FIGURE_KEY_MAX];
    return rates_get(f->clients_rates, client_key(c, key), v, span);
}

double figures_row_rate(const struct figures *f, enum stats_kind kind, const char *service, const char *name, enum figure v,
                        unsigned span) {
    char key[FIGURE_KEY_MAX];
    return rates_get(f->rows_rates, row_key(kind, service, name, key), v, span);
}

double figures_total_rate(const struct figures *f, enum figure v, unsigned span) {
    return rates_get(f->rows_rates, span_str("totals"), v, span);
}
