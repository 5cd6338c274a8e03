/* Access lists: what each holds, what it decided, and which cannot be read; parts of the status and of the metrics. */
#include "observer/access_lists.h"

#include <stdio.h>
#include <string.h>

#include "observer/exposition.h"
#include "observer/json.h"
#include "observer/status.h"

/* The verdicts of a list over all services. Long names of files are counted under their ends. */
static uint64_t verdicts(const struct admin *a, const char *file, enum stats_value v) {
    const struct stats_sums *s = &a->stats_view.sums;
    size_t len = strlen(file);
    uint64_t sum = 0;
    file += len > STATS_NAME_MAX ? len - STATS_NAME_MAX : 0;
    for (size_t i = 0; i < s->nrows; i++)
        if (s->rows[i].kind == STATS_ACCESS && strcmp(s->rows[i].name, file) == 0)
            sum += s->rows[i].values[v];
    return sum;
}

void status_access(struct admin *a, json_t *list) {
    const struct access *t = &a->stats_view.access;
    for (uint32_t i = 0; t->head && i < MIN(access_lists(t), (uint32_t)STATUS_LISTS_MAX); i++) {
        struct access_list l = access_list(t, i);
        json_t *o = json_append_object(list);
        json_put_text(o, "list", l.file);
        json_put_u64(o, "networks", l.networks);
        json_put_u64(o, "bad_lines", l.bad);
        if (l.failing_s)
            json_put_u64(o, "failing_since", (uint64_t)l.failing_s);
        json_put_u64(o, "admitted", verdicts(a, l.file, STATS_ADMITTED));
        json_put_u64(o, "denied", verdicts(a, l.file, STATS_DENIED));
    }
}

void status_failing_lists(struct admin *a, json_t *degraded) {
    const struct access *t = &a->stats_view.access;
    char line[512];
    for (uint32_t i = 0; t->head && i < access_lists(t); i++) {
        struct access_list l = access_list(t, i);
        if (!l.failing_s)
            continue;
        (void)snprintf(line, sizeof(line), "access list %.400s cannot be read: the %u networks that it had are in force",
                       l.file, l.networks);
        json_append_text(degraded, line);
    }
}

void access_lists_expose(struct admin *a, struct exposition *x) {
    static const struct {
        const char *name, *help;
    } families[] = {{"access_list_networks", "Networks in an access list."},
                    {"access_list_bad_lines", "Lines of an access list that are not in force."},
                    {"access_list_failing", "1 while the file of an access list cannot be read."}};
    const struct access *t = &a->stats_view.access;
    for (size_t f = 0; f < ARRAY_LEN(families); f++) {
        exposition_family(x, EXPOSE_GAUGE, families[f].name, families[f].help);
        for (uint32_t i = 0; t->head && i < MIN(access_lists(t), (uint32_t)STATUS_LISTS_MAX); i++) {
            struct access_list l = access_list(t, i);
            const uint64_t values[] = {l.networks, l.bad, l.failing_s != 0};
            const struct exposition_label labels[] = {{"list", l.file}, {NULL, NULL}};
            exposition_number(x, labels, values[f]);
        }
    }
}
