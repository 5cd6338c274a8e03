/* The order of loading. */
#include "conf/load.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/text.h"
#include "conf/acme_files.h"
#include "conf/acme_keys.h"
#include "conf/check_files.h"
#include "conf/check_routes.h"
#include "conf/cross_check.h"
#include "conf/flags.h"
#include "conf/keylog.h"
#include "conf/machine_defaults.h"
#include "conf/otlp_keys.h"
#include "conf/ports.h"
#include "conf/report.h"
#include "conf/scalars.h"
#include "conf/schema.h"
#include "conf/state_dir.h"
#include "conf/store_keys.h"

static void load_init(struct load *l, const char *file, unsigned flags, const struct conf_capabilities *capabilities,
                      struct diagnostics *f) {
    *l = (struct load){.conf = conf_new(), .diagnostics = f, .capabilities = capabilities, .flags = flags, .file = file};
    scalar_defaults("", l->conf);
}

/* The conf, or NULL when anything was wrong. */
static struct conf *load_end(struct load *l) {
    toml_free(l->root);
    diagnostics_close(l->diagnostics);
    if (l->diagnostics->errors == 0)
        return l->conf;
    conf_free(l->conf);
    return NULL;
}

static void load_rest(struct load *l) {
    load_environment(l);
    check_keys(l);
    acme_settle(l);
    keylog_settle(l);
    state_dir_settle(l);
    acme_files(l);
    check_files(l);
    check_store(l);
    check_otlp_files(l);
    check_routes(l);
    check_ports(l);
}

/* The directory of FILE, absolute and without resolving links: the operator's own view of where things are. */
static bool set_dir(struct load *l, const char *file) {
    struct text t = text_of(l->dir, sizeof(l->dir));
    const char *slash = strrchr(file, '/');
    char cwd[PATH_MAX];
    if (file[0] != '/') {
        if (!getcwd(cwd, sizeof(cwd)))
            return false;
        text_add(&t, cwd);
        if (slash)
            text_add(&t, cwd[1] ? "/" : "");
    }
    if (slash)
        text_add_span(&t, span_of(file, MAX((size_t)(slash - file), (size_t)(slash == file))));
    return !t.cut;
}

struct conf *conf_load_file(const char *file, unsigned flags, const struct conf_capabilities *capabilities,
                            struct diagnostics *f) {
    struct load l;
    load_init(&l, file, flags, capabilities, f);
    char *text = malloc(TOML_FILE_MAX + 1);
    MUST(text);
    ssize_t n =
        set_dir(&l, file) ? input_read_all(file, text, TOML_FILE_MAX + 1) : -1; /* one more shows that it is too large */
    if (n < 0)
        load_error(&l, (struct toml_pos){0, 0}, NULL, "cannot be read: %s", strerror(errno));
    else if (load_schema(&l, text, (size_t)n))
        load_rest(&l);
    free(text);
    return load_end(&l);
}

struct conf *conf_load_flags(const struct conf_flags *flags, const struct conf_capabilities *capabilities,
                             struct diagnostics *f) {
    struct load l;
    load_init(&l, NULL, 0, capabilities, f);
    struct conf *c = l.conf;
    c->services = conf_alloc(c, (1 + SERVICES_OWN) * sizeof(*c->services));
    c->nservices = 1;
    l.services = conf_alloc(c, (1 + SERVICES_OWN) * sizeof(*l.services));
    scalar_defaults("service.*", &c->services[0]);
    c->services[0].name = "default";
    if (getcwd(l.dir, sizeof(l.dir))) {
        flags_read(&l, flags);
        load_rest(&l);
    } else {
        load_error(&l, (struct toml_pos){0, 0}, NULL, "the working directory cannot be named: %s", strerror(errno));
    }
    return load_end(&l);
}
