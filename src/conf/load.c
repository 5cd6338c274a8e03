/* The order of loading, and defaults that come from the machine. */
#include "conf/load.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/text.h"
#include "conf/acme_keys.h"
#include "conf/cpus.h"
#include "conf/default_paths.h"
#include "conf/loader.h"
#include "conf/scalars.h"

#define DEFAULT_USER "tls-off"

/* Of the default for one handshaker. */
#define HANDSHAKE_MEMORY_MIN (UINT64_C(64) << 20)
#define HANDSHAKE_MEMORY_MAX (UINT64_C(1) << 30)

static void set_state_dir(struct load *l) {
    char path[PATH_MAX];
    struct text t = text_of(path, sizeof(path));
    default_state_dir(&t);
    if (t.cut)
        load_error(l, (struct toml_pos){0, 0}, "state_dir",
                   "found a home directory with a name too long, expected at most %d bytes", PATH_MAX - 1);
    l->conf->state_dir = conf_strdup(l->conf, path);
}

/*
 * An eighth of the memory there is for all handshakers together, at least as much as a thousand handshakes each take. A limit
 * of the cgroup's own, as in a container, counts where it is less than the machine has.
 */
static void default_handshake_memory(struct conf *c) {
    uint64_t memory = (uint64_t)MAX(sysconf(_SC_PHYS_PAGES), 0L) * (uint64_t)MAX(sysconf(_SC_PAGESIZE), 0L), limit = 0;
    char line[64] = "";
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (f && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = 0;
        if (text_parse_u64(line, INT64_MAX, &limit) == 0 && limit) /* else "max" */
            memory = MIN(memory, limit);
    }
    if (f)
        (void)fclose(f); /* was only read */
    c->handshake_memory = MIN(MAX(memory / 8 / c->workers, HANDSHAKE_MEMORY_MIN), HANDSHAKE_MEMORY_MAX);
}

/* The user to become matters to root only; a default user that the machine does not have is no reason to stop. */
static void settle_user(struct load *l) {
    struct conf *c = l->conf;
    const struct toml_node *given = l->node[KEY_USER];
    const char *user = c->user && c->user[0] ? c->user : given ? NULL : DEFAULT_USER;
    c->user = NULL;
    if (geteuid() != 0) {
        if (given && user)
            load_warning(l, given->at, "user", "found \"%s\", but it has no effect when not started as root", user);
        return;
    }
    if (!user)
        return;
    if (getpwnam(user))
        c->user = conf_strdup(l->conf, user);
    else if (given)
        load_error(l, given->at, "user", "found \"%s\", expected a user that this machine has", user);
    else
        load_warning(l, (struct toml_pos){0, 0}, "user", "this machine has no user \"%s\": staying root", user);
}

static void default_suites(struct load *l, struct conf_service *s) {
    uint16_t id = 0, version = 0;
    s->suites = conf_alloc(l->conf, CONF_LIST_MAX * sizeof(*s->suites));
    for (size_t i = 0; s->nsuites < CONF_LIST_MAX && l->capabilities->suite_at(i, &id, &version); i++)
        s->suites[s->nsuites++] = id;
}

static void default_groups(struct load *l, struct conf_service *s) {
    static const char *const wanted[] = {"X25519MLKEM768", "x25519", "secp256r1", "secp384r1", "secp521r1"};
    s->groups = conf_alloc(l->conf, sizeof(wanted) / sizeof(wanted[0]) * sizeof(*s->groups));
    for (size_t w = 0; w < ARRAY_LEN(wanted); w++) {
        uint16_t id = 0;
        bool usable = false;
        const char *name;
        for (size_t i = 0; (name = l->capabilities->group_at(i, &id, &usable)); i++)
            if (usable && strcasecmp(name, wanted[w]) == 0)
                s->groups[s->ngroups++] = id;
    }
}

void load_environment(struct load *l) {
    struct conf *c = l->conf;
    uint32_t cpus = c->workers ? 0 : cpus_usable("");
    if (c->workers == 0)
        c->workers = MIN(cpus, (uint32_t)WORKERS_MAX);
    if (c->handshake_memory == 0)
        default_handshake_memory(c);
    settle_user(l);
    if (!c->state_dir)
        set_state_dir(l);
    admin_defaults(l);
    check_admin(l);
    for (size_t i = 0; i < c->nservices; i++) {
        struct conf_service *s = &c->services[i];
        if (s->nsuites == 0)
            default_suites(l, s);
        if (s->ngroups == 0)
            default_groups(l, s);
    }
}

/* At most TOML_FILE_MAX bytes; one more shows that there are too many. -1 with errno. */
static ssize_t read_whole(const char *file, char *to, size_t cap) {
    int fd = open(strcmp(file, LOAD_STDIN) == 0 ? "/dev/stdin" : file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return -1;
    size_t n = 0;
    ssize_t got = 1;
    while (got > 0 && n < cap) {
        got = read(fd, to + n, cap - n);
        if (got > 0)
            n += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    int saved = errno;
    (void)close(fd); /* was only read */
    errno = saved;
    return got < 0 ? -1 : (ssize_t)n;
}

static void load_init(struct load *l, const char *file, unsigned flags, const struct conf_capabilities *capabilities,
                      struct diagnostics *f) {
    *l = (struct load){.conf = conf_new(), .faults = f, .capabilities = capabilities, .flags = flags, .file = file};
    scalar_defaults("", l->conf);
}

/* The conf, or NULL when anything was wrong. */
static struct conf *load_end(struct load *l) {
    toml_free(l->root);
    diagnostics_close(l->faults);
    if (l->faults->errors == 0)
        return l->conf;
    conf_free(l->conf);
    return NULL;
}

static void load_rest(struct load *l) {
    load_environment(l);
    check_keys(l);
    acme_settle(l);
    acme_files(l);
    check_files(l);
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
    ssize_t n = set_dir(&l, file) ? read_whole(file, text, TOML_FILE_MAX + 1) : -1;
    if (n < 0)
        load_error(&l, (struct toml_pos){0, 0}, NULL, "cannot be read: %s", strerror(errno));
    else if (load_schema(&l, text, (size_t)n))
        load_rest(&l);
    free(text);
    return load_end(&l);
}

/* The same lists as the file has, so that they meet the same readers. */
static void read_flag_list(struct load *l, enum conf_key k, key_read_fn read, const char *const *texts, size_t n) {
    struct toml_node *items = conf_alloc(l->conf, n * sizeof(*items));
    struct toml_node *list = conf_alloc(l->conf, sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        char *copy = conf_alloc(l->conf, strlen(texts[i]) + 1);
        memcpy(copy, texts[i], strlen(texts[i]));
        items[i] = (struct toml_node){.kind = TOML_STRING, .string = copy};
    }
    *list = (struct toml_node){.kind = TOML_ARRAY, .children = items, .nchildren = n};
    l->services[0].node[k] = list;
    struct reading r = {.l = l, .row = &key_rows[k], .key = load_key(l, 0, k), .service = &l->conf->services[0]};
    r.origin = &l->services[0];
    read(&r, list);
}

struct conf *conf_load_flags(const char *const *listen, size_t nlisten, const char *const *backend, size_t nbackend,
                             const struct conf_capabilities *capabilities, struct diagnostics *f) {
    struct load l;
    load_init(&l, NULL, 0, capabilities, f);
    struct conf *c = l.conf;
    c->services = conf_alloc(c, (1 + SERVICES_OWN) * sizeof(*c->services));
    c->nservices = 1;
    l.services = conf_alloc(c, (1 + SERVICES_OWN) * sizeof(*l.services));
    scalar_defaults("service.*", &c->services[0]);
    c->services[0].name = "default";
    if (getcwd(l.dir, sizeof(l.dir))) {
        read_flag_list(&l, KEY_LISTEN, read_listen, listen, nlisten);
        read_flag_list(&l, KEY_BACKENDS, read_backends, backend, nbackend);
        load_rest(&l);
    } else {
        load_error(&l, (struct toml_pos){0, 0}, NULL, "the working directory cannot be named: %s", strerror(errno));
    }
    return load_end(&l);
}
