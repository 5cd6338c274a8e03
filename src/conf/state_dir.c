/*
 * The state directory: at a start all above it is made, so that those who put something into it make one directory each; a
 * check makes nothing, and looks whether a start could.
 */
#include "conf/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "conf/keylog.h"
#include "conf/report.h"

/* PATH without its last part; "/" stays. */
static void cut_last(char *path) {
    char *slash = strrchr(path, '/');
    slash[slash == path] = 0;
}

bool can_be_made(const char *path, struct text *why) {
    char there[PATH_MAX];
    struct text t = text_of(there, sizeof(there));
    struct stat st;
    text_add(&t, path);
    if (stat(there, &st) == 0)
        return true;
    do
        cut_last(there);
    while (there[1] && stat(there, &st) < 0);
    if (stat(there, &st) == 0 && !S_ISDIR(st.st_mode))
        errno = ENOTDIR;
    else if (faccessat(AT_FDCWD, there, W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    text_addf(why, "%s: %s", there, strerror(errno));
    return false;
}

/* Like mkdir -p for what is above PATH; what fails here fails again, with a reason, in the directory itself. */
static void make_parents(const char *path) {
    char part[PATH_MAX];
    for (const char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
        struct text t = text_of(part, sizeof(part));
        text_add_span(&t, span_of(path, (size_t)(p - path)));
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return;
    }
}

bool load_is_selfsigned(const struct load *l, size_t i) {
    const struct service_origin *o = &l->services[i];
    const struct conf_service *s = &l->conf->services[i];
    const struct toml_node *given = o->node[KEY_CERTIFICATES];
    bool refused = given && (given->kind != TOML_ARRAY || given->nchildren > 0);
    return s->mode == MODE_TERMINATE && s->ncerts == 0 && !o->node[KEY_SERVICE_ACME] && !refused;
}

static bool is_below(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return path && strncmp(path, dir, n) == 0 && path[n] == '/';
}

/* What a start puts there, or would stop without; NULL = nothing. */
static const char *wanted_file(const struct load *l) {
    const struct conf *c = l->conf;
    const char *wanted = NULL;
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    text_addf(&t, "%s/" SELFSIGNED_CERT, c->state_dir);
    for (size_t i = 0; i < c->nservices && !wanted; i++)
        wanted = load_is_selfsigned(l, i) ? conf_strdup(l->conf, path) : NULL;
    if (!wanted && c->acme.dir)
        wanted = c->acme.dir;
    bool logs = is_below(c->keylog.file, c->state_dir) && keylog_is_on(&c->keylog, clock_wall_us()); /* else it was refused */
    return !wanted && logs ? c->keylog.file : wanted;
}

void state_dir_settle(struct load *l) {
    const struct conf *c = l->conf;
    const char *wanted = wanted_file(l), *dir = c->state_dir;
    char reason[PATH_MAX + 64];
    struct text why = text_of(reason, sizeof(reason));
    struct stat st;
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir", "found the file \"%s\", expected a directory", dir);
    else if (!(l->flags & LOAD_FOR_CHECK) && (wanted || is_below(c->admin.socket, dir)))
        make_parents(dir);
    else if (l->flags & LOAD_FOR_CHECK && wanted && !can_be_made(wanted, &why))
        load_error(l, load_top_at(l, KEY_STATE_DIR), "state_dir",
                   "found \"%s\", expected a directory in which this user may make files (%s)", dir, reason);
}
