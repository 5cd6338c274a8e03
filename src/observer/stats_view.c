#include "observer/stats_view.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"
#include "shm/stats_clients.h"

#define STATS_VIEW_CLIENTS_MAX 16384
#define ROWS_MAX               2048

bool stats_view_init(struct stats_view *f, int stats_fd) {
    memset(f, 0, sizeof(*f));
    if (stats_fd >= 0 && stats_reader_open(stats_fd, &f->stats) < 0)
        f->stats.head = NULL; /* of another layout: the traffic goes on, its counters cannot be read */
    f->clients_rates = rates_new(CLIENT_RATES, STATS_VIEW_CLIENTS_MAX);
    f->rows_rates = rates_new(RATE_COUNT, ROWS_MAX);
    return f->clients_rates && f->rows_rates;
}

void stats_view_fini(struct stats_view *f) {
    stats_reader_close(&f->stats);
    stats_sums_free(&f->sums);
    stats_clients_free(&f->clients);
    rates_free(f->clients_rates);
    rates_free(f->rows_rates);
    if (f->proctab_page.shared)
        proctab_unmap(&f->proctab_page);
    if (f->creds.head)
        creds_unmap(&f->creds);
}

int stats_view_take_proctab(struct stats_view *f, int fd) {
    struct proctab_page page;
    int err = proctab_map(fd, &page);
    if (err < 0)
        return err;
    if (f->proctab_page.shared)
        proctab_unmap(&f->proctab_page);
    f->proctab_page = page;
    f->read_ms = 0;
    return 0;
}

static void read_proctab(struct stats_view *f) {
    if (f->proctab_page.shared)
        f->has_proctab = proctab_read(&f->proctab_page, &f->proctab) || f->has_proctab;
}

bool stats_view_is_own_process(struct stats_view *f, int32_t pid) {
    read_proctab(f);
    const struct proctab_process *p = f->proctab.processes;
    for (size_t i = 0; f->has_proctab && pid > 0 && i < PROCTAB_PROCESSES && p[i].state != PROCTAB_NO_PROCESS; i++)
        if (p[i].pid == pid)
            return true;
    return false;
}

int stats_view_take_creds(struct stats_view *f, int fd) {
    struct creds creds;
    int err = creds_map(fd, &creds);
    if (err < 0)
        return err;
    if (f->creds.head)
        creds_unmap(&f->creds);
    f->creds = creds;
    return 0;
}

int stats_view_take_access(struct stats_view *f, int fd) {
    struct access access;
    int err = access_map(fd, &access);
    if (err < 0)
        return err;
    if (f->access.head)
        access_unmap(&f->access);
    f->access = access;
    return 0;
}

static bool is_fresh(uint64_t read_ms, uint64_t now_ms) {
    return read_ms != 0 && now_ms < read_ms + STATS_VIEW_FRESH_MS;
}

void stats_view_refresh(struct stats_view *f, uint64_t now_ms) {
    read_proctab(f); /* always: it costs little, and a result is asked for when it is there */
    if (is_fresh(f->read_ms, now_ms))
        return;
    f->read_ms = now_ms;
    if (f->stats.head && stats_sums_read(&f->stats, &f->sums) < 0)
        f->read_ms = 0; /* out of memory: the old values, and another try */
}

void stats_view_refresh_clients(struct stats_view *f, uint64_t now_ms) {
    if (is_fresh(f->clients_ms, now_ms) || !f->stats.head)
        return;
    f->clients_ms = stats_clients_read(&f->stats, &f->clients) < 0 ? 0 : now_ms;
}

uint64_t stats_view_sum(const struct stats_view *f, enum stats_kind kind, enum stats_value v) {
    uint64_t sum = 0;
    for (size_t i = 0; i < f->sums.nrows; i++)
        if (f->sums.rows[i].kind == kind)
            sum += f->sums.rows[i].values[v];
    return sum;
}

uint64_t stats_view_process_sum(const struct stats_view *f, enum stats_process v) {
    uint64_t sum = 0;
    for (size_t i = 0; i < f->sums.nprocesses; i++)
        sum += f->sums.processes[i].values[v];
    return sum;
}

/* ---- rates ---- */

static struct span client_key(const struct stats_client *c, char to[static RATE_KEY_MAX]) {
    struct text t = text_of(to, RATE_KEY_MAX);
    text_addf(&t, "%c%s", c->verified ? 'v' : 'c', c->name);
    return span_of(to, t.len);
}

static struct span row_key(enum stats_kind kind, const char *service, const char *name, char to[static RATE_KEY_MAX]) {
    struct text t = text_of(to, RATE_KEY_MAX);
    text_addf(&t, "%u/%s/%s", (unsigned)kind, service, name);
    return span_of(to, t.len);
}

static void row_values(const struct stats_row *row, uint64_t ret[static RATE_COUNT]) {
    ret[RATE_IN] = row->values[STATS_BYTES_IN];
    ret[RATE_OUT] = row->values[STATS_BYTES_OUT];
    ret[RATE_SESSIONS] = row->values[STATS_SESSIONS];
    ret[RATE_HANDSHAKES] = row->values[STATS_HANDSHAKES_FULL] + row->values[STATS_HANDSHAKES_RESUMED];
    ret[RATE_FAILED] = row->values[STATS_HANDSHAKES_FAILED];
    ret[RATE_SESSIONS_FAILED] = row->values[STATS_SESSIONS_FAILED];
}

static void feed_rows(struct stats_view *f, uint64_t totals[static RATE_COUNT]) {
    char key[RATE_KEY_MAX];
    uint64_t values[RATE_COUNT];
    for (size_t i = 0; i < f->sums.nrows; i++) {
        const struct stats_row *row = &f->sums.rows[i];
        if (row->kind != STATS_SERVICE && row->kind != STATS_BACKEND)
            continue;
        row_values(row, values);
        rates_feed(f->rows_rates, row_key(row->kind, row->service, row->name, key), values, true);
        for (size_t v = 0; v < RATE_COUNT && row->kind == STATS_SERVICE; v++)
            totals[v] += values[v];
    }
    rates_feed(f->rows_rates, span_str("totals"), totals, true);
}

static void feed_clients(struct stats_view *f, uint64_t second_ago_us) {
    char key[RATE_KEY_MAX];
    for (size_t i = 0; i < f->clients.n; i++) {
        const struct stats_client *c = &f->clients.rows[i];
        const uint64_t values[CLIENT_RATES] = {
            [CLIENT_IN] = c->values[SKETCH_BYTES_IN],
            [CLIENT_OUT] = c->values[SKETCH_BYTES_OUT],
            [CLIENT_LET_IN] = c->let_in,
            [CLIENT_LIMITED] = c->values[SKETCH_LIMITED],
        };
        rates_feed(f->clients_rates, client_key(c, key), values, c->since_wall_us >= second_ago_us);
    }
}

void stats_view_second(struct stats_view *f, uint64_t now_ms) {
    struct stats_second *s = &f->history[f->seconds++ % HISTORY_SECONDS];
    f->read_ms = f->clients_ms = 0;
    stats_view_refresh(f, now_ms);
    stats_view_refresh_clients(f, now_ms);
    *s = (struct stats_second){.wall_ms = clock_wall_us() / 1000,
                               .resumed = stats_view_sum(f, STATS_SERVICE, STATS_HANDSHAKES_RESUMED),
                               .sessions_now = stats_view_sum(f, STATS_SERVICE, STATS_SESSIONS_NOW)};
    rates_begin(f->rows_rates, now_ms);
    feed_rows(f, s->totals);
    rates_end(f->rows_rates);
    rates_begin(f->clients_rates, now_ms);
    feed_clients(f, clock_wall_us() - 1500 * 1000);
    rates_end(f->clients_rates);
}

uint64_t stats_view_past(const struct stats_view *f, uint64_t n) {
    return f->seconds - MIN(f->seconds, MIN(n, (uint64_t)HISTORY_SECONDS));
}

const struct stats_second *stats_view_at(const struct stats_view *f, uint64_t second) {
    return &f->history[second % HISTORY_SECONDS];
}

uint64_t stats_view_growth(const struct stats_view *f, uint64_t second, enum rate_kind v) {
    uint64_t now = stats_view_at(f, second)->totals[v], before = second ? stats_view_at(f, second - 1)->totals[v] : now;
    return now > before ? now - before : 0;
}

double stats_view_client_rate(const struct stats_view *f, const struct stats_client *c, enum client_rate v, unsigned span) {
    char key[RATE_KEY_MAX];
    return rates_get(f->clients_rates, client_key(c, key), v, span);
}

double stats_view_row_rate(const struct stats_view *f, enum stats_kind kind, const char *service, const char *name,
                           enum rate_kind v, unsigned span) {
    char key[RATE_KEY_MAX];
    return rates_get(f->rows_rates, row_key(kind, service, name, key), v, span);
}

double stats_view_total_rate(const struct stats_view *f, enum rate_kind v, unsigned span) {
    return rates_get(f->rows_rates, span_str("totals"), v, span);
}
