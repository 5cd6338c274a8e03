#include "conf/conf_access.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/file.h"

#define WHY_MAX   512
#define NAME_ROOM 512
#define RECENT_S  2 /* a file written so shortly ago may be written again within the same time stamp */

struct list_place {
    conf_access_fn report;
    void *ctx;
    size_t service, k;
    bool is_deny;
    const char *file; /* of the list being read */
    size_t shown;     /* bad lines reported of it */
};

static void report_list_fault(const struct list_place *p, bool is_error, const char *text) {
    p->report(p->ctx, p->service, p->is_deny, p->k, is_error, text);
}

static void on_bad_line(void *ctx, size_t line, const char *why) {
    struct list_place *p = ctx;
    char text[WHY_MAX + PATH_MAX];
    if (p->shown++ >= CONF_ACCESS_BAD_SHOWN)
        return;
    (void)snprintf(text, sizeof(text), "%s:%zu: %s; the line is not in force", p->file, line, why);
    report_list_fault(p, false, text);
}

/* ---- one file ---- */

/* Another number for every other content, as far as the file's times show; 0 when they do not show it yet. */
static uint64_t content_stamp(const struct stat *st) {
    int64_t newest = MAX(st->st_mtim.tv_sec, st->st_ctim.tv_sec), now = (int64_t)(clock_wall_us() / 1000000);
    const uint64_t parts[] = {(uint64_t)st->st_dev,         (uint64_t)st->st_ino,          (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec,
                              (uint64_t)st->st_ctim.tv_nsec};
    uint64_t h = 1;
    if (newest + RECENT_S >= now)
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        h = (h ^ parts[i]) * UINT64_C(0x9e3779b97f4a7c15);
        h ^= h >> 32;
    }
    return MAX(h, (uint64_t)1);
}

static ssize_t whole_lines(const uint8_t *p, off_t len) {
    const uint8_t *end = memrchr(p, '\n', (size_t)len);
    return end ? end - p + 1 : 0;
}

/* The networks in the open file. ERR_SYSTEM, ERR_LIMIT, ERR_NOMEM, with the reason in WHY. */
static int read_list(const struct file *f, struct netlist *nets, struct list_place *p, struct text *why) {
    uint8_t *bytes = malloc(file_room(f));
    ssize_t n = bytes ? fd_read_all(f->fd, bytes, file_room(f)) : -1;
    int err = bytes ? ERR_SYSTEM : ERR_NOMEM;
    p->shown = 0;
    if (n > f->st.st_size) /* somebody writes: the lines that were whole, the others when the file is looked at next */
        n = whole_lines(bytes, f->st.st_size);
    if (n >= 0)
        err = netlist_read(nets, span_of(bytes, (size_t)n), on_bad_line, p);
    if (err == ERR_LIMIT)
        text_addf(why, "%s: found more than %u networks", f->path, NETLIST_MAX);
    else if (err < 0)
        text_addf(why, "%s: cannot be read: %s", f->path, err == ERR_NOMEM ? "out of memory" : strerror(errno));
    free(bytes);
    return err;
}

static uint32_t find_list(const struct access *a, const char *file) {
    for (uint32_t i = 0; a && i < access_lists(a); i++)
        if (strcmp(access_list(a, i).file, file) == 0)
            return i;
    return ACCESS_NONE;
}

static void report_rest(const struct list_place *p, const struct netlist *nets) {
    char text[PATH_MAX + 128];
    if (nets->bad <= CONF_ACCESS_BAD_SHOWN)
        return;
    (void)snprintf(text, sizeof(text), "%s: %zu more bad lines are not in force", p->file, nets->bad - CONF_ACCESS_BAD_SHOWN);
    report_list_fault(p, false, text);
}

/* What the list had before stays in force. */
static int keep_failing(struct list_place *p, struct access_writer *w, const struct access *old, uint32_t was, const char *why,
                        uint32_t *ret) {
    char text[WHY_MAX + PATH_MAX + 64];
    struct access_list l = access_list(old, was);
    if (l.failing_s == 0) { /* else it has been reported */
        (void)snprintf(text, sizeof(text), "%s; the %u networks that it had stay in force", why, l.networks);
        report_list_fault(p, false, text);
        l.failing_s = (int64_t)(clock_wall_us() / 1000000);
    }
    l.stamp = 0;
    return access_keep_list(w, &l, old, was, ret);
}

static int add_file(struct list_place *p, struct access_writer *w, const struct access *old, uint32_t *ret) {
    char reason[WHY_MAX + PATH_MAX];
    struct text why = text_of(reason, sizeof(reason));
    struct netlist nets;
    struct file f = {.path = p->file, .expected = "a list of networks", .max = NETLIST_FILE_MAX};
    uint32_t was = find_list(old, p->file);
    int err = file_open(&f, &why);
    uint64_t stamp = err < 0 ? 0 : content_stamp(&f.st);
    if (stamp && was != ACCESS_NONE && access_list(old, was).stamp == stamp) {
        struct access_list same = access_list(old, was);
        file_close(&f);
        return access_keep_list(w, &same, old, was, ret);
    }
    netlist_init(&nets);
    if (err == 0)
        err = read_list(&f, &nets, p, &why);
    file_close(&f);
    if (err == 0) {
        const struct access_list l = {p->file, (uint32_t)nets.nets.n, (uint32_t)nets.bad, 0, stamp};
        report_rest(p, &nets);
        err = access_add_list(w, &l, &nets, ret);
    } else if (was != ACCESS_NONE) {
        err = keep_failing(p, w, old, was, reason, ret);
    } else {
        report_list_fault(p, true, reason);
    }
    netlist_fini(&nets);
    return err;
}

/* ---- one key ---- */

/* The networks that the configuration itself names. */
static int add_inline(const struct list_place *p, const char *service, const char **entries, size_t n, struct access_writer *w,
                      uint32_t *ret) {
    char name[NAME_ROOM], reason[WHY_MAX];
    struct text why = text_of(reason, sizeof(reason));
    struct netlist nets;
    struct cidr net;
    int err = 0;
    netlist_init(&nets);
    for (size_t i = 0; i < n && err == 0; i++)
        if (entries[i][0] != '/' && netlist_parse(span_str(entries[i]), &net, &why) == 0) /* wrong ones have been reported */
            err = netlist_add(&nets, &net);
    (void)snprintf(name, sizeof(name), "service.%s.access.%s", service, p->is_deny ? "deny" : "allow");
    const struct access_list l = {.file = name, .networks = (uint32_t)nets.nets.n};
    if (err == 0)
        err = access_add_list(w, &l, &nets, ret);
    netlist_fini(&nets);
    return err;
}

static size_t count_files(const char **entries, size_t n) {
    size_t files = 0;
    for (size_t i = 0; i < n; i++)
        files += entries[i][0] == '/';
    return files;
}

/* False when an error was reported. */
static bool add_key(struct list_place *p, const char *service, const char **entries, size_t n, struct access_writer *w,
                    const struct access *old) {
    uint32_t list = 0;
    int err = 0;
    p->k = 0;
    if (count_files(entries, n) < n) {
        err = add_inline(p, service, entries, n, w, &list);
        err = err ? err : access_use_list(w, list, p->is_deny);
    }
    for (; p->k < n && err == 0; p->k++) {
        if (entries[p->k][0] != '/')
            continue;
        p->file = entries[p->k];
        list = access_find_list(w, p->file);
        if (list == ACCESS_NONE && add_file(p, w, old, &list) < 0)
            return false;
        err = access_use_list(w, list, p->is_deny);
    }
    char text[128];
    (void)snprintf(text, sizeof(text), "found more than %d lists, those of allow and deny together", ACCESS_LISTS_MAX);
    if (err)
        report_list_fault(p, true, err == ERR_LIMIT ? text : "out of memory");
    return err == 0;
}

void conf_access_service(const struct conf *c, size_t i, struct access_writer *w, const struct access *old,
                         conf_access_fn report, void *ctx) {
    const struct conf_service *s = &c->services[i];
    struct list_place p = {.report = report, .ctx = ctx, .service = i};
    if (access_add_service(w) < 0) {
        report_list_fault(&p, true, "out of memory");
        return;
    }
    if (add_key(&p, s->name, s->access_allow, s->naccess_allow, w, old)) {
        p.is_deny = true;
        (void)add_key(&p, s->name, s->access_deny, s->naccess_deny, w, old); /* what is wrong has been reported */
    }
}

/* ---- a running configuration ---- */

struct access_naming {
    const struct conf *c;
    struct diagnostics *f;
};

static void report_list_by_key(void *ctx, size_t service, bool is_deny, size_t k, bool is_error, const char *text) {
    const struct access_naming *n = ctx;
    char key[NAME_ROOM];
    (void)k;
    (void)snprintf(key, sizeof(key), "service.%s.access.%s", n->c->services[service].name, is_deny ? "deny" : "allow");
    diagnostics_add(n->f, is_error, "access lists", key, "%s", text);
}

bool conf_access_load(const struct conf *c, struct access_writer *w, const struct access *old, struct diagnostics *f) {
    struct access_naming n = {c, f};
    for (size_t i = 0; i < c->nservices; i++)
        conf_access_service(c, i, w, old, report_list_by_key, &n);
    diagnostics_close(f);
    return f->errors == 0;
}
